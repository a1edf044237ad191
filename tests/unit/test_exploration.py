"""`exploration.py` and what the hook makes of it: chance has its share, its probabilities are known, and everything
else holds as ever."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from statistics import fmean, stdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway.decision import Reason
from bsgateway.exploration import Explorer, propensity
from bsgateway.gateway import Asker, Gateway
from bsgateway.policy import Choice

TIERS = ("simple", "medium", "complex")
MakeGateway = Callable[..., Gateway]


def a_choice(tier: str | None, **more: Any) -> Choice:
    return Choice(tier, None if tier is None else f"model of {tier}", 50, 0.75, None, **more)


async def permitted(tier: str) -> Choice:
    return a_choice(tier)


def scripted(numbers: Iterable[float]) -> Callable[[], float]:
    found = iter(numbers)
    return lambda: next(found)


# The probabilities


@given(st.floats(0, 1), st.integers(1, 20))
def test_propensities_add_up_to_one(share: float, tiers: int) -> None:
    whole = propensity(share, tiers, is_own=True) + (tiers - 1) * propensity(share, tiers, is_own=False)
    assert whole == pytest.approx(1.0)


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("own", TIERS)
async def test_tiers_come_as_often_as_their_propensities_say(share: float, own: str) -> None:
    explorer, count = Explorer(share, random.Random(17).random), 6_000
    chosen = [await explorer.settle(a_choice(own), TIERS, permitted) for _ in range(count)]
    seen = Counter(choice.tier for choice in chosen)
    for tier in TIERS:
        expected = propensity(share, 3, tier == own)
        assert {choice.propensity for choice in chosen if choice.tier == tier} <= {expected}
        assert seen[tier] / count == pytest.approx(expected, abs=4 * (0.25 / count) ** 0.5)
    assert sum(choice.explored for choice in chosen) / count == pytest.approx(share, abs=0.03)
    for choice in chosen:
        assert (choice.reason is Reason.EXPLORED) == (choice.tier != own)
        assert choice.explored or choice.tier == own


# One draw


async def test_what_chance_leaves_alone_keeps_its_choice() -> None:
    own = a_choice("medium")
    settled = await Explorer(0.1, scripted([0.1])).settle(own, TIERS, permitted)
    assert (settled.tier, settled.reason, settled.explored) == ("medium", None, False)
    assert settled.propensity == pytest.approx(0.9 + 0.1 / 3)


@pytest.mark.parametrize(("place", "tier"), [(0.0, "simple"), (0.5, "medium"), (0.999, "complex")])
async def test_what_chance_takes(place: float, tier: str) -> None:
    settled = await Explorer(0.1, scripted([0.0999, place])).settle(a_choice("medium"), TIERS, permitted)
    assert (settled.tier, settled.explored) == (tier, True)
    assert settled.reason is (None if tier == "medium" else Reason.EXPLORED)
    assert settled.propensity == pytest.approx(0.1 / 3 + (0.9 if tier == "medium" else 0))


async def test_a_tier_that_the_key_may_not_use_is_never_drawn() -> None:
    async def mostly(tier: str) -> Choice:
        return a_choice("medium" if tier == "complex" else tier)  # of complex, nothing: the next tier instead

    for place in (0.0, 0.3, 0.6, 0.999):
        settled = await Explorer(0.5, scripted([0.0, place])).settle(a_choice("medium"), TIERS, mostly)
        assert settled.tier in ("simple", "medium")
        assert settled.propensity == pytest.approx(0.25 + (0.5 if settled.tier == "medium" else 0))


async def test_without_an_alternative_there_is_no_propensity() -> None:
    async def none(_: str) -> Choice:
        return a_choice(None)

    own = a_choice("medium")
    assert await Explorer(1.0, scripted([0.0])).settle(own, TIERS, none) is own


# What it is good for


async def test_other_tiers_can_be_judged_from_the_log() -> None:
    """Inverse propensity scoring: the mean of reward/propensity where the log did what the policy in question does. On
    a stream whose truth is known, it finds the value of each policy; the plain mean of what was tried does not."""
    chance = random.Random(23)
    explorer = Explorer(0.3, chance.random)
    rows = []
    for _ in range(20_000):
        difficulty = chance.random()
        own = TIERS[int(difficulty * 3)]  # what runs: by difficulty
        choice = await explorer.settle(a_choice(own), TIERS, permitted)
        assert choice.tier is not None
        rows.append(
            (difficulty, choice.tier, choice.propensity or 0.0, chance.random() < quality(difficulty, choice.tier))
        )
    policies: dict[str, Callable[[float], str]] = {
        "all simple": lambda difficulty: "simple",
        "all complex": lambda difficulty: "complex",
        "another threshold": lambda difficulty: "simple" if difficulty < 0.6 else "complex",
    }
    for name, policy in policies.items():
        truth = fmean(quality(place / 10_000, policy(place / 10_000)) for place in range(10_000))
        terms = [(tier == policy(difficulty)) / p * good for difficulty, tier, p, good in rows]
        error = stdev(terms) / len(terms) ** 0.5
        assert fmean(terms) == pytest.approx(truth, abs=4 * error), name
        assert error < 0.03
    naive = fmean(good for _, tier, _, good in rows if tier == "simple")
    assert naive - fmean(quality(place / 10_000, "simple") for place in range(10_000)) > 0.1, "nothing was to be shown"


def quality(difficulty: float, tier: str) -> float:
    """Chance of a good answer."""
    return 1.0 - difficulty * (0.9, 0.5, 0.1)[TIERS.index(tier)]


# Which requests


def explorable(gateway: Gateway, excluded: dict[str, Reason] | None = None, **body: Any) -> tuple[str, ...]:
    whole = {"model": "auto", "messages": [{"role": "user", "content": "Name a colour."}], **body}
    pending = gateway.begin(whole, "acompletion", Asker(), lambda _: False)
    choice = gateway.choose(pending, None, excluded or {})
    return gateway.explorable(pending, None, choice, excluded or {})


def test_requests_that_the_score_alone_has_settled(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(learning={"explore": "10%"}, client_overrides=["tier", "max_tier", "dry_run"])
    assert explorable(gateway) == TIERS
    assert explorable(gateway, model="claude-3-opus") == TIERS
    assert explorable(gateway, model="small") == ()
    assert explorable(gateway, metadata={"bsgateway_tier": "complex"}) == ()
    assert explorable(gateway, metadata={"bsgateway_dry_run": True}) == ()
    assert explorable(gateway, metadata={"bsgateway_max_tier": "medium"}) == ("simple", "medium")
    assert explorable(gateway, {"large": Reason.COOLING_DOWN}) == ("simple", "medium")
    assert explorable(gateway, {"large": Reason.COOLING_DOWN, "middle": Reason.COOLING_DOWN}) == ()
    assert explorable(gateway, {"small": Reason.COOLING_DOWN}) == (), "it was not the score that settled it"
    long = [{"role": "user", "content": "word " * 20_000}]
    assert explorable(gateway, messages=long) == ("medium", "complex"), "nor what small cannot hold"
    tools = [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "noon"},
    ]  # fmt: skip
    assert explorable(gateway, messages=tools) == ()


@pytest.mark.parametrize("routing", [{}, {"mode": "shadow"}, {"canary": "0%"}])
def test_none_are_without_being_asked_for_or_where_nothing_is_rewritten(
    make_gateway: MakeGateway, routing: dict[str, Any]
) -> None:
    learning = {"explore": "100%"} if routing else {}
    assert explorable(make_gateway(learning=learning, **routing)) == ()


def test_a_drawn_tier_keeps_all_other_rules(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(learning={"explore": "10%"})
    body = {"model": "auto", "messages": [{"role": "user", "content": "word " * 20_000}]}  # more than small can hold
    pending = gateway.begin(body, "acompletion", Asker(), lambda _: False)
    drawn = gateway.choose(pending, drawn="simple")
    assert (drawn.tier, drawn.reason) == ("medium", Reason.CONTEXT_WINDOW), "and so it is no option"
    assert gateway.choose(pending, drawn="complex").model == "large"
    assert gateway.choose(pending, None, {"large": Reason.NOT_ALLOWED}, drawn="complex").tier != "complex"
