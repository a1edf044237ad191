"""A client that wants to say where its request goes, through a real proxy: no key of a provider ever goes to an address
of the client's, but for the one model whose operator allows it."""

from __future__ import annotations

from typing import Any

import pytest

from attacks.listener import Listener
from attacks.proxied import OPENED, PATHS, Proxy, ask, body, post, reached
from e2e.clients import PROMPTS, new_request_id
from e2e.gateways import KEY
from e2e.records import until
from e2e.upstream import Plan

EVIL = "EVIL"
"""Stands for the attacker's address."""
TARGET = {"model": "large", "api_base": EVIL}
REFUSED: dict[str, dict[str, Any]] = {
    "api_base": {"api_base": EVIL},
    "base_url": {"base_url": EVIL},
    "with a key": {"api_base": EVIL, "api_key": "sk-of-the-client"},
    "extra_body": {"extra_body": {"api_base": EVIL}},
    "extra_body as text": {"extra_body": '{"api_base": "EVIL"}'},
    "embedding config": {"litellm_embedding_config": {"api_base": EVIL}},
    "metadata": {"metadata": {"api_base": EVIL}},
    "metadata as text": {"metadata": '{"api_base": "EVIL"}'},
    "litellm_metadata": {"litellm_metadata": {"base_url": EVIL}},
    "fallbacks": {"fallbacks": [TARGET]},
    "fallbacks by model": {"fallbacks": [{"claude-x": [TARGET]}]},
    "context_window_fallbacks": {"context_window_fallbacks": [TARGET]},
    "content_policy_fallbacks": {"content_policy_fallbacks": [TARGET]},
    "router settings": {"router_settings_override": {"fallbacks": [TARGET]}},
    "a url to fall back to": {"fallbacks": [f"huggingface/{EVIL}"]},
    "model_list": {"model_list": [{"model_name": "claude-x", "litellm_params": TARGET}]},
    "user_config": {"user_config": {"model_list": [{"model_name": "claude-x", "litellm_params": TARGET}]}},
    "aws_sts_endpoint": {"aws_sts_endpoint": EVIL},
    "aws_bedrock_runtime_endpoint": {"aws_bedrock_runtime_endpoint": EVIL},
    "sagemaker_base_url": {"sagemaker_base_url": EVIL},
    "s3_endpoint_url": {"s3_endpoint_url": EVIL},
    "deployment_url": {"deployment_url": EVIL},
    "langfuse_host": {"langfuse_host": EVIL},
    "langfuse_host in metadata": {"metadata": {"langfuse_host": EVIL}},
    "vertex_credentials": {"vertex_credentials": {"token_uri": EVIL}},
    "azure_ad_token": {"azure_ad_token": "oidc/file//etc/passwd"},
}
"""LiteLLM itself says 400."""
HARMLESS: dict[str, dict[str, Any]] = {
    "litellm_params": {"litellm_params": TARGET},
    "deployment": {"deployment": TARGET, "specific_deployment": True},
    "model_info": {"model_info": {"id": "x", "api_base": EVIL, "base_model": "large"}},
    "client": {"client": EVIL, "http_client": EVIL, "proxies": {"all://": EVIL}, "shared_session": EVIL},
    "mock": {"mock_response": EVIL, "mock_tool_calls": [EVIL]},
    "proxy_server_request": {"proxy_server_request": {"url": EVIL, "headers": {"host": EVIL}}},
    "extra_headers": {"extra_headers": {"x-host": EVIL, "host": "EVIL"}},
    "region": {"vertex_location": EVIL, "aws_region_name": EVIL, "region_name": EVIL, "vertex_project": EVIL},
    "version": {"api_version": EVIL, "organization": EVIL, "api_type": EVIL},
    "a variable": {"api_key": "os.environ/LITELLM_MASTER_KEY"},
    "metadata of ours": {"metadata": {"bsgateway_decision": TARGET, "routing_decision": TARGET}},
}
"""Whatever becomes of these, nothing goes there."""
HEADERS = {
    "x-litellm-api-base": EVIL,
    "x-litellm-model": "large",
    "x-forwarded-host": EVIL,
    "api-base": EVIL,
}


def aimed(value: Any, listener: Listener) -> Any:
    """A body with the attacker's address in it."""
    if isinstance(value, dict):
        return {name: aimed(item, listener) for name, item in value.items()}
    if isinstance(value, list):
        return [aimed(item, listener) for item in value]
    return value.replace(EVIL, listener.url) if isinstance(value, str) else value


@pytest.fixture(autouse=True)
def only_the_opened_model(proxy: Proxy) -> Any:
    """After each test: no key but that of the model that may be called anywhere was sent to the attacker."""
    yield
    for group in ("small", "large", "referee", "embedder"):
        assert not proxy.listener.heard(proxy.key_of(group)), group


@pytest.mark.parametrize("name", REFUSED)
async def test_litellm_refuses_an_address_in_the_body(proxy: Proxy, name: str) -> None:
    before = proxy.listener.connections
    for endpoint in PATHS if name == "api_base" else ["chat"]:  # LiteLLM looks before it knows the format
        for model in ("claude-x", "small"):
            answer, request_id = await ask(proxy, model, endpoint, **aimed(REFUSED[name], proxy.listener))
            assert 400 <= answer.status_code < 500, (endpoint, answer.text)
            assert reached(proxy, request_id) == []
    assert proxy.listener.connections == before


@pytest.mark.parametrize("name", HARMLESS)
async def test_what_litellm_lets_through_leads_nowhere_else(proxy: Proxy, name: str) -> None:
    before = proxy.listener.connections
    for endpoint in PATHS:
        sent = body(endpoint, "auto", PROMPTS["simple"], **aimed(HARMLESS[name], proxy.listener))
        answer = await post(proxy, PATHS[endpoint], headers=aimed(HEADERS, proxy.listener), json=sent)
        assert answer.status_code in (200, 400, 403, 429, 500), answer.text
    assert proxy.listener.connections == before


@pytest.mark.parametrize("name", ["custom_llm_provider", "account_id"])
async def test_a_routed_request_chooses_no_provider(proxy: Proxy, name: str) -> None:
    """LiteLLM would send the model's key to that provider."""
    for model in ("auto", "claude-x"):
        for endpoint in PATHS:
            answer, request_id = await ask(proxy, model, endpoint, **{name: "snowflake"})
            assert (answer.status_code, reached(proxy, request_id)) == (403, []), answer.text
            assert name in answer.text


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_leave_for_one_model_is_none_for_the_one_that_is_chosen(proxy: Proxy, prompt: str) -> None:
    """`auto` stands for a model that may be called anywhere, as far as LiteLLM knows. The one chosen may not."""
    for endpoint in PATHS:
        answer, request_id = await ask(proxy, "auto", endpoint, prompt=prompt, api_base=proxy.listener.url)
        assert reached(proxy, request_id) == []
        assert answer.status_code == 503, "the attacker's host fails"


async def test_a_key_that_may_not_use_that_model_gets_a_403(proxy: Proxy) -> None:
    before = proxy.listener.connections
    answer, request_id = await ask(proxy, "auto", key="small-only", api_base=proxy.listener.url)
    assert (answer.status_code, reached(proxy, request_id)) == (403, []), answer.text
    assert proxy.listener.connections == before


async def test_litellms_fallback_does_not_take_the_address_along(proxy: Proxy) -> None:
    """The attacker's host fails on purpose, so that the next model is called there with its key."""
    proxy.listener.sent.clear()
    answer, request_id = await ask(proxy, OPENED, api_base=proxy.listener.url)
    assert (answer.status_code, reached(proxy, request_id)) == (503, [])
    assert len(proxy.listener.sent) == 1
    assert proxy.listener.heard(proxy.key_of(OPENED)), "what the operator allows"


@pytest.mark.parametrize("target", [{"model": "large", "api_base": EVIL}, {"model": "small", "base_url": EVIL},
                                    {"model": "large", "custom_llm_provider": "snowflake"}], ids=str)  # fmt: skip
async def test_a_fallback_of_the_clients_own_goes_nowhere_else(proxy: Proxy, target: dict[str, str]) -> None:
    for model in (OPENED, "auto"):
        request_id = new_request_id()
        proxy.gateway.upstream.plan(request_id, Plan(status=503), OPENED, "small")
        sent = body("chat", model, f"{PROMPTS['simple']} {request_id}", fallbacks=[aimed(target, proxy.listener)])
        answer = await post(proxy, PATHS["chat"], json=sent)
        assert (400 <= answer.status_code < 500, reached(proxy, request_id)) == (True, []), answer.text


async def test_a_key_in_the_body_is_no_name_of_a_variable(proxy: Proxy) -> None:
    proxy.listener.sent.clear()
    for name in ("LITELLM_MASTER_KEY", "BSGATEWAY_STATE"):
        await ask(proxy, OPENED, api_base=proxy.listener.url, api_key=f"os.environ/{name}")
    assert len(proxy.listener.sent) == 2
    assert not proxy.listener.heard(KEY)
    assert not proxy.listener.heard(str(proxy.gateway.state))


async def test_a_request_with_an_address_has_no_second_answer(proxy: Proxy) -> None:
    _, aside = await ask(proxy, "auto", api_key="sk-of-the-client")
    _, plain = await ask(proxy, "auto")

    async def answered_twice() -> bool:
        return {"large", "referee"} <= set(reached(proxy, plain))

    await until("the second answer of a plain request", answered_twice)
    assert reached(proxy, aside) == ["small"]
