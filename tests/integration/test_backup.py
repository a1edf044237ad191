"""A backup of the log by PostgreSQL's own programs, restored into another database, with which the gateway goes on."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from bsgateway.decision import now
from bsgateway.embedded import binaries
from bsgateway.log.sink import PostgresSink
from bsgateway.rollups import refresh_all
from bsgateway.rows import Item
from bsgateway.store import Store
from builders import id_at, make_decision, make_outcome, make_texts

ROWS = 40
TABLES = ("routing_logs", "routing_outcomes", "routing_texts", "routing_rollups", "bsgateway_migrations")


def some(days_ago: int) -> list[Item]:
    """Rows of a day, with all that belongs to them."""
    rows: list[Item] = []
    for number in range(ROWS):
        decision = make_decision(decision_id=id_at(now() - timedelta(days=days_ago, seconds=number)))
        rows += [decision, make_texts(decision), make_outcome(decision)]
    return rows


@pytest.fixture
def target(postgres_server: str) -> str:
    """DSN of a database that is not there yet."""
    return urlunsplit(urlsplit(postgres_server)._replace(path=f"/restored_{uuid4().hex}"))


async def run(program: str, *arguments: str) -> None:
    """One of PostgreSQL's programs; its complaints become those of the test."""
    command: Sequence[str] = (str(binaries.packaged() / "bin" / program), *arguments)
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, env=binaries.ENVIRONMENT, check=False
    )
    assert done.returncode == 0, done.stderr


async def fingerprint(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, tuple[int, str | None]]:
    """Rows of each table, and a sum of all that is in them, whatever their order."""
    return {
        table: tuple(
            await connection.fetchrow(
                f"SELECT count(*), sum(('x' || left(md5(row::text), 8))::bit(32)::bigint)::text FROM {table} row"
            )
        )
        for table in TABLES
    }


async def test_a_restored_log_is_the_same_and_is_written_to(
    store: Store,
    sql: asyncpg.Connection[asyncpg.Record],
    postgres_server: str,
    postgres_dsn: str,
    target: str,
    tmp_path: Path,
) -> None:
    for days in (0, 40, 400):  # this month, an earlier one, and what lies in the default partition
        await store.copy(some(days))
    assert await refresh_all(store, None)
    before = await fingerprint(sql)
    assert before["routing_logs"][0] == 3 * ROWS
    assert before["routing_rollups"][0] > 0

    await run("pg_dump", "--format=custom", f"--file={tmp_path / 'log.dump'}", postgres_dsn)
    await sql.execute(f'CREATE DATABASE "{urlsplit(target).path[1:]}"')
    await run("pg_restore", "--exit-on-error", f"--dbname={target}", str(tmp_path / "log.dump"))

    restored = await asyncpg.connect(target)
    try:
        assert await fingerprint(restored) == before
        sink = PostgresSink(target)
        try:
            assert await (await sink.store()).pending() == ()
            await sink.write([row for days in (0, 400) for row in some(days)])
            assert await sink.maintain()
            assert await refresh_all(await sink.store(), None)
        finally:
            await sink.close()
        after = await fingerprint(restored)
        assert after["routing_logs"][0] == after["routing_outcomes"][0] == 5 * ROWS
        counted = await restored.fetchval("SELECT sum(requests) FROM routing_rollups WHERE span = 3600")
        assert counted == 5 * ROWS
    finally:
        await restored.close()
        await sql.execute(f'DROP DATABASE "{urlsplit(target).path[1:]}" WITH (FORCE)')
