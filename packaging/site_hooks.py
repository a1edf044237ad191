"""MkDocs hooks: the site has pages of the whole repository, and links that work there as they do in the repository.

MkDocs reads docs/. The pages at the top of the repository and those of benches/results join under names of their own
(`PAGES`), without a second copy. A link is written for who reads the file in the repository; here it is resolved from
where the file lies, and leads to the page of the site. A file that is no page, such as gateway.yaml, gets a page that
shows it, if some page links to it; a directory gets a list of its files.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element

import markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "readme.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages at the top of the repository, and their names on the site."""
RESULTS = "benches/results"
"""A directory whose pages and pictures join as `results/`."""
PICTURES = (".png", ".svg")
LONGEST = 200_000
"""Bytes of a file that is shown on a page of its own; a longer one is there as it is."""

NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


class _Site:
    """What the hooks know from one event to the next."""

    def __init__(self) -> None:
        self.uris: dict[str, str] = {}  # path in the repository -> source URI on the site
        self.page = ""  # path in the repository of the page that is rendered


site = _Site()


class _Links(Treeprocessor):
    """Gives each relative link and picture of a page to `seen`, and puts what it returns in its place. A link whose
    words are the name of a page is called by the title of that page."""

    def __init__(self, md: markdown.Markdown, seen: Callable[[str], str]) -> None:
        super().__init__(md)
        self._seen = seen

    def run(self, root: Element) -> None:
        for element in root.iter():
            for name in ("href", "src"):
                url = element.get(name)
                if url and not urlsplit(url).scheme and urlsplit(url).path:
                    if element.text and element.text.endswith(".md") and not len(element):
                        element.text = _title(site.page, url) or element.text
                    element.set(name, self._seen(url))


class _LinksExtension(Extension):
    def __init__(self, seen: Callable[[str], str]) -> None:
        super().__init__()
        self._seen = seen

    def extendMarkdown(self, md: markdown.Markdown) -> None:
        # After the inline patterns (20), before MkDocs looks at the links (0).
        md.treeprocessors.register(_Links(md, self._seen), "repository_links", 10)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Rewrite the links of every page."""
    extensions: list[Any] = config.markdown_extensions
    extensions.append(_LinksExtension(_rewritten))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside docs/. Raises PluginError for a link that leads nowhere."""
    site.uris = {f"docs/{file.src_uri}": file.src_uri for file in files} | {RESULTS: "performance.md"}
    for path, uri in _outside():
        _add(files, config, path, uri)
    pages = [path for path in site.uris if path.endswith(".md")]
    for path in sorted({target for page in pages for target in _targets(page)} - set(site.uris)):
        _add_source(files, config, path)
    return files


def on_page_markdown(text: str, page: Page, **_: Any) -> str:
    """Remember which page is rendered next."""
    site.page = next(path for path, uri in site.uris.items() if uri == page.file.src_uri)
    return text


def _outside() -> Iterator[tuple[str, str]]:
    yield from PAGES.items()
    for path in sorted((ROOT / RESULTS).iterdir()):
        if path.suffix in (".md", *PICTURES):
            yield f"{RESULTS}/{path.name}", f"results/{path.name}"


def _add(files: Files, config: MkDocsConfig, path: str, uri: str) -> None:
    files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    site.uris[path] = uri


def _add_source(files: Files, config: MkDocsConfig, path: str) -> None:
    """A page that shows a file, or a list of a directory's files and a page for each."""
    uri = f"source/{path.replace('/.', '/').lstrip('.')}.md"
    if path in site.uris:
        return
    if not (ROOT / path).exists():
        raise PluginError(f"a page links to {path}, which is not there")
    if (ROOT / path).is_file() and (ROOT / path).stat().st_size > LONGEST:
        _add(files, config, path, uri.removesuffix(".md"))
        return
    if (ROOT / path).is_dir():
        inside = sorted(f"{path}/{each.name}" for each in (ROOT / path).iterdir() if each.is_file())
        for each in inside:
            if each not in site.uris:
                _add_source(files, config, each)
        items = "\n".join(f"- [{Path(each).name}]({posixpath.basename(path)}/{Path(each).name})" for each in inside)
        content = f"# {path}\n\n{items}\n"
    else:
        content = _shown(path)
    files.append(File.generated(config, uri, content=NOT_SEARCHED + content))
    site.uris[path] = uri


def _shown(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    try:
        language = get_lexer_for_filename(path).aliases[0]
    except ClassNotFound:
        language = "text"
    fence = "~" * 8
    return f"# {path}\n\n{fence} {language}\n{text}{fence}\n"


def _targets(page: str) -> set[str]:
    """The paths in the repository that a page links to."""
    found: set[str] = set()

    def see(url: str) -> str:
        found.add(_path(page, url))
        return url

    text = (ROOT / page).read_text(encoding="utf-8")
    markdown.Markdown(extensions=["tables", "pymdownx.superfences", _LinksExtension(see)]).convert(text)
    return found


def _path(page: str, url: str) -> str:
    """The path in the repository that a link on the page `page` means."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(urlsplit(url).path)))


def _title(page: str, url: str) -> str | None:
    """The title of the page that a link on the page `page` leads to, if it has one."""
    file = ROOT / _path(page, url)
    if not page or not file.is_file():
        return None
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ") if first.startswith("# ") else None


def _rewritten(url: str) -> str:
    uri = site.uris.get(_path(site.page, url))
    if uri is None:
        return url  # MkDocs warns of it, and the build is strict
    here = posixpath.dirname(site.uris[site.page])
    fragment = urlsplit(url).fragment
    return posixpath.relpath(uri, here or ".") + (f"#{fragment}" if fragment else "")
