"""How the log of one process is, in two words: for `/bsgateway/ready`, which waits for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from bsgateway.log.intake import Intake
    from bsgateway.log.watch import Watch
    from bsgateway.log.writer import Writer


class LogHealth(msgspec.Struct, frozen=True):
    """Where rows go now, as far as the log's thread knows, which looks at the database every few seconds.

    `database` is `off`, and so is `spool`, where nothing is logged. A spool that is `full` has reached its bounds; one
    that has `failed` cannot be written to. `takes_rows` is whether a row that comes now has a place other than memory,
    or, without a spool, in memory.
    """

    database: Literal["reachable", "away", "off"]
    spool: Literal["accepting", "full", "failed", "off"]
    takes_rows: bool


OFF = LogHealth("off", "off", takes_rows=True)
DEAD = LogHealth("away", "failed", takes_rows=False)
"""Of a log whose thread has ended."""


def health_of(intake: Intake, writer: Writer, watch: Watch | None) -> LogHealth:
    """What a pipeline's parts say. May be called on any thread: it only reads what they have noted."""
    reachable = _is_reachable(writer, watch)
    database: Literal["reachable", "away"] = "reachable" if reachable else "away"
    queue = intake.recorder
    if intake.directory is None:
        return LogHealth(database, "off", takes_rows=reachable or len(queue) < queue.max_rows)
    if intake.error is None:
        return LogHealth(database, "accepting", takes_rows=True)
    return LogHealth(database, "full" if queue.full_cause == "spool_full" else "failed", takes_rows=reachable)


def _is_reachable(writer: Writer, watch: Watch | None) -> bool:
    if writer.is_open:
        return False
    written, looked = writer.last_flush_at, None if watch is None else watch.looked_at
    if watch is None or looked is None:
        return written is not None
    return watch.answers is True or (written is not None and written > looked)
