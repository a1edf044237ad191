"""The page of learning: labels, versions of the model, and putting another one in force."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg
import pytest
from playwright.async_api import Locator, Page, Route, expect

from browser.reading import number, table
from browser.window import Opening, Window
from bsgateway.core import core

pytestmark = pytest.mark.asyncio(loop_scope="session")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def version(page: Page, of_id: str) -> Locator:
    return page.locator(".versions > li", has=page.get_by_role("heading", name=of_id))


def in_force(window: Window) -> str:
    """Of the file that the gateway scores with."""
    assert window.site.gateway.state is not None
    return core.LearnedModel((window.site.gateway.state / "model.safetensors").read_bytes()).id


async def test_labels_are_counted(window: Window, log: Connection) -> None:
    page = await window.goto("learning")
    shown = await table(page, "Labels by source")
    assert number(shown["dual run"]["Labels"]) == await log.fetchval("SELECT count(*) FROM routing_comparisons")
    newest = (
        "SELECT DISTINCT ON (decision_id) label FROM routing_feedback ORDER BY decision_id, created_at DESC, source"
    )
    said = await log.fetchval(f"SELECT count(*) FROM ({newest}) f WHERE label IN ('simple', 'medium', 'complex')")
    assert 0 < number(shown["tier"]["Labels"]) <= said
    assert shown["tier"]["Weight"] == "1"


async def test_versions_and_their_scores(window: Window) -> None:
    page = await window.goto("learning")
    models = window.site.models
    await expect(version(page, models.in_force)).to_contain_text("in force")
    shown = (await table(page, f"Held-out scores of model {models.better}"))["APGR"]
    assert float(shown["Value"]) == 0.68
    assert [float(end) for end in shown["95 % interval"].split(" to ")] == [0.64, 0.72]
    await expect(version(page, models.better)).to_contain_text("It was certain to be better")
    await expect(version(page, models.doubtful)).to_contain_text("It was not certain to be better")
    await expect(version(page, models.better)).to_contain_text("280 dual run")
    await expect(page.get_by_role("img", name="Quality against the share of dear calls")).to_be_visible()


async def test_a_version_is_put_in_force_and_rolled_back(window: Window) -> None:
    page = await window.goto("learning")
    models = window.site.models
    assert in_force(window) == models.in_force
    opener = version(page, models.better).get_by_role("button", name="Put in force")
    dialog = page.get_by_role("dialog", name=f"Put in force {models.better}?")
    await opener.focus()
    await opener.press("Enter")
    await expect(dialog).to_contain_text(f"It takes the place of {models.in_force}")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(opener).to_be_focused()
    await opener.click()
    await dialog.get_by_role("button", name="Put in force").click()
    await expect(version(page, models.better).locator(".badge")).to_contain_text("in force")
    await expect(dialog).to_have_count(0)
    assert in_force(window) == models.better
    await version(page, models.in_force).get_by_role("button", name="Roll back to it").click()
    await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(version(page, models.in_force).locator(".badge.strong")).to_contain_text("in force")
    assert in_force(window) == models.in_force


async def test_a_doubtful_version_takes_force(window: Window) -> None:
    page = await window.goto("learning")
    models = window.site.models
    await version(page, models.doubtful).get_by_role("button", name="Put in force").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("It was not certain to be better than what ran when it was trained.")
    confirm = dialog.get_by_role("button", name="Put in force")
    await expect(confirm).to_be_disabled()
    # Even where the page would let it pass, the gateway refuses, and the page says why.
    window.watch.statuses.add(409)

    async def unforced(route, request) -> None:  # type: ignore[no-untyped-def]
        await route.continue_(post_data=request.post_data.replace("true", "false"))

    await page.route("**/api/learning/promote", unforced)
    await dialog.get_by_label("Put it in force all the same").check()
    await confirm.click()
    await expect(dialog.get_by_role("alert")).to_contain_text("was not certain to be better than the score in force")
    assert in_force(window) == models.in_force
    await page.unroute("**/api/learning/promote")
    await confirm.click()
    await expect(version(page, models.doubtful).locator(".badge.strong")).to_contain_text("in force")
    assert in_force(window) == models.doubtful
    await version(page, models.in_force).get_by_role("button", name="Roll back to it").click()
    await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(version(page, models.in_force).locator(".badge.strong")).to_contain_text("in force")


async def promotable(route: Route) -> None:
    answer = await route.fetch()
    await route.fulfill(response=answer, json={**await answer.json(), "can_promote": True})


async def test_who_only_looks_is_refused(opened: Opening) -> None:
    window = await opened("viewer")
    window.watch.statuses.add(403)
    page = await window.goto("learning")
    better = version(page, window.site.models.better)
    await expect(better).to_be_visible()
    await expect(page.get_by_role("button", name="Put in force")).to_have_count(0)
    # A page that was open when the key lost its rights offers it still: the gateway refuses, and the page says why.
    await page.route("**/api/learning", promotable)
    await page.reload()
    await better.get_by_role("button", name="Put in force").click()
    await page.get_by_role("dialog").get_by_role("button", name="Put in force").click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("only a proxy admin may do this")
    assert in_force(window) == window.site.models.in_force
