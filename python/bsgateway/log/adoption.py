"""Slots of a spool directory that were left by processes that are gone: taken over, and emptied."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from bsgateway.log.outbox import Outbox
from bsgateway.log.spool import Spool, SpoolError, slots

log = logging.getLogger(__name__)

RETRY_SECONDS = 300.0
"""After which a slot that could not be opened is tried again."""


class Adopter:
    """`outboxes` are the slots that this process empties for others."""

    def __init__(self, directory: Path | None) -> None:
        self.outboxes: list[Outbox] = []
        self._directory = directory
        self._empty: dict[Path, tuple[int, ...]] = {}  # slots that held nothing when they looked like this
        self._not_before: dict[Path, float] = {}  # slots that could not be opened

    def look(self, held: Collection[Path]) -> None:
        """Take over the slots that nobody holds, if they are not empty. `held` are our own."""
        if self._directory is None:
            return
        try:
            found = slots(self._directory)
        except SpoolError as error:
            log.warning("routing log: %s", error)
            return
        for path in found:
            due = path not in held and time.monotonic() >= self._not_before.get(path, 0.0)
            if due and _state(path) != self._empty.get(path):
                self._try(path)

    def release(self, outbox: Outbox) -> None:
        """Let go of a slot."""
        if outbox in self.outboxes:
            self.outboxes.remove(outbox)
        self._close(outbox.spool)

    def _try(self, path: Path) -> None:
        try:
            spool = Spool.try_open(path)
        except SpoolError as error:
            log.warning("routing log: %s", error)
            self._not_before[path] = time.monotonic() + RETRY_SECONDS
            return
        if spool is None:
            return
        if spool.rows:
            log.warning("routing log: %d rows of a process that is gone are in %s", spool.rows, path)
            self.outboxes.append(Outbox(spool))
        else:
            self._close(spool)

    def _close(self, spool: Spool) -> None:
        with suppress(SpoolError):
            spool.close()
        if not spool.rows:
            self._empty[spool.path] = _state(spool.path)


def _state(path: Path) -> tuple[int, ...]:
    """Something that changes when a slot is written to; empty when it is not there."""
    state: list[int] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):
            stat = file.stat()
            state += (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return tuple(state)
