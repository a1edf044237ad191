"""What-if on the log of a real PostgreSQL, summed up by a real process; it agrees with `calibrate` and `replay`."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from bsgateway.classifiers.llm.prompt import Question
from bsgateway.cli import main
from bsgateway.decision import Decision, LlmStatus, Reason, Strategy, now
from bsgateway.errors import LearningError, StoreError
from bsgateway.gateway import Gateway, load
from bsgateway.rows import Item
from bsgateway.store import Store
from bsgateway.web import what_if as module
from bsgateway.web.problems import RequestError
from bsgateway.web.views import WhatIf
from bsgateway.web.what_if import Applied, WhatIfs, applied, what_if
from bsgateway.web.what_if_process import NICENESS, Answer, Order
from builders import id_at, make_outcome, make_texts, until

CONFIG: dict[str, Any] = {
    "model_list": [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_key": "none"},
            "model_info": {"input_cost_per_token": price, "output_cost_per_token": 4 * price},
        }
        for name, price in (("small", 1e-7), ("middle", 1e-6), ("large", 1e-5))
    ],
    "routing": {
        "fallback_tier": "medium",
        "aliases": {"auto": "auto_route", "cheap": {"route": "auto_route", "bias": -60}, "frontier": "large"},
        "session": {"enabled": False},
        "tiers": {
            "simple": {"score_range": [0, 20], "model": "small"},
            "medium": {"score_range": [21, 45], "model": "middle"},
            "complex": {"score_range": [46, 100], "model": "large"},
        },
        "bias": 3,
    },
}
HARD = "Prove that the algorithm is correct, derive its complexity step by step, and analyze the race condition."
ASKS = ("What is the capital of France?", "Prove it.", "Explain the trade-offs of optimistic locking.", HARD)


def written(path: Path, **routing: Any) -> Path:
    path.write_text(yaml.safe_dump({**CONFIG, "routing": {**CONFIG["routing"], **routing}}, sort_keys=False))
    return path


@pytest.fixture
def config(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration in force; the directory of the test is the working directory."""
    path = written(tmp_path / "gateway.yaml")
    monkeypatch.setenv("BSGATEWAY_CONFIG", str(path))
    return path


def write(dsn: str, items: list[Item]) -> None:
    async def copy() -> None:
        async with await Store.connect(dsn) as store:
            await store.copy(items)

    asyncio.run(copy())


def decided(gateway: Gateway, words: str, hours: float, model: str = "auto", **fields: Any) -> list[Item]:
    """What the gateway decides for an ask, so many hours ago, with its words and what came of it."""
    moment = now() - timedelta(hours=hours)
    decision = gateway.decide({"model": model, "messages": [{"role": "user", "content": words}]})
    decision_id = id_at(moment, random.getrandbits(60))
    decision = msgspec.structs.replace(decision, decision_id=decision_id, created_at=moment, **fields)
    outcome = make_outcome(
        decision, served_group=decision.resolved_model, prompt_tokens=len(words), completion_tokens=len(words) // 3,
        cache_read_tokens=None, cache_write_tokens=None, cost=0.001,
    )  # fmt: skip
    return [decision, outcome, make_texts(decision, ask=words)]


def traffic(gateway: Gateway, rows: int = 200) -> list[Item]:
    """Asks of all lengths over the last five days: some lean cheap by their name, some name their model."""
    draw = random.Random(11)
    items: list[Item] = []
    for each in range(rows):
        words = " ".join([ASKS[draw.randrange(4)], "word " * draw.randrange(600)])
        name = draw.choice(("auto", "auto", "auto", "cheap", "frontier"))
        items += decided(gateway, words, 119 - each * 118 / rows, name)
    return items


def summed(path: Path, dsn: str, days: float = 30.0, most: int = 20_000) -> WhatIf:
    gateway = load(path)
    return asyncio.run(what_if(gateway.config, gateway.models, None, dsn, days, most))


def found(*arguments: object) -> Any:
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def in_force(sums: WhatIf) -> Applied:
    return applied(sums, sums.borders, sums.bias)


# The numbers


@pytest.mark.parametrize("strategy", ["static", "ml"])
def test_it_agrees_with_calibrate(dsn: str, config: Path, strategy: str) -> None:
    write(dsn, traffic(load(config)))  # scored by the static score: ml scores them anew
    written(config, classifier={"strategy": strategy})
    sums = summed(config, dsn)
    report = found("calibrate", "--share", "simple=75")
    calibration = report["calibration"]
    assert (sums.strategy, sums.tiers) == (strategy, ("simple", "medium", "complex"))
    assert sum(sums.requests) == calibration["scored"] > 120
    assert sums.days == pytest.approx(calibration["days"], abs=0.01)
    assert (sums.fixed_requests, sums.left_out) == (report["beside"]["requests"], 0)
    assert sums.fixed_cost == pytest.approx(report["beside"]["cost"])
    for setting in ("now", "proposed"):
        lines = calibration[setting]["tiers"]
        here = applied(sums, [line["score_range"][0] for line in lines][1:], sums.bias)
        for tier, line in zip(here.tiers, lines, strict=True):
            assert tier.share == pytest.approx(line["share"]["value"])
            assert tier.cost == pytest.approx(line["cost"]["value"] * tier.requests if tier.requests else 0.0)
    assert (in_force(sums).moved, here.moved > 0) == (0, True)
    assert any("scored anew" in note for note in sums.notes) is (strategy == "ml")


def test_it_agrees_with_replay(dsn: str, config: Path, tmp_path: Path) -> None:
    write(dsn, traffic(load(config)))
    sums = summed(config, dsn)
    for low, high, bias in ((20, 45, -40), (20, 45, 60), (10, 60, 12), (0, 99, 0)):
        ranges = {"simple": [0, low], "medium": [low + 1, high], "complex": [high + 1, 100]}
        tiers = {name: {**CONFIG["routing"]["tiers"][name], "score_range": ranges[name]} for name in ranges}
        report = found("replay", "--config", written(tmp_path / "other.yaml", tiers=tiers, bias=bias))
        here, before = applied(sums, (low + 1, high + 1), bias), in_force(sums)
        assert here.cost is not None
        assert before.cost is not None
        moved = report["moved"]
        assert here.moved == sum(moved[one][other] for one in ranges for other in ranges if one != other) > 0
        named = report["costs"]["after"] - here.cost  # those that are served by their name cost the same in both
        assert report["costs"]["before"] - before.cost == pytest.approx(named)


def test_only_the_newest_are_read(dsn: str, config: Path) -> None:
    items = traffic(load(config))
    write(dsn, items)
    whole = summed(config, dsn)
    assert (whole.sampled, whole.until - whole.since) == (False, timedelta(days=30))
    rows = sum(isinstance(item, Decision) for item in items)
    assert not summed(config, dsn, most=rows).sampled
    some = summed(config, dsn, most=50)
    assert some.sampled
    assert sum(some.requests) + some.fixed_requests == 50
    newest = [item for item in items if isinstance(item, Decision)][-50:]
    assert some.since <= newest[0].created_at
    assert some.days == pytest.approx(50 * 118 / 200 / 24, rel=0.2)


def test_an_empty_log(dsn: str, config: Path) -> None:
    sums = summed(config, dsn)
    assert (sum(sums.requests), sums.lowest, len(sums.requests)) == (0, 0, 101)
    assert [tier.share for tier in in_force(sums).tiers] == [0.0, 0.0, 0.0]


def test_a_tier_without_a_price(dsn: str, config: Path) -> None:
    write(dsn, traffic(load(config), 30))
    whole = yaml.safe_load(config.read_text())
    whole["model_list"][1] |= {"model_info": {}, "litellm_params": {"model": "openai/nobody-knows-it"}}
    config.write_text(yaml.safe_dump(whole, sort_keys=False))
    sums = summed(config, dsn)
    assert [costs is None for costs in sums.costs] == [False, True, False]
    assert in_force(sums).cost is None
    assert any("no price is known of middle" in note for note in sums.notes)


def test_what_the_local_llm_has_named_stays(dsn: str, config: Path) -> None:
    written(config, classifier={"strategy": "llm", "llm": {"model": "ollama_chat/tiny"}})
    gateway = load(config)
    verdict = {
        "strategy": Strategy.LLM, "llm_status": LlmStatus.ASKED, "llm_model": "tiny", "llm_tier": "complex",
        "llm_prompt": Question(gateway.config.routing.tiers).version, "reason": Reason.SCORE,
    }  # fmt: skip
    named = [item for hour in range(4) for item in decided(gateway, HARD, 1 + hour, **verdict)]
    write(dsn, [*traffic(gateway, 40), *named])
    sums = summed(config, dsn)
    assert sums.strategy == "llm"
    assert any("the local LLM named the tier of 4 requests" in note for note in sums.notes)
    assert sums.fixed_requests >= 4


def test_most_of_the_log_cannot_be_scored(dsn: str, config: Path) -> None:
    write(dsn, [item for item in traffic(load(config), 40) if "Texts" not in type(item).__name__])
    written(config, classifier={"strategy": "ml"})
    with pytest.raises(LearningError, match="cannot be scored anew: the words of their asks were not kept"):
        summed(config, dsn)


# The process


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], asyncio.subprocess.Process]]:
    """The processes that were started, and how."""
    found: list[tuple[tuple[str, ...], asyncio.subprocess.Process]] = []
    start = asyncio.create_subprocess_exec

    async def noted(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
        process = await start(*arguments, **options)
        found.append((arguments, process))
        return process

    monkeypatch.setattr(module.asyncio, "create_subprocess_exec", noted)
    return found


Started = list[tuple[tuple[str, ...], asyncio.subprocess.Process]]


@pytest.fixture
def silent() -> Iterator[str]:
    """DSN of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql://u:opossum@127.0.0.1:{server.getsockname()[1]}/x"


async def test_a_process_that_is_killed(config: Path, silent: str, started: Started) -> None:
    gateway = load(config)
    work = asyncio.create_task(what_if(gateway.config, gateway.models, None, silent, 7))
    await until(lambda: bool(started))
    process = started[0][1]
    least = min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)
    await until(lambda: os.getpriority(os.PRIO_PROCESS, process.pid) == least)
    process.kill()
    with pytest.raises(RequestError, match=r"has ended without an answer \(SIGKILL\)") as raised:
        await work
    assert raised.value.status == 503
    assert "opossum" not in " ".join(started[0][0])


async def test_a_process_that_takes_too_long(
    config: Path, silent: str, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    gateway = load(config)
    with pytest.raises(RequestError, match=r"longer than 0\.2 s") as raised:
        await what_if(gateway.config, gateway.models, None, silent, 7)
    assert (raised.value.status, started[0][1].returncode) == (503, -9)


async def test_a_database_that_is_not_there(config: Path) -> None:
    gateway = load(config)
    with pytest.raises(StoreError) as raised:
        await what_if(gateway.config, gateway.models, None, "postgresql://u:opossum@127.0.0.1:1/x", 7)
    assert "cannot connect to PostgreSQL at 127.0.0.1:1/x" in str(raised.value)
    assert "opossum" not in str(raised.value)


async def test_numpy_is_not_installed(config: Path, monkeypatch: pytest.MonkeyPatch, started: Started) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    gateway = load(config)
    with pytest.raises(LearningError, match=r"this needs numpy: run `pip install 'bsgateway\[train\]'`"):
        await what_if(gateway.config, gateway.models, None, "postgresql://u@127.0.0.1:1/x", 7)
    assert started == []


def order_of(path: Path, dsn: str) -> bytes:
    gateway = load(path)
    return msgspec.json.encode(
        Order(
            path=str(path), routing=gateway.config.routing, model_list=gateway.config.host["model_list"],
            known=gateway.models, directory=str(path.parent), state=str(path.parent), dsn=dsn, days=7, most=100,
        )
    ) + b"\n"  # fmt: skip


def test_an_order_arrives_as_it_was_sent(config: Path) -> None:
    written(config, aliases={"auto": "auto_route", "x": {"route": "auto_route", "min_tier": "medium"}})
    gateway = load(config)
    order = msgspec.json.decode(order_of(config, "postgresql://u:opossum@h/x"), type=Order)
    assert order.routing == gateway.config.routing
    assert order.known == gateway.models
    assert "opossum" not in repr(order)


def test_the_process_imports_what_it_needs_only(dsn: str, config: Path) -> None:
    code = (
        "import sys; from bsgateway.web.what_if_process import main; main(); "
        "sys.exit(bool({'litellm', 'scipy'} & {*sys.modules}))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(order_of(config, dsn))
        process.stdin.flush()  # and not closed: that would end it
        answer = msgspec.json.decode(process.stdout.read(), type=Answer)
        assert (process.wait(30), process.stderr.read()) == (0, b"")
    assert answer.what_if is not None


def test_the_process_ends_with_its_parent(config: Path, silent: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", module.MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(order_of(config, silent))
    process.stdin.close()
    try:
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


# One at a time, for a minute


@pytest.fixture
def running(config: Path) -> list[Gateway]:
    """The gateway in force."""
    return [load(config)]


async def test_an_answer_is_given_again(
    dsn: str, running: list[Gateway], started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = WhatIfs(lambda: running[0])
    one, other = await asyncio.gather(sums.last(7), sums.last(7))
    assert one is other is await sums.last(7)
    assert len(started) == 1
    running[0] = Gateway(running[0].config)
    another = await sums.last(7)
    assert (another is one, len(started)) == (False, 2)
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    assert await sums.last(7) is not another
    assert len(started) == 3
    await sums.close()


async def test_one_process_at_a_time_and_none_after_the_end(
    config: Path, silent: str, running: list[Gateway], started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", silent)
    sums = WhatIfs(lambda: running[0])
    asked = [asyncio.create_task(sums.last(days)) for days in (1, 7)]
    await until(lambda: bool(started))
    await asyncio.sleep(0.1)
    assert len(started) == 1
    await sums.close()
    assert started[0][1].returncode is not None
    for task in asked:
        with pytest.raises(RequestError, match="another configuration now, or stops"):
            await task
    assert len(started) == 1


async def test_who_goes_does_not_end_it_for_others(dsn: str, running: list[Gateway], started: Started) -> None:
    sums = WhatIfs(lambda: running[0])
    first, second = (asyncio.create_task(sums.last(7)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).tiers == ("simple", "medium", "complex")
    assert (first.cancelled(), len(started)) == (True, 1)


async def test_there_is_no_log(make: Callable[[], Gateway]) -> None:
    gateway = make()
    with pytest.raises(RequestError, match="the log is off") as raised:
        await WhatIfs(lambda: gateway).last(7)
    assert raised.value.status == 503


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Gateway]:
    return lambda: load(written(tmp_path / "off.yaml", collector={"enabled": False}))


async def test_the_event_loop_stays_free(dsn: str, running: list[Gateway], store: Store) -> None:
    await store.copy(traffic(running[0], 60))
    longest, last = 0.0, time.perf_counter()
    work = asyncio.create_task(WhatIfs(lambda: running[0]).last(7))
    began = last
    while not work.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    assert sum((await work).requests) > 30
    assert longest < max(0.3, (last - began) / 3)
