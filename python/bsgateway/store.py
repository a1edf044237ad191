"""The database of the log: connection pool, migrations, writing a batch, and the queries behind the commands.

The schema is described in `sql/migrations`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import msgspec

from bsgateway import migrations
from bsgateway.decision import Decision, Outcome, Texts
from bsgateway.errors import StoreError
from bsgateway.migrations import Migration
from bsgateway.rows import (
    LOG_COLUMNS,
    OUTCOME_COLUMNS,
    TEXT_COLUMNS,
    Item,
    LogRow,
    log_row,
    outcome_row,
    read_log_row,
    text_row,
)
from bsgateway.sql import queries

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = PoolConnectionProxy[asyncpg.Record]

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 4  # of each worker: one writes, the others are for commands and pages
CONNECT_TIMEOUT = 10.0  # seconds
COMMAND_TIMEOUT = 30.0  # seconds for one statement
# Partitions are made at each start for this time around it: the rows of clocks that are wrong, and months to come.
PARTITIONS_BEHIND = timedelta(days=31)
PARTITIONS_AHEAD = timedelta(days=93)
# Rows encoded between two turns of the event loop, which requests need too: about 1 ms.
ROWS_PER_TURN = 100


class _Table(NamedTuple):
    """How records of one kind are written."""

    record: type[Item]
    name: str
    columns: tuple[str, ...]
    to_row: Callable[[Any], tuple[Any, ...]]
    staging: str  # the table for rows that may be there already
    insert: str  # the query that carries them over


# In the order they are written, which is that of bsg_make_partitions: the two lock tables in one order.
_TABLES = (
    _Table(Decision, "routing_logs", LOG_COLUMNS, log_row, "staged_logs", "insert_logs"),
    _Table(Texts, "routing_texts", TEXT_COLUMNS, text_row, "staged_texts", "insert_texts"),
    _Table(Outcome, "routing_outcomes", OUTCOME_COLUMNS, outcome_row, "staged_outcomes", "upsert_outcomes"),
)


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


class Store:
    """The database of the log. Bound to the event loop it was connected in; close it there."""

    def __init__(self, pool: Pool, address: str) -> None:
        self._pool = pool
        self.address = address

    @classmethod
    async def connect(cls, dsn: str) -> Store:
        """Connect to the PostgreSQL at `dsn`, a URL as libpq takes it. Raises StoreError, never with the password."""
        address = describe(dsn)
        with _explained(f"cannot connect to PostgreSQL at {address}", "check COLLECTOR_DATABASE_URL and the server"):
            pool = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=MAX_CONNECTIONS,
                timeout=CONNECT_TIMEOUT,
                command_timeout=COMMAND_TIMEOUT,
                init=init_connection,
                server_settings={"application_name": "bsgateway"},
            )
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

    async def pending(self) -> tuple[Migration, ...]:
        """The migrations that `migrate` would apply. Changes nothing. Raises StoreError."""
        with self._explained("cannot read the migrations of"):
            async with self._pool.acquire() as connection:
                return await migrations.pending(connection)

    async def migrate(self) -> tuple[Migration, ...]:
        """Bring the schema up to date, and make the partitions of the months around now; what was applied.

        Raises StoreError. That partitions cannot be made is only logged: rows go to the default ones meanwhile.
        """
        with self._explained("cannot migrate"):
            async with self._pool.acquire() as connection:
                applied = await migrations.migrate(connection)
        now = datetime.now(timezone.utc)
        try:
            await self.make_partitions(now - PARTITIONS_BEHIND, now + PARTITIONS_AHEAD)
        except StoreError as error:
            log.warning("rows go to the default partitions until `bsgateway migrate` succeeds: %s", error)
        return applied

    async def make_partitions(self, first: datetime, last: datetime) -> int:
        """Make the monthly partitions that are missing from `first` to `last`; how many. Raises StoreError.

        Rows that lie in the default partitions move to where they belong.
        """
        with self._explained("cannot make partitions in"):
            async with self._pool.acquire() as connection, connection.transaction():
                made: int = await queries().make_partitions(connection, first=first, last=last)
                return made

    async def copy(self, batch: Sequence[Item]) -> None:
        """Write a batch in one transaction: all of it or nothing. What is stored already stays as it is.

        Raises asyncpg's errors, OSError and TimeoutError as they come, and ValueError, TypeError or OverflowError for a
        value that does not fit its column: `bsgateway.log.sink` sorts them.
        """
        if strange := {type(item).__name__ for item in batch if not isinstance(item, (Decision, Texts, Outcome))}:
            raise TypeError(f"not a record of the log: {', '.join(sorted(strange))}")
        async with self._pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
            try:
                if not await _copy(connection, batch, staged=False):
                    await _copy(connection, batch, staged=True)
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
        with self._explained("cannot read the log in"):
            async with self._pool.acquire() as connection:
                if after is None:
                    found = [row async for row in queries().newest(connection, limit=limit)][::-1]
                else:
                    found = [row async for row in queries().following(connection, after=after, limit=limit)]
        try:
            return [read_log_row(row["decision"], row["outcome"]) for row in found]
        except msgspec.ValidationError as error:
            raise StoreError(
                f"the log in PostgreSQL at {self.address} holds a row of another version: {error}: upgrade bsgateway"
            ) from None

    async def savings(self, since: datetime) -> list[TierSavings]:
        """Requests and costs of each tier since a moment, in the order of their names. Raises StoreError."""
        with self._explained("cannot read the log in"):
            async with self._pool.acquire() as connection:
                found = [row async for row in queries().savings(connection, since=since)]
        return [TierSavings(**row) for row in found]

    async def counts(self) -> Counts:
        """Rows of each table, counted one by one. Raises StoreError."""
        with self._explained("cannot read the log in"):
            async with self._pool.acquire() as connection:
                return Counts(**await queries().counts(connection))

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        with _explained(f"{what} PostgreSQL at {self.address}", "run `bsgateway doctor`"):
            yield


def describe(dsn: str) -> str:
    """Host, port and database of a DSN, without user and password, for messages."""
    try:
        url = urlsplit(dsn)
        given = {name: values[-1] for name, values in parse_qs(url.query).items()}
        host, port = url.hostname or given.get("host"), url.port or given.get("port")
    except ValueError:
        return "an address that is not a URL"
    if url.scheme not in ("postgresql", "postgres"):
        return "an address that is not a URL"
    database = url.path.lstrip("/") or given.get("dbname") or given.get("database") or ""
    return f"{host or 'localhost'}{f':{port}' if port else ''}/{database}"


@contextmanager
def _explained(what: str, remedy: str) -> Iterator[None]:
    """Turn what asyncpg raises into a StoreError."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{what}: {error}") from error
    except asyncio.TimeoutError:
        raise StoreError(f"{what}: no answer in time: {remedy}") from None
    except asyncpg.UndefinedTableError as error:
        raise StoreError(f"{what}: {error.args[0]}: run `bsgateway migrate`") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise StoreError(f"{what}: {error}: {remedy}") from None
    except ValueError:  # a DSN that cannot be parsed, whose error quotes it
        raise StoreError(f"{what}: {remedy}") from None


async def init_connection(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Let a connection take and give jsonb as Python values."""
    # The binary format of jsonb is its version, 1, and then the text.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda data: msgspec.json.decode(data[1:]),
        format="binary",
    )


async def _copy(connection: Connection, batch: Sequence[Item], staged: bool) -> bool:
    """Write a batch in one transaction, if `staged` by way of the staging tables.

    False, and nothing written, when a row is stored already and the batch was not staged. Staging takes twice the round
    trips, each of which costs the requests of this process time, and it is seldom needed: a row comes again after a
    fault, and a second outcome mostly in the same batch as the first.
    """
    transaction = connection.transaction()
    await transaction.start()
    if staged:
        await queries().create_staging(connection)
    for table in _TABLES:
        records = [item for item in batch if isinstance(item, table.record)]
        if not records:
            continue
        rows = _paced(map(table.to_row, _settled(records)))
        if staged:
            await connection.copy_records_to_table(
                table.staging, schema_name="pg_temp", columns=table.columns, records=rows
            )
            await getattr(queries(), table.insert)(connection)
        else:
            try:
                await connection.copy_records_to_table(table.name, columns=table.columns, records=rows)
            except asyncpg.UniqueViolationError:
                await transaction.rollback()
                return False
    await transaction.commit()
    return True


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
