"""The sums of the log: right whatever comes late, twice or not in order, in a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from bsgateway import rollups
from bsgateway.connections import init_connection
from bsgateway.decision import Caller, Decision, Method, Outcome, Strategy, now
from bsgateway.errors import StoreError
from bsgateway.rollups import Refresher, refresh, refresh_all
from bsgateway.rows import LOG_COLUMNS, Item, log_row
from bsgateway.sql import queries
from bsgateway.store import Store
from builders import id_at, make_comparison, make_decision, make_failure, make_outcome

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

NOON = datetime(2026, 3, 14, 12, 7, tzinfo=timezone.utc)  # not within a minute of a border: both sides would be marked
HOUR, DAY = NOON.replace(minute=0), NOON.replace(hour=0, minute=0)
DIMENSIONS = "tier, method, strategy, reason, model, applied"
MEASURES = (
    "requests, failed, fell_back, routed, priced, spent, cost, baseline_cost, learning_cost, prompt_tokens, "
    "completion_tokens, cache_read_tokens, cache_write_tokens"
)
TABLES = ("routing_rollups", "routing_key_rollups", "routing_histograms")

PLAIN = """
SELECT
    count(*) AS requests,
    count(*) FILTER (WHERE status = 'failure') AS failed,
    count(*) FILTER (WHERE applied AND status = 'success' AND served_group <> resolved_model) AS fell_back,
    count(*) FILTER (WHERE tier IS NOT NULL AND applied) AS routed,
    count(*) FILTER (WHERE tier IS NOT NULL AND applied AND o.cost + baseline_cost IS NOT NULL) AS priced,
    coalesce(sum(o.cost), 0) AS spent,
    coalesce(sum(o.cost) FILTER (WHERE tier IS NOT NULL AND applied AND baseline_cost IS NOT NULL), 0) AS cost,
    coalesce(sum(baseline_cost) FILTER (WHERE tier IS NOT NULL AND applied AND o.cost IS NOT NULL), 0) AS baseline_cost,
    coalesce(sum(c.cost), 0) AS learning_cost,
    coalesce(sum(prompt_tokens), 0) AS prompt_tokens,
    coalesce(sum(completion_tokens), 0) AS completion_tokens,
    coalesce(sum(cache_read_tokens), 0) AS cache_read_tokens,
    coalesce(sum(cache_write_tokens), 0) AS cache_write_tokens
FROM routing_logs d
LEFT JOIN routing_outcomes o USING (decision_id)
LEFT JOIN routing_comparisons c USING (decision_id)
WHERE d.decision_id >= bsg_uuid7_floor($1) AND d.decision_id < bsg_uuid7_floor($2)
"""
"""The same sums from the rows themselves, in the plainest SQL."""

COVERED = f"""
SELECT {", ".join(f"coalesce(sum({name.strip()}), 0) AS {name.strip()}" for name in MEASURES.split(","))}
FROM bsg_cover($1, $2) stretch
JOIN routing_rollups r ON r.span = stretch.span AND r.bucket >= stretch.first AND r.bucket < stretch.last
"""


def at(moment: datetime, **fields: Any) -> Decision:
    return make_decision(decision_id=id_at(moment, random.getrandbits(60)), created_at=moment, **fields)


def near(found: Any, wanted: Any) -> bool:
    numbers = [{name: float(value) for name, value in row.items()} for row in (found, wanted)]
    return numbers[0] == pytest.approx(numbers[1], rel=1e-9, abs=1e-9)


async def settled(store: Store, retention_days: int | None = None) -> None:
    assert await refresh_all(store, retention_days)


async def plain(sql: Connection, since: datetime, until: datetime) -> asyncpg.Record:
    found = await sql.fetchrow(PLAIN, since, until)
    assert found is not None
    return found


async def covered(sql: Connection, since: datetime, until: datetime) -> asyncpg.Record:
    found = await sql.fetchrow(COVERED, since, until)
    assert found is not None
    return found


async def assert_right(sql: Connection, since: datetime, until: datetime) -> None:
    assert near(await covered(sql, since, until), await plain(sql, since, until))


async def sums(sql: Connection, table: str = "routing_rollups", span: int = 3600) -> list[asyncpg.Record]:
    return await sql.fetch(f"SELECT * FROM {table} WHERE span = $1 ORDER BY bucket", span)


def some_rows(generator: random.Random, first: datetime, seconds: float, count: int) -> list[Item]:
    """Decisions and outcomes of all kinds."""
    rows: list[Item] = []
    for _ in range(count):
        tier = generator.choice([None, "simple", "medium", "complex"])
        decision = at(
            first + timedelta(seconds=generator.random() * seconds),
            tier=tier,
            method=generator.choice(list(Method)),
            strategy=generator.choice(list(Strategy)) if tier else None,
            complexity_score=generator.randrange(101) if tier else None,
            resolved_model=generator.choice(["small", "large"]),
            applied=generator.random() < 0.8,
            caller=Caller(key_hash=generator.choice(["a", "b", None]), team_id=generator.choice(["t", None])),
        )
        rows.append(decision)
        if generator.random() < 0.9:
            cost = generator.choice([None, generator.random()])
            baseline = generator.choice([None, generator.random()])
            make = generator.choice([make_outcome, make_outcome, make_failure])
            rows.append(
                make(decision, cost=cost, baseline_cost=baseline, served_group=generator.choice(["small", None]))
            )
        if generator.random() < 0.1:
            rows.append(make_comparison(decision, cost=generator.choice([None, generator.random()])))
    return rows


async def test_an_hour_has_a_known_sum(store: Store, sql: Connection) -> None:
    decision = at(NOON, tier="simple", resolved_model="small", caller=Caller(key_hash="h", key_alias="k", team_id="t"))
    outcome = make_outcome(
        decision, cost=0.25, baseline_cost=2.0, served_group="small", prompt_tokens=10, completion_tokens=5,
        cache_read_tokens=3, cache_write_tokens=2, latency_ms=100.0, first_token_ms=None,
    )  # fmt: skip
    await store.copy([decision, outcome, make_comparison(decision, cost=0.5)])
    await settled(store)
    (row,) = await sums(sql)
    found = [row[name.strip()] for name in f"bucket, {DIMENSIONS}".split(",")]
    assert found == [HOUR, "simple", "pattern", "static", "pattern_score", "small", True]
    assert tuple(row[name.strip()] for name in MEASURES.split(",")) == (
        1,
        0,
        0,
        1,
        1,
        0.25,
        0.25,
        2.0,
        0.5,
        10,
        5,
        3,
        2,
    )
    (key,) = await sums(sql, "routing_key_rollups")
    assert (key["key_hash"], key["key_alias"], key["team_id"], key["cost"]) == ("h", "k", "t", 0.25)
    bins = {(row["measure"], row["model"]): row["bin"] for row in await sums(sql, "routing_histograms")}
    assert bins == {("score", ""): 17, ("decision_us", ""): 64, ("latency_ms", "small"): 80}


@pytest.mark.parametrize(
    ("decision", "outcome", "wanted"),
    [
        ({"tier": None}, {"cost": 1.0, "baseline_cost": 3.0}, {"routed": 0, "priced": 0, "spent": 1.0, "cost": 0.0}),
        ({"applied": False}, {"cost": 1.0, "baseline_cost": 3.0}, {"routed": 0, "spent": 1.0, "baseline_cost": 0.0}),
        ({}, {"cost": None, "baseline_cost": 3.0}, {"routed": 1, "priced": 0, "spent": 0.0, "baseline_cost": 0.0}),
        ({}, {"cost": 1.0, "baseline_cost": None}, {"routed": 1, "priced": 0, "spent": 1.0, "cost": 0.0}),
        ({}, {"cost": 1.0, "baseline_cost": 0.0}, {"priced": 1, "cost": 1.0, "baseline_cost": 0.0}),
        ({"resolved_model": "a"}, {"served_group": "b"}, {"fell_back": 1, "failed": 0}),
        ({"resolved_model": "a", "applied": False}, {"served_group": "b"}, {"fell_back": 0}),
    ],
)
async def test_what_counts(
    store: Store, sql: Connection, decision: dict[str, Any], outcome: dict[str, Any], wanted: dict[str, Any]
) -> None:
    row = at(NOON, **decision)
    await store.copy([row, make_outcome(row, **outcome)])
    await settled(store)
    (found,) = await sums(sql)
    assert {name: found[name] for name in wanted} == wanted


async def test_a_shadow_decision_counts_for_the_model_that_was_asked_for(store: Store, sql: Connection) -> None:
    rows = [at(NOON, applied=False, original_model="asked", resolved_model="would"), at(NOON, resolved_model="does")]
    await store.copy(rows)
    await settled(store)
    assert {row["model"] for row in await sums(sql)} == {"asked", "does"}


async def test_what_comes_late_twice_and_in_any_order(store: Store, sql: Connection) -> None:
    decision = at(NOON)
    await store.copy([make_failure(decision)])  # before its decision
    await settled(store)
    assert await sums(sql) == []
    await store.copy([decision])
    await settled(store)
    assert (await sums(sql))[0]["failed"] == 1
    success = make_outcome(decision, cost=2.0)
    for _ in range(2):
        await store.copy([decision, success])
        await settled(store)
    (row,) = await sums(sql)
    assert (row["requests"], row["failed"], row["spent"]) == (1, 0, 2.0)
    await store.copy([make_comparison(decision, cost=0.5)])
    await settled(store)
    assert (await sums(sql))[0]["learning_cost"] == 0.5
    await sql.execute("UPDATE routing_logs SET tier = 'other'")
    await settled(store)
    assert [row["tier"] for row in await sums(sql)] == ["other"]
    await sql.execute("DELETE FROM routing_outcomes")
    await settled(store)
    assert (await sums(sql))[0]["spent"] == 0
    await sql.execute("DELETE FROM routing_logs")
    await settled(store)
    for table in TABLES:
        assert await sql.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_a_row_of_a_transaction_that_ends_later_is_not_missed(store: Store, sql: Connection) -> None:
    await store.copy([at(NOON)])
    transaction = sql.transaction()
    await transaction.start()
    late = at(NOON + timedelta(seconds=1))
    await init_connection(sql)
    await sql.copy_records_to_table("routing_logs", records=[log_row(late)], columns=LOG_COLUMNS)
    async with store.acquire() as connection:
        assert await refresh(connection) == 1
    await transaction.commit()
    await settled(store)
    assert sum(row["requests"] for row in await sums(sql)) == 2


async def test_days_are_added_up_when_they_are_over(store: Store, sql: Connection) -> None:
    today = at(now())
    await store.copy([at(NOON), at(NOON + timedelta(days=1)), today])
    await settled(store)
    days = [row["bucket"] for row in await sums(sql, span=86400)]
    assert days == [DAY, DAY + timedelta(days=1)]
    waiting = await sql.fetch("SELECT span, bucket FROM routing_rollup_marks")
    assert [(row["span"], row["bucket"].date()) for row in waiting] == [(86400, today.created_at.date())]
    await assert_right(sql, DAY, now().replace(minute=0) + timedelta(hours=2))


async def test_a_day_whose_mark_waits_is_covered_by_its_hours(store: Store, sql: Connection) -> None:
    await store.copy([at(NOON)])
    await settled(store)
    start = DAY
    whole = await sql.fetch("SELECT * FROM bsg_cover($1, $2)", start, start + timedelta(days=2))
    assert [row["span"] for row in whole] == [86400]
    await sql.execute("INSERT INTO routing_rollup_marks VALUES (86400, $1)", start + timedelta(days=1))
    parts = await sql.fetch("SELECT * FROM bsg_cover($1, $2)", start, start + timedelta(days=2))
    assert [row["span"] for row in parts] == [86400, 3600]


async def test_sums_stay_when_retention_drops_the_rows(store: Store, sql: Connection) -> None:
    old, fresh = at(NOON), at(now() - timedelta(days=1))
    await store.copy([old, fresh])
    await settled(store, retention_days=30)
    assert len(await sums(sql)) == 1  # older than retention before it was ever added up
    await sql.execute("INSERT INTO routing_rollup_marks VALUES (900, $1)", HOUR)
    await settled(store)
    before = await sums(sql)
    assert len(before) == 2
    await sql.execute("DELETE FROM routing_logs WHERE decision_id = $1", old.decision_id)
    await settled(store, retention_days=30)
    assert await sums(sql) == before


async def test_one_worker_at_a_time(store: Store, sql: Connection) -> None:
    await store.copy([at(NOON)])
    async with sql.transaction():
        await sql.execute("SELECT pg_advisory_xact_lock(7215366061838321239)")
        async with store.acquire() as connection:
            assert await refresh(connection) == -1
    async with store.acquire() as connection:
        assert await refresh(connection) == 1
        assert await refresh(connection) == 0


async def test_rows_that_are_moved_into_a_partition_are_not_missed(
    store: Store, sql: Connection, postgres_dsn: str
) -> None:
    await store.copy([at(NOON)])  # long ago: there is no partition for it
    mover = await asyncpg.connect(postgres_dsn)
    try:
        async with mover.transaction():
            make = "SELECT bsg_make_partitions('routing_logs', $1, $2, 'month')"
            assert await mover.fetchval(make, DAY, DAY + timedelta(days=1)) == 1
            adding = asyncio.create_task(refresh(sql))
            await asyncio.wait([adding], timeout=0.2)  # where it waits for the move, it ends after it
    finally:
        await mover.close()
    await adding
    await settled(store)
    assert [row["requests"] for row in await sums(sql)] == [1]


async def test_the_newest_hours_come_first(store: Store, sql: Connection) -> None:
    moments = [NOON + timedelta(hours=hour) for hour in range(5)]
    await store.copy([at(moment) for moment in moments])
    async with store.acquire() as connection:
        assert await refresh(connection, hours=2) == 2
        assert await queries().rollups_waiting(connection) == 3
    assert [row["bucket"] for row in await sums(sql)] == [HOUR + timedelta(hours=hour) for hour in (3, 4)]
    told: list[tuple[int, int]] = []
    assert await refresh_all(store, None, lambda done, left: told.append((done, left)))
    assert told == [(3, 0)]


async def test_the_migration_marks_what_is_there(empty: Store, sql: Connection) -> None:
    await empty.migrate()
    await empty.copy([at(NOON)])
    await sql.execute("TRUNCATE routing_rollup_marks")
    # As the end of migration 0010 does.
    await sql.execute(
        "INSERT INTO routing_rollup_marks (span, bucket) "
        "SELECT DISTINCT 900, bsg_span(bsg_uuid7_time(decision_id), 900) FROM routing_logs"
    )
    await settled(empty)
    assert len(await sums(sql)) == 1


async def test_no_id_stops_the_sums(store: Store, sql: Connection) -> None:
    # Any uuid may come by SQL: its time is what its first bits say.
    strange = ["00000000-0000-0000-0000-000000000000", "f47ac10b-58cc-4372-a567-0e02b2c3d479"]
    await store.copy([make_decision(decision_id=UUID(each)) for each in strange])
    await settled(store)
    assert await sql.fetchval("SELECT sum(requests) FROM routing_rollups WHERE span = 900") == 2


async def test_whoever_may_only_write_rows_marks_them(store: Store, sql: Connection, postgres_dsn: str) -> None:
    role, database = f"writer_{uuid4().hex}", urlsplit(postgres_dsn).path[1:]
    await sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'writes'")
    try:
        await sql.execute(
            f"""GRANT TEMP ON DATABASE {database} TO {role};
            GRANT SELECT, INSERT ON routing_logs, routing_texts, routing_outcomes, routing_comparisons TO {role};
            GRANT UPDATE ON routing_outcomes TO {role}"""
        )
        address = urlsplit(postgres_dsn)
        own = urlunsplit(address._replace(netloc=f"{role}:writes@{address.netloc.rpartition('@')[2]}"))
        decision = at(NOON)
        async with await Store.connect(own) as restricted:
            for _ in range(2):
                await restricted.copy([decision, make_outcome(decision)])
            assert await Refresher(lambda: asyncio.sleep(0, restricted), None).once() is None
        await settled(store)
        await assert_right(sql, HOUR, HOUR + timedelta(hours=1))
    finally:
        await sql.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_any_time_is_covered_exactly(store: Store, sql: Connection) -> None:
    generator = random.Random(4)
    first = datetime(2026, 2, 26, tzinfo=timezone.utc)  # over the border of two partitions
    seconds = 5 * 86_400
    for _ in range(3):
        await store.copy(some_rows(generator, first, seconds, 300))
        await settled(store)
    quarters = seconds // 900
    for _ in range(60):
        low, high = sorted(generator.sample(range(-20, quarters + 20), 2))
        await assert_right(sql, first + timedelta(minutes=15 * low), first + timedelta(minutes=15 * high))
    for span in (3600, 86400):
        keys = await sql.fetchrow(f"SELECT {_all()} FROM routing_key_rollups WHERE span = $1", span)
        everybody = await sql.fetchrow(f"SELECT {_all()} FROM routing_rollups WHERE span = $1", span)
        assert near(keys, everybody)
        scores = "SELECT sum(count) FROM routing_histograms WHERE span = $1 AND measure = 'score'"
        assert await sql.fetchval(scores, span) == await sql.fetchval(
            "SELECT count(*) FROM routing_logs WHERE complexity_score IS NOT NULL"
        )


def _all() -> str:
    return ", ".join(f"sum({name.strip()}) AS {name.strip()}" for name in MEASURES.split(","))


async def test_workers_that_write_and_add_up_at_once_agree(store: Store, sql: Connection, postgres_dsn: str) -> None:
    generator = random.Random(7)
    batches = [some_rows(generator, NOON - timedelta(hours=6), 6 * 3600, 40) for _ in range(12)]

    async def write(part: Sequence[list[Item]]) -> None:
        for batch in part:
            await store.copy(batch)
            await asyncio.sleep(0)

    async def add_up() -> None:
        async with await Store.connect(postgres_dsn) as own:
            for _ in range(12):
                async with own.acquire() as connection:
                    await refresh(connection, hours=2)

    await asyncio.gather(write(batches[::2]), write(batches[1::2]), add_up(), add_up())
    await settled(store)
    await assert_right(sql, HOUR - timedelta(hours=7), HOUR + timedelta(hours=1))


async def test_the_refresher_outlives_a_database_that_is_away(store: Store, sql: Connection) -> None:
    away = True

    async def connect() -> Store:
        if away:
            raise StoreError("away")
        return store

    refresher = Refresher(connect, None)
    await store.copy([at(NOON)])
    assert await refresher.once() is None
    assert refresher.failures == 1
    away = False
    assert await refresher.once() == 1
    assert len(await sums(sql)) == 1


async def test_what_took_too_long_is_soon_tried_in_smaller_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refresh(_connection: Any, _retention_days: int | None, hours: int) -> int:
        if hours > 4:
            raise asyncpg.QueryCanceledError
        return hours - 1

    async def connect() -> Store:
        return store

    monkeypatch.setattr(rollups, "refresh", refresh)
    monkeypatch.setattr(rollups, "PAUSE", 1_000.0)
    monkeypatch.setattr(rollups, "SHARE", 1.0)
    refresher = Refresher(connect, None)
    waits = [await refresher.turn() for _ in range(3)]
    assert [wait < 1_000 for wait in waits] == [True, True, False]  # 16 and 8 hours, and then 4


async def test_an_outcome_alone_marks_its_decision(store: Store, sql: Connection) -> None:
    decision = at(NOON)
    await store.copy([decision])
    await settled(store)
    later: Outcome = make_outcome(decision, cost=3.0)
    await store.copy([later])
    assert await sql.fetchval("SELECT count(*) FROM routing_rollup_marks WHERE span = 900") > 0
    await settled(store)
    assert (await sums(sql))[0]["spent"] == 3.0
