"""The system's Chromium, driven by Playwright, and pages that nothing escapes: complaints, and where they ask."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Route, async_playwright

VARIABLE = "BSGATEWAY_CHROMIUM"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SECONDS = 15.0
"""Longest wait for anything: a bound against hangs."""
_REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")


def find_chromium() -> str | None:
    """The browser's command: that of the environment, or the system's."""
    return shutil.which(os.environ.get(VARIABLE) or "chromium")


@asynccontextmanager
async def browsing(command: str) -> AsyncIterator[Browser]:
    """A running browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=command, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Watched:
    """What the pages of one context did that they must not. `statuses` are answers that a test asks for."""

    origin: str
    statuses: set[int] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    @property
    def abroad(self) -> re.Pattern[str]:
        """Addresses that are not of the origin; what a page makes for itself is at home."""
        return re.compile(f"^(?!{re.escape(self.origin)}/|data:|blob:)")

    async def cut(self, route: Route) -> None:
        """What is sent elsewhere meets a network that is cut."""
        self.strangers.append(route.request.url)
        await route.abort()

    def heard(self, message: ConsoleMessage) -> None:
        """Violations of the page's policy are errors of the console, too."""
        refused = _REFUSED.match(message.text)
        if refused and int(refused[1]) in self.statuses:
            return
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def listen(self, page: Page) -> None:
        page.on("console", self.heard)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))

    def assert_clean(self) -> None:
        assert not self.strangers, f"requests left the origin: {self.strangers}"
        assert not self.complaints, f"the page complains: {self.complaints}"


@asynccontextmanager
async def watched(browser: Browser, origin: str, **options: Any) -> AsyncIterator[tuple[BrowserContext, Watched]]:
    """A context of its own, as a private window, in which nothing leaves `origin` and nothing is complained of."""
    context = await browser.new_context(**{"timezone_id": "UTC", "locale": "en-GB", **options})
    context.set_default_timeout(SECONDS * 1000)
    watch = Watched(origin)
    context.on("page", watch.listen)
    try:
        await context.route(watch.abroad, watch.cut)
        yield context, watch
        watch.assert_clean()
    finally:
        await context.close()


async def sign_in(context: BrowserContext, key: str) -> None:
    """As if the key had been typed into each page of the context before. Blank pages have no place to keep it."""
    script = "if (location.protocol === 'http:') sessionStorage.setItem('bsgateway.key', %s)"
    await context.add_init_script(script % json.dumps(key))
