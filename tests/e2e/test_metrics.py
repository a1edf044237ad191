"""`/bsgateway/metrics` of a gateway with two workers: whichever answers tells of both, in numbers that the log agrees
with."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from bsgateway.telemetry.families import FAMILIES
from e2e.clients import ENDPOINTS, GROUPS, PROMPTS, http, send
from e2e.gateways import KEY, Gateway, start_serve, write_config
from e2e.records import until
from e2e.upstream import Upstream

PATH = "/bsgateway/metrics"
REQUESTS = 40
ODD_NAMES = 50
SCRAPES = 8
"""New connections, so that both workers come to answer."""
CENT = 0.005


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """`bsgateway serve --workers 2`, asked by name and by score; names that nobody knows fail."""
    directory = tmp_path_factory.mktemp("metrics")
    config = write_config(directory, upstream, unknown_models="leave", session={"enabled": False})
    running = start_serve(config, directory / "state", upstream, "--workers", "2")
    try:
        running.wait_for_workers(2)
        yield running
    finally:
        running.kill()


def scraped(gateway: Gateway, **headers: str) -> httpx.Response:
    return httpx.get(f"{gateway.url}{PATH}", headers={"Authorization": f"Bearer {KEY}", **headers}, timeout=30)


def total(text: str, name: str, **labels: str) -> float:
    """The sum of the series with these labels."""
    return sum(
        sample.value
        for family in parse_text(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def all_say(gateway: Gateway, what: Callable[[str], Any], wanted: Any) -> None:
    """Wait until a worker says so, and then no worker says anything else."""

    async def one() -> bool:
        return bool(what(scraped(gateway).text) == wanted)

    await until(f"{wanted} in the metrics", one)
    assert [what(scraped(gateway).text) for _ in range(SCRAPES)] == [wanted] * SCRAPES


async def asked_often(gateway: Gateway) -> None:
    async def by_score(number: int) -> None:
        endpoint, tier = list(ENDPOINTS)[number % len(ENDPOINTS)], list(PROMPTS)[number % len(PROMPTS)]
        reply = await send(gateway, endpoint, "auto", PROMPTS[tier], stream=number % 2 == 0)
        assert reply.routing["model"] == GROUPS[tier]

    async def by_odd_name(number: int) -> None:
        body = {"model": f"odd-{number}", "messages": [{"role": "user", "content": "Hello."}]}
        async with http(gateway) as client:
            answer = await client.post("/v1/chat/completions", json=body)
        assert answer.status_code in (400, 404), answer.text

    await asyncio.gather(*map(by_score, range(REQUESTS)))
    await asyncio.gather(*map(by_odd_name, range(ODD_NAMES)))
    await send(gateway, "chat", "frontier", "Hello.")  # an alias: spent, and in no savings


async def figures(gateway: Gateway) -> asyncpg.Record:
    """What the log adds up to, by the function that the dashboard's sums are made with."""
    connection = await asyncpg.connect(gateway.dsn)
    try:
        return await connection.fetchrow(
            "SELECT count(*) AS requests, count(*) FILTER (WHERE failed) AS failed, sum(spent) AS spent,"
            " sum(prompt_tokens) AS prompt_tokens, sum(cost) FILTER (WHERE priced) AS cost,"
            " sum(baseline_cost) FILTER (WHERE priced) AS baseline_cost"
            " FROM bsg_facts(now() - interval '1 day', now() + interval '1 hour')"
        )
    finally:
        await connection.close()


async def test_both_workers_tell_of_all_requests_and_agree_with_the_log(workers: Gateway) -> None:
    await asked_often(workers)
    everything = REQUESTS + ODD_NAMES + 1
    await all_say(workers, lambda text: total(text, "bsgateway_decisions_total"), everything)
    await all_say(workers, lambda text: total(text, "bsgateway_requests_total"), everything)
    text = scraped(workers).text
    assert total(text, "bsgateway_requests_total", status="failure", model="other") == ODD_NAMES
    assert total(text, "bsgateway_decision_duration_seconds_count") == everything
    for group, tier in (("small", "simple"), ("medium", "medium"), ("large", "complex")):
        wanted = len([number for number in range(REQUESTS) if GROUPS[list(PROMPTS)[number % 3]] == group])
        assert total(text, "bsgateway_decisions_total", model=group, tier=tier, method="auto") == wanted
        assert total(text, "bsgateway_request_duration_seconds_count", model=group) == wanted + (group == "large")

    async def written() -> bool:
        found = await figures(workers)
        return (found["requests"], found["failed"]) == (everything, ODD_NAMES)

    await until("all rows and outcomes", written)
    found = await figures(workers)
    text = scraped(workers).text
    assert total(text, "bsgateway_spent_usd_total") == pytest.approx(found["spent"], abs=CENT / 100)
    assert total(text, "bsgateway_cost_usd_total") == pytest.approx(found["cost"], abs=CENT / 100)
    assert total(text, "bsgateway_baseline_cost_usd_total") == pytest.approx(found["baseline_cost"], abs=CENT / 100)
    saved = found["baseline_cost"] - found["cost"]
    assert saved > 0.1
    assert total(text, "bsgateway_savings_usd") == pytest.approx(saved, abs=CENT / 100)
    assert total(text, "bsgateway_tokens_total", kind="prompt") == found["prompt_tokens"]
    await all_say(workers, lambda text: total(text, "bsgateway_log_written_rows_total") >= 2 * everything, True)
    for trouble in ("hook_errors", "failed_open", "telemetry_errors", "access_errors", "log_dropped_rows"):
        assert total(text, f"bsgateway_{trouble}_total") == 0, trouble


async def test_labels_are_a_closed_list_whatever_clients_send(workers: Gateway) -> None:
    models = {"closed", "slow", "small", "medium", "large", "embedder", "other"}
    text = scraped(workers).text
    assert "odd-" not in text
    assert KEY not in text
    for family in parse_text(text):
        for sample in family.samples:
            assert sample.labels.get("model", "other") in models
            assert sample.labels.get("tier", "none") in {"none", "other", "broken", "simple", "medium", "complex"}


async def test_the_format_is_prometheus_or_openmetrics_as_asked_for(workers: Gateway) -> None:
    plain = scraped(workers)
    assert plain.headers["content-type"].startswith("text/plain")
    assert {family.name for family in parse_text(plain.text)} >= {
        family.name for family in FAMILIES if family.kind == "gauge"
    }
    modern = scraped(workers, Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert modern.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert [family.name for family in parse_openmetrics(modern.text)] == [family.base for family in FAMILIES]


async def test_who_may_read_them_is_up_to_the_operator(workers: Gateway) -> None:
    def status() -> int:
        return httpx.get(f"{workers.url}{PATH}", timeout=30).status_code

    async def all_answer(wanted: int) -> None:
        async def each() -> bool:
            return {status() for _ in range(SCRAPES)} == {wanted}

        await until(f"{wanted} without a key", each)

    await all_answer(401)
    config = yaml.safe_load(workers.config.read_text())
    for setting, wanted in (("open", 200), ("off", 404), ("admin", 401)):
        config["routing"]["telemetry"] = {"metrics": setting}
        workers.config.write_text(yaml.safe_dump(config, sort_keys=False))
        async with http(workers) as client:
            answer = await client.post("/bsgateway/reload")
        assert answer.status_code == 200, answer.text
        await all_answer(wanted)
    await all_say(workers, lambda text: total(text, "bsgateway_reloads_total"), 6)


async def test_what_a_killed_worker_has_counted_stays(workers: Gateway) -> None:
    assert workers.state is not None
    place = workers.state / "metrics"
    counted = ("decisions_total", "requests_total", "cost_usd_total", "decision_duration_seconds_count", "savings_usd")

    def numbers(text: str) -> list[float]:
        return [round(total(text, f"bsgateway_{name}"), 9) for name in counted]

    before = numbers(scraped(workers).text)
    victim = min(workers.workers())
    assert of_worker(place, victim, "gauge_live*")
    os.kill(victim, signal.SIGKILL)

    async def answers(check: Callable[[str], bool]) -> bool:
        try:
            return check(scraped(workers).text)
        except httpx.TransportError:  # the connection was the dead one's
            return False

    def gone(_: str) -> bool:
        return not of_worker(place, victim, "gauge_live*")

    await until("the gauges of the dead worker are gone", _bound(answers, gone))
    await until("the same sums", _bound(answers, lambda text: numbers(text) == before))
    assert of_worker(place, victim, "counter*")
    await send(workers, "chat", "auto", PROMPTS["simple"])
    wanted = before[0] + 1
    await until("one more", _bound(answers, lambda text: total(text, "bsgateway_decisions_total") == wanted))


def _bound(
    answers: Callable[[Callable[[str], bool]], Awaitable[bool]], check: Callable[[str], bool]
) -> Callable[[], Awaitable[bool]]:
    return lambda: answers(check)


def of_worker(place: Path, pid: int, kind: str) -> list[Path]:
    """The files of a worker, by what they hold."""
    return list(place.glob(f"{kind}_{pid}.db"))
