"""Strategy `llm`: one word from a local model, and the fallback's score on any trouble.

body -> question (what is asked) -> Ollama -> answer (a tier, and how sure) -> verdict -> score

`classifier.LlmClassifier` puts them together and sees to it that nobody waits: see there.
"""

from __future__ import annotations

import msgspec

from ...decision import LlmStatus
from .. import Classification


class Band(msgspec.Struct, frozen=True):
    """A tier as the model is told of it: its name, `first` and `last` score, inclusive, and what belongs there."""

    name: str
    first: int
    last: int
    description: str

    @property
    def middle(self) -> float:
        """The score of a request of which no more is known than its tier."""
        return (self.first + self.last) / 2


class Request(msgspec.Struct, frozen=True, gc=False):
    """What the model is told of a request: the newest real ask, whole or its beginning and its `tail`; the user's ask
    before it, "" for none; messages before it, declared tools, and tokens of it all."""

    ask: str
    tail: str = ""
    earlier: str = ""
    messages: int = 0
    tools: int = 0
    context_tokens: int = 0

    def __repr__(self) -> str:
        # Without the words: a repr ends up in logs.
        return f"Request({len(self.ask)} characters)"


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What came of asking. `scored` is the score where there is a verdict, and None where the fallback's stands.

    `tier`, `confidence` (0-1; 1 where the server tells no probabilities), `model` and `prompt`, the version of the
    question, are those of a verdict.
    """

    status: LlmStatus
    scored: Classification | None = None
    tier: str | None = None
    confidence: float | None = None
    model: str | None = None
    prompt: str | None = None
