"""Decisions and what came of them, folded into numbers. `figures.py` says what routed, priced and saved mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from bsgateway.decision import Decision, Outcome
from bsgateway.stamps import RoutingDecision

from . import families as f
from .registry import Labels, Registry

REMEMBERED = 8192
"""Requests that are known to have ended, and attempts that are known to have failed: LiteLLM may report them again."""
FAILED_SECONDS = 600.0
"""A failed attempt that nothing follows for so long has failed its request, if LiteLLM has not said so before."""


Ended = tuple[RoutingDecision, Outcome | None]
"""What LiteLLM reports of a request. Without an outcome: that it has failed for good."""


class _Failed(NamedTuple):
    at: float
    model: str


class Tally:
    """Folds for one process. `models` and `tiers` are the names that labels may have, and may be replaced."""

    def __init__(self, registry: Registry) -> None:
        self.models: Container[str] = ()
        self.tiers: Container[str] = ()
        self._registry = registry
        self._sums: defaultdict[tuple[f.Family, Labels], float] = defaultdict(float)
        self._ended: dict[UUID, bool] = {}  # whether it was answered
        self._failed: dict[UUID, _Failed] = {}

    def decided(self, decision: Decision) -> None:
        """A request was decided."""
        tier, strategy = self._tier(decision.tier), f.NONE if decision.strategy is None else decision.strategy.value
        model = self._model(decision.resolved_model)
        self._sums[f.DECISIONS, (tier, model, decision.method.value, strategy, decision.reason.value)] += 1
        self._registry.observe(f.DECISION_SECONDS, (strategy,), decision.decision_us / 1e6)
        if decision.explored:
            self._sums[f.EXPLORED, (tier,)] += 1
        if decision.applied and decision.expected_cost is not None:
            self._sums[f.EXPECTED_COST, ()] += decision.expected_cost

    def ended(self, ended: Ended) -> None:
        """An attempt or a request came to its end. The first success of a request counts, as in the log; a failure
        counts once it is certain that no other attempt follows."""
        routing, outcome = ended
        before = self._ended.get(routing.id)
        if before:
            return
        if outcome is not None and outcome.status == "success":
            self._answered(routing, outcome)
            self._settle(routing.id, answered=True)
        elif before is None and outcome is None:
            failed = self._failed.get(routing.id)
            self._refused(routing.id, _model_of(routing) if failed is None else failed.model)
        elif before is None and outcome is not None:
            model = outcome.served_group or _model_of(routing)
            self._sums[f.FAILED_ATTEMPTS, (self._model(model),)] += 1
            self._failed[routing.id] = _Failed(monotonic(), model)

    def flush(self) -> None:
        """Hand over what was added up. Raises what the registry raises; the rest is handed over the next time."""
        self._give_up()
        while self._sums:
            (family, labels), amount = self._sums.popitem()
            self._registry.add(family, labels, amount)

    def _answered(self, routing: RoutingDecision, outcome: Outcome) -> None:
        sums = self._sums
        served = outcome.served_group or _model_of(routing)
        model = self._model(served)
        fell_back = routing.applied and served != routing["resolved_model"]
        sums[f.REQUESTS, ("success", model, "true" if fell_back else "false")] += 1
        if outcome.latency_ms is not None:
            self._registry.observe(f.REQUEST_SECONDS, (model,), outcome.latency_ms / 1000)
        if outcome.first_token_ms is not None:
            self._registry.observe(f.FIRST_TOKEN_SECONDS, (model,), outcome.first_token_ms / 1000)
        for kind, tokens in (
            ("prompt", outcome.prompt_tokens),
            ("completion", outcome.completion_tokens),
            ("cache_read", outcome.cache_read_tokens),
            ("cache_write", outcome.cache_write_tokens),
        ):
            if tokens:
                sums[f.TOKENS, (kind, model)] += tokens
        if outcome.cost is None:
            return
        sums[f.SPENT, (model,)] += outcome.cost
        if routing["tier"] is not None and routing.applied and outcome.baseline_cost is not None:
            tier = self._tier(routing["tier"])
            sums[f.COST, (model, tier)] += outcome.cost
            sums[f.BASELINE_COST, (tier,)] += outcome.baseline_cost
            sums[f.SAVINGS, ()] += outcome.baseline_cost - outcome.cost

    def _refused(self, decision_id: UUID, model: str) -> None:
        self._sums[f.REQUESTS, ("failure", self._model(model), "false")] += 1
        self._settle(decision_id, answered=False)

    def _settle(self, decision_id: UUID, answered: bool) -> None:
        self._failed.pop(decision_id, None)
        self._ended[decision_id] = answered
        if len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def _give_up(self) -> None:
        """Failures that nothing followed."""
        until = monotonic() - FAILED_SECONDS
        while self._failed:
            decision_id, (at, model) = next(iter(self._failed.items()))
            if at > until and len(self._failed) <= REMEMBERED:
                return
            self._refused(decision_id, model)

    def _model(self, name: str) -> str:
        return name if name in self.models else f.OTHER

    def _tier(self, name: str | None) -> str:
        return f.NONE if name is None else name if name in self.tiers else f.OTHER


def _model_of(routing: RoutingDecision) -> str:
    """The model that a request went to, as far as the decision says."""
    name: str = routing["resolved_model"] if routing.applied else routing["original_model"]
    return name
