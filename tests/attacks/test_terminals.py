"""Names of clients in what operators read: on terminals, in spreadsheets and browsers. They come out of a real log, by
the commands themselves."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from click.testing import CliRunner

from bsgateway.cli import main
from bsgateway.decision import Caller
from bsgateway.report import no_formula
from bsgateway.store import Store
from bsgateway.terminal import printable
from builders import make_decision, make_outcome

from .conftest import REFERENCE

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What a terminal may act on: escape sequences of both kinds, line ends, text that runs the other way."""
NAMES = (
    "\x1b[2J\x1b[31mred", "\x9b31mred", "\x1b]0;title\x07", "\x1b]52;c;Y3VybCBldmls\x07", "two\r\nlines", "a\x08\x7fb",
    "\u202egnp.exe", "a\u2028b", "[bold red]markup[/]", ":smile:", "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>", "=HYPERLINK(\"http://evil\")", "+1+1", "-2", "@SUM(1)", "\t=1", " =1", "\ufeff=1",
    "\x00=1", "＝1", "a,b\n=1", '"=1', "{{7*7}}", "%s%n", "\U000e0041tag",
)  # fmt: skip


@pytest.fixture(scope="module")
def log(postgres_server: str) -> str:
    """A database whose every name is one of these."""
    name = f"terminals_{uuid4().hex}"
    address = f"{postgres_server.partition('?')[0].rpartition('/')[0]}/{name}?{postgres_server.partition('?')[2]}"

    async def fill() -> None:
        connection = await asyncpg.connect(postgres_server)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        async with await Store.connect(address) as store:
            await store.migrate()
            for words in NAMES:
                caller = Caller(words, words, words * 2, words, words, words, words, words)
                made = make_decision(original_model=words, resolved_model=words, previous_model=words, caller=caller)
                await store.copy([made, make_outcome(made, served_group=words, baseline_model=words, provider=words)])

    asyncio.run(fill())
    return address


@pytest.fixture(autouse=True)
def configured(log: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The commands find that database."""
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", log)
    monkeypatch.setenv("BSGATEWAY_CONFIG", str(REFERENCE))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


COMMANDS = [
    ("logs", "-n", "100"),
    ("logs", "-n", "100", "--json"),
    *(("report", "--by", by, "--format", format_) for by in ("tier", "model", "key", "team")
      for format_ in ("table", "json", "csv", "html")),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_name_moves_the_cursor(command: tuple[str, ...]) -> None:
    printed = run(*command)
    assert "red" in printed or "tier" in command
    data = re.sub(r'<script type="application/json".*?</script>', "", printed, flags=re.DOTALL)
    for line in data.replace("\r\n", "\n").split("\n"):
        assert not CONTROL.search(line), ascii(line)


@pytest.mark.parametrize("by", ["model", "key", "team"])
def test_no_cell_of_a_spreadsheet_is_a_formula(by: str) -> None:
    rows = list(csv.reader(io.StringIO(run("report", "--by", by, "--format", "csv"))))
    assert len(rows) == len(NAMES) + 1, "one row for each name, whatever is in it"
    for row in rows[1:]:
        for cell in row[:2]:
            assert not cell.lstrip(" \t\r\n\ufeff\x00").startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")), ascii(
                cell
            )


def test_what_a_spreadsheet_skips_before_a_formula_does_not_hide_it() -> None:
    for start in ("", " ", "\t", "\r", "\n", "\u00a0", "\ufeff", "\x00", "\u200b"):
        shown = no_formula(printable(f"{start}=1+1"))
        assert shown.startswith(("'", "\\")), ascii(shown)


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("by", ["model", "key", "team"])
def test_no_name_is_markup_in_the_page(by: str) -> None:
    page = _Page(run("report", "--by", by, "--format", "html"))
    names = [tag for tag, _ in page.tags]
    assert names.count("script") == 2, "the numbers, and what draws them"
    assert {"img", "iframe", "object", "link", "a", "base", "form"}.isdisjoint(names)
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]


def test_each_row_is_one_line_of_an_export() -> None:
    lines = run("logs", "export", "--since", "1d").split("\n")
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line]
    assert len(rows) == len(NAMES)
    assert {row["original_model"] for row in rows} == {name.replace("\x00", "\ufffd") for name in NAMES}


def test_who_asked_is_found_again_by_the_very_name() -> None:
    for name in NAMES[::5]:
        found = json.loads(run("logs", "purge", "--user", name, "--dry-run", "--json"))["found"]
        assert found["routing_logs"] == 1, ascii(name)
