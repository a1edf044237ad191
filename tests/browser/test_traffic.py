"""The page of traffic: its counts, scores and times are those of plain SQL."""

from __future__ import annotations

from typing import Any, TypeAlias

import asyncpg
import pytest
from playwright.async_api import expect

from browser.reading import as_table, asked, big, number, period, query, stat, table
from browser.site import BORDERS
from browser.window import Opening, Window

pytestmark = pytest.mark.asyncio(loop_scope="session")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ROWS = """
SELECT {what} FROM routing_logs d LEFT JOIN routing_outcomes o USING (decision_id)
WHERE d.decision_id >= bsg_uuid7_floor($1) AND d.decision_id < bsg_uuid7_floor($2)
"""
COUNTS = {
    "reason": "d.reason",
    "method": "d.method",
    "strategy": "coalesce(d.strategy, 'not scored')",
    "model": "coalesce(o.served_group, CASE WHEN d.applied THEN d.resolved_model ELSE d.original_model END)",
}
BIN = 1.06
"""Percentiles come from bins, 40 a decade."""


async def sql(log: Connection, answer: dict[str, Any], what: str) -> list[asyncpg.Record]:
    return await log.fetch(ROWS.format(what=what), *period(answer))


async def counts(log: Connection, answer: dict[str, Any], name: str) -> dict[str, int]:
    query = ROWS.format(what=f"{name} AS name, count(*) AS requests") + " GROUP BY 1"
    return {row["name"]: row["requests"] for row in await log.fetch(query, *period(answer))}


async def test_counts_are_those_of_sql(window: Window, log: Connection) -> None:
    page = window.page
    answer = await asked(page, "traffic", lambda: window.goto("traffic"))
    (row,) = await sql(
        log,
        answer,
        """count(*) AS requests, count(*) FILTER (WHERE o.status = 'failure') AS failed,
        count(*) FILTER (WHERE o.status = 'success' AND d.applied AND o.served_group <> d.resolved_model) AS fell_back,
        percentile_disc(0.5) WITHIN GROUP (ORDER BY d.decision_us) FILTER (WHERE d.tier IS NOT NULL) AS median""",
    )
    for label, name in (("Requests", "requests"), ("Failed", "failed"), ("Fell back", "fell_back")):
        assert await big(page, label) == row[name] > 0
    assert await big(page, "Decision time") == pytest.approx(row["median"], rel=BIN - 1)
    for kind, column in COUNTS.items():
        shown = await table(page, f"Requests by {kind}")
        wanted = await counts(log, answer, column)
        found = {name: number(cells["Requests"]) for name, cells in shown.items()}
        assert sorted(found.values()) == sorted(wanted.values()), kind
        for name, requests in wanted.items():
            assert any(each.startswith(name) and found[each] == requests for each in found), (kind, name)


async def test_tiers_are_those_of_sql(window: Window, log: Connection) -> None:
    page = window.page
    answer = await asked(page, "traffic", lambda: window.goto("traffic?since=7d&tz=America/New_York"))
    rows = (await as_table(page, "Requests by tier, over time")).values()
    wanted = await counts(log, answer, "coalesce(d.tier, 'not routed by score')")
    assert {name: sum(number(row[name]) for row in rows) for name in wanted} == wanted
    days = await counts(log, answer, "to_char(d.created_at AT TIME ZONE 'America/New_York', 'YYYY-MM-DD')")
    assert [sum(map(number, row.values())) for row in rows] == [days[day] for day in sorted(days)]


async def test_scores_lie_between_the_borders(window: Window, log: Connection) -> None:
    page = window.page
    answer = await asked(page, "traffic", lambda: window.goto("traffic"))
    wanted = await counts(log, answer, "d.complexity_score")
    del wanted[None]  # type: ignore[arg-type] # not routed by score
    name = await page.get_by_role("img", name="Requests by score").get_attribute("aria-label")
    assert name is not None
    first, second = BORDERS
    for tier, least, most in (("simple", 0, first - 1), ("medium", first, second - 1), ("complex", second, 100)):
        inside = sum(requests for score, requests in wanted.items() if least <= int(score) <= most)
        assert f"{tier}, scores {least} to {most}: {inside:,} requests" in name
    chart = page.locator("svg.chart", has=page.locator("text", has_text="simple 0–30"))
    lines = await chart.locator("g[stroke-dasharray] line").evaluate_all(
        "all => all.map(each => each.getAttribute('x1'))"
    )
    bars = await chart.locator("rect").evaluate_all("all => all.map(each => +each.getAttribute('width') + 1)")
    low, high = sorted(map(float, lines))
    assert high - low == pytest.approx((second - first) * bars[0], abs=2)
    shown = {score: number(cells["requests"]) for score, cells in (await as_table(page, "Requests by score")).items()}
    assert shown == {str(score): wanted.get(score, 0) for score in range(101)}  # type: ignore[call-overload]


async def test_latencies_are_those_of_sql(window: Window, log: Connection) -> None:
    page = window.page
    answer = await asked(page, "traffic", lambda: window.goto("traffic"))
    shown = await table(page, "Provider latency by model")
    group = COUNTS["model"]
    for name in ("small", "swift", "medium", "large"):
        (row,) = await sql(
            log,
            answer,
            f"""count(o.latency_ms) FILTER (WHERE {group} = '{name}') AS answers,
            percentile_disc(0.5) WITHIN GROUP (ORDER BY o.latency_ms) FILTER (WHERE {group} = '{name}') AS p50,
            percentile_disc(0.99) WITHIN GROUP (ORDER BY o.latency_ms) FILTER (WHERE {group} = '{name}') AS p99""",
        )
        assert number(shown[name]["answers"]) == row["answers"] > 20
        for column in ("p50", "p99"):
            unit = 1_000 if shown[name][column].endswith(" s") else 1
            assert number(shown[name][column]) * unit == pytest.approx(row[column], rel=BIN - 1)
        assert shown[name]["first token p50"] < shown[name]["p50"] or "ms" in shown[name]["first token p50"]


async def test_failures_and_the_log(window: Window, log: Connection) -> None:
    page = window.page
    answer = await asked(page, "traffic", lambda: window.goto("traffic"))
    rows = (await as_table(page, "Failures by model, over time")).values()
    wanted = await counts(log, answer, f"CASE WHEN o.status = 'failure' THEN {COUNTS['model']} END")
    del wanted[None]  # type: ignore[arg-type]
    assert {name: sum(number(row[name]) for row in rows) for name in wanted} == wanted
    await expect(page.get_by_role("heading", name="Log", exact=True)).to_be_visible()
    await expect(stat(page, "Lost")).to_have_text("0")
    await page.get_by_role("link", name="The decisions that failed").click()
    await expect(page.get_by_role("heading", name="Decisions", level=1)).to_be_visible()
    assert query(page)["status"] == "failure"


async def test_the_period_goes_along_to_other_pages(window: Window) -> None:
    page = await window.goto("traffic?since=7d&tz=Asia/Kathmandu")
    requests = await big(page, "Requests")
    await page.get_by_role("navigation").get_by_role("link", name="Savings").click()
    await expect(page.get_by_role("heading", name="Savings", level=1)).to_be_visible()
    assert query(page) == {"since": "7d", "tz": "Asia/Kathmandu"}
    await expect(stat(page, "Requests")).to_have_text(f"{requests:,.0f}")


async def test_a_key_sees_its_own_traffic(opened: Opening) -> None:
    window = await opened("alice")
    page = await window.goto("traffic")
    assert 200 < await big(page, "Requests") < 1_000
    await expect(page.get_by_role("heading", name="Log", exact=True)).to_have_count(0)
