"""Where batches go: the `Sink` protocol, and the sink that is PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import asyncpg

from bsgateway.config import Collector
from bsgateway.connections import describe
from bsgateway.errors import GatewayError, StoreError
from bsgateway.log.chunk import Unreadable
from bsgateway.rows import Item
from bsgateway.store import Store

log = logging.getLogger(__name__)

# Classes of SQLSTATE that are the fault of a row: data exception, integrity constraint, program limit (such as an index
# entry that is too long). Everything else - disk full, shutdown, read only, no such table, no right - is the state of
# the server, and may pass.
ROW_FAULTS = ("22", "23", "54")


class SinkUnavailable(GatewayError):
    """Nothing of the batch was written, or it is not known whether it was: write it again later."""


class SinkTimeout(SinkUnavailable):
    """The sink took too long: it may take fewer rows in the same time."""


class RowRefused(GatewayError):
    """Nothing of the batch was written, and never will be as it is: at least one of its rows is at fault."""


class Sink(Protocol):
    """Takes batches for good. A batch may come again after a fault: writing it twice must be as writing it once."""

    async def write(self, batch: Sequence[Item]) -> None:
        """Write all of the batch or nothing. Raises SinkUnavailable or RowRefused."""

    async def bury(self, item: Item | Unreadable, reason: str) -> None:
        """Put a row that cannot be written where it is kept, and `reason` with it. Raises as `write` does."""

    async def maintain(self) -> bool:
        """Look after what is written; False when there is more to do. Called every hour, then sooner. Raises
        GatewayError."""

    async def close(self) -> None:
        """Let go of connections and files. Called once, after the last write."""


class PostgresSink:
    """Writes to the PostgreSQL at `dsn`. Connects, and brings the schema up to date, when it is first asked for
    something: so a gateway starts without its database.
    """

    def __init__(self, dsn: str, collector: Collector | None = None) -> None:
        self._dsn = dsn
        self._address = describe(dsn)
        self._collector = collector or Collector()
        self._connected: Store | None = None
        self._connecting = asyncio.Lock()

    async def write(self, batch: Sequence[Item]) -> None:
        """See `Sink.write`. The messages of what it raises quote no data."""
        with self._told_apart():
            await (await self.store()).copy(batch)

    async def bury(self, item: Item | Unreadable, reason: str) -> None:
        """See `Sink.bury`."""
        with self._told_apart():
            await (await self.store()).bury(item, reason)

    async def maintain(self) -> bool:
        """See `Sink.maintain`."""
        collector = self._collector
        store = await self.store()
        done = await store.maintain(collector.partition, collector.retention_days, collector.text_retention_days)
        return done.finished

    async def store(self) -> Store:
        """The store, connected and migrated. Raises StoreError."""
        async with self._connecting:
            if self._connected is None:
                self._connected = await self._connect()
            return self._connected

    async def close(self) -> None:
        """See `Sink.close`."""
        if self._connected is not None:
            await self._connected.close()

    async def _connect(self) -> Store:
        store = await Store.connect(self._dsn)
        try:
            await store.migrate(self._collector.partition)
        except BaseException:
            await store.close()
            raise
        return store

    @contextmanager
    def _told_apart(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            raise SinkUnavailable(str(error)) from None
        except Exception as error:
            # Not `from error`: what PostgreSQL says of a row can quote it.
            raise _sorted(error, self._address) from None


def _sorted(error: Exception, address: str) -> SinkUnavailable | RowRefused:
    """What an error of `Store.copy` means. Named by class and SQLSTATE only."""
    name = type(error).__name__
    if isinstance(error, asyncpg.PostgresError):
        state: str = error.sqlstate or ""
        # A row that came while its partition was made is told that it belongs elsewhere; next time it goes there.
        moved = isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name
        if state.startswith(ROW_FAULTS) and not moved:
            return RowRefused(f"{name} ({state}) {error.constraint_name or ''}".rstrip())
        return SinkUnavailable(f"{name} ({state}) at {address}")
    if isinstance(error, (ValueError, TypeError, OverflowError)) and not isinstance(error, asyncpg.InterfaceError):
        return RowRefused(name)
    kind = SinkTimeout if isinstance(error, asyncio.TimeoutError) else SinkUnavailable
    return kind(f"{name} at {address}")
