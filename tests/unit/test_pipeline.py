"""The log's thread, from `record` to a sink made for the purpose, with a real spool in between."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bsgateway.config import Collector
from bsgateway.config import Spool as SpoolSettings
from bsgateway.log import intake as intake_module
from bsgateway.log import pipeline as pipeline_module
from bsgateway.log import writer as writer_module
from bsgateway.log.metrics import Metrics
from bsgateway.log.pipeline import Pipeline
from bsgateway.log.queue import Recorder
from bsgateway.log.spool import Spool, SpoolDamaged, SpoolError, survey
from bsgateway.log.thread import LogThread
from bsgateway.rows import Item
from builders import make_decision, make_outcome, make_texts, until
from sinks import ListSink

HANG = 20.0  # seconds: a bound against hangs, not a measurement
COLLECTOR = Collector(database_url="unused", text="full", flush_seconds=0.01, batch_rows=10)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(writer_module, "LAST_RETRY", 0.01)
    monkeypatch.setattr(intake_module, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(intake_module, "LAST_RETRY", 0.05)
    monkeypatch.setattr(pipeline_module, "HOUSE_SECONDS", 0.02)
    monkeypatch.setattr(pipeline_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(pipeline_module, "AWAY_GRACE", 0.05)


LOGS: list[Log] = []


@pytest.fixture(autouse=True)
async def _stopped() -> AsyncIterator[None]:
    """No thread outlives a test that failed: its retries draw random numbers, which confuses the property tests."""
    yield
    while LOGS:
        await LOGS.pop().thread.stop(0.1)


class Log:
    """A thread with its recorder and sink."""

    def __init__(self, directory: Path | None, collector: Collector = COLLECTOR, sink: ListSink | None = None) -> None:
        self.sink = sink or ListSink()
        self.recorder = Recorder(collector.queue_rows, collector.queue_bytes)
        self.thread = LogThread(lambda: Pipeline(collector, directory, self.recorder, self.sink, list))
        LOGS.append(self)

    def record(self, *items: Any) -> None:
        for item in items:
            self.recorder.record(item)

    @property
    def metrics(self) -> Metrics:
        found = self.thread.metrics()
        assert found is not None
        return found


def different(items: list[Item]) -> set[bytes]:
    return {msgspec.json.encode(item) for item in items}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def some(count: int) -> list[Item]:
    return [make_decision() for _ in range(count)]


async def test_what_is_recorded_arrives_once(directory: Path) -> None:
    log = Log(directory)
    log.record(*(early := some(3)))
    log.thread.start()
    items = list(early)
    for _ in range(20):
        decision = make_decision()
        items += [decision, make_texts(decision), make_outcome(decision)]
        log.record(*items[-3:])
        await asyncio.sleep(0.003)
    await until(lambda: len(log.sink.rows) == len(items))
    assert different(log.sink.rows) == different(items)
    await until(lambda: log.sink.maintained)
    assert await log.thread.stop(HANG) == 0
    metrics = log.metrics
    assert (metrics.queued, metrics.spooled_rows, metrics.spooled_bytes, metrics.dropped) == (0, 0, 0, {})
    assert (metrics.written, metrics.replayed, metrics.circuit) == (len(items), 0, "closed")
    assert log.sink.closed


async def test_a_full_batch_goes_at_once_and_a_partial_one_after_flush_seconds(directory: Path) -> None:
    log = Log(directory, msgspec.structs.replace(COLLECTOR, flush_seconds=3600.0))
    log.thread.start()
    log.record(*some(9))
    await until(lambda: log.thread.metrics() and log.metrics.spooled_rows == 9)
    await asyncio.sleep(0.05)
    assert log.sink.batches == []
    log.record(*some(16))
    await until(lambda: len(log.sink.rows) >= 10)
    assert await log.thread.stop(HANG) == 0
    assert len(log.sink.rows) == 25


async def test_rows_are_on_disk_while_the_sink_is_away_and_are_read_back(directory: Path) -> None:
    log = Log(directory)
    log.sink.away = True
    log.thread.start()
    items = some(400)
    for start in range(0, 400, 50):
        log.record(*items[start : start + 50])
        await asyncio.sleep(0.03)
    await until(lambda: log.metrics.spooled_rows == 400)
    assert len(log.recorder) == 0, "memory must not hold what the disk holds"
    assert log.metrics.circuit == "open"
    assert log.metrics.oldest_seconds is not None
    log.sink.away = False
    await until(lambda: len(log.sink.rows) == 400)
    assert log.sink.rows == items, "oldest first"
    assert max(map(len, log.sink.batches)) <= 10
    await log.thread.stop(HANG)
    assert 300 <= log.metrics.replayed <= 400
    assert log.metrics.spooled_rows == 0


async def test_what_is_left_at_the_end_is_delivered_by_the_next_start(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Log(directory)
    first.sink.away = True
    first.thread.start()
    first.record(*(items := some(25)))
    assert await asyncio.wait_for(first.thread.stop(3600), HANG) == 0, "safe rows are not waited for"
    assert "25 rows are left" in caplog.text
    first.record(make_decision())
    assert first.recorder.dropped == {"stopped": 1}
    second = Log(directory)
    second.thread.start()
    await until(lambda: len(second.sink.rows) == 25)
    assert second.sink.rows == items
    assert second.metrics.replayed == 25
    await second.thread.stop(HANG)


async def test_the_spool_of_a_process_that_is_gone_is_adopted(directory: Path) -> None:
    gone = [Log(directory) for _ in range(3)]
    lists = [some(12) for _ in gone]
    for log, items in zip(gone, lists, strict=True):
        log.sink.away = True
        log.record(*items)
        log.thread.start()
    for log in gone:
        await until(lambda log=log: log.thread.metrics() and log.metrics.spooled_rows == 12)
    one = Log(directory)
    one.thread.start()
    one.record(*(own := some(3)))
    for log in gone:
        await log.thread.stop(HANG)
    everything = [*own, *lists[0], *lists[1], *lists[2]]
    await until(lambda: len(one.sink.rows) == len(everything))
    assert different(one.sink.rows) == different(everything)
    await until(lambda: all(backlog.rows == 0 for backlog in survey(directory)))
    await one.thread.stop(HANG)
    assert not [backlog for backlog in survey(directory) if backlog.in_use]


async def test_without_a_spool_rows_wait_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(None)
    log.sink.away = True
    log.thread.start()
    log.record(*(items := some(25)))
    await until(lambda: log.sink.attempts > 3)
    assert (log.metrics.queued, log.metrics.spooled_rows) == (25, 0)
    log.sink.away = False
    await until(lambda: len(log.sink.rows) == 25)
    assert different(log.sink.rows) == different(items)
    log.sink.away = True
    log.record(*some(5))
    assert await log.thread.stop(0.1) == 5
    assert log.recorder.dropped == {"stopped": 5}
    assert "5 rows dropped so far, cause stopped: away" in caplog.text


@pytest.fixture
def unwritable(directory: Path) -> Path:
    """A directory that cannot be made, not even by root."""
    directory.parent.mkdir(exist_ok=True)
    directory.write_text("a file")
    return directory


async def test_a_spool_that_cannot_be_written_to_costs_nothing_while_the_sink_is_there(
    unwritable: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(unwritable)
    log.thread.start()
    log.record(*(items := some(35)))
    await until(lambda: len(log.sink.rows) == 35)
    assert different(log.sink.rows) == different(items)
    assert log.metrics.spool_error is not None
    assert "rows wait in memory only" in caplog.text
    await asyncio.to_thread(unwritable.unlink)
    await until(lambda: log.metrics.spool_error is None or log.record(*some(1)))
    assert "rows are stored in the spool again" in caplog.text
    assert await log.thread.stop(HANG) == 0
    assert log.recorder.dropped == {}


async def test_rows_in_hand_are_stored_when_the_spool_can_take_them_again(unwritable: Path) -> None:
    log = Log(unwritable)
    log.sink.away = True
    log.thread.start()
    log.record(*(items := some(25)))
    await until(lambda: log.sink.attempts > 3)  # a batch is in hand
    assert (log.metrics.queued, log.metrics.spooled_rows) == (25, 0)
    await asyncio.to_thread(unwritable.unlink)
    await until(lambda: log.metrics.spooled_rows == 25)
    assert log.metrics.queued == 0
    assert await log.thread.stop(HANG) == 0
    again = Log(unwritable)
    again.thread.start()
    await until(lambda: len(again.sink.rows) == 25)
    assert different(again.sink.rows) == different(items)
    await again.thread.stop(HANG)


async def test_both_away_the_queue_bounds_and_says_why(unwritable: Path) -> None:
    log = Log(unwritable, msgspec.structs.replace(COLLECTOR, queue_rows=20))
    log.sink.away = True
    log.thread.start()
    log.record(*(items := some(10)))
    await until(lambda: log.sink.attempts > 3)
    log.record(*some(30))
    assert log.recorder.dropped == {"spool_failed": 10}
    log.sink.away = False
    await until(lambda: len(log.sink.rows) == 30)
    assert log.sink.rows[:10] == items
    assert await log.thread.stop(HANG) == 0


@pytest.mark.parametrize("bound", [{"max_rows": 20}, {"max_bytes": 20_000}], ids=["rows", "bytes"])
async def test_a_full_spool_bounds_and_drains(directory: Path, bound: dict[str, int]) -> None:
    collector = msgspec.structs.replace(COLLECTOR, spool=SpoolSettings(**bound), queue_rows=30)
    log = Log(directory, collector)
    log.sink.away = True
    log.thread.start()
    items = some(200)
    for item in items:
        log.record(item)
        await asyncio.sleep(0.001)
    await until(lambda: log.recorder.dropped)
    assert list(log.recorder.dropped) == ["spool_full"]
    assert 0 < log.metrics.spooled_rows <= bound.get("max_rows", 200)
    assert log.metrics.spooled_bytes <= bound.get("max_bytes", COLLECTOR.spool.max_bytes)
    log.sink.away = False
    kept = 200 - log.recorder.dropped["spool_full"]
    await until(lambda: len(log.sink.rows) == kept)
    assert different(log.sink.rows) == different(items[:kept]), "the newest are dropped"
    await until(lambda: log.metrics.spool_error is None or log.record(*some(1)))
    assert await log.thread.stop(HANG) == 0
    assert list(log.recorder.dropped) == ["spool_full"]


async def test_a_chunk_larger_than_the_spool_goes_to_the_sink(directory: Path) -> None:
    log = Log(directory, msgspec.structs.replace(COLLECTOR, spool=SpoolSettings(max_bytes=10_000)))
    log.thread.start()
    texts = make_texts(make_decision(), ask="a" * 50_000)
    log.record(texts)
    await until(lambda: log.sink.rows == [texts])
    assert await log.thread.stop(HANG) == 0


async def test_chunks_larger_than_the_spool_are_bounded_like_the_queue(directory: Path) -> None:
    collector = msgspec.structs.replace(COLLECTOR, spool=SpoolSettings(max_bytes=10_000), queue_rows=20)
    log = Log(directory, collector)
    log.sink.away = True
    log.thread.start()
    for _ in range(60):
        log.record(make_texts(make_decision(), ask="a" * 20_000))
        await asyncio.sleep(0.002)
    await until(lambda: log.recorder.dropped)
    assert log.metrics.queued <= 20 + 10, "of the queue, and a batch in hand"
    log.sink.away = False
    await until(lambda: len(log.sink.rows) + sum(log.recorder.dropped.values()) == 60)
    assert await log.thread.stop(HANG) == 0


async def test_a_chunk_that_is_divided_is_stored_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it is stored when the disk fails; the other half goes back to the queue."""
    strange = make_decision(ask_tokens=2**70)
    items = some(7)
    calls: list[int] = []
    real = Spool.append

    def fail_once(self: Spool, rows: int, *args: Any) -> int:
        calls.append(rows)
        if len(calls) == 2:
            raise SpoolError("disk full")
        return real(self, rows, *args)

    monkeypatch.setattr(Spool, "append", fail_once)
    log = Log(directory, sink=ListSink(poison=[strange]))
    log.record(*items[:5], strange, *items[5:])
    log.thread.start()
    await until(lambda: len(log.sink.rows) == 7 and log.sink.buried)
    assert await log.thread.stop(HANG) == 0
    assert sorted(map(repr, log.sink.rows)) == sorted(map(repr, items)), "each once"
    assert len(log.sink.buried) == 1


async def test_rows_in_memory_outlive_a_damaged_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(directory)
    log.sink.away = True
    log.thread.start()
    log.record(*(early := some(10)))
    await until(lambda: log.sink.attempts)
    log.record(*(late := some(8)))
    await until(lambda: log.metrics.spooled_rows == 18)
    real = Spool.append

    def damaged(self: Spool, *args: Any) -> int:
        monkeypatch.setattr(Spool, "append", real)
        raise SpoolDamaged("the spool is damaged")

    monkeypatch.setattr(Spool, "append", damaged)
    log.record(*(last := some(1)))
    await until(lambda: list(directory.glob("*.damaged-*")))
    log.sink.away = False
    await until(lambda: len(log.sink.rows) == 19)
    assert different(log.sink.rows) == different([*early, *late, *last])
    assert await log.thread.stop(HANG) == 0
    assert log.recorder.dropped == {}


async def test_who_waits_for_the_end_may_be_cancelled(directory: Path) -> None:
    log = Log(directory)
    log.thread.start()
    log.record(*some(3))
    waiting = asyncio.ensure_future(log.thread.stop(HANG))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await log.thread.stop(HANG) == 0
    assert len(log.sink.rows) == 3
    assert log.sink.closed


async def test_rows_that_no_chunk_holds_go_to_the_sink_alone(directory: Path) -> None:
    strange: list[Any] = [make_decision(ask_tokens=2**70), {"secrets": 17}]
    log = Log(directory, sink=ListSink(poison=strange))
    good = some(7)
    log.record(*good[:3], *strange, *good[3:])
    log.thread.start()
    await until(lambda: len(log.sink.rows) == 7 and len(log.sink.buried) == 2)
    assert different(log.sink.rows) == different(good)
    assert [item for item, _ in log.sink.buried] == strange
    assert await log.thread.stop(HANG) == 0


async def test_a_record_that_cannot_be_read_back_is_buried(directory: Path) -> None:
    first = Log(directory)
    first.sink.away = True
    first.thread.start()
    good = make_decision()
    first.record(good, make_decision(raw_score="seventeen"))
    await first.thread.stop(HANG)
    second = Log(directory)
    second.thread.start()
    await until(lambda: second.sink.buried)
    assert second.sink.rows == [good]
    [(letter, reason)] = second.sink.buried
    assert reason == "this version cannot read it"
    assert letter.fields["raw_score"] == "seventeen"  # type: ignore[union-attr]
    assert await second.thread.stop(HANG) == 0
    assert second.metrics.spooled_rows == 0


async def test_a_spool_directory_that_is_removed_while_it_is_used(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(directory)
    log.sink.away = True
    log.thread.start()
    log.record(*(early := some(12)))
    await until(lambda: log.thread.metrics() and log.metrics.spooled_rows == 12)
    shutil.rmtree(directory)
    await until(lambda: "was removed" in caplog.text)
    log.record(*(late := some(8)))
    await until(lambda: directory.exists())
    log.sink.away = False
    await until(lambda: len(log.sink.rows) == 20)
    assert different(log.sink.rows) == different([*early, *late])
    assert await log.thread.stop(HANG) == 0
    assert log.recorder.dropped == {}


async def test_a_damaged_spool_is_left_and_counted(directory: Path) -> None:
    """Damage that shows only when chunks are read back."""
    first = Spool.claim(directory)
    for _ in range(300):
        first.append(1, os.urandom(2_000), 10**9, 10**9)
    first.close()
    path = directory / "spool-0.sqlite"
    data = bytearray(path.read_bytes())
    data[-len(data) // 2 :] = os.urandom(len(data) // 2)
    path.write_bytes(data)
    log = Log(directory)
    log.thread.start()
    log.record(*(items := some(5)))
    await until(lambda: len(log.sink.rows) == 5)
    await until(lambda: list(directory.glob("*.damaged-*")))
    log.record(*(more := some(5)))
    await until(lambda: len(log.sink.rows) == 10)
    assert different(log.sink.rows) == different([*items, *more])
    assert await log.thread.stop(HANG) == 0


async def test_metrics_are_left_in_the_slot(directory: Path) -> None:
    log = Log(directory)
    log.thread.start()
    log.record(*some(4))
    await until(lambda: any(b.status and b'"written":4' in b.status for b in survey(directory)))
    [backlog] = survey(directory)
    assert backlog.status is not None
    assert msgspec.json.decode(backlog.status, type=Metrics).written == 4
    await log.thread.stop(HANG)


async def test_starting_twice_and_stopping_twice(directory: Path) -> None:
    log = Log(directory)
    assert await log.thread.stop(HANG) == 0, "it was never started"
    log = Log(directory)
    log.thread.start()
    before = threading.active_count()
    log.thread.start()
    assert threading.active_count() == before
    log.record(*some(1))
    assert await asyncio.gather(log.thread.stop(HANG), log.thread.stop(HANG)) == [0, 0]
    assert len(log.sink.rows) == 1
    stopped = log.thread._thread
    log.thread.start()
    assert log.thread._thread is stopped, "what was stopped stays stopped"


def test_an_interpreter_that_ends_without_a_word_stores_what_waits(directory: Path) -> None:
    log = Log(directory)
    log.sink.away = True
    log.thread.start()
    log.record(*some(3))
    log.thread.stop_now()  # what atexit calls
    assert sum(backlog.rows for backlog in survey(directory)) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_gives_each_process_a_log(directory: Path) -> None:
    log = Log(directory)

    def serve() -> int:
        log.thread.start()
        log.record(*some(3))
        assert asyncio.run(log.thread.stop(HANG)) == 0
        return len(log.sink.rows)

    child = os.fork()
    if child == 0:
        os._exit(serve())
    assert serve() == 3
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


async def test_a_bug_in_a_task_does_not_end_it(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "RESTART_SECONDS", 0.01)
    calls: list[int] = []

    def prepare(rows: Any) -> list[Item]:
        calls.append(len(rows))
        if len(calls) < 3:
            raise KeyError("a secret")
        return list(rows)

    sink, recorder = ListSink(), Recorder()
    thread = LogThread(lambda: Pipeline(COLLECTOR, directory, recorder, sink, prepare))
    thread.start()
    recorder.record(make_decision())
    await until(lambda: sink.rows)
    assert await thread.stop(HANG) == 0
    assert recorder.dropped == {}
