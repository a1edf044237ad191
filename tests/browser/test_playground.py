"""The playground: what is typed is scored at once, and other borders are tried on the log."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import yaml
from playwright.async_api import Locator, Page, expect

from browser.reading import asked, big, number, table
from browser.site import BORDERS
from browser.window import Window
from bsgateway.web.views import WhatIf
from bsgateway.web.what_if import applied
from e2e.clients import PROMPTS

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT = "A prompt, or the JSON body of a request"
SUMS = "Shares and costs of the tiers, and the difference to now"


def card(page: Page, title: str) -> Locator:
    return page.locator("section.card", has=page.get_by_role("heading", name=title))


@pytest.mark.parametrize("tier", list(PROMPTS))
async def test_what_is_typed_is_scored_without_a_button(window: Window, tier: str) -> None:
    page = await window.goto("playground")
    async with page.expect_response("**/api/explain") as info:
        await page.get_by_label(TEXT).press_sequentially(PROMPTS[tier])
    assert (await info.value).ok
    await expect(page.locator('.strategies[aria-busy="true"]')).to_have_count(0)
    for strategy, title in (("static", "static: weighted signals"), ("ml", "ml: a learned model")):
        shown = card(page, title)
        steps = await table(shown, f"What makes the score of {strategy}")
        (total,) = (number(cells["Points"]) for name, cells in steps.items() if name.startswith("Score"))
        points = [number(cells["Points"].lstrip("+")) for name, cells in steps.items() if not name.startswith("Score")]
        assert sum(points) == pytest.approx(total, abs=0.5 + 0.06 * len(points))
        await expect(shown.get_by_role("img", name=f"Score {total:.0f} of 100")).to_be_visible()
        if strategy == "static":
            await expect(shown.locator(".facts")).to_contain_text(f"Tier{tier}")
            await expect(shown.get_by_text("in force")).to_be_visible()


async def test_a_body_is_found_out(window: Window) -> None:
    page = await window.goto("playground")
    body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of Peru?"}]}
    await page.get_by_label(TEXT).fill(json.dumps(body)[:-1])
    await expect(page.get_by_text("begins like a body, but is no JSON")).to_be_visible()
    await page.get_by_label(TEXT).fill(json.dumps(body))
    await expect(page.get_by_text("Read as a body for Chat completions.")).to_be_visible()
    await expect(card(page, "static").locator(".facts")).to_contain_text("Tiersimple")
    await page.get_by_label(TEXT).fill(json.dumps({**body, "system": "You help.", "max_tokens": 9}))
    await expect(page.get_by_text("Read as a body for Anthropic messages.")).to_be_visible()
    await page.get_by_label("Model asked for").fill("large")
    await expect(card(page, "static").locator(".facts")).to_contain_text("none: the name settles it")
    await page.get_by_label(TEXT).fill("")
    await expect(card(page, "static")).to_have_count(0)


async def loaded(window: Window) -> WhatIf:
    found = await asked(window.page, "what-if", lambda: window.goto("playground?days=30"))
    return msgspec.convert(found, WhatIf)


async def assert_shows(page: Page, what_if: WhatIf, borders: tuple[int, ...], bias: int = 0) -> None:
    """The page shows what the same setting gives in Python."""
    now, then = applied(what_if, what_if.borders, what_if.bias), applied(what_if, borders, bias)
    assert now.cost is not None
    assert then.cost is not None
    handles = page.get_by_role("slider").filter(has=page.locator(".border-grip"))
    for handle, border in zip(await handles.all(), borders, strict=True):
        await expect(handle).to_have_attribute("aria-valuenow", str(border))
    shown = await table(page, SUMS)
    for tier in then.tiers:
        cells = shown[tier.tier]
        assert number(cells["Requests"]) == tier.requests
        assert number(cells["Share"]) == pytest.approx(100 * tier.share, abs=0.051)
        assert tier.cost is not None
        assert number(cells["Cost"]) == pytest.approx(tier.cost, abs=0.00501)
    assert await big(page, "In another tier") == then.moved
    assert await big(page, "Cost now") == pytest.approx(now.cost + what_if.fixed_cost, abs=0.00501)
    assert await big(page, "Cost then") == pytest.approx(then.cost + what_if.fixed_cost, abs=0.00501)


async def lines(page: Page) -> dict[str, Any]:
    """What is to be written into gateway.yaml."""
    found: dict[str, Any] = yaml.safe_load(
        await page.get_by_role("region", name="Lines for gateway.yaml").locator("pre").inner_text()
    )
    return found


async def test_a_border_moves_by_the_keyboard(window: Window) -> None:
    page = window.page
    what_if = await loaded(window)
    assert what_if.borders == BORDERS
    assert sum(what_if.requests) > 1_500
    await assert_shows(page, what_if, BORDERS)
    await expect(page.get_by_role("region", name="Lines for gateway.yaml")).to_have_count(0)
    handle = page.get_by_role("slider", name="Border between simple and medium")
    for key, border in (("ArrowRight", 32), ("PageUp", 37), ("ArrowLeft", 36), ("Home", 1), ("End", 60)):
        await handle.press(key)
        await assert_shows(page, what_if, (border, BORDERS[1]))
    await expect(handle).to_be_focused()
    await expect(page.get_by_role("region", name="Lines for gateway.yaml")).to_contain_text("[0, 59]")
    tiers = (await lines(page))["routing"]["tiers"]
    assert [tier["score_range"] for tier in tiers.values()] == [[0, 59], [60, 60], [61, 100]]
    await page.get_by_role("button", name="Back to how it is").click()
    await assert_shows(page, what_if, BORDERS)


async def test_a_border_moves_by_the_mouse(window: Window) -> None:
    page = window.page
    what_if = await loaded(window)
    handle = page.get_by_role("slider", name="Border between medium and complex")
    track = page.locator(".border-track")
    await track.scroll_into_view_if_needed()
    place, box = await track.bounding_box(), await handle.bounding_box()
    assert place is not None
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await page.mouse.down()
    for score in (65, 72, 70):
        await page.mouse.move(place["x"] + place["width"] * score / 101, place["y"] + 20)
    await page.mouse.up()
    await page.mouse.move(place["x"], place["y"] + 20)  # it was let go
    await assert_shows(page, what_if, (BORDERS[0], 70))


async def test_the_bias_moves_all(window: Window) -> None:
    page = window.page
    what_if = await loaded(window)
    await page.get_by_label("Bias").fill("-25")
    await assert_shows(page, what_if, BORDERS, -25)
    await expect(page.get_by_role("region", name="Lines for gateway.yaml")).to_contain_text("bias: -25")
    assert (await lines(page))["routing"]["bias"] == -25
