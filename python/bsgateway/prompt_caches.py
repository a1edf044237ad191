"""What lies in the prompt caches of models, and what a request costs with them: an estimate for `replay`."""

from __future__ import annotations

from collections.abc import Hashable

import msgspec

from .catalog import Model
from .policy import PROMPT_CACHE, Demand


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A request as prompt caches see it: `thread` is what it belongs to, `at` its time in seconds, `input` and `output`
    its tokens. A request `alone` has a beginning of its own, which no cache holds."""

    thread: Hashable
    at: float
    demand: Demand
    input: int
    output: int
    alone: bool = False


class PromptCaches:
    """The prompt caches of all models: each keeps what it last read and wrote of a thread, for `seconds`.

    Anthropic's models read and fill their cache only where the client marks what to keep.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: dict[tuple[Hashable, str], tuple[int, float]] = {}

    def cost(self, sent: Sent, model: Model) -> float | None:
        """US dollars of the request at `model`, which then has it in its cache."""
        if sent.alone:
            return model.price.of(sent.input, sent.output)
        marked = PROMPT_CACHE in sent.demand.needs
        cached = 0
        if marked or model.family != "anthropic":
            key = (sent.thread, model.name)
            tokens, at = self._kept.get(key, (0, -1.0))
            fresh = tokens > 0 and sent.at - at < self._seconds
            cached = min(tokens, sent.input) if fresh and model.price.cache_read is not None else 0
            self._kept[key] = (sent.input, sent.at)
        written = sent.input - cached if marked else 0
        return model.price.of(sent.input, sent.output, cached, written)

    def forget(self, before: float) -> None:
        """Let go of what no cache holds any more at the time `before`."""
        self._kept = {key: kept for key, kept in self._kept.items() if before - kept[1] < self._seconds}
