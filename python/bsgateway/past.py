"""`Past`: a decision as the log remembers it, with what came of it; the shape that `replay` and `calibrate` read.

It comes from the database, or out of a file that `bsgateway logs export` wrote. The log holds no bodies.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec

from .decision import Reason, Skipped
from .errors import ReplayError
from .sql import queries
from .store import Store

FETCH_ROWS = 500
"""Rows in memory at once, words and all."""
FETCH_TIMEOUT = 600.0
"""Seconds for so many: a bound against a server that has gone, not against one that is slow."""
BUCKETS = 1024
"""Conversations are counted together by their hash, for the bootstrap: what is in memory does not grow with the log."""

_BESIDE = frozenset((Reason.SIDE_REQUEST.value, Reason.REQUESTED_TIER.value))


class Past(msgspec.Struct, frozen=True, gc=False):
    """One row of the log; the names are those of `bsgateway logs export`. None where the log does not know.

    `features` are of `feature_version`; tokens of the gateway's own encoding, those that begin with `outcome_` the
    provider's; costs in US dollars. `ask` is there only if words are kept and were asked for.
    """

    decision_id: UUID
    created_at: datetime
    call_type: str
    reason: str
    original_model: str
    resolved_model: str
    tier: str | None = None
    strategy: str | None = None
    raw_score: float | None = None
    bias: int = 0
    needs: tuple[str, ...] | None = None
    features: tuple[float, ...] | None = None
    feature_version: int | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    applied: bool | None = None
    conversation_id: str | None = None
    previous_model: str | None = None
    skipped: tuple[Skipped, ...] | None = None
    scorer_id: str | None = None
    propensity: float | None = None
    explored: bool | None = None
    llm_status: str | None = None
    llm_model: str | None = None
    llm_prompt: str | None = None
    outcome_status: str | None = None
    outcome_served_group: str | None = None
    outcome_prompt_tokens: int | None = None
    outcome_completion_tokens: int | None = None
    outcome_cache_read_tokens: int | None = None
    outcome_cache_write_tokens: int | None = None
    outcome_cost: float | None = None
    outcome_finish_reason: str | None = None
    rating: float | None = None
    weak_tier: str | None = None
    strong_tier: str | None = None
    weak_score: float | None = None
    strong_score: float | None = None
    ask: str | None = None

    @property
    def at(self) -> float:
        """Unix time in seconds."""
        return self.created_at.timestamp()

    @property
    def scored(self) -> bool:
        """Whether it was routed by score at all, as far as the log knows."""
        return self.strategy is not None and self.raw_score is not None

    @property
    def by_score(self) -> bool:
        """Whether its score had a say: no tier was asked for, and it is no side request."""
        return self.scored and self.reason not in _BESIDE

    @property
    def answered(self) -> bool:
        return self.outcome_status == "success"

    @property
    def input_tokens(self) -> int:
        """Those that the provider counted, or else the gateway."""
        return (self.context_tokens or 0) if self.outcome_prompt_tokens is None else self.outcome_prompt_tokens

    @property
    def cluster(self) -> int:
        """The bucket of its conversation, 0 to BUCKETS - 1: rows of one conversation are not independent."""
        return zlib.crc32((self.conversation_id or self.decision_id.hex).encode()) % BUCKETS


async def stream(store: Store, since: datetime, until: datetime, texts: bool) -> AsyncGenerator[list[Past], None]:
    """Rows from `since` on and before `until`, oldest first, in batches, all from one snapshot. Raises StoreError, and
    ReplayError for a row of another version."""
    async with (
        store.acquire("cannot read the log in") as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await queries().stream_in_order(connection)
        async with queries().replay_rows_cursor(connection, since=since, until=until, texts=texts) as factory:
            cursor = await factory
            while rows := await cursor.fetch(FETCH_ROWS, timeout=FETCH_TIMEOUT):
                try:
                    yield [msgspec.convert(dict(row), Past) for row in rows]
                except msgspec.ValidationError as error:
                    raise ReplayError(f"the log holds a row of another version: {error}: upgrade bsgateway") from None


def read_file(path: Path, advance: Callable[[int], None] = lambda _: None) -> Iterator[list[Past]]:
    """The rows of a file that `bsgateway logs export` wrote as JSON lines, in batches, in its order; `advance` is told
    of rows. Raises ReplayError that names the line."""
    decoder = msgspec.json.Decoder(Past)
    batch: list[Past] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.isspace():
                    continue
                try:
                    batch.append(decoder.decode(line))
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    raise ReplayError(
                        f"{path}:{number}: not a decision: {error}; the file must come from `bsgateway logs export`"
                    ) from None
                if len(batch) == FETCH_ROWS:
                    advance(len(batch))
                    yield batch
                    batch = []
    except OSError as error:
        raise ReplayError(f"{path} cannot be read: {error.strerror}") from error
    if batch:
        advance(len(batch))
        yield batch
