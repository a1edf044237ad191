"""Whether the database answers, as the log's thread finds out: a real PostgreSQL that lets nobody in, then again."""

from __future__ import annotations

from urllib.parse import urlsplit

import asyncpg

from bsgateway.log.sink import PostgresSink
from bsgateway.log.watch import Watch


async def test_it_knows_when_the_database_is_away_and_when_it_is_back(postgres_server: str, postgres_dsn: str) -> None:
    name = urlsplit(postgres_dsn).path[1:]
    server = await asyncpg.connect(postgres_server)

    async def let_in(on: bool) -> None:
        await server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {str(on).lower()}")
        if not on:
            await server.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)

    sink = PostgresSink(postgres_dsn)
    watch = Watch(sink.store)
    try:
        assert watch.answers is None
        await let_in(False)
        await watch.look()  # it was never connected
        assert watch.answers is False
        first = watch.looked_at
        await let_in(True)
        await watch.look()
        assert watch.answers is True
        await let_in(False)
        await watch.look()
        assert watch.answers is False
        await let_in(True)
        await watch.look()
        assert watch.answers is True
        assert first is not None
        assert watch.looked_at is not None
        assert watch.looked_at > first
    finally:
        await sink.close()
        await server.close()
