"""The page of savings: its numbers are those of plain SQL, to the cent."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest
from playwright.async_api import Page, expect

from browser.reading import as_table, asked, big, number, period, query, stat, table
from browser.seeded import key_hash
from browser.window import Opening, Window

pytestmark = pytest.mark.asyncio(loop_scope="session")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CENT = 0.00501
ROWS = """
SELECT
    {name} AS name,
    count(*) AS requests,
    coalesce(sum(o.cost), 0) AS spent,
    coalesce(sum(o.baseline_cost) FILTER (WHERE is_priced), 0) AS baseline_cost,
    coalesce(sum(o.baseline_cost - o.cost) FILTER (WHERE is_priced), 0) AS saved
FROM routing_logs d
LEFT JOIN routing_outcomes o USING (decision_id),
LATERAL (SELECT d.tier IS NOT NULL AND d.applied AND o.cost IS NOT NULL AND o.baseline_cost IS NOT NULL) p (is_priced)
WHERE d.decision_id >= bsg_uuid7_floor($1) AND d.decision_id < bsg_uuid7_floor($2)
    AND ($3::text IS NULL OR d.key_hash = $3)
GROUP BY 1
"""
NAMES = {
    "tier": "coalesce(d.tier, 'not routed by score')",
    "model": "coalesce(o.served_group, CASE WHEN d.applied THEN d.resolved_model ELSE d.original_model END)",
    "key": "coalesce(d.key_alias, left(d.key_hash, 12) || '…', 'no key')",
    "team": "coalesce(d.team_id, 'no team')",
    "day": "to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}


async def sql(log: Connection, answer: dict[str, Any], name: str = "'all'", key: str | None = None) -> dict[str, Any]:
    """What is to be shown, by name."""
    since, until = period(answer)
    return {row["name"]: row for row in await log.fetch(ROWS.format(name=name), since, until, key)}


async def assert_total(page: Page, row: Any) -> None:
    assert await big(page, "Saved") == pytest.approx(float(row["saved"]), abs=CENT)
    assert await big(page, "Top tier alone") == pytest.approx(float(row["baseline_cost"]), abs=CENT)
    assert await big(page, "Spent") == pytest.approx(float(row["spent"]), abs=CENT)
    assert await big(page, "Requests") == row["requests"]


async def test_the_big_numbers_are_those_of_sql(window: Window, log: Connection) -> None:
    page = window.page
    answer = await asked(page, "savings", lambda: window.goto("savings"))
    row = (await sql(log, answer))["all"]
    assert row["requests"] > 2_900
    assert row["saved"] > 50
    await assert_total(page, row)
    await expect(page.get_by_text("Saved: what the same tokens would have cost")).to_be_visible()


@pytest.mark.parametrize("by", list(NAMES))
async def test_groups_are_those_of_sql(window: Window, log: Connection, by: str) -> None:
    page = window.page
    await window.goto("savings?by=day" if by == "tier" else "savings")
    await expect(stat(page, "Saved")).to_be_visible()
    answer = await asked(page, "savings", lambda: page.get_by_role("radio", name=by.title(), exact=True).check())
    assert query(page).get("by", "tier") == by
    shown = await table(page, f"Sums by {by}")
    wanted = await sql(log, answer, NAMES[by])
    assert shown.keys() - {"All"} == wanted.keys()
    for name, row in wanted.items():
        cells = shown[name]
        assert number(cells["requests"]) == row["requests"]
        for column, field in (("spent", "spent"), ("top tier alone", "baseline_cost"), ("saved", "saved")):
            assert number(cells[column]) == pytest.approx(float(row[field]), abs=CENT), (name, column)
    assert number(shown["All"]["requests"]) == sum(row["requests"] for row in wanted.values())


async def test_the_period_is_in_the_address_and_in_the_numbers(window: Window, log: Connection) -> None:
    page = window.page
    await window.goto("savings")
    before = 0.0
    for label, since in (("24 hours", "24h"), ("7 days", "7d"), ("90 days", "90d")):
        answer = await asked(page, "savings", lambda: page.get_by_role("radio", name=label, exact=True).check())  # noqa: B023
        assert query(page)["since"] == since
        await assert_total(page, (await sql(log, answer))["all"])
        requests = await big(page, "Requests")
        assert requests > before
        before = requests
    await asked(page, "savings", lambda: page.get_by_role("radio", name="Custom").check())
    await expect(page.get_by_label("From", exact=True)).to_be_visible()
    first = datetime.fromtimestamp(window.site.seeded.until.timestamp() - 20 * 86_400).date().isoformat()
    answer = await asked(page, "savings", lambda: page.get_by_label("From", exact=True).fill(first))
    assert query(page)["since"] == first
    assert answer["period"]["since"] == f"{first}T00:00:00Z"
    await assert_total(page, (await sql(log, answer))["all"])


async def test_the_time_zone_is_in_the_address_and_in_the_days(window: Window, log: Connection) -> None:
    page = window.page
    await window.goto("savings?by=day")
    utc = await table(page, "Sums by day")
    zone = page.get_by_label("Time zone")
    answer = await asked(page, "savings", lambda: zone.select_option("Pacific/Chatham"))
    assert query(page)["tz"] == "Pacific/Chatham"
    shown = await table(page, "Sums by day")
    wanted = await sql(log, answer, "to_char(d.created_at AT TIME ZONE 'Pacific/Chatham', 'YYYY-MM-DD')")
    assert shown.keys() - {"All"} == wanted.keys()
    assert {name: number(cells["requests"]) for name, cells in shown.items() if name != "All"} == {
        name: row["requests"] for name, row in wanted.items()
    }
    assert shown != utc
    await page.go_back()
    await expect(zone).to_have_value("UTC")


async def test_a_chart_as_a_table_has_the_numbers_of_its_bars(window: Window, log: Connection) -> None:
    page = window.page
    answer = await asked(page, "savings", lambda: window.goto("savings?show=spent"))
    chart = page.get_by_role("img", name="Spent, over time")
    await expect(chart).to_be_visible()
    # Those of a day stand upon each other; each is half a pixel less high, for the gap.
    heights = await chart.locator("g:has(> rect)").first.evaluate(
        """each => { const sums = new Map(); for (const bar of each.querySelectorAll('rect')) {
        const x = Math.round(bar.getAttribute('x'));
        sums.set(x, (sums.get(x) ?? 0) + +bar.getAttribute('height') + 0.5) }
        return [...sums].sort(([a], [b]) => a - b).map(([, height]) => height) }"""
    )
    rows = list((await as_table(page, "Spent, over time")).values())
    days = [sum(map(number, row.values())) for row in rows]
    wanted = await sql(log, answer, NAMES["day"])
    assert days == pytest.approx([float(wanted[day]["spent"]) for day in sorted(wanted)], abs=1e-4)
    assert len(heights) == len(days)
    scale = max(heights) / max(days)
    assert heights == pytest.approx([day * scale for day in days], abs=3)
    await page.get_by_role("button", name="Show as chart").click()
    await expect(chart).to_be_visible()


async def test_what_is_shown_can_be_kept(window: Window, tmp_path: Path) -> None:
    page = window.page
    await window.goto("savings?by=model")
    shown = await table(page, "Sums by model")
    for label, read in (("CSV", _read_csv), ("JSON", lambda text: json.loads(text))):
        async with page.expect_download() as info:
            await page.get_by_role("button", name=label, exact=True).click()
        download = await info.value
        path = tmp_path / download.suggested_filename
        await download.save_as(path)
        assert path.suffix == f".{label.lower()}"
        kept = {row["model"]: row for row in read(path.read_text())}
        assert kept.keys() == shown.keys() - {"All"}
        for name, row in kept.items():
            assert float(row["requests"]) == number(shown[name]["requests"])
            assert float(row["saved"]) == pytest.approx(number(shown[name]["saved"]), abs=CENT)


def _read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


async def test_an_ordinary_key_sees_its_own_sums(opened: Opening, log: Connection) -> None:
    for name in ("alice", "bob"):
        window = await opened(name)
        page = window.page
        answer = await asked(page, "savings", lambda: window.goto("savings?by=key"))  # noqa: B023
        await assert_total(page, (await sql(log, answer, key=key_hash(name)))["all"])
        assert len(await table(page, "Sums by key")) == 2  # its own row, and the sum
        await expect(page.get_by_text("Numbers are about your own key's requests only.")).to_be_visible()
