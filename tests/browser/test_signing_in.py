"""Signing in with keys of all kinds, and what a key that is no admin's may not see."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from browser.site import KEYS
from browser.window import Opening

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def type_key(page: Page, key: str) -> None:
    await page.get_by_label("Key", exact=True).fill(key)
    await page.get_by_role("button", name="Sign in").click()


async def test_a_wrong_key_is_refused_and_the_right_one_let_in(opened: Opening) -> None:
    window = await opened(None)
    window.watch.statuses.add(401)
    page = await window.goto("")
    await expect(page.get_by_label("Key", exact=True)).to_be_focused()
    await type_key(page, "sk-key-nobody")
    await expect(page.get_by_role("alert")).to_contain_text("This key was not accepted.")
    await expect(page.get_by_label("Key", exact=True)).to_be_focused()
    await type_key(page, KEYS["admin"])
    await expect(page.get_by_role("heading", name="Savings", level=1)).to_be_visible()
    await expect(page.locator(".who")).to_have_text("admin")


async def test_a_key_stays_until_it_is_forgotten(opened: Opening) -> None:
    window = await opened(None)
    page = await window.goto("traffic?since=7d")
    await type_key(page, KEYS["alice"])
    await expect(page.get_by_role("heading", name="Traffic", level=1)).to_be_visible()
    await expect(page.locator(".who")).to_have_text("alice's keyown requests")
    await page.reload()
    await expect(page.get_by_role("heading", name="Traffic", level=1)).to_be_visible()
    await page.get_by_role("button", name="Forget key").click()
    await expect(page.get_by_label("Key", exact=True)).to_be_visible()
    assert await page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [0, 0, ""]
    await page.reload()
    await expect(page.get_by_label("Key", exact=True)).to_be_visible()


async def test_a_key_that_is_no_more_is_asked_for_again(opened: Opening) -> None:
    window = await opened(None)
    window.watch.statuses.add(401)
    page = await window.goto("savings?since=7d")
    await type_key(page, KEYS["alice"])
    await expect(page.get_by_role("heading", name="Savings", level=1)).to_be_visible()
    # The gateway knows the key no more; the page learns it from its next request.
    await page.route("**/bsgateway/api/**", lambda route: route.continue_(headers={"Authorization": "Bearer sk-gone"}))
    await page.get_by_role("radio", name="24 hours").click()  # check() looks at it again, and it is gone
    await expect(page.get_by_role("alert")).to_contain_text("This key was not accepted.")
    await page.unroute("**/bsgateway/api/**")
    await type_key(page, KEYS["alice"])
    await expect(page.get_by_role("radio", name="24 hours")).to_be_checked()  # where one was before


async def test_what_is_for_admins_is_not_offered_to_a_key(opened: Opening) -> None:
    window = await opened("alice")
    requests: list[str] = []
    window.page.on("request", lambda request: requests.append(request.url))
    page = await window.goto("playground")
    await expect(page.get_by_role("heading", name="What if")).to_be_visible()
    await expect(page.get_by_text("Only an admin's key may see this.")).to_be_visible()
    await expect(page.get_by_role("slider")).to_have_count(0)
    await window.goto("learning")
    await expect(page.get_by_text("Only an admin's key may see this page.")).to_be_visible()
    await expect(page.get_by_role("button", name="Put in force")).to_have_count(0)
    await window.goto("decisions")
    await page.get_by_text("More filters").click()
    await expect(page.get_by_label("Conversation")).to_be_visible()
    await expect(page.get_by_label("Key", exact=True)).to_have_count(0)
    assert not [url for url in requests if "what-if" in url or "learning" in url.partition("api/")[2]]


async def test_a_foreign_decision_is_not_found(opened: Opening) -> None:
    window = await opened("alice")
    window.watch.statuses.add(404)
    page = await window.goto(f"decisions/{window.site.seeded.foreign}")
    await expect(page.get_by_role("alert")).to_contain_text("no such decision is in the log")
    owner = await opened("bob")
    await owner.goto(f"decisions/{window.site.seeded.foreign}")
    await expect(owner.page.get_by_role("heading", name="What happened")).to_be_visible()


async def test_feedback_on_a_foreign_decision_is_refused(opened: Opening) -> None:
    window = await opened("alice")
    window.watch.statuses.add(403)
    page = await window.goto(f"decisions/{window.site.seeded.whole}")
    # The page never offers it: the decision of somebody else takes the place of the own one on the way.
    own, foreign = str(window.site.seeded.whole), str(window.site.seeded.foreign)

    async def forge(route, request) -> None:  # type: ignore[no-untyped-def]
        await route.continue_(post_data=request.post_data.replace(own, foreign))

    await page.route("**/bsgateway/feedback", forge)
    await page.get_by_role("radio", name="Good", exact=True).check()
    await page.get_by_role("button", name="Send feedback").click()
    await expect(page.get_by_role("alert")).to_contain_text("this decision was made for another key")
