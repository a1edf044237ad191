"""Lists of decisions and all about one, against a log that is looked through row by row."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from bsgateway import decisions_log
from bsgateway.decision import Caller, Method, Reason, Strategy
from bsgateway.decisions_log import DecisionFilters, DecisionList, decision, decisions
from bsgateway.errors import FiguresError, StoreError
from bsgateway.figures_log import EVERYBODY, Scope, reading
from bsgateway.rollups import refresh_all
from bsgateway.rows import LogRow
from bsgateway.sql import queries
from bsgateway.store import Store
from builders import id_at, make_decision, make_failure, make_outcome, make_texts
from months_log import MOMENTS, ROWS, Row, database, fell_back, model_of

NEWEST_FIRST = sorted(ROWS, key=lambda row: row[0].decision_id, reverse=True)
KEY = "hash-1"


@pytest.fixture(scope="module")
def log_dsn(postgres_server: str) -> Iterator[str]:
    with database(postgres_server) as dsn:
        yield dsn


@pytest.fixture
async def log(log_dsn: str) -> AsyncIterator[Store]:
    async with await Store.connect(log_dsn) as store:
        yield store


async def listed(store: Store, **given: Any) -> DecisionList:
    async with store.acquire("cannot read the log in") as connection:
        return await decisions(connection, **given)


async def all_pages(store: Store, limit: int, **given: Any) -> list[LogRow]:
    rows: list[LogRow] = []
    before: UUID | None = None
    for _ in range(1_000):
        page = await listed(store, before=before, limit=limit, **given)
        assert len(page.rows) <= limit
        rows += page.rows
        if page.before is None:
            return rows
        assert before is None or page.before < before
        before = page.before
    raise AssertionError("the pages never end")


def ids(rows: Any) -> list[UUID]:
    return [row.decision.decision_id for row in rows]


def expected(matches: Callable[[Row], bool]) -> list[UUID]:
    return [row[0].decision_id for row in NEWEST_FIRST if matches(row)]


def status_of(row: Row) -> str:
    return "pending" if row[1] is None else row[1].status


FILTERS: tuple[tuple[dict[str, Any], Callable[[Row], bool]], ...] = (
    ({}, lambda row: True),
    ({"tier": "complex"}, lambda row: row[0].tier == "complex"),
    ({"tier": ""}, lambda row: row[0].tier is None),
    ({"method": "pattern"}, lambda row: row[0].method is Method.PATTERN),
    ({"strategy": "ml"}, lambda row: row[0].strategy is Strategy.ML),
    ({"strategy": ""}, lambda row: row[0].strategy is None),
    ({"reason": "needs"}, lambda row: row[0].reason is Reason.NEEDS),
    ({"model": "other"}, lambda row: model_of(row) == "other"),
    ({"model": "small"}, lambda row: model_of(row) == "small"),
    ({"applied": False}, lambda row: not row[0].applied),
    ({"applied": True}, lambda row: row[0].applied),
    ({"status": "success"}, lambda row: status_of(row) == "success"),
    ({"status": "failure"}, lambda row: status_of(row) == "failure"),
    ({"status": "pending"}, lambda row: status_of(row) == "pending"),
    ({"fell_back": True}, lambda row: row[1] is not None and fell_back(row[0], row[1])),
    ({"fell_back": False}, lambda row: row[1] is None or not fell_back(row[0], row[1])),
    ({"key": KEY}, lambda row: row[0].caller.key_hash == KEY),
    ({"key": "key 1"}, lambda row: row[0].caller.key_hash == KEY),
    ({"key": "key 0"}, lambda row: row[0].caller.key_hash == "hash-0"),
    ({"key": "nobody"}, lambda row: False),
    ({"conversation_id": "talk-1"}, lambda row: row[0].conversation_id == "talk-1"),
    ({"session_id": "session"}, lambda row: row[0].caller.session_id == "session"),
    ({"since": MOMENTS[3], "until": MOMENTS[4]}, lambda row: MOMENTS[3] <= row[0].created_at < MOMENTS[4]),
    (
        {"tier": "simple", "status": "failure", "model": "large", "since": MOMENTS[1] + timedelta(minutes=37)},
        lambda row: (
            (row[0].tier, status_of(row), model_of(row)) == ("simple", "failure", "large")
            and row[0].created_at >= MOMENTS[1] + timedelta(minutes=37)
        ),
    ),
    (
        {"conversation_id": "talk-2", "reason": "session_kept", "status": "success", "applied": True},
        lambda row: (
            (row[0].conversation_id, row[0].reason, status_of(row), row[0].applied)
            == ("talk-2", Reason.SESSION_KEPT, "success", True)
        ),
    ),
    ({"tier": "none such"}, lambda row: False),
)


@pytest.mark.parametrize("scope", [EVERYBODY, Scope(KEY)])
@pytest.mark.parametrize(("filters", "matches"), FILTERS, ids=[str(filters)[:40] for filters, _ in FILTERS])
async def test_each_filter(log: Store, filters: dict[str, Any], matches: Callable[[Row], bool], scope: Scope) -> None:
    right = expected(lambda row: matches(row) and scope.key_hash in (None, row[0].caller.key_hash))
    wanted = DecisionFilters(**filters)
    assert ids(await all_pages(log, 500, filters=wanted, scope=scope)) == right
    page = await listed(log, filters=wanted, scope=scope, limit=7)
    assert ids(page.rows) == right[:7]
    assert (page.before is None) == (len(right) <= 7)


async def test_page_after_page(log: Store) -> None:
    right = expected(lambda row: status_of(row) == "failure")
    assert len(right) > 100
    for limit in (1, 40, len(right), len(right) + 1):
        rows = await all_pages(log, limit, filters=DecisionFilters(status="failure")) if limit > 1 else []
        assert ids(rows) == right or limit == 1
    first = await listed(log, filters=DecisionFilters(status="failure"), limit=1)
    assert (ids(first.rows), first.before) == (right[:1], right[0])


async def test_rows_come_whole_but_for_their_features(log: Store) -> None:
    page = await listed(log, limit=20)
    assert page.rows == tuple(
        LogRow(msgspec.structs.replace(decision, features=None), outcome) for decision, outcome, _ in NEWEST_FIRST[:20]
    )


async def test_any_id_may_be_gone_on_from(log: Store) -> None:
    for before in (UUID(int=0), UUID(int=2**128 - 1), UUID("ffffffff-0000-4000-8000-000000000000")):
        right = expected(lambda row, before=before: row[0].decision_id < before)  # type: ignore[misc]
        for filters in (DecisionFilters(), DecisionFilters(tier="complex"), DecisionFilters(key=KEY)):
            page = await listed(log, before=before, filters=filters)
            assert set(ids(page.rows)) <= set(right)
            assert bool(page.rows) == bool(right)


async def test_a_list_that_takes_long_ends_early_and_goes_on(log: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions_log, "READ_AT_ONCE", 10)
    monkeypatch.setattr(decisions_log, "MOST_READ", 30)
    filters = DecisionFilters(status="pending", model="small")
    page = await listed(log, filters=filters, limit=50)
    assert len(page.rows) < 50
    assert page.before is not None
    right = expected(lambda row: status_of(row) == "pending" and model_of(row) == "small")
    assert ids(await all_pages(log, 50, filters=filters)) == right


@pytest.mark.parametrize("limit", [0, -1, 501])
async def test_a_limit_that_is_none(log: Store, limit: int) -> None:
    with pytest.raises(FiguresError, match="not between 1 and 500") as caught:
        await listed(log, limit=limit)
    assert caught.value.field == "limit"


async def test_a_log_without_rows(store: Store) -> None:
    for filters in (
        DecisionFilters(),
        DecisionFilters(tier="x"),
        DecisionFilters(key="x"),
        DecisionFilters(call_id="x"),
    ):
        assert await listed(store, filters=filters) == DecisionList((), None)
    async with store.acquire() as connection:
        assert await decision(connection, UUID(int=7)) is None


async def test_what_is_not_added_up_yet_is_found(store: Store) -> None:
    old = make_decision(decision_id=id_at(MOMENTS[0]), created_at=MOMENTS[0], caller=Caller(key_hash="k", call_id="1"))
    await store.copy([old, make_failure(old)])
    assert await refresh_all(store, None)
    new = make_decision(
        decision_id=id_at(MOMENTS[0], 1),
        created_at=MOMENTS[0],
        tier="rare",
        caller=Caller(key_hash="k", key_alias="new"),
    )
    other = make_decision(decision_id=id_at(MOMENTS[2]), created_at=MOMENTS[2], tier="rare", caller=Caller("2"))
    await store.copy([new, other, make_outcome(old)])
    await store.copy([make_failure(other)])
    for filters, right in (
        (DecisionFilters(tier="rare"), [other, new]),
        (DecisionFilters(key="k"), [new, old]),
        (DecisionFilters(key="new"), [new, old]),
        (DecisionFilters(status="failure"), [other]),
        (DecisionFilters(status="success"), [old]),
        (DecisionFilters(call_id="2"), [other]),
    ):
        rows = (await listed(store, filters=filters)).rows
        assert ids(rows) == [each.decision_id for each in right]


async def test_sums_whose_rows_are_gone_do_no_harm(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    rows = [make_decision(decision_id=id_at(each), created_at=each, tier="rare") for each in MOMENTS]
    await store.copy(rows)
    assert await refresh_all(store, None)
    await sql.execute("ALTER TABLE routing_logs DISABLE TRIGGER bsg_mark_deleted")
    await sql.execute("DELETE FROM routing_logs WHERE decision_id < $1", rows[-2].decision_id)
    assert ids(await all_pages(store, 5, filters=DecisionFilters(tier="rare"))) == [
        rows[-1].decision_id,
        rows[-2].decision_id,
    ]


async def test_a_row_of_another_version_is_told(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    await store.copy([make_decision()])
    await sql.execute("UPDATE routing_logs SET reason = 'of tomorrow'")
    with pytest.raises(StoreError, match="another version"):
        await listed(store)


# What is read


def nodes(plan: Any) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


async def test_for_a_rare_row_old_partitions_are_not_read(log: Store) -> None:
    """The statements are explained as they are run: no node reads a row of the log outside the quarters that match."""
    rare = [row for row in NEWEST_FIRST if (row[0].reason, status_of(row)) == (Reason.NEEDS, "failure")]
    wanted = DecisionFilters(reason="needs", status="failure", until=MOMENTS[6])
    right = [row[0].decision_id for row in rare if row[0].created_at < MOMENTS[6]][:4]
    seen: list[tuple[str, tuple[Any, ...]]] = []
    async with log.acquire() as connection:

        def note(record: Any) -> None:
            seen.append((record.query, record.args))

        with connection.query_logger(note):
            page = await decisions(connection, filters=wanted, limit=3)
        assert ids(page.rows) == right[:3]
        read: dict[str, int] = {}
        for query, arguments in seen:
            if "FROM routing_logs d" not in query:
                continue
            async with reading(connection):
                explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments)
            for node in nodes(json.loads(explained)[0]["Plan"]):
                if str(node.get("Relation Name", "")).startswith("routing_logs"):
                    name = node["Relation Name"]
                    rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
                    read[name] = read.get(name, 0) + round(rows)
    # With one more than was asked for, which tells whether there is more.
    quarters = {each.int >> 80 for each in right}
    near = [row for row in ROWS if any(abs((row[0].decision_id.int >> 80) - each) <= 900_000 for each in quarters)]
    assert read.get("routing_logs_2026_02", 0) == 0
    assert 0 < sum(read.values()) <= len(near) + len(right)
    assert len(near) < len(ROWS) / 5


async def test_the_log_is_not_walked_for_a_call(log: Store) -> None:
    async with log.acquire() as connection, reading(connection):
        arguments = [None, None, "nothing", None, UUID(int=0), UUID(int=2**128 - 1), *[None] * 8, 50]
        explained = await connection.fetch(f"EXPLAIN {queries().decisions_called.sql}", *arguments)
    plan = "\n".join(row[0] for row in explained)
    assert "call_id" in plan
    assert "Seq Scan on routing_logs_2026" not in plan


# One decision


async def give_feedback(sql: asyncpg.Connection[asyncpg.Record], decision_id: UUID, source: str, rating: float) -> None:
    await sql.execute(
        "INSERT INTO routing_feedback (decision_id, source, rating, comment) VALUES ($1, $2, $3, 'said')",
        decision_id, source, rating,
    )  # fmt: skip


async def test_all_about_a_decision(log: Store) -> None:
    of_talk = [row for row in NEWEST_FIRST if row[0].conversation_id == "talk-1"]
    row = next(row for row in of_talk if row[1] is not None and row[2] is not None)
    async with log.acquire() as connection:
        await give_feedback(connection, row[0].decision_id, "one", 0.25)
        await give_feedback(connection, row[0].decision_id, "two", 1.0)
        found = await decision(connection, row[0].decision_id)
    assert found is not None
    assert found.row == LogRow(msgspec.structs.replace(row[0], features=None), row[1])
    assert found.texts == make_texts(row[0])
    assert [(each.source, each.rating, each.comment) for each in found.feedback] == [
        ("one", 0.25, "said"),
        ("two", 1.0, "said"),
    ]
    assert found.comparison is not None
    assert (found.comparison.judge, found.comparison.cost) == ("llm", row[2].cost if row[2] else None)
    turns = [each[0].decision_id for each in of_talk if each is not row][:50]
    assert len(of_talk) > 60
    assert ids(found.turns) == turns[::-1]


async def test_a_decision_of_which_little_is_known(store: Store) -> None:
    made = make_decision(conversation_id=None)
    await store.copy([made])
    async with store.acquire() as connection:
        found = await decision(connection, made.decision_id)
    assert found == (LogRow(msgspec.structs.replace(made, features=None), None), None, (), None, ())


async def test_a_key_sees_no_other_keys_rows_or_texts(log: Store) -> None:
    own = [row for row in NEWEST_FIRST if row[0].caller.key_hash == KEY]
    others = [row for row in NEWEST_FIRST if row[0].caller.key_hash != KEY]
    async with log.acquire() as connection:
        for row in others[:100]:
            assert await decision(connection, row[0].decision_id, Scope(KEY)) is None
        row = next(row for row in own if row[0].conversation_id == "talk-1")
        found = await decision(connection, row[0].decision_id, Scope(KEY))
    assert found is not None
    assert found.texts is not None
    assert found.turns
    assert {each.decision.caller.key_hash for each in found.turns} == {KEY}
    for filters in ({"key": "hash-2"}, {"key": "key 2"}, {"call_id": "other"}):
        assert (await listed(log, filters=DecisionFilters(**filters), scope=Scope(KEY))).rows == ()
    assert ids(await all_pages(log, 500, scope=Scope(KEY))) == [row[0].decision_id for row in own]
    assert (await listed(log, scope=Scope("nobody"))).rows == ()
