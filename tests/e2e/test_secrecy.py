"""What the gateway writes, whatever goes wrong: words of a prompt in the log's own files only, secrets nowhere."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from e2e.clients import PROMPTS, http, new_request_id
from e2e.gateways import KEY, PROVIDER_KEY, Gateway
from e2e.records import Log, assert_not_logged
from e2e.upstream import Plan


def asks(prompt: str, key: str) -> list[tuple[str, dict[str, Any], str]]:
    """Requests of all formats, whole and streamed: path, body, key."""
    chat = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
    google = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    return [
        ("/v1/chat/completions", chat, key),
        ("/v1/chat/completions", {**chat, "stream": True}, key),
        ("/v1/messages", {**chat, "max_tokens": 99, "system": prompt}, key),
        ("/v1/messages", {**chat, "max_tokens": 99, "stream": True}, key),
        ("/v1/responses", {"model": "auto", "input": prompt, "instructions": prompt}, key),
        ("/v1/completions", {"model": "auto", "prompt": prompt}, key),
        ("/v1beta/models/auto:generateContent", google, key),
    ]


def broken_asks(prompt: str, key: str) -> list[tuple[str, dict[str, Any], str]]:
    """Requests that cannot be answered as they are."""
    chat = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
    return [
        ("/v1/chat/completions", {**chat, "model": "closed"}, key),
        ("/v1/chat/completions", {**chat, "messages": [prompt]}, key),
        ("/v1/chat/completions", {**chat, "model": None}, key),
        ("/v1/chat/completions", {**chat, "model": [prompt]}, key),
        ("/v1/messages", {"model": "auto", "messages": prompt}, key),
        ("/v1/chat/completions", chat, f"sk-{prompt}"),
    ]


async def send_all(gateway: Gateway, requests: list[tuple[str, dict[str, Any], str]]) -> list[int]:
    """Send them; the statuses of the answers."""
    statuses = []
    async with http(gateway) as client:
        for path, body, key in requests:
            answer = await client.post(path, json=body, headers={"Authorization": f"Bearer {key}"})
            statuses.append(answer.status_code)
            gateway.note(answer.headers)
    return statuses


def state_files(gateway: Gateway) -> list[Path]:
    """All files below the state directory, the database's own included, but for the configuration made for LiteLLM."""
    assert gateway.state is not None
    found = [
        path
        for path in gateway.state.rglob("*")
        if path.is_file() and path.name not in ("litellm.yaml", "started.yaml")
    ]
    assert any(path.name == "server.log" for path in found)
    return found


def log_files(gateway: Gateway) -> list[Path]:
    """Where the words of requests may be: the files of the database and of the spool."""
    assert gateway.state is not None
    homes = (gateway.state / "postgres" / "data", gateway.state / "spool")
    return [path for path in state_files(gateway) if any(home in path.parents for home in homes)]


def other_files(gateway: Gateway) -> list[Path]:
    """Where they may not be."""
    kept = set(log_files(gateway))
    return [path for path in state_files(gateway) if path not in kept]


def holding(secret: str, files: list[Path]) -> list[str]:
    """The files that hold a secret. A file that the running database has removed since it was listed holds nothing."""
    found = []
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            if secret.encode() in path.read_bytes():
                found.append(str(path))
    return found


async def test_words_are_kept_in_the_log_alone_and_secrets_nowhere(gateway: Gateway, log: Log) -> None:
    marker, failing = f"confidential-{uuid4().hex}", new_request_id()
    secrets = (f"sk-proj-{uuid4().hex}{uuid4().hex}", f"ada.{uuid4().hex}@example.com", f"hunter2-{uuid4().hex}")
    api_key, mail, password = secrets
    gateway.upstream.plan(failing, Plan(status=500), "small", "medium", "large", "slow")
    good = asks(f"{PROMPTS['simple']} {marker} OPENAI_API_KEY={api_key} from {mail} password={password}", KEY)
    assert set(await send_all(gateway, good)) == {200}
    assert set(await send_all(gateway, asks(f"{PROMPTS['simple']} {marker} {failing}", KEY))) == {500}
    statuses = await send_all(gateway, broken_asks(marker, KEY))
    assert statuses[0] == 200  # the fallback
    assert all(400 <= status < 500 for status in statuses[1:])

    await assert_not_logged(gateway, log, None)  # all is written by now
    files = state_files(gateway)
    assert holding(marker, log_files(gateway)), "the words are kept, without secrets"
    assert holding(marker, [gateway.output, *other_files(gateway)]) == []
    for secret in secrets:
        assert holding(secret, [gateway.output, *files]) == []
    for key in (KEY, PROVIDER_KEY):
        assert holding(key, files) == []
    said = [line for line in gateway.said().splitlines() if not line.startswith("ready:")]
    assert not [line for line in said if KEY in line or PROVIDER_KEY in line]


async def test_a_provider_that_quotes_the_prompt_puts_it_into_no_file_of_the_gateway(
    gateway: Gateway, log: Log
) -> None:
    """LiteLLM itself prints what a provider says of an error to stderr, so that is left out here."""
    marker, failing = f"confidential-{uuid4().hex}", new_request_id()
    gateway.upstream.plan(failing, Plan(status=400, quote=True), "small", "medium", "large", "slow")
    statuses = await send_all(gateway, asks(f"{PROMPTS['simple']} {marker} {failing}", KEY))
    assert all(status >= 400 for status in statuses)
    await assert_not_logged(gateway, log, None)
    assert holding(marker, other_files(gateway)) == []


@pytest.mark.parametrize("name", ["litellm.yaml", "started.yaml", "postgres", "spool", "spool/spool-0.sqlite"])
def test_only_the_owner_can_read_what_the_gateway_keeps(gateway: Gateway, name: str) -> None:
    assert gateway.state is not None
    for path in (gateway.state, gateway.state / name):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
