"""`bsgateway logs export`: rows of a real PostgreSQL as JSON lines and as Parquet, and what becomes of the file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pyarrow
import pyarrow.compute
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from bsgateway.cli import main
from bsgateway.decision import Caller, Decision, Method, Reason, new_id, now
from bsgateway.errors import StoreError
from bsgateway.export import BATCH_ROWS, BATCH_WORDS, COLUMNS, FIRST_ROWS, WORDS, Kind, Selection, read
from bsgateway.export_files import GROUP_ROWS
from bsgateway.rows import LOG_COLUMNS, OUTCOME_COLUMNS
from bsgateway.store import Store
from builders import id_at, make_comparison, make_decision, make_failure, make_outcome, make_texts
from statements import ask

EVERYTHING = Selection(datetime(1970, 1, 1, tzinfo=timezone.utc), texts=True)
TYPES = {
    "uuid": Kind.ID,
    "timestamp with time zone": Kind.MOMENT,
    "text": Kind.TEXT,
    "smallint": Kind.SMALL,
    "integer": Kind.INTEGER,
    "bigint": Kind.BIG,
    "double precision": Kind.NUMBER,
    "boolean": Kind.FLAG,
    "text[]": Kind.TEXTS,
    "real[]": Kind.NUMBERS,
    "vector": Kind.NUMBERS,
    "jsonb": Kind.CONTRIBUTIONS,
}


def write(dsn: str, *records: Any) -> None:
    async def copy() -> None:
        async with await Store.connect(dsn) as store:
            await store.copy(records)

    asyncio.run(copy())


def export(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["logs", "export", "--since", "1970-01-01", *arguments])
    if not isinstance(result.exception, (SystemExit, type(None))):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.split("\n")[:-1]]  # U+2028 ends a line for splitlines() only


# Columns


async def test_the_columns_are_those_of_the_tables(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    async def columns(table: str) -> dict[str, Kind]:
        rows = await sql.fetch(
            "SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute "
            "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            table,
        )
        types = {row["attname"]: TYPES[row["type"]] for row in rows}
        return types | ({"skipped": Kind.SKIPPED} if types.get("skipped") is Kind.CONTRIBUTIONS else {})  # jsonb both

    logs, outcomes = await columns("routing_logs"), await columns("routing_outcomes")
    texts, compared = await columns("routing_texts"), await columns("routing_comparisons")
    del outcomes["decision_id"]
    prefixed = {f"outcome_{name}": kind for name, kind in outcomes.items()}
    feedback = {"rating": Kind.NUMBER, "label": Kind.TEXT, "label_source": Kind.TEXT}
    others = {name: compared[name] for name in COMPARED} | feedback
    assert logs | prefixed | others == COLUMNS
    assert WORDS.items() <= texts.items()
    assert set(texts) - set(WORDS) == {"decision_id", "created_at", "embedding_error"}


async def test_the_query_gives_the_columns_in_their_order(store: Store) -> None:
    await store.copy([make_decision()])
    ((row,),) = [rows async for rows in read(store, EVERYTHING)]
    assert list(row.keys()) == [*COLUMNS, *WORDS]
    assert list(EVERYTHING.columns) == [*COLUMNS, *WORDS]
    assert list(Selection(EVERYTHING.since).columns) == list(COLUMNS)
    outcomes = (f"outcome_{name}" for name in OUTCOME_COLUMNS[1:])
    assert set(COLUMNS) == {*LOG_COLUMNS, *outcomes, "rating", "label", "label_source", *COMPARED}


COMPARED = ("weak_tier", "strong_tier", "weak_model", "strong_model", "weak_score", "strong_score", "judge")

# The same rows in both formats as in the database


def some_records() -> list[Any]:
    """Decisions with everything, with nothing, with a failure, with words; and some other's texts and outcome."""
    moment = datetime(2026, 3, 4, 5, 6, 7, 891_234, tzinfo=timezone.utc)
    full = make_decision()
    failed = make_decision(features=(0.1, 1e-30, 3.4e38), raw_score=0.1, contributions=(), skipped=(), applied=False)
    bare = Decision(
        decision_id=new_id(), created_at=now(), call_type="", method=Method.AUTO, reason=Reason.SCORE,
        original_model="", resolved_model="x",
    )  # fmt: skip
    odd = make_decision(created_at=moment, decision_id=id_at(moment), caller=Caller(user_id='"\\\n\u2028\U0001f600 '))
    stray = make_decision()
    return [
        full, make_texts(full, redacted=True), make_outcome(full), make_comparison(full), failed, make_failure(failed),
        bare, make_comparison(stray),
        odd, make_texts(odd, ask="", system="\u00e4\u4e16\r\n" * 3_000), make_outcome(stray), make_texts(stray),
    ]  # fmt: skip


def expected(dsn: str, texts: bool) -> list[dict[str, Any]]:
    """The rows that an export should have, put together here from plain queries."""

    def by_id(table: str, columns: str = "*") -> dict[Any, dict[str, Any]]:
        query = f"SELECT {columns} FROM {table} ORDER BY decision_id"
        if table == "routing_feedback":
            query += ", created_at"  # so that the newest one stays
        return {row["decision_id"]: dict(row) for row in ask(dsn, query)}

    outcomes, feedback, compared = (by_id(f"routing_{name}") for name in ("outcomes", "feedback", "comparisons"))
    words = by_id("routing_texts", "*, embedding::real[] AS floats")
    rows = []
    for decision_id, row in by_id("routing_logs").items():
        row |= {name: json.loads(row[name]) for name in ("contributions", "skipped")}
        row |= {f"outcome_{name}": outcomes.get(decision_id, {}).get(name) for name in OUTCOME_COLUMNS[1:]}
        given = feedback.get(decision_id, {})
        row |= {"rating": given.get("rating"), "label": given.get("label"), "label_source": given.get("source")}
        row |= {name: compared.get(decision_id, {}).get(name) for name in COMPARED}
        if texts:
            found = words.get(decision_id, {})
            row |= {name: found.get("floats" if name == "embedding" else name) for name in WORDS}
        rows.append({name: row[name] for name in EVERYTHING.columns if name in row} | {"decision_id": str(decision_id)})
    return rows


@pytest.mark.parametrize("texts", [True, False])
@pytest.mark.parametrize("embedding", ["vector", "real[]"])
def test_jsonl_is_parquet_is_sql(dsn: str, tmp_path: Path, texts: bool, embedding: str) -> None:
    try:
        ask(dsn, "DROP VIEW routing_training")
        ask(dsn, f"ALTER TABLE routing_texts ALTER embedding TYPE {embedding} USING embedding::{embedding}")
    except asyncpg.UndefinedObjectError:
        pytest.skip("pgvector is not installed")
    records = some_records()
    write(dsn, *records)
    full = records[0]
    ask(dsn, "UPDATE routing_texts SET embedding = ARRAY[0.5, -1.25, 0.1]::real[], embedding_model = 'm' "
        "WHERE decision_id = $1", full.decision_id)  # fmt: skip
    for minutes, rating, label in ((5, None, "new"), (1, 0.25, "old")):
        query = (
            "INSERT INTO routing_feedback (decision_id, created_at, source, rating, label) VALUES ($1, $2, 'u', $3, $4)"
        )
        ask(dsn, query, full.decision_id, now() + timedelta(minutes=minutes), rating, label)

    flag = "--texts" if texts else "--no-texts"
    summary = export(flag, "-o", "rows.jsonl").stderr
    export(flag, "-o", "rows.parquet", "--format", "parquet")

    truth = expected(dsn, texts)
    assert len(truth) == 4
    table = pyarrow.parquet.read_table("rows.parquet")
    assert table.to_pylist() == truth
    out = (tmp_path / "rows.jsonl").read_bytes()
    assert lines(out.decode()) == msgspec.json.decode(msgspec.json.encode(truth))
    assert summary.startswith(f"4 rows, {len(out):,} bytes in ")
    (row,) = [row for row in truth if row["decision_id"] == str(full.decision_id)]
    assert (row["label"], row["label_source"]) == ("new", "u")
    assert row.get("embedding") == ([0.5, -1.25, 0.10000000149011612] if texts else None)
    assert ("ask" in table.column_names) is texts
    assert texts or b"What is this" not in out


def test_a_column_has_its_type_without_a_value(dsn: str) -> None:
    export("--texts", "--format", "parquet", "-o", "none.parquet")
    write(dsn, *some_records())
    export("--texts", "--format", "parquet", "-o", "some.parquet")
    none, some = (pyarrow.parquet.read_table(f"{name}.parquet") for name in ("none", "some"))
    assert (none.num_rows, some.num_rows) == (0, 4)
    assert none.schema == some.schema
    assert not [field for field in none.schema if pyarrow.types.is_null(field.type)]
    assert none.schema.field("complexity_score").type == pyarrow.int16()
    assert none.schema.field("created_at").type == pyarrow.timestamp("us", tz="UTC")
    assert pyarrow.parquet.ParquetFile("some.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_what_json_has_no_word_for_is_null(dsn: str) -> None:
    decision = make_decision()
    write(dsn, decision, make_outcome(decision, cost=float("nan"), latency_ms=float("inf")))
    (row,) = lines(export().stdout)
    assert (row["outcome_cost"], row["outcome_latency_ms"]) == (None, None)
    assert row["outcome_provider"] == "openai"


def test_since_and_until(dsn: str) -> None:
    month = datetime(2026, 3, 1, tzinfo=timezone.utc)
    moments = [month - timedelta(milliseconds=1), month, month + timedelta(days=1), now() - timedelta(hours=3), now()]
    decisions = [make_decision(decision_id=id_at(moment), created_at=moment) for moment in moments]
    write(dsn, *decisions, *map(make_outcome, decisions), *map(make_texts, decisions))

    def found(*arguments: str) -> list[int]:
        result = CliRunner().invoke(main, ["logs", "export", "--texts", *arguments])
        assert result.exit_code == 0, result.output
        rows = lines(result.stdout)
        assert all(row["ask"] and row["outcome_status"] for row in rows)
        ids = [str(decision.decision_id) for decision in decisions]
        return [ids.index(row["decision_id"]) for row in rows]

    assert found("--since", "1960-01-01") == [0, 1, 2, 3, 4]
    assert found("--since", "2026-03-01", "--until", "2026-03-02T00:00:00Z") == [1]
    assert found("--since", "2026-02-28T23:59:59.999Z", "--until", "2026-03-01T02:00:00+02:00") == [0]
    assert found("--since", "4h", "--until", "1h") == [3]
    assert found("--since", "2h") == [4]


# Reading


async def test_it_is_the_view_of_one_moment(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    decisions = [make_decision(decision_id=id_at(now(), tail=number)) for number in range(5 * FIRST_ROWS)]
    await store.copy(decisions)
    async with contextlib.aclosing(read(store, EVERYTHING)) as batches:
        found = list(await anext(batches))
        await sql.execute("DELETE FROM routing_logs")
        await store.copy([make_decision(), make_outcome(decisions[-1])])
        async for rows in batches:
            found += rows
    assert {row["decision_id"] for row in found} == {decision.decision_id for decision in decisions}
    assert len(found) == len(decisions)
    assert not any(row["outcome_status"] for row in found)


async def test_batches_are_small_where_words_are_long(store: Store) -> None:
    decisions = [make_decision(decision_id=id_at(now(), tail=number)) for number in range(2 * FIRST_ROWS)]
    await store.copy([*decisions, *(make_texts(decision, ask="w" * (BATCH_WORDS // 4)) for decision in decisions)])
    assert [len(rows) async for rows in read(store, EVERYTHING)][:3] == [FIRST_ROWS, 3, 3]
    without = msgspec.structs.replace(EVERYTHING, texts=False)
    assert [len(rows) async for rows in read(store, without)] == [FIRST_ROWS, FIRST_ROWS]


async def test_the_plan_sorts_and_hashes_no_table(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    from bsgateway.sql import queries

    async with sql.transaction():
        await queries().stream_in_order(sql)
        plan = await sql.fetch("EXPLAIN " + queries().export_rows.sql, EVERYTHING.since, None, True)
    steps = {row[0].strip(" ->").split("  (cost=")[0] for row in plan if "(cost=" in row[0]}
    assert "Merge Left Join" in steps
    assert not [step for step in steps if step.startswith(("Hash", "Sort", "Materialize", "Nested Loop"))], steps


async def test_a_database_without_the_tables_says_what_to_do(postgres_dsn: str) -> None:
    async with await Store.connect(postgres_dsn) as store:
        with pytest.raises(StoreError, match=r"cannot export the log from .*run `bsgateway migrate`"):
            await anext(read(store, EVERYTHING))


# The file


def test_the_file_is_there_when_it_is_whole_and_only_its_owner_reads_it(dsn: str, tmp_path: Path) -> None:
    write(dsn, make_decision())
    before = os.umask(0)
    try:
        export("-o", "rows.jsonl")
    finally:
        os.umask(before)
    assert os.listdir(tmp_path) == ["rows.jsonl"]
    assert (tmp_path / "rows.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_only_by_force(dsn: str, tmp_path: Path) -> None:
    target = tmp_path / "rows.jsonl"
    target.write_text("precious")
    (tmp_path / "link.jsonl").symlink_to(target)
    for name in ("rows.jsonl", "link.jsonl"):
        stderr = export("-o", name, code=1).stderr
        assert f"{target} is there already: choose another file with -o, or replace it with --force" in stderr
    assert target.read_text() == "precious"
    write(dsn, make_decision())
    export("-o", "link.jsonl", "--force")
    assert len(lines(target.read_text())) == 1
    assert (tmp_path / "link.jsonl").is_symlink()
    for name in ("/dev/null", str(tmp_path)):
        assert "is not a file" in export("-o", name, "--force", code=1).stderr
    assert "No such file or directory" in export("-o", "no/such/rows", code=1).stderr


def test_a_failed_export_leaves_the_old_file(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("precious")
    write(dsn, make_decision())
    ask(dsn, """UPDATE routing_logs SET contributions = '[{"signal": "s", "later": 1}]'""")
    stderr = export("--format", "parquet", "-o", "rows", "--force", code=1).stderr
    assert "contributions of another version: upgrade bsgateway, or use --format jsonl" in stderr
    assert (tmp_path / "rows").read_text() == "precious"
    assert os.listdir(tmp_path) == ["rows"]
    (row,) = lines(export().stdout)
    assert row["contributions"] == [{"signal": "s", "later": 1}]


def test_rows_of_the_version_before_have_no_value_for_what_came_later(dsn: str) -> None:
    decision = make_decision()
    write(dsn, decision)
    later = ("applied", "conversation_id", "previous_model", "skipped", "expected_cost", "changes", "ignored")
    ask(dsn, f"UPDATE routing_logs SET {', '.join(f'{name} = NULL' for name in later)}")
    (row,) = lines(export().stdout)
    assert [row[name] for name in later] == [None] * len(later)
    export("-o", "rows.parquet", "--format", "parquet")
    (row,) = pyarrow.parquet.read_table("rows.parquet").to_pylist()
    assert [row[name] for name in later] == [None] * len(later)
    assert row["decision_id"] == str(decision.decision_id)


def test_skipped_candidates_of_another_version(dsn: str) -> None:
    write(dsn, make_decision())
    ask(dsn, """UPDATE routing_logs SET skipped = '[{"model": "m", "reason": "needs", "later": 1}]'""")
    stderr = export("--format", "parquet", "-o", "rows", code=1).stderr
    assert "skipped candidates of another version: upgrade bsgateway, or use --format jsonl" in stderr
    (row,) = lines(export().stdout)
    assert row["skipped"] == [{"model": "m", "reason": "needs", "later": 1}]


def test_without_pyarrow(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    stderr = export("--format", "parquet", "-o", "rows", code=1).stderr
    assert "pip install 'bsgateway[export]'" in stderr
    assert os.listdir(tmp_path) == []
    assert export().stderr.startswith("0 rows, 0 bytes in ")


@contextlib.contextmanager
def running(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bsgateway", "logs", "export", "--since", "1970-01-01", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_an_interrupted_export_leaves_nothing(
    dsn: str, tmp_path: Path, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with sql.transaction():
        await sql.execute("LOCK TABLE routing_logs IN ACCESS EXCLUSIVE MODE")  # so that it is still at work
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'routing_logs'::regclass"
        for number in (signal.SIGTERM, signal.SIGINT):
            with running("-o", "rows.jsonl") as process:
                deadline = time.monotonic() + 60
                while not await sql.fetchval(waiting):
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.05)
                (part,) = os.listdir(tmp_path)
                assert part.startswith(".bsgateway-")
                assert part.endswith(".part")
                process.send_signal(number)
                _, stderr = process.communicate(timeout=60)
            assert process.returncode == 1
            assert stderr.decode().strip() == "Aborted!"
            assert os.listdir(tmp_path) == []


def test_a_reader_that_has_enough_ends_it_quietly(dsn: str) -> None:
    write(dsn, *(make_decision() for _ in range(1_000)))
    with running(stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_progress_is_shown_on_a_terminal(dsn: str) -> None:
    write(dsn, *(make_decision() for _ in range(100)))
    ours, theirs = pty.openpty()
    try:
        arguments = [sys.executable, "-m", "bsgateway", "logs", "export", "--since", "1d", "-o", "rows"]
        subprocess.run(arguments, stderr=theirs, env={**os.environ, "TERM": "xterm"}, check=True, timeout=60)
        shown = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "100 rows" in shown
    assert "rows/s" in shown
    assert "rows/s" not in export("-o", "others").stderr


# Size

# Linux counts what the process was before it became this program, too, in getrusage.
MEASURED = """
import re, resource, sys
from bsgateway.cli import main
main(sys.argv[1:], standalone_mode=False)
if sys.platform == "linux":
    print(int(re.search("VmHWM: *\\t *([0-9]+)", open("/proc/self/status").read())[1]) * 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
MANY, FEW = 300_000, 30_000


def test_memory_does_not_grow_with_the_number_of_rows(dsn: str) -> None:
    """Ten times the rows, and not 120 MB more, where the rows that are more take over 250 MB as Arrow has them."""
    ask(dsn, f"""
        INSERT INTO routing_logs (decision_id, created_at, call_type, method, reason, original_model, resolved_model,
            bias, contributions, needs, features, stream, decision_us, user_id)
        SELECT ('0' || to_hex(x'19f00000000'::bigint + i) || '7' || substr(md5(i::text), 1, 3) || 'a'
                || substr(md5(i::text), 4, 15))::uuid, now(), 'acompletion', 'auto', 'score', 'auto', 'small', 0,
            '[{{"signal": "token_count", "value": 10, "weight": 0.25, "points": 2.5}}]', '{{tools}}',
            array_fill(i::real, ARRAY[40]), false, i, 'user ' || i % 10
        FROM generate_series(1, {MANY}) i
    """)  # fmt: skip
    ask(dsn, """
        INSERT INTO routing_texts (decision_id, created_at, ask, system)
        SELECT decision_id, created_at, repeat(md5(decision_id::text), 12), 'You help.' FROM routing_logs
    """)  # fmt: skip
    ask(dsn, "ANALYZE")
    ((next_id,),) = ask(dsn, f"SELECT decision_id FROM routing_logs ORDER BY 1 OFFSET {FEW} LIMIT 1")
    until = (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=next_id.int >> 80)).isoformat()

    for kind in ("jsonl", "parquet"):
        peaks = {}
        for rows, limit in ((FEW, ("--until", until)), (MANY, ())):
            arguments = ["logs", "export", "--since", "1970-01-01", *limit, "--format", kind, "-o", f"{rows}.{kind}"]
            done = subprocess.run(
                [sys.executable, "-c", MEASURED, *arguments, "--texts"], capture_output=True, text=True, check=True
            )
            assert done.stderr.startswith(f"{rows:,} rows, ")
            peaks[rows] = int(done.stdout)
        print(f"{kind}: peak memory {peaks[FEW] / 1e6:.0f} MB of {FEW:,} rows, {peaks[MANY] / 1e6:.0f} MB of {MANY:,}")
        assert peaks[MANY] - peaks[FEW] < 120e6, peaks

    (truth,) = ask(dsn, "SELECT count(*), sum(decision_us)::bigint AS us, min(decision_id::text) AS first, "
                   "max(decision_id::text) AS last FROM routing_logs")  # fmt: skip
    with open(f"{MANY}.jsonl", "rb") as file:
        total = count = 0
        for line in file:
            total += int(msgspec.json.decode(line)["decision_us"])
            count += 1
    assert (count, total) == (truth["count"], truth["us"])
    found = pyarrow.parquet.ParquetFile(f"{MANY}.parquet")
    sizes = [found.metadata.row_group(at).num_rows for at in range(found.num_row_groups)]
    assert sum(sizes) == MANY
    assert max(sizes) < GROUP_ROWS + BATCH_ROWS
    ids = found.read(columns=["decision_id", "decision_us", "ask"])
    assert (ids["decision_id"][0].as_py(), ids["decision_id"][-1].as_py()) == (truth["first"], truth["last"])
    assert pyarrow.compute.sum(ids["decision_us"]).as_py() == truth["us"]
    assert pyarrow.compute.count_distinct(ids["ask"]).as_py() == MANY
