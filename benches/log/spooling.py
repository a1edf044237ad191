"""The spool alone: into it by chunks of several sizes, and out of it again as the outbox takes rows."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bsgateway.log import chunk
from bsgateway.log.outbox import Outbox
from bsgateway.log.spool import Spool

from .records import Records

BATCH = 1_000
NO_BOUND = 1 << 62
CHUNKS = {1: 2_000, 10: 1_000, 100: 200, 1_000: 20}
"""Rows of a chunk -> how many chunks."""


class _Round(NamedTuple):
    """Seconds, of the clock and of the processor, and what was stored."""

    rows: int
    size: int
    append: float
    append_cpu: float
    deliver: float
    deliver_cpu: float


def measure(directory: Path, records: Records, rounds: int) -> list[Any]:
    """A row for each size of chunks: medians over `rounds`. Into it is encoding and storing, out of it is reading,
    decoding and removing."""
    found: dict[int, list[_Round]] = {size: [] for size in CHUNKS}
    for number in range(rounds):
        for size, chunks in CHUNKS.items():
            found[size].append(_round(directory / f"{size}-{number}", records, size, chunks))
    return [_row(size, times) for size, times in found.items()]


def _round(directory: Path, records: Records, chunk_rows: int, chunks: int) -> _Round:
    rows = records.rows(chunk_rows * chunks)
    parts = [rows[start : start + chunk_rows] for start in range(0, len(rows), chunk_rows)]
    spool = Spool.claim(directory)
    outbox = Outbox(spool)  # keeps nothing in memory
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        for part in parts:
            outbox.add(part, chunk.encode(part), NO_BOUND, NO_BOUND)
        append, append_cpu = time.perf_counter() - wall, time.process_time() - cpu
        stored, size = spool.rows, spool.bytes
        delivered = 0
        wall, cpu = time.perf_counter(), time.process_time()
        while batch := outbox.next(BATCH):
            delivered += len(batch.records)
            outbox.done(batch)
        deliver, deliver_cpu = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        spool.close()
    assert delivered == stored == len(rows)
    return _Round(stored, size, append, append_cpu, deliver, deliver_cpu)


def _row(chunk_rows: int, times: list[_Round]) -> dict[str, Any]:
    rows, size = times[0].rows, times[0].size
    append, deliver = median(one.append for one in times), median(one.deliver for one in times)
    return {
        "chunk_rows": chunk_rows,
        "rows": rows,
        "rounds": len(times),
        "bytes_per_row": size / rows,
        "append_rows_per_second": rows / append,
        "append_mb_per_second": size / append / 1e6,
        "append_cpu_us_per_row": median(one.append_cpu for one in times) / rows * 1e6,
        "deliver_rows_per_second": rows / deliver,
        "deliver_cpu_us_per_row": median(one.deliver_cpu for one in times) / rows * 1e6,
    }
