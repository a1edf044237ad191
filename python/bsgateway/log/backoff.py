"""How long to wait before something is tried again: with jitter, so that workers do not all come at once."""

from __future__ import annotations

import random


def delay(failures: int, first: float, last: float) -> float:
    """Seconds to wait after so many failures in a row, counted from 0: `first`, doubled with each, at most `last`; of
    that a random half to the whole."""
    return min(last, first * 2.0 ** min(failures, 30)) * random.uniform(0.5, 1.0)  # noqa: S311


def around(seconds: float) -> float:
    """A time within a fifth of `seconds`."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311
