"""The log's own event loop: queue -> spool -> batches -> sink, and what has to be done from time to time.

These tasks share one thread: `_store` carries rows from the queue to the spool every `LINGER` seconds, `_deliver`
carries batches to the sink, `_keep_house` adopts spools that others left, `_maintain` has the sink look after what it
holds, `_expect` reads what answers to expect, a `Watch` looks whether the database answers. While the spool cannot be
used, batches go from the queue to the sink directly.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bsgateway.config import Collector
from bsgateway.log import backoff
from bsgateway.log.adoption import Adopter
from bsgateway.log.health import LogHealth, health_of
from bsgateway.log.intake import Intake, Prepare, abandon
from bsgateway.log.metrics import Metrics
from bsgateway.log.outbox import Batch, Outbox
from bsgateway.log.queue import Recorder
from bsgateway.log.sink import Sink
from bsgateway.log.spool import SpoolDamaged, SpoolError
from bsgateway.log.writer import Writer

if TYPE_CHECKING:
    from bsgateway.expectations import ExpectationsReader
    from bsgateway.log.embedder import Embedder  # which brings Ollama's client along
    from bsgateway.log.watch import Watch
    from bsgateway.rollups import Refresher

log = logging.getLogger(__name__)

LINGER = 0.03
"""Seconds a row waits in memory before it is written to the spool, together with those that came meanwhile."""
LOOK_SECONDS = 1.0
HOUSE_SECONDS = 10.0
MAINTAIN_SECONDS = 3600.0
MAINTAIN_SOON = 300.0  # when something was left to do
EXPECT_SECONDS = 600.0
EXPECT_SOON = 60.0  # when the database was away, or too slow
RESTART_SECONDS = 1.0
SPOOLED_GRACE = 5.0
"""Seconds at the end for rows that are safe in the spool to reach the database all the same."""
AWAY_GRACE = 1.0
"""As SPOOLED_GRACE, when the database was away the last time: for another try or two."""


class Pipeline:
    """The log of one process, from the queue to the sink. Made and used in one event loop."""

    def __init__(
        self,
        collector: Collector,
        directory: Path | None,
        recorder: Recorder,
        sink: Sink,
        prepare: Prepare,
        embedder: Embedder | None = None,
        reader: ExpectationsReader | None = None,
        rollups: Refresher | None = None,
        watch: Watch | None = None,
    ) -> None:
        """`directory` is that of the spool, None for no spool; `prepare` makes of rows what may be stored."""
        self._collector = collector
        self._recorder = recorder
        self._sink = sink
        self._writer = Writer(sink, recorder.drop)
        self._intake = Intake(collector, directory, recorder, prepare)
        self._adopter = Adopter(directory)
        self._embedder = embedder
        self._reader = reader
        self._rollups = rollups
        self._watch = watch
        self._in_hand: Batch | None = None
        self._work = asyncio.Event()  # there may be something to deliver
        self._waiting_since: float | None = None
        self._hurried = False
        self._others_first = False
        self._replayed = 0
        self._said = b""
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, in the running event loop."""
        loop = asyncio.get_running_loop()
        works = [self._store, self._deliver, self._keep_house, self._maintain]
        if self._embedder is not None:
            works.append(self._embedder.run)
        if self._reader is not None:
            works.append(self._expect)
        if self._rollups is not None:
            works.append(self._rollups.run)
        if self._watch is not None:
            works.append(self._watch.run)
        for work in works:
            self._tasks.append(loop.create_task(_forever(work), name=f"bsgateway-log{work.__name__}"))

    async def finish(self, timeout: float) -> int:
        """Take no more rows, deliver what there is while there is time, end; how many rows are lost.

        Rows that are safe in the spool are waited for but shortly, and hardly at all while the database is away.
        """
        self._recorder.close()
        self._hurried = True
        self._writer.hurry()
        try:
            await self._drain(timeout)
        except Exception as error:
            log.error("routing log: the end goes wrong: %s", type(error).__name__)
        return await self._end()

    async def _drain(self, timeout: float) -> None:
        began = time.monotonic()
        while self._pending():
            spent = time.monotonic() - began
            grace = AWAY_GRACE if self._writer.is_open else SPOOLED_GRACE
            if spent > timeout or (self._all_is_safe() and spent > grace):
                break
            self._work.set()
            await asyncio.sleep(LINGER)
            self._intake.store_waiting()

    def metrics(self) -> Metrics:
        """A snapshot; may be taken on any thread."""
        boxes, writer = self._boxes(), self._writer
        oldest = [at for box in boxes if (at := box.spool.oldest_at) is not None]
        return Metrics(
            queued=self._unspooled(),
            spooled_rows=sum(box.rows for box in boxes),
            spooled_bytes=sum(box.spool.bytes for box in boxes),
            oldest_seconds=max(0.0, time.time() - min(oldest)) if oldest else None,
            written=writer.written,
            replayed=self._replayed,
            dead_lettered=writer.dead_lettered,
            dropped=dict(self._recorder.dropped),
            batches=writer.batches,
            retries=writer.retries,
            flush_seconds=writer.flush_seconds,
            last_flush_seconds=writer.last_flush_seconds,
            last_flush_at=writer.last_flush_at,
            circuit="open" if writer.is_open else "closed",
            last_error=writer.last_error,
            spool_error=self._intake.error,
            embedding=self._embedder.stats() if self._embedder is not None else None,
        )

    def health(self) -> LogHealth:
        """As `metrics`, in two words, and within some microseconds."""
        return health_of(self._intake, self._writer, self._watch)

    # From the queue to the spool

    async def _store(self) -> None:
        self._intake.usable()  # what an earlier process left there must not wait for the first row
        self._announce()
        look_at = 0.0
        while True:
            # A look at an empty queue every `LINGER` costs less than waking a thread would cost a request.
            if self._intake.store_waiting():
                self._announce()
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + LOOK_SECONDS
                self._intake.look()
            await asyncio.sleep(LINGER)

    def _announce(self) -> None:
        """Wake `_deliver` when there is a batch, or the first rows of one, whose age counts from now on."""
        rows = self._intake.waiting
        if rows and (rows >= self._collector.batch_rows or self._waiting_since is None):
            self._work.set()

    # From the spool, or the queue, to the sink

    async def _deliver(self) -> None:
        while True:
            batch, outbox = self._next_batch()
            if batch is None:
                await self._wait_for_work()
                continue
            self._in_hand = batch
            try:
                if outbox is not None:
                    await self._writer.write(batch.records, batch.unreadable)
                elif left := await self._writer.write(batch.records, give_up=self._intake.recovered):
                    self._recorder.put_back(left)  # they are safer in the spool than in hand
                    continue
            except BaseException as error:
                if outbox is None:
                    self._recorder.put_back(batch.records)
                elif isinstance(error, Exception) and outbox is self._intake.outbox:
                    self._intake.begin_anew()  # a bug of ours: they are read back from the disk
                raise
            finally:
                self._in_hand = None
            if batch.replayed:
                self._replayed += batch.rows
            if outbox is not None:
                self._acknowledge(outbox, batch)
            if self._embedder is not None:
                self._embedder.poke()

    def _next_batch(self) -> tuple[Batch | None, Outbox | None]:
        """The rows that are due, and the outbox they are from, if they are from one."""
        # In turns: neither may those of others wait for ever behind our own, nor ours behind those of others.
        self._others_first = not self._others_first
        first, then = (self._of_others, self._own) if self._others_first else (self._own, self._of_others)
        batch, outbox = first()
        return (batch, outbox) if batch is not None else then()

    def _own(self) -> tuple[Batch | None, Outbox | None]:
        intake, limit = self._intake, self._collector.batch_rows
        if self._is_due(intake.waiting):
            self._waiting_since = None
            if intake.outbox is not None and (batch := self._read(intake.outbox)):
                return batch, intake.outbox
            if (intake.fails or intake.unspoolable) and (records := intake.take(limit)):
                return Batch(records, (), len(records)), None
        return None, None

    def _of_others(self) -> tuple[Batch | None, Outbox | None]:
        for outbox in (*self._intake.retired, *self._adopter.outboxes):
            if batch := self._read(outbox):
                return batch, outbox
        return None, None

    def _is_due(self, rows: int) -> bool:
        if not rows:
            self._waiting_since = None
            return False
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        age = time.monotonic() - self._waiting_since
        return self._hurried or rows >= self._collector.batch_rows or age >= self._collector.flush_seconds

    async def _wait_for_work(self) -> None:
        self._work.clear()
        if self._waiting_since is None:
            await self._work.wait()
            return
        # Not asyncio.wait_for: until Python 3.12 it can swallow the cancellation that ends this task.
        left = self._waiting_since + self._collector.flush_seconds - time.monotonic()
        timer = asyncio.get_running_loop().call_later(max(left, 0.001), self._work.set)
        try:
            await self._work.wait()
        finally:
            timer.cancel()

    def _read(self, outbox: Outbox) -> Batch | None:
        try:
            return outbox.next(self._collector.batch_rows)
        except SpoolError as error:
            if outbox is self._intake.outbox:
                self._intake.failed(error)
            else:
                log.error("routing log: %s", error)
                if isinstance(error, SpoolDamaged):
                    abandon(outbox, self._recorder)
                self._release(outbox)
            return None

    def _acknowledge(self, outbox: Outbox, batch: Batch) -> None:
        try:
            outbox.done(batch)
        except SpoolError as error:
            # They are settled, and removed with the next batch. If the process dies before that they are written once
            # more: the primary key takes each once.
            if outbox is self._intake.outbox:
                self._intake.failed(error)
            else:
                log.error("routing log: %s", error)
        if outbox is not self._intake.outbox and not outbox.rows:
            log.warning("routing log: what was left in %s is written", outbox.spool.path)
            self._release(outbox)

    def _release(self, outbox: Outbox) -> None:
        if outbox in self._intake.retired:
            self._intake.retired.remove(outbox)
        self._adopter.release(outbox)

    # From time to time

    async def _keep_house(self) -> None:
        while True:
            self._adopter.look({box.spool.path for box in self._boxes()})
            self._work.set()  # for what was adopted, and for what could not be read the last time
            self._say()
            self._forget()
            await asyncio.sleep(backoff.around(HOUSE_SECONDS))

    async def _maintain(self) -> None:
        while True:
            seconds = HOUSE_SECONDS
            if not self._writer.is_open:
                seconds = MAINTAIN_SECONDS if await self._maintained() else MAINTAIN_SOON
            await asyncio.sleep(backoff.around(seconds))

    async def _maintained(self) -> bool:
        try:
            return await self._sink.maintain()
        except Exception as error:
            # Rows go to the default partitions meanwhile, and old ones stay a little longer.
            log.warning("routing log: the tables are looked after later: %s", error)
            return False

    async def _expect(self) -> None:
        while True:
            read = self._reader is not None and not self._writer.is_open and await self._reader.read()
            await asyncio.sleep(backoff.around(EXPECT_SECONDS if read else EXPECT_SOON))

    def _say(self) -> None:
        """Leave word of the log in the slot, for `bsgateway doctor`, if there is news."""
        outbox = self._intake.outbox
        if outbox is None:
            return
        said = msgspec.json.encode(msgspec.structs.replace(self.metrics(), oldest_seconds=None))
        if said != self._said:
            try:
                outbox.spool.say(said)
                self._said = said
            except SpoolError as error:
                self._intake.failed(error)

    def _forget(self) -> None:
        if self._intake.outbox is not None:
            try:
                self._intake.outbox.spool.forget()
            except SpoolError as error:
                self._intake.failed(error)

    # What there is, and the end

    def _boxes(self) -> list[Outbox]:
        own = self._intake.outbox
        return [*([own] if own is not None else []), *self._intake.retired, *self._adopter.outboxes]

    def _unspooled(self) -> int:
        """Rows in memory only."""
        batch = self._in_hand
        in_hand = batch.rows if batch is not None and not batch.last else 0
        return len(self._recorder) + len(self._intake.unspoolable) + in_hand

    def _pending(self) -> int:
        return self._unspooled() + sum(box.rows for box in self._boxes())

    def _all_is_safe(self) -> bool:
        return not self._unspooled() and not self._intake.retired

    async def _end(self) -> int:
        running = set(self._tasks)
        until = time.monotonic() + SPOOLED_GRACE
        while running and time.monotonic() < until:
            for task in running:
                task.cancel()  # again: before Python 3.12 asyncio.wait_for may swallow it
            _, running = await asyncio.wait(running, timeout=0.5)
        self._intake.store_waiting()  # what was in hand
        self._say()
        left = self._unspooled() + sum(box.rows for box in self._intake.retired)
        if left:
            self._recorder.drop("stopped", left, self._writer.last_error or "no time left")
        for outbox in self._boxes():
            if outbox.rows and outbox not in self._intake.retired:
                log.warning("routing log: %d rows are left in %s for the next start", outbox.rows, outbox.spool.path)
            with suppress(SpoolError):
                outbox.spool.forget()
            with suppress(SpoolError):
                outbox.spool.close()
        await self._sink.close()
        return left


async def _forever(work: Callable[[], Awaitable[None]]) -> None:
    """Run `work`, which ends by a bug of ours only, and then again."""
    while True:
        try:
            await work()
        except Exception as error:
            log.error("routing log: %s failed and goes on: %s", work.__name__, type(error).__name__)
        await asyncio.sleep(RESTART_SECONDS)
