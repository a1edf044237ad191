"""The thread of the log: an event loop of its own, so that nothing of it waits for a request, nor a request for it."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError

from bsgateway.log.health import DEAD, LogHealth
from bsgateway.log.metrics import Metrics
from bsgateway.log.pipeline import Pipeline

log = logging.getLogger(__name__)

EXIT_SECONDS = 5.0
"""Longest wait at the end of an interpreter that nobody told the log to stop."""


class LogThread:
    """Runs a pipeline, made by `make` on the thread, from `start` to `stop`. All methods may be called on any thread.

    A process that forks after the start has no thread; `start` gives it one.
    """

    def __init__(self, make: Callable[[], Pipeline]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended: Future[int] = Future()
        self._stop: Callable[[float], None] | None = None  # once the loop runs
        self._stop_within: float | None = None  # once it is told to
        self._pipeline: Pipeline | None = None
        self._pid = 0

    def start(self) -> None:
        """Begin. Calling it again does nothing, nor after `stop`; it does not wait for the thread."""
        with self._lock:
            if self._stop_within is not None or (self._thread is not None and self._thread.is_alive()):
                return
            self._ended = Future()
            self._ended.set_running_or_notify_cancel()  # who waits for it may be cancelled, and it goes on
            self._stop = None
            self._pid = os.getpid()
            self._thread = threading.Thread(target=self._run, name="bsgateway-log", daemon=True)
            self._thread.start()
            atexit.register(self.stop_now)

    async def stop(self, timeout: float) -> int:
        """Deliver what waits, as `Pipeline.finish` does, and end; how many rows are lost. 0 when it was not started."""
        ended = self._tell(timeout)
        return await asyncio.wrap_future(ended) if ended is not None else 0

    def stop_now(self) -> None:
        """As `stop`, for an interpreter that ends."""
        if self._pid == os.getpid() and (ended := self._tell(EXIT_SECONDS)) is not None:
            try:
                ended.result(2 * EXIT_SECONDS)
            except TimeoutError:
                log.error("routing log: it did not end in time; rows that are in the spool are not lost")

    def metrics(self) -> Metrics | None:
        """A snapshot; None before the start."""
        return self._pipeline.metrics() if self._pipeline is not None else None

    def health(self) -> LogHealth | None:
        """How the log is; None before the start. Waits for nothing."""
        thread, pipeline = self._thread, self._pipeline
        if thread is None or thread.ident is None:
            return None
        if not thread.is_alive():  # it may have ended before there was a pipeline
            return DEAD
        return None if pipeline is None else pipeline.health()

    def _tell(self, timeout: float) -> Future[int] | None:
        with self._lock:
            if self._stop_within is None:
                self._stop_within = timeout
                if self._stop is not None:
                    self._stop(timeout)
            return self._ended if self._thread is not None else None

    def _run(self) -> None:
        try:
            left = asyncio.run(self._work())
        except BaseException as error:
            log.error("routing log: its thread has ended, and rows are lost: %s", type(error).__name__)
            left = 0
        atexit.unregister(self.stop_now)
        self._ended.set_result(left)

    async def _work(self) -> int:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[float] = loop.create_future()
        self._pipeline = pipeline = self._make()
        pipeline.start()
        with self._lock:
            self._stop = lambda timeout: _set(loop, told, timeout)
            if self._stop_within is not None:
                self._stop(self._stop_within)
        return await pipeline.finish(await told)


def _set(loop: asyncio.AbstractEventLoop, told: asyncio.Future[float], timeout: float) -> None:
    loop.call_soon_threadsafe(told.set_result, timeout)
