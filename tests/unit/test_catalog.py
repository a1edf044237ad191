"""`catalog.py`: what a model can do and what it costs, from gateway.yaml or from LiteLLM's map."""

from __future__ import annotations

import math
from typing import Any

import litellm
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.catalog import CAPABILITIES, LOCAL_PROVIDERS, NEEDS, SERVER_TOOLS, Model, models, provider_of
from bsgateway.errors import ConfigError
from bsgateway.pricing import Price

ALL = frozenset(CAPABILITIES)
OWN = "openai/no-such-model"
"""A model that LiteLLM knows nothing of."""


def model(params: dict[str, Any], info: dict[str, Any] | None = None) -> Model:
    """The one model, without its `host`, which has tests of its own."""
    found = models([{"model_name": "m", "litellm_params": params, "model_info": info}])["m"]
    return msgspec.structs.replace(found, host="")


def test_where_a_model_is() -> None:
    def host(*deployments: dict[str, Any]) -> str:
        return models({"model_name": "m", "litellm_params": params} for params in deployments)["m"].host

    mine, other = ({"model": "openai/gpt-5-mini", "api_base": f"http://{name}/v1"} for name in ("mine", "other"))
    assert host({"model": "openai/gpt-5-mini"}) == "openai"
    assert host(mine, mine) == "openai http://mine/v1"
    assert host(mine, other) == ""
    assert host({"model": "azure/gpt-5-mini"}) == "azure"


# LiteLLM's map


@pytest.mark.parametrize(
    ("params", "entry"),
    [
        ({"model": "openai/gpt-5-mini"}, "gpt-5-mini"),
        ({"model": "gpt-5-mini"}, "gpt-5-mini"),
        ({"model": "azure/gpt-4o"}, "azure/gpt-4o"),
        ({"model": "anthropic/claude-opus-5-5"}, "claude-opus-5-5"),
        ({"model": "gemini/gemini-2.5-pro"}, "gemini/gemini-2.5-pro"),
        ({"model": "mine", "custom_llm_provider": "openai", "base_model": "gpt-5-mini"}, "gpt-5-mini"),
        # With a route, a region, a version
        (
            {"model": "bedrock/converse/us.anthropic.claude-opus-4-1-20250805-v1:0"},
            "us.anthropic.claude-opus-4-1-20250805-v1:0",
        ),
        ({"model": "openai/ft:gpt-4o-2024-08-06:org:name:id"}, "ft:gpt-4o-2024-08-06"),
    ],
)
def test_what_litellms_map_says(params: dict[str, Any], entry: str) -> None:
    said = litellm.model_cost[entry]
    found = model(params)
    assert found == Model(
        name="m",
        price=Price(
            said["input_cost_per_token"],
            said["output_cost_per_token"],
            said.get("cache_read_input_token_cost"),
            said.get("cache_creation_input_token_cost"),
        ),
        supports=frozenset(need for need, key in CAPABILITIES.items() if said.get(key) is True),
        unknown=frozenset(),  # what the map leaves out the model cannot do
        max_input_tokens=said["max_input_tokens"],
        max_output_tokens=said["max_output_tokens"],
        family=found.family,
        adaptive_thinking=said.get("supports_adaptive_thinking") is True,
    )
    assert 0 < (found.price.input or 0) < (found.price.output or 0) < 1e-3
    assert "tools" in found.supports


def test_the_map_knows_more_of_some_than_of_others() -> None:
    claude, small = model({"model": "anthropic/claude-opus-5-5"}), model({"model": "openai/gpt-3.5-turbo"})
    assert {"vision", "tools", "file", "reasoning", "prompt_cache"} <= claude.supports
    assert "tools" in small.supports
    assert not small.supports & {"vision", "audio", "file", "reasoning"}
    assert small.unknown == frozenset()


def test_a_model_like_others_has_no_price_by_that() -> None:
    name = "claude-opus-4-1@20990101"
    assert f"vertex_ai/{name}" not in litellm.model_cost
    found = model({"model": f"vertex_ai/{name}"})
    assert found.price == Price()
    assert (found.family, "tools" in found.supports) == ("anthropic", True)


def test_each_need_has_its_key_in_litellms_map() -> None:
    known = {key for entry in litellm.model_cost.values() for key in entry}
    assert set(CAPABILITIES.values()) <= known
    assert {"max_input_tokens", "max_output_tokens", "input_cost_per_token", "output_cost_per_token"} <= known
    assert {"cache_read_input_token_cost", "cache_creation_input_token_cost"} <= known
    assert (*CAPABILITIES, SERVER_TOOLS) == NEEDS


def test_a_model_that_nobody_knows() -> None:
    assert model({"model": OWN}) == Model("m", unknown=ALL, family="openai")
    assert model({"model": "openai/*"}) == Model("m", unknown=ALL, family="openai")


# gateway.yaml


def test_the_operators_word_comes_first() -> None:
    info = {
        "input_cost_per_token": 1,
        "output_cost_per_token": "2e-3",
        "cache_creation_input_token_cost": 0.75,
        "max_input_tokens": 77,
        "max_output_tokens": 7,
    }
    params = {"model": "openai/gpt-5-mini", "input_cost_per_token": 9, "cache_read_input_token_cost": 0.5}
    found = model(params, info)
    assert found.price == Price(1.0, 0.002, 0.5, 0.75)
    assert (found.max_input_tokens, found.max_output_tokens) == (77, 7)
    assert found.supports == model({"model": "gpt-5-mini"}).supports


@pytest.mark.parametrize("need", CAPABILITIES)
def test_no_in_gateway_yaml_beats_yes_in_the_map(need: str) -> None:
    params = {"model": "openai/gpt-5-mini"}
    before = model(params).supports
    assert model(params, {CAPABILITIES[need]: False}).supports == before - {need}
    assert model(params, {CAPABILITIES[need]: True}).supports == before | {need}
    assert model(params, {CAPABILITIES[need]: None}).supports == before  # nothing was said
    # LiteLLM takes these words among the parameters as well.
    assert model({**params, CAPABILITIES[need]: False}).supports == before - {need}


@pytest.mark.parametrize("need", CAPABILITIES)
def test_what_is_said_is_no_longer_unknown(need: str) -> None:
    for value in (True, False):
        found = model({"model": OWN}, {CAPABILITIES[need]: value})
        assert found.unknown == ALL - {need}
        assert found.supports == (frozenset((need,)) if value else frozenset())
    assert model({"model": OWN}, {CAPABILITIES[need]: "yes"}).supports == frozenset()  # only true is


def test_the_model_behind_a_deployment() -> None:
    base = model({"model": "azure/gpt-4o"})
    assert base.unknown == frozenset()
    deployed = {"model": "azure/my-own-name"}
    assert model(deployed).unknown == ALL
    assert model(deployed, {"base_model": "azure/gpt-4o"}) == base
    assert model(deployed, {"base_model": "gpt-4o"}) == base
    assert model({**deployed, "base_model": "azure/gpt-4o"}) == base
    # The name of a deployment may be that of another model.
    assert model({"model": "azure/gpt-4"}, {"base_model": "azure/gpt-4o"}) == base
    priced = model(deployed, {"base_model": "azure/gpt-4o", "input_cost_per_token": 1.0, "supports_vision": False})
    assert (priced.price.input, priced.price.output) == (1.0, base.price.output)
    assert priced.supports == base.supports - {"vision"}
    assert model({"model": "openai/gpt-5-mini"}, {"base_model": "no-such-model"}) == model({"model": "gpt-5-mini"})
    assert model({"model": OWN}, {"base_model": 5}) == model({"model": OWN})


NO_NUMBERS = ["a lot", "os.environ/PRICE", [1], {}, math.nan, math.inf, -math.inf, "nan", 10**400, -1, -1e-6]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_price_that_is_none_is_unknown(value: Any) -> None:
    info = {"input_cost_per_token": value, "output_cost_per_token": 1, "max_input_tokens": value}
    found = model({"model": OWN}, info)
    assert found.price == Price(None, 1.0)
    assert found.max_input_tokens is None


@pytest.mark.parametrize(("window", "known"), [(0, None), (-5, None), (8192, 8192), ("8192", 8192), (8192.9, 8192)])
def test_windows_of_model_info(window: Any, known: int | None) -> None:
    found = model({"model": OWN}, {"max_input_tokens": window, "max_output_tokens": window})
    assert (found.max_input_tokens, found.max_output_tokens) == (known, known)


@pytest.mark.parametrize(("window", "tokens", "fits"), [(None, 10**9, True), (10, 10, True), (10, 11, False)])
def test_what_a_window_holds(window: int | None, tokens: int, fits: bool) -> None:
    assert Model("m", max_input_tokens=window).holds(tokens) is fits


# Models on the operator's own machines


@pytest.mark.parametrize("provider", sorted(LOCAL_PROVIDERS & {"ollama", "ollama_chat", "hosted_vllm", "llamafile"}))
def test_a_model_on_the_operators_own_machine_is_free(provider: str) -> None:
    params = {"model": f"{provider}/no-such-model", "api_base": "http://127.0.0.1:1"}
    found = model(params)
    assert found == Model("m", Price(0.0, 0.0), unknown=ALL, local=True)
    paid = model(params, {"input_cost_per_token": 1e-6, "supports_vision": True})
    assert (paid.price.input, paid.price.output) == (1e-6, 0.0)
    assert (paid.supports, paid.unknown) == (frozenset(("vision",)), ALL - {"vision"})


@pytest.mark.parametrize("provider", ["hosted_vllm", "ollama_chat"])
def test_a_local_model_does_not_take_the_price_of_one_that_has_its_name(provider: str) -> None:
    assert litellm.model_cost["gpt-4o"]["input_cost_per_token"] > 0
    found = model({"model": f"{provider}/gpt-4o", "api_base": "http://127.0.0.1:1"})
    assert found == Model("m", Price(0.0, 0.0), unknown=ALL, local=True)


# Families


@pytest.mark.parametrize(
    ("params", "family"),
    [
        ({"model": "anthropic/claude-opus-4-1"}, "anthropic"),
        ({"model": "claude-opus-4-1"}, "anthropic"),
        ({"model": "bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0"}, "anthropic"),
        ({"model": "bedrock/converse/us.anthropic.claude-opus-4-1-20250805-v1:0"}, "anthropic"),
        ({"model": "bedrock/meta.llama3-70b-instruct-v1:0"}, "other"),
        ({"model": "vertex_ai/claude-opus-4-1"}, "anthropic"),
        ({"model": "vertex_ai/gemini-2.5-pro"}, "google"),
        ({"model": "vertex_ai/meta/llama-3.1-405b-instruct-maas"}, "other"),
        ({"model": "gemini/gemini-2.5-pro"}, "google"),
        ({"model": "azure/gpt-4o"}, "openai"),
        ({"model": "azure_ai/claude-opus-4-1"}, "anthropic"),
        ({"model": "openai/gpt-5-mini"}, "openai"),
        ({"model": "groq/llama-3.3-70b-versatile"}, "other"),
        ({"model": "mistral/mistral-large-latest"}, "other"),
        ({"model": "ollama_chat/glm-4.7-flash"}, "other"),
        (
            {
                "model": "bedrock/arn:aws:bedrock:us-east-1:1:application-inference-profile/x",
                "base_model": "us.anthropic.claude-opus-4-1-20250805-v1:0",
            },
            "anthropic",
        ),
    ],
)
def test_families(params: dict[str, Any], family: str) -> None:
    assert model(params).family == family


@pytest.mark.parametrize("need", NEEDS)
def test_what_a_model_serves(need: str) -> None:
    able = Model("m", supports=frozenset(CAPABILITIES), family="anthropic")
    assert able.serves(need, "anthropic")
    assert able.serves(need, "openai") == (need != SERVER_TOOLS)
    unable = Model("m", unknown=frozenset(CAPABILITIES), family="anthropic")
    assert unable.serves(need, "anthropic") == (need == SERVER_TOOLS)  # what nobody knows counts as no


# Groups of several deployments


def entry(info: dict[str, Any], params: str = OWN, name: str = "m") -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": params}, "model_info": info}


def cost(dollars: float) -> dict[str, Any]:
    return {"input_cost_per_token": dollars, "output_cost_per_token": dollars}


def test_of_several_deployments_the_first_that_has_prices() -> None:
    unpriced, one, two = entry({}), entry(cost(1.0)), entry(cost(2.0))
    assert models([unpriced, two, one])["m"].price == Price(2.0, 2.0)
    assert models([one, two, unpriced])["m"].price == Price(1.0, 1.0)
    assert models([unpriced, unpriced])["m"].price == Price()


@pytest.mark.parametrize(
    ("said", "serves", "known"),
    [
        ((True, True), True, True),
        ((True, True, False), False, True),
        ((False, True), False, True),
        ((False, None), False, True),  # one that cannot settles it
        ((None, True), False, False),
        ((True, None), False, False),
        ((None, None), False, False),
        ((True, None, False), False, True),
        ((None, False, True), False, True),
        ((None, True, None), False, False),
    ],
)
def test_a_group_can_do_what_all_of_it_can(said: tuple[bool | None, ...], serves: bool, known: bool) -> None:
    group = models([entry({"supports_vision": value}) for value in said])["m"]
    assert ("vision" in group.supports) == serves
    assert ("vision" in group.unknown) == (not known)


def test_a_group_holds_what_the_smallest_of_it_holds() -> None:
    def window(given: int | None) -> dict[str, Any]:
        return entry({"max_input_tokens": given, "max_output_tokens": given})

    group = models([window(9_000), window(None), window(7_000), window(8_000)])["m"]
    assert (group.max_input_tokens, group.max_output_tokens) == (7_000, 7_000)
    assert models([window(None), window(None)])["m"].max_input_tokens is None


def test_a_group_of_two_families_has_none() -> None:
    claude, bedrock = "anthropic/claude-opus-5-5", "bedrock/us.anthropic.claude-opus-4-1-20250805-v1:0"
    assert models([entry({}, claude), entry({}, bedrock)])["m"].family == "anthropic"
    mixed = models([entry({}, claude), entry({}, "openai/gpt-5-mini")])["m"]
    assert mixed.family == "other"
    assert mixed.supports == model({"model": claude}).supports & model({"model": "gpt-5-mini"}).supports
    local = models([entry({}, "ollama_chat/glm"), entry({}, "hosted_vllm/glm")])["m"]
    assert (local.local, local.price) == (True, Price(0.0, 0.0))
    assert not models([entry({}, "ollama_chat/glm"), entry({}, "openai/gpt-5-mini")])["m"].local


def test_groups_have_nothing_to_do_with_each_other() -> None:
    found = models([entry(cost(1.0), name="a"), entry({}, name="b"), entry(cost(2.0), name="c")])
    assert [(name, group.name, group.price.input) for name, group in found.items()] == [
        ("a", "a", 1.0), ("b", "b", None), ("c", "c", 2.0),
    ]  # fmt: skip
    assert models([]) == {}


_info = st.fixed_dictionaries(
    {key: st.sampled_from((True, False, None)) for key in ("supports_vision", "supports_audio_input")},
    optional={"max_input_tokens": st.integers(1, 1_000), "input_cost_per_token": st.floats(0, 1)},
)


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(_info, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_deployments_does_not_matter_for_what_they_can(infos: list[dict[str, Any]], random: Any) -> None:
    group = models([entry(info) for info in infos])["m"]
    alone = [models([entry(info)])["m"] for info in infos]
    assert group.supports == frozenset.intersection(*(one.supports for one in alone))
    assert not group.supports & group.unknown
    shuffled = list(infos)
    random.shuffle(shuffled)
    other = models([entry(info) for info in shuffled])["m"]
    assert (other.supports, other.unknown) == (group.supports, group.unknown)
    assert other.max_input_tokens == group.max_input_tokens


# Providers


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
        model({"model": "no-such/model"})
