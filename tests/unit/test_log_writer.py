"""The writer by itself: retries, halving, dead letters, against a sink made for the purpose."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest

from bsgateway.log import writer as writer_module
from bsgateway.log.chunk import Unreadable
from bsgateway.log.sink import SinkTimeout
from bsgateway.log.writer import Writer
from builders import make_decision, until
from sinks import ListSink

HANG = 10.0  # seconds: a bound against hangs, not a measurement


class Bench:
    """A writer, and what it dropped."""

    def __init__(self, sink: ListSink) -> None:
        self.dropped: Counter[str] = Counter()
        self.writer = Writer(sink, self._drop)

    def _drop(self, cause: str, count: int, detail: str) -> None:
        self.dropped[cause] += count


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(writer_module, "LAST_RETRY", 0.01)


async def test_a_batch_is_written_again_until_it_is(caplog: pytest.LogCaptureFixture) -> None:
    sink = ListSink()
    bench = Bench(sink)
    sink.away = True
    items = [make_decision() for _ in range(10)]
    task = asyncio.ensure_future(bench.writer.write(items))
    await until(lambda: sink.attempts > 5)
    assert bench.writer.is_open
    assert (bench.writer.last_error, bench.writer.written) == ("away", 0)
    sink.away = False
    await asyncio.wait_for(task, HANG)
    assert sink.rows == items
    assert not bench.writer.is_open
    assert (bench.writer.written, bench.writer.batches) == (10, 1)
    assert bench.writer.retries > 4
    assert bench.writer.last_flush_at is not None
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2, "one line when it begins, one when it is over"


async def test_waits_grow_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "FIRST_RETRY", 1.0)
    monkeypatch.setattr(writer_module, "LAST_RETRY", 15.0)
    waits: list[float] = []

    async def wait(self: Writer, seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 40:
            sink.away = False

    monkeypatch.setattr(Writer, "_sleep", wait)
    sink = ListSink()
    sink.away = True
    await Bench(sink).writer.write([make_decision()])
    assert [0.5 * 2**step <= waits[step] <= 2**step for step in range(4)] == [True] * 4
    assert all(7.5 <= seconds <= 15 for seconds in waits[4:])
    assert len(set(waits[4:])) > 30, "workers must not all come back at once"


async def test_a_hurried_writer_waits_but_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "FIRST_RETRY", 3600.0)
    monkeypatch.setattr(writer_module, "HURRIED_RETRY", 0.001)
    sink = ListSink()
    bench = Bench(sink)
    sink.away = True
    task = asyncio.ensure_future(bench.writer.write([make_decision()]))
    await until(lambda: sink.attempts)
    bench.writer.hurry()
    await until(lambda: sink.attempts > 3)
    sink.away = False
    await asyncio.wait_for(task, HANG)


async def test_a_sink_that_breaks_its_contract_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class BrokenSink(ListSink):
        async def write(self, batch: Any) -> None:
            if self.attempts < 3:
                self.attempts += 1
                raise KeyError("a secret")
            await super().write(batch)

    bench = Bench(sink := BrokenSink())
    await asyncio.wait_for(bench.writer.write([make_decision()]), HANG)
    assert len(sink.rows) == 1
    assert bench.writer.last_error == "KeyError"
    assert "a secret" not in caplog.text


@pytest.mark.parametrize("bad", [(0,), (6,), (0, 3, 4, 6), tuple(range(7))])
async def test_refused_rows_are_buried_and_the_others_written(
    bad: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    items = [make_decision(original_model="secret") for _ in range(7)]
    sink = ListSink(poison=[items[index] for index in bad])
    bench = Bench(sink)
    await bench.writer.write(items)
    assert sink.rows == [item for index, item in enumerate(items) if index not in bad]
    assert sink.buried == [(items[index], "DataError (22000)") for index in bad]
    assert (bench.writer.dead_lettered, bench.dropped) == (len(bad), {})
    assert str(items[bad[0]].decision_id) in caplog.text
    assert len(caplog.records) == 1, "a table that refuses everything must not flood the log"
    assert "secret" not in caplog.text


async def test_what_not_even_the_dead_letters_take_is_dropped() -> None:
    items = [make_decision() for _ in range(3)]
    sink = ListSink(poison=items[1:2])
    sink.refuses_letters = True
    bench = Bench(sink)
    await bench.writer.write(items)
    assert (sink.rows, bench.dropped) == ([items[0], items[2]], {"refused": 1})


async def test_a_batch_that_is_too_much_for_the_time_is_divided() -> None:
    class SlowSink(ListSink):
        async def write(self, batch: Any) -> None:
            self.attempts += 1
            if len(batch) > 3:
                raise SinkTimeout("TimeoutError")
            await super().write(batch)

    items = [make_decision() for _ in range(10)]
    bench = Bench(sink := SlowSink())
    await asyncio.wait_for(bench.writer.write(items), HANG)
    assert sink.rows == items
    assert (bench.writer.dead_lettered, bench.dropped) == (0, {})


async def test_giving_up_returns_what_is_not_settled() -> None:
    items = [make_decision() for _ in range(4)]
    sink = ListSink(poison=items[1:2])
    bench = Bench(sink)

    def give_up() -> bool:
        return len(sink.rows) + len(sink.buried) > 1

    async def go_away() -> None:
        await until(lambda: sink.buried)
        sink.away = True

    task = asyncio.ensure_future(go_away())
    left = await asyncio.wait_for(bench.writer.write(items, give_up=give_up), HANG)
    await task
    settled = [*sink.rows, *(item for item, _ in sink.buried)]
    assert sorted(map(repr, [*settled, *left])) == sorted(map(repr, items))


async def test_letters_wait_while_the_sink_is_away() -> None:
    letter = Unreadable("Decision", {"decision_id": 1})
    sink = ListSink()
    sink.away = True
    bench = Bench(sink)
    task = asyncio.ensure_future(bench.writer.write([], [letter]))
    await until(lambda: sink.attempts > 3)
    sink.away = False
    await asyncio.wait_for(task, HANG)
    assert sink.buried == [(letter, "this version cannot read it")]
