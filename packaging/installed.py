"""A plugin of pytest (`-p installed`): the tests run with the package of this environment, and with the core expected.

`BSGATEWAY_EXPECTED_CORE` is native or twin. Without it, or with another package, no test runs.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest


def pytest_sessionstart() -> None:
    """Stop before the first test if what is imported is not what is to be tested."""
    import bsgateway
    from bsgateway.core import NATIVE

    home, expected = Path(bsgateway.__file__).parents[1], Path(sysconfig.get_path("purelib"))
    if not home.samefile(expected):
        raise pytest.UsageError(f"bsgateway is imported from {home}, not from {expected}")
    core, wanted = "native" if NATIVE else "twin", os.environ.get("BSGATEWAY_EXPECTED_CORE")
    if core != wanted:
        raise pytest.UsageError(f"the package uses its {core} core; BSGATEWAY_EXPECTED_CORE is {wanted}")


def pytest_report_header() -> str:
    """Say so at the head of the run."""
    return f"installed wheel, {os.environ['BSGATEWAY_EXPECTED_CORE']} core"
