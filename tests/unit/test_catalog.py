"""`pricing.py`: what a candidate costs, from gateway.yaml or from LiteLLM's price map."""

from __future__ import annotations

import math
from typing import Any

import litellm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.errors import ConfigError
from bsgateway.pricing import LOCAL_PROVIDERS, Price, prices, provider_of


def price(params: dict[str, Any], info: dict[str, Any] | None = None) -> Price:
    return prices([{"model_name": "m", "litellm_params": params, "model_info": info}])["m"]


@pytest.mark.parametrize(
    ("given_price", "cached", "cost"),
    [
        (Price(2.0, 3.0), 0, 2.0 * 100 + 3.0 * 10),
        (Price(2.0, 3.0), 40, 2.0 * 100 + 3.0 * 10),  # no cache price: billed as input
        (Price(2.0, 3.0, 0.5), 40, 2.0 * 60 + 0.5 * 40 + 3.0 * 10),
        (Price(2.0, 3.0, 0.5), 1000, 0.5 * 100 + 3.0 * 10),  # not more than there was
        (Price(2.0, 3.0, 0.0), 100, 3.0 * 10),
        (Price(0.0, 0.0), 0, 0.0),
        (Price(2.0, None), 0, None),
        (Price(None, 3.0), 0, None),
        (Price(), 0, None),
    ],
)
def test_cost_of_a_request(given_price: Price, cached: int, cost: float | None) -> None:
    assert given_price.of(100, 10, cached) == cost


@pytest.mark.parametrize(("window", "tokens", "fits"), [(None, 10**9, True), (10, 10, True), (10, 11, False)])
def test_windows(window: int | None, tokens: int, fits: bool) -> None:
    assert Price(max_input_tokens=window).holds(tokens) is fits


def test_prices_of_litellms_map() -> None:
    entry = litellm.model_cost["gpt-5-mini"]
    expected = Price(
        entry["input_cost_per_token"],
        entry["output_cost_per_token"],
        entry["cache_read_input_token_cost"],
        entry["max_input_tokens"],
    )
    assert 0 < expected.input < expected.output < 1e-4
    assert price({"model": "openai/gpt-5-mini"}) == expected
    assert price({"model": "gpt-5-mini"}) == expected


def test_the_operators_word_comes_first() -> None:
    info = {"input_cost_per_token": 1, "output_cost_per_token": "2e-3", "max_input_tokens": 77}
    params = {"model": "openai/gpt-5-mini", "input_cost_per_token": 9, "cache_read_input_token_cost": 0.5}
    assert price(params, info) == Price(1.0, 0.002, 0.5, 77)


@pytest.mark.parametrize("provider", sorted(LOCAL_PROVIDERS & {"ollama", "ollama_chat", "hosted_vllm", "llamafile"}))
def test_a_model_on_the_operators_own_machine_is_free(provider: str) -> None:
    found = price({"model": f"{provider}/no-such-model", "api_base": "http://127.0.0.1:1"})
    assert (found.input, found.output) == (0.0, 0.0)
    assert price({"model": f"{provider}/no-such-model"}, {"input_cost_per_token": 1e-6}).input == 1e-6


def test_a_model_that_nobody_priced() -> None:
    assert price({"model": "openai/no-such-model"}) == Price()


@pytest.mark.parametrize("value", ["a lot", "os.environ/PRICE", [1], {}, math.nan, math.inf, -math.inf, "nan", 10**400])
def test_a_price_that_is_no_number_is_unknown(value: Any) -> None:
    info = {"input_cost_per_token": value, "output_cost_per_token": 1, "max_input_tokens": value}
    assert price({"model": "openai/no-such-model"}, info) == Price(None, 1.0)


@pytest.mark.parametrize(("window", "known"), [(0, None), (-5, None), (8192, 8192), ("8192", 8192), (8192.9, 8192)])
def test_windows_of_model_info(window: Any, known: int | None) -> None:
    assert price({"model": "openai/no-such-model"}, {"max_input_tokens": window}).max_input_tokens == known


def test_of_several_deployments_the_first_that_has_prices() -> None:
    def entry(model: str, cost: float | None) -> dict[str, Any]:
        info = {} if cost is None else {"input_cost_per_token": cost, "output_cost_per_token": cost}
        return {"model_name": "m", "litellm_params": {"model": f"openai/{model}"}, "model_info": info}

    unpriced, one, two = entry("no-such-1", None), entry("no-such-2", 1.0), entry("no-such-3", 2.0)
    assert prices([unpriced, two, one]) == {"m": Price(2.0, 2.0)}
    assert prices([one, two, unpriced]) == {"m": Price(1.0, 1.0)}
    assert prices([unpriced, unpriced]) == {"m": Price()}


@pytest.mark.parametrize(
    ("params", "provider", "model"),
    [
        ({"model": "openai/gpt-5-mini"}, "openai", "gpt-5-mini"),
        ({"model": "gpt-5-mini"}, "openai", "gpt-5-mini"),
        ({"model": "anthropic/claude-x"}, "anthropic", "claude-x"),
        ({"model": "ollama_chat/glm"}, "ollama_chat", "glm"),
        ({"model": "ollama_chat/glm", "api_base": "os.environ/LOCAL_LLM_API_BASE"}, "ollama_chat", "glm"),
        ({"model": "mine", "custom_llm_provider": "openai"}, "openai", "mine"),
        ({"model": "openai/*"}, "openai", "*"),
    ],
)
def test_provider_of_a_deployment(params: dict[str, Any], provider: str, model: str) -> None:
    assert provider_of(params) == (provider, model)


def test_a_provider_that_litellm_does_not_know() -> None:
    with pytest.raises(ConfigError, match=r"LiteLLM knows no provider for 'no-such/model'; write it as provider/model"):
        price({"model": "no-such/model"})


@settings(deadline=None, derandomize=True, database=None)
@given(*[st.floats(0, 1)] * 3, *[st.integers(0, 10**6)] * 3)
def test_more_tokens_never_cost_less(
    per_input: float, per_output: float, per_cached: float, tokens: int, output: int, cached: int
) -> None:
    given_price = Price(per_input, per_output, per_cached)
    cost = given_price.of(tokens, output, cached)
    assert cost is not None
    assert cost >= 0
    more = given_price.of(tokens + 1, output + 1, cached)
    assert more is not None
    # Only the rounding of floats may say otherwise.
    assert more >= cost * (1 - 1e-12)
