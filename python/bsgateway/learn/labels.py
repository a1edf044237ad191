"""What a request of the log says about how good the answers of the cheapest and the dearest tier are.

Each label is a score from 0 to 1 of the one, the other or both, with a weight. Several labels of one request make a
mean by weight, and together they weigh what they add up to, but never more than 1. A verdict of the local LLM counts
only where there is no other label.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from ..config import Config
from ..core import core
from ..decision import VERDICTS, Reason
from .same_ask import NO_PROMPT, ask_hash


class Label(str, Enum):
    """Where a label comes from. `weight` is what it counts, `doc` what it says."""

    weight: float
    doc: str

    def __new__(cls, value: str, weight: float, doc: str) -> Label:
        member = str.__new__(cls, value)
        member._value_, member.weight, member.doc = value, weight, doc
        return member

    DUAL_RUN = "dual_run", 1.0, "two tiers answered and the answers were compared: both scores"
    DUAL_RUN_EMBEDDING = "dual_run_embedding", 0.7, "the same, compared by the similarity of embeddings only"
    TIER = "tier", 1.0, "feedback names the tier that would have been right: the cheapest suffices, or it fails"
    RATING = "rating", 1.0, "feedback rates an answer of the cheapest or the dearest tier: its score"
    RATING_BETWEEN = (
        "rating_between",
        0.5,
        "feedback rates an answer of a tier between below 0.5: the cheapest would have done no better",
    )
    JUDGED = "judged", 0.7, "as tier or rating, from a source whose name begins with judge or llm"
    ERROR = "error", 0.5, "the cheapest tier's model failed by itself, not for the network, a limit or the request"
    REFUSAL = "refusal", 0.5, "the cheapest tier's model refused, or its answer was filtered"
    ASKED_HIGHER = "asked_higher", 0.5, "after the cheapest tier's answer the client asked for a higher tier: it failed"
    RETRY = "retry", 0.3, "after the cheapest tier's answer the same was asked again soon: it failed"
    WENT_UP = "went_up", 0.1, "after the cheapest tier's answer the conversation went up a tier: it failed"
    WENT_ON = (
        "went_on",
        0.1,
        "after the cheapest tier's answer the conversation went on with something else: it was good",
    )
    # An opinion of a small model on the request, not an outcome; but there may be one for every request. Fifty are set
    # against one rating: where one request in fifty is rated or compared, both kinds count alike, and an ask that is
    # asked a hundred times is decided by three ratings.
    VERDICT = (
        "verdict",
        0.02,
        "nothing else is known, and the local LLM (strategy llm) named the cheapest tier: it suffices, or a higher "
        "one: it fails; the weight is times its confidence",
    )


MODEL_ERRORS = frozenset(
    (
        "APIResponseValidationError",
        "ContentPolicyViolationError",
        "ContextWindowExceededError",
        "JSONSchemaValidationError",
    )
)
"""LiteLLM's classes of errors that are the model's own."""
REFUSALS = frozenset(("content_filter", "refusal"))
"""Finish reasons of an answer that was refused."""
RETRY_SECONDS = 300.0
"""So soon the same ask is a retry."""
RETRY_CHARS = 20
"""A shorter ask ("go on", "yes") may be repeated for other reasons."""

_RESULTS_SINCE_ASK = core.FEATURE_NAMES.index("results_since_ask")
_JUDGES = ("judge", "llm")


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """What training reads of a row of `routing_training`; the fields are its columns."""

    decision_id: UUID
    created_at: datetime
    conversation_id: str | None = None
    session_id: str | None = None
    reason: str = ""
    tier: str | None = None
    resolved_model: str = ""
    served_group: str | None = None
    strategy: str | None = None
    raw_score: float | None = None
    features: Sequence[float] | None = None
    feature_version: int | None = None
    needs: Sequence[str] = ()
    ask: str | None = None
    status: str | None = None
    error_class: str | None = None
    finish_reason: str | None = None
    rating: float | None = None
    label: str | None = None
    label_source: str | None = None
    weak_score: float | None = None
    strong_score: float | None = None
    judge: str | None = None
    llm_status: str | None = None
    llm_tier: str | None = None
    llm_confidence: float | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Logged:
        """A row, whatever else is in it."""
        return cls(**{name: row[name] for name in cls.__struct_fields__ if name in row})

    @property
    def ask_hash(self) -> int:
        """That of its ask, NO_PROMPT if that is not known."""
        return ask_hash(self.ask) if self.ask else NO_PROMPT

    @property
    def in_tool_loop(self) -> bool:
        """Whether it carries results of tools that came after the ask."""
        return self.features is not None and self.features[_RESULTS_SINCE_ASK] > 0


class Tiers:
    """The tiers of a configuration, the cheapest first: `names` in order, and the model groups of each."""

    def __init__(self, models: Mapping[str, Sequence[str]]) -> None:
        self.names = tuple(models)
        self._ranks = {name: rank for rank, name in enumerate(models)}
        self._by_group: dict[str, int] = {}
        for rank, groups in enumerate(models.values()):
            for group in groups:
                self._by_group.setdefault(group, rank)

    @property
    def top(self) -> int:
        """Rank of the dearest tier; the cheapest has 0."""
        return len(self.names) - 1

    def rank(self, tier: str | None) -> int | None:
        """Place of a tier, None for one that is not there."""
        return None if tier is None else self._ranks.get(tier)

    def answered(self, row: Logged) -> int | None:
        """Place of the tier that answered: another than the chosen one after a fallback, and in shadow mode."""
        if row.served_group is None or row.served_group == row.resolved_model:
            return self.rank(row.tier)
        return self._by_group.get(row.served_group)


def tiers_of(config: Config) -> Tiers:
    """The tiers of a configuration, the cheapest first."""
    in_order = sorted(config.routing.tiers.items(), key=lambda item: item[1].score_range)
    return Tiers({name: tier.candidates for name, tier in in_order})


class Scores(msgspec.Struct):
    """What is known of a request so far: the scores that each label gives, and what it weighs."""

    found: dict[Label, tuple[float | None, float | None]] = msgspec.field(default_factory=dict)
    weights: dict[Label, float] = msgspec.field(default_factory=dict)

    def add(self, label: Label, weak: float | None, strong: float | None = None, confidence: float = 1.0) -> None:
        """A score of the cheapest tier's answer, of the dearest's, or of both. `confidence`, 0-1, scales the weight.

        An opinion gives way to all that is known besides: a verdict is only kept while there is nothing else.
        """
        if label is not Label.VERDICT:
            self.found.pop(Label.VERDICT, None)
            self.weights.pop(Label.VERDICT, None)
        elif self.found:
            return
        self.found[label] = (weak, strong)
        self.weights[label] = label.weight * confidence

    def combined(self) -> tuple[float, float, float]:
        """Score of the cheapest, of the dearest (NaN where nothing is known), and the weight, at most 1."""
        return self._mean(0), self._mean(1), min(1.0, sum(self.weights.values()))

    @property
    def source(self) -> Label:
        """The label that counts most, the first of several."""
        return max(self.weights, key=self.weights.__getitem__)

    def _mean(self, side: int) -> float:
        scores = ((self.weights[label], found[side]) for label, found in self.found.items())
        known = [(weight, score) for weight, score in scores if score is not None]
        total = sum(weight for weight, _ in known)
        return sum(weight * score for weight, score in known) / total if total else math.nan


def of_itself(row: Logged, tiers: Tiers) -> Scores:
    """What a request says by itself: dual run, feedback, verdict and outcome."""
    scores = Scores()
    if row.weak_score is not None and row.strong_score is not None:
        by_embedding = row.judge == "embedding"
        scores.add(Label.DUAL_RUN_EMBEDDING if by_embedding else Label.DUAL_RUN, row.weak_score, row.strong_score)
    _add_feedback(scores, row, tiers)
    if tiers.answered(row) == 0:
        if row.status == "failure" and row.error_class in MODEL_ERRORS:
            scores.add(Label.ERROR, 0.0)
        if row.finish_reason in REFUSALS:
            scores.add(Label.REFUSAL, 0.0)
    _add_verdict(scores, row, tiers)
    return scores


def _add_feedback(scores: Scores, row: Logged, tiers: Tiers) -> None:
    judged = (row.label_source or "").lower().startswith(_JUDGES)
    right = tiers.rank(row.label)
    if right is not None:
        # Who says that a tier would have been right says that the dearest would have been good as well.
        scores.add(Label.JUDGED if judged else Label.TIER, float(right == 0), 1.0)
    elif row.rating is not None:
        answered = tiers.answered(row)
        if answered == 0:
            scores.add(Label.JUDGED if judged else Label.RATING, row.rating)
        elif answered == tiers.top:
            scores.add(Label.JUDGED if judged else Label.RATING, None, row.rating)
        elif answered is not None and row.rating < 0.5:
            scores.add(Label.RATING_BETWEEN, row.rating)


def _add_verdict(scores: Scores, row: Logged, tiers: Tiers) -> None:
    named = tiers.rank(row.llm_tier) if row.llm_status in VERDICTS else None
    confidence = 1.0 if row.llm_confidence is None else row.llm_confidence
    if named is not None and confidence > 0.0:
        scores.add(Label.VERDICT, float(named == 0), confidence=min(confidence, 1.0))


def of_next(row: Logged, then: Logged, tiers: Tiers) -> Label | None:
    """What `then`, the next request of the same conversation, says about the cheapest tier's answer to `row`."""
    if row.status != "success":  # what is sent again after an error says nothing about an answer
        return None
    rank, now = tiers.answered(row), tiers.rank(then.tier)
    if rank is not None and now is not None and now > rank:
        return Label.ASKED_HIGHER if then.reason == Reason.REQUESTED_TIER.value else Label.WENT_UP
    if row.ask_hash == NO_PROMPT or then.ask_hash == NO_PROMPT:
        return None
    if row.ask_hash != then.ask_hash:
        return Label.WENT_ON
    soon = (then.created_at - row.created_at).total_seconds() <= RETRY_SECONDS
    again = soon and not then.in_tool_loop and len(row.ask or "") >= RETRY_CHARS
    return Label.RETRY if again else None
