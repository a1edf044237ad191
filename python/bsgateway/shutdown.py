"""The time between being told to stop and stopping, which a load balancer needs to look elsewhere."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

VARIABLE = "BSGATEWAY_SHUTDOWN_DELAY"
"""Seconds, for workers: `serve` starts them without a way to hand them more."""


def delay_from_environment() -> float:
    """The delay that `serve` was given, in seconds."""
    return float(os.environ.get(VARIABLE) or 0)


def announce_first(told: Callable[[], None], seconds: float, *, hurries: bool = True) -> None:
    """From now on SIGTERM calls `told`, and does what it did before `seconds` later; when it comes again, at once if
    `hurries`, else nothing: who signals all processes of a service, as systemd does, tells a worker twice, by itself
    and by the worker's supervisor.

    To be called in the event loop of a server that stops by a signal handler, as uvicorn does, once it has that.
    Elsewhere than in the main thread, and where SIGTERM has no handler, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    before = signal.getsignal(signal.SIGTERM)
    if not callable(before):
        return
    loop = asyncio.get_running_loop()
    is_told = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal is_told
        again, is_told = is_told, True
        told()
        if seconds <= 0 or (again and hurries):
            before(number, frame)
        elif not again:
            # Not call_later right away: the loop may be asleep, and a signal does not wake all loops.
            loop.call_soon_threadsafe(loop.call_later, seconds, before, number, None)

    signal.signal(signal.SIGTERM, on_signal)
