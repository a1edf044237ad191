"""The same gateway.yaml under plain `litellm --config`, with a database of the operator's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from e2e.clients import ENDPOINTS, GROUPS, PROMPTS, Reply, http, new_request_id, send
from e2e.gateways import KEY, Gateway, clean_environment, start_litellm, write_config
from e2e.load import NEVER_BY_ITSELF, answers_until_stopped, assert_complete
from e2e.records import Log, probed
from e2e.upstream import ANSWER, Plan, Upstream

MORE_WORKERS = ("--num_workers", "2", "--timeout_worker_healthcheck", "180")
GUNICORN = ("--run_gunicorn", "--num_workers", "1")


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
        await assert_healthy(gateway)
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


async def assert_healthy(gateway: Gateway) -> None:
    """Who has no key is told that it lives and is ready."""
    async with httpx.AsyncClient(base_url=gateway.url) as nobody:
        assert (await nobody.get("/bsgateway/live")).json() == {"status": "alive"}
        answer = await nobody.get("/bsgateway/ready")
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")
        assert answer.json()["log"] == {"database": "reachable", "spool": "accepting"}
        assert (await nobody.head("/bsgateway/ready")).status_code == 200


async def test_the_printed_configuration_makes_litellm_fail_over_as_serve_does(
    tmp_path: Path, upstream: Upstream, postgres_dsn: str
) -> None:
    gateway = start_litellm(printed(write_config(tmp_path, upstream)), upstream, postgres_dsn, *GUNICORN)
    try:
        replies = [await ask(gateway, number, endpoint) for number, endpoint in enumerate(ENDPOINTS)]
        failing = new_request_id()
        upstream.plan(failing, Plan(status=500), "small")
        replies.append(await send(gateway, "chat", "auto", f"{PROMPTS['simple']} {failing}", stream=False))
        assert [call.group for call in upstream.calls(failing)] == ["small", "medium"]
        assert replies[-1].routing["model"] == "medium"
        async with http(gateway) as client:
            assert (await client.get("/bsgateway/")).status_code == 200
            metrics = await client.get("/bsgateway/metrics")
            assert "bsgateway_requests_total" in metrics.text
            for path, status in (("live", "alive"), ("ready", "ready")):
                assert (await client.get(f"/bsgateway/{path}")).json()["status"] == status
        gateway.stop()
    finally:
        gateway.kill()
    async with await Log.open(postgres_dsn) as log:
        await assert_complete(log, replies)
        row, outcome = await log.complete(replies[-1].call_id)
    assert (row["resolved_model"], outcome["served_group"]) == ("small", "medium")


def printed(config: Path) -> Path:
    """What `bsgateway check --print` says of a gateway.yaml, in a file beside it."""
    command = [sys.executable, "-m", "bsgateway", "check", "--print", str(config)]
    checked = subprocess.run(command, stdout=subprocess.PIPE, env=clean_environment(LITELLM_MASTER_KEY=KEY), check=True)
    file = config.with_name("litellm.yaml")
    file.write_bytes(checked.stdout)
    return file


async def ask(gateway: Gateway, number: int, endpoint: str) -> Reply:
    """A request by score, its answer and headers checked against the upstream."""
    tier, request_id = list(PROMPTS)[number % 3], new_request_id()
    reply = await send(gateway, endpoint, "auto", f"{PROMPTS[tier]} {request_id}", stream=number % 2 == 0)
    assert reply.text == ANSWER
    assert (reply.routing["model"], reply.routing["tier"]) == (GROUPS[tier], tier)
    assert [call.group for call in gateway.upstream.calls(request_id)] == [GROUPS[tier]]
    return reply
