"""Every endpoint, streamed or not, by every method of naming a model: header, row and upstream agree."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from e2e.clients import ENDPOINTS, GROUPS, PROMPTS, http, new_request_id, send
from e2e.gateways import Gateway
from e2e.records import Log, probed
from e2e.upstream import ANSWER

CALL_TYPES = {
    "chat": "acompletion",
    "messages": "anthropic_messages",
    "responses": "aresponses",
    "completions": "atext_completion",
    "generate_content": "agenerate_content",
}

PRICES = {"small": (1e-8, 2e-8), "medium": (2.5e-7, 2e-6), "large": (5e-6, 2.5e-5)}
"""US dollars a token of input and of output: those of `small` stand in gateway.yaml, the others in LiteLLM's map."""
UNCOUNTED = ("completions", "generate_content")
"""Endpoints whose streams LiteLLM does not ask an OpenAI-compatible server to count, other than api.openai.com."""


@dataclass(frozen=True)
class Case:
    """A name that a client asks for, and what must come of it; `tier` is that of the prompt."""

    name: str
    method: str
    reason: str
    tier: str
    group: str | None = None

    @property
    def by_score(self) -> bool:
        return self.group is None


CASES = (
    Case("medium", "passthrough", "model_list", "simple", group="medium"),
    Case("frontier", "alias", "alias", "simple", group="large"),
    Case("claude-of-tomorrow", "pattern", "pattern_score", "medium"),
    Case("auto", "auto", "score", "simple"),
    Case("auto", "auto", "score", "medium"),
    Case("auto", "auto", "score", "complex"),
    Case("nobody/knows-this", "auto", "unknown_model_score", "simple"),
)


def cost(group: str, prompt_tokens: int, completion_tokens: int) -> float:
    """What a call to a group costs."""
    price = PRICES[group]
    return prompt_tokens * price[0] + completion_tokens * price[1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method}-{case.tier}")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_header_row_and_upstream_agree(
    gateway: Gateway, log: Log, endpoint: str, stream: bool, case: Case
) -> None:
    request_id = new_request_id()
    reply = await send(gateway, endpoint, case.name, f"{PROMPTS[case.tier]} {request_id}", stream=stream)
    assert reply.text == ANSWER

    group = case.group or GROUPS[case.tier]
    (call,) = gateway.upstream.calls(request_id)
    assert (call.group, call.stream) == (group, stream)

    row, outcome = await log.complete(reply.call_id)
    expected = {"model": group, "method": case.method, "reason": case.reason}
    if case.by_score:
        expected |= {"tier": case.tier, "score": str(row["complexity_score"]), "strategy": "static"}
    assert reply.routing == expected
    assert row["decision_id"] == reply.decision_id

    logged = {
        name: row[name] for name in ("call_type", "method", "reason", "original_model", "resolved_model", "stream")
    }
    assert logged == {
        "call_type": CALL_TYPES[endpoint] + ("_stream" if stream and endpoint == "generate_content" else ""),
        "method": case.method,
        "reason": case.reason,
        "original_model": case.name,
        "resolved_model": group,
        "stream": stream,
    }
    assert row["tier"] == (case.tier if case.by_score else None)
    assert (row["features"] is not None) is case.by_score
    assert row["user_agent"]
    assert row["key_hash"]

    assert (outcome["status"], outcome["served_group"]) == ("success", group)
    assert outcome["served_model"].removeprefix(f"{outcome['provider']}/").removeprefix("openai/") == call.model
    assert (outcome["error_class"], outcome["error_status"], outcome["finish_reason"]) == (None, None, "stop")
    if stream and endpoint in UNCOUNTED and group != "large":
        assert (outcome["prompt_tokens"], outcome["completion_tokens"], outcome["cost"]) == (None, None, None)
    else:
        tokens = (call.prompt_tokens, call.completion_tokens)
        assert (outcome["prompt_tokens"], outcome["completion_tokens"]) == tokens
        assert outcome["cost"] == pytest.approx(cost(group, *tokens))
        assert outcome["baseline_model"] == "large"
        assert outcome["baseline_cost"] == pytest.approx(cost("large", *tokens))
    assert 0 < outcome["first_token_ms"] <= outcome["latency_ms"]

    (event,) = probed(gateway, reply.decision_id)
    assert event["event"] == "success"
    assert event["routing_decision"] == {
        "decision_id": str(reply.decision_id),
        "method": case.method,
        "original_model": case.name,
        "resolved_model": group,
        "complexity_score": row["complexity_score"],
        "tier": row["tier"],
        "strategy": row["strategy"],
        "reason": case.reason,
        "would_use": None,
        "changes": None,
        "ignored": None,
        "llm": None,
    }
    assert event["loop"] == "uvloop"


@pytest.mark.parametrize("name", ["auto", "claude-of-tomorrow"])
@pytest.mark.parametrize("asked", [False, True])
async def test_a_client_sees_the_counts_of_a_stream_only_if_it_asks(
    gateway: Gateway, log: Log, name: str, asked: bool
) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    body = {"model": name, "stream": True, "messages": [{"role": "user", "content": PROMPTS["simple"]}], **options}
    async with http(gateway) as client:
        answer = await client.post("/v1/chat/completions", json=body)
    gateway.note(answer.headers)
    chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]) == ANSWER
    assert any(chunk.get("usage") for chunk in chunks) is asked

    _, outcome = await log.complete(answer.headers["x-litellm-call-id"])
    assert outcome["prompt_tokens"] == gateway.upstream.journal[-1].prompt_tokens
