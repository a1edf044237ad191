"""How long answers will be, from the log of a real PostgreSQL; and a database that is away, slow or large."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from bsgateway import store as store_module
from bsgateway.config import Collector
from bsgateway.decision import now
from bsgateway.errors import StoreError
from bsgateway.expectations import LEAST_ANSWERS, Expectations, ExpectationsReader
from bsgateway.lifecycle import Lifecycle
from bsgateway.rows import Item
from bsgateway.sql import queries
from bsgateway.store import Store
from builders import id_at, make_decision, make_failure, make_outcome, until

MONTH = timedelta(days=30)


def answers(tier: str | None, group: str, tokens: Sequence[int | None], **fields: Any) -> list[Item]:
    """Decisions for a tier, and what their answers were."""
    items: list[Item] = []
    for count in tokens:
        decision = make_decision(tier=tier, **fields)
        items += [decision, make_outcome(decision, served_group=group, completion_tokens=count)]
    return items


async def expected(store: Store, since: datetime | None = None, most: int = 10_000, least: int = 20) -> Any:
    return await store.expected_output(since or now() - MONTH, most, least)


async def test_an_empty_log_expects_nothing(store: Store) -> None:
    assert await expected(store) == {}


async def test_the_mean_of_each_tier_and_group(store: Store) -> None:
    await store.copy(
        [
            *answers("simple", "small", [100] * 10 + [300] * 10),
            *answers("complex", "small", [40] * 20),
            *answers("complex", "large", [2_000] * 30),
        ]
    )
    assert await expected(store) == {
        ("simple", "small"): 200.0,
        ("complex", "small"): 40.0,
        ("complex", "large"): 2_000.0,
    }


async def test_too_few_answers_say_nothing(store: Store) -> None:
    await store.copy([*answers("simple", "small", [100] * 19), *answers("simple", "large", [100] * 20)])
    assert await expected(store) == {("simple", "large"): 100.0}


async def test_what_is_no_answer_does_not_count(store: Store) -> None:
    failed, waiting = make_decision(tier="simple"), make_decision(tier="simple")
    await store.copy(
        [
            *answers("simple", "small", [100] * 2),
            *answers("simple", "small", [None]),  # nobody counted its tokens
            *answers(None, "small", [9_000] * 5),  # not routed by score
            failed,
            make_failure(failed, served_group="small", completion_tokens=9_000),
            waiting,
        ]
    )
    assert await expected(store, least=2) == {("simple", "small"): 100.0}
    assert await expected(store, least=3) == {}


async def test_the_group_that_served_counts_and_not_the_one_that_was_chosen(store: Store) -> None:
    await store.copy(answers("simple", "fallback", [70] * 2, resolved_model="small"))
    assert await expected(store, least=2) == {("simple", "fallback"): 70.0}


async def test_one_endless_answer_does_not_change_much(store: Store) -> None:
    await store.copy(answers("simple", "small", [100] * 39 + [100_000]))
    assert await expected(store) == {("simple", "small"): 100.0}


async def test_old_decisions_do_not_count(store: Store) -> None:
    moment = now()
    old: list[Item] = []
    for number in range(5):
        decision = make_decision(decision_id=id_at(moment - timedelta(days=31), number), tier="simple")
        old += [decision, make_outcome(decision, served_group="small", completion_tokens=9_000)]
    await store.copy([*old, *answers("simple", "small", [100] * 2)])
    assert await expected(store, moment - MONTH, least=2) == {("simple", "small"): 100.0}
    assert (await expected(store, moment - 2 * MONTH, least=2))["simple", "small"] > 5_000


async def test_the_newest_decisions_count(store: Store) -> None:
    await store.copy(answers("simple", "small", [9_000] * 50))
    await store.copy(answers("simple", "small", [100] * 5))
    assert await expected(store, most=5, least=5) == {("simple", "small"): 100.0}


async def test_no_more_is_read_than_the_newest_of_the_time(
    store: Store, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Neither older partitions nor, of a large log, more rows than are asked for."""
    moment = now()
    await store.make_partitions(moment - 6 * MONTH, moment)
    for month in range(6):
        for table, columns, values in (
            (
                "routing_logs",
                "call_type, method, reason, original_model, resolved_model, bias, contributions, needs, stream, "
                "decision_us, tier, created_at",
                "'acompletion', 'auto', 'score', 'a', 'm', 0, '[]'::jsonb, '{}'::text[], false, 1, 'simple', at",
            ),
            ("routing_outcomes", "status, served_group, completion_tokens, completed_at", "'success', 'm', 100, at"),
        ):
            # The same ids in both tables: the moment, and no random bits.
            await sql.execute(
                f"INSERT INTO {table} (decision_id, {columns}) SELECT bsg_uuid7_floor(at), {values} FROM "
                "(SELECT $1::timestamptz - n * interval '1 second' AS at FROM generate_series(0, 2999) n) moments",
                moment - month * MONTH,
            )
    await sql.execute("ANALYZE")
    assert await expected(store, most=500) == {("simple", "m"): 100.0}
    plan = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + queries().expected_output.sql
    (row,) = await sql.fetch(plan, moment - MONTH, 500, 20)

    read: dict[str, float] = {}

    def walk(node: dict[str, Any]) -> None:
        if name := node.get("Relation Name"):
            # Of an index scan, what it touched; a loop that never ran touched nothing.
            rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            read[name] = read.get(name, 0) + rows
        for child in node.get("Plans", ()):
            walk(child)

    walk(json.loads(row[0])[0]["Plan"])
    assert sum(rows for name, rows in read.items() if name.startswith("routing_logs")) <= 600
    oldest = (moment - 2 * MONTH).strftime("%Y_%m")
    assert [name for name, rows in read.items() if rows and name.split("_", 2)[2] <= oldest] == []


# The reader


class Broken:
    """Where the store should come from, while the database is away."""

    def __init__(self, store: Store) -> None:
        self.store: Store | None = store

    async def connect(self) -> Store:
        if self.store is None:
            raise StoreError("cannot connect")
        return self.store


async def test_what_was_known_stays_while_the_database_is_away(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    database, expectations = Broken(store), Expectations()
    reader = ExpectationsReader(expectations, database.connect)
    await store.copy(answers("simple", "small", [100] * LEAST_ANSWERS))
    assert await reader.read() is True
    known = expectations.tokens
    assert known == {("simple", "small"): 100.0}
    with pytest.raises(TypeError):
        known["simple", "small"] = 1.0  # type: ignore[index]  # other threads look at it
    database.store = None
    assert [await reader.read(), await reader.read()] == [False, False]
    assert expectations.tokens is known
    assert expectations.failures == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    database.store = store
    await store.copy(answers("simple", "small", [300] * LEAST_ANSWERS))
    assert await reader.read() is True
    assert expectations.tokens == {("simple", "small"): 200.0}
    assert known == {("simple", "small"): 100.0}


async def test_a_reading_that_takes_too_long_is_given_up(
    store: Store, sql: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "EXPECT_TIMEOUT", 50)
    expectations = Expectations()
    reader = ExpectationsReader(expectations, Broken(store).connect)
    async with sql.transaction():
        await sql.execute("LOCK TABLE routing_logs IN ACCESS EXCLUSIVE MODE")
        assert await reader.read() is False
    assert expectations.failures == 1
    assert await reader.read() is True  # and the connection serves again


async def test_the_log_of_a_process_reads_it_by_itself(store: Store, postgres_dsn: str) -> None:
    await store.copy(answers("simple", "small", [100] * LEAST_ANSWERS))

    async def nothing() -> None:
        """In the place of what the proxy does at start and before the end."""

    lifecycle = Lifecycle(Collector(database_url=postgres_dsn), nothing, nothing)
    assert lifecycle.expectations.tokens == {}
    lifecycle.ensure_running()
    await until(lambda: lifecycle.expectations.tokens)
    assert lifecycle.expectations.tokens == {("simple", "small"): 100.0}
    await asyncio.wait_for(lifecycle.stop(), 30)
