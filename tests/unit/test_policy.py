"""`policy.py`: score and size of a request -> tier and model."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.config import Routing
from bsgateway.decision import Reason
from bsgateway.policy import BOUNDARY_SPAN, EXPECTED_OUTPUT_TOKENS, Choice, Policy
from bsgateway.pricing import Price

quick = settings(deadline=None, derandomize=True, database=None, max_examples=200)


def policy(tiers: dict[str, tuple[int, int, list[str]]], prices: dict[str, Price] | None = None, **more: Any) -> Policy:
    """`tiers`: first and last score, models. Models without a price cost nobody knows what."""
    raw = {name: {"score_range": [first, last], "models": models} for name, (first, last, models) in tiers.items()}
    routing = msgspec.convert({"tiers": raw, "fallback_tier": next(iter(tiers)), **more}, Routing)
    unknown = {model: Price() for _, _, models in tiers.values() for model in models}
    return Policy(routing, unknown | (prices or {}))


THREE = {"simple": (0, 30, ["s"]), "medium": (31, 65, ["m"]), "complex": (66, 100, ["c"])}


def tier_of(chosen: Choice) -> str:
    return chosen.tier


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
    ],
)
def test_tier_and_score(raw: float, bias: int, tier: str, score: int) -> None:
    chosen = policy(THREE).choose(raw, bias, 10, None)
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
    assert policy(THREE).choose(raw, bias, 10, None).confidence == pytest.approx(confidence)


def test_with_one_tier_there_is_no_doubt() -> None:
    assert policy({"only": (0, 100, ["m"])}).choose(50, 0, 10, None) == Choice("only", "m", 50, 1.0, None)


def test_the_order_of_tiers_is_that_of_their_scores() -> None:
    shuffled = policy({"c": (66, 100, ["big"]), "a": (0, 30, ["small"]), "b": (31, 65, ["mid"])})
    assert [plan.name for plan in shuffled.tiers] == ["a", "b", "c"]
    assert shuffled.baseline.model == "big"
    assert shuffled.fallback == ("c", "big")


def test_the_fallback_is_the_first_candidate_of_its_tier() -> None:
    assert policy({**THREE, "medium": (31, 65, ["x", "y"])}, fallback_tier="medium").fallback == ("medium", "x")


def dollars(each: float, output: float | None = None, window: int | None = None) -> Price:
    return Price(each, each if output is None else output, None, window)


@pytest.mark.parametrize(
    ("prices", "model", "reason"),
    [
        ({"a": dollars(2), "b": dollars(1), "c": dollars(3)}, "b", Reason.CHEAPEST),
        ({"a": dollars(1), "b": dollars(2), "c": dollars(2)}, "a", Reason.CHEAPEST),
        ({"a": dollars(1), "b": dollars(1), "c": dollars(1)}, "a", None),  # ties go to the first
        ({"b": dollars(2)}, "b", Reason.CHEAPEST),  # a price nobody knows counts as the dearest
        ({}, "a", None),
        ({"a": dollars(0), "b": dollars(0)}, "a", Reason.CHEAPEST),
    ],
)
def test_the_cheapest_of_a_tier(prices: dict[str, Price], model: str, reason: Reason | None) -> None:
    chosen = policy({"only": (0, 100, ["a", "b", "c"])}, prices).choose(50, 0, 100, None)
    assert (chosen.model, chosen.reason) == (model, reason)


@pytest.mark.parametrize(
    ("context", "limit", "model"),
    [
        # `in` costs 1 for input and 10 for output, `out` 2 and 2: they break even at input = 8 * output.
        (8 * EXPECTED_OUTPUT_TOKENS - 1, None, "out"),
        (8 * EXPECTED_OUTPUT_TOKENS + 1, None, "in"),
        (799, 100, "out"),  # the client's own limit is less than what is expected
        (801, 100, "in"),
        (8 * EXPECTED_OUTPUT_TOKENS - 1, 100_000, "out"),  # a limit is no wish
        (8 * EXPECTED_OUTPUT_TOKENS - 1, 0, "out"),
    ],
)
def test_what_is_cheapest_depends_on_input_and_output(context: int, limit: int | None, model: str) -> None:
    both = policy({"only": (0, 100, ["in", "out"])}, {"in": dollars(1, 10), "out": dollars(2, 2)})
    assert both.choose(50, 0, context, limit).model == model


WINDOWS = {"s": dollars(1, window=1_000), "m": dollars(2, window=10_000), "c": dollars(3, window=5_000)}


@pytest.mark.parametrize(
    ("score", "context", "limit", "tier", "reason"),
    [
        (10, 500, None, "simple", None),  # 500 more for the answer: just fits
        (10, 501, None, "medium", Reason.CONTEXT_WINDOW),
        (10, 990, 10, "simple", None),
        (10, 991, 10, "medium", Reason.CONTEXT_WINDOW),
        (50, 501, None, "medium", None),
        (80, 4_500, None, "complex", None),
        (80, 4_501, None, "medium", Reason.CONTEXT_WINDOW),  # up is tried first, then down
        (80, 20_000, None, "complex", None),  # nobody can: the provider's own error says so
        (10, 20_000, None, "simple", None),
    ],
)
def test_a_tier_that_cannot_hold_the_request(
    score: float, context: int, limit: int | None, tier: str, reason: Reason | None
) -> None:
    chosen = policy(THREE, WINDOWS).choose(score, 0, context, limit)
    assert (chosen.tier, chosen.model, chosen.score, chosen.reason) == (tier, tier[0], score, reason)


def test_the_nearest_tier_below_comes_first() -> None:
    tiers = {"a": (0, 20, ["a"]), "b": (21, 40, ["b"]), "c": (41, 100, ["c"])}
    chosen = policy(tiers, {"c": dollars(1, window=10)}).choose(90, 0, 100, None)
    assert (chosen.tier, chosen.reason) == ("b", Reason.CONTEXT_WINDOW)


def test_the_cheapest_is_chosen_among_those_that_fit() -> None:
    prices = {"a": dollars(1, window=600), "b": dollars(3), "c": dollars(2)}
    both = policy({"only": (0, 100, ["a", "b", "c"])}, prices)
    assert both.choose(50, 0, 100, None).model == "a"
    assert (both.choose(50, 0, 101, None).model, both.choose(50, 0, 101, None).reason) == ("c", Reason.CHEAPEST)


# Properties

_cuts = st.lists(st.integers(1, 100), unique=True, max_size=6).map(sorted)


def partition(cuts: list[int]) -> dict[str, tuple[int, int, list[str]]]:
    edges = [0, *cuts, 101]
    return {f"t{low}": (low, high - 1, [f"m{low}"]) for low, high in itertools.pairwise(edges)}


@quick
@given(_cuts, st.floats(0, 100), st.integers(-100, 100), st.integers(0, 10**9), st.none() | st.integers(1, 10**9))
def test_every_score_has_its_tier(cuts: list[int], raw: float, bias: int, context: int, limit: int | None) -> None:
    tiers = partition(cuts)
    chosen = policy(tiers).choose(raw, bias, context, limit)
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
    lower = chosen.choose(min(one, two), min(low, high), 10, None)
    upper = chosen.choose(max(one, two), max(low, high), 10, None)
    assert lower.score <= upper.score
    assert order.index(lower.tier) <= order.index(upper.tier)


_price = st.builds(
    Price,
    st.none() | st.floats(0, 1e-3),
    st.none() | st.floats(0, 1e-3),
    st.none(),
    st.none() | st.integers(1, 200_000),
)


@quick
@given(st.lists(_price, min_size=1, max_size=4), st.integers(0, 250_000), st.none() | st.integers(1, 1000))
def test_no_candidate_that_fits_is_cheaper(prices: list[Price], context: int, limit: int | None) -> None:
    named = {f"m{index}": price for index, price in enumerate(prices)}
    chosen = policy({"only": (0, 100, list(named))}, named).choose(50, 0, context, limit)
    output = min(limit or 500, 500)
    fitting = {name: price for name, price in named.items() if price.holds(context + output)}
    if not fitting:
        assert (chosen.model, chosen.reason) == ("m0", None)
        return
    assert chosen.model in fitting
    costs = {name: price.of(context, output) for name, price in fitting.items()}
    known = [cost for cost in costs.values() if cost is not None]
    if known:
        assert costs[chosen.model] == min(known)
    same = len(set(costs.values())) == 1
    assert chosen.reason is (None if same else Reason.CHEAPEST)
