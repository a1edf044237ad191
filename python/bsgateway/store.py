"""The database of the log: connection pool, migrations, writing a batch, and the queries behind the commands.

The schema is described in `sql/migrations`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from bsgateway import maintenance, migrations
from bsgateway.burial import letter
from bsgateway.connections import CONNECT_TIMEOUT, create_pool, describe, explained
from bsgateway.decision import Comparison, Decision, Outcome, Texts, now
from bsgateway.errors import StoreError, StoreVersionError
from bsgateway.maintenance import Maintained, Period
from bsgateway.migrations import Migration
from bsgateway.rows import (
    COMPARISON_COLUMNS,
    LOG_COLUMNS,
    OUTCOME_COLUMNS,
    TEXT_COLUMNS,
    Item,
    LogRow,
    comparison_row,
    log_row,
    outcome_row,
    read_log_row,
    text_row,
)
from bsgateway.sql import queries

if TYPE_CHECKING:
    from bsgateway.connections import Connection, Pool

log = logging.getLogger(__name__)

# Rows encoded between two turns of the event loop: about 1 ms. The loop is that of the log's thread, and the turn lets
# go of the GIL, which the thread of the requests waits for.
ROWS_PER_TURN = 100
# A batch is given up after this time: a server that does not answer must not hold it for ever. Seconds.
WRITE_TIMEOUT = 10.0
# Of the slowest server and network: a large batch has more time, and is not cut off again and again.
ROWS_PER_SECOND = 500
CHARS_PER_SECOND = 1_000_000
# For what is read in the background, in milliseconds: better not to know than to keep a busy server busy.
EXPECT_TIMEOUT = 10_000
# What the server says of a row, in good health itself.
_ROW_FAULTS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
# What a write asks of the server, with BEGIN and for its transaction only, so that it costs no round trip and passes a
# connection pooler: not to wait for a locked table for long, as each new trial would be one more that waits; and to let
# go of what it holds when this process, or the network between, is gone. In milliseconds, keepalives in seconds.
BEGIN = (
    "BEGIN; "
    "SET LOCAL lock_timeout = 5000; "
    "SET LOCAL statement_timeout = {timeout}; "
    "SET LOCAL idle_in_transaction_session_timeout = {timeout}; "
    "SET LOCAL tcp_keepalives_idle = 10; "
    "SET LOCAL tcp_keepalives_interval = 5; "
    "SET LOCAL tcp_keepalives_count = 3"
)


class _Table(NamedTuple):
    """How records of one kind are written."""

    record: type[Item]
    name: str
    columns: tuple[str, ...]
    to_row: Callable[[Any], tuple[Any, ...]]
    staging: str  # the table for rows that may be there already
    insert: str  # the query that carries them over


_TABLES = (
    _Table(Decision, "routing_logs", LOG_COLUMNS, log_row, "staged_logs", "insert_logs"),
    _Table(Texts, "routing_texts", TEXT_COLUMNS, text_row, "staged_texts", "insert_texts"),
    _Table(Outcome, "routing_outcomes", OUTCOME_COLUMNS, outcome_row, "staged_outcomes", "upsert_outcomes"),
    _Table(
        Comparison,
        "routing_comparisons",
        COMPARISON_COLUMNS,
        comparison_row,
        "staged_comparisons",
        "insert_comparisons",
    ),
)

_RECORDS = frozenset(table.record for table in _TABLES)


class TierSavings(msgspec.Struct, frozen=True):
    """Requests and costs of one tier; `tier` is None for requests that were not routed by score.

    `cost` and `baseline_cost` are US dollars, summed over the `priced` requests, those of which both are known.
    """

    tier: str | None
    requests: int
    failed: int
    priced: int
    cost: float
    baseline_cost: float


class Counts(msgspec.Struct, frozen=True):
    """Rows of each table."""

    logs: int
    texts: int
    outcomes: int
    feedback: int
    dead_letters: int = 0
    comparisons: int = 0


class Store:
    """The database of the log. Bound to the event loop it was connected in; close it there."""

    def __init__(self, pool: Pool, address: str) -> None:
        self._pool = pool
        self.address = address

    @classmethod
    async def connect(cls, dsn: str) -> Store:
        """Connect to the PostgreSQL at `dsn`, a URL as libpq takes it. Raises StoreError, never with the password.

        Of several hosts each new connection takes the first that can be written to, unless the DSN has another
        target_session_attrs.
        """
        address = describe(dsn)
        what, remedy = f"cannot connect to PostgreSQL at {address}", "check COLLECTOR_DATABASE_URL and the server"
        try:
            with explained(what, remedy):
                pool = await create_pool(dsn)
        except ValueError:  # a DSN that cannot be parsed, whose error quotes it
            raise StoreError(f"{what}: {remedy}") from None
        return cls(pool, address)

    async def close(self) -> None:
        """Wait for what runs and close all connections; those that do not answer are cut."""
        try:
            await asyncio.wait_for(self._pool.close(), CONNECT_TIMEOUT)
        except asyncio.TimeoutError:
            self._pool.terminate()

    async def __aenter__(self) -> Store:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def acquire(self, failed: str = "cannot use") -> AsyncIterator[Connection]:
        """A connection of the pool, for as long as the block runs. `failed` begins the messages of errors.

        What asyncpg raises in the block becomes a StoreError, such as "cannot use PostgreSQL at host/database: ...".
        """
        with self._explained(failed):
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
                try:
                    yield connection
                except (asyncpg.ReadOnlySQLTransactionError, asyncio.TimeoutError, OSError):
                    connection.terminate()  # a new one may find another server
                    raise

    async def pending(self) -> tuple[Migration, ...]:
        """The migrations that `migrate` would apply. Changes nothing. Raises StoreError."""
        async with self.acquire("cannot read the migrations of") as connection:
            return await migrations.pending(connection)

    async def migrate(self, partition: Period = "month") -> tuple[Migration, ...]:
        """Bring the schema up to date, and make the partitions of the time to come; what was applied.

        Raises StoreError. That partitions cannot be made is only logged: rows go to the default ones meanwhile.
        """
        async with self.acquire("cannot migrate") as connection:
            applied = await migrations.migrate(connection)
        moment = now()
        try:
            await self.make_partitions(moment, moment + maintenance.AHEAD[partition], partition)
        except StoreError as error:
            log.warning("rows go to the default partitions until `bsgateway migrate` succeeds: %s", error)
        return applied

    async def make_partitions(self, first: datetime, last: datetime, partition: Period = "month") -> int:
        """Make the partitions that are missing from the period of `first` to that of `last`; how many.

        Rows that lie in the default partitions move to where they belong. Raises StoreError.
        """
        async with self.acquire("cannot make partitions in") as connection:
            return await maintenance.make_partitions(connection, first, last, partition)

    async def maintain(
        self, partition: Period, retention_days: int | None, text_retention_days: int | None
    ) -> Maintained:
        """Make partitions ahead, and drop and erase what is too old: to be called every hour or so by every worker.

        See `bsgateway.maintenance.maintain`. Takes a minute at most, and writers wait for it half a second at most.
        Raises StoreError.
        """
        async with self.acquire("cannot maintain the log in") as connection:
            return await maintenance.maintain(connection, partition, retention_days, text_retention_days)

    async def copy(self, batch: Sequence[Item]) -> None:
        """Write a batch in one transaction: all of it or nothing. What is stored already stays as it is.

        Raises asyncpg's errors, OSError and TimeoutError as they come, and ValueError, TypeError or OverflowError for a
        value that does not fit its column: `bsgateway.log.sink` sorts them.
        """
        if strange := {type(item).__name__ for item in batch if type(item) not in _RECORDS}:
            raise TypeError(f"not a record of the log: {', '.join(sorted(strange))}")
        words = sum(len(item.ask) + len(item.system) for item in batch if isinstance(item, Texts))
        seconds = WRITE_TIMEOUT + len(batch) / ROWS_PER_SECOND + words / CHARS_PER_SECOND
        async with self._writing() as connection:
            await asyncio.wait_for(_write(connection, batch, seconds), seconds)

    async def bury(self, item: object, reason: str) -> None:
        """Keep a record that its table refused, as a row of routing_dead_letters; a second time changes nothing.

        `reason` is stored and shown: it must quote no data. Raises what `copy` raises for a server that is away.
        """
        columns = letter(item, reason)
        seconds = WRITE_TIMEOUT + len(columns["payload"]) / CHARS_PER_SECOND

        async def write(connection: Connection) -> None:
            await connection.execute(_begin(seconds))
            await connection.execute(queries().bury.sql, *columns.values(), timeout=seconds)
            await connection.execute("COMMIT", timeout=seconds)

        async with self._writing() as connection:
            await asyncio.wait_for(write(connection), seconds)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Connection]:
        async with self._pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
            try:
                yield connection
            except _ROW_FAULTS:
                await connection.execute("ROLLBACK", timeout=WRITE_TIMEOUT)
                raise
            except BaseException:
                # No rollback: a server that does not answer would not answer to that either, and after a failover a
                # new connection finds the server that can be written to.
                connection.terminate()
                raise

    async def recent(self, limit: int = 20, after: UUID | None = None) -> list[LogRow]:
        """Decisions with their outcomes, oldest first: the newest `limit`, or the first `limit` after an id.

        Ids are made before their rows are written, by several workers, in batches: a row with a smaller id may appear
        after one with a larger id, and an outcome after its decision. Who follows the log asks again from some seconds
        before the newest id (the age of a batch and the time of a flush) and skips what it has seen.
        Raises StoreError.
        """
        async with self.acquire("cannot read the log in") as connection:
            if after is None:
                found = [row async for row in queries().newest(connection, limit=limit)][::-1]
            else:
                found = [row async for row in queries().following(connection, after=after, limit=limit)]
        try:
            return [read_log_row(row["decision"], row["outcome"]) for row in found]
        except msgspec.ValidationError as error:
            raise StoreVersionError(
                f"the log in PostgreSQL at {self.address} holds a row of another version: {error}: upgrade bsgateway"
            ) from None

    async def savings(self, since: datetime) -> list[TierSavings]:
        """Requests and costs of each tier since a moment, in the order of their names. Raises StoreError."""
        async with self.acquire("cannot read the log in") as connection:
            found = [row async for row in queries().savings(connection, since=since)]
        return [TierSavings(**row) for row in found]

    async def expected_output(self, since: datetime, most: int, least: int) -> dict[tuple[str, str], float]:
        """Output tokens to expect by tier and model group, from the newest `most` decisions since a moment, where at
        least `least` answers are known. Gives up after `EXPECT_TIMEOUT`. Raises StoreError."""
        async with self.acquire("cannot read the log in") as connection, connection.transaction(readonly=True):
            await connection.execute(f"SET LOCAL statement_timeout = {EXPECT_TIMEOUT}")
            found = queries().expected_output(connection, since=since, most=most, least=least)
            return {(row["tier"], row["served_group"]): float(row["tokens"]) async for row in found}

    async def since_newest(self, since: datetime, until: datetime, most: int) -> datetime | None:
        """From when on there are `most` decisions before `until`, to the millisecond; None where there are no more of
        them from `since` on. Raises StoreError."""
        async with self.acquire("cannot read the log in") as connection:
            found: datetime | None = await queries().since_newest(connection, since=since, until=until, most=most)
            return found

    async def counts(self) -> Counts:
        """Rows of each table, counted one by one. Raises StoreError."""
        async with self.acquire("cannot read the log in") as connection:
            return Counts(**await queries().counts(connection))

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        with explained(f"{what} PostgreSQL at {self.address}", "run `bsgateway doctor`"):
            yield


def _begin(seconds: float) -> str:
    return BEGIN.format(timeout=round(seconds * 1000))


async def _write(connection: Connection, batch: Sequence[Item], seconds: float) -> None:
    """Write a batch in one transaction, in which the server gives no statement more time than `seconds`.

    First without staging, which takes twice the round trips. It is seldom needed: a row comes again after a fault, and
    a second outcome mostly in the same batch as the first.
    """
    try:
        await connection.execute(_begin(seconds))
        await _copy(connection, batch, seconds, staged=False)
    except asyncpg.UniqueViolationError:  # a row is stored already
        await connection.execute("ROLLBACK")
        await connection.execute(_begin(seconds))
        await _copy(connection, batch, seconds, staged=True)
    await connection.execute("COMMIT", timeout=seconds)


async def _copy(connection: Connection, batch: Sequence[Item], seconds: float, staged: bool) -> None:
    """Send a batch, if `staged` by way of the staging tables. Without `seconds` the pool's time-out would hold."""
    if staged:
        await queries().create_staging(connection)
    for table in _TABLES:
        records = [item for item in batch if type(item) is table.record]
        if not records:
            continue
        rows = _paced(map(table.to_row, _settled(records)))
        if staged:
            await connection.copy_records_to_table(
                table.staging, schema_name="pg_temp", columns=table.columns, records=rows, timeout=seconds
            )
            await connection.execute(getattr(queries(), table.insert).sql, timeout=seconds)
        else:
            await connection.copy_records_to_table(table.name, columns=table.columns, records=rows, timeout=seconds)


def _settled(records: Sequence[Item]) -> Iterable[Item]:
    """`records` of one kind, of the outcomes of one decision only the one that counts: the first success, or else the
    newest failure. The same rule, for rows that are stored already, stands in `upsert_outcomes`."""
    if not isinstance(records[0], Outcome):
        return records
    kept: dict[UUID, Outcome] = {}
    for record in records:
        if isinstance(record, Outcome):
            other = kept.setdefault(record.decision_id, record)
            if _counts_more(record, other):
                kept[record.decision_id] = record
    return kept.values()


def _counts_more(outcome: Outcome, other: Outcome) -> bool:
    if outcome.status != other.status:
        return outcome.status == "success"
    if outcome.status == "success":
        return outcome.completed_at < other.completed_at
    return outcome.completed_at > other.completed_at


async def _paced(rows: Iterator[tuple[Any, ...]]) -> AsyncIterator[tuple[Any, ...]]:
    for count, row in enumerate(rows, 1):
        yield row
        if count % ROWS_PER_TURN == 0:
            await asyncio.sleep(0)
