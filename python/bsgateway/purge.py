"""`bsgateway logs purge`: erases decisions, with all rows of theirs, by user, by key and by time.

Who asked stands in `routing_logs` only. A decision that this table refused lies in `routing_dead_letters`, as JSON:
these are decoded here, one by one, as they may hold what PostgreSQL's jsonb refuses.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import msgspec

from .progress import row_progress
from .rows import MAX_NAME, clean
from .sql import queries
from .store import Store

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

TABLES = (
    "routing_logs",
    "routing_texts",
    "routing_outcomes",
    "routing_feedback",
    "routing_comparisons",
    "routing_dead_letters",
)
SUMS = "routing_key_rollups"
"""Sums of a key, which may outlive its rows. They are named only where there are some."""
BATCH = 1_000
"""Decisions erased in one transaction, and dead letters read at once."""
# Seconds, for what looks through whole tables.
SEARCH_TIMEOUT = 3_600.0
VACUUM_TIMEOUT = 86_400.0
_LOWEST = UUID(int=0)


class Condition(msgspec.Struct, frozen=True):
    """Decisions of a user, of a key, and from before a moment; of what is None, of any. Not all of them may be None.

    `user` is a user_id or an end_user, `key` a key_alias or a key_hash.
    """

    user: str | None = None
    key: str | None = None
    before: datetime | None = None

    def __post_init__(self) -> None:
        if self.time_only and self.before is None:
            raise ValueError("erase everything? name a user, a key or a moment")

    @property
    def time_only(self) -> bool:
        """Whether the time of its id tells of any row, in whichever table, that it is meant."""
        return self.user is None and self.key is None

    def stored(self) -> Condition:
        """The same with its names as the tables have them, which cut long ones."""
        user, key = (None if name is None else clean(name, MAX_NAME) for name in (self.user, self.key))
        return Condition(user, key, self.before)


class Letter(msgspec.Struct, frozen=True):
    """A dead letter that is meant, by its primary key, and the decision it belongs to."""

    digest: bytes
    decision_id: UUID | None


class Found(msgspec.Struct, frozen=True):
    """What is to be erased: rows of each table, among them the dead letters `letters` and rows of their decisions.

    `unreadable` counts dead letters of which nothing can tell whose they are.
    """

    rows: Mapping[str, int]
    letters: Sequence[Letter] = ()
    unreadable: int = 0


class Report(msgspec.Struct, frozen=True):
    """What became of it: `erased` has the rows of each table, none if `declined` or if nothing was asked for.

    `warnings` are what VACUUM said, such as that it left out a table that belongs to somebody else.
    """

    found: Found
    erased: Mapping[str, int]
    declined: bool = False
    warnings: Sequence[str] = ()
    seconds: float = 0.0


async def purge(
    url: str, condition: Condition, confirmed: Callable[[Found], bool] | None, vacuum: bool = True
) -> Report:
    """Erase what `condition` says from the database at `url`, if `confirmed` says yes to it; without that, only look.

    A decision leaves all tables in one transaction, BATCH decisions at a time: whatever interrupts this, what is left
    can be erased by doing the same again. Shows its progress on a terminal. Raises StoreError.
    """
    condition = condition.stored()
    erased = Counter(dict.fromkeys(TABLES, 0))
    async with await Store.connect(url) as store:
        found = await find(store, condition)
        total = sum(found.rows.values())
        if confirmed is None or not total:
            return Report(found, erased)
        if not confirmed(found):
            return Report(found, erased, declined=True)
        started = time.monotonic()
        async with aclosing(erase(store, condition, found.letters)) as batches:
            with row_progress(total) as advance:
                async for rows in batches:
                    erased.update(rows)
                    advance(sum(rows.values()))
        touched = [table for table in TABLES if erased[table]]
        warnings = await clean_up(store, touched) if vacuum and touched else []
    return Report(found, erased, warnings=warnings, seconds=time.monotonic() - started)


async def find(store: Store, condition: Condition) -> Found:
    """What `condition` means in the database. Changes nothing. Raises StoreError."""
    letters: list[Letter] = []
    unreadable = 0
    async with store.acquire("cannot search the log in") as connection:
        async for row in _letters(connection, condition.before):
            meant = condition.time_only or _is_of(row["payload"], condition)
            if meant:
                letters.append(Letter(row["digest"], row["decision_id"]))
            unreadable += meant is None
        digests = [letter.digest for letter in letters]
        if condition.time_only:
            query = queries().purge_counts_before
            arguments: list[Any] = [condition.before, digests]
        else:
            ids = [letter.decision_id for letter in letters if letter.decision_id is not None]
            query = queries().purge_counts
            arguments = [condition.user, condition.key, condition.before, ids, digests]
        counts = await connection.fetchrow(query.sql, *arguments, timeout=SEARCH_TIMEOUT)
        sums: int = await queries().purge_key_rollups_count(connection, key=condition.key, before=condition.before)
    assert counts is not None  # noqa: S101 - a SELECT without FROM has one row
    rows = {**counts, SUMS: sums} if sums and condition.user is None else dict(counts)
    return Found(rows, letters, unreadable)


async def erase(store: Store, condition: Condition, letters: Sequence[Letter]) -> AsyncGenerator[dict[str, int], None]:
    """Erase batch by batch; of each the rows erased of each table. Raises StoreError."""
    rest = iter(letters)
    after = _LOWEST
    async with store.acquire("cannot erase from the log in") as connection:
        while batch := list(islice(rest, BATCH)):
            ids = [letter.decision_id for letter in batch if letter.decision_id is not None]
            digests = [letter.digest for letter in batch]
            yield dict(await queries().purge_decisions(connection, ids=ids, digests=digests))
        while ids := await _next(connection, condition, after):
            yield dict(await queries().purge_decisions(connection, ids=ids, digests=[]))
            after = ids[-1]
        if condition.key is not None and condition.user is None:
            status: str = await queries().purge_key_rollups(connection, key=condition.key, before=condition.before)
            if erased := int(status.split()[-1]):
                yield {SUMS: erased}


async def clean_up(store: Store, tables: Sequence[str]) -> list[str]:
    """VACUUM tables and their partitions, so that their space is used again; what it warned of. Raises StoreError."""
    warnings: list[str] = []

    def listen(_: object, message: asyncpg.PostgresLogMessage) -> None:
        warnings.append(str(message.message))

    async with store.acquire("the rows are erased, but cannot vacuum their tables in") as connection:
        connection.add_log_listener(listen)
        try:
            await connection.execute(f"VACUUM {', '.join(tables)}", timeout=VACUUM_TIMEOUT)
        finally:
            connection.remove_log_listener(listen)
    return warnings


async def _next(connection: Connection, condition: Condition, after: UUID) -> list[UUID]:
    if condition.time_only:
        query = queries().purge_next_before
        arguments: list[Any] = [condition.before, after, BATCH]
    else:
        query = queries().purge_next
        arguments = [condition.user, condition.key, condition.before, after, BATCH]
    async with connection.transaction(readonly=True):
        await queries().stream_in_order(connection)
        return [row[0] for row in await connection.fetch(query.sql, *arguments, timeout=SEARCH_TIMEOUT)]


async def _letters(connection: Connection, before: datetime | None) -> AsyncIterator[asyncpg.Record]:
    after = b""
    while True:
        rows = await connection.fetch(queries().purge_letters.sql, before, after, BATCH, timeout=SEARCH_TIMEOUT)
        for row in rows:
            yield row
        if len(rows) < BATCH:
            return
        after = rows[-1]["digest"]


def _is_of(payload: bytes, condition: Condition) -> bool | None:
    """Whether a dead letter is of the condition's user and key; None when it does not say."""
    try:
        letter = json.loads(payload)  # msgspec refuses the half characters that letters may have
    except (ValueError, RecursionError):
        return None
    caller = letter.get("caller") if isinstance(letter, dict) else None
    if not isinstance(caller, dict):
        return None
    return all(
        wanted is None or wanted in [_name(caller.get(field)) for field in fields]
        for wanted, fields in ((condition.user, ("user_id", "end_user")), (condition.key, ("key_alias", "key_hash")))
    )


def _name(value: Any) -> str | None:
    # A number may be just what the table refused.
    return clean(str(value), MAX_NAME) if isinstance(value, (str, int)) else None
