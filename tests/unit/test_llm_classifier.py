"""The local LLM's classifier, against a server that fails in every way it can."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bsgateway.classifiers.llm import Request, Verdict, circuit, model
from bsgateway.classifiers.llm import classifier as module
from bsgateway.classifiers.llm.classifier import LlmClassifier
from bsgateway.classifiers.llm.model import CANARY
from bsgateway.classifiers.llm.target import Target
from bsgateway.config import Llm, Tier
from bsgateway.decision import LlmStatus
from builders import until
from ollama_api.scripted import (
    MODEL,
    Behaviour,
    Exchange,
    ScriptedOllama,
    disconnects,
    fails,
    floods,
    gives,
    hangs,
    in_turn,
    lacks_model,
    late,
    refuses,
    says,
    shows,
    trickles,
)

TIERS = {
    "simple": Tier((0, 30), model="small"),
    "medium": Tier((31, 65), model="middle"),
    "complex": Tier((66, 100), model="large"),
}
SECRET = "opossum"
ASK = Request(f"What is an {SECRET}?")
LATE = 2.0
"""Seconds by which a deadline may be missed on a machine that is busy. Without a time box these tests wait for ever."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds where an operator's take seconds."""
    monkeypatch.setattr(circuit, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(circuit, "LAST_PAUSE", 0.05)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedOllama]:
    async with ScriptedOllama(says("complex")) as running:
        yield running


def make(server: ScriptedOllama, tiers: dict[str, Tier] = TIERS, **settings: Any) -> LlmClassifier:
    return LlmClassifier(Llm(model=MODEL, **settings), Target(MODEL, server.url), tiers)


@asynccontextmanager
async def running(made: LlmClassifier, problem: LlmStatus | None = None) -> AsyncIterator[LlmClassifier]:
    """Run it until the end of the block, which begins when the model was tried to be woken: with this outcome."""
    task = asyncio.create_task(made.run())
    try:
        assert await asyncio.wait_for(made.tried(), 10) == problem
        yield made
    finally:
        task.cancel()
        await asyncio.wait_for(asyncio.wait([task]), 10)
    assert task.cancelled()


async def ask(made: LlmClassifier, request: Request = ASK, seconds: float = 5.0) -> Verdict:
    """The verdict, which is there in time."""
    deadline = time.perf_counter() + seconds
    verdict = await made.verdict(request, deadline)
    assert time.perf_counter() < deadline + LATE
    return verdict


def another() -> Request:
    """A request that was not seen before."""
    return Request(f"What is an {SECRET} of kind {next(_numbers)}?")


_numbers = itertools.count()


def asked(server: ScriptedOllama) -> list[Any]:
    """The bodies of chats but for those about the canary."""
    return [body for body in server.asked() if CANARY.ask not in json.dumps(body["messages"])]


async def test_a_verdict(server: ScriptedOllama) -> None:
    async with running(make(server)) as made:
        verdict = await ask(made)
    assert verdict.status is LlmStatus.ASKED
    assert (verdict.tier, verdict.confidence, verdict.model) == ("complex", 1.0, MODEL)
    assert verdict.scored is not None
    assert 66 <= verdict.scored.raw_score <= 100
    assert verdict.prompt is not None
    assert verdict.prompt.startswith("1-")


async def test_what_the_model_is_asked(server: ScriptedOllama) -> None:
    async with running(make(server, keep_alive="45m")) as made:
        await ask(made)
    (body,) = asked(server)
    assert SECRET in json.dumps(body["messages"])
    assert body["model"] == MODEL
    assert body["stream"] is False
    assert body["keep_alive"] == "45m"
    assert set(body["format"]["enum"]) == set(TIERS)
    assert (body["options"]["temperature"], body["options"]["seed"]) == (0, 0)
    assert len('"complex"') <= body["options"]["num_predict"] <= 16
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)
    assert "think" not in body
    assert not server.given_up


async def test_its_context_holds_the_longest_prompt_and_never_changes(server: ScriptedOllama) -> None:
    long = Request("word " * 8_000, tail="tail " * 400, earlier="earlier " * 400, messages=99, tools=99)
    async with running(make(server, ask_chars=8_000)) as made:
        assert (await ask(made)).status is LlmStatus.ASKED
        assert (await ask(made, long)).status is LlmStatus.ASKED
    contexts = [body["options"]["num_ctx"] for body in [*server.asked(), *server.asked("load")]]
    assert len(set(contexts)) == 1, "Ollama loads a model anew for each"
    longest = max(sum(len(message["content"]) for message in body["messages"]) for body in asked(server))
    assert longest > 8_000
    assert longest < contexts[0] < longest * 2, "a token a character"


async def test_it_is_warmed_with_a_canary_in_the_prompt_of_requests(server: ScriptedOllama) -> None:
    async with running(make(server)) as made:
        await ask(made)
    assert [call.kind for call in server.calls] == ["show", "load", "chat", "chat"]
    canary, body = server.asked()
    assert CANARY.ask in canary["messages"][-1]["content"]
    assert canary["messages"][:-1] == body["messages"][:-1]
    assert {**canary, "messages": None} == {**body, "messages": None}


async def test_a_model_that_thinks_is_told_not_to(server: ScriptedOllama) -> None:
    server.at["show"] = shows("completion", "thinking")
    async with running(make(server)) as made:
        await ask(made)
    assert [body["think"] for body in server.asked()] == [False, False]


async def test_a_server_without_probabilities_is_not_asked_for_them(server: ScriptedOllama) -> None:
    server.behave = refuses("logprobs", says("simple"))
    async with running(make(server)) as made:
        assert (await ask(made)).tier == "simple"
    assert ["logprobs" in body for body in server.asked()] == [True, False, False]


async def test_nothing_waits_for_a_model_that_is_loaded(server: ScriptedOllama) -> None:
    loaded = asyncio.Event()

    async def loads(exchange: Exchange) -> None:
        await loaded.wait()
        await says("")(exchange)

    server.at["load"] = loads
    made = make(server)
    assert (await ask(made, seconds=60)).status is LlmStatus.COLD
    task = asyncio.create_task(made.run())
    await until(lambda: server.asked("load"))
    began = time.perf_counter()
    assert (await ask(made, seconds=60)).status is LlmStatus.COLD
    assert time.perf_counter() < began + 1
    assert not made.stats().warm
    loaded.set()
    assert await made.tried() is None
    assert (await ask(made)).status is LlmStatus.ASKED
    assert made.stats().warm
    task.cancel()
    await asyncio.wait([task])


async def test_a_model_that_answers_too_late_is_no_help(
    server: ScriptedOllama, caplog: pytest.LogCaptureFixture
) -> None:
    server.behave = says("simple", delay=0.15)
    async with running(make(server, timeout=0.1), LlmStatus.TIMEOUT) as made:
        assert (await ask(made)).status is LlmStatus.COLD
        server.behave = says("simple")
        await until(lambda: made.stats().warm)
        assert (await ask(made)).status is LlmStatus.ASKED
    assert [record.levelno for record in caplog.records if record.levelno > logging.INFO] == [logging.WARNING] * 2


async def test_only_its_first_answer_may_take_long(server: ScriptedOllama) -> None:
    server.behave = in_turn(says("simple", delay=0.2), says("simple"))
    async with running(make(server, timeout=0.15)) as made:
        assert (await ask(made)).status is LlmStatus.ASKED


async def test_a_server_that_comes_late(server: ScriptedOllama) -> None:
    await server.stop()
    async with running(make(server), LlmStatus.UNREACHABLE) as made:
        assert (await ask(made)).status is LlmStatus.COLD
        await server.start()
        await until(lambda: made.stats().warm)
        assert (await ask(made)).status is LlmStatus.ASKED


async def test_repeats_are_answered_from_memory(server: ScriptedOllama) -> None:
    async with running(make(server)) as made:
        first = await ask(made)
        again = await ask(made, Request(f"  what is an\n{SECRET.upper()}? "))
        assert (again.status, again.tier, again.scored) == (LlmStatus.KNOWN, first.tier, first.scored)
        assert (again.model, again.prompt, again.confidence) == (first.model, first.prompt, first.confidence)
        await ask(made, another())
        stats = made.stats()
    assert len(asked(server)) == 2
    assert stats.statuses == {"asked": 2, "known": 1}
    assert (stats.memo_entries, stats.asked) == (2, 2)


async def test_a_memo_can_be_left_out(server: ScriptedOllama) -> None:
    async with running(make(server, memo_entries=0)) as made:
        assert [(await ask(made)).status for _ in range(2)] == [LlmStatus.ASKED] * 2


FAULTS = {
    "hang": (hangs(), LlmStatus.TIMEOUT),
    "trickle": (trickles(), LlmStatus.TIMEOUT),
    "late": (late(30.0, says("simple")), LlmStatus.TIMEOUT),
    "no model": (lacks_model(), LlmStatus.NO_MODEL),
    "status 500": (fails(500), LlmStatus.ERROR),
    "status 400": (fails(400), LlmStatus.ERROR),
    "garbage": (gives(b"<html>\xff\x00 no JSON"), LlmStatus.BAD_ANSWER),
    "other JSON": (gives(b"[1, 2, 3]"), LlmStatus.BAD_ANSWER),
    "wrong word": (says("enormous"), LlmStatus.BAD_ANSWER),
    "giant": (floods(20_000_000), LlmStatus.BAD_ANSWER),
    "cut": (disconnects(), LlmStatus.DISCONNECTED),
    "cut at once": (disconnects(None), LlmStatus.DISCONNECTED),
}
SLOW = {"hang", "trickle", "late", "giant"}


def text_of(caplog: pytest.LogCaptureFixture) -> str:
    """All that was logged, at any level, with what goes with it."""
    return "\n".join(f"{record.getMessage()} {record.exc_text} {record.exc_info}" for record in caplog.records)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_over_in_time(fault: str, server: ScriptedOllama, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    behaviour, status = FAULTS[fault]
    async with running(make(server)) as made:
        server.behave = behaviour
        assert await ask(made, seconds=0.2 if status is LlmStatus.TIMEOUT else 5.0) == Verdict(status)
        assert status.reason is not None
        await until(lambda: server.in_flight == 0)
        assert (made.stats().in_flight, made.stats().memo_entries) == (0, 0)
        assert made.stats().last_failure == status.value
        server.behave = says("simple")
        assert (await ask(made)).tier == "simple"
    assert SECRET not in text_of(caplog)
    await until(lambda: server.connections == 0)


async def test_a_refused_connection(server: ScriptedOllama) -> None:
    async with running(make(server)) as made:
        await server.stop()
        assert await ask(made) == Verdict(LlmStatus.UNREACHABLE)


@pytest.mark.parametrize("fault", ["hang", "no model", "status 500", "wrong word", "cut at once"])
async def test_the_circuit(
    fault: str, server: ScriptedOllama, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "ANSWER_SECONDS", 0.5)  # of a probe that hangs
    behaviour, status = FAULTS[fault]
    seconds = 0.05 if status is LlmStatus.TIMEOUT else 5.0
    async with running(make(server, open_after=3, timeout=1.0)) as made:
        known = await ask(made)
        server.behave = behaviour
        for _ in range(3):
            assert (await ask(made, another(), seconds)).status is status
        server.calls.clear()
        for _ in range(20):
            assert (await ask(made, another())).status is LlmStatus.OPEN
        assert not asked(server), "only the canary may be asked now"
        assert (await ask(made)).tier == known.tier, "what is known needs no server"
        await until(lambda: server.asked())
        server.behave = says("simple")
        server.at["load"] = in_turn(fails(500), server.at["load"])
        await until(lambda: made.stats().circuit == "closed")
        assert (await ask(made, another())).tier == "simple"
        warnings = [record.getMessage() for record in caplog.records]
        assert len(warnings) == 2, warnings
        said = f"the local LLM {MODEL} is left alone until it answers a probe: {status.value}; `bsgateway doctor` says"
        assert warnings[0] == f"{said} what to do"
        assert warnings[1].startswith(f"the local LLM {MODEL} answers again, after ")


async def test_a_failure_between_verdicts_does_not_open_it(server: ScriptedOllama) -> None:
    async with running(make(server, open_after=2)) as made:
        server.behave = in_turn(*[fails(500), says("simple")] * 5)
        statuses = [(await ask(made, another())).status for _ in range(10)]
    assert statuses == [LlmStatus.ERROR, LlmStatus.ASKED] * 5


async def test_clients_that_hang_up_do_not_open_it(server: ScriptedOllama) -> None:
    async with running(make(server, open_after=1)) as made:
        server.behave = hangs()
        for _ in range(5):
            task = asyncio.create_task(ask(made, another()))
            await until(lambda: server.in_flight)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            await until(lambda: not server.in_flight)  # the connection was closed
        assert made.stats().circuit == "closed"
        assert made.stats().in_flight == 0
        assert len(server.given_up) == 5
        server.behave = says("simple")
        assert (await ask(made)).status is LlmStatus.ASKED


async def test_equal_asks_share_a_question(server: ScriptedOllama) -> None:
    async with running(make(server, memo_entries=0)) as made:
        server.behave = says("simple", delay=0.1)
        verdicts = await asyncio.gather(*(ask(made) for _ in range(50)))
        assert {(verdict.status, verdict.tier) for verdict in verdicts} == {(LlmStatus.ASKED, "simple")}
        assert len(asked(server)) == 1
        assert made.stats().asked == 1
        assert made.stats().statuses == {"asked": 50}


async def test_a_question_lives_as_long_as_someone_waits_for_it(server: ScriptedOllama) -> None:
    async with running(make(server)) as made:
        server.behave = says("simple", delay=0.3)
        first = asyncio.create_task(ask(made, seconds=0.1))
        await asyncio.sleep(0)
        second, third = (asyncio.create_task(ask(made)) for _ in range(2))
        assert (await first).status is LlmStatus.TIMEOUT
        second.cancel()
        assert (await third).tier == "simple"
        assert second.cancelled()
        assert len(asked(server)) == 1
        assert made.stats().circuit == "closed"


async def test_no_more_than_agreed_are_asked_at_once(server: ScriptedOllama) -> None:
    most = 0

    async def watched(exchange: Exchange) -> None:
        nonlocal most
        most = max(most, server.in_flight)
        await says("simple", delay=0.02)(exchange)

    async with running(make(server, max_concurrent=3, max_waiting=5)) as made:
        server.behave = watched
        verdicts = await asyncio.gather(*(ask(made, another()) for _ in range(20)))
    assert Counter(verdict.status for verdict in verdicts) == {LlmStatus.ASKED: 8, LlmStatus.BUSY: 12}
    assert most == 3


async def test_the_model_is_kept_loaded(server: ScriptedOllama) -> None:
    async with running(make(server, keep_alive="1s")) as made:
        for _ in range(3):
            await asyncio.sleep(0.3)
            assert (await ask(made, another())).status is LlmStatus.ASKED
        assert len(server.asked("load")) == 1, "questions keep it loaded, too"
        await until(lambda: len(server.asked("load")) == 3)
        assert all(body["keep_alive"] == "1s" for body in server.asked("load"))
        server.at["load"] = fails(500)
        await until(lambda: made.stats().circuit == "open")
        assert (await ask(made, another())).status is LlmStatus.OPEN
        assert made.stats().last_failure == "error"


async def test_the_next_configuration_goes_on_with_it(server: ScriptedOllama) -> None:
    made = make(server)
    async with running(made):
        await ask(made)
        following = make(server, timeout=1.0, max_concurrent=1)
        following.follow(made)
        server.calls.clear()
        assert (await ask(following)).status is LlmStatus.KNOWN
        assert (await ask(following, another())).status is LlmStatus.ASKED
    async with running_on(following):
        assert (await ask(following, another())).status is LlmStatus.ASKED
        assert [call.kind for call in server.calls] == ["chat", "chat"], "it need not be woken"
    assert following.stats().statuses == {"asked": 3, "known": 1}


@asynccontextmanager
async def running_on(made: LlmClassifier) -> AsyncIterator[None]:
    task = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    yield
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            {"tiers": {"low": Tier((0, 40), model="small"), "high": Tier((41, 100), model="large")}}, id="tiers"
        ),
        pytest.param({"ask_chars": 1_000}, id="ask_chars"),
    ],
)
async def test_another_question_is_warmed_anew(change: dict[str, Any], server: ScriptedOllama) -> None:
    async with running(make(server)) as made:
        await ask(made)
        following = make(server, **change)
        following.follow(made)
        assert (await ask(following)).status is LlmStatus.COLD
        assert following.stats().memo_entries == 0
        assert following.stats().statuses == {"asked": 1, "cold": 1}


async def test_an_open_circuit_stays_open_for_the_next_configuration(server: ScriptedOllama) -> None:
    async with running(make(server, open_after=1)) as made:
        server.behave_always(fails(500))
        await ask(made)
        following = make(server)
        following.follow(made)
        assert (await ask(following)).status is LlmStatus.OPEN
        other = LlmClassifier(Llm(model="other"), Target("other", server.url), TIERS)
        other.follow(made)
        assert other.stats().circuit == "closed"
        assert (await ask(other)).status is LlmStatus.COLD
        assert other.stats().statuses == {"error": 1, "open": 1, "cold": 1}


async def test_who_waits_at_the_end_is_answered(server: ScriptedOllama) -> None:
    async with running(make(server)) as made:
        server.behave = says("simple", delay=0.2)
        waiting = asyncio.create_task(ask(made))
        await until(lambda: server.in_flight)
    assert waiting.done()
    assert (await waiting).tier == "simple"
    assert (await ask(made, another())).status is LlmStatus.COLD
    await until(lambda: server.connections == 0)


async def test_requests_that_are_not_asked_about_are_counted(server: ScriptedOllama) -> None:
    made = make(server)
    assert made.unasked(LlmStatus.CERTAIN) == Verdict(LlmStatus.CERTAIN)
    made.unasked(LlmStatus.NOT_NEEDED)
    assert made.stats().statuses == {"certain": 1, "not_needed": 1}


async def test_a_mistake_of_ours_fails_nothing(
    server: ScriptedOllama, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Any:
        raise KeyError(SECRET)

    async with running(make(server)) as made:
        with monkeypatch.context() as patch:
            patch.setattr(model, "read_answer", broken)  # on the way
            assert await ask(made) == Verdict(LlmStatus.FAILED)
            patch.setattr(module, "request_key", broken)  # before it
            assert await ask(made) == Verdict(LlmStatus.FAILED)
        assert made.stats().statuses == {"failed": 2}
        assert made.stats().in_flight == 0
        assert (await ask(made)).status is LlmStatus.ASKED
    assert [record.getMessage() for record in caplog.records] == ["the local LLM could not be asked: KeyError"] * 2
    assert SECRET not in text_of(caplog)


async def test_a_mistake_of_ours_does_not_end_the_probes(
    server: ScriptedOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise KeyError(SECRET)

    with monkeypatch.context() as patch:
        patch.setattr(model, "read_answer", broken)
        async with running(make(server), LlmStatus.FAILED) as made:
            assert (await ask(made)).status is LlmStatus.COLD
            patch.undo()
            monkeypatch.setattr(circuit, "FIRST_PAUSE", 0.01)
            await until(lambda: made.stats().warm)


async def test_any_words_can_be_asked_about(server: ScriptedOllama) -> None:
    async with running(make(server)) as made:
        for words in ("", "\x00", "half a \ud83d character", "\u202e" * 3_000, "🦊" * 40_000):
            assert (await ask(made, Request(words, tail=words, earlier=words))).status is LlmStatus.ASKED


async def test_a_thousand_faults_leave_nothing_behind(server: ScriptedOllama) -> None:
    """Mixed, many at once, and some of their clients hang up."""
    slow = [behaviour for fault, (behaviour, _) in FAULTS.items() if fault in SLOW]
    quick = [behaviour for fault, (behaviour, _) in FAULTS.items() if fault not in SLOW]
    faults: list[Behaviour] = [*slow, *[*quick, says("medium", delay=0.01)] * 2]
    order = itertools.cycle(faults)
    found: Counter[LlmStatus | None] = Counter()

    async def mixed(exchange: Exchange) -> None:
        await next(order)(exchange)

    async def client(numbers: Iterator[int]) -> None:
        """One after the other."""
        for number in numbers:
            task = asyncio.create_task(ask(made, another(), seconds=0.3))
            if number % 7 == 0:
                asyncio.get_running_loop().call_later(number % 10 / 100, task.cancel)
            await asyncio.wait([task])
            found[None if task.cancelled() else task.result().status] += 1

    async def clients(count: int) -> None:
        numbers = iter(range(count))
        await asyncio.gather(*(client(numbers) for _ in range(20)))
        await until(lambda: server.in_flight == 0 and made.stats().in_flight == 0)

    made = make(server, max_concurrent=16, max_waiting=20, open_after=1_000, memo_entries=0)
    async with running(made):
        before = asyncio.all_tasks()
        server.behave = mixed
        await clients(900)
        await server.stop()  # whoever comes now is refused
        await clients(50)
        await server.start()
        await clients(50)
        assert made.stats().waiting == 0
        assert made.stats().circuit == "closed"
        assert sum(found.values()) == 1_000
        assert len(asked(server)) > 500, found
        assert {status for _, status in FAULTS.values()} | {LlmStatus.ASKED, LlmStatus.UNREACHABLE, None} <= set(found)
        assert set(found) <= {*LlmStatus, None} - {LlmStatus.FAILED, LlmStatus.OPEN, LlmStatus.COLD, LlmStatus.BUSY}
        server.behave = says("simple")
        assert (await ask(made)).tier == "simple"
        await until(lambda: not {task for task in asyncio.all_tasks() - before if task.get_name().startswith("bsgate")})
        assert server.connections <= 17, "a pool of 16, and one for probes"
    await until(lambda: server.connections == 0)
    gc.collect()  # "Task exception was never retrieved" and its like would be errors
