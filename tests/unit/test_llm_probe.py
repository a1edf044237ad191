"""What `bsgateway doctor` finds out about the local LLM, from a server that answers as Ollama does, or does not."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bsgateway.classifiers.llm import probe as module
from bsgateway.classifiers.llm.target import find_target
from bsgateway.config import Config, Llm
from bsgateway.doctor import OK, WARN, Finding, examine
from ollama_api import real
from ollama_api.scripted import (
    ScriptedOllama,
    disconnects,
    fails,
    gives,
    hangs,
    in_turn,
    lacks_model,
    late,
    says,
    shows,
)
from ollama_api.server import Behaviour

MODEL = "tiny:1b"
Examined = Callable[..., dict[str, Finding]]


@pytest.fixture
def server() -> Iterator[ScriptedOllama]:
    with ScriptedOllama(says("medium")).in_thread() as running:
        yield running


@pytest.fixture
def examined(config_file: Callable[..., Path], tmp_path: Path, server: ScriptedOllama) -> Examined:
    """The doctor's findings by name, with these settings of the strategy llm."""

    def examine_with(**settings: Any) -> dict[str, Finding]:
        llm = {"model": f"ollama_chat/{MODEL}", "api_base": server.url, "timeout": 20, **settings}
        path = config_file(classifier={"strategy": "llm", "llm": llm})
        return {finding.name: finding for finding in examine(path, tmp_path, 1)}

    return examine_with


def test_a_model_that_answers(examined: Examined, server: ScriptedOllama) -> None:
    found = examined()["llm"]
    assert found.status == OK
    assert re.fullmatch(
        rf"{MODEL} at {server.url}: a verdict in \d+ ms, the time-out is 20 s; static scores where there is none",
        found.found,
    )
    assert {body["model"] for body in server.asked("chat") + server.asked("load") + server.asked("show")} == {MODEL}
    asks = [body["messages"][-1]["content"] for body in server.asked("chat")]
    assert len(set(asks)) == len(asks) == 4, "no ask is known to the server before"
    # The server hears of it in a thread of its own.
    over = time.monotonic() + 10
    while (server.in_flight, server.connections) != (0, 0) and time.monotonic() < over:
        time.sleep(0.01)
    assert (server.in_flight, server.connections) == (0, 0)


def test_a_time_out_that_is_longer_than_it_needs_to_be() -> None:
    # Twice the latency is to fit into what is recommended.
    assert module._judged("here", 0.25, _settings(0.6)).advice == "routing.classifier.llm.timeout: 0.5 would do"
    assert module._judged("here", 0.25, _settings(0.5)).advice == ""
    assert module._judged("here", 0.26, _settings(0.6)).advice == ""


def _settings(timeout: float) -> Llm:
    return Llm(model=MODEL, timeout=timeout)


def test_a_model_that_is_slower_than_the_time_out(examined: Examined, server: ScriptedOllama) -> None:
    server.behave = late(0.31, says("simple"))
    found = examined(timeout=0.3)["llm"]
    assert found.status == WARN
    assert found.found.endswith(" ms, the time-out is 0.3 s; static scores")
    (proposed,) = re.findall(r"or set routing\.classifier\.llm\.timeout to ([\d.]+)$", found.advice)
    assert float(proposed) >= 0.6


def test_one_slow_answer_is_no_slow_model(examined: Examined, server: ScriptedOllama) -> None:
    quick = says("simple")
    server.behave = in_turn(quick, quick, late(1.1, quick), quick)
    assert examined(timeout=1)["llm"].status == OK


@pytest.mark.parametrize("behave", [lacks_model(), fails(404)])
def test_a_model_that_is_not_there(examined: Examined, server: ScriptedOllama, behave: Behaviour) -> None:
    server.behave_always(behave)
    found = examined()["llm"]
    assert (found.status, found.found) == (
        WARN,
        f"{MODEL} at {server.url}: the server lacks the model: `ollama pull` it (status 404); static scores",
    )
    assert found.advice.startswith(f"run `ollama pull {MODEL}`")


def test_no_server(examined: Examined, server: ScriptedOllama) -> None:
    server.refuse()
    found = examined()["llm"]
    assert (found.status, found.found) == (
        WARN,
        f"{MODEL} at {server.url}: no server takes connections there; static scores",
    )
    assert "ollama serve" in found.advice
    server.accept()


def test_a_model_that_only_embeds(examined: Examined, server: ScriptedOllama) -> None:
    server.at["show"] = shows("embedding")
    found = examined()["llm"]
    assert (found.status, found.found) == (WARN, f"{MODEL} at {server.url} makes no text; static scores")
    assert server.asked("load") == []
    server.at["show"] = shows()  # an older server, which says nothing
    assert examined()["llm"].status == OK


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (fails(500), "the server answered with an error (status 500)"),
        (gives(b"<html>"), "the answer names no tier, or is no answer at all"),
        (says("nonsense"), "the answer names no tier, or is no answer at all"),
        (disconnects(), "the server hung up before its answer was complete"),
    ],
)
def test_a_server_that_fails(examined: Examined, server: ScriptedOllama, behave: Behaviour, said: str) -> None:
    server.behave = behave
    found = examined()["llm"]
    assert (found.status, found.found) == (WARN, f"{MODEL} at {server.url}: {said}; static scores")
    assert found.advice


def test_a_server_that_hangs(examined: Examined, server: ScriptedOllama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.5)
    server.behave = hangs()
    found = examined()["llm"]
    assert (found.status, found.found) == (
        WARN,
        f"{MODEL} at {server.url} gave no verdict within 0.5 s; static scores",
    )
    assert "loading" in found.advice
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.1)
    server.behave_always(hangs())
    assert examined()["llm"].found == f"{MODEL} at {server.url} said nothing within 0.1 s; static scores"


def test_the_fallback_is_examined_too(examined: Examined) -> None:
    assert "score" not in examined()
    found = examined(fallback="ml")
    assert found["llm"].found.endswith("; ml scores where there is none")
    assert found["score"].status == OK


def test_only_the_strategy_llm_asks(config_file: Callable[..., Path], tmp_path: Path, server: ScriptedOllama) -> None:
    path = config_file(classifier={"strategy": "ml", "llm": {"model": MODEL, "api_base": server.url}})
    assert "llm" not in {finding.name for finding in examine(path, tmp_path, 1)}
    assert server.calls == []


@pytest.mark.local_llm
async def test_a_real_model(real_ollama: str, make_config: Callable[..., Config]) -> None:
    settings = Llm(model=real.MODEL, api_base=real_ollama, timeout=60)
    target = find_target(settings, [])
    assert target is not None
    health = await module.probe(settings, target, make_config().routing.tiers)
    assert health.well, health
    assert re.match(rf"{real.MODEL} at {real_ollama}: a verdict in \d+ ms", health.found)
