"""Processor time that a row costs this process at a steady rate, with a spool and without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bsgateway.rows import Item

from .records import Records
from .site import Database, Log

ROWS_PER_SECOND = 1_000
TURN_ROWS = 10


async def measure(database: Database, directory: Path, records: Records, seconds: float, rounds: int) -> list[Any]:
    """A row for each kind of log: medians over `rounds` of `seconds` each. What the pacing itself costs, measured with
    rows that go nowhere, is taken off."""
    rows = records.rows(round(seconds * ROWS_PER_SECOND) // TURN_ROWS * TURN_ROWS)
    nothing: list[float] = []
    found: dict[str, list[float]] = {"no spool": [], "spool": []}
    async with AsyncExitStack() as stack:
        # A thread that has nothing to do sleeps: the one that is not measured costs nothing.
        logs = {
            name: await stack.enter_async_context(Log(database.dsn, place))
            for name, place in (("no spool", None), ("spool", directory))
        }
        for _ in range(rounds):
            nothing.append(await _cpu(rows, _nowhere, None))
            for name, log in logs.items():
                await database.empty()
                found[name].append(await _cpu(rows, log.record, log))
                assert await database.rows() == len(rows)
    idle = median(nothing)
    return [
        {
            "log": name,
            "rows": len(rows),
            "rounds": rounds,
            "rows_per_second": ROWS_PER_SECOND,
            "cpu_us_per_row": (median(times) - idle) / len(rows) * 1e6,
        }
        for name, times in found.items()
    ]


async def _cpu(rows: list[Item], record: Callable[[Item], None], log: Log | None) -> float:
    """Processor time from the first row until the last is settled."""
    before = log.metrics.written if log else 0
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(rows), TURN_ROWS):
        for row in rows[start : start + TURN_ROWS]:
            record(row)
        due = began + (start + TURN_ROWS) / ROWS_PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    if log is not None:
        await log.written(before + len(rows), look=0.05)
    return time.process_time() - cpu


def _nowhere(_: Item) -> None:
    pass
