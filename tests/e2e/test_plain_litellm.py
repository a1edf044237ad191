"""The same gateway.yaml under plain `litellm --config`, with a database of the operator's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.clients import ENDPOINTS, GROUPS, PROMPTS, Reply, http, new_request_id, send
from e2e.gateways import Gateway, start_litellm, write_config
from e2e.load import NEVER_BY_ITSELF, answers_until_stopped, assert_complete
from e2e.records import Log, probed
from e2e.upstream import ANSWER, Upstream

MORE_WORKERS = ("--num_workers", "2", "--timeout_worker_healthcheck", "180")


@pytest.mark.parametrize("options", [(), MORE_WORKERS], ids=["one-worker", "two-workers"])
async def test_the_same_file_routes_under_plain_litellm(
    tmp_path: Path, upstream: Upstream, postgres_dsn: str, options: tuple[str, ...]
) -> None:
    config = write_config(tmp_path, upstream, unknown_models="leave", **NEVER_BY_ITSELF)
    gateway = start_litellm(config, upstream, postgres_dsn, *options)
    try:
        replies = [await ask(gateway, number, endpoint) for number, endpoint in enumerate(ENDPOINTS)]
        async with http(gateway) as client:
            models = (await client.get("/v1/models")).json()["data"]
            assert {model["id"] for model in models} >= {"auto", "auto-cheapest", "frontier", "small"}
            body = {"model": "nobody/knows-this", "messages": [{"role": "user", "content": PROMPTS["simple"]}]}
            left = await client.post("/v1/chat/completions", json=body)
        assert left.status_code == 400
        assert left.headers["x-bsgateway-reason"] == "unknown_model_left"
        replies += await answers_until_stopped(gateway, gateway.stop)
    finally:
        gateway.kill()
    async with await Log.open(postgres_dsn) as log:
        await assert_complete(log, replies)
        for reply in replies:
            row, outcome = await log.complete(reply.call_id)
            assert row["resolved_model"] == outcome["served_group"] == reply.routing["model"]
            (event,) = probed(gateway, reply.decision_id)
            assert event["loop"] == "uvloop"
        row, outcome = await log.complete(left.headers["x-litellm-call-id"], status="failure")
        assert (row["reason"], outcome["error_status"]) == ("unknown_model_left", 400)


async def ask(gateway: Gateway, number: int, endpoint: str) -> Reply:
    """A request by score, its answer and headers checked against the upstream."""
    tier, request_id = list(PROMPTS)[number % 3], new_request_id()
    reply = await send(gateway, endpoint, "auto", f"{PROMPTS[tier]} {request_id}", stream=number % 2 == 0)
    assert reply.text == ANSWER
    assert (reply.routing["model"], reply.routing["tier"]) == (GROUPS[tier], tier)
    assert [call.group for call in gateway.upstream.calls(request_id)] == [GROUPS[tier]]
    return reply
