"""What the log of one process says of itself. The descriptions here are the source of the reference page."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

CAUSES = {
    "queue_full": "As many rows wait in memory as `queue_rows` and `queue_bytes` allow, and there is no spool.",
    "spool_full": "The spool holds as much as its bounds allow, the queue too, and the database takes nothing.",
    "spool_failed": "The spool cannot be written to, the queue is full, and the database takes nothing.",
    "text_full": "Words of a request: they may fill half of `queue_bytes`, and go first.",
    "redaction_failed": "Words of a request that could not be redacted are not stored. A bug: report it.",
    "refused": "A row that no table takes, not even routing_dead_letters.",
    "spool_damaged": "Rows of a damaged spool file. The file is kept, under the name that the message says.",
    "stopped": "Rows that came after the end of the log, or could be neither stored nor written before it.",
    "error": "A bug inside the queue: report it.",
}
"""Why a row is lost."""


class EmbedderStats(msgspec.Struct, frozen=True):
    """What the embedder did since the start of this worker.

    `embedded` texts got an embedding, `failed` ones never will, as `embedding_error` says of each. While the `circuit`
    is open, the model or the database is away, all texts wait, and `last_error` is the kind of the newest failure.
    """

    embedded: int
    failed: int
    circuit: Literal["closed", "open"]
    last_error: str | None


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot; counts are since the start of the process. Errors are named without the data of rows.

    Every field has a default: what a process of another version said is read as far as it is known.
    """

    queued: Annotated[int, Meta(description="Rows in memory only.")] = 0
    spooled_rows: Annotated[
        int, Meta(description="Rows on disk that the database does not have yet, those of adopted slots included.")
    ] = 0
    spooled_bytes: Annotated[int, Meta(description="What they take, without SQLite's own.")] = 0
    oldest_seconds: Annotated[float | None, Meta(description="Age of the oldest of them.")] = None
    written: Annotated[int, Meta(description="Rows that the database has.")] = 0
    replayed: Annotated[int, Meta(description="Of these, rows that were read back from the disk.")] = 0
    dead_lettered: Annotated[int, Meta(description="Rows that their table refused, in routing_dead_letters.")] = 0
    dropped: Annotated[dict[str, int], Meta(description="Rows that are lost, by cause.")] = field(default_factory=dict)
    batches: Annotated[int, Meta(description="Writes that succeeded.")] = 0
    retries: Annotated[int, Meta(description="Writes that failed and were, or will be, tried again.")] = 0
    flush_seconds: Annotated[float, Meta(description="Time that the successful writes took, together.")] = 0.0
    last_flush_seconds: Annotated[float | None, Meta(description="Time that the newest of them took.")] = None
    last_flush_at: Annotated[datetime | None, Meta(description="When it was done.")] = None
    circuit: Annotated[str, Meta(description="`open` while the database is waited for, else `closed`.")] = "closed"
    last_error: Annotated[str | None, Meta(description="Newest failure of a write: class and code.")] = None
    spool_error: Annotated[str | None, Meta(description="Why rows are not stored in the spool now.")] = None
    embedding: Annotated[
        EmbedderStats | None,
        Meta(
            description="Texts `embedded` and `failed` by this process, the `circuit` of its model, `last_error`. Null "
            "when no embeddings are configured."
        ),
    ] = None
