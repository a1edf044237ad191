"""`policy.py`: what a request asks for and what is there -> tier and model."""

from __future__ import annotations

import math

import msgspec
import pytest

from bsgateway.catalog import NEEDS, SERVER_TOOLS, Model
from bsgateway.config import Routing
from bsgateway.decision import Reason, Skipped
from bsgateway.policy import BOUNDARY_SPAN, SERVER_STATE, Choice, Demand, Policy
from bsgateway.pricing import Price
from bsgateway.sessions import Session
from bsgateway.wishes import Wishes
from policies import ABLE, SMALL, THREE, WISHES, Tiers, passed, policy, priced

ONE: Tiers = {"only": (0, 100, ["a", "b", "c"])}


# The tier of the score


@pytest.mark.parametrize(
    ("raw", "bias", "tier", "score"),
    [
        (0.0, 0, "simple", 0),
        (30.0, 0, "simple", 30),
        (30.49, 0, "simple", 30),
        (30.5, 0, "medium", 31),  # half is rounded up
        (31.0, 0, "medium", 31),
        (65.49, 0, "medium", 65),
        (65.5, 0, "complex", 66),
        (100.0, 0, "complex", 100),
        (50.0, -19, "medium", 31),
        (50.0, -20, "simple", 30),
        (50.0, 15, "medium", 65),
        (50.0, 16, "complex", 66),
        (10.0, -100, "simple", 0),
        (90.0, 100, "complex", 100),
        (0.4, -1, "simple", 0),
        (-1e300, 0, "simple", 0),
        (1e300, 0, "complex", 100),
        (math.inf, 0, "complex", 100),
    ],
)
def test_tier_and_score(raw: float, bias: int, tier: str, score: int) -> None:
    chosen = policy(THREE).choose(raw, SMALL, Wishes(bias=bias))
    assert (chosen.tier, chosen.model, chosen.score, chosen.reason) == (tier, tier[0], score, None)


@pytest.mark.parametrize(
    ("raw", "bias", "confidence"),
    [
        (30.5, 0, 0.5),  # on a boundary
        (65.5, 0, 0.5),
        (45.5, 0, 1.0),  # as far as confidence grows
        (48.0, 0, 1.0),
        (38.0, 0, 0.75),
        (23.0, 0, 0.75),
        (58.0, 0, 0.75),
        (0.0, 0, 1.0),
        (58.0, -20, 0.75),  # the bias moves the score, and its distance with it
        (5.0, -100, 1.0),
    ],
)
def test_confidence_grows_with_the_distance_to_another_tier(raw: float, bias: int, confidence: float) -> None:
    assert BOUNDARY_SPAN == 15.0
    assert policy(THREE).choose(raw, SMALL, Wishes(bias=bias)).confidence == pytest.approx(confidence)


def test_with_one_tier_there_is_no_doubt() -> None:
    assert policy({"only": (0, 100, ["m"])}).choose(50, SMALL) == Choice("only", "m", 50, 1.0, None)


def test_the_order_of_tiers_is_that_of_their_scores() -> None:
    shuffled = policy({"c": (66, 100, ["big"]), "a": (0, 30, ["small"]), "b": (31, 65, ["mid"])})
    assert [plan.name for plan in shuffled.tiers] == ["a", "b", "c"]
    assert shuffled.baseline.name == "big"
    assert [shuffled.tier_of(model) for model in ("small", "mid", "big", "gone")] == ["a", "b", "c", None]


def test_a_model_of_two_tiers_belongs_to_the_lower_one() -> None:
    assert policy({"high": (51, 100, ["b", "a"]), "low": (0, 50, ["a"])}).tier_of("a") == "low"


# What a model can do


@pytest.mark.parametrize("need", [need for need in NEEDS if need not in (*WISHES, SERVER_TOOLS)])
def test_a_need_that_the_tier_cannot_serve(need: str) -> None:
    demand = Demand(needs=(need,), context_tokens=10)
    up = policy(THREE, Model("c", supports=ABLE[need])).choose(10, demand)
    assert (up.tier, up.model, up.reason) == ("complex", "c", Reason.NEEDS)
    assert up.skipped == passed(s=Reason.NEEDS, m=Reason.NEEDS)
    down = policy(THREE, Model("s", supports=ABLE[need])).choose(90, demand)
    assert (down.tier, down.model, down.reason) == ("simple", "s", Reason.NEEDS)
    assert down.skipped == passed(c=Reason.NEEDS, m=Reason.NEEDS)
    able = policy(THREE, Model("m", supports=ABLE[need])).choose(50, demand)
    assert (able.model, able.reason, able.skipped) == ("m", None, ())


@pytest.mark.parametrize("need", WISHES)
def test_a_wish_that_the_tier_cannot_serve(need: str) -> None:
    chosen = policy(THREE, Model("c", supports=ABLE[need])).choose(10, Demand(needs=(need,)))
    assert (chosen.model, chosen.reason) == ("s", None)
    strict = policy(THREE, Model("c", supports=ABLE[need]), required_needs=[need])
    assert strict.choose(10, Demand(needs=(need,))).model == "c"


@pytest.mark.parametrize(("api", "model"), [("anthropic", "m"), ("openai", "c"), ("google", None)])
def test_tools_that_the_provider_runs_stay_in_its_family(api: str, model: str | None) -> None:
    families = policy(
        THREE,
        Model("s", supports=frozenset((SERVER_TOOLS,))),  # says so, but speaks another API
        Model("m", family="anthropic"),
        Model("c", family="openai"),
    )
    assert families.choose(10, Demand(needs=(SERVER_TOOLS,), family=api)).model == model


def test_what_is_not_required_is_not_asked_for() -> None:
    chosen = policy(THREE, required_needs=[]).choose(10, Demand(needs=("vision", "tools")))
    assert (chosen.model, chosen.reason) == ("s", None)


def test_the_one_of_a_tier_that_can() -> None:
    models = [priced("a", 1.0), priced("b", 3.0, supports=ABLE["vision"]), priced("c", 2.0, supports=ABLE["vision"])]
    chosen = policy(ONE, *models).choose(50, Demand(needs=("vision",)))
    assert (chosen.model, chosen.reason, chosen.skipped) == ("c", Reason.NEEDS, passed(a=Reason.NEEDS))


def test_who_was_not_in_turn_is_no_reason() -> None:
    models = [priced("a", 1.0, supports=ABLE["vision"]), priced("b", 2.0), priced("c", 3.0, supports=ABLE["vision"])]
    chosen = policy(ONE, *models).choose(50, Demand(needs=("vision",)))
    assert (chosen.model, chosen.reason, chosen.skipped) == ("a", Reason.CHEAPEST, passed(b=Reason.NEEDS))
    # Of two that cost the same the one in turn is that which serves more wishes, here `b`.
    tied = policy(
        {"only": (0, 100, ["a", "b"])}, priced("a", 1.0), priced("b", 1.0, supports=frozenset(("vision", "tools")))
    ).choose(50, Demand(needs=("vision", "tools")))
    assert (tied.model, tied.reason, tied.skipped) == ("b", None, passed(a=Reason.NEEDS))


WINDOWS = (
    priced("s", 1, max_input_tokens=1_000),
    priced("m", 2, max_input_tokens=10_000),
    priced("c", 3, max_input_tokens=5_000),
)


@pytest.mark.parametrize(
    ("score", "context", "limit", "tier", "reason"),
    [
        (10, 500, None, "simple", None),  # 500 more for the answer: just fits
        (10, 501, None, "medium", Reason.CONTEXT_WINDOW),
        (10, 990, 10, "simple", None),
        (10, 991, 10, "medium", Reason.CONTEXT_WINDOW),
        (10, 10, 990, "simple", None),  # what is asked for must fit, not only what is expected
        (10, 10, 991, "medium", Reason.CONTEXT_WINDOW),
        (50, 501, None, "medium", None),
        (80, 4_500, None, "complex", None),
        (80, 4_501, None, "medium", Reason.CONTEXT_WINDOW),  # up is tried first, then down
        (80, 20_000, None, None, Reason.NO_CANDIDATE),
        (10, 20_000, None, None, Reason.NO_CANDIDATE),
    ],
)
def test_a_tier_that_cannot_hold_the_request(
    score: float, context: int, limit: int | None, tier: str | None, reason: Reason | None
) -> None:
    chosen = policy(THREE, *WINDOWS).choose(score, Demand(context_tokens=context, max_output_tokens=limit))
    model = None if tier is None else tier[0]
    assert (chosen.tier, chosen.model, chosen.score, chosen.reason) == (tier, model, score, reason)


@pytest.mark.parametrize(
    ("context", "asked", "most", "fits"),
    [
        (900, 100_000, 100, True),  # it can give 100 at most, and those fit
        (901, 100_000, 100, False),
        (900, None, 100, True),
        (999, 1, 100, True),
        (900, 0, 100, True),  # nothing at all is no limit
        (901, 0, 100, False),
        (10, 100_000, None, False),  # nobody knows its limit: all that is asked for must fit
    ],
)
def test_room_for_the_answer(context: int, asked: int | None, most: int | None, fits: bool) -> None:
    small = Model("s", max_input_tokens=1_000, max_output_tokens=most)
    chosen = policy(THREE, small).choose(10, Demand(context_tokens=context, max_output_tokens=asked))
    assert chosen.model == ("s" if fits else "m")


def test_the_window_holds_what_the_log_expects() -> None:
    small = policy(THREE, Model("s", max_input_tokens=1_000))
    demand = Demand(context_tokens=600)
    assert small.choose(10, demand).model == "m"
    assert small.choose(10, demand, expected={("simple", "s"): 400.0}).model == "s"


def test_a_model_of_two_tiers_is_passed_over_once() -> None:
    tiers: Tiers = {"low": (0, 50, ["a", "b"]), "high": (51, 100, ["a", "c"])}
    chosen = policy(tiers, Model("c", supports=ABLE["vision"])).choose(10, Demand(needs=("vision",)))
    assert (chosen.tier, chosen.model, chosen.skipped) == ("high", "c", passed(a=Reason.NEEDS, b=Reason.NEEDS))
    assert policy(tiers).choose(10, Demand(needs=("vision",))).skipped == passed(
        a=Reason.NEEDS, b=Reason.NEEDS, c=Reason.NEEDS
    )
    # In the upper tier it is known to write less, and then the request fits: it was not passed over in the end.
    narrow = policy({"low": (0, 50, ["a"]), "high": (51, 100, ["a"])}, Model("a", max_input_tokens=1_000))
    chosen = narrow.choose(10, Demand(context_tokens=600), expected={("high", "a"): 400.0})
    assert (chosen.tier, chosen.model, chosen.skipped) == ("high", "a", ())


def test_the_nearest_tier_below_comes_first() -> None:
    tiers: Tiers = {"a": (0, 20, ["a"]), "b": (21, 40, ["b"]), "c": (41, 100, ["c"])}
    chosen = policy(tiers, priced("c", 1, max_input_tokens=10)).choose(90, Demand(context_tokens=100))
    assert (chosen.tier, chosen.reason) == ("b", Reason.CONTEXT_WINDOW)


def test_the_cheapest_is_chosen_among_those_that_fit() -> None:
    models = [priced("a", 1, max_input_tokens=600), priced("b", 3), priced("c", 2)]
    three = policy(ONE, *models)
    assert three.choose(50, Demand(context_tokens=100)).model == "a"
    chosen = three.choose(50, Demand(context_tokens=101))
    assert (chosen.model, chosen.reason, chosen.skipped) == (
        "c",
        Reason.CONTEXT_WINDOW,
        passed(a=Reason.CONTEXT_WINDOW),
    )


# State that a provider keeps

FAMILIES = (Model("s", family="other"), Model("m", family="openai"), Model("c", family="anthropic"))


@pytest.mark.parametrize(
    ("families", "api", "model"),
    [
        ((), "openai", "m"),  # without a session, the API tells whose state it is
        ((), "anthropic", "c"),
        ((), "google", None),
        (("anthropic",), "openai", "c"),
        (("anthropic", "openai"), "anthropic", "m"),  # who answered last has it
    ],
)
def test_only_the_keeper_of_its_state_can_go_on(families: tuple[str, ...], api: str, model: str | None) -> None:
    session = Session("gone", "gone", 0, 0, 0.0, families) if families else None
    bound = Demand(family=api, bound=("thinking", SERVER_STATE))
    chosen = policy(THREE, *FAMILIES).choose(10, bound, session=session)
    assert chosen.model == model
    assert chosen.reason is (Reason.NO_CANDIDATE if model is None else Reason.PROVIDER_STATE)
    assert chosen.skipped[0] == Skipped("s", Reason.PROVIDER_STATE)


def test_a_side_request_cannot_leave_that_state_either() -> None:
    session = Session("medium", "m", 50, 100, 0.0, ("openai",))
    bound = Demand(family="anthropic", bound=(SERVER_STATE,), side=True)
    assert policy(THREE, *FAMILIES).choose(10, bound, session=session).model == "m"


def test_signed_thoughts_do_not_hold_a_conversation() -> None:
    chosen = policy(THREE, *FAMILIES).choose(10, Demand(family="anthropic", bound=("thinking", "open_thinking")))
    assert (chosen.model, chosen.reason) == ("s", None)


# What may not be chosen


@pytest.mark.parametrize("why", [Reason.NOT_ALLOWED, Reason.OVER_BUDGET, Reason.COOLING_DOWN])
def test_what_is_excluded_is_passed_over(why: Reason) -> None:
    three = policy(THREE)
    up = three.choose(10, SMALL, excluded={"s": why})
    assert (up.tier, up.model, up.reason, up.skipped) == ("medium", "m", why, passed(s=why))
    down = three.choose(90, SMALL, excluded={"c": why, "m": why})
    assert (down.tier, down.model, down.reason, down.skipped) == ("simple", "s", why, passed(c=why, m=why))
    none = three.choose(50, SMALL, excluded=dict.fromkeys("smc", why))
    assert (none.tier, none.model, none.reason) == (None, None, Reason.NO_CANDIDATE)
    assert none.skipped == passed(m=why, c=why, s=why)
    assert (none.score, none.expected_cost) == (50, None)
    other = three.choose(10, SMALL, excluded={"c": why, "unheard-of": why})
    assert (other.model, other.reason, other.skipped) == ("s", None, ())


def test_the_reason_is_that_of_the_model_that_was_in_turn() -> None:
    models = [priced("a", 1.0), priced("b", 2.0), priced("c", 3.0)]
    excluded = {"b": Reason.OVER_BUDGET, "a": Reason.NOT_ALLOWED}
    chosen = policy(ONE, *models).choose(50, SMALL, excluded=excluded)
    assert (chosen.model, chosen.reason) == ("c", Reason.NOT_ALLOWED)
    assert chosen.skipped == passed(a=Reason.NOT_ALLOWED, b=Reason.OVER_BUDGET)


# What operator and client say


@pytest.mark.parametrize(
    ("score", "wishes", "tier", "reason"),
    [
        (10, Wishes(tier="complex"), "complex", Reason.REQUESTED_TIER),
        (10, Wishes(tier="simple"), "simple", Reason.REQUESTED_TIER),
        (90, Wishes(tier="complex", max_tier="medium"), "medium", Reason.TIER_LIMIT),
        (90, Wishes(tier="simple", min_tier="medium"), "medium", Reason.TIER_LIMIT),
        (10, Wishes(min_tier="medium"), "medium", Reason.TIER_LIMIT),
        (90, Wishes(max_tier="medium"), "medium", Reason.TIER_LIMIT),
        (50, Wishes(min_tier="medium", max_tier="medium"), "medium", None),
        (10, Wishes(min_tier="complex", max_tier="medium"), "medium", Reason.TIER_LIMIT),  # the highest wins
        (50, Wishes(min_tier="complex", max_tier="medium"), "medium", None),
        (10, Wishes(bias=90), "complex", None),
        (10, Wishes(bias=90, max_tier="simple"), "simple", Reason.TIER_LIMIT),
    ],
)
def test_tiers_that_are_asked_for(score: float, wishes: Wishes, tier: str, reason: Reason | None) -> None:
    chosen = policy(THREE).choose(score, SMALL, wishes)
    assert (chosen.tier, chosen.reason) == (tier, reason)


def test_a_tier_that_yields_stays_within_the_limits() -> None:
    vision = Demand(needs=("vision",))
    models = [Model("s", supports=ABLE["vision"]), Model("c", supports=ABLE["vision"])]
    three = policy(THREE, *models)
    assert three.choose(50, vision).model == "c"
    below = three.choose(50, vision, Wishes(max_tier="medium"))
    assert (below.model, below.reason, below.skipped) == ("s", Reason.NEEDS, passed(m=Reason.NEEDS))
    none = three.choose(50, vision, Wishes(min_tier="medium", max_tier="medium"))
    assert (none.model, none.reason, none.skipped) == (None, Reason.NO_CANDIDATE, passed(m=Reason.NEEDS))
    asked = three.choose(10, vision, Wishes(tier="medium", min_tier="medium"))
    assert (asked.model, asked.reason) == ("c", Reason.NEEDS)


def test_side_requests_go_to_the_lowest_tier() -> None:
    side = Demand(context_tokens=10, side=True)
    three = policy(THREE)
    chosen = three.choose(90, side)
    assert (chosen.tier, chosen.score, chosen.reason) == ("simple", 90, Reason.SIDE_REQUEST)
    assert three.choose(90, side, Wishes(min_tier="medium")).tier == "medium"
    assert three.choose(90, side, Wishes(min_tier="complex", max_tier="medium")).tier == "medium"
    assert three.choose(90, side, Wishes(tier="complex")).reason is Reason.REQUESTED_TIER
    yielding = three.choose(90, side, excluded={"s": Reason.COOLING_DOWN})
    assert (yielding.tier, yielding.reason) == ("medium", Reason.COOLING_DOWN)
    held = three.choose(90, side, session=Session("complex", "c", 90, 10, 0.0))
    assert (held.tier, held.reason) == ("simple", Reason.SIDE_REQUEST)


def test_a_side_request_is_no_part_of_what_is_cached() -> None:
    cached = Model("a", Price(2.0, 0.0, cache_read=0.0))
    both = policy({"only": (0, 100, ["a", "b"])}, cached, priced("b", 1.0, 0.0))
    session = Session("only", "a", 50, 1_000, 0.0)
    assert both.choose(50, Demand(context_tokens=1_000), session=session).model == "a"
    chosen = both.choose(50, Demand(context_tokens=1_000, side=True), session=session)
    assert (chosen.model, chosen.expected_cost) == ("b", 1_000.0)


# When all else fails


@pytest.mark.parametrize(
    ("wishes", "excluded", "tier", "model"),
    [
        (Wishes(), {}, "medium", "m"),
        (Wishes(), {"m": Reason.NOT_ALLOWED}, "medium", "n"),
        (Wishes(), {"m": Reason.NOT_ALLOWED, "n": Reason.COOLING_DOWN}, "complex", "c"),
        (Wishes(max_tier="medium"), {"m": Reason.NOT_ALLOWED, "n": Reason.COOLING_DOWN}, "simple", "s"),
        (Wishes(max_tier="simple"), {}, "simple", "s"),
        (Wishes(min_tier="complex"), {}, "complex", "c"),
        (Wishes(max_tier="simple"), {"s": Reason.NOT_ALLOWED}, None, None),
        (Wishes(), dict.fromkeys("smnc", Reason.NOT_ALLOWED), None, None),
    ],
)
def test_the_fallback_tier(wishes: Wishes, excluded: dict[str, Reason], tier: str | None, model: str | None) -> None:
    tiers = {**THREE, "medium": (31, 65, ["m", "n"])}
    chosen = policy(tiers, fallback_tier="medium").fall_back(wishes, excluded)
    assert (chosen.tier, chosen.model, chosen.reason) == (tier, model, Reason.FAILED_OPEN)
    assert (chosen.score, chosen.confidence, chosen.expected_cost) == (None, None, None)
    named = {each.model: each.reason for each in chosen.skipped}
    assert named.items() <= excluded.items()
    assert len(named) == len(chosen.skipped)
    if model is None:
        assert named == excluded


# Fallbacks of LiteLLM


def test_what_a_fallback_must_be_able_to_do() -> None:
    able = Model("c", supports=frozenset(("vision", "tools")), max_input_tokens=10_000)
    models = {"s": Model("s"), "m": Model("m", supports=frozenset(("vision",))), "c": able}
    rules = Policy(
        msgspec.convert(
            {
                "tiers": {
                    "simple": {"score_range": [0, 30], "model": "s"},
                    "medium": {"score_range": [31, 65], "model": "m"},
                    "complex": {"score_range": [66, 100], "model": "c"},
                },
                "fallback_tier": "simple",
            },
            Routing,
        ),
        models,
    )

    def suited(demand: Demand, **wishes: str) -> list[str]:
        return [name for name, model in models.items() if rules.suits(model, demand, Wishes(**wishes))]

    assert suited(Demand()) == ["s", "m", "c"]
    assert suited(Demand(needs=("vision",))) == ["m", "c"]
    assert suited(Demand(needs=("vision", "tools"))) == ["c"]
    assert suited(Demand(needs=("audio",))) == []
    # What is taken out of the body for a model that lacks it keeps nobody from answering.
    assert suited(Demand(needs=("reasoning", "prompt_cache", "server_tools"))) == ["s", "m", "c"]
    assert suited(Demand(context_tokens=9_600)) == ["s", "m"]
    # What may be spent is a limit of fallbacks, too; a lower tier is better than no answer.
    assert suited(Demand(), max_tier="medium") == ["s", "m"]
    assert suited(Demand(), min_tier="medium") == ["s", "m", "c"]
    # Of a model outside all tiers only its abilities count.
    assert rules.suits(Model("other"), Demand(), Wishes(max_tier="simple"))
    assert not rules.suits(Model("other"), Demand(needs=("vision",)))
