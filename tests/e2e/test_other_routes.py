"""What is not routed passes as LiteLLM makes it, with no row and no header; and LiteLLM knows the gateway's names."""

from __future__ import annotations

from e2e.clients import PROMPTS, http, new_request_id
from e2e.gateways import Gateway
from e2e.records import Log, assert_not_logged


async def test_models_lists_the_routed_names(gateway: Gateway) -> None:
    async with http(gateway) as client:
        answer = await client.get("/v1/models")
    listed = {model["id"] for model in answer.json()["data"]}
    assert listed >= {"auto", "auto-cheapest", "frontier", "small", "medium", "large"}


async def test_count_tokens_knows_auto(gateway: Gateway, log: Log) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": PROMPTS["simple"]}]}
    async with http(gateway) as client:
        answer = await client.post("/v1/messages/count_tokens", json=body)
    assert answer.status_code == 200
    assert 0 < answer.json()["input_tokens"] < 100
    await assert_not_logged(gateway, log, answer.headers.get("x-litellm-call-id"))


async def test_embeddings_are_left_alone(gateway: Gateway, log: Log) -> None:
    request_id = new_request_id()
    async with http(gateway) as client:
        answer = await client.post("/v1/embeddings", json={"model": "embedder", "input": request_id})
    assert answer.json()["data"][0]["embedding"] == [0.25, -0.5]
    assert not [name for name in answer.headers if name.startswith("x-bsgateway-")]
    assert [call.group for call in gateway.upstream.calls(request_id)] == ["embedder"]
    await assert_not_logged(gateway, log, answer.headers["x-litellm-call-id"])


async def test_the_anthropic_pass_through_is_left_alone(gateway: Gateway, log: Log) -> None:
    request_id = new_request_id()
    body = {"model": "claude-of-tomorrow", "max_tokens": 9, "messages": [{"role": "user", "content": request_id}]}
    async with http(gateway) as client:
        answer = await client.post("/anthropic/v1/messages", json=body)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("x-bsgateway-")]
    (call,) = gateway.upstream.calls(request_id)
    assert (call.group, call.model) == ("direct", "claude-of-tomorrow")
    await assert_not_logged(gateway, log, answer.headers.get("x-litellm-call-id"))
