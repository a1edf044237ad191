"""SECURITY.md: each test that its table of threats names exists, and each threat and each file of attacks is in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
THREATS = PAGE.partition("\n## Threats\n")[2].partition("\n## ")[0]
ROWS = [line.strip("| ").split(" | ") for line in THREATS.splitlines() if line.startswith("| ") and "---" not in line][
    1:
]
NAMED = sorted(set(re.findall(r"`([a-z0-9_]+/test_[a-z0-9_]+\.py(?:::test_[a-z0-9_]+)?)`", THREATS)))
WANTED = (
    "forged headers", "key widening", "model-file tampering", "log injection", "SSRF through `api_base`",
    "decompression bombs", "nesting bombs", "dashboard XSS", "CSRF", "SQL injection through filters", "path traversal",
)  # fmt: skip
"""What no page about this program may leave out."""


def test_the_table_has_every_threat() -> None:
    threats = [row[0] for row in ROWS]
    for threat in WANTED:
        assert any(threat in each for each in threats), threat


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_says_what_stops_it_and_which_test_shows_it(row: list[str]) -> None:
    assert len(row) == 4
    assert all(cell.strip() for cell in row)
    assert re.search(r"`attacks/test_", row[3]), "a test of attacks"


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_exists(name: str) -> None:
    file, _, function = name.partition("::")
    path = ROOT / "tests" / file
    defined = {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert not function or function in defined


def test_every_file_of_attacks_is_named() -> None:
    named = {Path(name.partition("::")[0]).name for name in NAMED if name.startswith("attacks/")}
    assert {path.name for path in (ROOT / "tests" / "attacks").glob("test_*.py")} == named


def test_its_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, anchor = target.partition("#")
        assert not file or (ROOT / file).is_file(), target
        assert file or anchor in headings, target
