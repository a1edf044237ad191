"""Sums of the log from its rollups, against sums that are made row by row, in several time zones."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway import figures_log
from bsgateway.errors import StoreError
from bsgateway.figures import By, Period, Savings, Step, Sums, TimedCount
from bsgateway.figures_log import EVERYBODY, Scope, savings, traffic
from bsgateway.periods import cover, resolve_period
from bsgateway.rollups import refresh_all
from bsgateway.store import Store
from builders import make_decision
from months_log import CALLERS, KEYS, MOMENTS, NOW, ROWS, Row, database, fell_back, make_row, model_of

ZONES = ("UTC", "Asia/Kolkata", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham")


@pytest.fixture(scope="module")
def log_dsn(postgres_server: str) -> Iterator[str]:
    with database(postgres_server) as dsn:
        yield dsn


@pytest.fixture
async def log(log_dsn: str) -> AsyncIterator[Store]:
    async with await Store.connect(log_dsn) as store:
        yield store


@pytest.fixture
async def sql_log(log_dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(log_dsn)
    yield connection
    await connection.close()


# What is right, row by row


def plain(rows: list[Row]) -> Sums:
    found: Counter[str] = Counter()
    for decision, outcome, comparison in rows:
        routed = decision.tier is not None and decision.applied
        found["requests"] += 1
        found["routed"] += routed
        found["learning_cost"] += (comparison and comparison.cost) or 0  # type: ignore[assignment]
        if outcome is None:
            continue
        found["failed"] += outcome.status == "failure"
        found["fell_back"] += fell_back(decision, outcome)
        found["spent"] += outcome.cost or 0  # type: ignore[assignment]
        if routed and outcome.cost is not None and outcome.baseline_cost is not None:
            found["priced"] += 1
            found["cost"] += outcome.cost  # type: ignore[assignment]
            found["baseline_cost"] += outcome.baseline_cost  # type: ignore[assignment]
            found["saved"] += outcome.baseline_cost - outcome.cost  # type: ignore[assignment]
        for tokens in ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens"):
            found[tokens] += getattr(outcome, tokens) or 0
    return Sums(**found)


def name_of(by: By, tz: str) -> Callable[[Row], str | None]:
    names: dict[By, Callable[[Row], str | None]] = {
        "tier": lambda row: row[0].tier,
        "model": model_of,
        "key": lambda row: row[0].caller.key_hash,
        "team": lambda row: row[0].caller.team_id,
        "day": lambda row: row[0].created_at.astimezone(ZoneInfo(tz)).date().isoformat(),
    }
    return names[by]


def in_period(period: Period, scope: Scope = EVERYBODY) -> list[Row]:
    return [
        row
        for row in ROWS
        if period.since <= row[0].created_at < period.until and scope.key_hash in (None, row[0].caller.key_hash)
    ]


def grouped(rows: list[Row], name: Callable[[Row], Any]) -> dict[Any, Sums]:
    groups = defaultdict(list)
    for row in rows:
        groups[name(row)].append(row)
    return {each: plain(found) for each, found in groups.items()}


def rounded(sums: Sums) -> tuple[Any, ...]:
    """Money to a millionth of a cent."""
    return tuple(round(getattr(sums, each), 8) for each in Sums.__struct_fields__)


def step_of(moment: datetime, step: Step, tz: str) -> datetime:
    local = moment.astimezone(ZoneInfo(tz))
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if step in ("quarter", "hour"):
        minutes = 15 if step == "quarter" else 60
        start = local.replace(minute=local.minute // minutes * minutes, second=0, microsecond=0)
    elif step == "day":
        start = day
    elif step == "week":
        start = day - timedelta(days=day.weekday())
    else:
        start = day.replace(day=1)
    return start.astimezone(timezone.utc)


def check(found: Savings, period: Period, by: By, scope: Scope) -> None:
    rows = in_period(period, scope)
    assert rounded(found.total) == rounded(plain(rows))
    name = name_of(by, period.timezone)
    expected = {each: rounded(sums) for each, sums in grouped(rows, name).items()}
    groups = {group.name: rounded(group.sums) for group in found.groups}
    assert {each: sums for each, sums in groups.items() if sums[0]} == expected
    timed = name if by in ("tier", "model") else lambda row: None
    points = grouped(rows, lambda row: (step_of(row[0].created_at, period.step, period.timezone), timed(row)))
    assert {(point.at, point.name): rounded(point.sums) for point in found.points if point.sums.requests} == {
        place: rounded(sums) for place, sums in points.items()
    }


# Savings


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("by", get_args(By))
async def test_savings_are_those_of_the_rows(log: Store, by: By, tz: str) -> None:
    async with log.acquire() as connection:
        for since, until in (("2026-01-01", None), ("2026-02-28T23:10", "2026-03-31T20:50")):
            period = resolve_period(since, until, tz, "day", NOW)
            found = await savings(connection, period, by)
            assert len(in_period(period)) > 300
            check(found, period, by, EVERYBODY)
            assert (found.by, found.period.step, found.baseline_models) == (by, "day", ("large", "largest"))
            if by != "day":
                assert [group.sums.spent for group in found.groups] == sorted(
                    (group.sums.spent for group in found.groups), reverse=True
                )


def test_any_period_adds_up_by_anything(log_dsn: str) -> None:
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(log_dsn))
    minutes = st.integers(0, (NOW - MOMENTS[0]) // timedelta(minutes=1))

    @settings(deadline=None, derandomize=True, database=None, max_examples=80)
    @given(
        minutes,
        minutes,
        st.sampled_from(ZONES),
        st.sampled_from(get_args(By)),
        st.sampled_from(("day", "week", "month")),
        st.sampled_from([EVERYBODY, *(Scope(key.key_hash) for key in KEYS)]),
    )
    def run(one: int, other: int, tz: str, by: By, step: Step, scope: Scope) -> None:
        since, until = (MOMENTS[0] + timedelta(minutes=each) for each in (min(one, other), max(one, other) + 1))
        period = resolve_period(since.isoformat(), until.isoformat(), tz, step, NOW)
        check(loop.run_until_complete(savings(connection, period, by, scope)), period, by, scope)

    try:
        run()
    finally:
        loop.run_until_complete(connection.close())
        loop.close()


@pytest.mark.parametrize("step", ["quarter", "hour"])
@pytest.mark.parametrize("scope", [EVERYBODY, Scope("hash-1")])
@pytest.mark.parametrize("tz", ZONES)
async def test_short_steps(log: Store, tz: str, step: Step, scope: Scope) -> None:
    async with log.acquire() as connection:
        for moment in MOMENTS[3:5]:
            since, until = moment - timedelta(minutes=20), moment + timedelta(hours=7)
            period = resolve_period(since.isoformat(), until.isoformat(), tz, step, NOW)
            check(await savings(connection, period, "tier", scope), period, "tier", scope)


async def test_every_step_has_a_point(log: Store) -> None:
    period = resolve_period("2026-03-01", "2026-03-31", "America/New_York", None, NOW)
    async with log.acquire() as connection:
        found = await savings(connection, period, "tier")
    starts = sorted({point.at for point in found.points})
    assert len(starts) == 30
    assert starts[0] == datetime(2026, 3, 1, 5, tzinfo=timezone.utc)
    assert starts[-1] == datetime(2026, 3, 30, 4, tzinfo=timezone.utc)
    assert [(point.name, point.sums) for point in found.points if point.at == starts[3]] == [(None, Sums())]


async def test_plain_sql_says_the_same(log: Store) -> None:
    period = resolve_period("2026-02-01", "2026-04-12T10:30", "Asia/Kathmandu", "day", NOW)
    query = """
        SELECT (date_trunc('day', d.created_at AT TIME ZONE 'Asia/Kathmandu'))::date::text AS day,
               round(sum(o.baseline_cost - o.cost)::numeric, 2) AS saved
        FROM routing_logs d JOIN routing_outcomes o USING (decision_id)
        WHERE d.tier IS NOT NULL AND d.applied
          AND d.decision_id >= bsg_uuid7_floor($1) AND d.decision_id < bsg_uuid7_floor($2)
        GROUP BY 1 HAVING count(o.cost + o.baseline_cost) > 0
    """
    async with log.acquire() as connection:
        expected = {
            row["day"]: float(row["saved"]) for row in await connection.fetch(query, period.since, period.until)
        }
        found = await savings(connection, period, "day")
    assert len(expected) == 9
    assert {group.name: round(group.sums.saved, 2) for group in found.groups if group.sums.priced} == expected


async def test_a_key_is_called_by_its_newest_alias(log: Store) -> None:
    period = resolve_period("2026-01-01", None, "UTC", None, NOW)
    async with log.acquire() as connection:
        found = await savings(connection, period, "key")
    assert {group.name: group.label for group in found.groups} == {
        caller.key_hash: caller.key_alias for caller in CALLERS
    }


async def test_a_log_without_rows(store: Store) -> None:
    period = resolve_period("30d", None, "UTC", None, NOW)
    async with store.acquire() as connection:
        found = await savings(connection, period, "tier")
        seen = await traffic(connection, period)
    assert (found.total, found.groups, found.baseline_models) == (Sums(), (), ())
    assert (seen.total, seen.methods, seen.decision_us, seen.latency_ms) == (Sums(), (), None, ())
    assert seen.scores == (0,) * 101
    assert {count.requests for count in seen.tiers} == {0}


async def test_no_id_makes_a_period_unreadable(store: Store) -> None:
    # Any uuid may come by SQL: the day of this one is never over.
    await store.copy([make_decision(decision_id=UUID(int=2**128 - 1))])
    assert await refresh_all(store, None)
    period = resolve_period("30d", None, "UTC", None, NOW)
    async with store.acquire() as connection:
        assert (await savings(connection, period, "tier")).total == Sums()


async def test_what_is_not_added_up_yet_is_told(store: Store) -> None:
    row = make_row(random.Random(1), NOW - timedelta(minutes=30))
    await store.copy([row[0]])
    period = resolve_period("24h", None, "UTC", None, NOW)
    async with store.acquire() as connection:
        before = await savings(connection, period, "tier")
        waiting = await connection.fetchval("SELECT min(marked_at) FROM routing_rollup_marks WHERE span = 900")
        assert (before.total.requests, before.period.as_of) == (0, waiting)
    assert await refresh_all(store, None)
    async with store.acquire() as connection:
        after = await savings(connection, period, "tier")
    assert after.total.requests == 1
    assert after.period.as_of > before.period.as_of


async def test_a_time_is_covered_as_the_database_covers_it(log: Store) -> None:
    draw = random.Random(5)
    async with log.acquire() as connection:
        for waiting in (None, MOMENTS[3].replace(hour=0)):
            async with connection.transaction():
                await connection.execute("DELETE FROM routing_rollup_marks")
                if waiting is not None:
                    await connection.execute("INSERT INTO routing_rollup_marks VALUES (86400, $1)", waiting)
                for _ in range(100):
                    length = draw.choice((1, 3, 9, 100, 1_000, 5_000))
                    since = MOMENTS[0] + draw.randrange(5_000) * timedelta(minutes=15)
                    until = since + draw.randint(1, length) * timedelta(minutes=15)
                    right = await connection.fetch("SELECT * FROM bsg_cover($1, $2)", since, until)
                    assert [tuple(each) for each in right] == list(cover(since, until, waiting))


async def test_a_day_that_waits_is_made_of_its_hours(log: Store, sql_log: asyncpg.Connection[asyncpg.Record]) -> None:
    period = resolve_period("2026-02-01", None, "UTC", "day", NOW)
    day = MOMENTS[3].replace(hour=0)
    try:
        await sql_log.execute("INSERT INTO routing_rollup_marks VALUES (86400, $1)", day)
        await sql_log.execute("UPDATE routing_rollups SET span = -span WHERE span = 86400 AND bucket >= $1", day)
        async with log.acquire() as connection:
            check(await savings(connection, period, "tier"), period, "tier", EVERYBODY)
    finally:
        await sql_log.execute("UPDATE routing_rollups SET span = -span WHERE span < 0")
        await sql_log.execute("DELETE FROM routing_rollup_marks")


# Traffic


@pytest.mark.parametrize("scope", [EVERYBODY, Scope("hash-2")])
@pytest.mark.parametrize("tz", ZONES)
async def test_traffic_is_that_of_the_rows(log: Store, tz: str, scope: Scope) -> None:
    period = resolve_period("2026-02-17T01:30:00Z", "2026-04-05T14:15:00Z", tz, "day", NOW)
    async with log.acquire() as connection:
        found = await traffic(connection, period, scope)
    rows = in_period(period, scope)
    assert rounded(found.total) == rounded(plain(rows))

    def counted(name: Callable[[Row], Any]) -> Counter[Any]:
        return Counter(map(name, rows))

    def at(row: Row) -> datetime:
        return step_of(row[0].created_at, "day", tz)

    def timed(counts: tuple[TimedCount, ...]) -> dict[Any, int]:
        return {(each.at, each.name): each.requests for each in counts if each.requests}

    assert {each.name: each.requests for each in found.methods} == counted(lambda row: row[0].method.value)
    assert {each.name: each.requests for each in found.reasons} == counted(lambda row: row[0].reason.value)
    assert {each.name: each.requests for each in found.models} == counted(model_of)
    assert {each.name: each.requests for each in found.strategies} == counted(
        lambda row: row[0].strategy.value if row[0].strategy else None
    )
    assert [each.name for each in found.sticky] == ["session_kept"]
    assert timed(found.tiers) == counted(lambda row: (at(row), row[0].tier))
    failed = [row for row in rows if row[1] is not None and row[1].status == "failure"]
    assert timed(found.failures) == Counter((at(row), model_of(row)) for row in failed)
    assert not found.sampled


@pytest.mark.parametrize("scope", [EVERYBODY, Scope("hash-2")])
async def test_scores_and_times(log: Store, scope: Scope) -> None:
    period = resolve_period("2026-02-17T01:00:00Z", "2026-04-05T14:00:00Z", "UTC", "day", NOW)
    async with log.acquire() as connection:
        found = await traffic(connection, period, scope)
    rows = in_period(period, scope)
    scores = Counter(row[0].complexity_score for row in rows)
    assert found.scores == tuple(scores[score] for score in range(101))
    assert found.decision_us is not None
    assert found.decision_us.count == len(rows)
    near(found.decision_us, [row[0].decision_us for row in rows])
    for measure in ("latency_ms", "first_token_ms"):
        values = defaultdict(list)
        for row in rows:
            if (value := getattr(row[1], measure, None)) is not None:
                values[model_of(row)].append(value)
        percentiles = getattr(found, measure)
        assert {each.name: each.count for each in percentiles} == {name: len(each) for name, each in values.items()}
        for each in percentiles:
            near(each, values[each.name])


def near(found: Any, values: list[float]) -> None:
    values = sorted(values)
    for percent, value in ((50, found.p50), (90, found.p90), (99, found.p99)):
        assert value == pytest.approx(values[-(-len(values) * percent // 100) - 1], rel=0.03)


async def test_scores_of_parts_of_an_hour_are_those_of_the_hour(log: Store) -> None:
    whole = resolve_period("2026-03-08T05:00:00Z", "2026-03-08T07:00:00Z", "UTC", None, NOW)
    part = resolve_period("2026-03-08T05:20:00Z", "2026-03-08T06:10:00Z", "UTC", None, NOW)
    async with log.acquire() as connection:
        one, other = await traffic(connection, whole), await traffic(connection, part)
    assert one.scores == other.scores
    assert one.total.requests > other.total.requests > 0


async def test_of_a_key_with_many_rows_the_newest_are_sampled(log: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures_log, "KEY_SAMPLE", 20)
    period = resolve_period("2026-01-01", None, "UTC", None, NOW)
    async with log.acquire() as connection:
        found = await traffic(connection, period, Scope("hash-3"))
    rows = sorted(in_period(period, Scope("hash-3")), key=lambda row: row[0].decision_id)[-20:]
    assert found.sampled
    assert found.decision_us is not None
    assert found.decision_us.count == 20
    near(found.decision_us, [row[0].decision_us for row in rows])


# Reading


async def test_nothing_is_written_and_nothing_takes_long(log: Store) -> None:
    async with log.acquire() as connection:
        async with figures_log.reading(connection):
            assert await connection.fetchval("SHOW statement_timeout") == "5s"
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await connection.execute("DELETE FROM routing_rollups")
        assert await connection.fetchval("SHOW statement_timeout") == "0"
        assert await connection.fetchval("SELECT count(*) FROM routing_rollups") > 0


async def test_without_a_schema_it_says_what_to_do(empty: Store) -> None:
    period = resolve_period("30d", None, "UTC", None, NOW)
    with pytest.raises(StoreError, match="run `bsgateway migrate`"):
        async with empty.acquire("cannot read the log in") as connection:
            await savings(connection, period, "tier")
