"""The log of a process whose event loop simply ends: all tasks are cancelled at once, and nothing is lost."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from bsgateway.config import Collector
from bsgateway.lifecycle import Lifecycle
from builders import make_decision

ROWS = 50


async def nothing() -> None:
    """In the place of what the proxy does at start and before the end."""


@pytest.fixture
def database(postgres_server: str) -> str:
    """DSN of a fresh database, for a test that runs event loops of its own."""
    name = f"test_{uuid4().hex}"

    async def create() -> None:
        connection = await asyncpg.connect(postgres_server)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(create())
    return urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))


@pytest.mark.parametrize("seconds", [0.0, 0.2], ids=["before the first batch", "with a batch in hand"])
def test_an_event_loop_that_ends_writes_what_waits(database: str, seconds: float) -> None:
    lifecycle = Lifecycle(Collector(database_url=database, flush_seconds=0.15), nothing, nothing)
    decisions = [make_decision() for _ in range(ROWS)]

    async def serve() -> None:
        lifecycle.ensure_running()
        await asyncio.sleep(0)
        for decision in decisions:
            lifecycle.record(decision)
        await asyncio.sleep(seconds)

    async def stored() -> set[object]:
        connection = await asyncpg.connect(database)
        rows = await connection.fetch("SELECT decision_id FROM routing_logs")
        await connection.close()
        assert len(rows) == ROWS
        return {row["decision_id"] for row in rows}

    asyncio.run(serve())
    assert asyncio.run(stored()) == {decision.decision_id for decision in decisions}


def test_stopping_twice_is_stopping_once(database: str) -> None:
    lifecycle = Lifecycle(Collector(database_url=database), nothing, nothing)

    async def serve() -> None:
        lifecycle.ensure_running()
        await asyncio.sleep(0)
        lifecycle.record(make_decision())
        await lifecycle.stop()
        await lifecycle.stop()

    asyncio.run(serve())
    metrics = lifecycle.metrics()
    assert metrics is not None
    assert metrics.written == 1
