"""A backlog on disk, left by a process that died, delivered to an empty database by the next one.

`python -m benches.log.recovery DSN DIRECTORY ROWS` is that next one: a process of its own, so that its memory is all
its own. It loads LiteLLM's proxy, whose objects Python's collector has to walk through in a gateway, too. Beside the
log it runs an event loop as the proxy's is, with a task that notes how late it wakes.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import uvloop

from bsgateway.log import chunk
from bsgateway.log.spool import Spool

from .records import ROOT, Records
from .site import HANG, Database, Log
from .stats import summary

CHUNK_ROWS = 20
"""Rows of one chunk: what 1,000 rows a second leave for each of the log's rounds."""
CALM_SECONDS = 2.0
SLEEP = 0.001
WORK_EVERY = 10
WORK = 20_000
NO_BOUND = 1 << 62


def leave_backlog(directory: Path, records: Records, rows: int) -> dict[str, Any]:
    """Fill a slot of the spool as a process would have that could not reach its database."""
    began = time.perf_counter()
    spool = Spool.claim(directory)
    while spool.rows < rows:
        part = records.rows(min(CHUNK_ROWS, rows - spool.rows))
        spool.append(len(part), chunk.encode(part), NO_BOUND, NO_BOUND)
    size = spool.bytes
    spool.close()
    return {"backlog_bytes": size, "backlog_seconds": time.perf_counter() - began}


async def measure(database: Database, directory: Path, records: Records, rows: int) -> dict[str, Any]:
    """Leave a backlog of so many rows, and have it delivered."""
    await database.empty()
    left = await asyncio.to_thread(leave_backlog, directory, records, rows)
    command = (sys.executable, "-m", "benches.log.recovery", database.dsn, str(directory), str(rows))
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=2 * HANG
    )
    assert await database.rows() == rows
    return {"rows": rows, **left, **json.loads(done.stdout)}


class Probe:
    """Stands for the requests of an event loop: how late a sleep of `SLEEP` seconds ends, and how long a piece of pure
    Python takes that needs the interpreter all the time. Notes the most memory that the process had, too."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.work: list[float] = []
        self.rss = 0
        self._process = psutil.Process()

    async def run(self) -> None:
        """Until cancelled."""
        turn = 0
        while True:
            due = time.perf_counter() + SLEEP
            await asyncio.sleep(SLEEP)
            self.late.append(max(0.0, time.perf_counter() - due))
            turn += 1
            if turn % WORK_EVERY == 0:
                self.work.append(_work())
                self.rss = max(self.rss, self._process.memory_info().rss)

    def results(self) -> dict[str, Any]:
        """In milliseconds and megabytes."""
        return {"late_ms": summary(self.late, 1e-3), "work_ms": summary(self.work, 1e-3), "rss_mb": self.rss / 1e6}


async def recover(dsn: str, directory: Path, rows: int) -> dict[str, Any]:
    """Deliver what is in the spool; how long it took, and what it did to the event loop, before and meanwhile."""
    calm = await _probed(asyncio.sleep(CALM_SECONDS))
    began, cpu = time.perf_counter(), time.process_time()
    busy = await _probed(_deliver(dsn, directory, rows))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {"seconds": seconds, "rows_per_second": rows / seconds, "cpu_seconds": cpu, "calm": calm, "busy": busy}


async def _probed(work: Any) -> dict[str, Any]:
    probe = Probe()
    task = asyncio.create_task(probe.run())
    try:
        await work
    finally:
        task.cancel()
        await asyncio.wait([task])
    return probe.results()


async def _deliver(dsn: str, directory: Path, rows: int) -> None:
    async with Log(dsn, directory) as log:
        until = time.monotonic() + HANG
        while log.metrics.written < rows or log.metrics.spooled_rows:
            assert time.monotonic() < until, f"after {HANG:.0f} s {log.metrics.spooled_rows} rows were left"
            await asyncio.sleep(0.05)
        assert log.metrics.replayed == rows


def _work() -> float:
    began = time.perf_counter()
    total = 0
    for number in range(WORK):
        total += number
    return time.perf_counter() - began


if __name__ == "__main__":
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or the import waits for a download
    importlib.import_module("litellm.proxy.proxy_server")
    print(json.dumps(uvloop.run(recover(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))))
