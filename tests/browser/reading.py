"""Reading the pages as a person does: big numbers, tables, and what the API was asked meanwhile."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Locator, Page, expect

MINUS = ("-", "\N{MINUS SIGN}")


async def asked(page: Page, api: str, act: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
    """What the API answered to the request that `act` made the page send."""
    async with page.expect_response(lambda response: urlsplit(response.url).path.endswith(f"/api/{api}")) as info:
        await act()
    found: dict[str, Any] = await (await info.value).json()
    await expect(page.locator('[aria-busy="true"]')).to_have_count(0)
    return found


def period(answer: dict[str, Any]) -> tuple[datetime, datetime]:
    """The period that an answer is about."""
    since, until = (answer["period"][name].replace("Z", "+00:00") for name in ("since", "until"))
    return datetime.fromisoformat(since), datetime.fromisoformat(until)


def query(page: Page) -> dict[str, str]:
    """The query of the page's address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def number(text: str) -> float:
    """A number as the pages write it: $1,234.50, 12.3%, 3,006."""
    found = re.search(r"[\d.,]+", text)
    assert found, f"no number: {text!r}"
    return float(found[0].replace(",", "")) * (-1 if text.strip().startswith(MINUS) else 1)


def stat(page: Page, label: str) -> Locator:
    """The big number of this name."""
    exact = re.compile(f"^{re.escape(label)}$")
    return page.locator("dl.stat").filter(has=page.locator("dt", has_text=exact)).locator(".value")


async def big(page: Page, label: str) -> float:
    return number(await stat(page, label).inner_text())


async def table(page: Page | Locator, caption: str) -> dict[str, dict[str, str]]:
    """The cells of a table by the name of their row and the name of their column; rows of one name get a number."""
    found = page.get_by_role("table", name=caption, exact=True)
    await expect(found).to_be_visible()
    rows = await found.evaluate(
        "each => [...each.rows].map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    )
    columns = [name.rstrip(" ↓↑") for name in rows[0]]
    named: dict[str, dict[str, str]] = {}
    for row in rows[1:]:
        name = row[0] if row[0] not in named else f"{row[0]} ({len(named)})"
        named[name] = dict(zip(columns[1:], row[1:], strict=False))
    return named


async def as_table(page: Page, title: str) -> dict[str, dict[str, str]]:
    """The chart of this name as the table that it can be shown as."""
    await page.get_by_role("button", name=re.compile(f"^Show as table ?: {re.escape(title)}$")).click()
    return await table(page, title)
