"""The directory in which the workers of `bsgateway serve` keep their metrics together."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bsgateway.errors import TelemetryError

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own: it looks for it when it is imported, in each worker."""
NAME = "metrics"


def prepare(state: Path, workers: int) -> None:
    """Have the workers that start after this share their metrics: in the directory that the operator names, or in one
    below `state`. What an earlier run left there is removed: process ids come again, in containers at once.

    Raises TelemetryError if it cannot be made.
    """
    given = os.environ.get(DIRECTORY_VARIABLE)
    if not given:
        os.environ.pop(DIRECTORY_VARIABLE, None)  # prometheus_client would take an empty one for a directory, too
        if workers == 1:
            return
    directory = Path(given) if given else state.absolute() / NAME
    try:
        if not given:
            shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in directory.glob("*.db"):  # as LiteLLM does at its start, whose callback may use the directory, too
            file.unlink(missing_ok=True)
    except OSError as error:
        named = f"{DIRECTORY_VARIABLE}: {directory}" if given else directory
        raise TelemetryError(f"the workers' metrics have no place: {named}: {error.strerror}") from error
    os.environ[DIRECTORY_VARIABLE] = str(directory)
