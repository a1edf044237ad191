"""What a replay of the log counts: where requests go, what that costs, and which of them are worth reading."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable

import msgspec

from .bootstrap import Totals
from .catalog import Model
from .gateway import Gateway, Pending
from .past import BUCKETS, Past
from .policy import EXPECTED_OUTPUT_TOKENS, Choice, Demand
from .prompt_caches import PromptCaches, Sent

NO_TIER = "-"
"""Stands for the tier of a request that goes to a model by its name, or to none."""

_ROOM = 10


class Costs(msgspec.Struct):
    """US dollars of `requests` requests, as they were decided and as they would be; `low` and `high` are the 95 %
    interval of the difference, None where there are too few conversations for one."""

    requests: int
    before: float
    after: float
    low: float | None
    high: float | None

    @property
    def difference(self) -> float:
        return self.after - self.before


class ReasonLine(msgspec.Struct):
    """The requests that a reason would settle: how many, how many of them go to a higher or lower tier, and costs."""

    reason: str
    requests: int
    up: int
    down: int
    costs: Costs


class Disagreement(msgspec.Struct, frozen=True):
    """A request that goes to another tier. Scores are after bias; costs in US dollars, None where unknown. `ask` is
    there only if it was asked for and kept."""

    decision_id: str
    tier: str
    new_tier: str
    score: int
    new_score: int
    reason: str
    cost: float | None
    new_cost: float | None
    ask: str | None = None


class Line(Totals):
    """Requests and costs of one kind."""

    def __init__(self) -> None:
        super().__init__(BUCKETS)
        self.requests = self.up = self.down = self.priced = 0
        self.before = self.after = 0.0

    def price(self, cluster: int, before: float, after: float) -> None:
        self.priced += 1
        self.before += before
        self.after += after
        self.add(cluster, after - before)

    def take_over(self, other: Line) -> None:
        """Count the requests of `other` too."""
        self.requests += other.requests
        self.up += other.up
        self.down += other.down
        self.priced += other.priced
        self.before += other.before
        self.after += other.after
        self.join(other)


class Tally:
    """Counts what became of the requests."""

    def __init__(self, gateway: Gateway, order: dict[str, int], most: int, texts: bool) -> None:
        seconds = gateway.config.routing.session.cache_seconds
        self._models = gateway.models
        self._order = order
        self._caches = PromptCaches(seconds), PromptCaches(seconds)
        self._most, self._texts = most, texts
        self._strongest: dict[str, tuple[tuple[int, int, float, str], Disagreement]] = {}
        self.requests = self.not_routed = self.needs_body = self.unserved = self.unanswered = 0
        self.moved: Counter[tuple[str, str]] = Counter()
        self.tiers: set[str] = set()
        self.unpriced: Counter[str] = Counter()
        self.logged_cost, self.logged_costs = 0.0, 0
        self.all = Line()
        self.reasons: dict[str, Line] = {}

    def forget(self, now: float) -> None:
        for caches in self._caches:
            caches.forget(now)

    def take_over(self, other: Tally) -> None:
        """Count what `other` has counted, of other conversations."""
        for name in ("requests", "not_routed", "needs_body", "unserved", "unanswered", "logged_cost", "logged_costs"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.moved.update(other.moved)
        self.tiers |= other.tiers
        self.unpriced.update(other.unpriced)
        self.all.take_over(other.all)
        for reason, line in other.reasons.items():
            self.reasons.setdefault(reason, Line()).take_over(line)
        self._strongest = dict(heapq.nlargest(self._most, [*self._best(), *other._best()], key=lambda item: item[1][0]))

    def note(self, row: Past, pending: Pending, choice: Choice) -> None:
        """Count a request and what was chosen for it."""
        old, new = row.tier or NO_TIER, choice.tier or NO_TIER
        self.moved[old, new] += 1
        self.tiers |= {old, new}
        self.unserved += choice.model is None
        if row.outcome_cost is not None:
            self.logged_cost += row.outcome_cost
            self.logged_costs += 1
        reason = choice.reason or pending.route.reason
        by_reason = self.reasons.setdefault(reason.value, Line())
        lines = (self.all, by_reason)
        distance = self._order.get(new, 0) - self._order.get(old, 0) if {old, new} <= self._order.keys() else 0
        for line in lines:
            line.requests += 1
            line.up += distance > 0
            line.down += distance < 0
        before, after = self._price(row, pending.demand, choice, lines)
        if old != new:
            self._disagree(row, pending, choice, abs(distance), before, after)

    def _price(
        self, row: Past, demand: Demand, choice: Choice, lines: Iterable[Line]
    ) -> tuple[float | None, float | None]:
        """Costs as it was decided and as it would be; counted where both are known."""
        if not row.answered:
            self.unanswered += 1
            return None, None
        pair = self._models.get(row.resolved_model), self._models.get(choice.model or "")
        costs = [
            None if model is None else caches.cost(_sent(row, demand, model), model)
            for model, caches in zip(pair, self._caches, strict=True)
        ]
        before, after = costs
        if before is not None and after is not None:
            for line in lines:
                line.price(row.cluster, before, after)
        elif choice.model is not None:
            self.unpriced[row.resolved_model if before is None else choice.model] += 1
        return before, after

    def _disagree(
        self, row: Past, pending: Pending, choice: Choice, distance: int, before: float | None, after: float | None
    ) -> None:
        """Keep the strongest: those that are most tiers apart, then most points, then most dollars."""
        score = score_of(row.raw_score or 0.0, row.bias)
        found = Disagreement(
            decision_id=str(row.decision_id),
            tier=row.tier or NO_TIER,
            new_tier=choice.tier or NO_TIER,
            score=score,
            new_score=score if choice.score is None else choice.score,
            reason=(choice.reason or pending.route.reason).value,
            cost=before,
            new_cost=after,
            ask=row.ask if self._texts else None,
        )
        dollars = 0.0 if before is None or after is None else abs(after - before)
        rank = (distance, abs(found.new_score - score), dollars, found.decision_id)
        key = row.conversation_id or found.decision_id
        if key not in self._strongest or rank > self._strongest[key][0]:
            self._strongest[key] = (rank, found)
        if len(self._strongest) > _ROOM * (self._most + 1):
            self._strongest = dict(self._best())

    def _best(self) -> list[tuple[str, tuple[tuple[int, int, float, str], Disagreement]]]:
        return heapq.nlargest(self._most, self._strongest.items(), key=lambda item: item[1][0])

    def disagreements(self) -> list[Disagreement]:
        """The strongest first."""
        return [found for _, (_, found) in self._best()]


def costs_of(line: Line) -> Costs:
    interval = line.interval()
    low, high = (None, None) if interval is None else interval
    return Costs(line.priced, line.before, line.after, low, high)


def score_of(raw: float, bias: int) -> int:
    return min(max(int(raw + bias + 0.5), 0), 100)


def _sent(row: Past, demand: Demand, model: Model) -> Sent:
    output = row.outcome_completion_tokens
    if output is None:
        limits = (demand.max_output_tokens, model.max_output_tokens)
        output = min((EXPECTED_OUTPUT_TOKENS, *(limit for limit in limits if limit)))
    alone = demand.side or row.conversation_id is None
    return Sent(row.conversation_id, row.at, demand, row.input_tokens, output, alone)
