"""The rig that all faults share, and the file of their results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from bsgateway.embedded import binaries
from e2e.upstream import Upstream
from faults.experiment import RESULTS, as_rows
from faults.load import RATE
from faults.rig import Rig

RESULTS_FILE = "BSGATEWAY_FAULTS_RESULTS"
"""Environment variable: where `make faults` wants the results."""


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """Database, proxy and spool; removed at the end, with every process."""
    with Upstream().running() as upstream:
        rig = Rig(upstream)
        try:
            rig.open()
            yield rig
        finally:
            rig.close()
            _write()


def _write() -> None:
    if path := os.environ.get(RESULTS_FILE):
        results = {
            "rate": RATE,
            "postgresql": binaries.version(),
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "faults": as_rows(RESULTS),
        }
        Path(path).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
