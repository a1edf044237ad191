"""Classification + size of the request + candidates -> tier and model. Pure: no clock, no I/O, no state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from .config import Routing, Tier
from .decision import Reason
from .pricing import Price

EXPECTED_OUTPUT_TOKENS = 500
"""Output assumed when candidates are compared, unless the client set a lower limit."""
BOUNDARY_SPAN = 15.0
"""Distance in points from the nearest tier boundary at which confidence reaches 1."""


class Candidate(msgspec.Struct, frozen=True):
    """A model that may serve a tier."""

    model: str
    price: Price


class TierPlan(msgspec.Struct, frozen=True):
    """A tier prepared for deciding: `first` and `last` score, inclusive, and its candidates in the operator's order.

    `low` and `high` are the boundaries to the tiers below and above, infinite where there is none.
    """

    name: str
    first: int
    last: int
    candidates: tuple[Candidate, ...]
    low: float
    high: float

    def confidence(self, score: float) -> float:
        """0.5 on a boundary of the tier to 1 far from both: how far the score is from another tier, not a
        probability."""
        distance = min(score - self.low, self.high - score)
        return 0.5 + 0.5 * min(distance / BOUNDARY_SPAN, 1.0)


class Choice(msgspec.Struct, frozen=True):
    """What the policy chose. `reason` is None when the score alone settled it."""

    tier: str
    model: str
    score: int
    confidence: float
    reason: Reason | None


class Policy:
    """The tiers of one config, prepared once. Safe to share."""

    def __init__(self, routing: Routing, prices: Mapping[str, Price]) -> None:
        plans = [_plan(name, tier, prices) for name, tier in routing.tiers.items()]
        self.tiers: tuple[TierPlan, ...] = tuple(sorted(plans, key=lambda plan: plan.first))
        self._by_score = tuple(index for index, plan in enumerate(self.tiers) for _ in range(plan.first, plan.last + 1))
        fallback = next(plan for plan in self.tiers if plan.name == routing.fallback_tier)
        self.fallback = (fallback.name, fallback.candidates[0].model)
        self.baseline = self.tiers[-1].candidates[0]
        """The first candidate of the highest tier: what every request would have cost without routing."""

    def choose(self, raw_score: float, bias: int, context_tokens: int, max_output_tokens: int | None) -> Choice:
        """The tier of `raw_score` + `bias`, and the cheapest of its candidates that can hold the request.

        A tier none of whose candidates can hold it yields to the next one up, then down; when none can, the score's
        tier keeps it, and the provider's own error says so.
        """
        score = min(max(math.floor(raw_score + bias + 0.5), 0), 100)
        output = min(max_output_tokens or EXPECTED_OUTPUT_TOKENS, EXPECTED_OUTPUT_TOKENS)
        home = self._by_score[score]
        plan = self.tiers[home]
        confidence = plan.confidence(raw_score + bias)
        if len(plan.candidates) == 1 and plan.candidates[0].price.holds(context_tokens + output):
            return Choice(plan.name, plan.candidates[0].model, score, confidence, None)
        for index in (*range(home, len(self.tiers)), *range(home - 1, -1, -1)):
            fitting = [c for c in self.tiers[index].candidates if c.price.holds(context_tokens + output)]
            if fitting:
                model, dearer = _cheapest(fitting, context_tokens, output)
                moved = index != home
                reason = Reason.CONTEXT_WINDOW if moved else Reason.CHEAPEST if dearer else None
                return Choice(self.tiers[index].name, model, score, confidence, reason)
        return Choice(plan.name, plan.candidates[0].model, score, confidence, None)


def _plan(name: str, tier: Tier, prices: Mapping[str, Price]) -> TierPlan:
    first, last = tier.score_range
    return TierPlan(
        name,
        first,
        last,
        tuple(Candidate(model, prices[model]) for model in tier.candidates),
        first - 0.5 if first > 0 else -math.inf,
        last + 0.5 if last < 100 else math.inf,
    )


def _cheapest(candidates: Sequence[Candidate], context: int, output: int) -> tuple[str, bool]:
    """The cheapest for this request, the first of equals; and whether another one was dearer. A candidate without a
    price counts as dearer than any with one."""
    costs = [candidate.price.of(context, output) for candidate in candidates]
    known = [math.inf if cost is None else cost for cost in costs]
    best = known.index(min(known))
    return candidates[best].model, max(known) > known[best]
