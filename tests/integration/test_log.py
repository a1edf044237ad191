"""The log path from `record` to the rows, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bsgateway.config import Collector
from bsgateway.decision import Caller
from bsgateway.embedded import EmbeddedPostgres
from bsgateway.log import writer as writer_module
from bsgateway.log.metrics import Metrics
from bsgateway.log.pipeline import Pipeline
from bsgateway.log.queue import Recorder
from bsgateway.log.sink import PostgresSink, RowRefused, SinkUnavailable
from bsgateway.log.thread import LogThread
from bsgateway.rows import MAX_NAME
from bsgateway.store import Counts, Store
from builders import id_at, make_decision, make_failure, make_outcome, make_texts, until

HANG = 30.0  # seconds: a bound against hangs, not a measurement


class Log:
    """A log as a process has it, and a store to look at what arrived."""

    def __init__(self, dsn: str, directory: Path, **options: Any) -> None:
        self.dsn = dsn
        self.recorded = 0
        collector = Collector(database_url=dsn, **{"text": "full", "flush_seconds": 0.01, **options})
        self.recorder = Recorder(collector.queue_rows, collector.queue_bytes)
        self.thread = LogThread(
            lambda: Pipeline(collector, directory, self.recorder, PostgresSink(dsn, collector), list)
        )

    def record(self, *items: Any) -> None:
        self.thread.start()
        while self.thread.metrics() is None:
            time.sleep(0.001)
        for item in items:
            self.recorder.record(item)
        self.recorded += len(items)

    async def settled(self) -> None:
        """Until every row is in the database, or where it goes instead, and no longer in the spool."""
        await until(lambda: self.metrics.written + self.metrics.dead_lettered == self.recorded)
        await until(lambda: self.metrics.spooled_rows == 0)

    @property
    def metrics(self) -> Metrics:
        found = self.thread.metrics()
        assert found is not None
        return found

    async def stored(self) -> Store:
        return await Store.connect(self.dsn)


@pytest.fixture
async def log(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Log]:
    """A log on an empty database: the first batch makes the schema."""
    log = Log(postgres_dsn, tmp_path / "spool")
    yield log
    await log.thread.stop(HANG)


async def test_what_is_recorded_arrives(log: Log) -> None:
    decisions = [make_decision() for _ in range(2_500)]
    for decision in decisions:
        log.record(decision, make_texts(decision), make_outcome(decision))
    await log.settled()
    async with await log.stored() as store:
        assert await store.counts() == Counts(logs=2_500, texts=2_500, outcomes=2_500, feedback=0, dead_letters=0)
        found = {row.decision.decision_id for row in await store.recent(limit=5_000) if row.outcome}
    assert found == {decision.decision_id for decision in decisions}
    metrics = log.metrics
    assert (metrics.written, metrics.dropped, metrics.last_error) == (7_500, {}, None)
    assert metrics.batches >= 8
    assert metrics.last_flush_at is not None
    assert metrics.flush_seconds > 0


async def test_failure_then_success_arrives_as_a_success(log: Log) -> None:
    decision = make_decision()
    log.record(decision, make_failure(decision))
    await log.settled()
    log.record(make_outcome(decision))
    await log.settled()
    log.record(make_failure(decision, completed_at=make_outcome(decision).completed_at.replace(year=2099)))
    await log.settled()
    async with await log.stored() as store:
        (row,) = await store.recent()
    assert row.outcome == make_outcome(decision)


async def test_text_that_postgresql_cannot_hold_is_mended(log: Log) -> None:
    decision = make_decision(
        original_model="m\x00\ud800\U0001f600",
        caller=Caller(session_id="s" * 9_000, end_user="\x00", user_agent="\udfff"),
    )
    log.record(decision, make_texts(decision, ask="a\x00b\udc80" * 10_000, system="\ud83d\ude00"))
    log.record(make_failure(decision, error_class="E\x00"))
    await log.settled()
    assert log.metrics.dropped == {}
    async with await log.stored() as store:
        (row,) = await store.recent()
    assert row.decision.original_model == "m\ufffd\ufffd\U0001f600"
    assert row.decision.caller == Caller(session_id="s" * MAX_NAME, end_user="\ufffd", user_agent="\ufffd")
    assert row.outcome is not None
    assert row.outcome.error_class == "E\ufffd"
    connection = await asyncpg.connect(log.dsn)
    stored = await connection.fetchrow("SELECT ask, system FROM routing_texts")
    await connection.close()
    assert stored is not None
    assert tuple(stored) == ("a\ufffdb\ufffd" * 10_000, "\U0001f600")


POISON: dict[str, Callable[[], Any]] = {
    "a check of the server": lambda: make_decision(complexity_score=101),
    "a value the driver cannot encode": lambda: make_decision(ask_tokens=2**70),
    "a value of another type": lambda: make_decision(raw_score="seventeen secrets"),
    "a missing value": lambda: make_decision(created_at=None),
    "an unknown status": lambda: make_outcome(make_decision(), status="perhaps"),
    "no record at all": lambda: {"secrets": 17},
}


@pytest.mark.parametrize("kind", POISON)
async def test_a_poison_row_is_isolated(log: Log, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    bad = POISON[kind]()
    good = [make_decision() for _ in range(20)]
    log.record(*good[:13], bad, *good[13:])
    await log.settled()
    metrics = log.metrics
    assert (metrics.written, metrics.dead_lettered, metrics.dropped, metrics.retries) == (20, 1, {}, 0)
    async with await log.stored() as store:
        assert {row.decision.decision_id for row in await store.recent(limit=99)} == {d.decision_id for d in good}
    (line,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert str(getattr(bad, "decision_id", None)) in line
    assert "secrets" not in caplog.text
    assert "101" not in line.replace(str(getattr(bad, "decision_id", "")), "")


async def test_the_sink_tells_a_bad_row_from_a_bad_server(postgres_dsn: str) -> None:
    sink = PostgresSink(postgres_dsn)
    await sink.write([make_decision()])
    with pytest.raises(RowRefused, match=r"^CheckViolationError \(23514\) routing_logs_complexity_score_check$"):
        await sink.write([make_decision(complexity_score=-1)])
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("ALTER TABLE routing_logs RENAME TO elsewhere")
    with pytest.raises(SinkUnavailable, match=r"UndefinedTableError \(42P01\)"):
        await sink.write([make_decision()])
    await connection.execute("ALTER TABLE elsewhere RENAME TO routing_logs")
    await sink.write([make_decision()])
    await connection.close()
    await sink.close()


async def test_a_row_that_meets_the_making_of_its_partition_is_not_lost(log: Log) -> None:
    june = datetime(2031, 6, 15, tzinfo=timezone.utc)
    first, second = make_decision(), make_decision(decision_id=id_at(june))
    log.record(first)
    await log.settled()
    maker = await asyncpg.connect(log.dsn)
    async with maker.transaction():
        await maker.execute("SELECT bsg_make_partitions($1, $1)", june)
        log.record(second)
        while not await maker.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"):
            pass
    await log.settled()
    assert log.metrics.dropped == {}
    assert (log.metrics.last_error or "CheckViolationError (23514)").startswith("CheckViolationError (23514)")
    assert await maker.fetchval("SELECT decision_id FROM routing_logs_2031_06") == second.decision_id
    await maker.close()


async def test_two_workers_write_what_overlaps(postgres_dsn: str, tmp_path: Path) -> None:
    decisions = [make_decision() for _ in range(300)]
    outcomes = [make_outcome(decision) for decision in decisions]
    failures = [make_failure(decision) for decision in decisions]
    logs = [Log(postgres_dsn, tmp_path, batch_rows=50) for _ in range(2)]
    logs[0].record(*decisions, *failures, *outcomes)
    logs[1].record(*reversed(outcomes), *reversed(decisions), *reversed(failures))
    assert await asyncio.gather(*(log.thread.stop(HANG) for log in logs)) == [0, 0]
    async with await logs[0].stored() as store:
        rows = await store.recent(limit=1_000)
        assert await store.counts() == Counts(logs=300, texts=0, outcomes=300, feedback=0, dead_letters=0)
    assert {row.decision.decision_id: row.outcome for row in rows} == {
        outcome.decision_id: outcome for outcome in outcomes
    }


async def test_a_database_that_is_away_for_a_while_gets_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "LAST_RETRY", 0.1)
    server = EmbeddedPostgres(tmp_path)
    dsn = server.start()
    log = Log(dsn, tmp_path / "spool", batch_rows=40)
    decisions = [make_decision() for _ in range(400)]
    steps = iter(decisions)

    def record(count: int) -> None:
        for _ in range(count):
            decision = next(steps)
            log.record(decision, make_outcome(decision))

    try:
        record(100)
        await until(lambda: log.metrics.written)
        record(50)
        await asyncio.to_thread(server.stop)  # while rows are on their way
        record(150)
        await until(lambda: log.metrics.retries > 3 and log.metrics.spooled_rows >= 300)
        metrics = log.metrics
        assert metrics.last_error is not None
        assert await asyncio.to_thread(server.start) == dsn
        record(100)
        assert await log.thread.stop(HANG) == 0
        metrics = log.metrics
        assert (metrics.queued, metrics.spooled_rows, metrics.dropped) == (0, 0, {})
        async with await Store.connect(dsn) as store:
            rows = await store.recent(limit=1_000)
            assert await store.counts() == Counts(logs=400, texts=0, outcomes=400, feedback=0, dead_letters=0)
        assert {row.decision.decision_id for row in rows} == {decision.decision_id for decision in decisions}
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_gateway_starts_before_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "LAST_RETRY", 0.1)
    server = EmbeddedPostgres(tmp_path)
    dsn = server.start()
    server.stop()
    log = Log(dsn, tmp_path / "spool")
    decision = make_decision()
    log.record(decision)
    await until(lambda: log.metrics.retries > 1)
    assert await asyncio.to_thread(server.start) == dsn
    assert await log.thread.stop(HANG) == 0
    async with await Store.connect(dsn) as store:
        assert [row.decision for row in await store.recent()] == [decision]
    await asyncio.to_thread(server.stop)
