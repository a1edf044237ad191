"""From the first event loop to the last flush: the log of one process.

A thread of its own writes it. One task of the proxy's event loop stands for it there: stopping is cancelling that task,
which then has the thread flush and end. The hook does so when the proxy shuts down; in any other event loop the end of
the loop, which cancels all tasks, does the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .config import DEFAULT_STATE, STATE_VARIABLE, Collector, resolve_env, spool_directory
from .decision import Texts
from .expectations import Expectations, ExpectationsReader
from .log.health import OFF, LogHealth
from .log.metrics import Metrics
from .log.pipeline import Pipeline
from .log.queue import Recorder
from .log.redaction import redacted
from .log.sink import PostgresSink
from .log.thread import LogThread
from .log.watch import Watch
from .rollups import Refresher
from .rows import Item

if TYPE_CHECKING:
    from .log.embedder import Embedder

log = logging.getLogger(__name__)

DRAIN_SECONDS = 20.0
"""Longest wait at shutdown for rows to be safe, in the database or in the spool."""


class Lifecycle:
    """Owns the queue of one process and the thread that writes it. `unlogged` counts rows that had nowhere to go,
    `expectations` is what the log knows of answers to come. `has_begun` once the start is over; `is_draining` from when
    the process was told to stop.

    `meanwhile` runs between the start and the stop; it ends only by being cancelled.
    """

    def __init__(
        self,
        collector: Collector,
        on_start: Callable[[], Awaitable[None]],
        before_drain: Callable[[], Awaitable[None]],
        meanwhile: Callable[[], Awaitable[object]] = lambda: asyncio.Event().wait(),
    ) -> None:
        self.unlogged = 0
        self.has_begun = self.is_draining = False
        self.recorder = Recorder(collector.queue_rows, collector.queue_bytes)
        self.expectations = Expectations()
        self.thread: LogThread | None = None
        url = resolve_env(collector.database_url) if collector.enabled else None
        if url is not None:
            self.thread = LogThread(lambda: _make_pipeline(collector, url, self.recorder, self.expectations))
        elif collector.enabled:
            log.warning(
                "no decision is logged: routing.collector.database_url is unset; set COLLECTOR_DATABASE_URL, "
                "start with `bsgateway serve`, or set routing.collector.enabled to false"
            )
        self._on_start = on_start
        self._before_drain = before_drain
        self._meanwhile = meanwhile
        self._task: asyncio.Task[None] | None = None

    def record(self, item: Item) -> None:
        """Hand a row to the log. Never waits, never raises."""
        if self.thread is None:
            self.unlogged += 1
        else:
            self.recorder.record(item)

    def ensure_running(self) -> None:
        """Start in the running event loop, once. Cheap enough for every request."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="bsgateway-lifecycle")

    async def stop(self) -> None:
        """Flush and stop."""
        self.drain()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def drain(self) -> None:
        """Note that this process is to stop. Requests are served, and logged, as before."""
        self.is_draining = True

    def health(self) -> LogHealth | None:
        """How the log is, as far as its thread knows; None before that has begun. Waits for nothing."""
        return self.thread.health() if self.thread is not None else OFF

    def metrics(self) -> Metrics | None:
        """What the log did; None when there is none, or it has not begun."""
        return self.thread.metrics() if self.thread is not None else None

    async def _run(self) -> None:
        if self.thread is not None:
            self.thread.start()
        try:
            await self._start()
            await self._meanwhile()
        finally:  # only cancellation ends the wait
            await self._flush()

    async def _start(self) -> None:
        try:
            await self._on_start()
        except Exception as error:
            # Names that are not listed are a nuisance, and no reason to go without the log.
            log.error("the routed names are not listed in /v1/models: %s", type(error).__name__)
        self.has_begun = True

    async def _flush(self) -> None:
        try:
            await self._before_drain()
        except Exception as error:
            log.error("some outcomes may be missing: %s", type(error).__name__)
        if self.thread is not None and (left := await self.thread.stop(DRAIN_SECONDS)):
            log.error("%d rows of the routing log could not be written before the end and are lost", left)


def _make_pipeline(collector: Collector, url: str, recorder: Recorder, expectations: Expectations) -> Pipeline:
    def prepare(rows: Sequence[Item]) -> list[Item]:
        """What may be stored of them."""
        if collector.text != "redacted":
            return list(rows)
        return [kept for row in rows if (kept := _redacted(row, collector.text_chars, recorder)) is not None]

    state = Path(os.environ.get(STATE_VARIABLE) or DEFAULT_STATE)
    sink = PostgresSink(url, collector)
    embedder = _make_embedder(collector, sink)
    reader = ExpectationsReader(expectations, sink.store)
    rollups = Refresher(sink.store, collector.retention_days)
    directory, watch = spool_directory(collector, state), Watch(sink.store)
    return Pipeline(collector, directory, recorder, sink, prepare, embedder, reader, rollups, watch)


def _make_embedder(collector: Collector, sink: PostgresSink) -> Embedder | None:
    if collector.embedding is None or collector.text == "none":
        return None
    from .log.embedder import Embedder  # Ollama's client is worth its memory only where it is used

    return Embedder(collector.embedding, sink.store, redacted_only=collector.text == "redacted")


def _redacted(row: Item, cut_at: int, recorder: Recorder) -> Item | None:
    """`row` without keys and personal data; None, and counted, for words that cannot be freed of them."""
    if not isinstance(row, Texts):
        return row
    try:
        return redacted(row, cut_at)
    except Exception as error:
        recorder.drop("redaction_failed", 1, type(error).__name__)
        return None
