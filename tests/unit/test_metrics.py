"""`telemetry/`: what the metrics count, how several workers become one, and that they never cost a request.

The registry is prometheus_client's own; several workers are processes that share a directory.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from bsgateway.config import Config
from bsgateway.decision import Decision, LlmStatus, Method, Outcome, Reason, Strategy, new_id, now, stamp
from bsgateway.errors import TelemetryError
from bsgateway.gateway import Gateway
from bsgateway.hook import GatewayCallback
from bsgateway.log.metrics import CAUSES
from bsgateway.stamps import RoutingDecision
from bsgateway.telemetry import directory, tally
from bsgateway.telemetry.directory import DIRECTORY_VARIABLE
from bsgateway.telemetry.families import FAMILIES
from bsgateway.telemetry.metrics import QUEUED, Telemetry

Labels = frozenset[tuple[str, str]]
MakeGateway = Callable[..., Gateway]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
async def callback(gateway: Gateway) -> AsyncIterator[GatewayCallback]:
    made = GatewayCallback(gateway)
    yield made
    await made.lifecycle.stop()


@pytest.fixture
def telemetry(callback: GatewayCallback) -> Telemetry:
    return callback.telemetry


def samples(text: bytes, parse: Callable[..., Any] = parse_text) -> dict[tuple[str, Labels], float]:
    """Name and labels -> value. Each series stands there once."""
    found: dict[tuple[str, Labels], float] = {}
    for family in parse(text.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


class Numbers:
    """The metrics as they stand: `value(name, **labels)` adds up the series that have these labels."""

    def __init__(self, text: bytes) -> None:
        self._samples = samples(text)

    def value(self, name: str, **labels: str) -> float:
        return math.fsum(
            value
            for (found, has), value in self._samples.items()
            if found == name and labels.items() <= dict(has).items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        return {dict(has)[label] for found, has in self._samples if found == name}

    def by(self, name: str) -> dict[Labels, float]:
        return {has: value for (found, has), value in self._samples.items() if found == name}


def numbers(telemetry: Telemetry) -> Numbers:
    text, content_type = telemetry.exposition()
    assert content_type.startswith("text/plain; version=")
    return Numbers(text)


def decision(**fields: Any) -> Decision:
    """A decision by score, unless `fields` say otherwise."""
    return Decision(
        **{
            "decision_id": new_id(), "created_at": now(), "call_type": "acompletion", "method": Method.AUTO,
            "reason": Reason.SCORE, "original_model": "auto", "resolved_model": "small", "tier": "simple",
            "strategy": Strategy.STATIC, "decision_us": 30.0, **fields,
        }
    )  # fmt: skip


def routing_of(made: Decision) -> RoutingDecision:
    """The stamp as the hook leaves it."""
    routing = RoutingDecision(stamp(made))
    routing.id, routing.applied = made.decision_id, made.applied
    return routing


def outcome(made: Decision, status: str = "success", **fields: Any) -> Outcome:
    served = {"served_group": made.resolved_model} if status == "success" else {}
    return Outcome(decision_id=made.decision_id, completed_at=now(), status=status, **(served | fields))


# The list of metrics


def test_names_and_labels_are_as_prometheus_wants_them() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names)) > 50
    for family in FAMILIES:
        assert family.name.startswith("bsgateway_")
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert not family.name.removesuffix("_total").endswith(
            ("_ms", "_us", "_milliseconds", "_kb", "_mb", "_percent")
        )
        assert set(family.labels) <= {
            "tier", "model", "method", "strategy", "reason", "status", "fell_back", "kind", "cause", "id", "version",
            "core",
        }  # fmt: skip
        assert bool(family.buckets) == (family.kind == "histogram")
        assert list(family.buckets) == sorted(family.buckets)
        assert len(family.help) > 10
        assert family.help.endswith(".")


def test_all_metrics_are_there_from_the_start_and_both_formats_say_the_same(telemetry: Telemetry) -> None:
    made = decision(expected_cost=0.5, explored=True)
    telemetry.decided(made)
    telemetry.ended(routing_of(made), outcome(made, latency_ms=20.0, first_token_ms=10.0, cost=1.0, baseline_cost=2.0))
    telemetry.publish()
    text, _ = telemetry.exposition("")
    openmetrics, content_type = telemetry.exposition(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.endswith(b"# EOF\n")
    assert samples(text) == samples(openmetrics, parse_openmetrics)
    found = {family.name: (family.type, family.documentation) for family in parse_openmetrics(openmetrics.decode())}
    assert found == {family.base: (family.kind, family.help) for family in FAMILIES}


# Decisions and what came of them


def test_a_decision_counts_by_its_labels(telemetry: Telemetry) -> None:
    for us in (5.0, 30.0, 30.0, 2e6):
        telemetry.decided(decision(decision_us=us))
    telemetry.decided(decision(tier=None, strategy=None, method=Method.ALIAS, reason=Reason.ALIAS_MODEL))
    found = numbers(telemetry)
    labels = {"tier": "simple", "model": "small", "method": "auto", "strategy": "static", "reason": "score"}
    assert found.by("bsgateway_decisions_total") == {
        frozenset(labels.items()): 4.0,
        frozenset({**labels, "tier": "none", "strategy": "none", "method": "alias", "reason": "alias"}.items()): 1.0,
    }
    assert found.value("bsgateway_decision_duration_seconds_bucket", strategy="static", le="1e-05") == 1
    assert found.value("bsgateway_decision_duration_seconds_bucket", strategy="static", le="5e-05") == 3
    assert found.value("bsgateway_decision_duration_seconds_count", strategy="static") == 4
    assert found.value("bsgateway_decision_duration_seconds_sum", strategy="static") == pytest.approx(2.000065)


def test_names_that_clients_make_up_are_one_label(telemetry: Telemetry) -> None:
    for number in range(50):
        name = f'odd-{number}\n"}}sk-secret'
        made = decision(
            original_model=name, resolved_model=name, tier=f"odd-{number}", reason=Reason.UNKNOWN_LEFT, strategy=None
        )
        telemetry.decided(made)
        told = outcome(made, served_group=name, prompt_tokens=1, cost=0.5, baseline_cost=1.0, latency_ms=1.0)
        telemetry.ended(routing_of(made), told)
        other = decision(resolved_model=name)
        telemetry.ended(routing_of(other), outcome(other, "failure"))
        telemetry.ended(routing_of(other), None)
    found = numbers(telemetry)
    assert found.value("bsgateway_decisions_total", model="other", tier="other") == 50
    for name in ("decisions", "requests", "tokens", "spent_usd", "cost_usd", "failed_attempts"):
        assert found.labels(f"bsgateway_{name}_total", "model") == {"other"}
    text, _ = telemetry.exposition()
    assert b"odd-" not in text
    assert b"secret" not in text


def test_an_answer_counts_once_however_often_it_is_reported(telemetry: Telemetry) -> None:
    made = decision()
    told = outcome(
        made, latency_ms=1500.0, first_token_ms=200.0, prompt_tokens=100, completion_tokens=20, cache_read_tokens=60,
        cost=0.25, baseline_cost=1.0,
    )  # fmt: skip
    telemetry.ended(routing_of(made), told)
    telemetry.ended(routing_of(made), msgspec.structs.replace(told, cost=9.0))
    telemetry.publish()
    telemetry.ended(routing_of(made), told)
    telemetry.ended(routing_of(made), None)
    found = numbers(telemetry)
    assert found.by("bsgateway_requests_total") == {
        frozenset({"status": "success", "model": "small", "fell_back": "false"}.items()): 1.0
    }
    kinds = {"prompt": 100, "completion": 20, "cache_read": 60, "cache_write": 0}
    for kind, tokens in kinds.items():
        assert found.value("bsgateway_tokens_total", kind=kind) == tokens
    assert found.value("bsgateway_cost_usd_total") == found.value("bsgateway_spent_usd_total") == 0.25
    assert found.value("bsgateway_savings_usd") == 0.75
    assert found.value("bsgateway_request_duration_seconds_sum", model="small") == 1.5
    assert found.value("bsgateway_first_token_seconds_sum", model="small") == 0.2


def test_a_fallback_that_answers_is_a_success_of_another_model(telemetry: Telemetry) -> None:
    made = decision()
    telemetry.ended(routing_of(made), outcome(made, "failure", served_group="small"))
    telemetry.publish()
    telemetry.ended(routing_of(made), outcome(made, served_group="large"))
    telemetry.ended(routing_of(made), outcome(made, "failure"))  # too late to mean anything
    found = numbers(telemetry)
    assert found.by("bsgateway_requests_total") == {
        frozenset({"status": "success", "model": "large", "fell_back": "true"}.items()): 1.0
    }
    assert found.by("bsgateway_failed_attempts_total") == {frozenset({("model", "small")}): 1.0}


def test_a_request_fails_once_when_litellm_says_so_or_nothing_follows(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1000.0
    monkeypatch.setattr(tally, "monotonic", lambda: clock)
    told, silent, refused = decision(), decision(resolved_model="large"), decision()
    for made in (told, told, silent):  # an attempt, another one
        telemetry.ended(routing_of(made), outcome(made, "failure"))
    telemetry.ended(routing_of(told), None)
    telemetry.ended(routing_of(told), None)
    telemetry.ended(routing_of(refused), None)  # it never came to a provider
    failed = {"status": "failure", "fell_back": "false"}
    found = numbers(telemetry)
    assert found.by("bsgateway_requests_total") == {frozenset({**failed, "model": "small"}.items()): 2.0}
    assert found.value("bsgateway_failed_attempts_total") == 3
    clock += tally.FAILED_SECONDS - 1
    assert numbers(telemetry).value("bsgateway_requests_total") == 2
    clock += 2
    found = numbers(telemetry)
    assert found.value("bsgateway_requests_total", model="large", **failed) == 1
    assert found.value("bsgateway_requests_total") == 3


def test_what_is_remembered_of_requests_has_a_bound(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "REMEMBERED", 10)
    for _ in range(100):
        made = decision()
        telemetry.ended(routing_of(made), outcome(made))
        other = decision()
        telemetry.ended(routing_of(other), outcome(other, "failure"))
    found = numbers(telemetry)
    kept = telemetry._tally
    assert kept is not None
    assert (len(kept._ended), len(kept._failed)) == (10, 10)
    assert found.value("bsgateway_requests_total", status="success") == 100
    assert found.value("bsgateway_requests_total", status="failure") == 90


def test_money_is_what_figures_say(telemetry: Telemetry) -> None:
    # As `figures.Sums` defines it, and the SQL of the rollups: see bsg_facts.
    chance = random.Random(7)
    rows = []
    for _ in range(3000):
        made = decision(
            tier=chance.choice([None, "simple", "complex"]),
            resolved_model=chance.choice(["small", "large"]),
            applied=chance.random() < 0.8,
        )
        told = outcome(
            made,
            chance.choice(["success", "success", "failure"]),
            cost=chance.choice([None, 0.0, chance.random()]),
            baseline_cost=chance.choice([None, chance.random()]),
        )
        rows.append((made, told))
        telemetry.ended(routing_of(made), told)
    known = [(d, o) for d, o in rows if o.status == "success" and o.cost is not None]
    routed = [(d, o) for d, o in known if d.tier is not None and d.applied and o.baseline_cost is not None]
    found = numbers(telemetry)
    assert len(routed) > 300
    assert found.value("bsgateway_spent_usd_total") == pytest.approx(math.fsum(o.cost or 0 for _, o in known))
    cost = math.fsum(o.cost or 0 for _, o in routed)
    baseline = math.fsum(o.baseline_cost or 0 for _, o in routed)
    assert found.value("bsgateway_cost_usd_total") == pytest.approx(cost)
    assert found.value("bsgateway_baseline_cost_usd_total") == pytest.approx(baseline)
    assert found.value("bsgateway_savings_usd") == pytest.approx(baseline - cost)
    assert found.value("bsgateway_cost_usd_total", tier="none") == 0


def test_savings_can_be_negative_and_no_counter_falls(telemetry: Telemetry) -> None:
    made = decision()
    telemetry.ended(routing_of(made), outcome(made, cost=3.0, baseline_cost=1.0))
    found = numbers(telemetry)
    assert found.value("bsgateway_savings_usd") == -2
    assert found.value("bsgateway_baseline_cost_usd_total") - found.value("bsgateway_cost_usd_total") == -2


def test_explored_and_expected_are_of_what_was_applied(telemetry: Telemetry) -> None:
    telemetry.decided(decision(explored=True, expected_cost=0.5))
    telemetry.decided(decision(applied=False, expected_cost=2.0))
    found = numbers(telemetry)
    assert found.value("bsgateway_explored_total", tier="simple") == 1
    assert found.value("bsgateway_expected_cost_usd_total") == 0.5


# The hook


HARD = "Prove the theorem, derive the bound, analyze the algorithm."


async def test_the_hook_counts_what_it_decides_private_requests_too(make_gateway: MakeGateway) -> None:
    from litellm.caching.dual_cache import DualCache
    from litellm.proxy._types import UserAPIKeyAuth

    callback = GatewayCallback(
        make_gateway(collector={"enabled": True, "database_url": "postgresql://nobody@127.0.0.1:1/x", "opt_out": "row"})
    )
    callback.lifecycle.record = lambda _: None  # type: ignore[method-assign]
    key = UserAPIKeyAuth(api_key="sk-live-0123456789", key_alias="an alias", user_id="a user")
    for metadata in ({}, {"bsgateway_no_log": True}):
        data = {"model": "auto", "messages": [{"role": "user", "content": HARD}], "metadata": metadata}
        await callback.async_pre_call_hook(key, DualCache(), data, "acompletion")
        usage = {"model_group": "large", "prompt_tokens": 100, "completion_tokens": 10, "metadata": {}}
        kwargs = {"litellm_params": data, "standard_logging_object": usage, "response_cost": 0.002}
        await callback.async_log_success_event(kwargs, None, now(), now())
    failed = {"model": "auto", "messages": [{"role": "user", "content": HARD}]}
    await callback.async_pre_call_hook(key, DualCache(), failed, "acompletion")
    await callback.async_post_call_failure_hook(failed, ValueError("no"), key)
    assert callback.errors == 0
    found = numbers(callback.telemetry)
    assert found.value("bsgateway_decisions_total", model="large", tier="complex", reason="score") == 3
    assert found.value("bsgateway_requests_total", status="success", model="large", fell_back="false") == 2
    assert found.value("bsgateway_requests_total", status="failure", model="large") == 1
    # large costs 1e-5 a token in and 4e-5 a token out: as dear as the top tier, which it is.
    assert found.value("bsgateway_baseline_cost_usd_total", tier="complex") == pytest.approx(2 * 0.0014)
    assert found.value("bsgateway_cost_usd_total", model="large") == pytest.approx(2 * 0.002)
    assert found.value("bsgateway_opted_out_total") == 1
    text, _ = callback.telemetry.exposition()
    assert not any(word in text for word in (b"sk-live", b"an alias", b"a user", b"theorem"))
    await callback.stop()


def test_a_full_queue_is_added_up_at_once(telemetry: Telemetry) -> None:
    for _ in range(3 * QUEUED):
        telemetry.decided(decision())
        assert len(telemetry._queue) < QUEUED
    assert numbers(telemetry).value("bsgateway_decisions_total") == 3 * QUEUED


def test_one_record_that_cannot_be_counted_costs_no_other(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    made = decision()
    telemetry.decided(decision(decision_us="a user's words"))
    telemetry.ended(routing_of(made), outcome(made, cost=-1.0, prompt_tokens=7))
    telemetry.decided(decision())
    telemetry.publish()
    telemetry.publish()
    found = numbers(telemetry)
    assert found.value("bsgateway_tokens_total", kind="prompt") == 7
    assert found.value("bsgateway_decision_duration_seconds_count") == 1
    assert found.value("bsgateway_telemetry_errors_total") == telemetry.errors == 2
    assert caplog.messages == ["some metrics are missing: TypeError", "some metrics are missing: ValueError"]


async def test_numbers_are_published_while_nobody_asks(callback: GatewayCallback) -> None:
    import asyncio

    callback.telemetry.decided(decision())
    task = asyncio.create_task(callback.telemetry.run())
    await asyncio.sleep(0)
    assert not callback.telemetry._queue
    task.cancel()


# What parts count by themselves


def test_counters_go_on_when_a_reload_replaces_what_counts(
    callback: GatewayCallback, telemetry: Telemetry, make_gateway: MakeGateway
) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": HARD * 20}]}

    def memo() -> tuple[float, float]:
        found = numbers(telemetry)
        return found.value("bsgateway_memo_hits_total"), found.value("bsgateway_memo_misses_total")

    for _ in range(3):
        callback.gateway.decide(body)
    seen = callback.gateway.memo_stats()
    assert memo() == (seen.hits, seen.misses)
    assert seen.hits > 0
    callback.gateway.decide(body)  # nobody has read this one yet
    former = callback.gateway.memo_stats()
    callback.gateway.failed_open = 5
    callback.adopt(make_gateway())
    for _ in range(9):  # more than the former had
        callback.gateway.decide(body)
    newer = callback.gateway.memo_stats()
    assert newer.hits > former.hits
    assert memo() == (former.hits + newer.hits, former.misses + newer.misses)
    assert memo() == (former.hits + newer.hits, former.misses + newer.misses)
    callback.gateway.failed_open += 1
    assert numbers(telemetry).value("bsgateway_failed_open_total") == 6


def test_the_model_that_scores_is_named_while_it_does(
    callback: GatewayCallback, telemetry: Telemetry, make_gateway: MakeGateway
) -> None:
    assert numbers(telemetry).by("bsgateway_model_info") == {}
    learned = make_gateway(classifier={"strategy": "ml"})
    assert learned.model_file is not None
    assert learned.model_file.model is not None
    callback.adopt(learned)
    labels = frozenset({("id", learned.model_file.model.id), ("kind", "prior")})
    assert numbers(telemetry).by("bsgateway_model_info") == {labels: 1.0}
    learned.model_file.refused = 2
    assert numbers(telemetry).value("bsgateway_model_file_refused_total") == 2
    callback.adopt(make_gateway())
    found = numbers(telemetry)
    assert found.by("bsgateway_model_info") == {}
    assert found.value("bsgateway_model_file_refused_total") == 2
    back = make_gateway(classifier={"strategy": "ml"})
    assert back.model_file is not None
    back.model_file.refused = 2  # as many as the one before had: two more
    callback.adopt(back)
    assert numbers(telemetry).value("bsgateway_model_file_refused_total") == 4


def test_the_log_says_every_cause_from_the_start(make_gateway: MakeGateway) -> None:
    collector = {"enabled": True, "database_url": "postgresql://nobody@127.0.0.1:1/x"}
    callback = GatewayCallback(make_gateway(collector=collector))
    from bsgateway.log.metrics import EmbedderStats, Metrics

    told = Metrics(
        queued=1, spooled_rows=2, spooled_bytes=3, oldest_seconds=4.0, written=5, replayed=6, dead_lettered=7,
        dropped={"queue_full": 8}, batches=9, retries=10, flush_seconds=11.0, circuit="open",
        embedding=EmbedderStats(12, 13, "closed", None),
    )  # fmt: skip
    callback.lifecycle.metrics = lambda: told  # type: ignore[method-assign]
    found = numbers(callback.telemetry)
    wanted = {
        "log_queued_rows": 1, "log_spooled_rows": 2, "log_spooled_bytes": 3, "log_oldest_seconds": 4,
        "log_written_rows_total": 5, "log_replayed_rows_total": 6, "log_dead_lettered_rows_total": 7,
        "log_dropped_rows_total": 8, "log_batches_total": 9, "log_retries_total": 10, "log_flush_seconds_total": 11,
        "log_circuit_open": 1, "embedder_circuit_open": 0,
    }  # fmt: skip
    assert {name: found.value(f"bsgateway_{name}") for name in wanted} == wanted
    assert found.labels("bsgateway_log_dropped_rows_total", "cause") == set(CAUSES)
    assert found.value("bsgateway_embedded_texts_total", status="failed") == 13


def test_what_came_of_the_local_llm_is_counted(
    make_gateway: MakeGateway, config_dict: dict[str, Any], closed_port: int
) -> None:
    local = {
        "model_name": "local",
        "litellm_params": {"model": "ollama_chat/m", "api_base": f"http://127.0.0.1:{closed_port}"},
    }
    host = {"model_list": [*config_dict["model_list"], local]}
    callback = GatewayCallback(make_gateway(host, classifier={"strategy": "llm", "llm": {"model": "local"}}))
    llm = callback.gateway.llm
    assert llm is not None
    llm.unasked(LlmStatus.CERTAIN)
    found = numbers(callback.telemetry)
    assert found.value("bsgateway_llm_requests_total", status="certain") == 1
    assert found.labels("bsgateway_llm_requests_total", "status") == {status.value for status in LlmStatus}
    assert found.value("bsgateway_llm_circuit_open") == 0
    # A reload that keeps the strategy goes on counting, one that brings it back begins anew.
    callback.adopt(make_gateway(host, classifier={"strategy": "llm", "llm": {"model": "local", "timeout": 3.0}}))
    assert callback.gateway.llm is not None
    callback.gateway.llm.unasked(LlmStatus.CERTAIN)
    assert numbers(callback.telemetry).value("bsgateway_llm_requests_total", status="certain") == 2
    callback.adopt(make_gateway())
    assert numbers(callback.telemetry).value("bsgateway_llm_requests_total", status="certain") == 2
    callback.adopt(make_gateway(host, classifier={"strategy": "llm", "llm": {"model": "local"}}))
    for _ in range(5):
        callback.gateway.llm.unasked(LlmStatus.CERTAIN)
    assert numbers(callback.telemetry).value("bsgateway_llm_requests_total", status="certain") == 7


# Several workers


WORKER = """
import sys
from prometheus_client import Counter, Gauge
from bsgateway.telemetry import families as f
from bsgateway.telemetry.registry import Registry

registry = Registry()
Counter("litellm_strangers", "Another callback's.").inc()
Gauge("strangers_gauge", "Another callback's.", multiprocess_mode="livesum").set(7)
registry.add(f.COST, ("small", "simple"), 1.25)
registry.add(f.SAVINGS, (), -2.0)
registry.observe(f.REQUEST_SECONDS, ("small",), 0.3)
registry.set(f.SESSIONS, (), 3)
registry.set(f.LOG_OLDEST, (), float(sys.argv[1]))
registry.set(f.MODEL_INFO, ("former", "prior"), 0)
registry.set(f.MODEL_INFO, ("newer", "trained"), 1)
print("ready", flush=True)
sys.stdin.readline()
"""
ASKER = """
import sys
from bsgateway.telemetry.registry import Registry
sys.stdout.buffer.write(Registry().exposition(sys.argv[1])[0])
"""


def environment(place: Path | str) -> dict[str, str]:
    return {**os.environ, DIRECTORY_VARIABLE: str(place)}


@contextmanager
def worker(place: Path, oldest: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WORKER, str(oldest)]
    with subprocess.Popen(
        command, env=environment(place), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def asked(place: Path, accept: str = "") -> bytes:
    command = [sys.executable, "-c", ASKER, accept]
    return subprocess.run(command, env=environment(place), capture_output=True, check=True, timeout=60).stdout


def test_any_worker_tells_of_all_and_what_a_dead_one_counted_stays(tmp_path: Path) -> None:
    place = tmp_path / "not" / "there yet"
    with worker(place, 10.0) as first, worker(place, 90.0):
        text = asked(place)
        found = Numbers(text)
        assert found.value("bsgateway_cost_usd_total", model="small", tier="simple") == 2.5
        assert found.value("bsgateway_savings_usd") == -4
        assert found.value("bsgateway_request_duration_seconds_count", model="small") == 2
        assert found.value("bsgateway_request_duration_seconds_bucket", model="small", le="0.5") == 2
        assert found.value("bsgateway_sessions") == 6
        assert found.value("bsgateway_log_oldest_seconds") == 90
        assert found.labels("bsgateway_model_info", "id") == {"newer"}
        assert b"strangers" not in text
        openmetrics = asked(place, OPENMETRICS)
        assert samples(openmetrics, parse_openmetrics) == samples(text)
        assert [family.name for family in parse_openmetrics(openmetrics.decode())] == [each.base for each in FAMILIES]
        first.kill()
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has taken note of it
        found = Numbers(asked(place))
        assert found.value("bsgateway_cost_usd_total") == 2.5
        assert found.value("bsgateway_savings_usd") == -4
        assert found.value("bsgateway_request_duration_seconds_sum") == pytest.approx(0.6)
        assert found.value("bsgateway_sessions") == 3
        assert found.value("bsgateway_log_oldest_seconds") == 90


BROKEN = """
import sys
sys.path.insert(0, sys.argv[1])
from types import SimpleNamespace
from bsgateway.errors import TelemetryError
from bsgateway.telemetry.metrics import Telemetry

telemetry = Telemetry(SimpleNamespace(gateway=None))
for _ in range(3):
    telemetry.decided("a decision")
    telemetry.publish()
print(telemetry.errors, len(telemetry._queue))
try:
    telemetry.exposition()
except TelemetryError as error:
    print(error)
"""


@pytest.mark.parametrize("made", [True, False])
def test_a_directory_that_cannot_be_used_costs_no_request(tmp_path: Path, made: bool) -> None:
    place = tmp_path / "file"
    place.touch()
    command = [sys.executable, "-c", BROKEN, str(tmp_path)]
    given = environment(place / "below" if made else "")
    ended = subprocess.run(command, env=given, capture_output=True, check=True, timeout=60, text=True, cwd=tmp_path)
    counts, message = ended.stdout.splitlines()
    assert counts == "3 0"
    assert message.startswith("no metrics: PROMETHEUS_MULTIPROC_DIR")
    assert ended.stderr.count("some metrics are missing") == 1
    assert list(tmp_path.iterdir()) == [place]


FULL = """
import shutil
from collections import namedtuple
from bsgateway.errors import TelemetryError
from bsgateway.telemetry import families as f
from bsgateway.telemetry.registry import Registry

registry, real = Registry(), shutil.disk_usage
registry.add(f.RELOADS, (), 1)
shutil.disk_usage = lambda path: namedtuple("Usage", "free")(0 * real(path).free)
registry.add(f.RELOADS, (), 1)
for make in (lambda: registry.add(f.SPENT, ("small",), 1), Registry):
    try:
        make()
    except TelemetryError as error:
        print(error)
shutil.disk_usage = real
registry.add(f.SPENT, ("small",), 1)
print(sorted(line for line in registry.exposition("")[0].decode().splitlines() if line.endswith(("2.0", " 1.0"))))
"""


def test_a_full_disk_ends_no_worker(tmp_path: Path) -> None:
    # What a worker puts into a hole of its file then would: a test cannot fill a disk, so its size is made up here.
    given = environment(tmp_path / "shared")
    ended = subprocess.run([sys.executable, "-c", FULL], env=given, capture_output=True, timeout=60, text=True)
    assert ended.returncode == 0, ended.stderr
    *refused, counted = ended.stdout.splitlines()
    assert refused == [f"no new metrics: the disk of {tmp_path / 'shared'} is full: make room"] * 2
    assert "bsgateway_reloads_total 2.0" in counted
    assert 'bsgateway_spent_usd_total{model="small"} 1.0' in counted


VANISHED = """
import os, shutil
from bsgateway.errors import TelemetryError
from bsgateway.telemetry import families as f
from bsgateway.telemetry.registry import Registry

registry = Registry()
place = os.environ["PROMETHEUS_MULTIPROC_DIR"]
open(os.path.join(place, "counter_1.db"), "x").close()  # as a worker leaves it for a moment
for _ in range(2):
    try:
        registry.exposition("")
    except TelemetryError as error:
        print(error)
    shutil.rmtree(place, ignore_errors=True)
registry.add(f.RELOADS, (), 1)
"""


def test_files_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    place = tmp_path / "shared"
    command = [sys.executable, "-c", VANISHED]
    ended = subprocess.run(command, env=environment(place), capture_output=True, check=True, timeout=60, text=True)
    empty, gone = ended.stdout.splitlines()
    assert empty.startswith(f"no metrics: {place} cannot be read: unpack_from requires")
    assert gone.startswith(f"no metrics: {place} cannot be read: [Errno 2]")


def test_one_worker_of_several_that_stands_alone_is_told_so(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def warned(**of_telemetry: Any) -> list[str]:
        caplog.clear()
        GatewayCallback(Gateway(make_config(telemetry=of_telemetry))).telemetry._warn_of_other_workers()
        return caplog.messages

    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    caplog.set_level(logging.WARNING, "bsgateway.telemetry")
    assert warned() == []
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/23.0.0")
    assert ["ONE worker only" in line for line in warned()] == [True]
    monkeypatch.delenv("SERVER_SOFTWARE")
    monkeypatch.setattr(multiprocessing, "parent_process", multiprocessing.current_process)
    assert ["PROMETHEUS_MULTIPROC_DIR" in line for line in warned()] == [True]
    assert warned(metrics="off") == []
    monkeypatch.setenv(DIRECTORY_VARIABLE, "/anywhere")
    assert warned() == []


# The directory of `serve`


def test_one_worker_needs_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (None, ""):
        monkeypatch.setenv(DIRECTORY_VARIABLE, given) if given is not None else monkeypatch.delenv(
            DIRECTORY_VARIABLE, raising=False
        )
        directory.prepare(tmp_path, 1)
        assert DIRECTORY_VARIABLE not in os.environ
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [None, ""])
def test_several_workers_get_an_empty_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, given or "")  # so that it is put back as it was, whatever is done to it
    if given is None:
        monkeypatch.delenv(DIRECTORY_VARIABLE)
    stale = tmp_path / "metrics" / "counter_7.db"
    stale.parent.mkdir()
    stale.write_bytes(b"of a run before")
    directory.prepare(tmp_path, 2)
    assert os.environ[DIRECTORY_VARIABLE] == str(tmp_path / "metrics")
    assert list((tmp_path / "metrics").iterdir()) == []
    assert (tmp_path / "metrics").stat().st_mode & 0o777 == 0o700


def test_the_operators_directory_is_used_and_keeps_what_is_not_of_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(own))
    directory.prepare(tmp_path / "state", 1)
    assert own.is_dir()
    (own / "gauge_livesum_7.db").touch()
    (own / "notes").touch()
    directory.prepare(tmp_path / "state", 2)
    assert [file.name for file in own.iterdir()] == ["notes"]
    assert os.environ[DIRECTORY_VARIABLE] == str(own)
    assert not (tmp_path / "state").exists()


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "file" / "below"))
    with pytest.raises(TelemetryError, match=r"PROMETHEUS_MULTIPROC_DIR: .*file/below: Not a directory"):
        directory.prepare(tmp_path, 2)
