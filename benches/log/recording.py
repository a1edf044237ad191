"""What `record` costs a request: on the thread of the event loop, while the log's thread spools and writes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from bsgateway.rows import Item

from .records import Records
from .site import Database, Log
from .stats import summary

TURN_SECONDS = 0.002
TURN_REQUESTS = 6
COLD = ", after a sleep"
"""The first request of a turn finds the processor's caches, and maybe its clock rate, as others left them."""
PAUSE_SECONDS = 0.1
KINDS = ("Decision", "Texts", "Outcome")
FLUSH_SECONDS = 0.05
"""So that the log's thread writes all the time, not once a second."""


async def measure(database: Database, directory: Path, records: Records, turns: int, pauses: int) -> list[Any]:
    """A row for each kind of record, warm and cold, one for the first record after a pause, and one for the clock
    itself, which is part of all of them. A turn of the event loop is some requests, each of which records one of each
    kind."""
    await database.empty()
    times: dict[str, list[float]] = {kind + cold: [] for cold in ("", COLD) for kind in KINDS}
    rows = 1 + turns * TURN_REQUESTS * len(KINDS)
    async with Log(database.dsn, directory, flush_seconds=FLUSH_SECONDS) as log:
        log.record(records.decision())
        await log.written(1)  # it is connected
        for _ in range(turns):
            for number in range(TURN_REQUESTS):
                decision = records.decision()
                for item in (decision, records.texts(decision), records.outcome(decision)):
                    times[type(item).__name__ + (COLD if number == 0 else "")].append(_seconds(log, item))
            await asyncio.sleep(TURN_SECONDS)
        assert log.metrics.batches > 1, "the thread was to be busy meanwhile"
        await log.written(rows)
    assert await database.rows() == rows
    times["the first after a pause"] = await _after_pauses(database, directory, records, pauses)
    times["nothing (two looks at the clock)"] = [_clock() for _ in range(turns)]
    return [{"kind": kind, "calls": len(found), **summary(found, 1e-6)} for kind, found in times.items()]


async def _after_pauses(database: Database, directory: Path, records: Records, pauses: int) -> list[float]:
    """The record after which the log has something to do again."""
    times: list[float] = []
    async with Log(database.dsn, directory, flush_seconds=0.001) as log:
        while len(times) < pauses:
            await asyncio.sleep(PAUSE_SECONDS)
            times.append(_seconds(log, records.decision()))
    return times


def _seconds(log: Log, item: Item) -> float:
    record = log.record
    began = time.perf_counter_ns()
    record(item)
    return (time.perf_counter_ns() - began) * 1e-9


def _clock() -> float:
    began = time.perf_counter_ns()
    return (time.perf_counter_ns() - began) * 1e-9
