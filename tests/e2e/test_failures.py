"""Keys and names that are wrong, and providers that fail: what the client gets, and what is logged."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from e2e.clients import ENDPOINTS, PROMPTS, http, new_request_id, send
from e2e.gateways import Gateway
from e2e.records import Log, assert_not_logged
from e2e.upstream import ANSWER, PLANNED, Plan


async def post(gateway: Gateway, body: dict[str, Any], **headers: str) -> httpx.Response:
    """A chat completion by plain HTTP."""
    async with http(gateway) as client:
        answer = await client.post("/v1/chat/completions", json=body, headers=headers)
    gateway.note(answer.headers)
    return answer


def chat_body(model: str, prompt: str, **extra: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **extra}


async def test_a_wrong_key_is_refused_and_not_logged(gateway: Gateway, log: Log) -> None:
    request_id = new_request_id()
    answer = await post(gateway, chat_body("auto", request_id), Authorization="Bearer sk-wrong")
    assert answer.status_code in (400, 401)  # LiteLLM: 400 without a database of its own, which could know the key
    assert "x-bsgateway-decision-id" not in answer.headers
    assert gateway.upstream.calls(request_id) == []
    await assert_not_logged(gateway, log, answer.headers.get("x-litellm-call-id"))


async def test_a_missing_key_is_refused(gateway: Gateway, log: Log) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, verify=False) as client:
        answer = await client.post("/v1/chat/completions", json=chat_body("auto", "Hello!"))
    assert answer.status_code == 401
    await assert_not_logged(gateway, log, answer.headers.get("x-litellm-call-id"))


async def test_a_body_without_a_model_is_refused_and_not_logged(gateway: Gateway, log: Log) -> None:
    answer = await post(gateway, {"messages": [{"role": "user", "content": "Hello!"}]})
    assert 400 <= answer.status_code < 500
    await assert_not_logged(gateway, log, answer.headers.get("x-litellm-call-id"))


# LiteLLM asks the provider for a streamed /v1/completions only when its router is already content: no fallback there.
FALLBACKS = [(e, s) for e in ENDPOINTS for s in (False, True) if (e, s) != ("completions", True)]


@pytest.mark.parametrize(("endpoint", "stream"), FALLBACKS)
async def test_the_next_tier_serves_when_a_provider_fails(
    gateway: Gateway, log: Log, endpoint: str, stream: bool
) -> None:
    request_id = new_request_id()
    gateway.upstream.plan(request_id, Plan(status=500), "small")
    reply = await send(gateway, endpoint, "auto", f"{PROMPTS['simple']} {request_id}", stream=stream)
    assert reply.text == ANSWER
    assert [call.group for call in gateway.upstream.calls(request_id)] == ["small", "medium"]
    assert (reply.routing["model"], reply.routing["tier"]) == ("medium", "simple")
    row, outcome = await log.complete(reply.call_id)
    assert (row["resolved_model"], row["tier"]) == ("small", "simple")
    assert (outcome["served_group"], outcome["error_class"], outcome["error_status"]) == ("medium", None, None)


@pytest.mark.parametrize(("name", "group"), [("auto-cheapest", "closed"), ("slow", "slow")])
async def test_a_provider_that_cannot_be_reached_is_passed_over(
    gateway: Gateway, log: Log, name: str, group: str
) -> None:
    request_id = new_request_id()
    gateway.upstream.plan(request_id, Plan(delay=30), "slow")
    reply = await send(gateway, "chat", name, f"{PROMPTS['simple']} {request_id}")
    assert reply.routing["model"] == "small"
    assert gateway.upstream.calls(request_id)[-1].group == "small"
    row, outcome = await log.complete(reply.call_id)
    assert (row["resolved_model"], outcome["served_group"]) == (group, "small")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_when_all_fail_the_client_gets_the_error_and_the_log_too(
    gateway: Gateway, log: Log, stream: bool
) -> None:
    request_id = new_request_id()
    gateway.upstream.plan(request_id, Plan(status=500), "small", "medium", "large", "slow")
    answer = await post(gateway, chat_body("auto", f"{PROMPTS['simple']} {request_id}", stream=stream))
    # The tiers above in turn, and at last those below, where nothing listens for `closed`.
    assert [call.group for call in gateway.upstream.calls(request_id)] == ["small", "medium", "large", "slow"]
    assert answer.status_code == 500
    assert PLANNED in answer.json()["error"]["message"]
    row, outcome = await log.complete(answer.headers["x-litellm-call-id"], status="failure")
    assert answer.headers["x-bsgateway-decision-id"] == str(row["decision_id"])
    assert outcome["error_status"] == 500
    assert outcome["error_class"]
    assert (outcome["prompt_tokens"], outcome["cost"]) == (None, None)


async def test_a_streamed_completion_fails_in_the_log_as_for_the_client(gateway: Gateway, log: Log) -> None:
    request_id = new_request_id()
    gateway.upstream.plan(request_id, Plan(status=500), "small")
    async with http(gateway) as client:
        body = {"model": "auto", "stream": True, "prompt": f"{PROMPTS['simple']} {request_id}"}
        answer = await client.post("/v1/completions", json=body)
    gateway.note(answer.headers)
    assert answer.status_code == 500
    row, outcome = await log.complete(answer.headers["x-litellm-call-id"], status="failure")
    assert (row["resolved_model"], outcome["error_status"]) == ("small", 500)
