"""Rows of the log in the order of their time -> those that have a label, with it.

Needs none of the packages of the `train` extra: the page about learning counts labels by the same rules.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ..core import core
from .labels import Label, Logged, Scores, Tiers, of_itself, of_next

V1_FEATURES = 25
"""So many features, the first ones, there were in version 1."""
WAIT_SECONDS = 1_800.0
"""So long after a request, the next one of its conversation still says something about it."""
WAITING_ROWS = 10_000
"""So many requests, the newest, wait for the next one of their conversation."""


class Counts(msgspec.Struct):
    """What became of the rows that were read: `labelled` are those that training has, `without_words` of them those
    whose ask was not kept. `old` had features of version 1 without the ask that the rest is made of, `other` features
    that this version cannot read. `labels`: how often each label was found."""

    read: int = 0
    labelled: int = 0
    without_words: int = 0
    old: int = 0
    other: int = 0
    labels: Counter[str] = msgspec.field(default_factory=Counter)


class Labelling:
    """Takes rows of the log in the order of their time, and gives those that have a label, a little later: a request
    waits for the next one of its conversation."""

    def __init__(self, tiers: Tiers) -> None:
        self.counts = Counts()
        self._tiers = tiers
        self._waiting: OrderedDict[str, tuple[Logged, Scores]] = OrderedDict()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Logged, Scores]]:
        """Take rows, mappings with the columns of the view `routing_training`; those that are ready."""
        return (done for row in rows for done in self._take(Logged.of(row)))

    def finish(self) -> Iterator[tuple[Logged, Scores]]:
        """What still waits, after the last row."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        return self._labelled(waiting)

    def _take(self, row: Logged) -> Iterator[tuple[Logged, Scores]]:
        """`row` comes in; which go out with their labels?"""
        self.counts.read += 1
        done = list(self._overdue(row))
        key = row.conversation_id
        if key is not None and (before := self._waiting.pop(key, None)) is not None:
            if (label := of_next(before[0], row, self._tiers)) is not None:
                before[1].add(label, 1.0 if label is Label.WENT_ON else 0.0)
            done.append(before)
        found = row, of_itself(row, self._tiers)
        if self._is_known(row):
            if key is not None and self._tiers.answered(row) == 0:
                self._waiting[key] = found
            else:
                done.append(found)
        return self._labelled(done)

    def _overdue(self, row: Logged) -> Iterator[tuple[Logged, Scores]]:
        while self._waiting:
            key, (oldest, _) = next(iter(self._waiting.items()))
            age = (row.created_at - oldest.created_at).total_seconds()
            if age <= WAIT_SECONDS and len(self._waiting) < WAITING_ROWS:
                return
            yield self._waiting.pop(key)

    def _is_known(self, row: Logged) -> bool:
        features = row.features or ()
        version, count = row.feature_version, len(features)
        if not all(0.0 <= value < math.inf for value in features):
            version = None
        if version == core.FEATURE_VERSION and count == len(core.FEATURE_NAMES):
            return True
        if version == 1 and count == V1_FEATURES:
            self.counts.old += not row.ask
            return bool(row.ask)
        self.counts.other += 1
        return False

    def _labelled(self, rows: Iterable[tuple[Logged, Scores]]) -> Iterator[tuple[Logged, Scores]]:
        for row, scores in rows:
            if scores.found:
                self.counts.labelled += 1
                self.counts.without_words += not row.ask
                self.counts.labels.update(label.value for label in scores.found)
                yield row, scores
