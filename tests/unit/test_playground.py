"""The playground: what other strategies would make of a request, without a trace in what runs."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bsgateway import models
from bsgateway.classifiers.llm import Request
from bsgateway.decision import Decision, LlmStatus, Reason, Strategy
from bsgateway.gateway import Gateway
from bsgateway.trials import with_strategy
from bsgateway.web import playground as module
from bsgateway.web.playground import Playground, without_remedies
from bsgateway.web.problems import RequestError
from bsgateway.web.views import ExplainAnswer, Explained, ExplainRequest
from builders import until
from model_files import model
from ollama_api.scripted import MODEL, ScriptedOllama, fails, hangs, says

MakeGateway = Callable[..., Gateway]
HARD = "Prove the theorem, derive the bound, analyze the algorithm."
SECRET = "opossum"
SAME = ("decision_id", "created_at", "decision_us", "conversation_id")
"""What differs each time."""


def plain(decision: Decision | None) -> dict[str, Any]:
    assert decision is not None
    return {name: value for name, value in msgspec.structs.asdict(decision).items() if name not in SAME}


async def explained(playground: Playground, **asked: Any) -> list[Explained]:
    return list((await playground.explain(ExplainRequest(**asked))).explained)


@pytest.mark.parametrize("strategy", ["static", "ml"])
@pytest.mark.parametrize("text", ["hello", HARD, "word " * 20_000], ids=["easy", "hard", "long"])
async def test_decisions_are_those_of_a_gateway_with_the_strategy(
    make_gateway: MakeGateway, strategy: str, text: str
) -> None:
    running = make_gateway(classifier={"strategy": strategy})
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    found = await explained(Playground(lambda: running), prompt=text, strategies=("ml", "static"))
    assert [each.strategy for each in found] == ["ml", "static"]
    assert [each.in_force for each in found] == [each == strategy for each in ("ml", "static")]
    for each in found:
        alone = Gateway(with_strategy(running.config, each.strategy))  # type: ignore[arg-type]
        assert plain(each.decision) == plain(alone.decide(body))
        assert each.decision is not None
        assert each.decision.strategy == each.strategy
        assert each.decision.contributions
        assert (each.error, each.reason_doc) == (None, each.decision.reason.doc)


async def test_a_body_and_its_call_type(gateway: Gateway) -> None:
    playground = Playground(lambda: gateway)
    (guessed,) = await explained(
        playground, body={"input": HARD, "metadata": {"bsgateway_tier": "simple"}}, strategies=("static",)
    )
    assert guessed.decision is not None
    assert guessed.decision.call_type == "aresponses"
    body = {"model": "cheap", "messages": [{"role": "user", "content": HARD}], "metadata": {"bsgateway_bias": "5"}}
    both = await explained(playground, body=body, call_type="anthropic_messages")
    assert [each.decision and each.decision.call_type for each in both] == ["anthropic_messages"] * 2
    # Each strategy finds the client's words, which a gateway takes out of the body; the caller's body stays.
    assert [each.decision and each.decision.ignored for each in both] == [("bsgateway_bias",)] * 2
    assert body["metadata"] == {"bsgateway_bias": "5"}
    (named,) = await explained(playground, prompt=HARD, model="frontier", strategies=("static",))
    assert named.decision is not None
    assert (named.decision.reason, named.decision.resolved_model) == (Reason.ALIAS_MODEL, "large")


async def test_what_the_host_knows_is_served_by_its_name(gateway: Gateway) -> None:
    playground = Playground(lambda: gateway, lambda name: name == "elsewhere")
    (found,) = await explained(playground, prompt=HARD, model="elsewhere", strategies=("static",))
    assert found.decision is not None
    assert found.decision.reason is Reason.HOST_MODEL


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "prompt"),
        ({"prompt": "x", "body": {}}, "prompt"),
        ({"prompt": "x", "strategies": ()}, "strategies"),
        ({"prompt": "x", "strategies": ("ml", "ml")}, "strategies"),
        ({"prompt": "x", "call_type": "acompletion"}, "call_type"),
        ({"body": {"messages": []}, "call_type": "aembedding"}, "call_type"),
        ({"body": {"messages": [], "model": 5}}, "body"),
        ({"body": {"messages": [], "model": ""}}, "body"),
    ],
    ids=str,
)
async def test_what_is_no_request(gateway: Gateway, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as raised:
        await explained(Playground(lambda: gateway), **asked)
    assert (raised.value.status, raised.value.problem.field) == (422, field)


async def test_nothing_that_runs_takes_notice(make_gateway: MakeGateway, caplog: pytest.LogCaptureFixture) -> None:
    running = make_gateway(classifier={"strategy": "ml"})
    caplog.set_level(logging.DEBUG, "bsgateway")
    before = running.memo_stats()
    await explained(Playground(lambda: running), prompt=HARD)
    assert running.memo_stats() == before
    assert caplog.records == []


async def test_a_gateway_that_fails_inside_says_so_without_the_words(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running = make_gateway()
    playground = Playground(lambda: running)
    body = {"model": "auto", "messages": [{"role": "user", "content": SECRET}]}

    def broken(*_: Any) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr("bsgateway.gateway.is_side_request", broken)
    (found,) = await explained(playground, body=body, strategies=("static",))
    assert found.decision is None
    assert found.error == "the gateway failed inside (KeyError): it would use the fallback tier"
    assert running.failed_open == 0
    assert SECRET not in caplog.text


async def test_however_many_try_requests_wait_for_one_of_them(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, analysed, begin = 0, [], Gateway.begin

    async def count() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def seen(self: Gateway, *arguments: Any) -> Any:
        analysed.append(turn)
        return begin(self, *arguments)

    playground = Playground(lambda: gateway)
    await explained(playground, prompt=HARD, strategies=("static", "ml"))
    monkeypatch.setattr(Gateway, "begin", seen)
    counting = asyncio.create_task(count())
    await asyncio.gather(*(explained(playground, prompt=HARD, strategies=("static", "ml")) for _ in range(20)))
    counting.cancel()
    assert len(analysed) == 40
    assert len(set(analysed)) == 40


async def test_gateways_are_built_once_for_each_configuration(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def counted(config: Any, *args: Any, **options: Any) -> Gateway:
        built.append(config.routing.classifier.strategy)
        return Gateway(config, *args, **options)

    monkeypatch.setattr(module, "Gateway", counted)
    running = [make_gateway()]
    playground = Playground(lambda: running[0])
    for _ in range(3):
        await asyncio.gather(*(explained(playground, prompt=HARD) for _ in range(3)))
    assert built == ["static", "ml"]
    running[0] = make_gateway(bias=7)
    found = await explained(playground, prompt=HARD)
    assert built == ["static", "ml"] * 2
    assert [each.decision and each.decision.bias for each in found] == [7, 7]


async def test_a_configuration_that_was_replaced_is_let_go(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Gateway]] = []

    def noted(*args: Any, **options: Any) -> Gateway:
        gateway = Gateway(*args, **options)
        made.append(weakref.ref(gateway))
        return gateway

    monkeypatch.setattr(module, "Gateway", noted)
    running = [make_gateway()]
    made.append(weakref.ref(running[0]))
    playground = Playground(lambda: running[0])
    await explained(playground, prompt=HARD)
    assert len(made) == 3
    running[0] = make_gateway()
    await explained(playground, prompt=HARD)
    gc.collect()
    assert [gateway() for gateway in made[:3]] == [None] * 3


class TestModel:
    async def test_the_model_of_the_running_gateway_scores(
        self, make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running = make_gateway(classifier={"strategy": "ml"})
        playground = Playground(lambda: running)
        (found,) = await explained(playground, prompt=HARD, strategies=("ml",))
        assert running.model_file is not None
        assert running.model_file.model is not None
        assert found.decision is not None
        assert found.decision.scorer_id == running.model_file.model.id
        running.model_file.path.parent.mkdir()
        models.install(model().to_bytes(), running.model_file.path)
        monkeypatch.setattr(models, "in_force", None)  # it is not read once more
        running.model_file.look()
        (changed,) = await explained(playground, prompt=HARD, strategies=("ml",))
        assert changed.decision is not None
        assert changed.decision.scorer_id == running.model_file.model.id != found.decision.scorer_id

    async def test_under_another_strategy_the_file_of_the_state_directory_scores(
        self, make_gateway: MakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
        running = make_gateway()
        playground = Playground(lambda: running, state=tmp_path / "state")
        (tmp_path / "state").mkdir()

        async def scorer() -> str | None:
            (found,) = await explained(playground, prompt=HARD, strategies=("ml",))
            assert found.error is None or "refused" in found.error
            return found.decision.scorer_id if found.decision is not None else None

        prior = await scorer()
        assert prior is not None
        path = tmp_path / "state" / models.MODEL
        models.install(model().to_bytes(), path)
        assert await scorer() == models.read(path).id != prior
        path.write_bytes(b"x" * 100)
        assert await scorer() is None
        os.unlink(path)
        assert await scorer() == prior


# A local LLM


@pytest.fixture
async def server() -> AsyncIterator[ScriptedOllama]:
    async with ScriptedOllama(says("complex")) as made:
        yield made


def llm(server: ScriptedOllama, **settings: Any) -> dict[str, Any]:
    return {"model": MODEL, "api_base": server.url, "timeout": 5.0, "memo_entries": 0} | settings


@asynccontextmanager
async def runs(
    make_gateway: MakeGateway, server: ScriptedOllama, **settings: Any
) -> AsyncIterator[tuple[Gateway, Playground]]:
    """A gateway whose strategy is llm, awake, and its playground."""
    running = make_gateway(classifier={"strategy": "llm", "llm": llm(server, **settings)})
    assert running.llm is not None
    task = asyncio.create_task(running.llm.run())
    playground = Playground(lambda: running)
    try:
        await until(lambda: running.llm is not None and running.llm.stats().warm)
        yield running, playground
    finally:
        await playground.close()
        task.cancel()
        await asyncio.wait([task])


class TestLlmInForce:
    async def test_it_is_asked_and_not_counted(self, make_gateway: MakeGateway, server: ScriptedOllama) -> None:
        async with runs(make_gateway, server) as (running, playground):
            assert running.llm is not None
            before = running.llm.stats()
            static, asked = await explained(playground, prompt="hello", strategies=("static", "llm"))
            assert static.decision is not None
            assert asked.decision is not None
            assert (static.decision.tier, asked.decision.tier) == ("simple", "complex")
            assert (asked.decision.strategy, asked.decision.llm_status) == (Strategy.LLM, LlmStatus.ASKED)
            assert (asked.in_force, asked.advice) == (True, "")
            assert running.llm.stats() == before
            assert plain(asked.decision) == plain(
                await running.decide_asking({"model": "auto", "messages": [{"role": "user", "content": "hello"}]})
            )

    async def test_a_request_goes_first(self, make_gateway: MakeGateway, server: ScriptedOllama) -> None:
        async with runs(make_gateway, server, max_concurrent=1, max_waiting=0) as (running, playground):
            assert running.llm is not None
            server.behave = hangs()
            trial = asyncio.create_task(explained(playground, prompt="hello", strategies=("llm",)))
            await until(lambda: server.in_flight == 1)
            (second,) = await explained(playground, prompt="and another", strategies=("llm",))
            assert second.decision is not None
            assert second.decision.llm_status is LlmStatus.BUSY  # one trial at a time
            server.behave = says("medium")
            verdict = await running.llm.verdict(Request("a real one"), time.perf_counter() + 5)
            assert (verdict.status, verdict.tier) == (LlmStatus.ASKED, "medium")
            (broken_off,) = await asyncio.wait_for(trial, 5)
            assert broken_off.decision is not None
            assert broken_off.decision.llm_status is LlmStatus.BUSY
            assert broken_off.decision.tier == "simple"
            assert broken_off.advice.startswith("requests go first")
            await until(lambda: server.in_flight == 0)

    async def test_it_is_left_alone_while_it_has_a_request(
        self, make_gateway: MakeGateway, server: ScriptedOllama
    ) -> None:
        async with runs(make_gateway, server) as (running, playground):
            assert running.llm is not None
            server.behave = hangs()
            real = asyncio.create_task(running.llm.verdict(Request("a real one"), time.perf_counter() + 5))
            await until(lambda: server.in_flight == 1)
            (found,) = await explained(playground, prompt="hello", strategies=("llm",))
            assert found.decision is not None
            assert found.decision.llm_status is LlmStatus.BUSY
            assert server.in_flight == 1
            real.cancel()
            await asyncio.wait([real])

    async def test_what_it_does_wrong_opens_no_circuit(self, make_gateway: MakeGateway, server: ScriptedOllama) -> None:
        async with runs(make_gateway, server, open_after=1) as (running, playground):
            assert running.llm is not None
            server.behave = fails(500)
            (found,) = await explained(playground, prompt=SECRET, strategies=("llm",))
            assert found.decision is not None
            assert found.decision.reason is Reason.LLM_ERROR
            assert "see the log of the server" in found.advice
            assert running.llm.stats().circuit == "closed"

    async def test_no_verdict_in_time(self, make_gateway: MakeGateway, server: ScriptedOllama) -> None:
        async with runs(make_gateway, server, timeout=0.1) as (_, playground):
            server.behave = hangs()
            (found,) = await explained(playground, prompt="hello", strategies=("llm",))
            assert found.decision is not None
            assert found.decision.llm_status is LlmStatus.TIMEOUT
            await until(lambda: server.in_flight == 0)

    async def test_what_is_certain_is_not_asked(self, make_gateway: MakeGateway, server: ScriptedOllama) -> None:
        async with runs(make_gateway, server, when="uncertain") as (_, playground):
            (found,) = await explained(playground, prompt="hello", strategies=("llm",))
            assert found.decision is not None
            assert found.decision.llm_status is LlmStatus.CERTAIN


class TestLlmConfigured:
    async def test_it_is_woken_and_asked(self, make_gateway: MakeGateway, server: ScriptedOllama) -> None:
        running = make_gateway(classifier={"llm": llm(server, when="uncertain")})
        playground = Playground(lambda: running)
        for _ in range(2):
            (found,) = await explained(playground, prompt="hello", strategies=("llm",))
            assert found.decision is not None
            assert (found.in_force, found.error, found.decision.llm_status) == (False, None, LlmStatus.ASKED)
            assert found.decision.tier == "complex"
        await playground.close()
        await until(lambda: server.connections == 0)
        (again,) = await explained(playground, prompt="hello", strategies=("llm",))
        assert again.decision is not None
        assert again.decision.llm_status is LlmStatus.ASKED
        await playground.close()

    async def test_nobody_keeps_it_loaded_for_long(
        self, make_gateway: MakeGateway, server: ScriptedOllama, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
        running = make_gateway(classifier={"llm": llm(server)})
        playground = Playground(lambda: running)
        await explained(playground, prompt="hello", strategies=("llm",))
        await until(lambda: server.connections == 0)
        (found,) = await explained(playground, prompt="hello", strategies=("llm",))
        assert found.decision is not None
        assert found.decision.llm_status is LlmStatus.ASKED
        await playground.close()

    async def test_while_it_is_loaded_the_fallback_answers(
        self, make_gateway: MakeGateway, server: ScriptedOllama, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "WAKE_SECONDS", 0.05)
        server.behave = hangs()
        running = make_gateway(classifier={"llm": llm(server)})
        playground = Playground(lambda: running)
        (found,) = await explained(playground, prompt="hello", strategies=("llm",))
        assert found.decision is not None
        assert (found.decision.llm_status, found.decision.tier) == (LlmStatus.COLD, "simple")
        await playground.close()

    async def test_a_server_that_is_not_there(self, make_gateway: MakeGateway, closed_port: int) -> None:
        settings = {"model": MODEL, "api_base": f"http://127.0.0.1:{closed_port}"}
        running = make_gateway(classifier={"llm": settings})
        playground = Playground(lambda: running)
        (found,) = await explained(playground, prompt=SECRET, strategies=("llm",))
        assert found.decision is not None
        assert found.decision.reason is Reason.LLM_UNREACHABLE
        assert "ollama serve" in found.advice
        await playground.close()

    async def test_none_is_configured(self, gateway: Gateway) -> None:
        (found,) = await explained(Playground(lambda: gateway), prompt=SECRET, strategies=("llm",))
        assert found.decision is None
        assert found.error is not None
        assert found.error.startswith("llm needs routing.classifier.llm.model in ")


def test_a_key_that_is_no_admins_hears_nothing_of_files_and_servers() -> None:
    told = ExplainAnswer(
        (
            Explained(strategy="ml", in_force=True, decision=None, error="model file /srv/secret refused"),
            Explained(strategy="llm", in_force=False, decision=None, advice="start Ollama at http://10.0.0.7"),
        )
    )
    left = without_remedies(told)
    assert [each.strategy for each in left.explained] == ["ml", "llm"]
    assert left.explained[0].error
    assert not [word for word in ("/srv", "10.0.0.7") if word in repr(left)]
