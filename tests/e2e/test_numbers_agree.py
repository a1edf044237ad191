"""What was saved is one number: on the dashboard, in the report, in plain SQL and in the metrics, to the cent."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bsgateway.decision import Caller, Decision
from bsgateway.store import Store
from builders import id_at, make_decision, make_outcome
from e2e.clients import PROMPTS, new_request_id, send
from e2e.gateways import Gateway, clean_environment, serving, write_config
from e2e.records import Log, until
from e2e.upstream import Call, Upstream

PRICES = {"small": (1e-5, 3e-5), "medium": (2e-4, 5e-4), "large": (3e-3, 9e-3)}
"""US dollars for a token in and out: so dear that a request is worth many cents."""
BY = ("tier", "model", "key", "team", "day")
FIRST = datetime(2026, 1, 30, tzinfo=timezone.utc)
"""The seeded rows begin here, and go over the borders of three months' partitions and a change to summer time."""
SEEDED_DAYS = 40
ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Pacific/Chatham")

PLAIN = """
SELECT
    coalesce(sum(o.cost), 0) AS spent,
    coalesce(sum(o.cost) FILTER (WHERE d.tier IS NOT NULL AND d.applied AND o.baseline_cost IS NOT NULL), 0) AS cost,
    coalesce(sum(o.baseline_cost) FILTER (WHERE d.tier IS NOT NULL AND d.applied AND o.cost IS NOT NULL), 0)
        AS baseline_cost
FROM routing_logs d LEFT JOIN routing_outcomes o USING (decision_id)
WHERE d.decision_id >= bsg_uuid7_floor($1) AND d.decision_id < bsg_uuid7_floor($2)
"""


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway whose models have known prices."""
    config = write_config(tmp_path_factory.mktemp("agree"), upstream)
    content = yaml.safe_load(config.read_text())
    for entry in content["model_list"]:
        if entry["model_name"] in PRICES:
            price = dict(
                zip(("input_cost_per_token", "output_cost_per_token"), PRICES[entry["model_name"]], strict=True)
            )
            entry["model_info"] = price
            entry["litellm_params"].update(price)
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    with serving(config, upstream) as gateway:
        yield gateway


@pytest.fixture
async def log(priced: Gateway) -> AsyncIterator[Log]:
    async with await Log.open(priced.dsn) as opened:
        yield opened


def worth(call: Call, group: str | None = None) -> float:
    """What the upstream's answer costs, at the prices of its group or of another."""
    given, made = PRICES[group or call.group]
    return call.prompt_tokens * given + call.completion_tokens * made


def cents(dollars: Any) -> float:
    return round(float(dollars), 2)


async def plain(gateway: Gateway, since: datetime, end: datetime) -> list[float]:
    """What SQL says without any sums of ours."""
    connection = await asyncpg.connect(gateway.dsn)
    try:
        row = await connection.fetchrow(PLAIN, since, end)
    finally:
        await connection.close()
    assert row is not None
    return [cents(row[name]) for name in ("spent", "cost", "baseline_cost")]


async def api(gateway: Gateway, **parameters: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {gateway.key}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30) as client:
        answer = await client.get("/bsgateway/api/savings", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def report(gateway: Gateway, **parameters: str) -> dict[str, Any]:
    """As an operator runs it, who is not in the proxy's process."""
    command = [sys.executable, "-m", "bsgateway", "report", "--format", "json", "-c", str(gateway.config)]
    options = [f"--{name}={value}" for name, value in parameters.items()]
    done = subprocess.run(
        [*command, *options],
        env=clean_environment(COLLECTOR_DATABASE_URL=gateway.dsn),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def metrics(gateway: Gateway) -> dict[str, float]:
    """The sum of each of the gateway's metrics over its labels."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {gateway.key}"}, timeout=30) as client:
        answer = await client.get(f"{gateway.url}/bsgateway/metrics")
    assert answer.status_code == 200, answer.text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def assert_agree(savings: dict[str, Any], spent: float, cost: float, baseline: float) -> None:
    """The total, and the groups and points that make it up."""
    total = savings["total"]
    wanted = tuple(map(cents, (spent, cost, baseline, baseline - cost)))
    assert tuple(cents(total[name]) for name in ("spent", "cost", "baseline_cost", "saved")) == wanted
    for parts in (savings["groups"], savings["points"]):
        added = [sum(part["sums"][name] for part in parts) for name in ("spent", "cost", "baseline_cost", "saved")]
        assert tuple(map(cents, added)) == wanted


async def test_what_was_just_saved(priced: Gateway, log: Log, upstream: Upstream) -> None:
    asked: list[tuple[str, str, bool]] = [
        ("auto", tier, stream) for tier in ("simple", "simple", "medium", "complex") for stream in (False, True)
    ]
    asked += [("small", "complex", False), ("frontier", "simple", False)]  # by name: nothing is saved
    spent = cost = baseline = 0.0
    for model, tier, stream in asked:
        request_id = new_request_id()
        reply = await send(priced, "chat", model, f"{PROMPTS[tier]} {request_id}", stream=stream)
        await log.complete(reply.call_id)
        (call,) = upstream.calls(request_id)
        spent += worth(call)
        if model == "auto":
            cost += worth(call)
            baseline += worth(call, "large")
    assert baseline - cost > 1, "nothing was saved: the test shows nothing"

    period = {"since": "1h", "tz": "UTC"}
    today = datetime.now(timezone.utc)
    known = (spent, cost, baseline)
    assert await plain(priced, today - timedelta(hours=1), today + timedelta(hours=1)) == [*map(cents, known)]

    async def added_up() -> bool:
        return bool((await api(priced, **period))["total"]["requests"] == len(asked))

    await until("the sums of all answers", added_up)
    for by in BY:
        assert_agree(await api(priced, by=by, **period), spent, cost, baseline)
        assert_agree(await asyncio.to_thread(report, priced, by=by, **period), spent, cost, baseline)
    told = await metrics(priced)
    assert cents(told["bsgateway_spent_usd_total"]) == cents(spent)
    assert cents(told["bsgateway_cost_usd_total"]) == cents(cost)
    assert cents(told["bsgateway_baseline_cost_usd_total"]) == cents(baseline)
    assert cents(told["bsgateway_savings_usd"]) == cents(baseline - cost)


def seeded(generator: random.Random, count: int) -> list[tuple[Decision, float, float]]:
    """Decisions of 40 days, with what they cost and would have cost."""
    rows = []
    for _ in range(count):
        moment = FIRST + timedelta(seconds=generator.randrange(SEEDED_DAYS * 86_400))
        decision = make_decision(
            decision_id=id_at(moment, generator.getrandbits(60)),
            created_at=moment,
            tier=generator.choice(["simple", "medium", "complex", None]),
            applied=generator.random() < 0.9,
            caller=Caller(key_hash=generator.choice(["one", "two", None]), team_id=generator.choice(["red", None])),
        )
        rows.append((decision, generator.randrange(1, 500) / 100, generator.randrange(500, 5000) / 100))
    return rows


async def test_a_seeded_log_in_any_time_zone(priced: Gateway) -> None:
    rows = seeded(random.Random(8), 600)
    async with await Store.connect(priced.dsn) as store:
        await store.make_partitions(FIRST, FIRST + timedelta(days=SEEDED_DAYS))
        for decision, cost, baseline in rows:
            await store.copy([decision, make_outcome(decision, cost=cost, baseline_cost=baseline)])

    async def added_up() -> bool:
        found = await api(priced, since="2026-01-29", until="2026-03-20", tz="UTC")
        return bool(found["total"]["requests"] == len(rows))

    await until("the sums of the seeded log", added_up, 60.0)
    for zone in ZONES:
        for first, last in (("2026-01-30", "2026-03-11"), ("2026-02-01", "2026-03-01"), ("2026-03-07", "2026-03-09")):
            since, end = (datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)) for day in (first, last))
            inside = [row for row in rows if since <= row[0].created_at < end]
            routed = [row for row in inside if row[0].tier is not None and row[0].applied]
            known = (
                sum(cost for _, cost, _ in inside), sum(cost for _, cost, _ in routed),
                sum(baseline for _, _, baseline in routed),
            )  # fmt: skip
            assert await plain(priced, since, end) == [*map(cents, known)]
            period = {"since": first, "until": last, "tz": zone}
            for by in BY:
                assert_agree(await api(priced, by=by, **period), *known)
            assert_agree(await asyncio.to_thread(report, priced, by="day", **period), *known)
            days = {group["name"]: group["sums"] for group in (await api(priced, by="day", **period))["groups"]}
            for day, sums in days.items():
                mine = [row for row in inside if row[0].created_at.astimezone(ZoneInfo(zone)).date().isoformat() == day]
                assert cents(sums["spent"]) == cents(sum(cost for _, cost, _ in mine))
