"""From the first event loop to the last flush: the log of one process.

One task holds it. Stopping is cancelling that task, which then flushes. The hook does so when the proxy shuts down; in
any other event loop the end of the loop, which cancels all tasks, does the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from .config import Collector, resolve_env
from .decision import Decision, Outcome, Texts
from .log.queue import Recorder
from .log.sink import PostgresSink
from .log.writer import Writer

log = logging.getLogger(__name__)

DRAIN_SECONDS = 20.0
"""Longest wait at shutdown for rows to reach the database."""


class Lifecycle:
    """Owns the queue of one process and the task that writes it. `unlogged` counts rows that had nowhere to go."""

    def __init__(
        self,
        collector: Collector,
        on_start: Callable[[], Awaitable[None]],
        before_drain: Callable[[], Awaitable[None]],
    ) -> None:
        self.unlogged = 0
        self.recorder = Recorder(max_rows=collector.queue_rows)
        self.writer: Writer | None = None
        url = resolve_env(collector.database_url) if collector.enabled else None
        if url is not None:
            self.writer = Writer(
                self.recorder, PostgresSink(url), batch_rows=collector.batch_rows, max_age=collector.flush_seconds
            )
        elif collector.enabled:
            log.warning(
                "no decision is logged: routing.collector.database_url is unset; set COLLECTOR_DATABASE_URL, "
                "start with `bsgateway serve`, or set routing.collector.enabled to false"
            )
        self._on_start = on_start
        self._before_drain = before_drain
        self._task: asyncio.Task[None] | None = None

    def record(self, item: Decision | Texts | Outcome) -> None:
        """Hand a row to the log. Never waits, never raises."""
        if self.writer is None:
            self.unlogged += 1
        else:
            self.recorder.record(item)

    def ensure_running(self) -> None:
        """Start in the running event loop, once. Cheap enough for every request."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="bsgateway-lifecycle")

    async def stop(self) -> None:
        """Flush and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        if self.writer is not None:
            self.writer.start()
        try:
            await self._start()
            await asyncio.Event().wait()
        finally:  # only cancellation ends the wait
            await self._flush()

    async def _start(self) -> None:
        try:
            await self._on_start()
        except Exception as error:
            # Names that are not listed are a nuisance, and no reason to go without the log.
            log.error("the routed names are not listed in /v1/models: %s", type(error).__name__)

    async def _flush(self) -> None:
        await self._before_drain()
        if self.writer is not None and (left := await self.writer.stop(DRAIN_SECONDS)):
            log.error("%d rows of the routing log could not be written before the end and are lost", left)
