"""The strategy llm in a real proxy with two workers: a local model names the tier, and nobody waits for it in vain.

The model is `ollama_api.scripted`, which says or fails as each test asks; in the last test a real one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
import yaml

from e2e.clients import GROUPS, MAX_TOKENS, PROMPTS, Reply, http, new_request_id, send
from e2e.gateways import Gateway, start_serve, write_config
from e2e.records import Log, until
from e2e.test_reload import Operator
from e2e.test_secrecy import holding, log_files, other_files
from e2e.upstream import ANSWER, REQUEST_ID, Upstream
from ollama_api import real
from ollama_api.scripted import (
    MODEL,
    ScriptedOllama,
    disconnects,
    fails,
    floods,
    gives,
    hangs,
    lacks_model,
    redirects,
    says,
    trickles,
)
from ollama_api.server import Behaviour, Exchange

TIMEOUT = 1.5
"""Seconds of `llm.timeout`: more than a verdict of the scripted server takes on a slow machine."""
SLACK = 10.0
"""What all the rest of a request may take, on a machine with other work to do. A fault that is waited for takes an
hour."""
OPEN_AFTER = 4
WORKERS = 2
CONNECTIONS = WORKERS * (2 + 1)
"""Most that the gateway may have open to the server: per worker `llm.max_concurrent`, and one for probes."""
MARKER = "confidential-6f1d0c"
PROMPT = f"{PROMPTS['complex']} {MARKER}"


class Judge(ScriptedOllama):
    """The server of the local model. A test plans what becomes of the question about its own request; all others,
    those of the gateway itself among them, are answered `medium`."""

    def __init__(self) -> None:
        super().__init__(self._judge)
        self._plans: dict[str, Behaviour] = {}

    def plan(self, behave: Behaviour) -> str:
        """A new request id, whose question is answered so."""
        request_id = new_request_id()
        self._plans[request_id] = behave
        return request_id

    def questions(self, request_id: str | None) -> list[Any]:
        """The questions about this request; with None, about no request of a test."""
        return [body for body in self.asked() if _subject(body) == request_id]

    async def _judge(self, exchange: Exchange) -> None:
        await self._plans.get(_subject(exchange.call.body) or "", says("medium"))(exchange)


def _subject(body: Any) -> str | None:
    found = REQUEST_ID.search(body["messages"][-1]["content"])
    return found.group() if found else None


class Answered(NamedTuple):
    """An answer: the gateway's headers, LiteLLM's call id, and how many seconds it took."""

    routing: dict[str, str]
    call_id: str
    seconds: float


class Client:
    """A client with one connection, whose requests all reach the same worker."""

    def __init__(self, gateway: Gateway, connection: httpx.AsyncClient) -> None:
        self._gateway = gateway
        self._connection = connection

    async def ask(self, request_id: str, prompt: str = PROMPT) -> Answered:
        """A chat completion by `auto`."""
        began = time.monotonic()
        body = {"model": "auto", "messages": [{"role": "user", "content": f"{prompt} {request_id}"}]}
        answer = await self._connection.post("/v1/chat/completions", json={**body, "max_tokens": MAX_TOKENS})
        seconds = time.monotonic() - began
        assert answer.status_code == 200
        assert answer.json()["choices"][0]["message"]["content"] == ANSWER
        self._gateway.note(answer.headers)
        reply = Reply(ANSWER, answer.headers)
        calls = self._gateway.upstream.calls(request_id)
        assert calls[-1].group == reply.routing["model"]
        return Answered(reply.routing, reply.call_id, seconds)


@asynccontextmanager
async def one_connection(gateway: Gateway) -> AsyncIterator[Client]:
    async with http(gateway) as connection:
        yield Client(gateway, connection)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge().in_thread() as running:
        yield running


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, judge: Judge) -> Iterator[Gateway]:
    """`bsgateway serve --workers 2`, whose local model is awake in both."""
    directory = tmp_path_factory.mktemp("llm")
    settings = {
        "model": f"ollama_chat/{MODEL}",
        "api_base": judge.url,
        "timeout": TIMEOUT,
        "open_after": OPEN_AFTER,
    }
    # No conversations: each request shows what is chosen now.
    path = write_config(
        directory, upstream, session={"enabled": False}, classifier={"strategy": "llm", "llm": settings}
    )
    config = yaml.safe_load(path.read_text())
    del config["routing"]["tiers"]["broken"]
    config["routing"]["tiers"]["simple"]["score_range"] = [0, 30]
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    running = start_serve(path, directory / "state", upstream, "--workers", str(WORKERS))
    try:
        asyncio.run(awake(judge, 0))
        yield running
        running.stop()
        assert (judge.in_flight, judge.connections) == (0, 0)
    finally:
        running.kill()


async def awake(judge: Judge, before: int) -> None:
    """Wait until each worker has had an answer to a question of its own. `before`: how many there were."""

    async def answered() -> bool:
        return len(judge.questions(None)) >= before + WORKERS and judge.in_flight == 0

    await until("the workers have woken the model", answered, 30)
    await asyncio.sleep(0.1)  # for them to read the answer


@pytest.fixture
async def client(llm: Gateway) -> AsyncIterator[Client]:
    async with one_connection(llm) as found:
        yield found


@pytest.fixture
async def log(llm: Gateway) -> AsyncIterator[Log]:
    async with await Log.open(llm.dsn) as opened:
        yield opened


@pytest.fixture
async def operator(llm: Gateway) -> AsyncIterator[Operator]:
    """Of the gateway, whose configuration is afterwards what it was."""
    operator = Operator(llm)
    yield operator
    if yaml.safe_load(llm.config.read_text()) != operator.original:
        await reload(operator, lambda _: None)


# Verdicts


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("endpoint", ["chat", "messages", "responses"])
async def test_the_verdict_routes(llm: Gateway, judge: Judge, log: Log, endpoint: str, stream: bool) -> None:
    request_id = judge.plan(says("simple", {"simple": 0.75, "medium": 0.25}))
    reply = await send(llm, endpoint, "auto", f"{PROMPT} {request_id}", stream=stream)
    assert reply.text == ANSWER
    assert [call.group for call in llm.upstream.calls(request_id)] == ["small"]
    routing = reply.routing
    assert 15 <= int(routing.pop("score")) <= 30  # of 0-30, and leaning to medium
    assert routing == {
        "model": "small",
        "tier": "simple",
        "strategy": "llm",
        "method": "auto",
        "reason": "score",
        "llm": "asked",
    }
    (question,) = judge.questions(request_id)
    assert (question["model"], question["stream"], question["format"]["enum"]) == (MODEL, False, [*GROUPS])
    row, _ = await log.complete(reply.call_id)
    assert (row["strategy"], row["tier"], row["reason"]) == ("llm", "simple", "score")
    assert (row["llm_status"], row["llm_tier"], row["llm_model"]) == ("asked", "simple", MODEL)
    assert row["llm_confidence"] == pytest.approx(0.75, abs=0.01)
    assert row["llm_prompt"]


async def test_a_repeat_is_known(client: Client, judge: Judge, log: Log) -> None:
    request_id = judge.plan(says("simple"))
    first, again = await client.ask(request_id), await client.ask(request_id)
    assert (first.routing["llm"], again.routing["llm"]) == ("asked", "known")
    assert {**again.routing, "llm": "asked"} == first.routing
    assert len(judge.questions(request_id)) == 1
    row, _ = await log.complete(again.call_id)
    assert (row["llm_status"], row["llm_tier"], row["llm_confidence"]) == ("known", "simple", 1.0)


async def test_many_at_once_get_each_its_own_verdict(llm: Gateway, judge: Judge) -> None:
    async def ask(tier: str) -> Answered:
        async with one_connection(llm) as client:
            request_id = judge.plan(says(tier))
            answered = await client.ask(request_id)
            assert len(judge.questions(request_id)) == 1
            return answered

    tiers = [*GROUPS] * 2
    for _ in range(3):
        for tier, answered in zip(tiers, await asyncio.gather(*map(ask, tiers)), strict=True):
            assert (answered.routing["llm"], answered.routing["tier"]) == ("asked", tier)
    assert judge.connections <= CONNECTIONS


# Faults


FAULTS: dict[str, tuple[Behaviour, str]] = {
    "hang": (hangs(), "timeout"),
    "trickle": (trickles(), "timeout"),
    "no model": (lacks_model(), "no_model"),
    "500": (fails(500), "error"),
    "400": (fails(400), "error"),
    "redirect": (redirects("http://127.0.0.1:9/"), "error"),
    "garbage": (gives(b"<html>"), "bad_answer"),
    "no tier": (says("purple"), "bad_answer"),
    "giant": (floods(), "bad_answer"),
    "disconnect": (disconnects(), "disconnected"),
    "reset": (disconnects(None), "disconnected"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_fallback_answers_for_a_fault(client: Client, judge: Judge, log: Log, fault: str) -> None:
    behave, status = FAULTS[fault]
    request_id = judge.plan(behave)
    answered = await client.ask(request_id)
    assert answered.seconds < TIMEOUT + SLACK
    assert int(answered.routing.pop("score")) > 65
    assert answered.routing == {
        "model": "large",
        "tier": "complex",
        "strategy": "static",
        "method": "auto",
        "reason": f"llm_{status}",
        "llm": status,
    }
    assert len(judge.questions(request_id)) == 1
    row, _ = await log.complete(answered.call_id)
    assert (row["reason"], row["strategy"], row["llm_status"]) == (f"llm_{status}", "static", status)
    assert [row[name] for name in ("llm_tier", "llm_confidence", "llm_model", "llm_prompt")] == [None] * 4
    # One fault is no reason to leave the server alone.
    assert (await client.ask(judge.plan(says("simple")))).routing["llm"] == "asked"

    async def let_go() -> bool:
        return judge.in_flight == 0 and judge.connections <= CONNECTIONS

    await until("nothing is under way", let_go)
    assert judge.flooded < 100_000_000


async def test_many_faults_open_the_circuit_until_the_server_answers(client: Client, judge: Judge) -> None:
    judge.refuse()
    faults = [await client.ask(judge.plan(says("simple"))) for _ in range(OPEN_AFTER + 2)]
    assert [each.routing["llm"] for each in faults] == ["unreachable"] * OPEN_AFTER + ["open"] * 2
    assert [each.routing["reason"] for each in faults] == [f"llm_{each.routing['llm']}" for each in faults]
    judge.at["load"] = judge.at["show"] = fails(500)  # it is there again, and still fails
    before = len(judge.calls)
    judge.accept()

    async def probed() -> bool:
        return len(judge.calls) > before

    await until("the server is probed", probed)
    left_alone = [judge.plan(says("simple")) for _ in range(3)]
    assert {(await client.ask(each)).routing["llm"] for each in left_alone} == {"open"}
    assert [judge.questions(each) for each in left_alone] == [[]] * 3
    healthy = ScriptedOllama()
    judge.at["load"], judge.at["show"] = healthy.at["load"], healthy.at["show"]

    async def answers() -> bool:
        return (await client.ask(judge.plan(says("simple")))).routing["llm"] == "asked"

    await until("the circuit is closed again", answers, 30)


async def test_a_client_that_hangs_up_leaves_nothing_behind(llm: Gateway, judge: Judge) -> None:
    """LiteLLM lets a request go on whose client has gone, and tells nobody: the question stands until it is answered,
    or its time is up."""
    request_id = judge.plan(hangs())
    body = {"model": "auto", "messages": [{"role": "user", "content": f"{PROMPT} {request_id}"}]}
    async with http(llm) as connection:
        with pytest.raises(httpx.ReadTimeout):
            await connection.post("/v1/chat/completions", json=body, timeout=TIMEOUT / 4)

    async def given_up() -> bool:
        return any(_subject(call.body) == request_id for call in judge.given_up if call.kind == "chat")

    async def went_on() -> bool:
        return [call.group for call in llm.upstream.calls(request_id)] == ["large"]

    await until("the question is given up", given_up, TIMEOUT + SLACK)
    await until("LiteLLM goes on with the request", went_on)
    assert judge.in_flight == 0


# Configurations


def classifier(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """A change of `routing.classifier`; those of `llm` are added to what it has."""

    def change(config: dict[str, Any]) -> None:
        found = config["routing"]["classifier"]
        found.update({**changes, "llm": {**found["llm"], **changes.get("llm", {})}})

    return change


async def reload(operator: Operator, change: Callable[[dict[str, Any]], None]) -> None:
    operator.edit(change)
    await operator.hang_up("reloaded by", times=WORKERS)


async def test_only_what_is_uncertain_is_asked(client: Client, judge: Judge, operator: Operator, log: Log) -> None:
    await reload(operator, classifier(llm={"when": "uncertain", "margin": 1, "min_confidence": 0}))
    request_id = judge.plan(says("simple"))
    certain = await client.ask(request_id)
    assert (certain.routing["llm"], certain.routing["strategy"], certain.routing["reason"]) == (
        "certain",
        "static",
        "score",
    )
    assert (certain.routing["tier"], judge.questions(request_id)) == ("complex", [])
    row, _ = await log.complete(certain.call_id)
    assert (row["llm_status"], row["llm_tier"]) == ("certain", None)
    await reload(operator, classifier(llm={"when": "uncertain", "margin": 100}))
    uncertain = await client.ask(request_id)
    assert (uncertain.routing["llm"], uncertain.routing["tier"]) == ("asked", "simple")


async def test_from_static_to_llm_and_back_without_a_restart(
    llm: Gateway, client: Client, judge: Judge, operator: Operator
) -> None:
    await reload(operator, classifier(strategy="static"))
    request_id = judge.plan(says("simple"))
    static = await client.ask(request_id)
    assert (static.routing["strategy"], static.routing["tier"], "llm" in static.routing) == ("static", "complex", False)
    assert judge.questions(request_id) == []

    async def let_go() -> bool:
        return judge.connections == 0

    await until("the connections are closed", let_go)
    before = len(judge.questions(None))
    await reload(operator, lambda _: None)
    await awake(judge, before)
    back = await client.ask(request_id)
    assert (back.routing["strategy"], back.routing["tier"], back.routing["llm"]) == ("llm", "simple", "asked")


def test_words_are_in_the_log_alone(llm: Gateway) -> None:
    """Of all the requests above, among them those that the server's errors have quoted."""
    assert holding(MARKER, log_files(llm))
    assert holding(MARKER, [llm.output, *other_files(llm)]) == []


@pytest.mark.local_llm
async def test_a_real_model_routes(
    llm: Gateway, client: Client, operator: Operator, log: Log, real_ollama: str
) -> None:
    await reload(operator, classifier(llm={"model": real.MODEL, "api_base": real_ollama, "timeout": 60}))

    async def awake() -> bool:
        return (await client.ask(new_request_id(), PROMPTS["simple"])).routing["llm"] == "asked"

    await until("the model is awake", awake, 120)
    for prompt in PROMPTS.values():
        answered = await client.ask(new_request_id(), prompt)
        assert (answered.routing["strategy"], answered.routing["llm"]) == ("llm", "asked")
        row, _ = await log.complete(answered.call_id)
        assert row["llm_tier"] == answered.routing["tier"]
        assert row["llm_model"] == real.MODEL
        assert 0 < row["llm_confidence"] <= 1
