"""Partitions made ahead, and retention: what the tables of the log need from time to time.

Every step is one transaction under an advisory lock that is tried, not waited for, so that of many workers one does it.
What a step locks against writers it waits for only briefly, as they queue behind it; what is not to be had is left for
the next round.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
import msgspec

from bsgateway.sql import queries

if TYPE_CHECKING:
    from bsgateway.connections import Connection

log = logging.getLogger(__name__)

Period = Literal["month", "week", "day"]

TABLES = ("routing_logs", "routing_texts", "routing_outcomes", "routing_feedback", "routing_comparisons")
# Partitions are there for this time to come. They are not made for the past: retention would drop them again.
AHEAD: dict[Period, timedelta] = {
    "month": timedelta(days=93),
    "week": timedelta(days=28),
    "day": timedelta(days=7),
}
ERASED_AT_ONCE = 5_000  # rows; some 50 ms
ROUND_SECONDS = 60.0  # after which a round leaves the rest to the next one
# Milliseconds that writers may have to queue behind a step, and that a step may take.
LOCK_TIMEOUT = 500
STATEMENT_TIMEOUT = 30_000
MOVE_TIMEOUT = 600_000  # milliseconds, where many rows have to leave a default partition
CLOCKS_APART = timedelta(minutes=5)

# What says that someone is in the way, and not that something is wrong.
_BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError)


class Maintained(msgspec.Struct, frozen=True):
    """What a round did. Rows in partitions that were dropped are not counted.

    `partitions_dropped` are those that held nothing but what is too old, `partitions_replaced` empty ones of another
    period. `rows_erased` are those of all other tables than routing_texts. `finished` is False when something was left
    for the next round: someone held a lock, another worker was at it, or time was up.
    """

    partitions_made: int = 0
    partitions_dropped: int = 0
    partitions_replaced: int = 0
    texts_erased: int = 0
    rows_erased: int = 0
    letters_erased: int = 0
    finished: bool = True


async def make_partitions(connection: Connection, first: datetime, last: datetime, period: Period) -> int:
    """Make the partitions of all tables that are missing from the period of `first` to that of `last`; how many.

    Rows that lie in the default partitions move to where they belong. Raises asyncpg's errors.
    """
    made = 0
    for table in TABLES:
        made += await _make_partitions(connection, table, first, last, period)
    return made


async def _make_partitions(connection: Connection, table: str, first: datetime, last: datetime, period: Period) -> int:
    made: int = await connection.fetchval(
        queries().make_partitions.sql, table, first, last, period, timeout=MOVE_TIMEOUT / 1000
    )
    return made


async def maintain(
    connection: Connection, period: Period, retention_days: int | None, text_retention_days: int | None
) -> Maintained:
    """One round: make partitions ahead, drop and erase what is too old. Raises asyncpg's errors.

    Words go after the shorter of the two times, the rest after `retention_days`; None is never. Whole partitions are
    dropped. Of the others the rows that are too old are erased in routing_texts, and in the default partitions of all
    tables; elsewhere they wait until their partition is dropped. What is old is told by the id.
    """
    round_ = _Round(connection)
    moment = await _moment(connection)
    for table in TABLES:
        await round_.partition(table, moment, period)
    kept = [days for days in (retention_days, text_retention_days) if days is not None]
    if kept:
        before = moment - timedelta(days=min(kept))
        await round_.drop("routing_texts", before)
        await round_.erase("routing_texts", "texts_erased", before, in_part=True)
        await round_.erase_letters(before)
    if retention_days is not None:
        before = moment - timedelta(days=retention_days)
        for table in TABLES:
            if table != "routing_texts":
                await round_.drop(table, before)
                await round_.erase(table, "rows_erased", before)
    return Maintained(**round_.done, finished=round_.finished)


async def _moment(connection: Connection) -> datetime:
    """Now: of the server's clock and ours the one that is behind, since what is dropped does not come back."""
    theirs: datetime = await queries().server_time(connection)
    ours = datetime.now(timezone.utc)
    if abs(ours - theirs) > CLOCKS_APART:
        log.warning("the clock of PostgreSQL says %s, the one here %s: retention goes by the earlier", theirs, ours)
    return min(ours, theirs)


class _Round:
    """The steps of a round, and what they did."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + ROUND_SECONDS
        self.done: dict[str, int] = {}
        self.finished = True

    async def partition(self, table: str, moment: datetime, period: Period) -> None:
        """Have partitions of `period` from `moment` on."""
        await self._step(
            "partitions_replaced",
            partial(queries().drop_unused_partitions, self._connection, parent=table, moment=moment, period=period),
        )
        last = moment + AHEAD[period]
        await self._step(
            "partitions_made",
            partial(_make_partitions, self._connection, table, moment, last, period),
            MOVE_TIMEOUT,
        )

    async def drop(self, table: str, before: datetime) -> None:
        """Drop the partitions that hold nothing newer than `before`, unless someone is in the way."""
        old = [row["name"] async for row in queries().old_partitions(self._connection, parent=table, before=before)]
        for name in old:
            if await self._step("partitions_dropped", partial(self._drop, name)) is None:
                break  # each trial has writers wait

    async def _drop(self, name: str) -> int:
        await self._connection.execute(f"DROP TABLE IF EXISTS {name}")
        return 1

    async def erase(self, table: str, what: str, before: datetime, in_part: bool = False) -> None:
        """Erase rows of the default partition, and if `in_part` of the others too, that are older than `before`."""
        names = [f"{table}_default"]
        if in_part:
            begun = queries().begun_partitions(self._connection, parent=table, before=before)
            names += [row["name"] async for row in begun]
        for name in names:
            await self._erase_all(
                what,
                partial(queries().erase, self._connection, child=name, before=before, most=ERASED_AT_ONCE),
            )

    async def erase_letters(self, before: datetime) -> None:
        """Erase the dead letters that are older than `before`, or whose words are."""

        async def erase() -> int:
            status: str = await queries().erase_letters(self._connection, before=before, most=ERASED_AT_ONCE)
            return int(status.split()[-1])

        await self._erase_all("letters_erased", erase)

    async def _erase_all(self, what: str, erase: Callable[[], Awaitable[int]]) -> None:
        while True:
            began = time.monotonic()
            if not await self._step(what, erase):
                return
            await asyncio.sleep(time.monotonic() - began)  # half of the time is for others

    async def _step(self, what: str, act: Callable[[], Awaitable[Any]], timeout: int = STATEMENT_TIMEOUT) -> int | None:
        """Do one thing and count it; None, and nothing done, if it has to wait for the next round."""
        if time.monotonic() < self._deadline:
            try:
                async with self._connection.transaction():
                    await self._connection.execute(
                        f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}; SET LOCAL statement_timeout = {timeout}"
                    )
                    if await queries().try_maintenance_lock(self._connection):
                        count: int = await act()
                        self.done[what] = self.done.get(what, 0) + count
                        return count
            except _BUSY as error:
                log.info("maintenance of the log: %s is left for the next round: %s", what, error)
        self.finished = False
        return None
