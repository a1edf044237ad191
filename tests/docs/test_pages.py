"""The pages hang together: links lead somewhere, files that are named exist, parts that are made are up to date."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import click
import pytest
import yaml

from bsgateway.cli import main
from docs.blocks import ROOT, pages

OLDEST_CHANGES = "## 0.1.0"
FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")
MADE_LATER = ("site/", "benches/results/", "python/bsgateway/web/assets", ".benchmarks/", "rust/fuzz/corpus", "ui/src/")
"""Beginnings of paths that are not in every clone, or are said from another directory."""


def script(path: Path) -> ModuleType:
    """A script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def links() -> ModuleType:
    return script(ROOT / "packaging" / "links.py")


def test_every_link_leads_somewhere(links: ModuleType) -> None:
    assert [f"{link.page}:{link.line}: {link.url}: {why}" for link, why in links.broken()] == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("docs/learning.md#the-prior", None),
        ("docs/learning.md", None),
        ("#start", None),
        ("docs", None),
        ("#beginning", "there is no such heading"),
        ("docs/learning.md#the-posterior", "there is no such heading"),
        ("docs/lerning.md", "there is no such file"),
        ("../elsewhere", "there is no such file"),
        ("/docs", "it begins at the root, which is another one on each site"),
    ],
)
def test_links_that_lead_nowhere_are_found(url: str, why: str | None, links: ModuleType) -> None:
    assert links.why_broken(links.Link("README.md", 1, url)) == why


def test_links_of_every_kind_are_read(links: ModuleType) -> None:
    found = {link.url for link in links.links("README.md")}
    assert {"docs/dashboard.md", "docs/images/savings-light.png", "#let-it-learn"} <= found
    assert any(url.startswith("https://github.com/") for url in found)


def test_links_that_lead_out_are_listed(links: ModuleType) -> None:
    found = [link.url for link in links.external()]
    assert "https://arxiv.org/abs/2406.18665" in found
    assert [url for url in found if not url.startswith("https://")] == []


@pytest.mark.parametrize("page", [page for page in pages() if page != "CHANGELOG.md"])
def test_headings_can_be_linked(page: str, links: ModuleType) -> None:
    """No two headings of a page have one anchor: the second would be found under another one on each site."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = [links.slug(re.sub(r"[`*]", "", heading)) for heading in re.findall(r"^#+ (.*)", text, re.MULTILINE)]
    assert sorted(set(headings)) == sorted(headings)


def test_files_that_contributors_are_sent_to_exist() -> None:
    named = set(FILE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert {"python/bsgateway/reference/features.py", "rust/extract.rs", "tests/shapes/bodies.py"} <= named
    places = (ROOT, ROOT / "python", ROOT / "python" / "bsgateway" / "web", ROOT / "python" / "bsgateway")
    missing = {name for name in named if not any((place / name).exists() for place in places)}
    assert {name for name in missing if not name.startswith(MADE_LATER)} == set()


@pytest.mark.parametrize("page", ["docs/scoring.md", "docs/performance.md", "docs/quality.md"])
def test_parts_of_pages_are_what_the_code_and_the_results_say(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = script(ROOT / "docs" / "make_pages.py")
    text = (ROOT / page).read_text(encoding="utf-8")
    assert "<!-- made: " in text
    assert maker.made(text) == text, "run `make reference`"


@pytest.mark.parametrize("page", pages())
def test_every_target_that_is_named_is_in_the_makefile(page: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"`make((?:\s+[\w.=\"-]+)+)", (ROOT / page).read_text(encoding="utf-8"))
    words = {word for each in named for word in re.sub(r'[A-Z_]+=("[^"]*"|\S+)', "", each).split()}
    assert {word for word in words if word.islower()} <= targets


def options_of(command: click.Command) -> set[str]:
    found = {"--help"}
    for parameter in command.params:
        found |= {*parameter.opts, *parameter.secondary_opts}
    return found


@pytest.mark.parametrize("page", pages())
def test_commands_within_sentences_exist(page: str) -> None:
    """`bsgateway WORD --option` in a sentence: the command is there, and so are its options."""
    wrong = []
    for said in re.findall(r"(?<!`)`bsgateway ([^`]+)`(?!`)", (ROOT / page).read_text(encoding="utf-8")):
        words = re.sub(r'"[^"]*"?', "TEXT", said).split()
        command: click.Command = main
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command, words = command.commands[words[0]], words[1:]
        options = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
        if command is main or not options <= options_of(command):
            wrong.append(said)
    assert wrong == []


def test_every_page_is_in_the_navigation() -> None:
    text = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    found = set(re.findall(r"[\w/.-]+\.md\b", str(yaml.safe_load(text)["nav"])))
    written = {path.name for path in (ROOT / "docs").glob("*.md")}
    results = {f"results/{path.name}" for path in (ROOT / "benches" / "results").glob("*.md")}
    top = {"readme.md", "architecture.md", "changelog.md", "contributing.md", "security.md"}
    assert found == written | results | top


def test_changes_are_sentences() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert OLDEST_CHANGES in text
    entries = re.findall(r"^- (.*?)(?=^- |^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert [entry for entry in entries if not entry.strip().endswith((".", ").", "`."))] == []
