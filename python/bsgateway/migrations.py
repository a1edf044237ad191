"""Numbered SQL migrations: which there are, which a database lacks, and how they are applied.

A migration is a file `sql/migrations/NNNN_name.sql`, numbered from 1 without a gap. It runs in one transaction together
with the row in `bsgateway_migrations` that says so, under an advisory lock: any number of workers may start at once,
and a migration is applied once and wholly or not at all. A file never changes after its release; its SHA-256 is kept.
A migration must let the version before it go on writing, as workers are not all replaced at once: a new column comes
last and may be null or has a default.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from functools import cache
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from bsgateway.errors import StoreError
from bsgateway.sql import queries, read
from bsgateway.telemetry.events import event

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

log = logging.getLogger(__name__)

FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
# Seconds: others may hold the lock for as long as their migration of a large table takes.
TIMEOUT = 3600.0
# Writers queue behind a migration that waits for its table, which a backup may hold for hours. So it waits this many
# milliseconds, and tries again after a pause, in seconds, until TIMEOUT. Who waits for another's migration does so too,
# and can say what it waits for.
LOCK_TIMEOUT = 2_000
LOCK_PAUSE = 1.0
WARN_EVERY = 30.0


class Migration(msgspec.Struct, frozen=True):
    """One migration: `version` counts from 1, `sha256` is the hex digest of `sql` with Unix line ends."""

    version: int
    name: str
    sha256: str
    sql: str


@cache
def available() -> tuple[Migration, ...]:
    """The migrations this version brings, in order. Raises StoreError when the installed files are not whole."""
    found: list[Migration] = []
    for file_name, sql in read("migrations"):
        match = FILE_NAME.fullmatch(file_name)
        if match is None or int(match[1]) != len(found) + 1:
            raise StoreError(f"{file_name} is not migration {len(found) + 1:04d}_name.sql: install bsgateway again")
        found.append(Migration(len(found) + 1, match[2], hashlib.sha256(sql.encode()).hexdigest(), sql))
    if not found:
        raise StoreError("the migrations are not installed: install bsgateway again")
    return tuple(found)


async def pending(connection: Connection) -> tuple[Migration, ...]:
    """The migrations the database lacks, in order. Changes nothing.

    Raises StoreError when the database has one that this version does not know, or knows otherwise.
    """
    if not await queries().has_migrations(connection):
        return available()
    count = 0
    known = available()
    async for row in queries().applied_migrations(connection):
        label = f"{row['version']:04d}_{row['name']}"
        if row["version"] > len(known):
            raise StoreError(
                f"the database has migration {label}, and this version of bsgateway ends at {len(known):04d}: "
                "install the newer version that was used before, or use another database"
            )
        if row["version"] != count + 1:
            raise StoreError(f"the database has migration {label} without the one before it: restore it from a backup")
        if row["sha256"] != known[count].sha256:
            raise StoreError(
                f"migration {label} was applied to the database with another text than this version has: "
                "install the version that was used before, or use another database"
            )
        count += 1
    return known[count:]


async def migrate(connection: Connection) -> tuple[Migration, ...]:
    """Apply what is pending, each migration in a transaction, and return what this call applied.

    Raises StoreError as `pending` does, and asyncpg's error when a migration fails; that one then leaves no trace.
    """
    applied: list[Migration] = []
    deadline, warn_at = time.monotonic() + TIMEOUT, time.monotonic() + WARN_EVERY
    while True:
        try:
            migration = await _apply_next(connection)
        except asyncpg.LockNotAvailableError:
            if time.monotonic() > deadline:
                raise
            if time.monotonic() > warn_at:
                warn_at = time.monotonic() + WARN_EVERY
                log.warning(
                    "the migrations wait for another session: it migrates too, or has a lock on the tables of the log"
                )
            await asyncio.sleep(LOCK_PAUSE)
            continue
        if migration is None:
            return tuple(applied)
        log.info(
            "applied migration %04d_%s", migration.version, migration.name,
            extra=event("migration_applied", version=migration.version, name=migration.name),
        )  # fmt: skip
        applied.append(migration)


async def _apply_next(connection: Connection) -> Migration | None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT}")
        # Not a lock of the session: a connection pooler between may give the next transaction another session.
        await queries().lock_migrations(connection)
        if not await queries().has_migrations(connection):
            await queries().create_migrations(connection)
        todo = await pending(connection)
        if not todo:
            return None
        migration = todo[0]
        await connection.execute(migration.sql, timeout=TIMEOUT)
        await queries().add_migration(
            connection, version=migration.version, name=migration.name, sha256=migration.sha256
        )
    return migration
