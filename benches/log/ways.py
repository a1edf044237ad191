"""Rows per second into PostgreSQL: the same rows, one after another in each way, and the same tables in the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bsgateway.decision import Decision, Outcome
from bsgateway.rows import LOG_COLUMNS, OUTCOME_COLUMNS, Item, log_row, outcome_row

from .records import Records
from .site import Database, Log

BATCH = 1_000
SLICE = 250
BUSY = 3 * BATCH
"""Rows that wait while the log is kept busy. It keeps four batches in memory."""
SLOW = "single INSERT"
"""Takes longer than all others together, and is done once."""
FLUSH_SECONDS = 0.02
"""So that the last rows, fewer than a batch, do not wait for a second."""

Way = Callable[[Sequence[Item]], Awaitable[None]]


def _insert(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"


INSERT_LOG = _insert("routing_logs", LOG_COLUMNS)
INSERT_OUTCOME = _insert("routing_outcomes", OUTCOME_COLUMNS)


async def measure(database: Database, directory: Path, records: Records, number: int, rounds: int) -> list[Any]:
    """A row for each way: medians over `rounds`, in each of which every way writes `number` rows to empty tables.

    Processor time is that of this process, not of the server.
    """
    rows = records.rows(number)
    async with AsyncExitStack() as stack:
        ways = await _ways(stack, database, directory)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        contents: set[tuple[str | None, ...]] = set()
        for _ in range(rounds):
            for name, way in ways.items():
                if name == SLOW and times[name]:
                    continue
                await database.empty()
                wall, cpu = time.perf_counter(), time.process_time()
                await way(rows)
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
                contents.add(await database.contents())
                assert await database.rows() == number
    assert len(contents) == 1, "every way was to write the same rows"
    return [_row(name, number, found) for name, found in times.items()]


def _row(name: str, number: int, times: Sequence[tuple[float, float]]) -> dict[str, Any]:
    walls = [wall for wall, _ in times]
    return {
        "way": name,
        "rows": number,
        "rounds": len(times),
        "rows_per_second": number / median(walls),
        "rows_per_second_least": number / max(walls),
        "rows_per_second_most": number / min(walls),
        "cpu_us_per_row": median(cpu for _, cpu in times) / number * 1e6,
    }


async def _ways(stack: AsyncExitStack, database: Database, directory: Path) -> dict[str, Way]:
    connection = database.connection

    async def single(rows: Sequence[Item]) -> None:
        for row in rows:
            if isinstance(row, Decision):
                await connection.execute(INSERT_LOG, *log_row(row))
            elif isinstance(row, Outcome):
                await connection.execute(INSERT_OUTCOME, *outcome_row(row))

    async def executemany(rows: Sequence[Item]) -> None:
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            await connection.executemany(INSERT_LOG, [log_row(row) for row in batch if isinstance(row, Decision)])
            await connection.executemany(
                INSERT_OUTCOME, [outcome_row(row) for row in batch if isinstance(row, Outcome)]
            )

    async def copy(rows: Sequence[Item]) -> None:
        for start in range(0, len(rows), BATCH):
            await database.store.copy(rows[start : start + BATCH])

    return {
        SLOW: single,
        f"executemany of {BATCH}": executemany,
        f"COPY of {BATCH}": copy,
        "the log, no spool": _kept_busy(await _running(stack, database, None)),
        "the log": _kept_busy(spooled := await _running(stack, database, directory)),
        "the log, all at once": _at_once(spooled),
    }


async def _running(stack: AsyncExitStack, database: Database, directory: Path | None) -> Log:
    return await stack.enter_async_context(Log(database.dsn, directory, flush_seconds=FLUSH_SECONDS))


def _kept_busy(log: Log) -> Way:
    """Rows come as quickly as they are written: the log always has some, and never more than it keeps in memory."""

    async def write(rows: Sequence[Item]) -> None:
        before = log.metrics.written
        for start in range(0, len(rows), SLICE):
            while log.waiting > BUSY:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.001)
            for row in rows[start : start + SLICE]:
                log.record(row)
        await log.written(before + len(rows))

    return write


def _at_once(log: Log) -> Way:
    """Rows come all at once: most of them are read back from the disk."""

    async def write(rows: Sequence[Item]) -> None:
        before = log.metrics.written
        for row in rows:
            log.record(row)
        await log.written(before + len(rows))

    return write
