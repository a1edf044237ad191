"""`bsgateway logs purge`: rows of a user, a key and a time leave all tables of a real PostgreSQL, and no others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from click.testing import CliRunner, Result

from bsgateway import purge
from bsgateway.burial import letter
from bsgateway.cli import main
from bsgateway.decision import Caller, Decision, now
from bsgateway.log.chunk import Unreadable
from bsgateway.log.spool import Spool
from bsgateway.rollups import refresh_all
from bsgateway.rows import MAX_NAME
from bsgateway.store import Store
from builders import id_at, make_comparison, make_decision, make_outcome, make_texts
from statements import ask


def write(dsn: str, *decisions: Decision) -> None:
    """Rows of these decisions in each table, two of them of feedback, and a dead letter."""

    async def copy() -> None:
        async with await Store.connect(dsn) as store:
            await store.copy(
                [
                    record
                    for decision in decisions
                    for record in (decision, *(make(decision) for make in (make_texts, make_outcome, make_comparison)))
                ]
            )

    asyncio.run(copy())
    for decision in decisions:
        for source in ("user", "judge"):
            ask(dsn, "INSERT INTO routing_feedback (decision_id, source) VALUES ($1, $2)", decision.decision_id, source)
        bury(dsn, make_texts(decision, ask="words of a letter"))


def bury(dsn: str, record: Any, age: timedelta = timedelta(), **columns: Any) -> None:
    """A dead letter, as the writer makes it, but for `columns`."""
    row = {"refused_at": now() - age} | letter(record, "refused") | columns
    names = ("digest", "decision_id", "kind", "reason", "refused_at", "payload")
    query = f"INSERT INTO routing_dead_letters ({', '.join(names)}) VALUES ($1, $2, $3, $4, $5, $6)"
    ask(dsn, query, *(row[name] for name in names))


def left(dsn: str) -> dict[str, set[UUID]]:
    """The decisions that each table has rows of."""
    return {t: {row[0] for row in ask(dsn, f"SELECT decision_id FROM {t}")} for t in purge.TABLES}


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["logs", "purge", *arguments])
    if not isinstance(result.exception, (SystemExit, type(None))):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def by(**fields: str) -> Decision:
    return make_decision(caller=Caller(**fields))


def assert_only(dsn: str, *kept: Decision) -> None:
    assert left(dsn) == {table: {decision.decision_id for decision in kept} for table in purge.TABLES}


# Whose


def test_of_a_user(dsn: str, tmp_path: Path) -> None:
    (tmp_path / ".bsgateway" / "spool").mkdir(parents=True)  # nothing is to be said of it
    as_user, as_end_user, other, nobody = by(user_id="ann"), by(end_user="ann"), by(user_id="anna"), by()
    write(dsn, as_user, as_end_user, other, nobody)
    result = run("--user", "ann", "--yes", "--json")
    counts = dict.fromkeys(purge.TABLES, 2) | {"routing_feedback": 4}
    report = json.loads(result.stdout)
    assert (report["found"], report["erased"]) == (counts, counts)
    assert result.stderr == ""
    assert_only(dsn, other, nobody)
    assert run("--user", "ann", "--yes").stdout == "nothing to erase\n"


def test_of_a_key_by_alias_and_by_hash(dsn: str) -> None:
    alias, hashed, other = by(key_alias="team"), by(key_hash="ab12"), by(key_alias="ab12x", key_hash="teamx")
    write(dsn, alias, hashed, other)
    assert run("--key", "team", "--yes").stdout.splitlines()[-1].startswith("7 rows erased in ")
    assert_only(dsn, hashed, other)
    run("--key", "ab12", "--yes")
    assert_only(dsn, other)


def test_the_sums_of_a_key_go_with_it_even_when_its_rows_are_gone(dsn: str) -> None:
    sums = "SELECT key_hash, sum(requests) FROM routing_key_rollups WHERE span = 3600 GROUP BY 1 ORDER BY 1"
    write(dsn, by(key_hash="ann"), by(key_hash="bob"), by(key_hash="bob"))
    add_up(dsn)
    assert [tuple(row) for row in ask(dsn, sums)] == [("ann", 1), ("bob", 2)]
    for table in purge.TABLES[:3]:  # as retention does, which leaves the sums alone
        for child in ask(dsn, "SELECT name FROM bsg_partitions($1)", table):
            ask(dsn, f"DELETE FROM {child[0]}")
    found = json.loads(run("--key", "bob", "--yes", "--json").stdout)
    assert found["found"][purge.SUMS] == found["erased"][purge.SUMS] == 1
    assert [tuple(row) for row in ask(dsn, sums)] == [("ann", 1)]
    assert purge.SUMS not in json.loads(run("--key", "bob", "--dry-run", "--json").stdout)["found"]


def add_up(dsn: str) -> None:
    async def refresh() -> None:
        async with await Store.connect(dsn) as store:
            assert await refresh_all(store, None)

    asyncio.run(refresh())


def test_conditions_must_all_be_met(dsn: str) -> None:
    moment = datetime(2026, 3, 1, tzinfo=timezone.utc)
    early = id_at(moment - timedelta(milliseconds=1), tail=1)
    callers = [Caller(user_id=user, key_alias=key) for user in ("ann", "bob") for key in ("one", "two")]
    decisions = [make_decision(caller=caller) for caller in callers]
    old = make_decision(caller=callers[0], decision_id=early)
    exact = make_decision(caller=callers[0], decision_id=id_at(moment))
    write(dsn, *decisions, old, exact)
    run("--user", "ann", "--key", "one", "--before", "2026-03-01", "--yes")
    assert_only(dsn, *decisions, exact)
    run("--user", "ann", "--key", "one", "--yes")
    assert_only(dsn, *decisions[1:])


def test_a_long_name_is_found_as_it_was_cut(dsn: str) -> None:
    name = "n" * MAX_NAME
    write(dsn, by(user_id=name + "!"), by(user_id=name[1:]))
    assert json.loads(run("--user", name + "!", "--dry-run", "--json").stdout)["found"]["routing_logs"] == 1


def test_before_a_moment_erases_what_no_decision_belongs_to(dsn: str) -> None:
    moment = now() - timedelta(days=3)
    old = [make_decision(decision_id=id_at(moment, tail=number)) for number in range(len(purge.TABLES))]
    new = make_decision()
    write(dsn, *old, new)
    for table, stray in zip(purge.TABLES, old, strict=True):  # each lacks the row of another table
        ask(dsn, f"DELETE FROM {table} WHERE decision_id = $1", stray.decision_id)
    bury(dsn, Unreadable("Chunk", b"of nobody"), age=timedelta(days=3))
    bury(dsn, Unreadable("Chunk", b"of nobody either"))
    report = json.loads(run("--before", "2d", "--yes", "--json").stdout)
    counts = dict.fromkeys(purge.TABLES, 5) | {"routing_feedback": 10, "routing_dead_letters": 6}
    assert (report["found"], report["erased"]) == (counts, counts)
    found = left(dsn)
    assert found.pop("routing_dead_letters") == {new.decision_id, None}
    assert all(ids == {new.decision_id} for ids in found.values())


# Dead letters


def test_a_decision_that_was_refused_is_found_by_its_letter(dsn: str) -> None:
    refused, other = by(user_id="ann", key_alias="one"), by(user_id="bob")
    write(dsn, refused, other)
    ask(dsn, "DELETE FROM routing_logs WHERE decision_id = $1", refused.decision_id)
    # What jsonb cannot hold, and what this version cannot read.
    bury(dsn, msgspec.structs.replace(refused, tier="\x00", original_model="half a character: \ud83d"))
    fields = {"decision_id": str(refused.decision_id), "bias": "odd", "caller": {"end_user": "ann"}}
    bury(dsn, Unreadable("Decision", fields))
    bury(dsn, Unreadable("Decision", {"caller": {"user_id": "ann"}}))
    bury(dsn, other)
    bury(dsn, Unreadable("Chunk", b"bytes"))
    bury(dsn, make_decision(), payload=b"\xff no JSON")
    bury(dsn, make_decision(), payload=b"[" * 100_000)
    result = run("--user", "ann", "--yes", "--json")
    report = json.loads(result.stdout)
    assert report["erased"] == report["found"]
    assert report["erased"] == dict(zip(purge.TABLES, (0, 1, 1, 2, 1, 4), strict=True))
    assert report["unreadable_dead_letters"] == 3
    assert "note: 3 dead letters do not say whose they are, and stay; --before erases them" in result.stderr
    found = left(dsn)
    assert len(found.pop("routing_dead_letters")) == 4  # other's, of two kinds, and three that cannot be read
    assert all(ids == {other.decision_id} for ids in found.values())
    assert json.loads(run("--key", "one", "--dry-run", "--json").stdout)["found"]["routing_dead_letters"] == 0
    run("--before", "0s", "--yes")
    assert_only(dsn)


# Batches


def test_many_batches(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "BATCH", 3)
    decisions = [by(user_id="ann") for _ in range(10)]
    others = [by(user_id="bob") for _ in range(4)]
    letters = [by(user_id="ann") for _ in range(7)]
    write(dsn, *decisions, *others)
    for refused in letters:
        bury(dsn, refused)
    report = json.loads(run("--user", "ann", "--yes", "--json").stdout)
    assert report["erased"] == report["found"] == dict(zip(purge.TABLES, (10, 10, 10, 20, 10, 17), strict=True))
    assert_only(dsn, *others)
    for _ in range(2):
        write(dsn, *(by() for _ in range(8)))
    assert json.loads(run("--before", "0s", "--yes", "--json").stdout)["erased"]["routing_logs"] == 20
    assert_only(dsn)


async def test_interrupted_it_leaves_whole_decisions_and_can_go_on(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "BATCH", 3)
    decisions = [by(user_id="ann") for _ in range(8)]
    condition = purge.Condition(user="ann")
    async with await Store.connect(dsn) as store:
        await store.copy([*decisions, *map(make_texts, decisions), *map(make_outcome, decisions)])
        async with contextlib.aclosing(purge.erase(store, condition, ())) as batches:
            assert (await anext(batches))["routing_logs"] == 3
        assert await store.counts() == type(await store.counts())(logs=5, texts=5, outcomes=5, feedback=0)
    report = await purge.purge(dsn, condition, lambda _: True)
    assert (report.erased["routing_logs"], report.erased["routing_texts"]) == (5, 5)


# Asking


def test_looking_changes_nothing(dsn: str) -> None:
    decision = by(user_id="ann")
    write(dsn, decision)
    out = run("--user", "ann", "--dry-run").stdout
    assert [line.split() for line in out.splitlines()] == [
        [table, "2" if table == "routing_feedback" else "1"] for table in purge.TABLES
    ]
    assert json.loads(run("--user", "ann", "--dry-run", "--yes", "--json").stdout)["erased"]["routing_logs"] == 0
    assert_only(dsn, decision)


def test_without_a_terminal_it_does_not_ask(dsn: str) -> None:
    decision = by(user_id="ann")
    write(dsn, decision)
    assert "give --yes, or look first with --dry-run" in run("--user", "ann", code=2).stderr
    assert_only(dsn, decision)


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("", 1), ("y", 0)])
def test_on_a_terminal_it_asks(dsn: str, answer: str, code: int) -> None:
    decision = by(user_id="ann")
    write(dsn, decision)
    asked = on_a_terminal(["logs", "purge", "--user", "ann"], answer + "\n")
    assert asked[0] == code
    assert "routing_feedback                 2" in asked[1]
    assert "Erase these rows for good? [y/N]:" in asked[1]
    assert ("nothing was erased" in asked[1]) is bool(code)
    assert_only(dsn, *([decision] if code else []))


def on_a_terminal(arguments: list[str], typed: str) -> tuple[int, str]:
    """Exit code and output of the command on a terminal of its own."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "bsgateway", *arguments],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        out, _ = process.communicate(timeout=60)
        return process.returncode, out.decode()
    finally:
        os.close(ours)
        os.close(theirs)


# Afterwards


def test_the_tables_are_vacuumed_unless_told_otherwise(dsn: str) -> None:
    def vacuumed() -> set[str]:
        # -1 until a table is vacuumed or analyzed; so few rows are never looked at by the server itself.
        query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'routing%' AND reltuples >= 0"
        return {row[0].split("_20")[0].removesuffix("_default") for row in ask(dsn, query)}

    write(dsn, by(user_id="ann"), by(user_id="bob"))
    run("--user", "ann", "--yes", "--no-vacuum")
    assert vacuumed() == set()
    ask(dsn, "DELETE FROM routing_feedback")
    run("--user", "bob", "--yes")
    assert vacuumed() == set(purge.TABLES) - {"routing_feedback"}


@pytest.fixture
def eraser(dsn: str) -> Iterator[str]:
    """A role that may erase rows, and owns nothing."""
    role = f"eraser_{uuid4().hex}"
    ask(dsn, f"CREATE ROLE {role}")
    ask(dsn, f"GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    yield role
    ask(dsn, f"DROP OWNED BY {role}")
    ask(dsn, f"DROP ROLE {role}")


def test_what_may_not_be_vacuumed_is_said(dsn: str, eraser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(dsn, by(user_id="ann"))
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", f"{dsn}{'&' if '?' in dsn else '?'}role={eraser}")
    result = run("--user", "ann", "--yes")
    said, _ = result.stderr.splitlines()  # the other line: there is no spool
    note = r'note: .*"routing_logs".* \(and \d+ more\)'  # each version of PostgreSQL has words of its own
    assert re.fullmatch(note, said)
    assert_only(dsn)


def test_rows_in_the_spool_are_not_erased_and_it_says_so(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "state" / "spool").mkdir(parents=True)
    spool = Spool.claim(tmp_path / "state" / "spool")
    try:
        spool.append(7, b"rows", 100, 1_000_000)
        stderr = run("--user", "ann", "--yes", "--state", "state").stderr
    finally:
        spool.close()
    directory = tmp_path / "state" / "spool"
    assert f"note: 7 rows wait in {directory} and are not in the database yet: erase again once they are" in stderr


def test_a_spool_that_is_not_there_is_named(dsn: str, tmp_path: Path) -> None:
    spool = tmp_path / "state" / "spool"
    note = f"note: no spool at {spool}: if the gateway has another state directory, rows may wait there"
    assert note in run("--user", "ann", "--yes", "--state", "state").stderr
    spool.mkdir(parents=True)
    assert "no spool" not in run("--user", "ann", "--yes", "--state", "state").stderr
