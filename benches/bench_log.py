"""The log: what `record` costs a request, and rows per second into PostgreSQL.

Run with `pytest benches/bench_log.py`. The ways to write are compared in one run, on the same rows, each from an empty
table, and must store the same number of rows. BSGATEWAY_TEST_POSTGRES names another server than the embedded one.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bsgateway.core import core
from bsgateway.decision import Contribution, Decision
from bsgateway.embedded import EmbeddedPostgres
from bsgateway.log.queue import Recorder
from bsgateway.log.sink import PostgresSink
from bsgateway.log.writer import Writer
from bsgateway.rows import LOG_COLUMNS, Item, log_row
from bsgateway.store import Store, init_connection

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from builders import make_decision, make_outcome

CALLS = 10_000
ROWS = 10_000
SINGLE_ROWS = 500
BATCH = 1_000
ROUNDS = 7

INSERT = (
    f"INSERT INTO routing_logs ({', '.join(LOG_COLUMNS)}) "
    f"VALUES ({', '.join(f'${number}' for number in range(1, len(LOG_COLUMNS) + 1))}) ON CONFLICT DO NOTHING"
)


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """DSN of a PostgreSQL with settings as `serve` starts it."""
    if given := os.environ.get("BSGATEWAY_TEST_POSTGRES"):
        yield given
        return
    with EmbeddedPostgres(tmp_path_factory.mktemp("state")) as server:
        yield server.dsn


@pytest.fixture(scope="module")
def decisions() -> list[Decision]:
    """Rows of the size of real ones: as many features and contributions as the core makes."""
    signals = tuple(Contribution(name, 17.5, 0.125, 2.1875) for name in core.SIGNALS)
    features = tuple(number / 7 for number in range(len(core.FEATURE_NAMES)))
    return [make_decision(contributions=signals, features=features) for _ in range(ROWS)]


@pytest.mark.parametrize("full", [False, True], ids=["taken", "dropped"])
def test_record(benchmark: Any, full: bool) -> None:
    decision = make_decision()
    recorders: list[Recorder] = []

    def prepare() -> tuple[tuple[Any, ...], dict[str, Any]]:
        recorders[:] = [Recorder(max_rows=0 if full else CALLS)]
        return (recorders[0].record,), {}

    def run(record: Callable[[Item], None]) -> None:
        for _ in range(CALLS):
            record(decision)

    benchmark.pedantic(run, setup=prepare, rounds=50)
    assert (len(recorders[0]), recorders[0].dropped["full"]) == ((0, CALLS) if full else (CALLS, 0))
    benchmark.extra_info["us_per_call"] = round(benchmark.stats.stats.median / CALLS * 1e6, 3)


class Target:
    """An open database, and the ways to write to it."""

    connection: asyncpg.Connection[asyncpg.Record]
    store: Store
    sink: PostgresSink

    async def open(self, dsn: str) -> None:
        """Connect and make the schema."""
        self.dsn = dsn
        self.store = await Store.connect(dsn)
        await self.store.migrate()
        self.connection = await asyncpg.connect(dsn)
        await init_connection(self.connection)

    async def prepare(self, way: str, rows: list[Decision]) -> None:
        """What a round needs and is not measured: empty tables, or the rows in them already, or a connected sink."""
        await self.connection.execute("TRUNCATE routing_logs, routing_outcomes")
        if way == "again":
            await self.copy(rows)
        elif way == "writer":
            self.sink = PostgresSink(self.dsn)
            await self.sink.write([])
        await self.connection.execute("CHECKPOINT")

    async def count(self) -> int:
        counts = await self.store.counts()
        return counts.logs + counts.outcomes

    async def close(self) -> None:
        await self.connection.close()
        await self.store.close()

    async def single(self, rows: list[Decision]) -> None:
        for row in rows:
            await self.connection.execute(INSERT, *log_row(row))

    async def executemany(self, rows: list[Decision]) -> None:
        for start in range(0, len(rows), BATCH):
            await self.connection.executemany(INSERT, [log_row(row) for row in rows[start : start + BATCH]])

    async def copy(self, rows: list[Decision]) -> None:
        for start in range(0, len(rows), BATCH):
            await self.store.copy(rows[start : start + BATCH])

    async def again(self, rows: list[Decision]) -> None:
        """As `copy`, of rows that are all there already."""
        await self.copy(rows)

    async def writer(self, rows: list[Decision]) -> None:
        """All of it, as in a gateway: record, batches, outcomes by way of staging; half of the rows are outcomes."""
        recorder = Recorder()
        for row in rows[: len(rows) // 2]:
            recorder.record(row)
            recorder.record(make_outcome(row))
        assert await Writer(recorder, self.sink, batch_rows=BATCH).stop(60) == 0


@pytest.mark.parametrize("way", ["single", "executemany", "copy", "again", "writer"])
def test_write(benchmark: Any, dsn: str, decisions: list[Decision], way: str) -> None:
    rows = decisions[:SINGLE_ROWS] if way == "single" else decisions
    target, loop = Target(), asyncio.new_event_loop()
    loop.run_until_complete(target.open(dsn))
    cpu: list[float] = []

    def run() -> None:
        began = time.process_time()
        loop.run_until_complete(getattr(target, way)(rows))
        cpu.append(time.process_time() - began)

    benchmark.pedantic(
        run,
        setup=lambda: loop.run_until_complete(target.prepare(way, rows)),
        rounds=ROUNDS,
    )
    assert loop.run_until_complete(target.count()) == len(rows)
    loop.run_until_complete(target.close())
    loop.close()
    seconds = benchmark.stats.stats
    benchmark.extra_info["rows_per_second"] = round(len(rows) / seconds.median)
    benchmark.extra_info["rows_per_second_best"] = round(len(rows) / seconds.min)
    benchmark.extra_info["client_cpu_us_per_row"] = round(statistics.median(cpu) / len(rows) * 1e6, 1)
