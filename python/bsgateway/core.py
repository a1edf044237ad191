"""The core in use: the compiled module, or its pure-Python twin where that is missing or `BSGATEWAY_PURE=1` is set."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

NATIVE: bool
"""Whether the compiled module is in use."""

if TYPE_CHECKING:
    from . import _core as core

    NATIVE = True
elif os.environ.get("BSGATEWAY_PURE", "") not in ("", "0"):
    from . import reference as core

    NATIVE = False
else:
    try:
        core = importlib.import_module("._core", __package__)
        NATIVE = True
    except ModuleNotFoundError as error:
        # A compiled module that is there but does not load is a broken install: that must be seen, not papered over.
        if error.name != f"{__package__}._core":
            raise
        from . import reference as core

        NATIVE = False

__all__ = ["NATIVE", "core"]
