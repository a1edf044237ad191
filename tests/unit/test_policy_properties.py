"""`policy.py`: what holds for every request, whatever is known around it."""

from __future__ import annotations

import itertools
import math

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bsgateway.catalog import NEEDS, SERVER_TOOLS, Model
from bsgateway.decision import Reason
from bsgateway.policy import EXPECTED_OUTPUT_TOKENS, SERVER_STATE, Demand, Policy
from bsgateway.pricing import Price
from bsgateway.sessions import Session
from bsgateway.wishes import Wishes
from policies import SMALL, WISHES, Tiers, policy

quick = settings(deadline=None, derandomize=True, database=None, max_examples=100)


_cuts = st.lists(st.integers(1, 100), unique=True, max_size=6).map(sorted)


def partition(cuts: list[int]) -> Tiers:
    edges = [0, *cuts, 101]
    return {f"t{low}": (low, high - 1, [f"m{low}"]) for low, high in itertools.pairwise(edges)}


@quick
@given(_cuts, st.floats(0, 100), st.integers(-100, 100), st.integers(0, 10**9), st.none() | st.integers(1, 10**9))
def test_every_score_has_its_tier(cuts: list[int], raw: float, bias: int, context: int, limit: int | None) -> None:
    tiers = partition(cuts)
    demand = Demand(context_tokens=context, max_output_tokens=limit)
    chosen = policy(tiers).choose(raw, demand, Wishes(bias=bias))
    assert chosen.tier is not None
    assert chosen.score is not None
    assert chosen.confidence is not None
    first, last, models = tiers[chosen.tier]
    assert first <= chosen.score <= last
    assert 0 <= chosen.score <= 100
    assert abs(chosen.score - min(max(raw + bias, 0), 100)) <= 0.5
    assert chosen.model == models[0]
    assert 0.5 <= chosen.confidence <= 1.0


@quick
@given(_cuts, st.floats(0, 100), st.floats(0, 100), st.integers(-100, 100), st.integers(-100, 100))
def test_a_higher_score_never_means_a_lower_tier(cuts: list[int], one: float, two: float, low: int, high: int) -> None:
    chosen = policy(partition(cuts))
    order = [plan.name for plan in chosen.tiers]
    lower = chosen.choose(min(one, two), SMALL, Wishes(bias=min(low, high)))
    upper = chosen.choose(max(one, two), SMALL, Wishes(bias=max(low, high)))
    assert lower.score is not None
    assert upper.score is not None
    assert lower.score <= upper.score
    assert order.index(str(lower.tier)) <= order.index(str(upper.tier))


# Anything at all: a config, and requests with all that can be around them

ORDER = ("low", "mid", "top")
NAMES = ("a", "b", "c", "d")
_price = st.none() | st.sampled_from((0.0, 1e-7, 1e-6, 3e-6)) | st.floats(0, 1e-3)
_tokens = st.integers(0, 30_000)
_few_needs = st.frozensets(st.sampled_from(NEEDS), max_size=4)
_family = st.sampled_from(("anthropic", "openai", "google", "other"))
_why = st.sampled_from((Reason.NOT_ALLOWED, Reason.OVER_BUDGET, Reason.COOLING_DOWN))


@st.composite
def _policies(draw: st.DrawFn) -> tuple[Policy, dict[str, Model]]:
    cuts = sorted(draw(st.lists(st.integers(1, 100), unique=True, min_size=2, max_size=2)))
    edges = [0, *cuts, 101]
    tiers = {
        name: (low, high - 1, draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)))
        for name, (low, high) in zip(ORDER, itertools.pairwise(edges), strict=True)
    }
    models = [
        draw(
            st.builds(
                Model,
                st.just(name),
                st.builds(Price, _price, _price, _price, _price),
                # Most can do most, or hardly any request would find a model.
                st.one_of(st.just(frozenset(NEEDS)), _few_needs),
                max_input_tokens=st.none() | st.integers(1, 40_000),
                max_output_tokens=st.none() | st.integers(1, 4_000),
                family=_family,
            )
        )
        for name in NAMES
    ]
    session = {
        "up_margin": draw(st.sampled_from((0.0, 5.0, 30.0))),
        "horizon_turns": draw(st.sampled_from((0, 1, 5, 50))),
    }
    more = {"fallback_tier": draw(st.sampled_from(ORDER)), "session": session}
    return policy(tiers, *models, **more), {model.name: model for model in models}


_demands = st.builds(
    Demand,
    st.one_of(st.just(()), st.lists(st.sampled_from(NEEDS), unique=True, max_size=3).map(tuple)),
    _tokens,
    st.none() | st.integers(0, 10_000),
    _family,
    st.booleans(),
    st.sampled_from(((), (), ("thinking",), (SERVER_STATE,))),
    st.booleans(),
)
_tier = st.none() | st.sampled_from(ORDER)
_wishes = st.builds(Wishes, st.integers(-1_000, 1_000), _tier, _tier, _tier)
_sessions = st.none() | st.builds(
    Session,
    st.sampled_from((*ORDER, "gone")),
    st.sampled_from((*NAMES, "gone")),
    st.integers(-10, 200),
    _tokens,
    st.sampled_from((-1e9, 0.0, 500.0, 900.0, 1e12)),
    st.lists(_family, max_size=3).map(tuple),
)
_excluded = st.dictionaries(st.sampled_from((*NAMES, "gone")), _why, max_size=3)
_expected = st.dictionaries(st.tuples(st.sampled_from(ORDER), st.sampled_from(NAMES)), st.floats(0, 5_000), max_size=4)
_raw = st.floats(-50, 150) | st.floats(allow_nan=False)
NOW = 1_000.0


def within(found: Policy, wishes: Wishes) -> list[str]:
    """The tiers that the limits leave."""
    names = [plan.name for plan in found.tiers]
    high = names.index(wishes.max_tier) if wishes.max_tier else len(names) - 1
    low = min(names.index(wishes.min_tier) if wishes.min_tier else 0, high)
    return names[low : high + 1]


def candidates(found: Policy, tier: str | None) -> list[str]:
    return [model.name for plan in found.tiers if plan.name == tier for model in plan.candidates]


def room(demand: Demand, tier: str, model: Model, expected: dict[tuple[str, str], float]) -> int:
    output = math.ceil(expected.get((tier, model.name), EXPECTED_OUTPUT_TOKENS))
    asked = demand.max_output_tokens or output
    return min(asked, model.max_output_tokens or asked)


def objections(
    demand: Demand,
    session: Session | None,
    tier: str,
    model: Model,
    excluded: dict[str, Reason],
    expected: dict[tuple[str, str], float],
) -> set[Reason]:
    """Every reason why `model` cannot serve the request in `tier`, said again in other words than the policy's."""
    found = {excluded[model.name]} if model.name in excluded else set()
    required = set(demand.needs) - set(WISHES)
    if SERVER_TOOLS in required and model.family != demand.family:
        found.add(Reason.NEEDS)
    if required - {SERVER_TOOLS} - model.supports:
        found.add(Reason.NEEDS)
    keeper = session.families[-1] if session and session.families else demand.family
    if SERVER_STATE in demand.bound and model.family != keeper:
        found.add(Reason.PROVIDER_STATE)
    if not model.holds(demand.context_tokens + room(demand, tier, model, expected)):
        found.add(Reason.CONTEXT_WINDOW)
    return found


everything = given(_policies(), _raw, _demands, _wishes, _sessions, _excluded, _expected)
Everything = tuple[Policy, dict[str, Model]]
Expected = dict[tuple[str, str], float]


@quick
@everything
def test_whatever_comes(
    known: Everything,
    raw: float,
    demand: Demand,
    wishes: Wishes,
    session: Session | None,
    excluded: dict[str, Reason],
    expected: Expected,
) -> None:
    found, models = known
    chosen = found.choose(raw, demand, wishes, session, NOW, excluded, expected)
    assert chosen == found.choose(raw, demand, wishes, session, NOW, excluded, expected)  # and nothing was kept
    allowed = within(found, wishes)
    assert chosen.score == min(max(math.floor(min(max(raw + wishes.bias, -1), 101) + 0.5), 0), 100)
    assert chosen.confidence is not None
    assert 0.5 <= chosen.confidence <= 1.0

    # Each candidate that was passed over is named once, with a reason that is true; the chosen one is none of them.
    named = {each.model: each.reason for each in chosen.skipped}
    assert len(named) == len(chosen.skipped)
    assert chosen.model not in named
    for name, reason in named.items():
        seats = [tier for tier in allowed if name in candidates(found, tier)]
        assert any(reason in objections(demand, session, tier, models[name], excluded, expected) for tier in seats)

    if chosen.model is None:
        assert (chosen.tier, chosen.reason, chosen.expected_cost) == (None, Reason.NO_CANDIDATE, None)
        for tier in allowed:
            for name in candidates(found, tier):
                assert objections(demand, session, tier, models[name], excluded, expected)
                assert name in named
        return

    # Access is never widened, limits hold, and the model can serve the request.
    assert chosen.tier in allowed
    assert chosen.model in candidates(found, chosen.tier)
    assert chosen.model not in excluded
    assert not objections(demand, session, chosen.tier, models[chosen.model], excluded, expected)
    # All of its tier that could not serve it are named.
    for name in candidates(found, chosen.tier):
        assert (name in named) == bool(objections(demand, session, chosen.tier, models[name], excluded, expected))


@quick
@everything
def test_no_able_model_of_the_tier_is_cheaper(
    known: Everything,
    raw: float,
    demand: Demand,
    wishes: Wishes,
    session: Session | None,
    excluded: dict[str, Reason],
    expected: Expected,
) -> None:
    found, models = known
    chosen = found.choose(raw, demand, wishes, session, NOW, excluded, expected)
    if chosen.model is None or (session is not None and session.model == chosen.model):
        return  # its own model may be kept though it is dearer
    for name in candidates(found, chosen.tier):
        if name == chosen.model or name in {each.model for each in chosen.skipped}:
            continue
        if session is not None and session.model == name:
            continue  # its cache makes another price
        model = models[name]
        output = math.ceil(expected.get((str(chosen.tier), name), EXPECTED_OUTPUT_TOKENS))
        for limit in (demand.max_output_tokens, model.max_output_tokens):
            output = min(output, limit or output)
        written = demand.context_tokens if "prompt_cache" in demand.needs else 0
        cost = model.price.of(demand.context_tokens, output, 0, written)
        assert cost is None or (chosen.expected_cost is not None and chosen.expected_cost <= cost)


@quick
@given(_policies(), _raw, _demands, _expected)
def test_without_anything_else_the_score_settles_the_tier(
    known: Everything, raw: float, demand: Demand, expected: Expected
) -> None:
    found, models = known
    demand = msgspec.structs.replace(demand, side=False)
    chosen = found.choose(raw, demand, expected=expected)
    assert chosen.score is not None
    home = next(plan.name for plan in found.tiers if plan.first <= chosen.score <= plan.last)
    able = any(not objections(demand, None, home, models[name], {}, expected) for name in candidates(found, home))
    assert (chosen.tier == home) == able
    if chosen.tier not in (home, None):
        # Up before down, the nearest first.
        names = [plan.name for plan in found.tiers]
        order = [*names[names.index(home) :], *reversed(names[: names.index(home)])]
        for tier in order[: order.index(str(chosen.tier))]:
            assert all(objections(demand, None, tier, models[name], {}, expected) for name in candidates(found, tier))


@quick
@given(_policies(), _raw, _demands, _wishes, _sessions, _excluded, st.sampled_from(NEEDS))
def test_more_needs_never_mean_a_less_capable_model(
    known: Everything,
    raw: float,
    demand: Demand,
    wishes: Wishes,
    session: Session | None,
    excluded: dict[str, Reason],
    need: str,
) -> None:
    found, models = known
    more = msgspec.structs.replace(demand, needs=(*dict.fromkeys((*demand.needs, need)),))
    first = found.choose(raw, demand, wishes, session, NOW, excluded)
    second = found.choose(raw, more, wishes, session, NOW, excluded)
    if first.model is None:
        assert second.model is None
    if second.model is None:
        return
    for asked in (*demand.needs, need):
        if asked not in WISHES:
            assert models[second.model].serves(asked, demand.family)


@quick
@given(_policies(), _raw, _demands, _wishes, _sessions, _excluded, st.sampled_from(NAMES), _why)
def test_one_more_exclusion_never_widens_anything(
    known: Everything,
    raw: float,
    demand: Demand,
    wishes: Wishes,
    session: Session | None,
    excluded: dict[str, Reason],
    other: str,
    why: Reason,
) -> None:
    found, _ = known
    first = found.choose(raw, demand, wishes, session, NOW, excluded)
    second = found.choose(raw, demand, wishes, session, NOW, {**excluded, other: why})
    if first.model is None:
        assert second.model is None
    assert second.model != other


@quick
@given(_policies(), _raw, _demands, _wishes, _sessions, _excluded, _expected)
def test_a_tool_turn_never_leaves_a_model_that_can_serve_it(
    known: Everything,
    raw: float,
    demand: Demand,
    wishes: Wishes,
    session: Session | None,
    excluded: dict[str, Reason],
    expected: Expected,
) -> None:
    found, models = known
    assume(session is not None and session.model != "gone")
    assert session is not None
    demand = msgspec.structs.replace(demand, tool_turn=True, side=False)
    wishes = msgspec.structs.replace(wishes, tier=None)
    chosen = found.choose(raw, demand, wishes, session, NOW, excluded, expected)
    seats = [tier for tier in within(found, wishes) if session.model in candidates(found, tier)]
    able = [tier for tier in seats if not objections(demand, session, tier, models[session.model], excluded, expected)]
    if session.tier in able or (able and able == seats):
        assert chosen.model == session.model
        assert chosen.tier == (session.tier if session.tier in able else seats[0])


@quick
@given(_policies(), _wishes, _excluded)
def test_failing_open_widens_nothing(known: Everything, wishes: Wishes, excluded: dict[str, Reason]) -> None:
    found, _ = known
    chosen = found.fall_back(wishes, excluded)
    allowed = within(found, wishes)
    left = [name for tier in allowed for name in candidates(found, tier) if name not in excluded]
    assert chosen.reason is Reason.FAILED_OPEN
    assert (chosen.model is None) == (not left)
    if chosen.model is not None:
        assert chosen.tier in allowed
        assert chosen.model in candidates(found, chosen.tier)
        assert chosen.model not in excluded
    assert len({each.model for each in chosen.skipped}) == len(chosen.skipped)
    assert all(excluded[each.model] is each.reason for each in chosen.skipped)
