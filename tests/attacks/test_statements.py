"""SQL in what commands and the dashboard are given: names, moments, time zones, sessions. All of it is data."""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner, Result

import bsgateway
from bsgateway.cli import main
from bsgateway.decision import Caller
from bsgateway.store import Store
from builders import make_decision, make_outcome, make_texts

from .conftest import REFERENCE

RUNS = ("execute", "executemany", "executescript", "fetch", "fetchrow", "fetchval", "cursor")
INJECTIONS = (
    "' OR 1=1 --",
    "'; DELETE FROM routing_logs; --",
    "'; DROP TABLE routing_logs CASCADE; --",
    "x' OR user_id IS NOT NULL OR 'a' = 'a",
    "\\'; SELECT pg_sleep(30); --",
    "$1", ":user", ":'user'", "%", "_", "%s", "{0}", "NULL", "E'\\x27'", "\u02bc OR 1=1", "*",
)  # fmt: skip


@pytest.fixture
async def log(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A database with one decision of one user."""
    async with await Store.connect(postgres_dsn) as store:
        await store.migrate()
        made = make_decision(caller=Caller(user_id="ada", key_alias="ada's", key_hash="0" * 64, session_id="s"))
        await store.copy([made, make_texts(made), make_outcome(made)])
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", postgres_dsn)
    monkeypatch.setenv("BSGATEWAY_CONFIG", str(REFERENCE))
    monkeypatch.chdir(tmp_path)
    return postgres_dsn


async def rows(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(
            await connection.fetchval("SELECT count(*) FROM routing_logs JOIN routing_texts USING (decision_id)")
        )
    finally:
        await connection.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_nobody_else_is_erased(log: str) -> None:
    for number, words in enumerate(INJECTIONS):
        option = ("--user", "--key")[number % 2]
        result = run("logs", "purge", option, words, "--yes", "--json", "--no-vacuum")
        assert result.exit_code == 0, result.output
        assert not any(json.loads(result.stdout)["found"].values()), words
    assert asyncio.run(rows(log)) == 1
    assert run("logs", "purge", "--user", "ada", "--yes", "--no-vacuum").exit_code == 0
    assert asyncio.run(rows(log)) == 0, "a name that is one does erase"


@pytest.mark.parametrize("option", [("report", "--since"), ("report", "--until"), ("report", "--tz"), ("report", "--by"),
                                    ("logs", "export", "--since"), ("logs", "purge", "--before"), ("logs", "-n")], ids=" ".join)  # fmt: skip
def test_a_moment_is_a_moment(log: str, option: tuple[str, ...]) -> None:
    for words in INJECTIONS:
        result = run(*option, words)
        assert result.exit_code == 2, (words, result.output)
        assert isinstance(result.exception, SystemExit)


NAMES_OF_OURS = {
    ("maintenance.py", "_drop"): {"name"},  # a partition, as PostgreSQL itself names and quotes it
    ("maintenance.py", "_step"): {"timeout", "LOCK_TIMEOUT"},
    ("rollups.py", "refresh"): {"LOCK_TIMEOUT", "STATEMENT_TIMEOUT"},
    ("migrations.py", "_apply_next"): {"LOCK_TIMEOUT"},
    ("store.py", "expected_output"): {"EXPECT_TIMEOUT"},
    ("purge.py", "clean_up"): {"', '.join(tables)"},  # of the constant TABLES
    ("spool.py", "check"): {"VERSION"},
    ("spool.py", "_prepare"): {"'ON' if self._secure_delete else 'OFF'"},
    ("database.py", "reading"): {"STATEMENT_SECONDS * 1000"},
    ("database.py", "writing"): {"STATEMENT_SECONDS * 1000"},
}
"""Module and function -> what is put into the text of a statement there: constants, and names that this package makes."""


def test_no_statement_is_put_together_from_words() -> None:
    """Everything else is a named query of `sql/`, with parameters."""
    found: dict[tuple[str, str], set[str]] = {}
    for path in Path(bsgateway.__file__).parent.rglob("*.py"):
        if "node_modules" in path.parts:
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            for call in ast.walk(function):
                if not isinstance(call, ast.Call) or not call.args or getattr(call.func, "attr", "") not in RUNS:
                    continue
                text = call.args[0]
                if isinstance(text, ast.JoinedStr):
                    said = {ast.unparse(part.value) for part in text.values if isinstance(part, ast.FormattedValue)}
                    found.setdefault((path.name, function.name), set()).update(said)
                assert not isinstance(text, (ast.BinOp, ast.Call)) or "format" not in ast.unparse(text), ast.unparse(
                    text
                )
    assert found == NAMES_OF_OURS
