"""Queue -> spool: what waits in memory becomes chunks on the disk, as far as the disk takes them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from bsgateway.config import Collector
from bsgateway.log import backoff, chunk
from bsgateway.log.chunk import ChunkError
from bsgateway.log.outbox import Outbox
from bsgateway.log.queue import QUIET, Recorder
from bsgateway.log.spool import Spool, SpoolDamaged, SpoolError, SpoolFull
from bsgateway.rows import Item

log = logging.getLogger(__name__)

FIRST_RETRY = 0.5
"""Seconds before a spool that failed is tried again; doubles with each failure."""
LAST_RETRY = 2.0
FULL_RETRY = 0.2
"""Seconds before a full spool is tried again: it has room as soon as the database has taken a batch."""
CHUNKS_AT_ONCE = 20
"""So many chunks, and other tasks of the thread have a turn."""

Prepare = Callable[[Sequence[Item]], list[Item]]


class Intake:
    """The queue and the spool of one process.

    `outbox` is what is in the spool; None while there is none. While the spool `fails`, rows stay in the queue, where
    `take` gets at them. Rows that can be in no spool go to `unspoolable`; they count as rows of the queue.
    """

    def __init__(self, collector: Collector, directory: Path | None, recorder: Recorder, prepare: Prepare) -> None:
        """`directory` is that of the spool, None for no spool; `prepare` makes of rows what may be stored."""
        self.recorder = recorder
        self.directory = directory
        self.outbox: Outbox | None = None
        self.retired: list[Outbox] = []  # slots that are no longer written to
        self.unspoolable: list[Item] = []
        self.error: str | None = None
        self._collector = collector
        self._prepare = prepare
        self._failures = 0
        self._retry_at = 0.0
        self._quiet_until = 0.0

    @property
    def fails(self) -> bool:
        """Whether rows must not wait for the spool: there is none, or it cannot take them now."""
        return self.directory is None or self.error is not None

    @property
    def waiting(self) -> int:
        """Rows that can be delivered now."""
        spooled = self.outbox.waiting if self.outbox is not None else 0
        return spooled + len(self.unspoolable) + (len(self.recorder) if self.fails else 0)

    def store_waiting(self) -> bool:
        """Move what waits in the queue to the spool; whether there was anything. What it cannot take stays."""
        if not len(self.recorder):
            return False
        outbox = self.usable()
        for _ in range(CHUNKS_AT_ONCE):
            if outbox is None or not len(self.recorder):
                break
            taken = self._taken(min(self._collector.batch_rows, self._collector.spool.max_rows))
            if not self._add(outbox, taken):
                break
        return True

    def take(self, limit: int) -> list[Item]:
        """The oldest rows that no spool holds, prepared."""
        if self.unspoolable:
            taken, self.unspoolable = self.unspoolable[:limit], self.unspoolable[limit:]
            return taken
        return self._taken(limit)

    def recovered(self) -> bool:
        """Whether the spool takes rows, again. Tries it, if it failed and it is time to."""
        if self.error is not None and (outbox := self.usable()) is not None:
            try:
                outbox.spool.check(self._collector.spool.max_rows, self._collector.spool.max_bytes)
            except SpoolError as error:
                self.failed(error)
            else:
                self._works()
        return not self.fails

    def usable(self) -> Outbox | None:
        """The outbox, opened if need be; None while there is none, or it is not yet time to try again."""
        if self.directory is None or time.monotonic() < self._retry_at:
            return None
        if self.outbox is None:
            try:
                spool = Spool.claim(self.directory, secure_delete=self._collector.text != "none")
            except SpoolError as error:
                self.failed(error)
                return None
            self.outbox = Outbox(spool, window_rows=4 * self._collector.batch_rows)
            if spool.rows:
                log.warning("routing log: %d rows of an earlier process are in %s", spool.rows, spool.path)
        return self.outbox

    def failed(self, error: SpoolError) -> None:
        """The spool cannot be written to, or read, for now."""
        full = isinstance(error, SpoolFull)
        seconds = backoff.delay(0, FULL_RETRY, FULL_RETRY) if full else self._delay()
        self._retry_at = time.monotonic() + seconds
        self._failures += 1
        self.error = str(error)
        self.recorder.full_cause = "spool_full" if full else "spool_failed"
        if isinstance(error, SpoolDamaged) and self.outbox is not None:
            outbox, self.outbox = self.outbox, None
            abandon(outbox, self.recorder)
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + QUIET
            log.error("routing log: rows wait in memory only, and are lost if this process dies: %s", error)

    def _delay(self) -> float:
        return backoff.delay(self._failures, FIRST_RETRY, LAST_RETRY)

    def begin_anew(self) -> None:
        """Let go of the slot: its rows, settled or not, are read back from the disk when it is opened again."""
        outbox, self.outbox = self.outbox, None
        if outbox is not None:
            with suppress(SpoolError):
                outbox.spool.close()

    def look(self) -> None:
        """See to the slot: somebody may have removed its file, which is then emptied while it is open; what the disk
        was too full to remove may be removable now; and it may take rows again, which no row would tell that waits."""
        if self.error is not None and not len(self.recorder):
            self.recovered()
        outbox = self.outbox
        if outbox is None:
            return
        if not outbox.spool.is_there():
            log.error("the spool %s was removed: its rows are lost if this process dies now", outbox.spool.path)
            self.outbox = None
            self.retired.append(outbox)
            return
        try:
            outbox.tidy()
        except SpoolError:
            with suppress(SpoolError):
                outbox.clear()

    def _taken(self, limit: int) -> list[Item]:
        taken = self.recorder.take(limit)
        try:
            return self._prepare(taken)
        except BaseException:
            self.recorder.put_back(taken)
            raise

    def _add(self, outbox: Outbox, records: list[Item]) -> bool:
        """Store records, divided where they do not fit into one chunk; those that cannot be stored now go back to the
        queue, and False is returned."""
        bounds = self._collector.spool.max_rows, self._collector.spool.max_bytes
        parts = [records] if records else []
        while parts:
            part = parts.pop()
            try:
                outbox.add(part, chunk.encode(part), *bounds)
                self._works()
            except (ChunkError, SpoolFull) as error:
                if isinstance(error, SpoolFull) and outbox.spool.rows:
                    return self._refused(part, parts, error)
                # Not a record that bytes can hold, or a chunk that is larger than the whole spool may be.
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                else:
                    self._set_apart(part[0])
            except SpoolError as error:
                return self._refused(part, parts, error)
        return True

    def _refused(self, part: list[Item], parts: list[list[Item]], error: SpoolError) -> bool:
        self.recorder.put_back([record for rest in (part, *reversed(parts)) for record in rest])
        self.failed(error)
        return False

    def _set_apart(self, record: Item) -> None:
        if len(self.unspoolable) + len(self.recorder) >= self.recorder.max_rows:
            self.recorder.drop("spool_full")
        else:
            self.unspoolable.append(record)

    def _works(self) -> None:
        if self.error is not None:
            log.warning("routing log: rows are stored in the spool again")
            self.error = None
            self._failures = 0
            self.recorder.full_cause = "queue_full"


def abandon(outbox: Outbox, recorder: Recorder) -> None:
    """Leave a damaged slot, kept under another name for whoever can read it. What is in memory goes back to the queue,
    the rest counts as lost."""
    rescued = outbox.take_back()
    recorder.put_back(rescued)
    lost = outbox.waiting - len(rescued)
    aside = outbox.spool.set_aside()
    if lost > 0:
        recorder.drop("spool_damaged", lost, f"they are in {aside}")
    with suppress(SpoolError):
        outbox.spool.close()
