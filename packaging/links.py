"""Links of the documentation: `python packaging/links.py` checks those within the repository.

    python packaging/links.py            # exit code 1: a link leads nowhere
    python packaging/links.py --list     # names those that lead out, too
    python packaging/links.py --online   # asks for the others, too; exit code 1: one is not there

A link is right if the file is there, and the heading, under the anchor that GitHub and the site give it. Of headings of
the same words in one page only the first can be linked.
"""

from __future__ import annotations

import argparse
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/*.md", "benches/results/*.md", "deploy/**/*.md", "packaging/*.md", ".github/**/*.md")
EXAMPLES = ("localhost", "127.0.0.1")
"""Hosts of examples: nobody asks them."""
SECONDS = 20.0
REFUSED = (401, 403, 405, 429)
"""Answers of hosts that are there and want no programs."""


class Link(NamedTuple):
    """A link or a picture: the page, by its path in the repository, the line, and where it leads."""

    page: str
    line: int
    url: str


def pages() -> list[str]:
    """Every page, by its path in the repository."""
    return sorted({path.relative_to(ROOT).as_posix() for pattern in PAGES for path in ROOT.glob(pattern)})


@cache
def _tokens(page: str) -> tuple[Token, ...]:
    return tuple(MarkdownIt().enable("table").parse((ROOT / page).read_text(encoding="utf-8")))


def links(page: str) -> Iterator[Link]:
    """The links and pictures of a page."""
    for token in _tokens(page):
        for child in token.children or ():
            url = child.attrGet("href") if child.type == "link_open" else None
            url = child.attrGet("src") if child.type == "image" else url
            if url is not None:
                yield Link(page, token.map[0] + 1 if token.map else 0, str(url))


@cache
def anchors(page: str) -> frozenset[str]:
    """The anchors of a page's headings."""
    tokens = _tokens(page)
    return frozenset(
        slug(
            "".join(
                child.content for child in tokens[place + 1].children or () if child.type in ("text", "code_inline")
            )
        )
        for place, token in enumerate(tokens)
        if token.type == "heading_open"
    )


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it, and pymdownx.slugs for the site."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def is_external(link: Link) -> bool:
    """Whether it leads out of the repository."""
    return bool(urlsplit(link.url).scheme)


def why_broken(link: Link) -> str | None:
    """What is wrong with a link within the repository; None if nothing is."""
    parts = urlsplit(link.url)
    target = (ROOT / link.page).parent / unquote(parts.path) if parts.path else ROOT / link.page
    if link.url.startswith("/"):
        return "it begins at the root, which is another one on each site"
    if not target.exists():
        return "there is no such file"
    inside = target.resolve()
    if not inside.is_relative_to(ROOT):
        return "it leads out of the repository"
    if parts.fragment and inside.suffix == ".md" and parts.fragment not in anchors(inside.relative_to(ROOT).as_posix()):
        return "there is no such heading"
    return None


def broken() -> list[tuple[Link, str]]:
    """The links that lead nowhere, and why."""
    found = (link for page in pages() for link in links(page) if not is_external(link))
    return [(link, why) for link in found if (why := why_broken(link)) is not None]


def external() -> list[Link]:
    """The links that lead out, each URL once."""
    found = {link.url: link for page in pages() for link in links(page) if is_external(link)}
    return [found[url] for url in sorted(found) if urlsplit(url).hostname not in EXAMPLES]


def why_not_there(link: Link) -> str | None:
    """Ask for an external link; what is wrong with the answer, or None."""
    headers = {"User-Agent": "Mozilla/5.0 (links of documentation)"}
    request = urllib.request.Request(link.url.partition("#")[0], headers=headers)  # noqa: S310
    if urlsplit(link.url).scheme != "https":
        return "it is no https link"
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310
            return None
    except urllib.error.HTTPError as error:
        return None if error.code in REFUSED else f"status {error.code}"
    except OSError as error:
        return str(error)


def main() -> int:
    """Exit code 1 if a link leads nowhere."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="name external links, too")
    parser.add_argument("--online", action="store_true", help="ask for external links, too")
    given = parser.parse_args()
    wrong, out = broken(), external()
    if given.list:
        print("\n".join(link.url for link in out))
    if given.online:
        with ThreadPoolExecutor(8) as pool:
            wrong += [(link, why) for link, why in zip(out, pool.map(why_not_there, out), strict=True) if why]
    within = sum(not is_external(link) for page in pages() for link in links(page))
    asked = "asked for" if given.online else "not asked for"
    print(f"{within} links within the repository, {len(out)} out of it, {asked}")
    for link, why in wrong:
        print(f"{link.page}:{link.line}: {link.url}: {why}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
