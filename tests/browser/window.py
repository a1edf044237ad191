"""A page of the browser, whose key it has, and what it did that it must not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from playwright.async_api import Page, expect

from browser.chromium import Watched
from browser.site import Site

Opening = Callable[..., Awaitable["Window"]]


class Window:
    """A page in a window of its own, and what it did that it must not."""

    def __init__(self, page: Page, watch: Watched, site: Site) -> None:
        self.page = page
        self.watch = watch
        self.site = site

    async def goto(self, path: str) -> Page:
        """Open a page of the dashboard, and wait until it shows what it asked for."""
        await self.page.goto(f"{self.site.url}/{path}")
        await expect(self.page.get_by_role("heading", level=1)).to_be_visible()
        await expect(self.page.locator('.loading, [aria-busy="true"]')).to_have_count(0)
        return self.page
