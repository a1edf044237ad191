"""What a request asks for + what is there -> tier and model. Pure: no clock, no I/O, no state of its own.

The tier is settled first, by the first of these that applies: the tier the client may ask for, the lowest tier for a
side request, the tier the conversation is in (see `_in_session`), the tier of the score. Limits of tiers hold always.
Then the model: the cheapest of the tier's candidates that can serve the request, may serve it and is alive; a tier
without one yields to the next one up, then down.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from .catalog import Model
from .config import Routing, Tier
from .decision import Reason, Skipped
from .sessions import Session
from .wishes import Wishes

EXPECTED_OUTPUT_TOKENS = 500
"""Output assumed of a model whose answers the log does not know yet."""
BOUNDARY_SPAN = 15.0
"""Distance in points from the nearest tier boundary at which confidence reaches 1."""
SERVER_STATE = "server_state"
"""The bound state that only one provider can read."""
INDISPENSABLE = frozenset(("vision", "audio", "file", "tools", "json_schema"))
"""Needs without which an answer is none. A model that lacks any other can do without what is taken out of the body."""
PROMPT_CACHE = "prompt_cache"
"""The need of a request that marks what shall go into the prompt cache."""

NO_WISHES = Wishes()
_NOTHING: Mapping[str, Reason] = MappingProxyType({})
_NOT_KNOWN: Mapping[tuple[str, str], float] = MappingProxyType({})


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What a request asks of a model. Tokens are of the gateway's encoding.

    `family` is the one whose API the request speaks. `tool_turn`: it brings the result of a tool to the model that
    called it. `bound`: what the conversation holds that belongs to its provider (see `core.Analysis.bound`). `side`: an
    agent asks for it beside its work.
    """

    needs: tuple[str, ...] = ()
    context_tokens: int = 0
    max_output_tokens: int | None = None
    family: str = "openai"
    tool_turn: bool = False
    bound: tuple[str, ...] = ()
    side: bool = False


class TierPlan(msgspec.Struct, frozen=True):
    """A tier prepared for deciding: `first` and `last` score, inclusive, and its candidates in the operator's order.

    `low` and `high` are the boundaries to the tiers below and above, infinite where there is none. `names` are those
    of the candidates.
    """

    name: str
    first: int
    last: int
    candidates: tuple[Model, ...]
    low: float
    high: float
    names: frozenset[str]

    def confidence(self, score: float) -> float:
        """0.5 on a boundary of the tier to 1 far from both: how far the score is from another tier, not a
        probability."""
        distance = min(score - self.low, self.high - score)
        return 0.5 + 0.5 * min(max(distance, 0.0) / BOUNDARY_SPAN, 1.0)


def _rounded(leaning: float) -> int:
    return 0 if leaning < 0.5 else 100 if leaning >= 99.5 else int(leaning + 0.5)


class Choice(msgspec.Struct, frozen=True, gc=False):
    """What the policy chose. `tier` and `model` are None when no candidate can serve the request. `reason` is None when
    the score alone settled it. `expected_cost` is in US dollars, None where a price is unknown. `propensity` and
    `explored` are those of a Decision."""

    tier: str | None
    model: str | None
    score: int | None
    confidence: float | None
    reason: Reason | None
    skipped: tuple[Skipped, ...] = ()
    expected_cost: float | None = None
    propensity: float | None = None
    explored: bool = False


class _Case(msgspec.Struct, frozen=True, gc=False):
    """One request with all that is known around it. `own` is the model that goes before others as the conversation has
    been with it; `cached` are the tokens of input that this model may still have in its prompt cache."""

    demand: Demand
    session: Session | None
    own: str | None
    cached: int
    excluded: Mapping[str, Reason]
    expected: Mapping[tuple[str, str], float]


class Policy:
    """The tiers of one config, prepared once. Safe to share."""

    def __init__(self, routing: Routing, models: Mapping[str, Model]) -> None:
        plans = [_plan(name, tier, models) for name, tier in routing.tiers.items()]
        self.tiers: tuple[TierPlan, ...] = tuple(sorted(plans, key=lambda plan: plan.first))
        self._index = {plan.name: index for index, plan in enumerate(self.tiers)}
        self._by_score = tuple(index for index, plan in enumerate(self.tiers) for _ in range(plan.first, plan.last + 1))
        self._models = {model.name: model for plan in self.tiers for model in plan.candidates}
        self._fallback = self._index[routing.fallback_tier]
        self._required = frozenset(routing.required_needs)
        self._session = routing.session
        self.baseline = self.tiers[-1].candidates[0]
        """The first candidate of the highest tier: what every request would have cost without routing."""

    def certainty(self, raw_score: float, bias: int) -> tuple[float, float]:
        """How far from the nearest border between tiers a score is, in points, and its confidence."""
        leaning = raw_score + bias
        plan = self.tiers[self._by_score[_rounded(leaning)]]
        return max(min(leaning - plan.low, plan.high - leaning), 0.0), plan.confidence(leaning)

    def choose(
        self,
        raw_score: float,
        demand: Demand,
        wishes: Wishes = NO_WISHES,
        session: Session | None = None,
        now: float = 0.0,
        excluded: Mapping[str, Reason] = _NOTHING,
        expected: Mapping[tuple[str, str], float] = _NOT_KNOWN,
        drawn: str | None = None,
    ) -> Choice:
        """The tier and model for a request whose classifier said `raw_score`.

        `session` is what its conversation left behind, `now` the time in seconds since 1970. `excluded` are models that
        may not be chosen, and why. `expected` are output tokens by tier and model. `drawn` is the tier to ask first,
        whatever the score says.
        """
        leaning = raw_score + wishes.bias
        score = _rounded(leaning)
        own, cached = None, 0
        if session is not None and not demand.side:
            own = session.model
            if now - session.at < self._session.cache_seconds:
                cached = min(session.context_tokens, demand.context_tokens)
        case = _Case(demand, session, own, cached, excluded, expected)
        low, high = self._limits(wishes)
        if drawn is None:
            home, rule = self._home(leaning, score, wishes, case, low, high)
        else:
            home, rule = self._index[drawn], None
        return self._pick(case, home, rule, low, high, score, self.tiers[self._by_score[score]].confidence(leaning))

    def able(
        self,
        demand: Demand,
        wishes: Wishes,
        excluded: Mapping[str, Reason],
        expected: Mapping[tuple[str, str], float] = _NOT_KNOWN,
    ) -> tuple[str, ...]:
        """The tiers within the limits that have a model which can serve a request that belongs to no conversation yet,
        the lowest first."""
        low, high = self._limits(wishes)
        case = _Case(demand, None, None, 0, excluded, expected)
        return tuple(
            plan.name
            for plan in self.tiers[low : high + 1]
            if any(self._objection(case, plan, model) is None for model in plan.candidates)
        )

    def suits(self, model: Model, demand: Demand, wishes: Wishes = NO_WISHES, session: Session | None = None) -> bool:
        """Whether LiteLLM may fall back to `model`: it can serve what is indispensable of the request, and, if it is a
        candidate, stands in no tier above the limit."""
        _, high = self._limits(wishes)
        demand = msgspec.structs.replace(demand, needs=tuple(need for need in demand.needs if need in INDISPENSABLE))
        case = _Case(demand, session, None, 0, _NOTHING, _NOT_KNOWN)
        seats = [plan for plan in self.tiers if model.name in plan.names]
        seats = [plan for plan in self.tiers[: high + 1] if plan in seats] if seats else [self.tiers[0]]
        return any(self._objection(case, plan, model) is None for plan in seats)

    def is_settled(self, wishes: Wishes) -> bool:
        """Whether the limits leave one tier only."""
        low, high = self._limits(wishes)
        return low == high

    def is_easy(self, score: int, tier: str) -> bool:
        """Whether `score` belongs to a tier below `tier`."""
        return self._by_score[score] < self._index[tier]

    def beyond(self, wishes: Wishes) -> frozenset[str]:
        """The candidates that stand above the highest tier allowed, and in none below."""
        _, high = self._limits(wishes)
        if high == len(self.tiers) - 1:
            return frozenset()
        return (
            frozenset()
            .union(*(plan.names for plan in self.tiers[high + 1 :]))
            .difference(*(plan.names for plan in self.tiers[: high + 1]))
        )

    def tier_of(self, model: str) -> str | None:
        """The lowest tier that has `model` as a candidate."""
        return next((plan.name for plan in self.tiers if model in plan.names), None)

    def fall_back(self, wishes: Wishes = NO_WISHES, excluded: Mapping[str, Reason] = _NOTHING) -> Choice:
        """For a request nothing is known of: the first candidate of the fallback tier that is not excluded, or of the
        tiers above, then below. Limits of tiers hold."""
        skipped: list[Skipped] = []
        low, high = self._limits(wishes)
        for plan in self._around(min(max(self._fallback, low), high), low, high):
            for model in plan.candidates:
                if (reason := excluded.get(model.name)) is None:
                    return Choice(plan.name, model.name, None, None, Reason.FAILED_OPEN, tuple(skipped))
                _note(skipped, model, reason)
        return Choice(None, None, None, None, Reason.FAILED_OPEN, tuple(skipped))

    def _limits(self, wishes: Wishes) -> tuple[int, int]:
        """Lowest and highest tier. The highest wins: it is the limit of what may be spent."""
        low = 0 if wishes.min_tier is None else self._index[wishes.min_tier]
        high = len(self.tiers) - 1 if wishes.max_tier is None else self._index[wishes.max_tier]
        return (low if low < high else high), high

    def _home(
        self, leaning: float, score: int, wishes: Wishes, case: _Case, low: int, high: int
    ) -> tuple[int, Reason | None]:
        """The tier that is asked first, and the rule that says so."""
        by_score = self._by_score[score]
        if wishes.tier is not None:
            asked = self._index[wishes.tier]
            bounded = min(max(asked, low), high)
            return bounded, Reason.REQUESTED_TIER if bounded == asked else Reason.TIER_LIMIT
        if case.demand.side:
            return low, Reason.SIDE_REQUEST
        bounded = by_score if low <= by_score <= high else min(max(by_score, low), high)
        rule = None if bounded == by_score else Reason.TIER_LIMIT
        if case.session is None:
            return bounded, rule
        return self._in_session(leaning, bounded, rule, case, case.session, low, high)

    def _in_session(
        self, leaning: float, bounded: int, rule: Reason | None, case: _Case, session: Session, low: int, high: int
    ) -> tuple[int, Reason | None]:
        """A conversation stays in its tier, unless the newest ask is harder by a margin, or going down saves more than
        is lost by it. In the middle of a tool loop it stays with its model."""
        if case.demand.tool_turn and (seat := self._seat(session, low, high)) is not None:
            return seat, rule if seat == bounded else Reason.TOOL_RESULT
        held = self._index.get(session.tier)
        if held is None:  # the config has changed since
            return bounded, rule
        kept = min(max(held, low), high)
        if kept != held and bounded <= kept:
            return kept, Reason.TIER_LIMIT
        if bounded > kept:
            # Harder than the border by the margin; or than what was asked before, so that a small step over a border
            # counts as well, if it is a large one for the conversation.
            is_harder = leaning >= min(self.tiers[kept].high, session.score) + self._session.up_margin
            if is_harder:
                return bounded, rule or Reason.SESSION_UP
            return kept, Reason.SESSION_KEPT if kept == held else Reason.TIER_LIMIT
        if bounded < kept:
            # Where the score's own tier cannot serve it, the one above may still be cheaper than where it is.
            target = next((tier for tier in range(bounded, kept) if self._able(case, self.tiers[tier], [])), bounded)
            pays = self._pays(case, session, kept, target)
            return (target, rule or Reason.SESSION_DOWN) if pays else (kept, Reason.SESSION_KEPT)
        return kept, rule

    def _seat(self, session: Session, low: int, high: int) -> int | None:
        """The tier within the limits that has the conversation's model: its own tier, unless a fallback of LiteLLM to
        another one answered, or the config has changed since."""
        held = self._index.get(session.tier)
        if held is not None and low <= held <= high and session.model in self.tiers[held].names:
            return held
        return next((seat for seat in range(low, high + 1) if session.model in self.tiers[seat].names), None)

    def _pays(self, case: _Case, session: Session, held: int, target: int) -> bool:
        """Whether going down from one tier to the other saves more than the prompt cache is worth that is left behind:
        nothing, if the conversation cannot go on with its model anyway."""
        here, there = self.tiers[held], self.tiers[target]
        going = self._able(case, there, [])
        if not going or not self._session.horizon_turns:
            return False
        staying = self._able(case, here, [])
        if not staying:
            return True
        current = self._prefer(case, here, staying)
        # So many easy requests in a row let as many more be expected: whoever is back after two of them has paid for
        # the cache twice.
        turns = min(self._session.horizon_turns, max(session.easy, 0 if _refill(case, current) > 0 else 1))
        return self._saves(case, here, current, there, going[0], turns)

    def _saves(
        self, case: _Case, here: TierPlan, current: Model, there: TierPlan, other: Model, turns: int | None = None
    ) -> bool:
        """Whether `other` is cheaper over the next turns by more than it costs `current` to fill its cache again. What
        has no price counts as dearer than anything that has one."""
        turns = self._session.horizon_turns if turns is None else turns
        if not turns:
            return False
        stay, go = _cost_of_turns(case, here, current, turns), _cost_of_turns(case, there, other, turns)
        return go is not None and (stay is None or stay - go > _refill(case, current))

    def _around(self, home: int, low: int, high: int) -> Iterator[TierPlan]:
        """The tiers within the limits: `home`, those above it, and then those below."""
        yield from self.tiers[home : high + 1]
        yield from reversed(self.tiers[low:home])

    def _pick(
        self, case: _Case, home: int, rule: Reason | None, low: int, high: int, score: int, confidence: float
    ) -> Choice:
        """The model, in the tier `home` or the next one around it that has any."""
        skipped: list[Skipped] = []
        for plan in self._around(home, low, high):
            able = self._able(case, plan, skipped)
            if able:
                break
        else:
            return Choice(None, None, score, confidence, Reason.NO_CANDIDATE, tuple(skipped))
        model = able[0] if len(able) == 1 else self._prefer(case, plan, able)
        if skipped and (passed_over := self._passed_over(case, home, skipped)) is not None:
            rule = passed_over
            skipped = [each for each in skipped if each.model != model.name]  # what one tier expects may not fit
        elif rule is None and len(able) > 1:
            if model is not able[0]:
                rule = Reason.TOOL_RESULT if case.demand.tool_turn else Reason.SESSION_KEPT
            elif _known(_cost(case, plan, able[-1])) > _known(_cost(case, plan, model)):
                rule = Reason.CHEAPEST
        return Choice(plan.name, model.name, score, confidence, rule, tuple(skipped), _cost(case, plan, model))

    def _prefer(self, case: _Case, plan: TierPlan, able: list[Model]) -> Model:
        """The cheapest, unless the conversation's own model is there and leaving it does not pay."""
        own = _own(case, able)
        if own is None or (not case.demand.tool_turn and self._saves(case, plan, own, plan, able[0])):
            return able[0]
        return own

    def _passed_over(self, case: _Case, home: int, skipped: list[Skipped]) -> Reason | None:
        """Why the model that was in turn was passed over; None if it was not."""
        plan = self.tiers[home]
        candidates = list(plan.candidates)
        first = _own(case, candidates) or min(candidates, key=lambda model: _rank(case, plan, model))
        return next((each.reason for each in skipped if each.model == first.name), None)

    def _able(self, case: _Case, plan: TierPlan, skipped: list[Skipped]) -> list[Model]:
        """The candidates of a tier that can serve the request, the cheapest first, ties in the order of wishes served
        and then the operator's. The others are noted in `skipped`, with the reason."""
        able: list[Model] = []
        for model in plan.candidates:
            reason = self._objection(case, plan, model)
            if reason is None:
                able.append(model)
            else:
                _note(skipped, model, reason)
        if len(able) > 1:
            able.sort(key=lambda model: _rank(case, plan, model))
        return able

    def _keeps_state(self, case: _Case, model: Model) -> bool:
        """Whether `model` is where the provider keeps what it knows of the conversation: at the host of the model that
        answered last; where that is not known any more, of its family; else of the family whose API is used."""
        session = case.session
        if session is None:
            return model.family == case.demand.family
        last = self._models.get(session.model)
        if last is not None and last.host:
            return model.name == last.name or model.host == last.host
        return model.family == (session.families[-1] if session.families else case.demand.family)

    def _objection(self, case: _Case, plan: TierPlan, model: Model) -> Reason | None:
        demand = case.demand
        if case.excluded and (reason := case.excluded.get(model.name)) is not None:
            return reason
        for need in demand.needs:
            if need in self._required and not model.serves(need, demand.family):
                return Reason.NEEDS
        if demand.bound and SERVER_STATE in demand.bound and not self._keeps_state(case, model):
            return Reason.PROVIDER_STATE
        if model.max_input_tokens is not None and not model.holds(demand.context_tokens + _room(case, plan, model)):
            return Reason.CONTEXT_WINDOW
        return None


def _plan(name: str, tier: Tier, models: Mapping[str, Model]) -> TierPlan:
    first, last = tier.score_range
    return TierPlan(
        name,
        first,
        last,
        tuple(models[model] for model in tier.candidates),
        first - 0.5 if first > 0 else -math.inf,
        last + 0.5 if last < 100 else math.inf,
        frozenset(tier.candidates),
    )


def _own(case: _Case, models: list[Model]) -> Model | None:
    """The conversation's own model, if it is among `models`."""
    return None if case.own is None else next((model for model in models if model.name == case.own), None)


def _note(skipped: list[Skipped], model: Model, reason: Reason) -> None:
    """Once for a model of several tiers."""
    each = Skipped(model.name, reason)
    if each not in skipped:
        skipped.append(each)


def _room(case: _Case, plan: TierPlan, model: Model) -> int:
    """Tokens of output that must fit beside the input: what the client asked for, as far as the model can give it."""
    asked = case.demand.max_output_tokens
    if not asked:
        return _output(case, plan, model)
    limit = model.max_output_tokens
    return asked if limit is None or asked < limit else limit


def _output(case: _Case, plan: TierPlan, model: Model) -> int:
    """Tokens of output to expect."""
    output = EXPECTED_OUTPUT_TOKENS
    if case.expected and (known := case.expected.get((plan.name, model.name))) is not None:
        output = math.ceil(known)
    asked, limit = case.demand.max_output_tokens, model.max_output_tokens
    if asked and asked < output:
        output = asked
    return output if limit is None or output < limit else limit


def _cost(case: _Case, plan: TierPlan, model: Model) -> float | None:
    """US dollars that the request is expected to cost."""
    return _cost_with(case, plan, model, _cached_tokens(case, model))


def _cost_with(case: _Case, plan: TierPlan, model: Model, cached: int) -> float | None:
    """As `_cost`, with `cached` tokens of the input in the prompt cache."""
    demand = case.demand
    written = demand.context_tokens - cached if PROMPT_CACHE in demand.needs else 0
    return model.price.of(demand.context_tokens, _output(case, plan, model), cached, written)


def _cost_of_turns(case: _Case, plan: TierPlan, model: Model, turns: int) -> float | None:
    """US dollars for this turn and those after it, as if each were like this one: from the second on, the model has the
    conversation in its cache."""
    first = _cost(case, plan, model)
    later = _cost_with(case, plan, model, case.demand.context_tokens if _caches(case, model) else 0)
    return None if first is None or later is None else first + (turns - 1) * later


def _caches(case: _Case, model: Model) -> bool:
    """Whether `model` caches what it reads. Claude does so only where the request asks for it, by marks in it."""
    if model.price.cache_read is None:
        return False
    return model.family != "anthropic" or PROMPT_CACHE in case.demand.needs


def _cached_tokens(case: _Case, model: Model) -> int:
    """Tokens of input that `model` still has in its prompt cache."""
    return case.cached if model.name == case.own and _caches(case, model) else 0


def _refill(case: _Case, model: Model) -> float:
    """What it costs to put into the cache of `model` again what is there now."""
    cached, price = _cached_tokens(case, model), model.price
    if not cached or price.input is None or price.cache_read is None:
        return 0.0
    fresh = price.cache_write if price.cache_write is not None and PROMPT_CACHE in case.demand.needs else price.input
    return cached * max(fresh - price.cache_read, 0.0)


def _rank(case: _Case, plan: TierPlan, model: Model) -> tuple[float, int]:
    """The lowest goes first: the cheapest, and of those that cost the same the one that serves most wishes."""
    demand = case.demand
    return _known(_cost(case, plan, model)), -sum(model.serves(need, demand.family) for need in demand.needs)


def _known(cost: float | None) -> float:
    """A candidate without a price counts as dearer than any with one."""
    return math.inf if cost is None else cost
