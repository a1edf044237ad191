"""The task that carries rows from the queue to a sink: in batches, again and again until they are written."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from datetime import datetime

import msgspec

from bsgateway.decision import now
from bsgateway.log.queue import QUIET, Recorder
from bsgateway.log.sink import RowRefused, Sink, SinkUnavailable
from bsgateway.rows import Item

log = logging.getLogger(__name__)

BATCH_ROWS = 1_000
MAX_AGE = 0.5  # seconds
FIRST_RETRY = 0.1  # seconds; doubles with each failure
LAST_RETRY = 15.0
HURRIED_RETRY = 0.25  # while `drain` waits
CANCEL_TIMEOUT = 5.0


class Metrics(msgspec.Struct, frozen=True):
    """What the log did since the start of this worker.

    `queued` rows wait, those of the batch in hand included. `dropped` rows by cause are lost. `flush_seconds` is the
    sum over `batches`, the writes that succeeded; `retries` are those that found the sink unavailable. `last_error` is
    the class and code of the newest failure, never its data.
    """

    queued: int
    written: int
    dropped: dict[str, int]
    batches: int
    retries: int
    flush_seconds: float
    last_flush_at: datetime | None
    last_error: str | None


class Writer:
    """Writes what a recorder takes, `batch_rows` at a time or what there is after `max_age` seconds.

    While the sink is unavailable the rows wait, in the recorder and one batch in hand. A row that the sink refuses is
    found by halving its batch, dropped and counted; the others are written. Works in the event loop that called
    `start`, and is used on the thread of that loop only.
    """

    def __init__(
        self, recorder: Recorder, sink: Sink, *, batch_rows: int = BATCH_ROWS, max_age: float = MAX_AGE
    ) -> None:
        self._recorder = recorder
        self._sink = sink
        self._batch_rows = batch_rows
        self._max_age = max_age
        self._task: asyncio.Task[None] | None = None
        self._in_hand: list[list[Item]] = []  # parts of one batch, the next one last
        self._stopped = False
        self._hurry = asyncio.Event()
        self._idle = asyncio.Event()
        self._failing_since: float | None = None
        self._quiet_until = 0.0
        self._written = self._batches = self._retries = 0
        self._flush_seconds = 0.0
        self._last_flush_at: datetime | None = None
        self._last_error: str | None = None

    def start(self) -> None:
        """Begin to write, in the running event loop. Calling it again does nothing, so each request may; unless the
        task has ended, as it does with all tasks of an event loop that ends: then it goes on where that one was."""
        if (self._task is None or self._task.done()) and not self._stopped:
            loop = asyncio.get_running_loop()
            self._recorder.bind(loop)
            self._task = loop.create_task(self._run(), name="bsgateway-log-writer")
            self._task.add_done_callback(lambda _: self._idle.set())  # so that `drain` sees its end and starts anew

    async def drain(self, timeout: float) -> int:
        """Write all that waits, without waiting for batches to fill; the rows that are left after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        self._hurry.set()
        self._recorder.hurry(True)
        try:
            while self._waiting() and not self._stopped:
                self.start()
                self._idle.clear()
                await asyncio.wait_for(self._idle.wait(), deadline - time.monotonic())
        except asyncio.TimeoutError:
            pass
        finally:
            self._hurry.clear()
            self._recorder.hurry(False)
        return self._waiting()

    async def stop(self, timeout: float = 10.0) -> int:
        """Drain, take no more rows, close the sink; the rows that were left, which are lost and counted as stopped."""
        await self.drain(timeout)
        self._recorder.close()
        self._stopped = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_TIMEOUT)
        await self._sink.close()
        left = self._waiting()
        if left:
            self._recorder.drop("stopped", left, self._last_error or "no time left")
            self._recorder.take(left)
            self._in_hand.clear()
        return left

    def metrics(self) -> Metrics:
        """A snapshot."""
        return Metrics(
            queued=self._waiting(),
            written=self._written,
            dropped=dict(self._recorder.dropped),
            batches=self._batches,
            retries=self._retries,
            flush_seconds=self._flush_seconds,
            last_flush_at=self._last_flush_at,
            last_error=self._last_error,
        )

    def _waiting(self) -> int:
        return len(self._recorder) + sum(map(len, self._in_hand))

    async def _run(self) -> None:
        while True:
            if not self._in_hand:
                await self._recorder.wait(1)
                await self._recorder.wait(self._batch_rows, self._max_age)
                self._in_hand = [self._recorder.take(self._batch_rows)]
            await self._write_in_hand()
            if len(self._recorder) == 0:
                self._idle.set()

    async def _write_in_hand(self) -> None:
        failures = 0
        while self._in_hand:
            part = self._in_hand[-1]
            began = time.monotonic()
            try:
                await self._sink.write(part)
            except RowRefused as error:
                self._in_hand.pop()
                self._halve(part, error)
            except Exception as error:
                # SinkUnavailable, or a fault of the sink itself: it must neither lose rows nor end this task.
                self._report_failure(error)
                await self._pause(failures)
                failures += 1
            else:
                self._in_hand.pop()
                failures = 0
                self._report_success(len(part), time.monotonic() - began)

    def _halve(self, part: list[Item], error: RowRefused) -> None:
        self._last_error = str(error)
        if len(part) > 1:
            middle = len(part) // 2
            self._in_hand += [part[middle:], part[:middle]]
            return
        item = part[0]
        self._recorder.dropped["refused"] += 1
        decision_id = getattr(item, "decision_id", None)
        log.error("routing log: the %s of decision %s is refused: %s", type(item).__name__, decision_id, error)

    async def _pause(self, failures: int) -> None:
        # Exponential, and spread over half of it, so that workers do not all come back at once.
        delay = min(LAST_RETRY, FIRST_RETRY * 2 ** min(failures, 20)) * random.uniform(0.5, 1.0)  # noqa: S311
        if self._hurry.is_set():
            await asyncio.sleep(min(delay, HURRIED_RETRY))
            return
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), delay)

    def _report_failure(self, error: Exception) -> None:
        self._retries += 1
        self._last_error = str(error) if isinstance(error, SinkUnavailable) else type(error).__name__
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            log.warning("routing log: cannot write, %d rows wait: %s", self._waiting(), self._last_error)

    def _report_success(self, rows: int, seconds: float) -> None:
        self._written += rows
        self._batches += 1
        self._flush_seconds += seconds
        self._last_flush_at = now()
        if self._failing_since is not None:
            log.warning(
                "routing log: writing again after %.1f s, %d rows wait",
                time.monotonic() - self._failing_since,
                self._waiting() - rows,
            )
            self._failing_since = None
            self._quiet_until = 0.0
