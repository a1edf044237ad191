"""Programs that the scripts of this directory run."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]


class BuildError(Exception):
    """Something cannot be built here. The message says what to do."""


def run(command: list[str], *, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What a program prints. Raises BuildError with the end of what it said if it fails or is missing."""
    try:
        ran = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BuildError(f"{error.filename} is missing: run this by `make wheels`") from error
    if ran.returncode:
        said = (ran.stdout + ran.stderr).strip()[-4000:]
        raise BuildError(f"`{' '.join(command)}` in {cwd} ended with {ran.returncode}:\n{said}")
    return ran.stdout


def tools() -> dict[str, str]:
    """This process's environment, with its own Python and programs first on the path, and the moment of `epoch`."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "VIRTUAL_ENV": sys.prefix, "SOURCE_DATE_EPOCH": epoch()}


def epoch() -> str:
    """The moment that archives say all files are of: SOURCE_DATE_EPOCH, or that of the last commit."""
    return os.environ.get("SOURCE_DATE_EPOCH") or run(["git", "log", "-1", "--format=%ct"], cwd=ROOT).strip()
