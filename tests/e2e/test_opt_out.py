"""A client keeps its words, or its whole request, out of the log: as far as the operator lets it, and no further."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from e2e.clients import PROMPTS, http, new_request_id, send
from e2e.gateways import FLUSH_SECONDS, Gateway, start_serve, write_config
from e2e.records import Log, until
from e2e.upstream import Plan, Upstream

HEADER = {"X-BSGateway-No-Log": "True"}
BODIES: dict[str, tuple[str, str]] = {
    "chat": ("/v1/chat/completions", "messages"),
    "messages": ("/v1/messages", "messages"),
    "responses": ("/v1/responses", "input"),
}


@pytest.fixture(params=["text", "row"])
async def gateway(request: Any, tmp_path: Path, upstream: Upstream) -> AsyncIterator[Gateway]:
    """A gateway that lets its clients opt out: `opt_out` is the test's parameter."""
    collector = {"flush_seconds": FLUSH_SECONDS, "text": "full", "opt_out": request.param}
    running = start_serve(write_config(tmp_path, upstream, collector=collector), tmp_path / "state", upstream)
    try:
        yield running
        running.stop()
    finally:
        running.kill()


async def ask(gateway: Gateway, endpoint: str, *, by: str = "", status: int = 200) -> tuple[UUID, dict[str, Any]]:
    """Send one request, which opts out `by` its header or metadata: its decision, and the body the provider got."""
    path, words = BODIES[endpoint]
    request_id = new_request_id()
    if status != 200:
        gateway.upstream.plan(request_id, Plan(status=status), "small", "medium", "large", "slow")
    metadata: dict[str, Any] = {"project": "apollo", "user_id": "u-17"}
    if by == "metadata":
        metadata["bsgateway_no_log"] = True
    message = [{"role": "user", "content": f"{PROMPTS['simple']} {request_id}"}]
    body = {"model": "auto", words: message, "metadata": metadata, "max_tokens": 99}
    async with http(gateway) as client:
        answer = await client.post(path, json=body, headers=HEADER if by == "header" else {})
    assert (answer.status_code == 200) == (status == 200), answer.text
    assert answer.headers["x-bsgateway-tier"] == "simple"
    return UUID(answer.headers["x-bsgateway-decision-id"]), gateway.upstream.calls(request_id)[0].body


async def test_opting_out(gateway: Gateway, request: pytest.FixtureRequest) -> None:
    allowed = request.node.callspec.params["gateway"]
    plain, silent = set(), set()
    for endpoint in BODIES:
        for by in ("", "header", "metadata"):
            decision_id, body = await ask(gateway, endpoint, by=by)
            (silent if by else plain).add(decision_id)
            assert "bsgateway_no_log" not in str(body)
            if endpoint == "responses":  # where LiteLLM sends the client's metadata on
                assert body["metadata"] == {"project": "apollo", "user_id": "u-17"}
    failed, _ = await ask(gateway, "chat", by="header", status=500)
    silent.add(failed)
    assert (len(plain), len(silent)) == (3, 7)

    async with await Log.open(gateway.dsn) as log:
        # The log is written in order: once the last one's rows are there, all others' are.
        last = await send(gateway, "chat", "auto", PROMPTS["simple"])
        await log.complete(last.call_id)
        plain.add(last.decision_id)
        logged = plain | silent if allowed == "text" else plain

        async def written() -> bool:
            return logged <= set(await log.ids("routing_outcomes"))

        await until("the outcomes", written)
        assert set(await log.ids("routing_logs")) == logged
        assert set(await log.ids("routing_outcomes")) == logged
        assert set(await log.ids("routing_texts")) == plain
