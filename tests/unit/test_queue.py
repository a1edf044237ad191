"""The queue and the writer by themselves: rules and bounds, against sinks made for the purpose."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from bsgateway.log import writer as writer_module
from bsgateway.log.queue import Recorder
from bsgateway.log.sink import RowRefused, SinkUnavailable
from bsgateway.log.writer import Writer
from bsgateway.rows import LOG_COLUMNS, MAX_NAME, OUTCOME_COLUMNS, TEXT_COLUMNS, Item, clean, log_row
from builders import make_decision, make_failure, make_outcome, make_texts, until

HANG = 10.0  # seconds: a bound against hangs, not a measurement


class ListSink:
    """Keeps what it gets. Is unavailable while `away`; refuses a batch that holds one of `poison`."""

    def __init__(self, poison: Sequence[Item] = ()) -> None:
        self.batches: list[list[Item]] = []
        self.poison = poison
        self.away = False
        self.attempts = 0
        self.closed = False

    @property
    def rows(self) -> list[Item]:
        return [item for batch in self.batches for item in batch]

    async def write(self, batch: Sequence[Item]) -> None:
        self.attempts += 1
        await asyncio.sleep(0)
        if self.away:
            raise SinkUnavailable("away")
        if any(item is bad for item in batch for bad in self.poison):
            raise RowRefused("DataError (22000)")
        self.batches.append(list(batch))

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(writer_module, "LAST_RETRY", 0.01)


def test_rows_come_out_in_order_and_once() -> None:
    recorder = Recorder()
    items = [make_decision() for _ in range(5)]
    for item in items:
        recorder.record(item)
    assert len(recorder) == 5
    assert recorder.take(2) == items[:2]
    assert recorder.take(100) == items[2:]
    assert recorder.take(100) == []


def test_the_bound_drops_the_newest_and_counts_them(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(max_rows=3)
    items = [make_decision() for _ in range(7)]
    for item in items:
        recorder.record(item)
    assert recorder.dropped == {"full": 4}
    assert recorder.take(10) == items[:3]
    assert len(caplog.records) == 1, "a full queue must not flood the log"
    recorder.record(items[3])
    assert recorder.take(10) == [items[3]], "a queue that was emptied takes rows again"


def test_texts_are_bounded_by_their_size_and_go_first() -> None:
    recorder = Recorder(max_text_chars=100)
    decision = make_decision()
    kept, lost = make_texts(decision, ask="a" * 60, system=""), make_texts(decision, ask="a" * 41, system="")
    for item in (kept, lost, decision):
        recorder.record(item)
    assert recorder.dropped == {"text_full": 1}
    assert recorder.take(10) == [kept, decision]
    recorder.record(lost)
    assert recorder.take(10) == [lost], "taking rows makes room again"


@pytest.mark.parametrize("item", [None, 7, "text", make_decision(original_model=None)])
def test_record_never_raises(item: Any) -> None:
    recorder = Recorder()
    recorder.record(item)
    recorder.record(msgspec.structs.replace(make_texts(make_decision()), ask=None))
    assert recorder.dropped == {"error": 1}
    recorder.close()
    recorder.record(item)
    assert recorder.dropped == {"error": 1, "stopped": 1}


async def test_a_full_batch_goes_at_once_and_a_partial_one_after_max_age() -> None:
    sink, recorder = ListSink(), Recorder()
    writer = Writer(recorder, sink, batch_rows=10, max_age=3600)
    writer.start()
    for _ in range(9):
        recorder.record(make_decision())
    await asyncio.sleep(0.05)
    assert sink.batches == []
    for _ in range(16):
        recorder.record(make_decision())
    await until(lambda: len(sink.rows) == 20)
    assert [len(batch) for batch in sink.batches] == [10, 10]
    assert await writer.stop() == 0
    assert len(sink.rows) == 25

    sink, recorder = ListSink(), Recorder()
    writer = Writer(recorder, sink, batch_rows=10, max_age=0.01)
    writer.start()
    recorder.record(make_decision())
    await until(lambda: sink.rows)
    await writer.stop()


async def test_rows_recorded_before_the_start_are_written() -> None:
    sink, recorder = ListSink(), Recorder()
    recorder.record(make_decision())
    writer = Writer(recorder, sink, max_age=3600)
    assert await writer.stop() == 0
    assert len(sink.rows) == 1
    assert sink.closed


async def test_starting_twice_starts_one_task() -> None:
    before = len(asyncio.all_tasks())
    writer = Writer(Recorder(), ListSink())
    writer.start()
    writer.start()
    assert len(asyncio.all_tasks()) == before + 1
    await writer.stop()
    writer.start()
    assert len(asyncio.all_tasks()) == before, "a stopped writer stays stopped"


async def test_threads_may_record() -> None:
    sink, recorder = ListSink(), Recorder()
    writer = Writer(recorder, sink, batch_rows=50, max_age=0.001)
    writer.start()
    await asyncio.sleep(0)  # the writer waits for its first row now

    def work() -> None:
        for _ in range(2_000):
            decision = make_decision()
            recorder.record(decision)
            recorder.record(make_texts(decision))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    await until(lambda: len(sink.rows) == 16_000)
    for thread in threads:
        thread.join()
    assert await writer.stop() == 0
    assert len({id(item) for item in sink.rows}) == 16_000
    assert recorder._text_chars == 0
    assert not recorder.dropped


async def test_a_row_that_comes_while_the_writer_lies_down_wakes_it() -> None:
    recorder = Recorder()

    class Late(deque[Item]):
        """Another thread records between the first look at the queue and the second."""

        looks = 0

        def __len__(self) -> int:
            self.looks += 1
            if self.looks == 2:
                self.append(make_decision())
            return super().__len__()

    recorder._rows = Late()
    await asyncio.wait_for(recorder.wait(1), HANG)
    assert len(recorder.take(10)) == 1


@pytest.mark.usefixtures("quick_retries")
async def test_rows_wait_while_the_sink_is_away(caplog: pytest.LogCaptureFixture) -> None:
    sink, recorder = ListSink(), Recorder(max_rows=20)
    writer = Writer(recorder, sink, batch_rows=10, max_age=0.001)
    writer.start()
    sink.away = True
    items = [make_decision() for _ in range(25)]
    for item in items[:10]:
        recorder.record(item)
    await until(lambda: sink.attempts > 5)
    for item in items[10:]:
        recorder.record(item)
    metrics = writer.metrics()
    assert (metrics.queued, metrics.written, metrics.dropped, metrics.last_error) == (25, 0, {}, "away")
    assert metrics.retries > 5
    sink.away = False
    await until(lambda: len(sink.rows) == 25)
    assert sink.rows == items
    assert await writer.stop() == 0
    metrics = writer.metrics()
    assert (metrics.queued, metrics.written, metrics.batches, metrics.dropped) == (0, 25, 3, {})
    assert metrics.last_flush_at is not None
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2, "one line when it begins, one when it is over"


@pytest.mark.usefixtures("quick_retries")
async def test_a_sink_that_breaks_its_contract_loses_nothing() -> None:
    class BrokenSink(ListSink):
        async def write(self, batch: Sequence[Item]) -> None:
            if self.attempts < 3:
                self.attempts += 1
                raise KeyError("a secret")
            await super().write(batch)

    sink, recorder = BrokenSink(), Recorder()
    writer = Writer(recorder, sink, max_age=0.001)
    writer.start()
    recorder.record(make_decision())
    await until(lambda: writer.metrics().last_error)
    assert writer.metrics().last_error == "KeyError"
    assert await writer.stop() == 0
    assert len(sink.rows) == 1


@pytest.mark.parametrize("bad", [(0,), (6,), (0, 3, 4, 6), tuple(range(7))])
async def test_refused_rows_are_found_and_the_others_written(
    bad: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    items = [make_decision(original_model="secret") for _ in range(7)]
    sink, recorder = ListSink(poison=[items[index] for index in bad]), Recorder()
    for item in items:
        recorder.record(item)
    writer = Writer(recorder, sink)
    assert await writer.stop() == 0
    assert sink.rows == [item for index, item in enumerate(items) if index not in bad]
    assert writer.metrics().dropped == {"refused": len(bad)}
    for index in bad:
        assert str(items[index].decision_id) in caplog.text
    assert "secret" not in caplog.text


async def test_what_is_left_at_the_end_is_reported_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    sink, recorder = ListSink(), Recorder()
    sink.away = True
    writer = Writer(recorder, sink, batch_rows=2)
    for _ in range(5):
        recorder.record(make_decision())
    assert await writer.drain(0.05) == 5
    assert await writer.stop(0.05) == 5
    assert writer.metrics().dropped == {"stopped": 5}
    assert writer.metrics().queued == 0
    assert sink.closed
    assert "5 rows dropped so far, cause stopped: away" in caplog.text


@pytest.mark.usefixtures("quick_retries")
async def test_drain_waits_for_a_sink_that_comes_back() -> None:
    sink, recorder = ListSink(), Recorder()
    sink.away = True
    writer = Writer(recorder, sink, max_age=3600)
    recorder.record(make_decision())
    asyncio.get_running_loop().call_later(0.05, setattr, sink, "away", False)
    assert await writer.drain(HANG) == 0
    assert len(sink.rows) == 1
    await writer.stop()


class SlowSink(ListSink):
    """Gives time to cancel a write."""

    async def write(self, batch: Sequence[Item]) -> None:
        await asyncio.sleep(0.01)
        await super().write(batch)


def test_the_end_of_the_loop_cancels_the_writer_and_loses_nothing() -> None:
    sink, recorder = SlowSink(), Recorder()
    writer = Writer(recorder, sink, batch_rows=2, max_age=0.001)

    async def flush_at_the_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await writer.stop(HANG)

    async def main() -> asyncio.Task[None]:
        flush = asyncio.create_task(flush_at_the_end())
        await asyncio.sleep(0)
        writer.start()
        for _ in range(7):
            recorder.record(make_decision())
        await until(lambda: sink.rows)
        return flush

    asyncio.run(main())
    assert len(sink.rows) == 7
    assert writer.metrics().dropped == {}


async def test_stopping_before_the_writer_notices_that_it_is_cancelled() -> None:
    sink, recorder = SlowSink(), Recorder()
    writer = Writer(recorder, sink, batch_rows=2, max_age=0.001)
    writer.start()
    for _ in range(7):
        recorder.record(make_decision())
    await until(lambda: sink.rows)
    assert writer._task is not None
    writer._task.cancel()
    assert await writer.stop(HANG) == 0
    assert len(sink.rows) == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_before_the_start_gives_each_process_a_writer() -> None:
    recorder, sink = Recorder(), ListSink()
    writer = Writer(recorder, sink, max_age=0.001)

    async def serve() -> int:
        writer.start()
        for _ in range(3):
            recorder.record(make_decision())
        await writer.stop()
        return len(sink.rows)

    child = os.fork()
    if child == 0:
        os._exit(asyncio.run(serve()))
    assert asyncio.run(serve()) == 3
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a\x00b", "a\ufffdb"),
        ("\ud83d", "\ufffd"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\u4e16\x00\udfff", "\u4e16\ufffd\ufffd"),
    ],
)
def test_clean(text: str, stored: str) -> None:
    assert clean(text) == stored


def test_names_are_cut_and_texts_are_not() -> None:
    decision = make_decision(original_model="m" * 10_000)
    assert dict(zip(LOG_COLUMNS, log_row(decision), strict=True))["original_model"] == "m" * MAX_NAME
    assert clean("t" * 10_000) == "t" * 10_000


def test_columns_are_the_fields_of_the_records() -> None:
    decision = make_decision()
    caller = msgspec.structs.asdict(decision.caller)
    expected = {**msgspec.structs.asdict(decision), **caller}
    del expected["caller"]
    assert dict(zip(LOG_COLUMNS, log_row(decision), strict=True)) == expected
    assert tuple(msgspec.structs.asdict(make_texts(decision))) == TEXT_COLUMNS
    assert tuple(msgspec.structs.asdict(make_outcome(decision))) == OUTCOME_COLUMNS
    assert make_failure(decision).status == "failure"
