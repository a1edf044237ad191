"""Models that die, refuse or come back while requests arrive: who answers, and what headers and log say about it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.clients import ENDPOINTS, PROMPTS, Reply, http, new_request_id, send
from e2e.gateways import Gateway, serving, write_config
from e2e.records import Log, until
from e2e.upstream import ANSWER, Plan, Upstream

STREAMED = [(endpoint, stream) for endpoint in ("chat", "messages", "responses") for stream in (False, True)]
LOCAL_ANSWER = "Mercury, Venus and so on."
GONE = "the server of local does not answer"
LOCAL_TIMEOUT = 4
"""Seconds until a request to the local model fails: some deaths are not seen sooner by whoever comes first."""


class Ollama:
    """As much of an Ollama server as LiteLLM and the gateway ask for, which can die in several ways and come back."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._remains = contextlib.ExitStack()
        self.live()

    def live(self) -> None:
        """Serve, whatever happened before."""
        self._remains.close()
        server = ThreadingHTTPServer(("127.0.0.1", self.port), _OllamaHandler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        self._remains.callback(thread.join)
        self._remains.callback(server.server_close)
        self._remains.callback(server.shutdown)

    def die(self, how: str) -> None:
        """`closed`: nothing listens. `mute`: connections are taken, and nothing is ever said. `full`: connections are
        not even taken. `reset`: connections are taken and reset."""
        self._remains.close()
        if how == "closed":
            return
        listener = self._remains.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(0 if how == "full" else 100)
        if how == "full":
            for _ in range(3):
                guest = self._remains.enter_context(socket.socket())
                guest.setblocking(False)
                guest.connect_ex(listener.getsockname())
        elif how == "reset":
            thread = threading.Thread(target=_reset_all, args=(listener,), daemon=True)
            thread.start()
            self._remains.callback(thread.join)
            self._remains.callback(listener.shutdown, socket.SHUT_RDWR)

    def close(self) -> None:
        """For good."""
        self._remains.close()


def _reset_all(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the end of the listener
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()


class _OllamaHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        models = [{"name": "tiny:latest", "model": "tiny:latest"}]
        self._send(json.dumps({"models": models} if self.path == "/api/tags" else {"version": "0.0.0"}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/api/chat":  # LiteLLM asks what a model can do
            self._send("{}", 404)
            return
        said = {"model": "tiny", "created_at": "2026-01-01T00:00:00Z"}
        message = {"role": "assistant", "content": LOCAL_ANSWER}
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": 20, "eval_count": 8}
        if body["stream"]:
            empty = {"role": "assistant", "content": ""}
            lines = [{**said, "message": message, "done": False}, {**said, "message": empty, **end}]
            self._send("".join(f"{json.dumps(line)}\n" for line in lines))
        else:
            self._send(json.dumps({**said, "message": message, **end}))

    def _send(self, text: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def ollama() -> Iterator[Ollama]:
    server = Ollama()
    yield server
    server.close()


@pytest.fixture(scope="module")
def alive(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, ollama: Ollama) -> Iterator[Gateway]:
    """`bsgateway serve` with everything it adds by itself. `auto-cheapest` goes to the model of the local Ollama."""
    directory = tmp_path_factory.mktemp("alive")
    with serving(alive_config(directory, upstream, ollama), upstream) as running:
        yield running


def alive_config(directory: Path, upstream: Upstream, ollama: Ollama) -> Path:
    # No conversations: each request shows what is chosen now.
    path = write_config(directory, upstream, session={"enabled": False})
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    del config["router_settings"]
    params = {"model": "ollama_chat/tiny", "api_base": f"http://127.0.0.1:{ollama.port}", "timeout": LOCAL_TIMEOUT}
    names = ("closed", "slow")
    config["model_list"] = [entry for entry in config["model_list"] if entry["model_name"] not in names]
    config["model_list"].append({"model_name": "local", "litellm_params": params})
    config["routing"]["tiers"]["broken"] = {"score_range": [0, 0], "model": "local"}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@pytest.fixture
async def living(alive: Gateway, ollama: Ollama) -> AsyncIterator[Ollama]:
    """The Ollama server, alive and known to be."""
    ollama.live()
    await until_served_by(alive, "local")
    yield ollama
    ollama.live()


@pytest.fixture
async def dead(alive: Gateway, ollama: Ollama) -> AsyncIterator[Ollama]:
    """The Ollama server, not running and known not to be."""
    ollama.die("closed")
    await until_cooling(alive)
    yield ollama
    ollama.live()


@pytest.fixture
async def log(alive: Gateway) -> AsyncIterator[Log]:
    async with await Log.open(alive.dsn) as opened:
        yield opened


async def ask(gateway: Gateway, endpoint: str = "chat", stream: bool = False, model: str = "auto-cheapest") -> Reply:
    return await send(gateway, endpoint, model, PROMPTS["simple"], stream=stream)


async def until_served_by(gateway: Gateway, model: str) -> None:
    async def served() -> bool:
        return (await ask(gateway)).routing["model"] == model

    await until(f"{model} answers", served)


async def until_cooling(gateway: Gateway) -> None:
    async def cooling() -> bool:
        return (await ask(gateway)).routing["reason"] == "cooling_down"

    await until("the dead model is left alone", cooling)


async def until_found(gateway: Gateway, times: int) -> None:
    """Until the dead server has been found by a question, which has happened so many times before."""

    async def found() -> bool:
        return gateway.said().count(GONE) > times

    await until("the dead server is found", found)


@pytest.mark.parametrize("how", ["closed", "reset", "mute", "full"])
async def test_a_local_model_that_dies_and_comes_back(alive: Gateway, log: Log, living: Ollama, how: str) -> None:
    before = await ask(alive)
    assert (before.text, before.routing["model"], before.routing["tier"]) == (LOCAL_ANSWER, "local", "broken")
    times = alive.said().count(GONE)
    living.die(how)
    first = await ask(alive)
    assert (first.text, first.routing["model"]) == (ANSWER, "small")
    _, outcome = await log.complete(first.call_id)
    assert outcome["served_group"] == "small"
    await until_found(alive, times)
    for _ in range(3):
        reply = await ask(alive)
        assert (reply.text, reply.routing["model"], reply.routing["reason"]) == (ANSWER, "small", "cooling_down")
        row, outcome = await log.complete(reply.call_id)
        assert (row["resolved_model"], row["reason"], outcome["served_group"]) == ("small", "cooling_down", "small")
    living.live()
    await until_served_by(alive, "local")


async def test_it_is_found_dead_and_alive_again_without_a_request(alive: Gateway, living: Ollama) -> None:
    times = alive.said().count(GONE)
    living.die("closed")
    await until_found(alive, times)
    reply = await ask(alive)
    assert (reply.routing["model"], reply.routing["reason"]) == ("small", "cooling_down")


@pytest.mark.parametrize(("endpoint", "stream"), [(each, stream) for each in ENDPOINTS for stream in (False, True)])
async def test_every_endpoint_passes_over_what_is_dead(
    alive: Gateway, log: Log, dead: Ollama, endpoint: str, stream: bool
) -> None:
    reply = await ask(alive, endpoint, stream)
    assert (reply.text, reply.routing["model"], reply.routing["reason"]) == (ANSWER, "small", "cooling_down")
    _, outcome = await log.complete(reply.call_id)
    assert outcome["served_group"] == "small"


@pytest.mark.parametrize(("endpoint", "stream"), STREAMED)
async def test_a_dead_model_that_is_asked_for_by_name(
    alive: Gateway, log: Log, dead: Ollama, endpoint: str, stream: bool
) -> None:
    reply = await ask(alive, endpoint, stream, model="local")
    assert (reply.text, reply.routing["model"], reply.routing["method"]) == (ANSWER, "small", "passthrough")
    row, outcome = await log.complete(reply.call_id)
    assert (row["resolved_model"], outcome["served_group"]) == ("local", "small")


@pytest.mark.parametrize(("endpoint", "stream"), STREAMED)
async def test_a_dead_frontier_model_is_stood_in_for_by_the_tier_below(
    alive: Gateway, log: Log, endpoint: str, stream: bool
) -> None:
    request_id = new_request_id()
    alive.upstream.plan(request_id, Plan(status=529), "large")
    reply = await send(alive, endpoint, "frontier", f"{PROMPTS['simple']} {request_id}", stream=stream)
    assert (reply.text, reply.routing["model"]) == (ANSWER, "medium")
    row, outcome = await log.complete(reply.call_id)
    assert (row["resolved_model"], outcome["served_group"]) == ("large", "medium")


@pytest.mark.parametrize(("endpoint", "stream"), STREAMED)
async def test_a_request_that_is_too_long_after_all_goes_to_a_larger_window(
    alive: Gateway, log: Log, endpoint: str, stream: bool
) -> None:
    request_id = new_request_id()
    too_long = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    alive.upstream.plan(request_id, Plan(status=400, says=too_long), "small")
    reply = await send(alive, endpoint, "auto", f"{PROMPTS['simple']} {request_id}", stream=stream)
    assert (reply.text, reply.routing["model"]) == (ANSWER, "medium")
    assert [call.group for call in alive.upstream.calls(request_id)] == ["small", "medium"]
    row, outcome = await log.complete(reply.call_id)
    assert (row["resolved_model"], outcome["served_group"]) == ("small", "medium")


@pytest.mark.parametrize("endpoint", ["chat", "messages"])  # LiteLLM takes over no stream of /v1/responses
async def test_a_stream_that_stalls_before_its_first_word_is_taken_over(
    alive: Gateway, log: Log, endpoint: str
) -> None:
    request_id = new_request_id()
    alive.upstream.plan(request_id, Plan(pause=60), "small")  # headers at once, and then nothing
    prompt = f"{PROMPTS['simple']} {request_id}"
    reply = await send(alive, endpoint, "auto", prompt, stream=True, extra_body={"timeout": 0.5})
    assert (reply.text, reply.routing["model"]) == (ANSWER, "medium")
    assert [call.group for call in alive.upstream.calls(request_id)] == ["small", "medium"]
    row, outcome = await log.complete(reply.call_id)
    assert (row["resolved_model"], outcome["served_group"]) == ("small", "medium")


async def test_a_provider_that_asks_to_be_left_alone_is_for_as_long_as_it_says(alive: Gateway) -> None:
    request_id = new_request_id()
    alive.upstream.plan(request_id, Plan(status=429, retry_after=2), "small")

    async def asked() -> Reply:
        return await send(alive, "chat", "auto", f"{PROMPTS['simple']} {request_id}")

    first, second = await asked(), await asked()
    assert [reply.routing["model"] for reply in (first, second)] == ["medium", "medium"]
    assert second.routing["reason"] == "cooling_down"
    assert [call.group for call in alive.upstream.calls(request_id)] == ["small", "medium", "medium"]

    async def again() -> bool:
        return (await ask(alive, model="auto")).routing["model"] == "small"

    await until("the provider is asked again", again)


async def test_a_clients_own_fault_cools_nothing_down(alive: Gateway, living: Ollama) -> None:
    """Each client gets its error; the next one is served as if nothing had been."""
    for _ in range(5):
        request_id = new_request_id()
        alive.upstream.plan(request_id, Plan(status=400), "small", "medium", "large")
        living.die("closed")  # it is the last to be asked, and knows no faults
        async with http(alive) as client:
            body = {"model": "auto", "messages": [{"role": "user", "content": f"{PROMPTS['simple']} {request_id}"}]}
            answer = await client.post("/v1/chat/completions", json=body)
        alive.note(answer.headers)
        assert answer.status_code == 400
    reply = await ask(alive, model="auto")
    assert (reply.text, reply.routing["model"], reply.routing["reason"]) == (ANSWER, "small", "score")


async def test_a_clients_own_time_out_cools_nothing_down(alive: Gateway) -> None:
    request_id = new_request_id()
    alive.upstream.plan(request_id, Plan(delay=30), "small")
    reply = await send(alive, "chat", "auto", f"{PROMPTS['simple']} {request_id}", extra_body={"timeout": 0.3})
    assert reply.routing["model"] == "medium"
    assert (await ask(alive, model="auto")).routing["model"] == "small"
