"""The list of decisions with its filters, and the whole why of one."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg
import pytest
from playwright.async_api import Page, expect

from browser.reading import number, query, table
from browser.seeded import ALICE, MARKUP
from browser.window import Opening, Window

pytestmark = pytest.mark.asyncio(loop_scope="session")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

LIST = "Decisions, newest first"
PAGE = 50
FILTERS = {
    "tier": ("Tier", "complex", "d.tier = 'complex'"),
    "model": ("Model", "swift", "coalesce(o.served_group, d.resolved_model) = 'swift' AND d.applied"),
    "reason": ("Reason", "session_kept", "d.reason = 'session_kept'"),
    "status": ("Status", "failure", "o.status = 'failure'"),
    "method": ("Method", "pattern", "d.method = 'pattern'"),
    "strategy": ("Strategy", "static", "d.strategy = 'static'"),
    "fell_back": ("Fell back", "true", "o.status = 'success' AND d.applied AND o.served_group <> d.resolved_model"),
    "applied": ("Rewritten", "false", "NOT d.applied"),
}
NEWEST = """
SELECT decision_id::text FROM routing_logs d LEFT JOIN routing_outcomes o USING (decision_id)
WHERE {where} ORDER BY decision_id DESC LIMIT $1
"""


async def listed(page: Page) -> list[str]:
    """Ids of the rows, in their order."""
    await expect(page.get_by_text("Loading")).to_have_count(0)
    links = await page.locator("a.row-link").evaluate_all("all => all.map(each => each.getAttribute('href'))")
    return [link.rpartition("/")[2].partition("?")[0] for link in links]


async def newest(log: Connection, where: str, most: int = PAGE) -> list[str]:
    return [row[0] for row in await log.fetch(NEWEST.format(where=where), most)]


@pytest.mark.parametrize("name", list(FILTERS))
async def test_a_filter_is_in_the_address_and_in_the_list(window: Window, log: Connection, name: str) -> None:
    label, value, where = FILTERS[name]
    page = await window.goto("decisions")
    await page.get_by_text("More filters").click()
    await page.get_by_label(label, exact=True).select_option(value)
    await expect(page.get_by_role("button", name="Clear the filter")).to_be_visible()
    assert query(page) == {name: value}
    assert await listed(page) == await newest(log, where)
    await page.get_by_role("button", name="Clear the filter").click()
    await expect(page.get_by_role("button", name="Clear the filter")).to_have_count(0)
    assert query(page) == {}
    assert await listed(page) == await newest(log, "true")


@pytest.mark.parametrize(
    ("name", "label", "value", "where"),
    [
        ("key", "Key", ALICE.key_alias, f"d.key_hash = '{ALICE.key_hash}'"),
        ("conversation", "Conversation", f"{7:032x}", f"d.conversation_id = '{7:032x}'"),
        ("call_id", "Call id", "call-of-the-whole", "d.call_id = 'call-of-the-whole'"),
    ],
)
async def test_a_typed_filter(window: Window, log: Connection, name: str, label: str, value: str, where: str) -> None:
    page = await window.goto("decisions")
    await page.get_by_text("More filters").click()
    field = page.get_by_label(label, exact=True)
    await field.fill(value)
    await field.press("Enter")
    await expect(page.get_by_role("button", name="Clear the filter")).to_be_visible()
    assert query(page) == {name: value}
    found = await listed(page)
    assert found == await newest(log, where)
    assert found


async def test_filters_narrow_together_and_the_back_button_restores_them(window: Window, log: Connection) -> None:
    page = await window.goto("decisions")
    await page.get_by_label("Tier", exact=True).select_option("simple")
    await expect(page.get_by_role("button", name="Clear the filter")).to_be_visible()
    await page.get_by_label("Status", exact=True).select_option("failure")
    await expect(page.get_by_role("button", name="Clear 2 filters")).to_be_visible()
    both = await newest(log, "d.tier = 'simple' AND o.status = 'failure'")
    assert await listed(page) == both
    await page.locator("a.row-link").first.click()
    await expect(page.get_by_role("heading", name="Decision", level=1)).to_be_visible()
    await page.go_back()
    await expect(page.get_by_label("Status", exact=True)).to_have_value("failure")
    assert await listed(page) == both
    await page.go_back()
    await expect(page.get_by_label("Status", exact=True)).to_have_value("")
    assert await listed(page) == await newest(log, "d.tier = 'simple'")


async def test_older_decisions_follow(window: Window, log: Connection) -> None:
    page = await window.goto("decisions?tier=medium")
    wanted = await newest(log, "d.tier = 'medium'", 3 * PAGE)
    for pages in (2, 3):
        await page.get_by_role("button", name="Show older decisions").click()
        await expect(page.locator("a.row-link")).to_have_count(pages * PAGE)
    assert await listed(page) == wanted


async def test_a_decision_is_found_by_what_was_pasted(window: Window) -> None:
    whole = window.site.seeded.whole
    for pasted in (str(whole), f"x-bsgateway-decision-id: {str(whole).upper()}"):
        page = await window.goto("decisions")
        await page.get_by_role("searchbox", name="Find by id").fill(pasted)
        await page.get_by_role("button", name="Find", exact=True).click()
        await expect(page.get_by_role("heading", name="What happened")).to_be_visible()
        assert page.url == f"{window.site.url}/decisions/{whole}"
    await window.goto("decisions")
    await page.get_by_role("searchbox", name="Find by id").fill("call-of-the-whole")
    await page.get_by_role("searchbox", name="Find by id").press("Enter")
    await expect(page.locator("a.row-link")).to_have_count(1)


async def test_one_opens_to_its_whole_why(window: Window, log: Connection) -> None:
    whole = window.site.seeded.whole
    page = await window.goto(f"decisions/{whole}")
    row = await log.fetchrow(
        "SELECT * FROM routing_logs JOIN routing_outcomes USING (decision_id) WHERE decision_id = $1", whole
    )
    assert row is not None
    steps = await table(page, "Signals and the points that they add")
    shown = [number(cells["Points"].replace("+", "")) for name, cells in steps.items() if not name.startswith("Score")]
    assert sum(shown) == pytest.approx(row["raw_score"] + row["bias"], abs=0.06 * len(shown))
    (total,) = (cells["Points"] for name, cells in steps.items() if name.startswith("Score"))
    assert number(total) == row["complexity_score"] == round(row["raw_score"])
    candidates = page.locator(".candidates > li")
    await expect(candidates).to_contain_text(["mediummediumpassed over: needs", "passed over: not_allowed", "chosen"])
    await expect(candidates.first.locator(".note")).not_to_be_empty()
    outcome = page.locator("section", has=page.get_by_role("heading", name="Outcome"))
    await expect(outcome).to_contain_text(f"{row['prompt_tokens']:,} tokens")
    await expect(page.get_by_role("region", name="Ask", exact=True)).to_contain_text(
        "Design a distributed rate limiter"
    )
    await expect(page.get_by_role("region", name="System prompt", exact=True)).to_have_text("You help.")
    request = page.locator("section", has=page.get_by_role("heading", name="Request", exact=True))
    await expect(request.get_by_title(row["call_type"])).to_contain_text("Chat completions")
    await expect(request).to_contain_text(row["reason"])
    await expect(request).not_to_contain_text("Confidence")  # the static score has none that means anything
    await expect(page.locator(".turns > li")).to_have_count(4)
    await expect(page.locator('.turns > li[aria-current="true"]')).to_contain_text("this request")
    await expect(page.get_by_role("heading", name="Dual run")).to_be_visible()
    await expect(page.locator(".said")).to_contain_text("A good plan, but long.")
    await page.locator(".turns a").first.click()
    await expect(page.locator('.turns > li[aria-current="true"]')).to_contain_text("this request")
    assert not page.url.endswith(str(whole))


async def test_words_that_are_not_there(window: Window) -> None:
    page = await window.goto(f"decisions/{window.site.seeded.wordless}")
    text = page.locator("section", has=page.get_by_role("heading", name="Text", exact=True))
    await expect(text).to_contain_text("None is kept of this request")

    async def without_texts(route) -> None:  # type: ignore[no-untyped-def]
        answer = await route.fetch()
        await route.fulfill(response=answer, json={**await answer.json(), "text": "none"})

    await page.route("**/api/me", without_texts)
    await page.reload()
    await expect(text).to_contain_text("Not kept: routing.collector.text is none.")


async def test_feedback_is_stored_and_shown(opened: Opening, log: Connection) -> None:
    window = await opened("bob")
    foreign = window.site.seeded.foreign
    page = await window.goto(f"decisions/{foreign}")
    send = page.get_by_role("button", name="Send feedback")
    await expect(send).to_be_disabled()
    await page.get_by_role("radio", name="So-so").check()
    await page.get_by_label("Tier that would have been right").select_option("medium")
    await page.get_by_label("Comment").fill("Not wrong.")
    await send.click()
    await expect(page.get_by_text("Stored. The comment was kept as it is.").first).to_be_visible()
    await expect(page.locator(".said")).to_contain_text("rated 50.0%, right tier: mediumNot wrong.")
    row = await log.fetchrow("SELECT * FROM routing_feedback WHERE decision_id = $1", foreign)
    assert row is not None
    assert (row["rating"], row["label"], row["comment"]) == (0.5, "medium", "Not wrong.")
    assert row["source"].startswith("dashboard:")


async def test_markup_is_shown_as_it_is(window: Window) -> None:
    page = await window.goto(f"decisions/{window.site.seeded.markup}")
    await expect(page.get_by_role("region", name="Ask", exact=True)).to_have_text(MARKUP)
    for place in (".story", ".candidates", ".facts >> nth=1", ".said", ".turns"):
        await expect(page.locator(place)).to_contain_text(MARKUP)
    await page.get_by_text("Show as JSON").click()
    await expect(page.locator("pre.raw")).to_contain_text("onerror")
    for path in ("decisions?since=24h", "savings?by=model", "savings?by=key", "savings?by=team", "traffic"):
        await window.goto(path)
        await expect(page.get_by_text(MARKUP).first).to_be_attached()
    for found in ("img[src=x]", "body script"):
        await expect(page.locator(found)).to_have_count(0)
    assert await page.title() == "Traffic · BSGateway"
