"""Conversations through a real proxy: they keep their model, requests beside the work leave them alone, and the loss of
the Redis that remembers them is not noticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis.asyncio

from bsgateway.sessions import KEY_PREFIX
from e2e.clients import PROMPTS, http, new_request_id
from e2e.gateways import KEY, Gateway, clean_environment, start_serve, write_config
from e2e.records import until
from e2e.upstream import Upstream
from redis_server import RedisServer, program

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
WAYS = pytest.mark.parametrize(
    ("endpoint", "stream"), [(e, s) for e in PATHS for s in (False, True)], ids=lambda value: str(value).lower()
)
AGENTS = {
    "chat": ("opencode/1.4.2", "x-session-id"),
    "messages": ("claude-cli/2.1.4 (external, cli)", "x-claude-code-session-id"),
    "responses": ("codex_cli_rs/0.61.0 (Linux 6.1; x86_64)", "session-id"),
}
TIERS = {
    "simple": {"score_range": [0, 30], "model": "small"},
    "medium": {"score_range": [31, 65], "model": "medium"},
    "complex": {"score_range": [66, 100], "model": "large"},
}


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer | None]:
    """A Redis, where there is one to run."""
    path = program()
    if path is None:
        yield None
        return
    server = RedisServer(path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def sticky(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, remembering: RedisServer | None
) -> Iterator[Gateway]:
    """A gateway whose conversations never go down a tier, with the Redis of LiteLLM's environment variables."""
    directory: Path = tmp_path_factory.mktemp("sticky")
    config = write_config(directory, upstream, tiers=TIERS, session={"horizon_turns": 0}, collector={"enabled": False})
    extra = {} if remembering is None else {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(remembering.port)}
    environment = clean_environment(LITELLM_MASTER_KEY=KEY, **extra)
    running = start_serve(config, directory / "state", upstream, environment=environment)
    try:
        yield running
        running.stop()
    finally:
        running.kill()


class Conversation:
    """An agent's, under a session id of its own."""

    def __init__(self, gateway: Gateway, endpoint: str, stream: bool, session: str | None = None) -> None:
        self.gateway, self.endpoint, self.stream = gateway, endpoint, stream
        self.session = session or str(uuid4())
        self.said: list[dict[str, Any]] = []

    async def ask(self, prompt: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Headers:
        """The next ask, after all that was said. What was said is what the agent remembers, not what was answered."""
        self.said.append({"role": "user", "content": f"{prompt} {new_request_id()}"})
        answer = await self.send(self.said, headers, **body)
        self.said.append({"role": "assistant", "content": "Well."})
        return answer

    async def send(
        self, said: list[dict[str, Any]], headers: dict[str, str] | None = None, limit: int = 2_000, **body: Any
    ) -> httpx.Headers:
        agent, header = AGENTS[self.endpoint]
        key = "input" if self.endpoint == "responses" else "messages"
        most = "max_output_tokens" if self.endpoint == "responses" else "max_tokens"
        async with http(self.gateway) as client:
            response = await client.post(
                PATHS[self.endpoint],
                json={"model": "auto", key: said, most: limit, "stream": self.stream, **body},
                headers={"user-agent": agent, header: self.session, **(headers or {})},
            )
        assert response.status_code == 200, response.text
        return response.headers


def routing(headers: httpx.Headers) -> tuple[str, str]:
    return headers["x-bsgateway-model"], headers["x-bsgateway-reason"]


@WAYS
async def test_a_conversation_keeps_its_model(sticky: Gateway, endpoint: str, stream: bool) -> None:
    talk = Conversation(sticky, endpoint, stream)
    assert routing(await talk.ask(PROMPTS["simple"])) == ("small", "score")
    assert routing(await talk.ask(PROMPTS["complex"])) == ("large", "session_up")
    for _ in range(3):
        assert routing(await talk.ask(PROMPTS["simple"])) == ("large", "session_kept")


@WAYS
async def test_a_request_beside_the_work_goes_to_the_lowest_tier(sticky: Gateway, endpoint: str, stream: bool) -> None:
    talk = Conversation(sticky, endpoint, stream)
    await talk.ask(PROMPTS["complex"])
    title = [{"role": "user", "content": f"{PROMPTS['complex']} {new_request_id()}"}]
    assert routing(await talk.send(title, limit=60)) == ("small", "side_request")
    assert routing(await talk.ask(PROMPTS["simple"])) == ("large", "session_kept")


async def test_threads_of_a_session_have_tiers_of_their_own(sticky: Gateway) -> None:
    main = Conversation(sticky, "messages", False)
    agent = Conversation(sticky, "messages", False, main.session)
    await main.ask(PROMPTS["complex"])
    assert routing(await agent.ask(PROMPTS["simple"])) == ("small", "score")
    assert routing(await agent.ask("And from the inside outwards?"))[0] == "small"
    assert routing(await main.ask(PROMPTS["simple"])) == ("large", "session_kept")


async def test_the_same_words_in_another_session(sticky: Gateway) -> None:
    talk = Conversation(sticky, "chat", False)
    await talk.ask(PROMPTS["complex"])
    other = Conversation(sticky, "chat", False)
    other.said = [*talk.said]
    assert routing(await other.ask(PROMPTS["simple"])) == ("small", "score")


async def test_without_a_session_id_the_first_words_count(sticky: Gateway) -> None:
    first = f"{PROMPTS['complex']} {new_request_id()}"
    said = [{"role": "user", "content": first}]
    async with http(sticky) as client:
        for reason, model in (("score", "large"), ("session_kept", "large")):
            # A trace id of LiteLLM's may be another one at every request.
            headers = {"x-litellm-trace-id": str(uuid4())}
            answer = await client.post(PATHS["chat"], json={"model": "auto", "messages": said}, headers=headers)
            assert routing(answer.headers) == (model, reason)
            said += [{"role": "assistant", "content": "Well."}, {"role": "user", "content": PROMPTS["simple"]}]


@pytest.mark.skipif(program() is None, reason="there is no redis-server here")
async def test_the_loss_of_redis_is_not_noticed(sticky: Gateway, remembering: RedisServer) -> None:
    """The last one: Redis is gone afterwards."""
    talk = Conversation(sticky, "messages", True)
    await talk.ask(PROMPTS["complex"])
    async with redis.asyncio.Redis(port=remembering.port) as client:

        async def written() -> bool:
            return bool(await client.keys(f"*{KEY_PREFIX}*"))

        await until("a conversation in Redis", written)
    remembering.kill()
    for _ in range(4):
        assert routing(await talk.ask(PROMPTS["simple"])) == ("large", "session_kept")
    assert routing(await Conversation(sticky, "chat", False).ask(PROMPTS["simple"])) == ("small", "score")
