"""A spool and how far it is delivered: chunks are kept in memory as well while the database keeps up, and are read back
from the disk when it does not."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from bsgateway.log import chunk
from bsgateway.log.chunk import ChunkError, Unreadable
from bsgateway.log.spool import Spool, Stored
from bsgateway.rows import Item

log = logging.getLogger(__name__)

WINDOW_BYTES = 16_000_000


class Batch(NamedTuple):
    """Rows to be settled together, and the chunks of the spool they came in: seqs `first` to `last`, `size` bytes.

    `rows` are those that it takes from the queue or the spool; `last` is 0 for rows that come from the queue.
    """

    records: Sequence[Item]
    unreadable: Sequence[Unreadable]
    rows: int
    first: int = 0
    last: int = 0
    size: int = 0
    replayed: bool = False


class _Kept(NamedTuple):
    """A chunk in memory."""

    seq: int
    size: int
    records: Sequence[Item]


class _Settled(NamedTuple):
    """Chunks that the database has and the spool could not remove yet."""

    first: int
    last: int
    rows: int
    size: int


class Outbox:
    """Hands out what is in a spool, oldest first, each row once; `done` removes it there.

    `window_rows` bounds what is kept in memory of what is on disk; 0 reads everything back.
    """

    def __init__(self, spool: Spool, window_rows: int = 0) -> None:
        self.spool = spool
        self._window_rows = window_rows
        self._window: deque[_Kept] = deque()
        self._kept_rows = self._kept_bytes = 0
        self._handed_out = 0  # rows that are in the spool and in hand
        self._settled: _Settled | None = None
        self._taken = 0  # the seq up to which chunks were handed out
        self._behind = spool.rows > 0  # whether the spool holds chunks that the window lacks

    @property
    def rows(self) -> int:
        """Rows that are not settled yet."""
        return self.spool.rows - (self._settled.rows if self._settled is not None else 0)

    @property
    def waiting(self) -> int:
        """Rows that were not handed out yet."""
        return self.rows - self._handed_out

    def add(self, records: Sequence[Item], payload: bytes, max_rows: int, max_bytes: int) -> None:
        """Store a chunk, made of `records`. Raises SpoolError, and then nothing was stored."""
        seq = self.spool.append(len(records), payload, max_rows, max_bytes)
        if self._behind or self._kept_rows >= self._window_rows or self._kept_bytes >= WINDOW_BYTES:
            self._behind = True
        else:
            self._window.append(_Kept(seq, len(payload), records))
            self._kept_rows += len(records)
            self._kept_bytes += len(payload)

    def next(self, max_rows: int) -> Batch | None:
        """The oldest rows: whole chunks of at most `max_rows` rows, but at least one chunk; None if there is none.
        Raises SpoolError."""
        batch = self._from_window(max_rows) if self._window else self._from_disk(max_rows) if self._behind else None
        if batch is not None:
            self._taken = batch.last
            self._handed_out += batch.rows
        return batch

    def done(self, batch: Batch) -> None:
        """The rows of `batch` are settled. Raises SpoolError when the spool cannot remove them: `tidy` tries again."""
        self._handed_out -= batch.rows
        old = self._settled or _Settled(batch.first, batch.first, 0, 0)
        self._settled = _Settled(old.first, batch.last, old.rows + batch.rows, old.size + batch.size)
        self.tidy()

    def tidy(self) -> None:
        """Remove what is settled from the spool. Raises SpoolError."""
        if self._settled is not None:
            self.spool.acknowledge(*self._settled)
            self._settled = None

    def clear(self) -> None:
        """Begin a new file, when all rows are settled and the disk is too full to remove them. Raises SpoolError."""
        if self._settled is not None and not self.rows:
            self.spool.recreate()
            self._settled, self._taken, self._behind = None, 0, False

    def take_back(self) -> list[Item]:
        """The rows that wait in memory as well, for a spool that is given up; they are no longer handed out."""
        records = [record for kept in self._window for record in kept.records]
        self._window.clear()
        self._kept_rows = self._kept_bytes = 0
        return records

    def _from_window(self, max_rows: int) -> Batch:
        records: list[Item] = []
        first = self._window[0].seq
        last = size = 0
        while self._window and (not records or len(records) + len(self._window[0].records) <= max_rows):
            kept = self._window.popleft()
            records += kept.records
            last, size = kept.seq, size + kept.size
        self._kept_rows -= len(records)
        self._kept_bytes -= size
        return Batch(records, (), len(records), first, last, size)

    def _from_disk(self, max_rows: int) -> Batch | None:
        found = self.spool.read(self._taken, max_rows)
        if not found:
            self._behind = False
            return None
        records: list[Item] = []
        unreadable: list[Unreadable] = []
        for stored in found:
            contents = _contents(stored, self.spool)
            records += contents.records
            unreadable += contents.unreadable
        rows, size = sum(stored.rows for stored in found), sum(len(stored.payload) for stored in found)
        self._behind = found[-1].seq < self.spool.last_seq
        return Batch(records, unreadable, rows, found[0].seq, found[-1].seq, size, replayed=True)


def _contents(stored: Stored, spool: Spool) -> chunk.Contents:
    try:
        if not stored.intact:
            raise ChunkError("its bytes are not those that were written")
        return chunk.decode(stored.payload)
    except ChunkError as error:
        log.error("chunk %d of %s, %d rows, cannot be read: %s", stored.seq, spool.path, stored.rows, error)
        return chunk.Contents([], [Unreadable("Chunk", stored.payload)])
