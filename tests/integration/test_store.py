"""The database of the log: migrations, partitions, writing and reading, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import msgspec
import pytest

import bsgateway
from bsgateway import migrations
from bsgateway.decision import Decision, Method, Reason, new_id, now
from bsgateway.errors import StoreError
from bsgateway.rows import LOG_COLUMNS, OUTCOME_COLUMNS, TEXT_COLUMNS, Item, LogRow
from bsgateway.store import Counts, Store, TierSavings, describe
from builders import id_at, make_decision, make_failure, make_outcome, make_texts

TABLES = ("routing_logs", "routing_texts", "routing_outcomes", "routing_feedback")
NAMES = ["routing_tables", "partitions", "training_view", "token_encoding", "texts_and_dead_letters"]


@pytest.fixture
async def empty(postgres_dsn: str) -> AsyncIterator[Store]:
    """A store without a schema."""
    async with await Store.connect(postgres_dsn) as store:
        yield store


@pytest.fixture
async def store(empty: Store) -> Store:
    """A store that is ready."""
    await empty.migrate()
    return empty


@pytest.fixture
async def sql(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A plain connection, to see what is really there."""
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


def names(found: tuple[migrations.Migration, ...]) -> list[str]:
    return [migration.name for migration in found]


# Migrations


async def test_migrate_from_empty_then_nothing_is_left(empty: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
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


async def test_an_altered_migration_is_refused(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    await sql.execute("UPDATE bsgateway_migrations SET sha256 = 'other' WHERE version = 2")
    for call in (store.pending, store.migrate):
        with pytest.raises(StoreError, match="0002_partitions was applied to the database with another text"):
            await call()


async def test_a_newer_database_is_refused(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    await sql.execute("INSERT INTO bsgateway_migrations VALUES (5, 'later', 'x')")
    for call in (store.pending, store.migrate):
        with pytest.raises(StoreError, match="has migration 0005_later, and this version of bsgateway ends at 0004"):
            await call()


async def test_a_hole_in_the_applied_migrations_is_refused(
    store: Store, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    await sql.execute("DELETE FROM bsgateway_migrations WHERE version = 1")
    with pytest.raises(StoreError, match="0002_partitions without the one before it"):
        await store.migrate()


async def test_a_failing_migration_leaves_no_trace(
    empty: Store, sql: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, *_ = migrations.available()
    bad = migrations.Migration(2, "bad", "x", "CREATE TABLE half (a integer); SELECT 1 / 0;")
    monkeypatch.setattr(migrations, "available", lambda: (good, bad))
    with pytest.raises(StoreError, match="division by zero"):
        await empty.migrate()
    assert await sql.fetchval("SELECT to_regclass('half')") is None
    assert await sql.fetchval("SELECT max(version) FROM bsgateway_migrations") == 1


async def test_every_table_and_column_has_a_comment(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    columns = await sql.fetch(
        "SELECT c.relname, a.attname, col_description(c.oid, a.attnum) AS comment, obj_description(c.oid) AS about "
        "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relname = ANY($1) AND a.attnum > 0 ORDER BY c.relname, a.attnum",
        [*TABLES, "routing_training", "bsgateway_migrations"],
    )
    assert not [f"{row['relname']}.{row['attname']}" for row in columns if not row["comment"] or not row["about"]]
    found: dict[str, list[str]] = {}
    for row in columns:
        found.setdefault(row["relname"], []).append(row["attname"])
    assert found["routing_logs"] == list(LOG_COLUMNS)
    assert found["routing_texts"] == list(TEXT_COLUMNS)
    assert found["routing_outcomes"] == list(OUTCOME_COLUMNS)


# Connecting


@pytest.mark.parametrize(
    ("dsn", "address"),
    [
        ("postgresql://me:pa55word@db.example:6543/log", "db.example:6543/log"),
        ("postgres://me:pa55word@db.example/log?sslmode=require", "db.example/log"),
        ("postgresql://me:pa55word@/log?host=/run/pg", "/run/pg/log"),
        ("postgresql://", "localhost/"),
        ("postgresql://me:pa55/word@db.example/log", "an address that is not a URL"),
        ("host=db password=pa55word", "an address that is not a URL"),
    ],
)
def test_describe_names_the_address_and_no_secret(dsn: str, address: str) -> None:
    assert describe(dsn) == address


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:pa55word@127.0.0.1:1/log",
        "postgresql://me:pa55/word@127.0.0.1/log",
        "postgresql://me:pa55word@127.0.0.1:port/log",
        "mysql://me:pa55word@127.0.0.1/log",
        "host=127.0.0.1 password=pa55word",
    ],
)
async def test_an_error_of_connecting_never_shows_the_password(dsn: str) -> None:
    with pytest.raises(StoreError, match=r"cannot connect to PostgreSQL at .*COLLECTOR_DATABASE_URL") as caught:
        await Store.connect(dsn)
    error: BaseException | None = caught.value
    assert "pa55" not in str(error)
    assert error is not None
    assert error.__cause__ is None
    assert error.__suppress_context__


async def test_a_missing_database_is_named(postgres_dsn: str) -> None:
    dsn = urlunsplit(urlsplit(postgres_dsn)._replace(path="/nowhere"))
    with pytest.raises(StoreError, match='nowhere: database "nowhere" does not exist'):
        await Store.connect(dsn)


async def test_reading_before_migrating_says_what_to_do(empty: Store) -> None:
    with pytest.raises(StoreError, match="run `bsgateway migrate`"):
        await empty.counts()


# Writing and reading


async def test_every_field_comes_back(store: Store) -> None:
    decision = make_decision()
    assert not [name for name in Decision.__struct_fields__ if getattr(decision, name) in (None, ())], "not tried"
    outcome = make_outcome(decision, error_class="Timeout", error_status=504)
    await store.copy([decision, make_texts(decision), outcome])
    assert await store.recent() == [LogRow(decision, outcome)]


async def test_fields_without_a_value_come_back(store: Store) -> None:
    decision = Decision(
        decision_id=new_id(),
        created_at=now(),
        call_type="acompletion",
        method=Method.PASSTHROUGH,
        reason=Reason.MODEL_LIST,
        original_model="",
        resolved_model="gpt",
    )
    await store.copy([decision])
    assert await store.recent() == [LogRow(decision, None)]


async def test_no_method_or_reason_is_refused(store: Store) -> None:
    decisions = [make_decision(method=method, reason=reason) for method in Method for reason in Reason]
    await store.copy(decisions)
    found = {row.decision.decision_id: row.decision for row in await store.recent(limit=100)}
    assert {d.decision_id: (d.method, d.reason) for d in decisions} == {
        decision_id: (decision.method, decision.reason) for decision_id, decision in found.items()
    }


async def test_writing_twice_changes_nothing(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    decision, other = make_decision(), make_decision()
    batch: list[Item] = [decision, make_texts(decision), make_outcome(decision), other, make_failure(other)]

    async def everything() -> list[Any]:
        return [await sql.fetch(f"SELECT * FROM {table} ORDER BY decision_id") for table in TABLES]

    await store.copy(batch)
    first = await everything()
    await store.copy(batch)
    await store.copy([*batch, *batch])
    changed = msgspec.structs.replace(decision, tier="complex")
    await store.copy([changed, make_texts(decision, ask="other")])
    assert await everything() == first
    assert await store.counts() == Counts(logs=2, texts=1, outcomes=2, feedback=0)


async def test_what_is_new_in_a_batch_is_written_though_the_rest_is_there(store: Store) -> None:
    old, new = make_decision(), make_decision()
    await store.copy([old])
    await store.copy([new, make_texts(new), old, make_texts(old), make_outcome(old)])
    assert await store.counts() == Counts(logs=2, texts=2, outcomes=1, feedback=0)
    late = make_decision()
    await store.copy([late, make_texts(late), make_texts(old)])
    assert await store.counts() == Counts(logs=3, texts=3, outcomes=1, feedback=0)


@pytest.mark.parametrize("together", [True, False])
async def test_the_outcome_that_stays(store: Store, together: bool) -> None:
    decision = make_decision()
    base = decision.created_at
    early_failure = make_failure(decision, completed_at=base + timedelta(seconds=1))
    late_failure = make_failure(decision, completed_at=base + timedelta(seconds=9), error_class="Timeout")
    success = make_outcome(decision, completed_at=base + timedelta(seconds=5))
    again = make_outcome(decision, completed_at=base + timedelta(seconds=6), cost=99.0)
    expected = {
        (early_failure, success): success,
        (success, early_failure): success,
        (success, late_failure): success,
        (late_failure, success): success,
        (success, again): success,
        (early_failure, late_failure): late_failure,
        (late_failure, early_failure): late_failure,
        (early_failure, success, late_failure): success,
    }
    for outcomes, winner in expected.items():
        fresh = new_id()
        batch = [msgspec.structs.replace(outcome, decision_id=fresh) for outcome in outcomes]
        await store.copy([make_decision(decision_id=fresh)])
        for part in [batch] if together else [[outcome] for outcome in batch]:
            await store.copy(part)
        (row,) = await store.recent(limit=1)
        assert row.outcome == msgspec.structs.replace(winner, decision_id=fresh)


async def test_a_batch_is_written_whole_or_not_at_all(store: Store) -> None:
    good, bad = make_decision(), make_decision(complexity_score=101)
    with pytest.raises(asyncpg.CheckViolationError):
        await store.copy([good, make_texts(good), bad])
    assert await store.counts() == Counts(0, 0, 0, 0)
    await store.copy([good])
    assert (await store.counts()).logs == 1


async def test_what_is_no_record_is_refused(store: Store) -> None:
    stray: Any = "stray"
    with pytest.raises(TypeError, match="not a record of the log: str"):
        await store.copy([make_decision(), stray])
    assert (await store.counts()).logs == 0


async def test_recent_gives_the_newest_and_then_what_follows(store: Store) -> None:
    # Ids of one millisecond are in no order.
    decisions = [make_decision(decision_id=id_at(now(), tail=number)) for number in range(8)]
    decisions.sort(key=lambda decision: decision.decision_id)
    await store.copy([decisions[5], *decisions[:5], make_outcome(decisions[4])])
    rows = await store.recent(limit=3)
    assert [row.decision for row in rows] == decisions[3:6]
    assert [row.outcome is not None for row in rows] == [False, True, False]
    await store.copy(decisions[6:])
    rows = await store.recent(limit=1, after=decisions[5].decision_id)
    assert [row.decision for row in rows] == decisions[6:7]
    assert [row.decision for row in await store.recent(after=decisions[5].decision_id)] == decisions[6:]
    assert await store.recent(after=decisions[7].decision_id) == []


async def test_savings_add_up_what_has_both_prices(store: Store) -> None:
    simple = [make_decision(tier="simple") for _ in range(4)]
    complex_ = make_decision(tier="complex")
    passed = make_decision(tier=None)
    old_time = now() - timedelta(days=3)
    old = make_decision(tier="simple", decision_id=id_at(old_time), created_at=old_time)
    await store.copy(
        [
            *simple,
            complex_,
            passed,
            old,
            make_outcome(simple[0], cost=0.25, baseline_cost=1.0),
            make_outcome(simple[1], cost=0.5, baseline_cost=2.0),
            make_outcome(simple[2], cost=None, baseline_cost=4.0),
            make_failure(simple[3]),
            make_outcome(complex_, cost=8.0, baseline_cost=8.0),
            make_outcome(passed, cost=16.0, baseline_cost=None),
            make_outcome(old, cost=32.0, baseline_cost=64.0),
        ]
    )
    assert await store.savings(now() - timedelta(days=1)) == [
        TierSavings("complex", requests=1, failed=0, priced=1, cost=8.0, baseline_cost=8.0),
        TierSavings("simple", requests=4, failed=1, priced=2, cost=0.75, baseline_cost=3.0),
        TierSavings(None, requests=1, failed=0, priced=0, cost=0.0, baseline_cost=0.0),
    ]
    assert (await store.savings(now() - timedelta(days=4)))[1].cost == 32.75


# Partitions


async def test_rows_lie_in_the_month_of_their_id(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    first, last = datetime(2031, 1, 15, tzinfo=timezone.utc), datetime(2031, 2, 1, tzinfo=timezone.utc)
    assert await store.make_partitions(first, last) == 8
    assert await store.make_partitions(first, last) == 0
    february = datetime(2031, 2, 1, tzinfo=timezone.utc)
    places = {
        id_at(february - timedelta(milliseconds=1), tail=2**62 - 1): "_2031_01",
        id_at(february): "_2031_02",
        id_at(datetime(2031, 2, 28, 23, 59, 59, 999_000, tzinfo=timezone.utc)): "_2031_02",
        id_at(datetime(2031, 3, 1, tzinfo=timezone.utc)): "_default",
        id_at(datetime(1970, 1, 1, tzinfo=timezone.utc)): "_default",
        id_at(datetime(9999, 12, 31, tzinfo=timezone.utc)): "_default",
    }
    for decision_id in places:
        decision = make_decision(decision_id=decision_id)
        await store.copy([decision, make_texts(decision), make_outcome(decision)])
    for table in TABLES[:3]:
        found = await sql.fetch(f"SELECT decision_id, tableoid::regclass::text AS place FROM {table}")
        assert {row["decision_id"]: row["place"] for row in found} == {
            decision_id: table + place for decision_id, place in places.items()
        }
    assert {row.decision.decision_id for row in await store.recent()} == set(places)


async def test_a_partition_made_late_takes_its_rows_from_the_default_one(
    store: Store, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    inside = make_decision(decision_id=id_at(datetime(2031, 5, 20, tzinfo=timezone.utc)))
    outside = make_decision(decision_id=id_at(datetime(2031, 6, 1, tzinfo=timezone.utc)))
    await store.copy([inside, outside, make_outcome(inside)])
    may = datetime(2031, 5, 31, tzinfo=timezone.utc)
    assert await store.make_partitions(may, may) == 4
    assert await sql.fetchval("SELECT decision_id FROM routing_logs_2031_05") == inside.decision_id
    assert await sql.fetchval("SELECT decision_id FROM routing_outcomes_2031_05") == inside.decision_id
    assert await sql.fetchval("SELECT decision_id FROM routing_logs_default") == outside.decision_id
    await store.copy([inside, make_outcome(inside)])
    assert await store.counts() == Counts(logs=2, texts=0, outcomes=1, feedback=0)


async def test_migrate_makes_the_partitions_of_the_months_around_now(
    store: Store, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    decision = make_decision()
    await store.copy([decision])
    assert await sql.fetchval("SELECT count(*) FROM routing_logs_default") == 0
    made = await sql.fetchval(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'routing_logs'::regclass "
        "AND inhrelid <> 'routing_logs_default'::regclass"
    )
    assert made in (5, 6), "31 days back and 93 ahead"


async def test_partitions_that_cannot_be_made_now_stop_nothing(
    store: Store, sql: asyncpg.Connection[asyncpg.Record], caplog: pytest.LogCaptureFixture
) -> None:
    await sql.execute("ALTER FUNCTION bsg_make_partitions RENAME TO gone")
    assert await store.migrate() == ()
    assert "rows go to the default partitions" in caplog.text
    await sql.execute("ALTER FUNCTION gone RENAME TO bsg_make_partitions")
    far = datetime(2033, 1, 1, tzinfo=timezone.utc)
    async with sql.transaction():
        await sql.execute("LOCK TABLE routing_logs_default IN ACCESS SHARE MODE")  # as a backup does
        with pytest.raises(StoreError, match="lock timeout"):
            await store.make_partitions(far, far)
        await store.copy([make_decision(decision_id=id_at(far))])
    assert await store.make_partitions(far, far) == 4
    assert await sql.fetchval("SELECT count(*) FROM routing_logs_2033_01") == 1


async def test_a_row_of_a_newer_version_is_named(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    await store.copy([make_decision()])
    await sql.execute("UPDATE routing_logs SET reason = 'invented later'")
    with pytest.raises(StoreError, match=r"another version: .*invented later.*upgrade"):
        await store.recent()


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Pacific/Kiritimati"])
async def test_months_are_those_of_utc(store: Store, sql: asyncpg.Connection[asyncpg.Record], zone: str) -> None:
    await sql.execute(f"SET timezone = '{zone}'")
    await sql.execute("SELECT bsg_make_partitions('2031-01-31 23:59:59Z', '2031-02-01 00:00:00Z')")
    bound = await sql.fetchval(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'routing_logs_2031_02'"
    )
    first, last = datetime(2031, 2, 1, tzinfo=timezone.utc), datetime(2031, 3, 1, tzinfo=timezone.utc)
    assert [UUID(part).int for part in bound.split("'")[1::2]] == [id_at(day).int >> 80 << 80 for day in (first, last)]


async def test_uuid7_floor(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    floor = "SELECT bsg_uuid7_floor($1)"
    moment = datetime(2026, 3, 4, 5, 6, 7, 891_999, tzinfo=timezone.utc)
    assert (await sql.fetchval(floor, moment)).int == id_at(moment).int >> 80 << 80
    assert (await sql.fetchval(floor, datetime(1950, 1, 1, tzinfo=timezone.utc))).int == 0
    for extreme in ("infinity", "-infinity", "294276-12-31"):
        assert await sql.fetchval(f"SELECT bsg_uuid7_floor('{extreme}')") is not None
    made = new_id()
    before, after = now() - timedelta(seconds=5), now() + timedelta(seconds=5)
    assert await sql.fetchval(floor, before) < made < await sql.fetchval(floor, after)


async def test_a_condition_on_the_id_skips_the_other_months(
    store: Store, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    plan = "\n".join(
        row[0]
        for row in await sql.fetch(
            "EXPLAIN SELECT * FROM routing_logs WHERE decision_id >= bsg_uuid7_floor(now()) "
            "AND decision_id < bsg_uuid7_floor(now() + interval '1 second')"
        )
    )
    assert plan.count("Scan using") + plan.count("Bitmap Heap Scan") <= 3, plan  # this month, maybe the next, default
    assert "Subplans Removed" in plan


# What the gateway learns from


async def test_routing_training(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    full, bare = make_decision(tier="simple", resolved_model="small"), make_decision()
    await store.copy([full, bare, make_texts(full, ask="Why?"), make_outcome(full, served_group="large")])
    await sql.executemany(
        "INSERT INTO routing_feedback (decision_id, created_at, source, rating, label) VALUES ($1, $2, $3, $4, $5)",
        [
            (full.decision_id, full.created_at, "user", 0.0, "complex"),
            (full.decision_id, full.created_at + timedelta(hours=1), "operator", 0.5, "medium"),
        ],
    )
    rows = {row["decision_id"]: row for row in await sql.fetch("SELECT * FROM routing_training")}
    assert len(rows) == 2
    row = rows[full.decision_id]
    assert (row["features"], row["feature_version"]) == (list(full.features or ()), 3)
    assert (row["ask"], row["status"], row["served_group"], row["fell_back"]) == ("Why?", "success", "large", True)
    assert (row["rating"], row["label"], row["label_source"]) == (0.5, "medium", "operator")
    row = rows[bare.decision_id]
    assert [row[name] for name in ("ask", "status", "fell_back", "rating", "label")] == [None] * 5


async def test_a_decision_without_a_fallback_did_not_fall_back(
    store: Store, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    decision = make_decision()
    await store.copy([decision, make_outcome(decision)])
    assert await sql.fetchval("SELECT fell_back FROM routing_training") is False
