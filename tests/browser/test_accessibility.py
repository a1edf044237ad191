"""Everybody can use the pages: axe-core finds nothing, the keyboard reaches everything, and the report opens alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

import bsgateway
from browser.chromium import watched
from browser.site import Site
from browser.window import Opening, Window
from e2e.gateways import clean_environment

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = Path(bsgateway.__file__).parent / "web" / "ui" / "node_modules" / "axe-core" / "axe.min.js"
ALL = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}
"""All that another theme changes."""
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}, "has_touch": True},
}


async def assert_axe_finds_nothing(page: Page, what: str, rules: dict[str, Any] = ALL) -> None:
    """Its script comes in as the debugger's: the page's policy, which holds meanwhile, would let none in."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(await asyncio.to_thread(AXE.read_text))
    found = await page.evaluate("rules => axe.run(document, rules)", rules)
    assert found["passes"]
    violations = [
        (each["id"], each["impact"], each["help"], *(node["html"][:200] for node in each["nodes"][:3]))
        for each in found["violations"]
    ]
    assert not violations, f"{what}: {violations}"


async def assert_nothing_hangs_over(page: Page, what: str) -> None:
    """The page itself never scrolls sideways."""
    wide, room = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room, f"{what} is {wide} pixels wide where there are {room}"


def paths(site: Site) -> tuple[str, ...]:
    """All pages, and a decision with names that are long and have no place to break."""
    one = (f"decisions/{site.seeded.whole}", f"decisions/{site.seeded.markup}")
    return ("savings", "traffic", "decisions?status=failure&tier=medium", *one, "playground", "learning")


async def unfold(page: Page, path: str) -> None:
    """Show what a page shows when it is used."""
    if path == "playground":
        await page.get_by_role("button", name="Hard").click()
        await expect(page.locator(".strategies section.card")).to_have_count(2)
        await page.get_by_role("slider").first.press("PageUp")
        await expect(page.get_by_role("region", name="Lines for gateway.yaml")).to_be_visible()
    if path == "traffic":
        await page.locator("details.explained > summary").first.click()
    if path.startswith("decisions?"):
        await page.get_by_text("More filters").click()
    if path.startswith("decisions/"):
        await page.get_by_text("Show as JSON").click()


@pytest.mark.parametrize("look", list(LOOKS))
async def test_axe_finds_nothing(opened: Opening, look: str) -> None:
    window = await opened(**LOOKS[look], reduced_motion="reduce")
    rules = CONTRAST if look == "dark" else ALL
    for path in paths(window.site):
        page = await window.goto(path)
        await unfold(page, path)
        await assert_axe_finds_nothing(page, f"{path}, {look}", rules)
        await assert_nothing_hangs_over(page, f"{path}, {look}")
    doubtful = page.get_by_role("button", name=f"Put in force model {window.site.models.doubtful}")
    await doubtful.click()
    await assert_axe_finds_nothing(page, f"the dialog, {look}", rules)
    await window.goto("savings?show=tokens&by=day")
    await page.get_by_role("button", name="Show as table").click()
    await assert_axe_finds_nothing(page, f"the table, {look}", rules)


@pytest.mark.parametrize("look", ["light", "dark"])
async def test_axe_finds_nothing_where_nothing_is_shown(opened: Opening, look: str) -> None:
    rules = CONTRAST if look == "dark" else ALL
    stranger = await opened(None, **LOOKS[look])
    await assert_axe_finds_nothing(await stranger.goto(""), f"sign-in, {look}", rules)
    window = await opened("alice", **LOOKS[look])
    window.watch.statuses.add(404)
    for path in (f"decisions/{window.site.seeded.foreign}", "playground", "learning", "decisions?call_id=none"):
        await assert_axe_finds_nothing(await window.goto(path), f"{path} of a key, {look}", rules)


async def test_what_a_page_must_not_do_is_found_out(opened: Opening) -> None:
    window = await opened()
    page = await window.goto("learning")
    await page.evaluate("document.querySelector('h1').outerHTML = '<h4></h4><img src=x>'")
    with pytest.raises(AssertionError, match="image-alt"):
        await assert_axe_finds_nothing(page, "a page without a heading")
    await page.evaluate("fetch('http://127.0.0.2:9/').catch(() => {})")
    await page.evaluate(
        "const inline = document.createElement('script'); inline.text = '1'; document.body.append(inline)"
    )
    await expect(page.locator("body > script")).to_have_count(1)
    with pytest.raises(AssertionError, match=r"the page complains.*Content Security Policy"):
        window.watch.assert_clean()
    assert any("connect-src" in each for each in window.watch.complaints)
    window.watch.complaints.clear()
    blank = await page.context.new_page()  # without a policy that would keep the request from the network
    await blank.evaluate("fetch('http://127.0.0.2:9/').catch(() => {})")
    with pytest.raises(AssertionError, match="requests left the origin"):
        window.watch.assert_clean()
    window.watch.strangers.clear()
    window.watch.complaints.clear()


async def test_the_theme_is_kept(opened: Opening) -> None:
    window = await opened(color_scheme="light")
    page = await window.goto("savings")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = await page.evaluate(background)
    await page.get_by_label("Theme").select_option("dark")
    dark = await page.evaluate(background)
    assert dark != light
    await page.reload()
    await expect(page.get_by_label("Theme")).to_have_value("dark")
    assert await page.evaluate(background) == dark


FOCUSABLE = "a[href], button:enabled, input:enabled, select, textarea, summary, [tabindex='0']"
REACHED = """selector => {
    const all = [...document.querySelectorAll(selector)];
    const shown = all.filter(each => each.checkVisibility({visibilityProperty: true}));
    const groups = new Set();
    return shown.filter(each => {
        if (each.type !== 'radio') return true;
        const first = !groups.has(each.name);
        groups.add(each.name);
        return first;
    }).length;
}"""


@pytest.mark.parametrize("path", ["savings", "traffic", "decisions?since=24h", "one", "playground", "learning"])
async def test_the_keyboard_reaches_everything(window: Window, path: str) -> None:
    page = await window.goto(f"decisions/{window.site.seeded.whole}" if path == "one" else path)
    await page.evaluate("document.activeElement?.blur()")
    wanted = await page.evaluate(REACHED, FOCUSABLE)
    stops = 0
    first = None
    for _ in range(wanted + 5):
        await page.keyboard.press("Tab")
        stop = await page.evaluate_handle("document.activeElement")
        if await stop.evaluate("each => each === document.body"):
            break
        if first is not None and await page.evaluate("([one, other]) => one === other", [first, stop]):
            break
        first = first or stop
        stops += 1
        assert await stop.evaluate("each => each.matches(':focus-visible')")
    assert stops == wanted


async def test_the_skip_link_leads_to_the_content(window: Window) -> None:
    page = await window.goto("savings")
    await page.evaluate("document.activeElement?.blur()")
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("main")).to_be_focused()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.closest('main') !== null")


async def test_a_dialog_keeps_the_focus(window: Window) -> None:
    page = await window.goto("learning")
    opener = page.get_by_role("button", name="Put in force").first
    await opener.press("Enter")
    for _ in range(6):
        await page.keyboard.press("Tab")
        # Of all that the page has, only the dialog; the browser's own bar comes between two rounds.
        assert await page.evaluate(
            "document.activeElement.closest('dialog') !== null || document.activeElement === document.body"
        )
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(opener).to_be_focused()


async def test_a_report_opens_alone(browser: Browser, site: Site, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    command = [sys.executable, "-m", "bsgateway", "report", "--format", "html", "--output", str(path), "--tz", "UTC"]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "-c", str(site.gateway.config)],
        env=clean_environment(COLLECTOR_DATABASE_URL=site.gateway.dsn),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    for look in LOOKS.values():
        async with watched(browser, path.as_uri().rpartition("/")[0], **look) as (context, watch):
            page = await context.new_page()
            requests: list[str] = []
            page.on("request", lambda request: requests.append(request.url))  # noqa: B023
            await page.goto(path.as_uri())
            await expect(page.locator("figure svg[role=img]")).to_have_count(2)
            assert await page.locator("figure svg rect").count() > 50
            assert requests == [path.as_uri()]
            await assert_axe_finds_nothing(page, f"the report, {look}")
            await assert_nothing_hangs_over(page, "the report")
            watch.assert_clean()
