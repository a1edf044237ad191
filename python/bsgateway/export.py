"""`bsgateway logs export`: what is exported, and how it is read. The files are made by `bsgateway.export_files`.

One row for each decision, oldest first: the columns of `routing_logs`, those of `routing_outcomes` with `outcome_`
before their names, `rating`, `label` and `label_source` of the newest feedback, what a dual run found and, if asked
for, the words of `routing_texts`.
"""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from .sql import queries
from .store import Store

if TYPE_CHECKING:
    import asyncpg

    Row = asyncpg.Record


class Kind(enum.Enum):
    """Type of a column."""

    ID = enum.auto()
    """A uuid, in files as text."""
    MOMENT = enum.auto()
    """Microseconds, UTC."""
    TEXT = enum.auto()
    SMALL = enum.auto()
    """16 bits."""
    INTEGER = enum.auto()
    """32 bits."""
    BIG = enum.auto()
    """64 bits."""
    NUMBER = enum.auto()
    """A float of 64 bits."""
    FLAG = enum.auto()
    TEXTS = enum.auto()
    """A list of texts."""
    NUMBERS = enum.auto()
    """A list of floats of 32 bits."""
    CONTRIBUTIONS = enum.auto()
    """A list of {signal, value, weight, points}."""
    SKIPPED = enum.auto()
    """A list of {model, reason}."""


# The types are declared, not taken from the first rows: a column without a single value has its type all the same. In
# the order of `export_rows`.
COLUMNS: Mapping[str, Kind] = {
    "decision_id": Kind.ID,
    "created_at": Kind.MOMENT,
    "call_type": Kind.TEXT,
    "method": Kind.TEXT,
    "reason": Kind.TEXT,
    "original_model": Kind.TEXT,
    "resolved_model": Kind.TEXT,
    "tier": Kind.TEXT,
    "complexity_score": Kind.SMALL,
    "strategy": Kind.TEXT,
    "confidence": Kind.NUMBER,
    "raw_score": Kind.NUMBER,
    "bias": Kind.INTEGER,
    "contributions": Kind.CONTRIBUTIONS,
    "needs": Kind.TEXTS,
    "features": Kind.NUMBERS,
    "feature_version": Kind.INTEGER,
    "ask_tokens": Kind.BIG,
    "system_tokens": Kind.BIG,
    "context_tokens": Kind.BIG,
    "tool_tokens": Kind.BIG,
    "tokens_exact": Kind.FLAG,
    "max_output_tokens": Kind.BIG,
    "stream": Kind.FLAG,
    "call_id": Kind.TEXT,
    "session_id": Kind.TEXT,
    "key_hash": Kind.TEXT,
    "key_alias": Kind.TEXT,
    "user_id": Kind.TEXT,
    "team_id": Kind.TEXT,
    "end_user": Kind.TEXT,
    "user_agent": Kind.TEXT,
    "decision_us": Kind.NUMBER,
    "token_encoding": Kind.TEXT,
    "applied": Kind.FLAG,
    "conversation_id": Kind.TEXT,
    "previous_model": Kind.TEXT,
    "skipped": Kind.SKIPPED,
    "expected_cost": Kind.NUMBER,
    "changes": Kind.TEXTS,
    "ignored": Kind.TEXTS,
    "scorer_id": Kind.TEXT,
    "propensity": Kind.NUMBER,
    "explored": Kind.FLAG,
    "llm_status": Kind.TEXT,
    "llm_tier": Kind.TEXT,
    "llm_confidence": Kind.NUMBER,
    "llm_model": Kind.TEXT,
    "llm_prompt": Kind.TEXT,
    "outcome_completed_at": Kind.MOMENT,
    "outcome_status": Kind.TEXT,
    "outcome_call_id": Kind.TEXT,
    "outcome_served_group": Kind.TEXT,
    "outcome_served_model": Kind.TEXT,
    "outcome_provider": Kind.TEXT,
    "outcome_prompt_tokens": Kind.BIG,
    "outcome_completion_tokens": Kind.BIG,
    "outcome_cache_read_tokens": Kind.BIG,
    "outcome_cache_write_tokens": Kind.BIG,
    "outcome_cost": Kind.NUMBER,
    "outcome_baseline_model": Kind.TEXT,
    "outcome_baseline_cost": Kind.NUMBER,
    "outcome_latency_ms": Kind.NUMBER,
    "outcome_first_token_ms": Kind.NUMBER,
    "outcome_error_class": Kind.TEXT,
    "outcome_error_status": Kind.INTEGER,
    "outcome_finish_reason": Kind.TEXT,
    "rating": Kind.NUMBER,
    "label": Kind.TEXT,
    "label_source": Kind.TEXT,
    "weak_tier": Kind.TEXT,
    "strong_tier": Kind.TEXT,
    "weak_model": Kind.TEXT,
    "strong_model": Kind.TEXT,
    "weak_score": Kind.NUMBER,
    "strong_score": Kind.NUMBER,
    "judge": Kind.TEXT,
}
# These too, after those, if texts are asked for.
WORDS: Mapping[str, Kind] = {
    "ask": Kind.TEXT,
    "system": Kind.TEXT,
    "redacted": Kind.FLAG,
    "embedding": Kind.NUMBERS,
    "embedding_model": Kind.TEXT,
}

# A batch is what is in memory at once, besides what a format keeps. Rows without words are of like size; words are not.
FIRST_ROWS = 16
BATCH_ROWS = 2_000
BATCH_WORDS = 4_000_000  # characters of words, and numbers of embeddings
# Seconds for one batch: a bound against a server that has gone, not against one that is slow.
FETCH_TIMEOUT = 600.0


class Selection(msgspec.Struct, frozen=True):
    """Decisions made at `since` or later and before `until`, if there is one; with their words if `texts`."""

    since: datetime
    until: datetime | None = None
    texts: bool = False

    @property
    def columns(self) -> dict[str, Kind]:
        """The columns of its rows, in order."""
        return {**COLUMNS, **WORDS} if self.texts else dict(COLUMNS)


class Summary(msgspec.Struct, frozen=True):
    """What an export was: rows, bytes of the file, seconds."""

    rows: int
    bytes: int
    seconds: float


class Writer(Protocol):
    """Takes rows, batch by batch, and turns them into a file of one format."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows, whose values are in the order of the columns. Raises OSError and ExportError."""

    def finish(self) -> int:
        """Write what is not written yet and what comes last; bytes of the whole. Raises OSError."""

    def abandon(self) -> None:
        """Write nothing more: the file will not be kept."""


async def export(url: str, selection: Selection, writer: Writer, advance: Callable[[int], None]) -> Summary:
    """Write the selection's rows in the database at `url`, as they are at one moment; `advance` is told of rows.

    What is in memory at once does not grow with the number of rows. Raises StoreError, and what the writer raises.
    """
    started, count = time.monotonic(), 0
    async with await Store.connect(url) as store, contextlib.aclosing(read(store, selection)) as batches:
        async for rows in batches:
            writer.write(rows)
            count += len(rows)
            advance(len(rows))
    return Summary(count, writer.finish(), time.monotonic() - started)


async def read(store: Store, selection: Selection) -> AsyncGenerator[list[Row], None]:
    """The selection's rows in batches, oldest first, all from one snapshot of the database. Raises StoreError.

    A row has the columns of `COLUMNS` and `WORDS`, whose values are None unless the selection asks for them.
    """
    async with (
        store.acquire("cannot export the log from") as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await queries().stream_in_order(connection)
        async with queries().export_rows_cursor(connection, **msgspec.structs.asdict(selection)) as factory:
            cursor = await factory
            count = FIRST_ROWS
            while rows := await cursor.fetch(count, timeout=FETCH_TIMEOUT):
                yield rows
                words = sum(map(_words, rows)) // len(rows)
                count = min(2 * count, BATCH_ROWS, max(1, BATCH_WORDS // (words + 1)))


def _words(row: Mapping[str, Any]) -> int:
    return sum(len(row[name] or ()) for name in ("ask", "system", "embedding"))
