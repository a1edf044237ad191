"""Partitions and retention, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from bsgateway import maintenance
from bsgateway.decision import new_id, now
from bsgateway.errors import StoreError
from bsgateway.maintenance import TABLES, Maintained, Period
from bsgateway.store import Counts, Store
from builders import id_at, make_comparison, make_decision, make_outcome, make_texts

if TYPE_CHECKING:
    Sql = asyncpg.Connection[asyncpg.Record]

NOW = datetime(2031, 5, 14, 12, tzinfo=timezone.utc)  # a Wednesday


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Maintenance at a moment of our choice: `clock(moment)`. The clocks themselves are tested apart."""

    def at(moment: datetime) -> None:
        async def answer(_: object) -> datetime:
            return moment

        monkeypatch.setattr(maintenance, "_moment", answer)

    at(NOW)
    return at


@pytest.fixture
async def bare(store: Store, sql: Sql) -> Store:
    """A store that has no partitions but the default ones."""
    for table in TABLES:
        for row in await sql.fetch("SELECT name FROM bsg_partitions($1)", table):
            await sql.execute(f"DROP TABLE {row['name']}")
    return store


async def fill(store: Store, *moments: datetime) -> list[UUID]:
    """A decision with texts and outcome, and feedback, at each of these moments."""
    ids = [id_at(moment, tail=number) for number, moment in enumerate(moments)]
    for moment, decision_id in zip(moments, ids, strict=True):
        decision = make_decision(decision_id=decision_id, created_at=moment)
        await store.copy([decision, make_texts(decision), make_outcome(decision), make_comparison(decision)])
        async with store.acquire() as connection:
            await connection.execute(
                "INSERT INTO routing_feedback (decision_id, created_at, source) VALUES ($1, $2, 'user')",
                decision_id,
                moment,
            )
    return ids


async def layout(sql: Sql, table: str = "routing_logs") -> list[str]:
    """The partitions of a table, without its name. Checks that their ranges do not overlap and are what they say."""
    rows = await sql.fetch(
        "SELECT name, bsg_uuid7_time(low) AS low, bsg_uuid7_time(high) AS high FROM bsg_partitions($1)", table
    )
    for earlier, later in pairwise(rows):
        assert earlier["high"] <= later["low"], "overlap"
    found = [row["name"].removeprefix(f"{table}_") for row in rows]
    for name, row in zip(found, rows, strict=True):
        low, length = row["low"], row["high"] - row["low"]
        year, week, _ = low.isocalendar()
        assert (name, length) in (
            (f"{low:%Y_%m_%d}", timedelta(days=1)),
            (f"{year}_w{week:02}", timedelta(days=7)),
            (f"{low:%Y_%m}", length),
        )
        if length not in (timedelta(days=1), timedelta(days=7)):
            assert low.day == row["high"].day == 1
            assert timedelta(days=28) <= length <= timedelta(days=31)
        assert (low.hour, row["high"].hour) == (0, 0)
    return found


async def gaps(sql: Sql, first: datetime, last: datetime) -> list[datetime]:
    """The days from `first` to `last` that lie in no partition of routing_logs."""
    return [
        row["day"]
        for row in await sql.fetch(
            "SELECT day FROM generate_series($1::timestamptz, $2, '1 day') day WHERE NOT EXISTS ("
            "SELECT FROM bsg_partitions('routing_logs') WHERE bsg_uuid7_floor(day) >= low "
            "AND bsg_uuid7_floor(day) < high)",
            first,
            last,
        )
    ]


# Making


async def test_rows_lie_in_the_month_of_their_id(store: Store, sql: Sql) -> None:
    first, last = datetime(2031, 1, 15, tzinfo=timezone.utc), datetime(2031, 2, 1, tzinfo=timezone.utc)
    assert await store.make_partitions(first, last) == 10
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


async def test_a_partition_made_late_takes_its_rows_from_the_default_one(store: Store, sql: Sql) -> None:
    inside = make_decision(decision_id=id_at(datetime(2031, 5, 20, tzinfo=timezone.utc)))
    outside = make_decision(decision_id=id_at(datetime(2031, 6, 1, tzinfo=timezone.utc)))
    await store.copy([inside, outside, make_outcome(inside)])
    may = datetime(2031, 5, 31, tzinfo=timezone.utc)
    assert await store.make_partitions(may, may) == 5
    assert await sql.fetchval("SELECT decision_id FROM routing_logs_2031_05") == inside.decision_id
    assert await sql.fetchval("SELECT decision_id FROM routing_outcomes_2031_05") == inside.decision_id
    assert await sql.fetchval("SELECT decision_id FROM routing_logs_default") == outside.decision_id
    await store.copy([inside, make_outcome(inside)])
    assert await store.counts() == Counts(logs=2, texts=0, outcomes=1, feedback=0)


async def test_migrate_makes_the_partitions_of_the_months_around_now(store: Store, sql: Sql) -> None:
    decision = make_decision()
    await store.copy([decision])
    assert await sql.fetchval("SELECT count(*) FROM routing_logs_default") == 0
    made = await sql.fetchval(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'routing_logs'::regclass "
        "AND inhrelid <> 'routing_logs_default'::regclass"
    )
    assert made in (4, 5), "this month, and 93 days ahead"


async def test_partitions_that_cannot_be_made_now_stop_nothing(
    store: Store, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = "(text, timestamptz, timestamptz, text)"
    await sql.execute(f"ALTER FUNCTION bsg_make_partitions{arguments} RENAME TO gone")
    assert await store.migrate() == ()
    assert "rows go to the default partitions" in caplog.text
    await sql.execute("ALTER FUNCTION gone RENAME TO bsg_make_partitions")
    far = datetime(2033, 1, 1, tzinfo=timezone.utc)
    async with sql.transaction():
        await sql.execute("LOCK TABLE routing_logs_default IN ACCESS SHARE MODE")  # as a backup does
        with pytest.raises(StoreError, match="lock timeout"):
            await store.make_partitions(far, far)
        await store.copy([make_decision(decision_id=id_at(far))])
    assert await store.make_partitions(far, far) == 5
    assert await sql.fetchval("SELECT count(*) FROM routing_logs_2033_01") == 1


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Pacific/Kiritimati"])
async def test_months_are_those_of_utc(store: Store, sql: Sql, zone: str) -> None:
    await sql.execute(f"SET timezone = '{zone}'")
    await sql.execute("SELECT bsg_make_partitions('2031-01-31 23:59:59Z', '2031-02-01 00:00:00Z')")
    bound = await sql.fetchval(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'routing_logs_2031_02'"
    )
    first, last = datetime(2031, 2, 1, tzinfo=timezone.utc), datetime(2031, 3, 1, tzinfo=timezone.utc)
    assert [UUID(part).int for part in bound.split("'")[1::2]] == [id_at(day).int >> 80 << 80 for day in (first, last)]


async def test_uuid7_floor(store: Store, sql: Sql) -> None:
    floor = "SELECT bsg_uuid7_floor($1)"
    moment = datetime(2026, 3, 4, 5, 6, 7, 891_999, tzinfo=timezone.utc)
    assert (await sql.fetchval(floor, moment)).int == id_at(moment).int >> 80 << 80
    assert (await sql.fetchval(floor, datetime(1950, 1, 1, tzinfo=timezone.utc))).int == 0
    for extreme in ("infinity", "-infinity", "294276-12-31"):
        assert await sql.fetchval(f"SELECT bsg_uuid7_floor('{extreme}')") is not None
    made = new_id()
    before, after = now() - timedelta(seconds=5), now() + timedelta(seconds=5)
    assert await sql.fetchval(floor, before) < made < await sql.fetchval(floor, after)


async def test_a_condition_on_the_id_skips_the_other_months(store: Store, sql: Sql) -> None:
    plan = "\n".join(
        row[0]
        for row in await sql.fetch(
            "EXPLAIN SELECT * FROM routing_logs WHERE decision_id >= bsg_uuid7_floor(now()) "
            "AND decision_id < bsg_uuid7_floor(now() + interval '1 second')"
        )
    )
    assert plan.count("Scan using") + plan.count("Bitmap Heap Scan") <= 3, plan  # this month, maybe the next, default
    assert "Subplans Removed" in plan


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ("month", ["2031_05", "2031_06", "2031_07", "2031_08"]),
        ("week", ["2031_w20", "2031_w21", "2031_w22", "2031_w23", "2031_w24"]),
        ("day", [f"2031_05_{day}" for day in range(14, 22)]),
    ],
)
async def test_each_period_is_made_ahead(
    bare: Store, sql: Sql, clock: Any, period: Period, expected: list[str]
) -> None:
    assert await bare.maintain(period, None, None) == Maintained(partitions_made=5 * len(expected))
    for table in TABLES:
        assert await layout(sql, table) == expected
    assert await bare.maintain(period, None, None) == Maintained(), "a second time changes nothing"


async def test_weeks_of_the_turn_of_the_year_have_names_of_their_own(bare: Store, sql: Sql) -> None:
    await bare.make_partitions(utc(2026, 12, 20), utc(2027, 1, 12), "week")
    assert await layout(sql) == ["2026_w51", "2026_w52", "2026_w53", "2027_w01", "2027_w02"]


async def test_a_period_that_there_is_not_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="a month, a week or a day, not a century"):
        await store.make_partitions(NOW, NOW, "century")  # type: ignore[arg-type]


async def test_the_period_changes_from_now_on(bare: Store, sql: Sql, clock: Any) -> None:
    seen: list[str] = []
    ids: list[UUID] = []
    moment = NOW
    periods: tuple[Period, ...] = ("month", "day", "week", "month", "week", "day", "month")
    for step, period in enumerate(periods):
        clock(moment)
        for repeat in range(3):
            done = await bare.maintain(period, None, None)
            assert done.finished
            assert repeat == 0 or done == Maintained(), f"{period}: the layout comes to rest"
        assert await gaps(sql, NOW, moment + maintenance.AHEAD[period]) == []
        found = await layout(sql)
        used = {
            row["place"]
            for row in await sql.fetch("SELECT DISTINCT tableoid::regclass::text AS place FROM routing_logs")
        }
        assert {f"routing_logs_{name}" for name in found} >= used, "what holds rows stays"
        seen += found
        ids += await fill(bare, *(moment + timedelta(hours=hours, seconds=step) for hours in (0, 20, 90)))
        moment += timedelta(days=6)
    assert (await bare.counts()).logs == len(ids) == 21
    assert await sql.fetchval("SELECT count(*) FROM routing_logs_default") == 0
    assert {len(name) for name in seen} == {7, 8, 10}, "months, weeks and days were there"


async def test_empty_months_ahead_give_way_to_days(bare: Store, sql: Sql, clock: Any) -> None:
    await bare.maintain("month", None, None)
    done = await bare.maintain("day", None, None)
    assert (done.partitions_replaced, done.partitions_made) == (5 * 3, 0), "May is in use, and a week ahead is May"
    assert await layout(sql) == ["2031_05"]
    clock(utc(2031, 5, 28))
    await bare.maintain("day", None, None)
    assert await layout(sql) == ["2031_05", "2031_06_01", "2031_06_02", "2031_06_03", "2031_06_04"]


async def test_a_month_ahead_that_holds_a_row_stays(bare: Store, sql: Sql, clock: Any) -> None:
    await bare.maintain("month", None, None)
    await fill(bare, utc(2031, 7, 3))
    done = await bare.maintain("day", None, None)
    assert await layout(sql) == ["2031_05", "2031_06", "2031_07"]
    assert done.partitions_replaced == 5
    clock(utc(2031, 7, 28))
    await bare.maintain("day", None, None)
    assert (await layout(sql))[2:] == ["2031_07", "2031_08_01", "2031_08_02", "2031_08_03", "2031_08_04"]


async def test_a_partition_that_was_detached_to_be_kept_is_in_no_ones_way(bare: Store, sql: Sql, clock: Any) -> None:
    await bare.maintain("month", None, None)
    await fill(bare, utc(2031, 6, 3))
    await sql.execute("ALTER TABLE routing_logs DETACH PARTITION routing_logs_2031_06")
    assert (await bare.maintain("month", None, None)).finished
    await fill(bare, utc(2031, 6, 4))
    assert await sql.fetchval("SELECT count(*) FROM routing_logs_default") == 1
    assert await sql.fetchval("SELECT count(*) FROM routing_logs_2031_06") == 1


# Retention


async def test_whole_partitions_are_dropped_and_words_on_their_day(bare: Store, sql: Sql, clock: Any) -> None:
    await bare.make_partitions(utc(2031, 2, 1), utc(2031, 5, 31))
    before = utc(2031, 1, 1)  # lies in no partition
    old, part, kept = utc(2031, 2, 20), utc(2031, 4, 10), utc(2031, 5, 13)
    await fill(bare, before, old, part, kept)
    # To 15 March for rows, to 14 April for words.
    done = await bare.maintain("month", 60, 30)
    assert await layout(sql) == ["2031_03", "2031_04", "2031_05", "2031_06", "2031_07", "2031_08"]
    assert (await layout(sql, "routing_texts"))[0] == "2031_04"
    assert done == Maintained(
        partitions_made=15, partitions_dropped=4 + 2, texts_erased=2, rows_erased=4, letters_erased=0
    )
    for table, expected in (
        ("routing_logs", 2),
        ("routing_outcomes", 2),
        ("routing_feedback", 2),
        ("routing_comparisons", 2),
        ("routing_texts", 1),
    ):
        assert await sql.fetchval(f"SELECT count(*) FROM {table}") == expected
    assert await bare.maintain("month", 60, 30) == Maintained()


async def test_a_word_lives_until_its_last_millisecond(bare: Store, sql: Sql, clock: Any) -> None:
    await bare.maintain("month", None, None)
    edge = NOW - timedelta(days=7)
    gone, stays = await fill(bare, edge - timedelta(milliseconds=1), edge)
    assert (await bare.maintain("month", None, 7)).texts_erased == 1
    assert [row[0] for row in await sql.fetch("SELECT decision_id FROM routing_texts")] == [stays]
    assert (await bare.counts()).logs == 2
    assert gone < stays


@pytest.mark.parametrize(
    ("retention", "text_retention", "left"),
    [(None, None, 3), (None, 5, 1), (5, None, 1), (5, 20, 1), (20, 5, 1), (20, 8, 2)],
)
async def test_words_go_after_the_shorter_time(
    bare: Store, sql: Sql, clock: Any, retention: int | None, text_retention: int | None, left: int
) -> None:
    await fill(bare, *(NOW - timedelta(days=days) for days in (10, 6, 2)))
    await bare.maintain("month", retention, text_retention)
    assert (await bare.counts()).texts == left


async def test_dead_letters_go_as_words_do(store: Store, sql: Sql) -> None:
    old = datetime.now(timezone.utc) - timedelta(days=40)
    texts = make_texts(make_decision(decision_id=id_at(old)))
    decision, other = make_decision(decision_id=id_at(old)), make_decision()
    for item in (texts, decision, other):
        await store.bury(item, "reason")
    await sql.execute("UPDATE routing_dead_letters SET refused_at = $1 WHERE decision_id = $2", old, other.decision_id)
    done = await store.maintain("month", None, 30)
    assert done.letters_erased == 2
    rows = await sql.fetch("SELECT kind, decision_id FROM routing_dead_letters")
    assert [tuple(row) for row in rows] == [("Decision", decision.decision_id)]


async def test_rows_of_clocks_that_are_wrong(bare: Store, sql: Sql, clock: Any) -> None:
    moments = [utc(1970, 1, 1), utc(2031, 5, 14), utc(2031, 9, 30), utc(2099, 1, 1), utc(9999, 12, 31)]
    ids = await fill(bare, *moments)
    done = await bare.maintain("month", 30, 30)
    assert (done.texts_erased, done.rows_erased) == (1, 4)
    places = {
        row["decision_id"]: row["place"]
        for row in await sql.fetch("SELECT decision_id, tableoid::regclass::text AS place FROM routing_logs")
    }
    assert places == {
        ids[1]: "routing_logs_2031_05",
        **dict.fromkeys(ids[2:], "routing_logs_default"),
    }
    clock(utc(2031, 9, 1))
    await bare.maintain("month", None, None)
    assert await sql.fetchval("SELECT decision_id FROM routing_logs_2031_09") == ids[2], "moved when its time came"


async def test_a_worker_whose_clock_is_ahead_drops_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(store, datetime.now(timezone.utc))

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=4_000)

    monkeypatch.setattr(maintenance, "datetime", Ahead)
    await store.maintain("month", 1, 1)
    assert await store.counts() == Counts(logs=1, texts=1, outcomes=1, feedback=1, comparisons=1)
    assert "retention goes by the earlier" in caplog.text


async def test_a_server_whose_clock_is_ahead_drops_nothing(store: Store, sql: Sql, postgres_dsn: str) -> None:
    await fill(store, datetime.now(timezone.utc))
    await sql.execute("CREATE SCHEMA ahead")
    await sql.execute(
        "CREATE FUNCTION ahead.now() RETURNS timestamptz LANGUAGE sql "
        "AS $$ SELECT pg_catalog.now() + interval '4000 days' $$"
    )
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f"ALTER DATABASE {name} SET search_path = ahead, public, pg_catalog")
    async with await Store.connect(postgres_dsn) as late:
        async with late.acquire() as connection:
            assert await connection.fetchval("SELECT now()") > datetime.now(timezone.utc) + timedelta(days=3_000)
        await late.maintain("month", 1, 1)
        assert await late.counts() == Counts(logs=1, texts=1, outcomes=1, feedback=1, comparisons=1)


async def test_much_is_erased_in_small_steps(
    bare: Store, sql: Sql, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "ERASED_AT_ONCE", 10)
    old = [make_decision(decision_id=id_at(NOW - timedelta(days=9), tail=number)) for number in range(95)]
    await bare.copy([record for decision in old for record in (decision, make_texts(decision))])
    assert (await bare.maintain("month", None, 3)).texts_erased == 95
    monkeypatch.setattr(maintenance, "ROUND_SECONDS", 0.0)
    assert await bare.maintain("month", 3, 3) == Maintained(finished=False), "no time left"
    assert (await bare.counts()).logs == 95


# With others at work


async def test_one_of_many_workers_does_it(bare: Store, sql: Sql, clock: Any) -> None:
    await fill(bare, *(NOW - timedelta(days=days) for days in (10, 6, 2)))
    done = await asyncio.gather(*(bare.maintain("day", None, 5) for _ in range(4)))
    assert sum(each.partitions_made for each in done) <= 5 * 8
    last = await bare.maintain("day", None, 5)
    assert last.finished
    assert sum(each.partitions_made for each in (*done, last)) == 5 * 8
    assert sum(each.texts_erased for each in (*done, last)) == 2
    async with sql.transaction():
        assert await sql.fetchval("SELECT pg_try_advisory_xact_lock(7215366061838321238)")
        assert await bare.maintain("day", 1, 1) == Maintained(finished=False)


async def test_who_holds_a_lock_is_waited_for_next_time(bare: Store, sql: Sql, clock: Any) -> None:
    await bare.make_partitions(utc(2031, 2, 1), utc(2031, 5, 31))
    await fill(bare, utc(2031, 2, 20), utc(2031, 4, 10), NOW)
    async with sql.transaction():
        for table in TABLES:
            await sql.execute(f"SELECT count(*) FROM {table}")  # as a backup does
        began = asyncio.get_running_loop().time()
        done = await bare.maintain("month", 30, 30)
        assert asyncio.get_running_loop().time() - began < 30
        # Words are gone though their partitions cannot be dropped.
        assert (done.partitions_dropped, done.texts_erased, done.finished) == (0, 2, False)
        await fill(bare, NOW)
        assert await sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0
    done = await bare.maintain("month", 30, 30)
    assert (done.partitions_dropped, done.finished) == (4 * 2 + 2, True)
    assert (await bare.counts()).logs == 3, "that of April waits for its partition"


async def test_a_writer_goes_on_while_partitions_come_and_go(bare: Store, sql: Sql, clock: Any) -> None:
    days = [NOW + timedelta(days=day) for day in range(-4, 12)]
    await fill(bare, *days)
    stop = asyncio.Event()
    written: list[UUID] = []
    retried = 0

    async def write() -> None:
        nonlocal retried
        while not stop.is_set():
            moment = days[len(written) % len(days)]
            decision = make_decision(decision_id=id_at(moment, tail=1_000 + len(written)), created_at=moment)
            while True:
                try:
                    await bare.copy([decision, make_texts(decision), make_outcome(decision)])
                    break
                except (asyncpg.CheckViolationError, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                    retried += 1  # as the log does: the partition was made in between
            written.append(decision.decision_id)

    writers = [asyncio.create_task(write()) for _ in range(2)]
    for period in ("day", "week", "day", "month"):
        await bare.maintain(period, None, None)
        await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*writers)
    assert len(written) > 10
    stored = {row[0] for row in await sql.fetch("SELECT decision_id FROM routing_logs")}
    assert stored >= set(written)
    assert (await bare.counts()).texts == len(stored)
    assert retried < len(written)
    await layout(sql)
