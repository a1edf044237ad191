"""Where batches go: the `Sink` protocol, and the sink that is PostgreSQL."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import asyncpg

from bsgateway.errors import GatewayError, StoreError
from bsgateway.rows import Item
from bsgateway.store import Store

log = logging.getLogger(__name__)

# Classes of SQLSTATE that are the fault of a row: data exception, integrity constraint, program limit (such as an index
# entry that is too long). Everything else - disk full, shutdown, read only, no such table, no right - is the state of
# the server, and may pass.
ROW_FAULTS = ("22", "23", "54")


class SinkUnavailable(GatewayError):
    """Nothing of the batch was written, or it is not known whether it was: write it again later."""


class RowRefused(GatewayError):
    """Nothing of the batch was written, and never will be as it is: at least one of its rows is at fault."""


class Sink(Protocol):
    """Takes batches for good. A batch may come again after a fault: writing it twice must be as writing it once."""

    async def write(self, batch: Sequence[Item]) -> None:
        """Write all of the batch or nothing. Raises SinkUnavailable or RowRefused."""

    async def close(self) -> None:
        """Let go of connections and files. Called once, after the last write."""


class PostgresSink:
    """Writes to the PostgreSQL at `dsn`. Connects, and brings the schema up to date, when the first batch comes.

    So a gateway starts without its database, and a process that forks before its first batch shares no connection.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._store: Store | None = None

    async def write(self, batch: Sequence[Item]) -> None:
        """See `Sink.write`. The messages of what it raises quote no data."""
        try:
            store = self._store or await self._connect()
            await store.copy(batch)
        except StoreError as error:
            raise SinkUnavailable(str(error)) from None
        except Exception as error:
            # Not `from error`: what PostgreSQL says of a row can quote it.
            raise _sorted(error) from None

    async def close(self) -> None:
        """See `Sink.close`."""
        if self._store is not None:
            await self._store.close()

    async def _connect(self) -> Store:
        store = await Store.connect(self._dsn)
        try:
            await store.migrate()
        except BaseException:
            await store.close()
            raise
        self._store = store
        return store


def _sorted(error: Exception) -> SinkUnavailable | RowRefused:
    """What an error of `Store.copy` means. Named by class and SQLSTATE only."""
    name = type(error).__name__
    if isinstance(error, asyncpg.PostgresError):
        state: str = error.sqlstate or ""
        # A row that came while its partition was made is told that it belongs elsewhere; next time it goes there.
        moved = isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name
        if state.startswith(ROW_FAULTS) and not moved:
            return RowRefused(f"{name} ({state}) {error.constraint_name or ''}".rstrip())
        return SinkUnavailable(f"{name} ({state})")
    if isinstance(error, (ValueError, TypeError, OverflowError)) and not isinstance(error, asyncpg.InterfaceError):
        return RowRefused(name)
    return SinkUnavailable(name)
