"""`cooldowns.py` and the cooldowns that `effective.py` writes, with LiteLLM's own router and real servers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from litellm import Router
from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients

from bsgateway import cooldowns
from bsgateway.cooldowns import NOT_THERE, Cooldowns, question
from bsgateway.decision import Reason
from bsgateway.effective import COOLDOWN_SECONDS, effective_config

HANG = 30.0  # seconds: a bound against hangs, not a measurement
COOLING = Reason.COOLING_DOWN


class Server:
    """An HTTP server of the test's event loop, whose behaviour may change between requests.

    `mode` is a status, or "mute" (reads the request and says nothing), "stalled" (headers and nothing more) or "drop"
    (hangs up on whoever comes).
    """

    def __init__(self, mode: int | str, **headers: str) -> None:
        self.mode, self.headers, self.asked = mode, headers, 0
        self.connections: set[asyncio.StreamWriter] = set()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        self.asked += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            if self.mode != "drop":
                await reader.readuntil(b"\r\n\r\n")
                self.answer(writer)
            if self.mode in ("mute", "stalled"):
                return
        writer.close()

    def answer(self, writer: asyncio.StreamWriter) -> None:
        status = self.mode if isinstance(self.mode, int) else 200
        body = b'{"error": {"message": "planned"}}'
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in (headers | self.headers).items())]
        head = "\r\n".join([*lines, "", ""]).encode()
        writer.write({"mute": b"", "stalled": head}.get(str(self.mode), head + body))

    async def __aenter__(self) -> Server:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port: int = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for writer in self.connections:
            writer.transport.abort()


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port that swallows whoever wants to connect: its queue is full, and nobody empties it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            guest = stack.enter_context(socket.socket())
            guest.setblocking(False)
            guest.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
async def _quick(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Short pauses; and no connection of LiteLLM's is left behind."""
    for name in ("ASK_SECONDS", "ASK_AGAIN_SECONDS"):
        monkeypatch.setattr(cooldowns, name, 0.05)
    monkeypatch.setattr(cooldowns, "SOONEST_SECONDS", 0.01)
    monkeypatch.setattr(cooldowns, "ANSWER_SECONDS", 0.3)
    logging.getLogger("LiteLLM Router").setLevel(logging.CRITICAL)
    yield
    await close_litellm_async_clients()


def deployment(name: str, base: str, provider: str = "ollama_chat", **info: Any) -> dict[str, Any]:
    params = {"model": f"{provider}/m", "api_base": base, "api_key": "none", "timeout": 0.2}
    return {"model_name": name, "litellm_params": params, "model_info": info}


def make_router(*deployments: dict[str, Any], **settings: Any) -> Router:
    return Router(model_list=list(deployments), num_retries=0, **settings)


@contextlib.asynccontextmanager
async def asking(router: Router | None, *watched: str) -> AsyncIterator[Cooldowns]:
    running = Cooldowns(lambda: router, watched)
    running.ensure_running()
    running.ensure_running()
    try:
        yield running
    finally:
        await running.stop()


async def until(condition: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    await asyncio.wait_for(poll(), HANG)


async def rounds(server: Server, count: int = 3) -> None:
    """Until the server has been asked so many times more."""
    seen = server.asked
    await until(lambda: server.asked >= seen + count)


# Questions


@pytest.mark.parametrize("provider", ["ollama_chat", "ollama", "openai"])
async def test_a_server_that_is_gone_cools_down_and_is_back_by_itself(provider: str) -> None:
    async with Server(200) as server:
        base = server.base if provider != "openai" else f"{server.base}/v1"
        router = make_router(deployment("a", base, provider))
        async with asking(router, "a") as running:
            await rounds(server)
            assert running.cooling() == {}
            server.mode = "drop"
            await until(lambda: running.cooling() == {"a": COOLING})
            server.mode = 200
            await until(lambda: running.cooling() == {})


async def test_a_closed_port(closed_port: int, caplog: pytest.LogCaptureFixture) -> None:
    router = make_router(deployment("a", f"http://127.0.0.1:{closed_port}"))
    async with asking(router, "a") as running:
        await until(lambda: running.cooling() == {"a": COOLING})
        await asyncio.sleep(0.3)  # several rounds
    said = [record.getMessage() for record in caplog.records if record.name == cooldowns.__name__]
    assert said == ["the server of a does not answer: left alone until it does"]


async def test_a_port_that_swallows_connections(full_port: int) -> None:
    async with asking(make_router(deployment("a", f"http://127.0.0.1:{full_port}")), "a") as running:
        await until(lambda: running.cooling() == {"a": COOLING})


async def test_a_name_that_nobody_has() -> None:
    async with asking(make_router(deployment("a", "http://nobody.invalid:11434")), "a") as running:
        await until(lambda: running.cooling() == {"a": COOLING})


async def test_an_ollama_that_says_nothing() -> None:
    async with Server("mute") as server, asking(make_router(deployment("a", server.base)), "a") as running:
        await until(lambda: running.cooling() == {"a": COOLING})
        assert server.asked >= cooldowns.STRIKES  # one question without an answer is not enough


async def test_another_server_that_says_nothing_may_be_busy() -> None:
    async with Server("mute") as server:
        router = make_router(deployment("a", f"{server.base}/v1", "hosted_vllm"))
        async with asking(router, "a") as running:
            await rounds(server)
            assert running.cooling() == {}


@pytest.mark.parametrize("mode", [200, 301, 401, 404, 500, "stalled"])
async def test_any_answer_is_one(mode: int | str) -> None:
    async with Server(mode, Location="http://nobody.invalid/") as server:
        router = make_router(deployment("a", server.base))
        async with asking(router, "a") as running:
            await rounds(server)
            assert running.cooling() == {}


@pytest.mark.parametrize("mode", [502, 503, 504])
async def test_a_proxy_without_its_server(mode: int) -> None:
    async with Server(mode) as server, asking(make_router(deployment("a", server.base)), "a") as running:
        await until(lambda: running.cooling() == {"a": COOLING})


async def test_a_group_cools_down_when_all_its_deployments_do(closed_port: int) -> None:
    gone = f"http://127.0.0.1:{closed_port}"
    async with Server(200) as server:
        both = make_router(deployment("a", gone), deployment("a", server.base), deployment("b", gone))
        async with asking(both, "a", "b") as running:
            await until(lambda: running.cooling() == {"b": COOLING})
            server.mode = "drop"
            await until(lambda: running.cooling() == {"a": COOLING, "b": COOLING})


async def test_one_question_for_all_models_of_a_server() -> None:
    async with Server(200) as server:
        many = [deployment(name, server.base) for name in "abcdefgh"]
        async with asking(make_router(*many), *"abcdefgh"):
            await asyncio.sleep(0.3)
        assert 1 <= server.asked <= 0.3 / 0.05 + 1


async def test_only_what_is_watched_is_asked(closed_port: int) -> None:
    gone = f"http://127.0.0.1:{closed_port}"
    async with asking(make_router(deployment("a", gone), deployment("b", gone, "llamafile")), "a") as running:
        await until(lambda: running.cooling() == {"a": COOLING})
        running.watched = ("b",)
        await until(lambda: "b" in running.cooling())


async def test_an_operator_who_wants_no_cooldowns_gets_none() -> None:
    async with Server("drop") as server:
        router = make_router(deployment("a", server.base), disable_cooldowns=True)
        async with asking(router, "a") as running:
            await asyncio.sleep(0.2)
            assert (running.cooling(), server.asked) == ({}, 0)


async def test_before_there_is_a_router() -> None:
    async with asking(None, "a") as running:
        await asyncio.sleep(0.05)
        assert running.cooling() == {}
        running.failed()


async def test_a_failed_request_has_the_servers_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooldowns, "ASK_SECONDS", 2 * HANG)
    async with Server(200) as server, asking(make_router(deployment("a", server.base)), "a") as running:
        await rounds(server, 1)
        server.mode = "drop"
        await asyncio.sleep(0.1)
        assert running.cooling() == {}
        running.failed()
        await until(lambda: running.cooling() == {"a": COOLING})


async def test_many_failed_requests_make_no_more_questions_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooldowns, "ASK_SECONDS", 2 * HANG)
    monkeypatch.setattr(cooldowns, "SOONEST_SECONDS", HANG)
    async with Server(200) as server, asking(make_router(deployment("a", server.base)), "a") as running:
        for _ in range(20):
            running.failed()
            await asyncio.sleep(0.01)
        assert server.asked == 1


async def test_a_round_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    router = make_router(deployment("a", f"http://127.0.0.1:{closed_port}"))
    calls = iter([RuntimeError("a secret"), None])
    real = cooldowns._servers

    def servers(*args: Any) -> Any:
        if error := next(calls, None):
            raise error
        return real(*args)

    monkeypatch.setattr(cooldowns, "_servers", servers)
    async with asking(router, "a") as running:
        await until(lambda: running.cooling() == {"a": COOLING})


async def test_stopping_ends_the_questions() -> None:
    async with Server(200) as server:
        async with asking(make_router(deployment("a", server.base)), "a"):
            await rounds(server, 1)
        asked = server.asked
        await asyncio.sleep(0.2)
        assert server.asked == asked
    await Cooldowns(lambda: None, ()).stop()  # never started


async def test_a_failed_request_does_not_keep_it_from_stopping() -> None:
    async with asking(None) as running:
        await asyncio.sleep(0.02)  # it waits for its next turn
        running.failed()


@pytest.mark.parametrize(
    ("params", "url"),
    [
        ({"model": "ollama_chat/m"}, "http://localhost:11434/api/version"),
        ({"model": "ollama/m", "api_base": "http://10.0.0.5:11434/"}, "http://10.0.0.5:11434/api/version"),
        ({"model": "ollama/m", "api_base": "https://ollama.example.com"}, "https://ollama.example.com/api/version"),
        ({"model": "llamafile/m"}, "http://127.0.0.1:8080/v1/models"),
        ({"model": "hosted_vllm/m", "api_base": "http://gpu.example.com/v1"}, "http://gpu.example.com/v1/models"),
        ({"model": "lm_studio/m", "api_base": "http://[::1]:1234/v1"}, "http://[::1]:1234/v1/models"),
        ({"model": "m", "custom_llm_provider": "openai", "api_base": "http://vllm:8000/v1"}, "http://vllm:8000/v1/models"),
        ({"model": "openai/m", "api_base": "http://100.100.1.2:8000/v1"}, "http://100.100.1.2:8000/v1/models"),
        ({"model": "openai/m", "api_base": "http://box.local:8000/v1"}, "http://box.local:8000/v1/models"),
        ({"model": "openai/m", "api_base": "https://api.example.com/v1"}, None),
        ({"model": "openai/m", "api_base": "http://8.8.8.8/v1"}, None),
        ({"model": "openai/m"}, None),
        ({"model": "hosted_vllm/m"}, None),  # nobody knows where
        ({"model": "anthropic/claude-opus-4-5"}, None),
        ({"model": "no such provider"}, None),
        ({"model": "ollama/m", "api_base": "os.environ/UNSET"}, None),
        ({"model": "openai/m", "api_base": "ftp://127.0.0.1/"}, None),
    ],
)  # fmt: skip
def test_whom_to_ask(params: dict[str, Any], url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OLLAMA_API_BASE", "LLAMAFILE_API_BASE", "HOSTED_VLLM_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    assert question(params) == url


def test_the_base_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_API_BASE", "http://192.168.1.9:11434")
    assert question({"model": "ollama_chat/m"}) == "http://192.168.1.9:11434/api/version"


# LiteLLM's own cooldowns, by what `effective.py` writes


def configured(make_config: Callable[..., Any], base: str, provider: str) -> Router:
    """A router with the effective configuration of two tiers, the lower of which is at `base`."""
    host = {"model_list": [deployment("low", base, provider), deployment("high", "http://nobody.invalid")]}
    tiers = {"low": {"score_range": [0, 50], "model": "low"}, "high": {"score_range": [51, 100], "model": "high"}}
    whole = effective_config(make_config(host, tiers=tiers, fallback_tier="low", aliases={"auto": "auto_route"}))
    whole["router_settings"]["fallbacks"] = []  # one failure at a time
    return Router(model_list=whole["model_list"], **whole["router_settings"])


async def failures(router: Router, count: int) -> None:
    for _ in range(count):
        with pytest.raises(Exception):  # noqa: B017, PT011  # of many classes
            await asyncio.wait_for(router.acompletion("low", [{"role": "user", "content": "hi"}]), HANG)
    await asyncio.sleep(0)


PROVIDERS = ("ollama_chat", "openai", "anthropic")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("mode", "allowed"), [(429, 0), (502, 0), (503, 0), ("mute", 0), ("stalled", 0), (500, 2)])
async def test_what_cools_down(make_config: Callable[..., Any], mode: int | str, allowed: int, provider: str) -> None:
    async with Server(mode) as server:
        router = configured(make_config, server.base, provider)
        state = Cooldowns(lambda: router, ())
        await failures(router, allowed)
        assert state.cooling() == {}
        await failures(router, 1)
        await until(lambda: state.cooling() == {"low": COOLING})


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("mode", [400, 403, 413, 422])
async def test_the_clients_own_faults_cool_nothing_down(
    make_config: Callable[..., Any], mode: int, provider: str
) -> None:
    async with Server(mode) as server:
        router = configured(make_config, server.base, provider)
        await failures(router, 6)
        assert Cooldowns(lambda: router, ()).cooling() == {}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_provider_says_for_how_long(make_config: Callable[..., Any], provider: str) -> None:
    async with Server(429, **{"Retry-After": "7"}) as server:
        router = configured(make_config, server.base, provider)
        await failures(router, 1)
        await until(lambda: bool(router.cooldown_cache.in_memory_cache.cache_dict))
        (entry,) = router.cooldown_cache.in_memory_cache.cache_dict.values()
        assert entry["cooldown_time"] == 7


async def test_a_group_without_others_to_take_over_does_not_cool_down(make_config: Callable[..., Any]) -> None:
    async with Server(503) as server:
        host = {"model_list": [deployment("only", server.base)]}
        tiers = {"only": {"score_range": [0, 100], "model": "only"}}
        whole = effective_config(make_config(host, tiers=tiers, fallback_tier="only", aliases={"auto": "auto_route"}))
        assert "allowed_fails_policy" not in whole["model_list"][0]["model_info"]


# Both


async def test_a_cooldown_of_litellm_s_own_is_not_ended(make_config: Callable[..., Any]) -> None:
    async with Server(429) as server:
        router = configured(make_config, server.base, "ollama_chat")
        await failures(router, 1)
        async with asking(router, "low") as running:
            await rounds(server)
            assert running.cooling() == {"low": COOLING}


async def test_a_longer_cooldown_of_litellm_s_own_stays_when_the_server_is_gone(
    make_config: Callable[..., Any],
) -> None:
    async with Server(429, **{"Retry-After": "600"}) as server:
        router = configured(make_config, server.base, "ollama_chat")
        await failures(router, 1)
        server.mode = "drop"
        async with asking(router, "low") as running:
            await rounds(server)
            (entry,) = router.cooldown_cache.in_memory_cache.cache_dict.values()
            assert (entry["cooldown_time"], entry["status_code"]) == (600, "429")
            assert running.cooling() == {"low": COOLING}


async def test_a_cooldown_ends(make_config: Callable[..., Any]) -> None:
    async with Server(429, **{"Retry-After": "1"}) as server:
        router = configured(make_config, server.base, "ollama_chat")
        state = Cooldowns(lambda: router, ())
        await failures(router, 1)
        await until(lambda: state.cooling() == {"low": COOLING})
        await until(lambda: state.cooling() == {})


async def test_litellm_heeds_what_the_questions_found(closed_port: int) -> None:
    """Its choice of deployments, and its fallbacks, pass over a server that is gone."""
    async with Server(400) as server:
        gone = deployment("a", f"http://127.0.0.1:{closed_port}")
        router = make_router(gone, deployment("a", server.base))
        async with asking(router, "a"):
            await until(lambda: len(router.cooldown_cache.in_memory_cache.cache_dict) == 1)
            for _ in range(6):
                chosen = await router.async_get_healthy_deployments("a", {})
                assert [each["litellm_params"]["api_base"] for each in chosen] == [server.base]
            (entry,) = router.cooldown_cache.in_memory_cache.cache_dict.values()
            assert entry["exception_received"] == NOT_THERE


async def test_a_deployment_that_was_removed_is_forgotten(closed_port: int) -> None:
    router = make_router(deployment("a", f"http://127.0.0.1:{closed_port}"))
    async with asking(router, "a") as running:
        await until(lambda: running.cooling() == {"a": COOLING})
        router.delete_deployment(router.get_model_ids("a")[0])
        assert running.cooling() == {}


def test_looking_costs_next_to_nothing_while_all_is_well() -> None:
    router = make_router(deployment("a", "http://127.0.0.1:1"))
    state = Cooldowns(lambda: router, ())
    began = time.perf_counter()
    for _ in range(1000):
        state.cooling()
    assert time.perf_counter() - began < 0.1  # 100 us each: a hundred times what it takes


def test_the_times_agree() -> None:
    assert cooldowns.HOLD_SECONDS >= COOLDOWN_SECONDS
