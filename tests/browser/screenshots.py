"""`make screenshots`: the pages over the seeded log, light and dark, as pictures in docs/images."""

from __future__ import annotations

import asyncio
import io
import tempfile
from pathlib import Path

import click
from PIL import Image
from playwright.async_api import Browser, Page, expect

from browser.chromium import VARIABLE, browsing, find_chromium, sign_in, watched
from browser.site import KEYS, Site, seeded_site
from bsgateway.embedded import EmbeddedPostgres
from e2e.upstream import Upstream

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
COLOURS = 128
PARTS = {"what-if": "What if", "learning": "Models"}
"""The heading that stands at the top of the picture, where it is not the page's."""
PROMPT = "Design a rate limiter for several regions. Analyze race conditions, and evaluate three architectures."


def pages(site: Site) -> dict[str, str]:
    """Name of the picture, and what the address has after /bsgateway/."""
    return {
        "savings": "savings",
        "traffic": "traffic",
        "decisions": "decisions",
        "decision": f"decisions/{site.seeded.whole}",
        "playground": "playground",
        "what-if": "playground",
        "learning": "learning",
    }


async def shown(page: Page, site: Site, name: str) -> None:
    """Open a page and wait until all of it is there, at the part that it is about."""
    await page.goto(f"{site.url}/{pages(site)[name]}")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    if name == "playground":
        await page.get_by_label("A prompt, or the JSON body of a request").fill(PROMPT)
        await expect(page.get_by_role("heading", name="static: weighted signals")).to_be_visible()
    if name == "what-if":
        border = page.get_by_role("slider", name="Border between medium and complex")
        await border.press("PageUp")
        await expect(page.get_by_role("region", name="Lines for gateway.yaml")).to_be_visible()
        await border.blur()
    await expect(page.get_by_text("Loading")).to_have_count(0)
    await page.wait_for_load_state("networkidle")
    if heading := PARTS.get(name):
        await page.get_by_role("heading", name=heading, exact=True).evaluate("each => each.scrollIntoView()")


async def take(browser: Browser, site: Site, directory: Path) -> None:
    """All pictures."""
    for scheme in ("light", "dark"):
        for suffix, size in (("", WIDE), ("-phone", PHONE)):
            options = {"viewport": size, "color_scheme": scheme, "reduced_motion": "reduce"}
            async with watched(browser, site.gateway.url, **options) as (context, _):
                await sign_in(context, KEYS["admin"])
                page = await context.new_page()
                for name in pages(site) if size is WIDE else ("savings",):
                    await shown(page, site, name)
                    await _take(page, directory / f"{name}{suffix}-{scheme}.png")


async def _take(page: Page, path: Path) -> None:
    """With a palette instead of 16 million colours: a page has few, and the file half the size."""
    taken = await page.screenshot(animations="disabled", caret="hide")
    file = io.BytesIO()
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    await asyncio.to_thread(path.write_bytes, file.getvalue())
    click.echo(f"{path}: {len(file.getvalue()) / 1000:.0f} KB")


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=IMAGES, show_default=True, help="Where to.")
def main(output: Path) -> None:
    """Take pictures of the pages."""
    chromium = find_chromium()
    if chromium is None:
        raise click.ClickException(f"no chromium: install it, or name it by {VARIABLE}")
    output.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        EmbeddedPostgres(Path(directory) / "postgres") as server,
        Upstream().running() as upstream,
        seeded_site(server.dsn, Path(directory) / "site", upstream) as site,
    ):

        async def run() -> None:
            async with browsing(chromium) as browser:
                await take(browser, site, output)

        asyncio.run(run())


if __name__ == "__main__":
    main()
