"""Where it runs: a database, looked at from beside the log, and a log as a process of the gateway has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import asyncpg

from bsgateway.config import Collector, Spool
from bsgateway.connections import init_connection
from bsgateway.lifecycle import Lifecycle
from bsgateway.log.metrics import Metrics
from bsgateway.store import Store

HANG = 300.0
"""Seconds after which something is wrong."""
TABLES = ("routing_logs", "routing_outcomes", "routing_texts")


class Database:
    """The tables of the log at `dsn`, with a `store`, and a plain `connection` that encodes as the store's do."""

    connection: asyncpg.Connection[asyncpg.Record]
    store: Store

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    async def __aenter__(self) -> Database:
        self.store = await Store.connect(self.dsn)
        await self.store.migrate()
        self.connection = await asyncpg.connect(self.dsn)
        await init_connection(self.connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close()
        await self.store.close()

    async def empty(self) -> None:
        """Remove all rows, and write to disk what is not there yet, so that nobody pays for the one before."""
        await self.connection.execute(f"TRUNCATE {', '.join(TABLES)}")
        await self.connection.execute("CHECKPOINT")

    async def rows(self) -> int:
        """Rows of all tables, counted."""
        return sum([await self.connection.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES])

    async def contents(self) -> tuple[str | None, ...]:
        """A digest of each table: equal when every value of every row is."""
        query = "SELECT md5(string_agg(md5(t::text), '' ORDER BY decision_id)) FROM {} t"
        return tuple([await self.connection.fetchval(query.format(table)) for table in TABLES])

    async def version(self) -> str:
        """The version of the server."""
        version: str = await self.connection.fetchval("SHOW server_version")
        return version.split(" ")[0]


class Log:
    """A log, running from `async with` on; `record` is what the hook calls. `directory` None: without a spool.

    Words are stored as they are: what redaction costs depends on the words, and is measured beside its corpus.
    """

    def __init__(self, dsn: str, directory: Path | None, **options: Any) -> None:
        spool = Spool(enabled=False) if directory is None else Spool(directory=str(directory))
        collector = Collector(database_url=dsn, text="full", spool=spool, **options)
        self.lifecycle = Lifecycle(collector, _nothing, _nothing)
        self.record = self.lifecycle.record

    async def __aenter__(self) -> Log:
        self.lifecycle.ensure_running()
        await _until(lambda: self.lifecycle.metrics() is not None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.lifecycle.stop()

    @property
    def metrics(self) -> Metrics:
        """What it did so far."""
        found = self.lifecycle.metrics()
        assert found is not None
        return found

    @property
    def waiting(self) -> int:
        """Rows that are not in the database yet."""
        metrics = self.metrics
        return metrics.queued + metrics.spooled_rows

    async def written(self, rows: int, look: float = 0.002) -> None:
        """Until so many rows are in the database, and none of them in the spool; looks every `look` seconds. Raises
        TimeoutError after `HANG`."""

        def done() -> bool:
            metrics = self.metrics
            assert not metrics.dropped
            return metrics.written >= rows and not metrics.spooled_rows

        await _until(done, look)


async def _until(condition: Callable[[], bool], look: float = 0.002) -> None:
    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(look)

    await asyncio.wait_for(poll(), HANG)


async def _nothing() -> None:
    pass
