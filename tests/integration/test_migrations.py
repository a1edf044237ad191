"""The schema of the log: from every earlier version to this one, by many at once, with and without pgvector."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner

import bsgateway
from bsgateway import cli, migrations
from bsgateway import sql as sql_files
from bsgateway.connections import init_connection
from bsgateway.errors import StoreError
from bsgateway.maintenance import TABLES
from bsgateway.rows import (
    COMPARISON_COLUMNS,
    LOG_COLUMNS,
    OUTCOME_COLUMNS,
    TEXT_COLUMNS,
    log_row,
    outcome_row,
    text_row,
)
from bsgateway.sql import queries
from bsgateway.store import Store
from builders import id_at, make_decision, make_outcome, make_texts, until

if TYPE_CHECKING:
    Sql = asyncpg.Connection[asyncpg.Record]

NAMES = [path.stem[5:] for path in sorted(Path(sql_files.__path__[0], "migrations").glob("*.sql"))]


def names(found: tuple[migrations.Migration, ...]) -> list[str]:
    return [migration.name for migration in found]


async def test_migrate_from_empty_then_nothing_is_left(empty: Store, sql: Sql) -> None:
    assert names(await empty.pending()) == NAMES
    assert await sql.fetchval("SELECT count(*) FROM pg_class WHERE relname LIKE 'bsgateway%'") == 0, (
        "pending changed it"
    )
    assert names(await empty.migrate()) == NAMES
    assert await empty.pending() == ()
    assert await empty.migrate() == ()
    rows = await sql.fetch("SELECT version, name, sha256 FROM bsgateway_migrations ORDER BY version")
    assert [tuple(row) for row in rows] == [(m.version, m.name, m.sha256) for m in migrations.available()]


async def test_many_connections_migrate_at_once(postgres_dsn: str) -> None:
    async def one() -> tuple[migrations.Migration, ...]:
        async with await Store.connect(postgres_dsn) as store:
            return await store.migrate()

    applied = await asyncio.gather(*(one() for _ in range(6)))
    assert sorted(name for found in applied for name in names(found)) == sorted(NAMES)


async def test_several_processes_migrate_at_once(postgres_dsn: str) -> None:
    program = (
        "import asyncio, os\n"
        "from bsgateway.store import Store\n"
        "async def main():\n"
        "    async with await Store.connect(os.environ['DSN']) as store:\n"
        "        print(len(await store.migrate()))\n"
        "asyncio.run(main())\n"
    )
    source = str(Path(bsgateway.__path__[0]).parent)
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            env={**os.environ, "DSN": postgres_dsn, "PYTHONPATH": source},
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    outputs = [await asyncio.wait_for(process.communicate(), 60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(int(out) for out, _ in outputs) == len(NAMES)


async def test_an_altered_migration_is_refused(store: Store, sql: Sql) -> None:
    await sql.execute("UPDATE bsgateway_migrations SET sha256 = 'other' WHERE version = 2")
    for call in (store.pending, store.migrate):
        with pytest.raises(StoreError, match="0002_partitions was applied to the database with another text"):
            await call()


async def test_a_newer_database_is_refused(store: Store, sql: Sql) -> None:
    last = len(NAMES)
    await sql.execute("INSERT INTO bsgateway_migrations VALUES ($1, 'later', 'x')", last + 1)
    expected = f"has migration {last + 1:04d}_later, and this version of bsgateway ends at {last:04d}"
    for call in (store.pending, store.migrate):
        with pytest.raises(StoreError, match=expected):
            await call()


async def test_a_hole_in_the_applied_migrations_is_refused(store: Store, sql: Sql) -> None:
    await sql.execute("DELETE FROM bsgateway_migrations WHERE version = 1")
    with pytest.raises(StoreError, match="0002_partitions without the one before it"):
        await store.migrate()


async def test_a_failing_migration_leaves_no_trace(empty: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    good, *_ = migrations.available()
    bad = migrations.Migration(2, "bad", "x", "CREATE TABLE half (a integer); SELECT 1 / 0;")
    monkeypatch.setattr(migrations, "available", lambda: (good, bad))
    with pytest.raises(StoreError, match="division by zero"):
        await empty.migrate()
    assert await sql.fetchval("SELECT to_regclass('half')") is None
    assert await sql.fetchval("SELECT max(version) FROM bsgateway_migrations") == 1


async def test_every_table_and_column_has_a_comment(store: Store, sql: Sql) -> None:
    columns = await sql.fetch(
        "SELECT c.relname, a.attname, col_description(c.oid, a.attnum) AS comment, obj_description(c.oid) AS about "
        "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relname = ANY($1) AND a.attnum > 0 ORDER BY c.relname, a.attnum",
        [*TABLES, "routing_dead_letters", "routing_training", "bsgateway_migrations"],
    )
    assert not [f"{row['relname']}.{row['attname']}" for row in columns if not row["comment"] or not row["about"]]
    found: dict[str, list[str]] = {}
    for row in columns:
        found.setdefault(row["relname"], []).append(row["attname"])
    assert found["routing_logs"] == list(LOG_COLUMNS)
    assert found["routing_texts"] == [*TEXT_COLUMNS, "embedding", "embedding_model", "embedding_error"]
    assert found["routing_outcomes"] == list(OUTCOME_COLUMNS)
    assert found["routing_comparisons"] == list(COMPARISON_COLUMNS)


# From earlier versions


async def write_as_then(sql: Sql, count: int) -> dict[str, list[asyncpg.Record]]:
    """Rows of several months, of the columns that the tables have now, and what is stored of them."""
    moments = [datetime.now(timezone.utc) + timedelta(days=20 * number - 100) for number in range(count)]
    decisions = [make_decision(decision_id=id_at(moment, tail=7), created_at=moment) for moment in moments]
    written = {
        "routing_logs": (LOG_COLUMNS, [log_row(decision) for decision in decisions]),
        "routing_texts": (TEXT_COLUMNS, [text_row(make_texts(decision)) for decision in decisions]),
        "routing_outcomes": (OUTCOME_COLUMNS, [outcome_row(make_outcome(decision)) for decision in decisions]),
    }
    for table, (names, rows) in written.items():
        there = {row["attname"] for row in await sql.fetch(COLUMNS, table)}
        places = [place for place, name in enumerate(names) if name in there]
        await sql.copy_records_to_table(
            table,
            columns=[names[place] for place in places],
            records=[[row[place] for place in places] for row in rows],
        )
    await sql.executemany(
        "INSERT INTO routing_feedback (decision_id, created_at, source) VALUES ($1, $2, 'user')",
        [(decision.decision_id, decision.created_at) for decision in decisions],
    )
    return {table: await stored(sql, table) for table in (*written, "routing_feedback")}


COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0"


async def stored(sql: Sql, table: str) -> list[asyncpg.Record]:
    return await sql.fetch(f"SELECT * FROM {table} ORDER BY decision_id")


@pytest.mark.parametrize("version", range(2, len(NAMES)))  # the first one has no partition for any row
async def test_no_row_of_an_earlier_version_is_lost(
    empty: Store, postgres_dsn: str, sql: Sql, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    all_of_them = migrations.available()
    await init_connection(sql)
    with monkeypatch.context() as then:
        then.setattr(migrations, "available", lambda: all_of_them[:version])
        async with empty.acquire() as connection:
            assert len(await migrations.migrate(connection)) == version
    # As the version then did at its start: by the month, from one month ago to three months ahead.
    await sql.execute("SELECT bsg_make_partitions(now() - interval '31 days', now() + interval '93 days')")
    before = await write_as_then(sql, 9)
    assert await sql.fetchval("SELECT count(*) FROM routing_logs_default") > 0, "not tried"
    await sql.reload_schema_state()

    async def upgrade() -> int:
        async with await Store.connect(postgres_dsn) as store:
            return len(await store.migrate("day"))

    assert sum(await asyncio.gather(*(upgrade() for _ in range(3)))) == len(NAMES) - version
    await empty.maintain("day", None, None)
    for table in before:
        after = await stored(sql, table)
        assert [{name: row[name] for name in before[table][0].keys()} for row in after] == [  # noqa: SIM118
            dict(row) for row in before[table]
        ]
    assert len(await empty.recent(limit=100)) == 9
    assert (await empty.counts()).texts == 9


async def test_a_worker_of_the_version_before_goes_on(store: Store, sql: Sql) -> None:
    """What version 4 does: its partitions, its COPY, and its way to write again what is there."""
    assert await sql.fetchval("SELECT bsg_make_partitions($1, $1)", datetime(2035, 1, 5, tzinfo=timezone.utc)) == 4
    texts = make_texts(make_decision())
    names, row = TEXT_COLUMNS[:4], text_row(texts)[:4]
    await sql.copy_records_to_table("routing_texts", columns=names, records=[row])
    other = make_texts(make_decision())
    async with sql.transaction():
        await sql.execute("CREATE TEMP TABLE staged_texts (LIKE routing_texts) ON COMMIT DELETE ROWS")
        await sql.copy_records_to_table(
            "staged_texts", schema_name="pg_temp", columns=names, records=[row, text_row(other)[:4]]
        )
        await sql.execute("INSERT INTO routing_texts SELECT * FROM pg_temp.staged_texts ON CONFLICT DO NOTHING")
    found = await sql.fetch("SELECT decision_id, redacted FROM routing_texts")
    assert {found["decision_id"]: bool(found["redacted"]) for found in found} == {
        texts.decision_id: False,
        other.decision_id: False,
    }


@pytest.mark.parametrize("staged", ["before", "after"])
async def test_a_worker_of_version_6_goes_on(
    empty: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch, staged: str
) -> None:
    """It stages its rows in a table that is like the one of the log, as that was when the worker connected."""
    all_of_them = migrations.available()
    with monkeypatch.context() as then:
        then.setattr(migrations, "available", lambda: all_of_them[:6])
        await empty.migrate()
    await init_connection(sql)
    create = "CREATE TEMP TABLE staged_logs (LIKE routing_logs) ON COMMIT DELETE ROWS"
    if staged == "before":
        await sql.execute(create)
    assert names(await empty.migrate()) == NAMES[6:]
    if staged == "after":
        await sql.execute(create)
    decision = make_decision(applied=False)
    known = LOG_COLUMNS[: LOG_COLUMNS.index("applied")]
    async with sql.transaction():
        await sql.copy_records_to_table(
            "staged_logs", schema_name="pg_temp", columns=known, records=[log_row(decision)[: len(known)]]
        )
        await sql.execute("INSERT INTO routing_logs SELECT * FROM pg_temp.staged_logs ON CONFLICT DO NOTHING")
    # What it knew nothing of is as it was then: carried out, by itself, nothing passed over.
    ((read, _),) = [(row.decision, row.outcome) for row in await empty.recent()]
    assert read == msgspec.structs.replace(
        decision,
        applied=True,
        conversation_id=None,
        previous_model=None,
        skipped=(),
        expected_cost=None,
        changes=(),
        ignored=(),
        scorer_id=None,
        propensity=None,
        explored=False,
        **UNASKED,
    )


UNASKED = dict.fromkeys(("llm_status", "llm_tier", "llm_confidence", "llm_model", "llm_prompt"))


@pytest.mark.parametrize("staged", ["before", "after"])
async def test_a_worker_of_version_7_goes_on(
    empty: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch, staged: str
) -> None:
    """It writes decisions and outcomes again, the way it then did, and knows nothing of how they were chosen."""
    all_of_them = migrations.available()
    with monkeypatch.context() as then:
        then.setattr(migrations, "available", lambda: all_of_them[:7])
        await empty.migrate()
    await init_connection(sql)
    tables = {"logs": LOG_COLUMNS[: LOG_COLUMNS.index("scorer_id")], "outcomes": OUTCOME_COLUMNS[:-1]}

    async def stage() -> None:
        for table in tables:
            await sql.execute(f"CREATE TEMP TABLE staged_{table} (LIKE routing_{table}) ON COMMIT DELETE ROWS")

    if staged == "before":
        await stage()
    assert names(await empty.migrate()) == NAMES[7:]
    if staged == "after":
        await stage()
    decision = make_decision()
    outcome = make_outcome(decision)
    for _ in range(2):
        async with sql.transaction():
            for (table, known), row in zip(tables.items(), (log_row(decision), outcome_row(outcome)), strict=True):
                await sql.copy_records_to_table(
                    f"staged_{table}", schema_name="pg_temp", columns=known, records=[row[: len(known)]]
                )
                await sql.execute(
                    f"INSERT INTO routing_{table} SELECT * FROM pg_temp.staged_{table} ON CONFLICT DO NOTHING"
                )
    (row,) = await empty.recent()
    assert row.decision == msgspec.structs.replace(decision, scorer_id=None, propensity=None, explored=False, **UNASKED)
    assert row.outcome == msgspec.structs.replace(outcome, finish_reason=None)


@pytest.mark.parametrize("staged", ["before", "after"])
async def test_a_worker_of_version_8_goes_on(
    empty: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch, staged: str
) -> None:
    """It knows nothing of a local LLM, beside a worker of this version that does."""
    all_of_them = migrations.available()
    with monkeypatch.context() as then:
        then.setattr(migrations, "available", lambda: all_of_them[:8])
        await empty.migrate()
    await init_connection(sql)
    create = "CREATE TEMP TABLE staged_logs (LIKE routing_logs INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
    if staged == "before":
        await sql.execute(create)
    assert names(await empty.migrate()) == NAMES[8:]
    if staged == "after":
        await sql.execute(create)
    old, new = make_decision(), make_decision()
    known = LOG_COLUMNS[: LOG_COLUMNS.index("llm_status")]
    for _ in range(2):
        async with sql.transaction():
            await sql.copy_records_to_table(
                "staged_logs", schema_name="pg_temp", columns=known, records=[log_row(old)[: len(known)]]
            )
            await sql.execute("INSERT INTO routing_logs SELECT * FROM pg_temp.staged_logs ON CONFLICT DO NOTHING")
        await empty.copy([new])
    found = {row.decision.decision_id: row.decision for row in await empty.recent()}
    assert found == {old.decision_id: msgspec.structs.replace(old, **UNASKED), new.decision_id: new}


async def test_the_migration_of_version_9_reads_no_row(empty: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns without a default: the files of the tables stay as they are."""
    all_of_them = migrations.available()
    with monkeypatch.context() as then:
        then.setattr(migrations, "available", lambda: all_of_them[:8])
        await empty.migrate()
    files = (
        "SELECT oid::regclass::text, relfilenode FROM pg_class WHERE relname LIKE 'routing%' AND relkind IN ('r', 'i')"
    )
    before = await sql.fetch(files)
    monkeypatch.setattr(migrations, "available", lambda: all_of_them[:9])
    await empty.migrate()
    assert await sql.fetch(files) == before


async def test_what_was_built_on_the_training_view_stays(
    empty: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = migrations.available()
    with monkeypatch.context() as then:
        then.setattr(migrations, "available", lambda: all_of_them[:7])
        await empty.migrate()
    await sql.execute("CREATE VIEW mine AS SELECT decision_id, label_source FROM routing_training")
    await empty.migrate()
    await empty.copy([make_decision()])
    assert await sql.fetchval("SELECT count(*) FROM mine") == 1


async def test_a_migration_lets_writers_pass_while_it_waits_for_a_lock(
    empty: Store, sql: Sql, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", 200)
    monkeypatch.setattr(migrations, "LOCK_PAUSE", 0.1)
    monkeypatch.setattr(migrations, "WARN_EVERY", 0.0)
    all_of_them = migrations.available()
    with monkeypatch.context() as then:
        then.setattr(migrations, "available", lambda: all_of_them[:4])
        await empty.migrate()
    async with sql.transaction():
        await sql.execute("SELECT count(*) FROM routing_texts")  # as a backup does
        waits = asyncio.create_task(empty.migrate())
        await until(lambda: "wait for another session" in caplog.text)
        writer = await asyncpg.connect(postgres_dsn)
        await writer.execute("SET lock_timeout = '5s'")
        await writer.execute(
            "INSERT INTO routing_texts (decision_id, created_at, ask, system) VALUES (gen_random_uuid(), now(), '', '')"
        )
        await writer.close()
        assert not waits.done()
    assert len(await waits) == len(NAMES) - 4
    assert (await empty.counts()).texts == 1


async def test_who_waits_for_a_migration_of_another_says_so(
    empty: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", 50)
    monkeypatch.setattr(migrations, "LOCK_PAUSE", 0.05)
    monkeypatch.setattr(migrations, "WARN_EVERY", 0.0)
    async with sql.transaction():
        await sql.execute(queries().lock_migrations.sql)
        waits = asyncio.create_task(empty.migrate())
        await until(lambda: "wait for another session: it migrates too" in caplog.text)
        assert not waits.done()
    assert len(await waits) == len(NAMES)


async def test_the_wait_for_another_migration_has_an_end(
    empty: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", 50)
    monkeypatch.setattr(migrations, "LOCK_PAUSE", 0.05)
    monkeypatch.setattr(migrations, "TIMEOUT", 0.1)
    async with sql.transaction():
        await sql.execute(queries().lock_migrations.sql)
        with pytest.raises(StoreError, match="lock timeout"):
            await empty.migrate()


# pgvector


async def embedding_type(sql: Sql) -> str:
    found: str = await sql.fetchval(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'routing_texts'::regclass AND attname = 'embedding'"
    )
    return found


async def test_embeddings_are_vectors_where_pgvector_may_be_installed(store: Store, sql: Sql) -> None:
    there = await sql.fetchval("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")
    assert await embedding_type(sql) == ("vector" if there else "real[]")
    numbers = "[1,2.5]" if there else "{1,2.5}"
    await store.copy([make_texts(make_decision())])
    await sql.execute(f"UPDATE routing_texts SET embedding = '{numbers}'")
    await store.make_partitions(datetime(2035, 1, 1, tzinfo=timezone.utc), datetime(2035, 1, 1, tzinfo=timezone.utc))
    assert await sql.fetchval("SELECT embedding::real[] FROM routing_texts") == [1.0, 2.5]


@pytest.mark.parametrize("there", [False, True])
async def test_a_role_that_may_not_install_extensions(
    postgres_dsn: str, sql: Sql, there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if there and not await sql.fetchval("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'"):
        pytest.skip("this PostgreSQL has no pgvector")
    url = urlsplit(postgres_dsn)
    database, role = url.path[1:], f"role_{url.path[1:]}"
    await sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    try:
        # The owner of a schema, and of no more: not of the database, who may install what is trusted.
        await sql.execute(f"CREATE SCHEMA log AUTHORIZATION {role}; ALTER ROLE {role} SET search_path = log, public")
        if there:
            await sql.execute("CREATE EXTENSION vector")
        host = url.netloc.rpartition("@")[2]
        dsn = urlunsplit(url._replace(netloc=f"{role}:{role}@{host}"))
        async with await Store.connect(dsn) as store:
            assert len(await store.migrate()) == len(NAMES)
            decision = make_decision()
            await store.copy([decision, make_texts(decision), make_outcome(decision)])
            await store.copy([decision, make_texts(decision), make_outcome(decision)])
            assert (await store.maintain("week", 30, 30)).finished
            assert (await store.counts()).texts == 1
        await sql.execute("SET search_path = log, public")
        assert await embedding_type(sql) == ("vector" if there else "real[]")
        assert "default partitions" not in caplog.text
    finally:
        await sql.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert await sql.fetchval("SELECT current_database()") == database


# The command


@pytest.mark.parametrize("as_json", [False, True])
def test_dry_run_says_what_is_pending_and_changes_nothing(
    bare_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", bare_dsn)
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG)

    def run(*options: str) -> str:
        words = ["migrate", "--config", str(config), *options, *(["--json"] if as_json else [])]
        result = CliRunner().invoke(cli.main, words)
        assert result.exit_code == 0, result.output
        return result.stdout

    def expected(word: str, found: tuple[migrations.Migration, ...]) -> str:
        if as_json:
            listed = [{"version": each.version, "name": each.name, "sha256": each.sha256} for each in found]
            return json.dumps({word: listed}) + "\n"
        lines = [f"{word}: {each.version:04d}_{each.name}" for each in found]
        return "\n".join([*lines, f"{len(found)} {word}" if found else "up to date"]) + "\n"

    every = migrations.available()
    for _ in range(2):
        assert run("--dry-run") == expected("pending", every)
    assert run() == expected("applied", every)
    assert run("--dry-run") == expected("pending", ())
    assert run() == expected("applied", ())
    assert "routing_logs_20" in asyncio.run(first_partition(bare_dsn))


CONFIG = """
model_list:
  - {model_name: small, litellm_params: {model: openai/small}}
routing:
  fallback_tier: simple
  tiers:
    simple: {score_range: [0, 100], model: small}
  collector: {partition: day}
"""


async def first_partition(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    name: str = await connection.fetchval("SELECT name FROM bsg_partitions('routing_logs') LIMIT 1")
    await connection.close()
    assert len(name) == len("routing_logs_2031_01_01"), "a day, as the configuration says"
    return name


@pytest.fixture
def bare_dsn(postgres_server: str) -> Any:
    """DSN of a fresh database, for a test that has no event loop: the command brings its own."""
    name = f"test_command_{time.monotonic_ns()}"

    async def execute(sql: str) -> None:
        connection = await asyncpg.connect(postgres_server)
        await connection.execute(sql)
        await connection.close()

    asyncio.run(execute(f"CREATE DATABASE {name}"))
    yield urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
    asyncio.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))
