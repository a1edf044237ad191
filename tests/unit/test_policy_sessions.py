"""`policy.py`: conversations, which keep their tier and their model."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bsgateway.catalog import Model
from bsgateway.decision import Reason
from bsgateway.policy import Demand
from bsgateway.pricing import Price
from bsgateway.sessions import Session
from bsgateway.wishes import Wishes
from policies import ABLE, SMALL, THREE, Tiers, passed, policy, priced

BEFORE = {"simple": 30, "medium": 65, "complex": 80}


def conversation(tier: str, model: str | None = None, context: int = 10, at: float = 1_000.0, **more: Any) -> Session:
    """After an ask that was as hard as the tier, if `score` does not say otherwise."""
    return Session(tier, model or tier[0], more.pop("score", BEFORE.get(tier, 50)), context, at, **more)


@pytest.mark.parametrize(
    ("held", "raw", "bias", "tier", "reason"),
    [
        ("simple", 20, 0, "simple", None),
        ("simple", 34.9, 0, "simple", Reason.SESSION_KEPT),  # the ask before scored 30, the margin is 5
        ("simple", 35, 0, "medium", Reason.SESSION_UP),
        ("simple", 66, 0, "complex", Reason.SESSION_UP),  # at once, over two tiers
        ("simple", 30, 4, "simple", Reason.SESSION_KEPT),
        ("simple", 30, 5, "medium", Reason.SESSION_UP),
        ("medium", 69.9, 0, "medium", Reason.SESSION_KEPT),
        ("medium", 70, 0, "complex", Reason.SESSION_UP),
        ("medium", 50, 0, "medium", None),
        ("medium", 10, 0, "medium", Reason.SESSION_KEPT),  # no prices: nobody knows that it would pay
        ("complex", 10, 0, "complex", Reason.SESSION_KEPT),
        ("complex", 90, 0, "complex", None),
    ],
)
def test_a_conversation_keeps_its_tier(held: str, raw: float, bias: int, tier: str, reason: Reason | None) -> None:
    chosen = policy(THREE).choose(raw, SMALL, Wishes(bias=bias), conversation(held), 1_001.0)
    assert (chosen.tier, chosen.model, chosen.reason) == (tier, tier[0], reason)


@pytest.mark.parametrize(
    ("held", "before", "raw", "tier"),
    [
        # A floor lifts an ask just over the border of a tier: that is a large step for an easy conversation,
        ("simple", 3, 35, "medium"),
        ("medium", 40, 66, "complex"),
        ("medium", 61, 66, "complex"),
        # and a small one for a conversation that was close to it.
        ("medium", 62, 66, "medium"),
        ("simple", 28, 31, "simple"),
        # Whatever came before, the border and the margin are enough.
        ("medium", 90, 70.5, "complex"),
        ("medium", 90, 70.4, "medium"),
    ],
)
def test_harder_than_what_was_asked_before(held: str, before: int, raw: float, tier: str) -> None:
    assert policy(THREE).choose(raw, SMALL, session=conversation(held, score=before)).tier == tier


def test_a_warm_cache_is_left_when_enough_was_easy_in_a_row() -> None:
    def chosen(easy: int, age: float) -> tuple[str | None, Reason | None]:
        session = conversation("complex", context=100_000, easy=easy)
        demand = Demand(context_tokens=100_000)
        choice = policy(TWO, CHEAP, DEAR).choose(10, demand, session=session, now=1_000.0 + age)
        return choice.tier, choice.reason

    # 100,000 tokens, all cached, and 500 of output: a turn at `c` costs 0.010 + 0.002, at `s` 0.0102: 0.0018 less. What
    # is lost is 100,000 times 0.9e-6, that is 0.090: fifty turns, more than the horizon of twenty.
    assert [chosen(easy, 60.0)[0] for easy in (0, 1, 19, 60)] == ["complex"] * 4
    assert chosen(0, 301.0) == ("simple", Reason.SESSION_DOWN)  # nothing is lost any more


def test_as_many_easy_turns_are_expected_as_there_were() -> None:
    def tier(easy: int) -> str | None:
        session = conversation("complex", context=10_000, easy=easy)
        free = Model("s", Price(0.0, 0.0))
        return policy(TWO, free, DEAR).choose(10, Demand(context_tokens=10_000), session=session, now=1_001.0).tier

    # A turn costs 0.001 + 0.002 at `c` and nothing at `s`; the cache is worth 0.009: three turns and a bit.
    assert [tier(easy) for easy in (0, 1, 2, 4, 5)] == ["complex"] * 3 + ["simple"] * 2


def test_the_margin_is_the_operators() -> None:
    at_once = policy(THREE, session={"up_margin": 0})
    assert at_once.choose(30.5, SMALL, session=conversation("simple")).reason is Reason.SESSION_UP
    never = policy(THREE, session={"up_margin": 100})
    assert never.choose(100, SMALL, session=conversation("simple")).reason is Reason.SESSION_KEPT


# A million tokens: small $0.10 for input, $0.40 for output; large $1 and $4, and $0.10 for input in its cache.
CHEAP = Model("s", Price(0.1e-6, 0.4e-6))
DEAR = Model("c", Price(1e-6, 4e-6, cache_read=0.1e-6))
TWO: Tiers = {"simple": (0, 30, ["s"]), "complex": (31, 100, ["c"])}


@pytest.mark.parametrize(
    ("context", "then", "age", "horizon", "down"),
    [
        # 100,000 tokens of input, 90,000 of which were there a turn before, and 500 of output; within five minutes.
        # At `s` each turn costs 0.01 + 0.0002 = 0.0102, five turns 0.051.
        # At `c` the first costs 0.009 + 0.010 + 0.002 = 0.021, each later one 0.010 + 0.002 = 0.012; five turns 0.069.
        # Saved: 0.018. Lost: 90,000 tokens whose next reading costs 0.090 instead of 0.009, that is 0.081.
        (100_000, 90_000, 60.0, 5, False),
        # n turns save 0.021 + (n - 1) * 0.012 - n * 0.0102 = 0.009 + 0.0018 * n: 40 turns 0.081, 41 turns 0.0828.
        (100_000, 90_000, 60.0, 39, False),
        (100_000, 90_000, 60.0, 41, True),
        # After more than five minutes nothing is cached: the next turn at `c` costs 0.102, and nothing is lost.
        (100_000, 90_000, 301.0, 5, True),
        (100_000, 90_000, 300.0, 1, True),
        (100_000, 90_000, 299.9, 1, False),
        # A short conversation that has just grown: 1,000 of 50,000 tokens are cached, worth 0.0009.
        (50_000, 1_000, 60.0, 1, True),
        # Nothing is saved where there is no next turn.
        (100_000, 90_000, 301.0, 0, False),
    ],
)
def test_a_conversation_goes_down_when_that_pays(context: int, then: int, age: float, horizon: int, down: bool) -> None:
    both = policy(TWO, CHEAP, DEAR, session={"horizon_turns": horizon})
    session = conversation("complex", context=then, easy=1_000)
    chosen = both.choose(10, Demand(context_tokens=context), session=session, now=1_000.0 + age)
    expected = ("simple", Reason.SESSION_DOWN) if down else ("complex", Reason.SESSION_KEPT)
    assert (chosen.tier, chosen.reason) == expected


@pytest.mark.parametrize(
    ("cheap", "dear"),
    [
        (Model("s"), DEAR),
        (Model("s", Price(0.0)), DEAR),
        (Model("s", DEAR.price), DEAR),  # as dear as the other: nothing is saved
        (Model("s", Price(1e-3, 1e-3)), DEAR),
    ],
)
def test_a_conversation_stays_where_nothing_is_known_to_be_saved(cheap: Model, dear: Model) -> None:
    both = policy(TWO, cheap, dear)
    for now in (1_010.0, 9_999.0):
        chosen = both.choose(10, Demand(context_tokens=10_000), session=conversation("complex"), now=now)
        assert (chosen.tier, chosen.reason) == ("complex", Reason.SESSION_KEPT)


@pytest.mark.parametrize(
    ("needs", "family", "cost"),
    [
        # 1000 tokens, 800 of them in the session; 100 of output. Input 10, output 20, read 1, write 12.
        ((), "openai", 200 * 10 + 800 * 1 + 100 * 20),
        (("prompt_cache",), "openai", 200 * 12 + 800 * 1 + 100 * 20),
        (("prompt_cache",), "anthropic", 200 * 12 + 800 * 1 + 100 * 20),
        ((), "anthropic", 1000 * 10 + 100 * 20),  # without marks Claude caches nothing
    ],
)
def test_what_a_warm_cache_saves(needs: tuple[str, ...], family: str, cost: float) -> None:
    model = Model("m", Price(10.0, 20.0, 1.0, 12.0), family=family)
    demand = Demand(needs=needs, context_tokens=1_000, max_output_tokens=100)
    session = conversation("medium", context=800)
    three = policy(THREE, model)
    assert three.choose(50, demand, session=session, now=1_001.0).expected_cost == cost
    grown = conversation("medium", context=5_000)  # it was longer before it was cut
    cut = three.choose(50, demand, session=grown, now=1_001.0).expected_cost
    assert cut == (cost if family == "anthropic" and not needs else 1_000 * 1 + 100 * 20)
    cold = three.choose(50, demand, session=session, now=1_300.0).expected_cost
    assert cold == 1_000 * (12 if needs else 10) + 100 * 20
    other = three.choose(50, demand, session=conversation("medium", "x", 800), now=1_001.0).expected_cost
    assert other == cold


def test_marks_make_the_cache_of_claude_worth_more() -> None:
    # 100,000 tokens, all of them cached. Marked: each turn at `c` costs 0.0625, five 0.3125; at `s` 0.0102, five 0.051.
    # Saved 0.2615; lost 100,000 * (6.25 - 0.5) = 0.575 dollars a million tokens. Over eleven turns: saved 0.5753.
    claude = Model("c", Price(5e-6, 25e-6, cache_read=0.5e-6, cache_write=6.25e-6), family="anthropic")
    marked = Demand(needs=("prompt_cache",), context_tokens=100_000, family="anthropic")
    session = conversation("complex", context=100_000, easy=1_000)

    def tier(demand: Demand, horizon: int) -> str | None:
        return policy(TWO, CHEAP, claude, session={"horizon_turns": horizon}).choose(10, demand, session=session).tier

    assert [tier(marked, horizon) for horizon in (5, 10, 11)] == ["complex", "complex", "simple"]
    # Without marks nothing is cached: each turn costs 0.5125 instead of 0.0102.
    assert tier(msgspec.structs.replace(marked, needs=()), 1) == "simple"


def test_a_conversation_goes_down_over_two_tiers_at_once() -> None:
    models = [CHEAP, Model("m", Price(0.5e-6, 2e-6)), DEAR]
    chosen = policy(THREE, *models).choose(
        10, Demand(context_tokens=10_000), session=conversation("complex"), now=9_999.0
    )
    assert (chosen.tier, chosen.reason) == ("simple", Reason.SESSION_DOWN)


def test_nothing_holds_a_conversation_whose_model_is_out() -> None:
    models = [CHEAP, Model("m", Price(0.5e-6, 2e-6, cache_read=0.0)), DEAR]
    session = conversation("medium", context=100_000)
    demand = Demand(context_tokens=100_000)
    three = policy(THREE, *models)
    assert three.choose(10, demand, session=session, now=1_001.0).reason is Reason.SESSION_KEPT
    out = three.choose(10, demand, session=session, now=1_001.0, excluded={"m": Reason.COOLING_DOWN})
    assert (out.tier, out.model, out.reason) == ("simple", "s", Reason.SESSION_DOWN)
    hard = three.choose(50, demand, session=session, now=1_001.0, excluded={"m": Reason.COOLING_DOWN})
    assert (hard.tier, hard.model, hard.reason) == ("complex", "c", Reason.COOLING_DOWN)
    never = policy(THREE, *models, session={"horizon_turns": 0})
    kept = never.choose(10, demand, session=session, now=1_001.0, excluded={"m": Reason.COOLING_DOWN})
    assert (kept.tier, kept.reason) == ("complex", Reason.COOLING_DOWN)


def test_a_cheaper_model_of_its_own_tier_goes_before_a_lower_tier() -> None:
    tiers: Tiers = {"simple": (0, 30, ["s"]), "complex": (31, 100, ["c", "d"])}
    three = policy(tiers, priced("s", 2.0), priced("c", 9.0), priced("d", 1.0))
    moved = three.choose(10, SMALL, session=conversation("complex"))
    assert (moved.tier, moved.model, moved.reason) == ("complex", "d", Reason.SESSION_KEPT)
    # The other way round the lower tier is the cheaper one.
    down = policy(tiers, priced("s", 1.0), priced("c", 9.0), priced("d", 2.0))
    assert down.choose(10, SMALL, session=conversation("complex")).model == "s"


def test_where_nothing_below_can_serve_the_conversation_stays() -> None:
    chosen = policy(TWO, CHEAP, Model("c", DEAR.price, supports=ABLE["vision"])).choose(
        10, Demand(needs=("vision",)), session=conversation("complex"), now=9_999.0
    )
    assert (chosen.tier, chosen.reason, chosen.skipped) == ("complex", Reason.SESSION_KEPT, ())


# Its own model, among several of a tier

SAME: Tiers = {"only": (0, 100, ["a", "b"])}


@pytest.mark.parametrize(
    ("age", "model", "reason"),
    [
        # 10,000 tokens and 500 of output. `a` costs 1 each, 0.1 for what is cached; `b` 0.9 and 0.9.
        # Warm: 5 turns at `a` cost 5 * (1000 + 500), at `b` 5 * (9000 + 450).
        (60.0, "a", None),
        # Cold, the first costs 10,500 at `a`, the later four 1,500 each: 16,500; at `b` five times 9,450.
        (600.0, "a", Reason.SESSION_KEPT),
    ],
)
def test_a_warm_cache_makes_a_dear_model_cheap(age: float, model: str, reason: Reason | None) -> None:
    both = policy(SAME, Model("a", Price(1.0, 1.0, cache_read=0.1)), priced("b", 0.9), session={"horizon_turns": 5})
    session = conversation("only", "a", 10_000)
    chosen = both.choose(50, Demand(context_tokens=10_000), session=session, now=1_000.0 + age)
    assert (chosen.model, chosen.reason) == (model, Reason.CHEAPEST if reason is None else reason)
    assert both.choose(50, Demand(context_tokens=10_000)).model == "b"


def test_within_a_tier_a_conversation_moves_when_that_pays() -> None:
    both = policy(SAME, priced("a", 2.0), priced("b", 1.0))
    session = conversation("only", "a", 10_000)
    moved = both.choose(50, SMALL, session=session, now=1_001.0)
    assert (moved.model, moved.reason) == ("b", Reason.CHEAPEST)
    never = policy(SAME, priced("a", 2.0), priced("b", 1.0), session={"horizon_turns": 0})
    stayed = never.choose(50, SMALL, session=session, now=1_001.0)
    assert (stayed.model, stayed.reason) == ("a", Reason.SESSION_KEPT)
    unpriced = policy(SAME, Model("a"), priced("b", 1.0)).choose(50, SMALL, session=session, now=1_001.0)
    assert unpriced.model == "b"  # what has no price counts as the dearest


def test_its_own_model_goes_first_in_a_tier_that_is_asked_for_too() -> None:
    both = policy(SAME, priced("a", 1.0), priced("b", 1.0))
    asked = both.choose(50, SMALL, Wishes(tier="only"), conversation("only", "b"))
    assert (asked.model, asked.reason) == ("b", Reason.REQUESTED_TIER)
    out = both.choose(50, SMALL, session=conversation("only", "b"), excluded={"b": Reason.COOLING_DOWN})
    assert (out.model, out.reason, out.skipped) == ("a", Reason.COOLING_DOWN, passed(b=Reason.COOLING_DOWN))


# In the middle of a tool loop

RESULT = Demand(context_tokens=10, tool_turn=True)


@pytest.mark.parametrize(
    ("held", "raw", "reason"),
    [
        ("simple", 100, Reason.TOOL_RESULT),
        ("simple", 10, None),
        ("medium", 0, Reason.TOOL_RESULT),
        ("complex", 0, Reason.TOOL_RESULT),
        ("complex", 90, None),
    ],
)
def test_the_result_of_a_tool_goes_to_who_called_it(held: str, raw: float, reason: Reason | None) -> None:
    three = policy(THREE, CHEAP, DEAR, priced("m", 1e-7))
    chosen = three.choose(raw, RESULT, session=conversation(held), now=99_999.0)
    assert (chosen.tier, chosen.model, chosen.reason) == (held, held[0], reason)


def test_of_a_tier_too() -> None:
    both = policy(SAME, priced("a", 9.0), priced("b", 1.0))
    chosen = both.choose(50, RESULT, session=conversation("only", "a"))
    assert (chosen.model, chosen.reason) == ("a", Reason.TOOL_RESULT)
    alone = both.choose(50, RESULT)
    assert (alone.model, alone.reason) == ("b", Reason.CHEAPEST)


def test_after_a_fallback_it_goes_to_who_really_answered() -> None:
    # The tier of the session is medium, but LiteLLM fell back from `m` to `c`, and `c` called the tool.
    session = conversation("medium", "c")
    chosen = policy(THREE).choose(50, RESULT, session=session)
    assert (chosen.tier, chosen.model, chosen.reason) == ("complex", "c", Reason.TOOL_RESULT)
    # The next ask goes to its tier again.
    after = policy(THREE).choose(50, SMALL, session=session)
    assert (after.tier, after.model, after.reason) == ("medium", "m", None)
    # Not where it may not go.
    limited = policy(THREE).choose(50, RESULT, Wishes(max_tier="medium"), session)
    assert (limited.tier, limited.model, limited.reason) == ("medium", "m", None)


def test_a_model_of_two_tiers_stays_in_the_tier_of_the_session() -> None:
    tiers: Tiers = {"low": (0, 50, ["a"]), "high": (51, 100, ["b", "a"])}
    assert policy(tiers).choose(10, RESULT, session=conversation("high", "a")).tier == "high"
    assert policy(tiers).choose(90, RESULT, session=conversation("low", "a")).tier == "low"
    moved = policy(tiers).choose(90, RESULT, Wishes(min_tier="high"), conversation("low", "a"))
    assert (moved.tier, moved.model) == ("high", "a")


@pytest.mark.parametrize("why", [Reason.COOLING_DOWN, Reason.NOT_ALLOWED])
def test_a_tool_loop_goes_on_elsewhere_only_when_it_must(why: Reason) -> None:
    chosen = policy(THREE).choose(50, RESULT, session=conversation("medium"), excluded={"m": why})
    assert (chosen.tier, chosen.model, chosen.reason, chosen.skipped) == ("complex", "c", why, passed(m=why))
    full = policy(THREE, Model("m", max_input_tokens=100)).choose(50, RESULT, session=conversation("medium"))
    assert (full.model, full.reason) == ("c", Reason.CONTEXT_WINDOW)


# What changes under a conversation


@pytest.mark.parametrize(
    ("wishes", "raw", "tier", "reason"),
    [
        (Wishes(max_tier="medium"), 90, "medium", Reason.TIER_LIMIT),
        (Wishes(max_tier="medium"), 10, "medium", Reason.TIER_LIMIT),  # as near to its tier as may be
        (Wishes(max_tier="simple"), 90, "simple", Reason.TIER_LIMIT),
        (Wishes(tier="simple"), 90, "simple", Reason.REQUESTED_TIER),
        (Wishes(min_tier="medium"), 10, "complex", Reason.SESSION_KEPT),
        (Wishes(min_tier="complex"), 10, "complex", Reason.TIER_LIMIT),
    ],
)
def test_limits_hold_for_conversations_too(wishes: Wishes, raw: float, tier: str, reason: Reason) -> None:
    session = conversation("complex")
    chosen = policy(THREE).choose(raw, SMALL, wishes, session)
    assert (chosen.tier, chosen.reason) == (tier, reason)
    result = policy(THREE).choose(raw, RESULT, wishes, session)
    assert result.tier == tier


def test_the_way_up_ends_at_the_limit() -> None:
    chosen = policy(THREE).choose(95, SMALL, Wishes(max_tier="medium"), conversation("simple"))
    assert (chosen.tier, chosen.reason) == ("medium", Reason.TIER_LIMIT)


@pytest.mark.parametrize("demand", [SMALL, RESULT])
def test_a_tier_that_is_gone(demand: Demand) -> None:
    chosen = policy(THREE).choose(50, demand, session=Session("gone", "gone", 50, 10, 0.0))
    assert (chosen.tier, chosen.model, chosen.reason) == ("medium", "m", None)


def test_a_tier_that_has_another_name_now() -> None:
    chosen = policy(THREE).choose(50, RESULT, session=Session("gone", "c", 50, 10, 0.0))
    assert (chosen.tier, chosen.model, chosen.reason) == ("complex", "c", Reason.TOOL_RESULT)


@pytest.mark.parametrize(("raw", "tier"), [(50, "medium"), (68, "medium"), (90, "complex")])
def test_a_model_that_is_gone(raw: float, tier: str) -> None:
    chosen = policy(THREE).choose(raw, SMALL, session=conversation("medium", "gone"))
    assert (chosen.tier, chosen.model) == (tier, tier[0])
    result = policy(THREE).choose(raw, RESULT, session=conversation("medium", "gone"))
    assert (result.tier, result.model) == (tier, tier[0])


def test_the_cache_of_a_model_that_is_gone_is_worth_nothing() -> None:
    demand = Demand(context_tokens=100_000)
    for model, tier in (("c", "complex"), ("gone", "simple")):
        session = conversation("complex", model, 100_000)
        assert policy(TWO, CHEAP, DEAR).choose(10, demand, session=session, now=1_001.0).tier == tier


def test_a_limit_that_lifts_a_conversation_does_not_keep_it_from_going_up_further() -> None:
    def chosen(raw: float) -> tuple[str | None, Reason | None]:
        choice = policy(THREE).choose(raw, SMALL, Wishes(min_tier="medium"), conversation("simple"), 1_001.0)
        return choice.tier, choice.reason

    assert chosen(95) == ("complex", Reason.SESSION_UP)
    assert chosen(50) == chosen(10) == ("medium", Reason.TIER_LIMIT)
