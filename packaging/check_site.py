"""Check the built site: `python packaging/check_site.py site`. Exit code 1 names what is wrong.

- No page loads anything from another origin: no script, style, font, picture or frame, and no style sheet does.
- Nothing of a page is lost on the way: as many tables, code blocks, list items and headings as in its Markdown.
  Renderers differ in what they take for a list or a table, and a reader of the repository would see more than the
  site has.
- Every link within the site leads to a file of it, and to an anchor that is there.
- Every picture says what it shows.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
NAMES = {
    "README": "readme",
    **{name: name.lower() for name in ("ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "SECURITY")},
}
"""Pages at the top of the repository, and their names on the site."""
LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
}
LOADING_LINKS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
TOKENS = {"table_open": "table", "fence": "pre", "code_block": "pre", "list_item_open": "li"}
FOREIGN = re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)")


class Reader(HTMLParser):
    """What a page loads and links to, its anchors, what stands in its article, and pictures without words."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.silent: list[str] = []
        self._in_article = False
        self._in_style = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        given = {name: value or "" for name, value in attributes}
        if tag in LOADS and LOADS[tag] in given:
            self.loads.append(given[LOADS[tag]])
        if tag == "link" and LOADING_LINKS & set(given.get("rel", "").split()):
            self.loads.append(given.get("href", ""))
        self.anchors.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "img" and not given.get("alt"):
            self.silent.append(given.get("src", ""))
        self._in_style = tag == "style"
        self._in_article |= tag == "article"
        if self._in_article:
            self.counts["heading" if re.fullmatch("h[1-6]", tag) else tag] += 1

    def handle_endtag(self, tag: str) -> None:
        """Note the end of the article."""
        self._in_article &= tag != "article"
        self._in_style &= tag != "style"

    def handle_data(self, data: str) -> None:
        """Note what a style of the page loads."""
        if self._in_style:
            self.loads += FOREIGN.findall(data)


def read(page: Path) -> Reader:
    """A page of the site."""
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


def leads(site: Path, page: Path, url: str, readers: dict[Path, Reader]) -> bool:
    """Whether a link of `page` leads somewhere, as far as it stays on the site."""
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return True
    start = site if parts.path.startswith("/") else page.parent  # as 404.html has them, which is shown for any path
    target = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else page
    if parts.fragment and target in readers:
        return unquote(parts.fragment) in readers[target].anchors
    return target.exists()


def markdown_of(page: Path, site: Path) -> Path | None:
    """The Markdown that a page of the site is made of; None for one that is made of something else."""
    name = page.relative_to(site).with_suffix(".md").as_posix()
    places = [ROOT / "docs" / name, ROOT / "benches" / name]
    places += [ROOT / f"{top}.md" for top, lower in NAMES.items() if name == f"{lower}.md"]
    return next((place for place in places if place.is_file()), None)


def counted(markdown: Path) -> Counter[str]:
    """Tables, code blocks, list items and headings of a page."""
    tokens = MarkdownIt().enable("table").parse(markdown.read_text(encoding="utf-8"))
    counts = Counter(TOKENS[token.type] for token in tokens if token.type in TOKENS)
    counts["heading"] = sum(token.type == "heading_open" for token in tokens)
    return counts


def problems(site: Path) -> list[str]:
    """All that is wrong with a site."""
    site, found = site.resolve(), list[str]()
    readers = {page.resolve(): read(page) for page in sorted(site.rglob("*.html"))}
    for page, reader in readers.items():
        name = page.relative_to(site)
        found += [f"{name}: {url} leads nowhere" for url in reader.links if not leads(site, page, url, readers)]
        found += [f"{name}: loads {url}" for url in reader.loads if urlsplit(url).netloc]
        found += [f"{name}: {url} has no alternative text" for url in reader.silent]
        if (markdown := markdown_of(page, site)) is not None:
            wanted = counted(markdown)
            found += [
                f"{name}: {reader.counts[tag]} of {wanted[tag]} <{tag}>"
                for tag in ("table", "pre", "li", "heading")
                if reader.counts[tag] != wanted[tag]
            ]
    for sheet in sorted(site.rglob("*.css")):
        found += [
            f"{sheet.relative_to(site)}: loads {url}" for url in FOREIGN.findall(sheet.read_text(encoding="utf-8"))
        ]
    return found


def main() -> int:
    """Exit code 1 if something is wrong, 2 if there is no site."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "index.html").is_file():
        print("name the directory of the built site: python packaging/check_site.py site", file=sys.stderr)
        return 2
    found = problems(Path(sys.argv[1]))
    print("\n".join(found) or "the site is as it should be", file=sys.stderr if found else sys.stdout)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
