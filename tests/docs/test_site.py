"""`packaging/check_site.py` finds what is wrong with a built site; `make docs` builds the real one and checks it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from docs.blocks import ROOT

PAGE = """\
<html><head><link rel="canonical" href="https://example.com/"><link rel="stylesheet" href="site.css">{head}</head>
<body><a href="https://example.com/">out</a>
<article><h1 id="top">Security</h1><a href="#top">up</a>{body}</article></body>
"""


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_site", ROOT / "packaging" / "check_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def found(checker: ModuleType, site: Path, head: str = "", body: str = "", name: str = "page.html") -> list[str]:
    (site / "site.css").write_text("body { background: url(picture.png) }")
    (site / "picture.png").write_bytes(b"")
    (site / name).write_text(PAGE.format(head=head, body=body))
    problems: list[str] = checker.problems(site)
    return problems


@pytest.mark.parametrize(
    ("head", "body", "problem"),
    [
        ("", '<img src="picture.png" alt="A picture">', None),
        ('<script src="https://cdn.example/a.js"></script>', "", "page.html: loads https://cdn.example/a.js"),
        ('<script src="//cdn.example/a.js"></script>', "", "page.html: loads //cdn.example/a.js"),
        ('<link rel="preconnect" href="https://f.example">', "", "page.html: loads https://f.example"),
        ("<style>@import 'https://f.example/a.css'</style>", "", "page.html: loads https://f.example/a.css"),
        ("", '<iframe src="https://v.example/"></iframe>', "page.html: loads https://v.example/"),
        ("", '<img src="picture.png">', "page.html: picture.png has no alternative text"),
        ("", '<a href="other.html">other</a>', "page.html: other.html leads nowhere"),
        ("", '<a href="page.html#end">end</a>', "page.html: page.html#end leads nowhere"),
        ("", '<a href="page.html#top">top</a><a href="/site.css">style</a>', None),
    ],
)
def test_what_is_wrong_is_found(head: str, body: str, problem: str | None, checker: ModuleType, tmp_path: Path) -> None:
    assert found(checker, tmp_path, head, body) == ([problem] if problem else [])


def test_style_sheets_are_read(checker: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "fonts.css").write_text("@font-face { src: url('https://f.example/a.woff2') }")
    assert found(checker, tmp_path) == ["fonts.css: loads https://f.example/a.woff2"]


def test_what_a_page_has_lost_is_found(checker: ModuleType, tmp_path: Path) -> None:
    problems = found(checker, tmp_path, name="architecture.html")
    assert any(problem.startswith("architecture.html: 0 of ") and problem.endswith("<pre>") for problem in problems)
    assert any(problem.startswith("architecture.html: 1 of ") and problem.endswith("<heading>") for problem in problems)
