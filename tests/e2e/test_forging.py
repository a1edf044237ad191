"""A client cannot make the gateway say or log what it did not decide; what is the client's own is kept."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.clients import PROMPTS, http, new_request_id
from e2e.gateways import Gateway
from e2e.records import Log, probed

FORGED_ID = "00000000-0000-7000-8000-000000000000"
FORGED = {
    "decision_id": FORGED_ID,
    "method": "passthrough",
    "original_model": "forged",
    "resolved_model": "forged",
    "complexity_score": 1,
    "tier": "forged",
    "strategy": "forged",
    "reason": "forged",
}
HEADERS = {
    "x-bsgateway-decision-id": FORGED_ID,
    **{f"x-bsgateway-{name}": "forged" for name in ("model", "tier", "score", "strategy", "method", "reason")},
}
METADATA = {"routing_decision": FORGED, "bsgateway_decision": FORGED, "project": "apollo", "user_id": "u-17"}

PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": ""}]}),
    "messages": ("/v1/messages", {"messages": [{"role": "user", "content": ""}], "max_tokens": 99}),
    "responses": ("/v1/responses", {"input": ""}),
    "completions": ("/v1/completions", {"prompt": ""}),
    "generate_content": (
        "/v1beta/models/auto:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": ""}]}]},
    ),
}


def with_prompt(value: Any, prompt: str) -> Any:
    """A body with its one empty string replaced."""
    if isinstance(value, dict):
        return {name: with_prompt(item, prompt) for name, item in value.items()}
    if isinstance(value, list):
        return [with_prompt(item, prompt) for item in value]
    return prompt if value == "" else value


@pytest.mark.parametrize("endpoint", PATHS)
async def test_forged_decisions_are_ignored(gateway: Gateway, log: Log, endpoint: str) -> None:
    request_id = new_request_id()
    path, template = PATHS[endpoint]
    body = {
        "model": "auto",
        **with_prompt(template, f"{PROMPTS['complex']} {request_id}"),
        "metadata": METADATA,
        "litellm_metadata": METADATA,
    }
    async with http(gateway) as client:
        answer = await client.post(path, json=body, headers=HEADERS)
    gateway.note(answer.headers)
    assert answer.status_code == 200, answer.text
    assert "forged" not in str(answer.headers)

    row, outcome = await log.complete(answer.headers["x-litellm-call-id"])
    assert answer.headers["x-bsgateway-decision-id"] == str(row["decision_id"]) != FORGED_ID
    assert answer.headers["x-bsgateway-model"] == row["resolved_model"] == outcome["served_group"] == "large"
    assert (row["method"], row["tier"], row["original_model"]) == ("auto", "complex", "auto")

    (call,) = gateway.upstream.calls(request_id)
    assert call.group == "large"
    assert call.body["metadata"] == {"user_id": "u-17"}  # what Anthropic takes of a client's metadata
    (event,) = probed(gateway, row["decision_id"])
    assert event["routing_decision"]["method"] == "auto"
    assert event["payload_metadata"]["requester_metadata"]["project"] == "apollo"
