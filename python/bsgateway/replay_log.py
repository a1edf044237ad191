"""Replay of the log: what another configuration, model or strategy would have made of the requests of some days.

The log holds no bodies. A request is decided anew by the policy from what was stored of it: score, needs, tokens, the
order within its conversation, in which the new decisions follow each other. What the log does not hold is taken as it
was then, or left open, and counted (`Assumed`). Nothing is sent anywhere. Both ways are priced by the same rule, the
tokens of the answer that there was at the prices of the configuration, so that their difference is not one of rules.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from .classifiers import Classification
from .core import core
from .decision import Caller, Reason
from .gateway import FAMILIES, FORMATS, Gateway, Pending
from .log_scores import LogScorer, Scored
from .names import Names, Route
from .past import Past
from .policy import SERVER_STATE, Choice, Demand
from .replay_tally import NO_TIER, Costs, Disagreement, ReasonLine, Tally, costs_of, score_of
from .sessions import Session, Sessions, after
from .wishes import Wisher, Wishes

_RESULTS = core.FEATURE_NAMES.index("results_since_ask")
_TURNS = core.FEATURE_NAMES.index("turns")
_OF_THE_MOMENT = frozenset((Reason.NOT_ALLOWED, Reason.OVER_BUDGET, Reason.COOLING_DOWN))
_FORGET_ROWS = 10_000


class Assumed(msgspec.Struct):
    """Requests that were decided anew although the log does not hold all that it takes; what was assumed for them.

    `access`: models that the caller could not have then (not allowed, over budget, cooling down) cannot be had now, and
    all others can. `limits`: a limit of tiers that came from key, team or client is the tier where the request went.
    `state`: what the provider keeps of the conversation is the only thing that binds it. `joined`: the conversation
    began before the time that is replayed, and is decided as if it began here. `requested`: the client asked for a tier
    that the configuration does not have, so the score decides. `explored`: chance sent it where it went, and the new
    decision leaves nothing to chance.
    """

    access: int = 0
    limits: int = 0
    state: int = 0
    joined: int = 0
    requested: int = 0
    explored: int = 0


class LogReport(msgspec.Struct):
    """What came of a replay. `moved` counts requests by (tier then, tier now), in the order of `tiers`.

    `not_routed` are served by name then and now; `needs_body` would be routed by score, and the log holds nothing to
    score them by. `unanswered` and `unpriced` requests are in no cost; `unpriced_models` says why.
    `logged_cost` is what the answers cost, as the log has it, over `logged_costs` of them.
    """

    since: datetime
    until: datetime
    strategy: str
    scorer_id: str | None
    requests: int
    not_routed: int
    needs_body: int
    scored: Scored
    assumed: Assumed
    tiers: list[str]
    moved: dict[str, dict[str, int]]
    unserved: int
    costs: Costs
    unanswered: int
    unpriced: int
    unpriced_models: list[str]
    logged_cost: float
    logged_costs: int
    reasons: list[ReasonLine]
    disagreements: list[Disagreement]

    @property
    def decided(self) -> int:
        return sum(sum(row.values()) for row in self.moved.values())

    @property
    def changed(self) -> int:
        """Requests that go to another tier."""
        return sum(count for old, row in self.moved.items() for new, count in row.items() if new != old)


class Findings(NamedTuple):
    """What a replay has found."""

    tally: Tally
    scored: Scored
    assumed: Assumed


class LogReplay:
    """Decides the rows of a log anew, in the order they come in.

    `logged_by` is the gateway under which the log was written: its biases are taken off the logged ones, and those of
    `gateway` put on. Rows before `since` are only followed, for the conversations that they belong to. `most` is how
    many disagreements are kept, one for each conversation; with `texts`, and what was asked.
    """

    def __init__(
        self, gateway: Gateway, logged_by: Gateway, scorer: LogScorer, since: datetime, most: int, texts: bool = False
    ) -> None:
        self._gateway = gateway
        self._scorer = scorer
        self._since = since
        self._sessions = Sessions(gateway.config.routing.session.ttl_seconds, clock=lambda: self._now)
        self._wishes = _LoggedWishes(gateway, logged_by)
        self._names = Names(gateway.config)
        self._had_sessions = logged_by.config.routing.session.enabled
        self._order = {plan.name: place for place, plan in enumerate(gateway.policy.tiers)}
        self._tally = Tally(gateway, self._order, most, texts)
        self._now = 0.0
        self._seen = 0
        self.assumed = Assumed()

    def take(self, rows: list[Past]) -> None:
        """Decide some more rows."""
        for row, score in zip(rows, self._scorer.scores(rows), strict=True):
            self._now = row.at
            self._one(row, score)
            self._seen += 1
            if self._seen % _FORGET_ROWS == 0:
                self._tally.forget(self._now)

    def findings(self) -> Findings:
        """What was found so far, to be added to that of other conversations; it can be pickled."""
        self._tally.forget(math.inf)
        return Findings(self._tally, self._scorer.counts, self.assumed)

    def add(self, other: Findings) -> None:
        """Take over what was found in other conversations."""
        self._tally.take_over(other.tally)
        for mine, theirs in ((self._scorer.counts, other.scored), (self.assumed, other.assumed)):
            for name in mine.__struct_fields__:
                setattr(mine, name, getattr(mine, name) + getattr(theirs, name))

    def report(self, until: datetime) -> LogReport:
        """All that was found so far."""
        tally, costs = self._tally, self._tally.all
        tiers = [*self._order, *sorted(tally.tiers - self._order.keys() - {NO_TIER}), NO_TIER]
        used = [tier for tier in tiers if tier in self._order or tier in tally.tiers]
        return LogReport(
            since=self._since,
            until=until,
            strategy=self._scorer.strategy.value,
            scorer_id=self._scorer.scorer_id,
            requests=tally.requests,
            not_routed=tally.not_routed,
            needs_body=tally.needs_body,
            scored=self._scorer.counts,
            assumed=self.assumed,
            tiers=used,
            moved={old: {new: tally.moved[old, new] for new in used} for old in used},
            unserved=tally.unserved,
            costs=costs_of(costs),
            unanswered=tally.unanswered,
            unpriced=sum(tally.unpriced.values()),
            unpriced_models=sorted(tally.unpriced),
            logged_cost=tally.logged_cost,
            logged_costs=tally.logged_costs,
            reasons=[
                ReasonLine(reason, each.requests, each.up, each.down, costs_of(each))
                for reason, each in sorted(tally.reasons.items(), key=lambda item: -item[1].requests)
            ],
            disagreements=tally.disagreements(),
        )

    def _one(self, row: Past, score: float | None) -> None:
        counted = row.created_at >= self._since
        route = self._names.resolve(row.original_model, lambda _: row.reason == Reason.HOST_MODEL.value)
        self._tally.requests += counted
        if not row.scored:
            self._tally.not_routed += counted and route.target is not None
            self._tally.needs_body += counted and route.target is None
            return
        if score is None:
            return
        assumed = self.assumed if counted else Assumed()
        assumed.explored += row.explored is True
        pending = self._pending(row, route, score, assumed)
        conversation = None
        if pending.conversation is not None and self._gateway.config.routing.session.enabled:
            conversation = pending.conversation + ("-shadow" if row.applied is False else "")
        session = self._recall(row, conversation, assumed)
        choice = self._gateway.choose(pending, session, _excluded(row, assumed), self._now)
        self._remember(row, conversation, session, pending, choice)
        if counted:
            self._tally.note(row, pending, choice)

    def _pending(self, row: Past, route: Route, score: float, assumed: Assumed) -> Pending:
        return Pending(
            began=0,
            call_type=row.call_type,
            name=row.original_model,
            stream=False,
            caller=Caller(),
            route=route,
            scored=Classification(self._scorer.strategy_of(row), score, ()),
            demand=_demand(row, assumed),
            wishes=self._wishes.of(row, route, assumed),
            conversation=row.conversation_id,
        )

    def _recall(self, row: Past, conversation: str | None, assumed: Assumed) -> Session | None:
        if conversation is None or not self._goes_on(row):
            return None
        session = self._sessions.recall(conversation)
        assumed.joined += session is None
        return session

    def _goes_on(self, row: Past) -> bool:
        """Whether a model has spoken in the conversation before. A log without sessions does not say; then the user
        has asked before, or a tool has been called."""
        if self._had_sessions or row.features is None:
            return row.previous_model is not None
        return row.features[_TURNS] > 1 or row.features[_RESULTS] > 0

    def _remember(
        self, row: Past, conversation: str | None, session: Session | None, pending: Pending, choice: Choice
    ) -> None:
        demand = pending.demand
        if conversation is None or demand.side or choice.tier is None or choice.model is None or choice.score is None:
            return
        models, policy = self._gateway.models, self._gateway.policy
        easy = policy.is_easy(choice.score, choice.tier)
        family = models[choice.model].family
        size = demand.context_tokens
        scorer = "" if pending.scored is None else pending.scored.strategy.value
        left = after(session, choice.tier, choice.model, family, choice.score, size, self._now, easy, scorer)
        self._sessions.remember(conversation, left)
        served = models.get(row.outcome_served_group or "")
        if served is not None and choice.model == row.resolved_model and row.applied is not False:
            tier = policy.tier_of(served.name)
            self._sessions.note_served(None, conversation, tier, served.name, served.family)


class _LoggedWishes:
    """What operator and client asked of the routing: as the configuration says now, and as the log shows for the rest,
    which came from key, team and client."""

    def __init__(self, gateway: Gateway, logged_by: Gateway) -> None:
        self._now = Wisher(gateway.config.routing)
        self._then = Wisher(logged_by.config.routing)
        self._names_then = Names(logged_by.config)
        self._ranges_then = {name: tier.score_range for name, tier in logged_by.config.routing.tiers.items()}
        self._tiers = gateway.config.routing.tiers

    def of(self, row: Past, route: Route, assumed: Assumed) -> Wishes:
        if route.target is not None:
            return Wishes()
        wishes = self._now.of({}, route)
        route_then = self._names_then.resolve(row.original_model, lambda _: False)
        then = self._then.of({}, route_then) if route_then.target is None else Wishes(bias=row.bias)
        changes: dict[str, Any] = {}
        if row.bias != then.bias:
            changes["bias"] = min(max(wishes.bias + row.bias - then.bias, -100), 100)
        if row.reason == Reason.REQUESTED_TIER.value:
            if row.tier in self._tiers:
                changes["tier"] = row.tier
            else:
                assumed.requested += 1
        elif row.reason == Reason.TIER_LIMIT.value and then.min_tier is None and then.max_tier is None:
            assumed.limits += 1
            changes |= self._limit(row)
        return msgspec.structs.replace(wishes, **changes) if changes else wishes

    def _limit(self, row: Past) -> dict[str, str]:
        """The limit that explains why a request did not go to the tier of its score."""
        if row.tier not in self._tiers or row.tier not in self._ranges_then:
            return {}
        first, _ = self._ranges_then[row.tier]
        return {"max_tier" if score_of(row.raw_score or 0.0, row.bias) >= first else "min_tier": row.tier}


def _demand(row: Past, assumed: Assumed) -> Demand:
    """What the request asks of a model, as far as the log tells."""
    passed_over = {each.reason for each in row.skipped or ()}
    stateful = row.reason == Reason.PROVIDER_STATE.value or Reason.PROVIDER_STATE in passed_over
    assumed.state += stateful
    results = row.features[_RESULTS] if row.features is not None and len(row.features) > _RESULTS else 0.0
    return Demand(
        needs=row.needs or (),
        context_tokens=row.context_tokens or 0,
        max_output_tokens=row.max_output_tokens,
        family=FAMILIES.get(FORMATS.get(row.call_type, ""), "openai"),
        tool_turn=results > 0 or row.reason == Reason.TOOL_RESULT.value,
        bound=(SERVER_STATE,) if stateful else (),
        side=row.reason == Reason.SIDE_REQUEST.value,
    )


def _excluded(row: Past, assumed: Assumed) -> dict[str, Reason]:
    """The models that could not be had at that moment, as far as anybody tried."""
    found = {each.model: each.reason for each in row.skipped or () if each.reason in _OF_THE_MOMENT}
    assumed.access += bool(found)
    return found
