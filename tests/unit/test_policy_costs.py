"""`policy.py`: the cheapest of a tier, by what a request is expected to cost."""

from __future__ import annotations

import pytest

from bsgateway.catalog import Model
from bsgateway.decision import Reason
from bsgateway.policy import EXPECTED_OUTPUT_TOKENS, Demand
from bsgateway.pricing import Price
from policies import SMALL, THREE, Tiers, policy, priced

ONE: Tiers = {"only": (0, 100, ["a", "b", "c"])}


@pytest.mark.parametrize(
    ("models", "model", "reason"),
    [
        ([priced("a", 2), priced("b", 1), priced("c", 3)], "b", Reason.CHEAPEST),
        ([priced("a", 1), priced("b", 2), priced("c", 2)], "a", Reason.CHEAPEST),
        ([priced("a", 1), priced("b", 1), priced("c", 1)], "a", None),  # ties go to the first
        ([priced("b", 2)], "b", Reason.CHEAPEST),  # a price nobody knows counts as the dearest
        ([Model("a", Price(input=1.0)), priced("b", 2)], "b", Reason.CHEAPEST),  # half a price is none
        ([], "a", None),
        ([priced("a", 0), priced("b", 0)], "a", Reason.CHEAPEST),
    ],
)
def test_the_cheapest_of_a_tier(models: list[Model], model: str, reason: Reason | None) -> None:
    chosen = policy(ONE, *models).choose(50, Demand(context_tokens=100))
    assert (chosen.model, chosen.reason, chosen.skipped) == (model, reason, ())


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
    both = policy({"only": (0, 100, ["in", "out"])}, priced("in", 1, 10), priced("out", 2, 2))
    assert both.choose(50, Demand(context_tokens=context, max_output_tokens=limit)).model == model


def test_a_model_writes_no_more_than_it_can() -> None:
    both = policy({"only": (0, 100, ["a", "b"])}, priced("a", 1, 10, max_output_tokens=7), priced("b", 1, 1))
    chosen = both.choose(50, Demand(context_tokens=100))
    assert (chosen.model, chosen.expected_cost) == ("a", 100 + 7 * 10)


def test_expected_output_is_known_by_tier_and_model() -> None:
    tiers: Tiers = {"low": (0, 50, ["a", "b"]), "high": (51, 100, ["a", "b"])}
    both = policy(tiers, priced("a", 1.0), priced("b", 1.0))
    expected = {("low", "a"): 900.2, ("high", "b"): 800.0, ("high", "c"): 1.0}
    low = both.choose(10, SMALL, expected=expected)
    assert (low.model, low.expected_cost) == ("b", 10 + EXPECTED_OUTPUT_TOKENS)
    high = both.choose(90, SMALL, expected=expected)
    assert (high.model, high.expected_cost) == ("a", 10 + EXPECTED_OUTPUT_TOKENS)
    dear = both.choose(10, SMALL, expected=expected, excluded={"b": Reason.COOLING_DOWN})
    assert (dear.model, dear.expected_cost) == ("a", 10 + 901)  # no part of a token is written
    short = both.choose(10, Demand(context_tokens=10, max_output_tokens=30), expected=expected)
    assert (short.model, short.expected_cost) == ("a", 10 + 30)


def test_what_goes_into_the_prompt_cache_has_a_price_of_its_own() -> None:
    # Dollars for 1000 tokens of input and 500 of output.
    writes = Model("writes", Price(1.0, 1.0, cache_read=0.1, cache_write=1.25), frozenset(("prompt_cache",)))
    plain = priced("plain", 1.1, 1.0)
    both = policy({"only": (0, 100, ["writes", "plain"])}, writes, plain)
    unmarked = both.choose(50, Demand(context_tokens=1_000))
    assert (unmarked.model, unmarked.expected_cost) == ("writes", 1_500.0)
    marked = both.choose(50, Demand(needs=("prompt_cache",), context_tokens=1_000))
    assert (marked.model, marked.expected_cost) == ("plain", pytest.approx(1_600.0))  # the other: 1250 + 500


def test_a_price_nobody_knows_is_no_expected_cost() -> None:
    assert policy(THREE).choose(50, SMALL).expected_cost is None
    assert policy(THREE, priced("m", 0.0)).choose(50, SMALL).expected_cost == 0.0


@pytest.mark.parametrize(
    ("serves", "model"),
    [
        ((), "a"),
        (("b",), "b"),
        (("b", "c"), "b"),
        (("a", "c"), "a"),
    ],
)
def test_of_models_that_cost_the_same_the_one_that_serves_more_wishes(serves: tuple[str, ...], model: str) -> None:
    models = [
        priced(name, 1.0, supports=frozenset(("parallel_tools",) if name in serves else ("tools",))) for name in "abc"
    ]
    chosen = policy(ONE, *models).choose(50, Demand(needs=("parallel_tools",)))
    assert (chosen.model, chosen.skipped) == (model, ())


def test_a_wish_is_no_reason_to_pay_more() -> None:
    dear = priced("b", 2.0, supports=frozenset(("parallel_tools", "prompt_cache")))
    chosen = policy(ONE, priced("a", 1.0), dear).choose(50, Demand(needs=("parallel_tools", "prompt_cache")))
    assert (chosen.model, chosen.reason) == ("a", Reason.CHEAPEST)
