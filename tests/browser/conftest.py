"""One gateway with the seeded log and one browser for all tests of the pages, and a private window for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from browser.chromium import VARIABLE, browsing, find_chromium, sign_in, watched
from browser.site import KEYS, Site, seeded_site
from browser.window import Opening, Window
from bsgateway.web import pages
from e2e.upstream import Upstream


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's command."""
    found = find_chromium()
    if found is None:
        pytest.skip(f"no chromium: install it, or name it by {VARIABLE}")
    if not (pages.DIRECTORY / "index.html").exists():
        pytest.skip("the pages are not built: run `make web`")
    return found


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """The providers."""
    with Upstream().running() as running:
        yield running


@pytest.fixture(scope="session")
def site(
    chromium: str, tmp_path_factory: pytest.TempPathFactory, postgres_server: str, upstream: Upstream
) -> Iterator[Site]:
    """The gateway."""
    with seeded_site(postgres_server, tmp_path_factory.mktemp("pages"), upstream, markup=True) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """The browser."""
    async with browsing(chromium) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def opened(browser: Browser, site: Site) -> AsyncIterator[Opening]:
    """Opens windows, for whoever has the key of this name; None: nobody has signed in."""
    async with AsyncExitStack() as stack:

        async def open_window(key: str | None = "admin", **options: Any) -> Window:
            context, watch = await stack.enter_async_context(watched(browser, site.gateway.url, **options))
            if key is not None:
                await sign_in(context, KEYS[key])
            return Window(await context.new_page(), watch, site)

        yield open_window


@pytest_asyncio.fixture(loop_scope="session")
async def window(opened: Opening) -> Window:
    """The admin's."""
    return await opened()


@pytest_asyncio.fixture(loop_scope="session")
async def log(site: Site) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The log, read with plain SQL."""
    connection = await asyncpg.connect(site.gateway.dsn)
    yield connection
    await connection.close()
