"""A newer version has migrated the database: what gateways of this version do that run already, and that start now."""

from __future__ import annotations

import asyncpg
import pytest

from bsgateway.log.sink import PostgresSink, SinkUnavailable
from bsgateway.migrations import available
from builders import make_decision


async def test_who_runs_goes_on_and_who_starts_waits_for_the_newer_version(postgres_dsn: str) -> None:
    running, started = PostgresSink(postgres_dsn), PostgresSink(postgres_dsn)
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await running.write([make_decision()])
        await connection.execute("ALTER TABLE routing_logs ADD COLUMN of_the_future text")
        await connection.execute(
            "INSERT INTO bsgateway_migrations (version, name, sha256) VALUES ($1, 'of_the_future', 'x')",
            len(available()) + 1,
        )
        await running.write([make_decision()])
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bsgateway'"
        await connection.fetch(query)
        with pytest.raises(SinkUnavailable):  # the connection; the log tries again
            await running.write([make_decision()])
        await running.write([make_decision()])
        with pytest.raises(SinkUnavailable, match="install the newer version"):
            await started.write([make_decision()])
        assert await connection.fetchval("SELECT count(*) FROM routing_logs") == 3
    finally:
        await running.close()
        await started.close()
        await connection.close()
