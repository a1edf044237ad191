"""Keeps the sums of the log up to date: `routing_rollups` and its neighbours, which pages and reports read.

What is written to the log marks the hours that it belongs to, by a trigger. Here they are added up anew, the newest
first, by whichever worker is at it: an advisory lock keeps the others away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import asyncpg

from .decision import now
from .errors import StoreError
from .sql import queries

if TYPE_CHECKING:
    from .connections import Connection
    from .store import Store

log = logging.getLogger(__name__)

PAUSE = 3.0
"""Seconds between two rounds, at least."""
SHARE = 0.05
"""Of its time that a worker has the database add up, at most; half of it while there is a backlog."""
HOURS = 16
"""Hours of the log that are added up in one transaction, at most; fewer where the server is slow."""
STATEMENT_TIMEOUT = 60_000
"""Milliseconds for one transaction."""
LOCK_TIMEOUT = 2_000

_EVER = datetime.min.replace(tzinfo=timezone.utc) + timedelta(days=1)


async def refresh(connection: Connection, retention_days: int | None = None, hours: int = HOURS) -> int:
    """Add up the newest `hours` of those that wait; how many it were, -1 if somebody else is at it.

    Hours older than `retention_days` keep their sums: their rows may be gone. Raises asyncpg's errors.
    """
    kept_since = _EVER if retention_days is None else now() - timedelta(days=retention_days)
    async with connection.transaction():
        await connection.execute(
            f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}; SET LOCAL statement_timeout = {STATEMENT_TIMEOUT}"
        )
        query = queries().refresh_rollups.sql
        done: int = await connection.fetchval(query, hours, kept_since, timeout=STATEMENT_TIMEOUT / 1000)
    return done


class Pace:
    """As many hours at once as the server adds up in good time: half as many after a transaction that took too long,
    twice as many after one that took little."""

    def __init__(self) -> None:
        self.hours = HOURS
        self.took = 0.0
        """Seconds of the latest transaction."""

    async def refresh(self, connection: Connection, retention_days: int | None) -> int:
        """As `refresh`. 0 for a transaction that took too long, unless it was about one hour: that raises."""
        began = time.monotonic()
        try:
            done = await refresh(connection, retention_days, self.hours)
        except (asyncpg.QueryCanceledError, asyncio.TimeoutError):
            if self.hours == 1:
                raise
            self.hours //= 2
            return 0
        finally:
            self.took = time.monotonic() - began
        if done == self.hours and self.took < STATEMENT_TIMEOUT / 1000 / 8:
            self.hours = min(self.hours * 2, HOURS)
        return done


async def refresh_all(
    store: Store,
    retention_days: int | None,
    advance: Callable[[int, int], None] = lambda done, left: None,
    seconds: float = 300.0,
) -> bool:
    """Add up all that waits; whether nothing is left. `advance` is told the hours done and those left. Raises
    StoreError."""
    until = time.monotonic() + seconds
    done = 0
    pace = Pace()
    while True:
        async with store.acquire("cannot add up the log in") as connection:
            found = await pace.refresh(connection, retention_days)
            left: int = await queries().rollups_waiting(connection)
        done += max(found, 0)
        advance(done, left)
        if not left:
            return True
        if time.monotonic() > until:
            return False
        if found < 0:
            await asyncio.sleep(0.2)


class Refresher:
    """Keeps the sums up to date in the background. Belongs to one event loop."""

    def __init__(self, connect: Callable[[], Awaitable[Store]], retention_days: int | None) -> None:
        """`connect` gives the store of this event loop, migrated, each time it is needed; it stays the caller's."""
        self._connect = connect
        self._retention_days = retention_days
        self._failing = False
        self._pace = Pace()
        self.failures = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            seconds = await self.turn()
            await asyncio.sleep(seconds)

    async def turn(self) -> float:
        """One round; the seconds to wait before the next."""
        hours = self._pace.hours
        done = await self.once()
        is_behind = done == hours or self._pace.hours < hours  # fewer are tried next: these took too long
        return self._pace.took if is_behind else max(PAUSE, self._pace.took / SHARE)

    async def once(self) -> int | None:
        """One round: the hours that were added up, None if it failed. Never raises for a database that is away or
        slow."""
        try:
            store = await self._connect()
            async with store.acquire("cannot add up the log in") as connection:
                done = await self._pace.refresh(connection, self._retention_days)
        except StoreError as error:
            self.failures += 1
            if not self._failing:  # the next time is seconds away, and says the same
                log.warning("pages and reports show what was added up before: %s", error)
            self._failing = True
            return None
        self._failing = False
        return done
