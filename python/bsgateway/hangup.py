"""SIGHUP: a wish to reload, or the end of the terminal that the gateway was started in."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


class Hangup:
    """A handler of SIGHUP. Calls `reload`; but when the terminal is gone in whose foreground the process was started,
    it ends the process by SIGTERM, as whoever closes a window expects.

    One that was told to ignore the end of its terminal (`nohup`) is told nothing but to reload. Make it where SIGHUP
    has the handler still that the process was started with.
    """

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self._has_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _in_foreground()

    def __call__(self, *_: object) -> None:
        if self._has_terminal and not _in_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._reload()


def _in_terminal() -> bool:
    """Whether this process has a controlling terminal. Closing it takes it from all its processes."""
    try:
        os.close(_terminal())
    except OSError:
        return False
    return True


def _in_foreground() -> bool:
    """Whether this process has a controlling terminal, and is not in its background."""
    try:
        terminal = _terminal()
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)


def _terminal() -> int:
    return os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
