"""What is counted of the strategy llm, for metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from ...decision import LlmStatus


class LlmStats(msgspec.Struct, frozen=True):
    """Requests by `LlmStatus`, and the state of things. Counts are since the start of the process, times in seconds.

    `asked` are the questions that were answered with a verdict, `seconds` how long they took together and
    `last_seconds` the newest of them: fewer than requests, as equal ones share a question. `last_failure` is the kind
    of the newest failure of a request's question or of a probe.
    """

    statuses: Mapping[str, int]
    circuit: str
    warm: bool
    in_flight: int
    waiting: int
    memo_entries: int
    asked: int
    seconds: float
    last_seconds: float | None
    last_failure: str | None


class Tally:
    """The counters behind it, which go over to the next configuration."""

    def __init__(self) -> None:
        self.statuses: Counter[LlmStatus] = Counter()
        self.asked = 0
        self.seconds = 0.0
        self.last_seconds: float | None = None
        self.last_failure: LlmStatus | None = None

    def answered(self, seconds: float) -> None:
        """A question got its verdict."""
        self.asked += 1
        self.seconds += seconds
        self.last_seconds = seconds
