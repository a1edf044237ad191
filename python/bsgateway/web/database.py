"""The log's database as the pages use it: in the proxy's event loop, with two connections and little patience.

Requests to models share this loop, and never wait for anything here. A page that the database leaves waiting gets a
503 after some seconds at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Literal

import anyio
import asyncpg

from ..config import Collector, resolve_env
from ..connections import NOT_A_URL, describe, idle_pool
from .problems import AWAY, AWAY_REMEDY, RequestError

if TYPE_CHECKING:
    from ..connections import Connection, Pool

log = logging.getLogger(__name__)

CONNECTIONS = 2
WAIT_SECONDS = 3.0
"""Longest wait for a connection: for the server's, or until another request gives back its own."""
STATEMENT_SECONDS = 4.0
"""Longest time of one statement, told to the server."""
GRACE_SECONDS = 1.0
"""After so much more a server that is silent is given up."""
TOTAL_SECONDS = 8.0
"""Longest time of all that one answer needs of the database."""
PING_SECONDS = 1.0

_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, asyncio.TimeoutError)
_OFF_REMEDY = "set COLLECTOR_DATABASE_URL or routing.collector.database_url, or start with `bsgateway serve`"


class Database:
    """The pool of one process. Connected at first use, and anew after a fault; belongs to the loop that used it first.

    Where nothing is logged, all uses raise RequestError (503), which says how to turn the log on.
    """

    def __init__(self, collector: Collector) -> None:
        self._dsn = resolve_env(collector.database_url) if collector.enabled else None
        self._remedy = _OFF_REMEDY if collector.enabled else "set routing.collector.enabled to true"
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()

    @property
    def is_on(self) -> bool:
        """Whether there is a log at all."""
        return self._dsn is not None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection, for what begins its own transactions. Raises RequestError."""
        if self._dsn is None:
            raise RequestError(503, "the log is off: there is nothing to see", self._remedy)
        if describe(self._dsn) == NOT_A_URL:
            raise RequestError(503, "the address of the log's database is not a URL", "correct COLLECTOR_DATABASE_URL")
        with self._explained(self._dsn):
            pool = await self._opened(self._dsn)
            # Unlike a time-out of asyncio's, this one holds for what cleans up after it, too: a ROLLBACK is not waited
            # for, either.
            with anyio.fail_after(TOTAL_SECONDS):
                async with pool.acquire(timeout=WAIT_SECONDS) as connection:
                    with _given_up(connection):
                        yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection in a transaction that sees one state of the log and changes nothing. Raises RequestError."""
        async with (
            self.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(f"SET LOCAL statement_timeout = {STATEMENT_SECONDS * 1000:.0f}")
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """A connection in a transaction. What was written is safe when the block has ended. Raises RequestError."""
        async with self.connection() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL statement_timeout = {STATEMENT_SECONDS * 1000:.0f}")
            yield connection

    async def state(self) -> Literal["on", "down", "off"]:
        """Whether the log answers, within a second. While all connections are in use, those who use them will see."""
        if not self.is_on:
            return "off"
        if self._pool is not None and self._pool.get_size() - self._pool.get_idle_size() >= CONNECTIONS:
            return "on"
        try:
            await asyncio.wait_for(self._ping(), PING_SECONDS)
        except (RequestError, asyncio.TimeoutError):
            return "down"
        return "on"

    async def close(self) -> None:
        """Give the connections back; those that do not answer are cut."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), GRACE_SECONDS)
        except asyncio.TimeoutError:
            pool.terminate()

    async def _ping(self) -> None:
        async with self.connection() as connection:
            await connection.execute("SELECT 1")

    async def _opened(self, dsn: str) -> Pool:
        async with self._opening:  # of two first requests, one opens it; that waits for nothing
            if self._pool is None:
                self._pool = await idle_pool(dsn, CONNECTIONS, STATEMENT_SECONDS + GRACE_SECONDS)
            return self._pool

    @contextmanager
    def _explained(self, dsn: str) -> Iterator[None]:
        try:
            yield
        except asyncpg.QueryCanceledError:
            raise RequestError(
                503,
                f"the answer would take the database longer than {STATEMENT_SECONDS:g} s",
                "choose a shorter period",
            ) from None
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError) as error:
            log.error("pages: the log in PostgreSQL at %s lacks something: %s", describe(dsn), error)
            raise RequestError(503, "the log's database is of another version", "run `bsgateway migrate`") from None
        except _FAULTS as error:
            # The class says it for most; a message of PostgreSQL's may quote values of rows.
            log.error("pages: no answer from PostgreSQL at %s: %s", describe(dsn), type(error).__name__)
            raise RequestError(503, AWAY, AWAY_REMEDY, retry_after=2) from None


@contextmanager
def _given_up(connection: Connection) -> Iterator[None]:
    """Cut a connection that failed in the block, so that the next one begins anew."""
    try:
        yield
    except (OSError, asyncio.TimeoutError, asyncio.CancelledError, asyncpg.ReadOnlySQLTransactionError):
        connection.terminate()
        raise
