"""Rows of the log -> `Rows`: requests that have a label, as a learned model sees them.

The features are those that were logged when the request was decided, the very ones that are seen when a model serves.
The words are those of the kept ask: redacted if texts are kept redacted, so that a word that redaction takes away is
seen in serving only; cut at `collector.text_chars`; none at all where no texts are kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from ..config import Static
from ..core import core
from ..log_scores import static_scorer
from ..sql import queries
from ..store import Store
from .asks import BATCH, default_analyzer, matrix, word_matrix
from .dataset import chunks
from .labelling import V1_FEATURES, Counts, Labelling
from .labels import Logged, Scores, Tiers
from .model_file import prompt_hashes
from .rows import Floats, Rows
from .same_ask import NO_PROMPT, hash63

FETCH_ROWS = 500
FETCH_TIMEOUT = 600.0  # seconds, for so many: a bound against a server that has gone

_ASK_BYTES = core.FEATURE_NAMES.index("ask_bytes")


class LogRows:
    """Takes rows of the log in the order of their time, and gives those that have a label, a little later: a request
    waits for the next one of its conversation.

    `static`: settings of the static score, for rows that another strategy scored.
    """

    def __init__(self, tiers: Tiers, static: Static | None = None) -> None:
        self._labelling = Labelling(tiers)
        static = static or Static()
        self._static = static_scorer(msgspec.structs.asdict(static.weights), static.token_thresholds)
        self._analyzer = default_analyzer()

    @property
    def counts(self) -> Counts:
        """What became of the rows so far."""
        return self._labelling.counts

    def add(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Rows]:
        """Take rows, mappings with the columns of the view `routing_training`; those that are ready."""
        for chunk in chunks(self._labelling.add(rows), BATCH):
            yield self._rows(chunk)

    def finish(self) -> Iterator[Rows]:
        """What still waits, after the last row."""
        for chunk in chunks(self._labelling.finish(), BATCH):
            yield self._rows(chunk)

    def _rows(self, found: Sequence[tuple[Logged, Scores]]) -> Rows:
        rows = [row for row, _ in found]
        asks = [row.ask or "" for row in rows]
        features = self._features(rows)
        needs = [tuple(row.needs) for row in rows]
        scores = np.array([scores.combined() for _, scores in found], dtype=np.float64)
        prompts = prompt_hashes(asks)
        prompts[[not ask for ask in asks]] = NO_PROMPT
        return Rows(
            inputs=matrix(core.model_inputs(features.tobytes(), needs), len(core.INPUT_NAMES)),
            words=word_matrix(*core.word_buckets(asks)),
            weak=scores[:, 0],
            strong=scores[:, 1],
            weight=scores[:, 2],
            group=np.array([_group(row) for row in rows], dtype=np.int64),
            at=np.array([row.created_at.timestamp() for row in rows]),
            length=features[:, _ASK_BYTES].copy(),
            static=np.array([self._static_score(row, each) for row, each in zip(rows, features, strict=True)]),
            prompts=prompts,
            source=np.array([scores.source.value for _, scores in found], dtype=object),
        )

    def _features(self, rows: Sequence[Logged]) -> Floats:
        """The logged features; of version 1, completed from the ask, which is what all newer ones are about."""
        features = np.zeros((len(rows), len(core.FEATURE_NAMES)))
        for place, row in enumerate(rows):
            features[place, : len(row.features or ())] = row.features
        old = [place for place, row in enumerate(rows) if row.feature_version == 1]
        if old:
            batch = self._analyzer.featurize([rows[place].ask or "" for place in old])
            features[old, V1_FEATURES:] = matrix(batch.features, len(core.FEATURE_NAMES))[:, V1_FEATURES:]
        return features

    def _static_score(self, row: Logged, features: Floats) -> float:
        if row.strategy == "static" and row.raw_score is not None:
            return row.raw_score
        return self._static(tuple(features.tolist()))


def _group(row: Logged) -> int:
    return hash63(row.conversation_id or row.session_id or str(row.decision_id))


async def read_log(
    store: Store,
    since: datetime,
    until: datetime | None,
    into: LogRows,
    keep: Callable[[Rows], None],
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Read the decisions of a time from the log as it is at one moment, and give those with a label to `keep`.

    What is in memory at once does not grow with the log. `advance` is told of rows read. Raises StoreError.
    """
    async with contextlib.aclosing(_batches(store, since, until)) as batches:
        async for batch in batches:
            for rows in into.add(batch):
                keep(rows)
            advance(len(batch))
    for rows in into.finish():
        keep(rows)


async def _batches(store: Store, since: datetime, until: datetime | None) -> AsyncGenerator[list[Any], None]:
    async with (
        store.acquire("cannot read the log in") as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await queries().stream_in_order(connection)
        async with queries().training_rows_cursor(connection, since=since, until=until) as factory:
            cursor = await factory
            while batch := await cursor.fetch(FETCH_ROWS, timeout=FETCH_TIMEOUT):
                yield batch
