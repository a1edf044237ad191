"""The queue by itself: rules and bounds; and records as rows."""

from __future__ import annotations

import threading
import tracemalloc
from typing import Any

import msgspec
import pytest

from bsgateway.core import core
from bsgateway.decision import Caller
from bsgateway.log.queue import ROW_BYTES, Recorder
from bsgateway.rows import LOG_COLUMNS, MAX_NAME, OUTCOME_COLUMNS, TEXT_COLUMNS, Item, clean, cleaned, log_row
from builders import make_decision, make_failure, make_outcome, make_texts


def test_rows_come_out_in_order_and_once() -> None:
    recorder = Recorder()
    items = [make_decision() for _ in range(5)]
    for item in items:
        recorder.record(item)
    assert len(recorder) == 5
    assert recorder.take(2) == items[:2]
    assert recorder.take(100) == items[2:]
    assert recorder.take(100) == []


def test_what_is_put_back_is_the_oldest_again() -> None:
    recorder = Recorder(max_bytes=1_000_000)
    decision = make_decision()
    items = [decision, make_texts(decision), make_outcome(decision)]
    for item in items:
        recorder.record(item)
    recorder.put_back(recorder.take(2))
    assert recorder._text_bytes_out == 0
    assert recorder.take(3) == items
    assert recorder._text_bytes_out == recorder._text_bytes_in > 0


@pytest.mark.parametrize("cause", ["queue_full", "spool_failed"])
def test_the_bound_drops_the_newest_and_counts_them(cause: str, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(max_rows=3)
    recorder.full_cause = cause
    items = [make_decision() for _ in range(7)]
    for item in items:
        recorder.record(item)
    assert recorder.dropped == {cause: 4}
    assert recorder.take(10) == items[:3]
    assert len(caplog.records) == 1, "a full queue must not flood the log"
    recorder.record(items[3])
    assert recorder.take(10) == [items[3]], "a queue that was emptied takes rows again"


def test_memory_bounds_rows_as_well() -> None:
    recorder = Recorder(max_rows=1_000_000, max_bytes=20 * ROW_BYTES)
    for _ in range(12):
        recorder.record(make_decision())
    assert recorder.dropped == {"queue_full": 2}


def test_texts_are_bounded_by_their_size_and_go_first() -> None:
    recorder = Recorder(max_bytes=40_000)
    decision = make_decision()
    kept, lost = make_texts(decision, ask="a" * 15_000, system=""), make_texts(decision, ask="a" * 5_000, system="")
    for item in (kept, lost, decision):
        recorder.record(item)
    assert recorder.dropped == {"text_full": 1}
    assert recorder.take(10) == [kept, decision]
    recorder.record(lost)
    assert recorder.take(10) == [lost], "taking rows makes room again"


def test_a_row_takes_the_memory_that_the_bound_counts() -> None:
    """Half of the rows are decisions, half outcomes. Names of models are shared, what comes with a request is not."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        rows = []
        for number in range(1_000):
            decision = make_decision(
                features=tuple(number + index / 7 for index in range(20)),
                contributions=tuple((signal, number / 7, number / 11, number / 13) for signal in core.SIGNALS),
                caller=Caller(*(f"{field} of request {number:030}" for field in Caller.__struct_fields__)),
            )
            rows += [decision, make_outcome(decision, cost=number / 7, latency_ms=number / 3)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ROW_BYTES / 2 < (after - before) / len(rows) < ROW_BYTES


@pytest.mark.parametrize("item", [None, 7, "text", make_decision(original_model=None)])
def test_record_never_raises(item: Any) -> None:
    recorder = Recorder()
    recorder.record(item)
    recorder.record(msgspec.structs.replace(make_texts(make_decision()), ask=None))
    assert recorder.dropped == {}
    recorder.close()
    recorder.record(item)
    assert recorder.dropped == {"stopped": 1}


def test_threads_may_record() -> None:
    recorder = Recorder()
    taken: list[Item] = []

    def work() -> None:
        for _ in range(2_000):
            decision = make_decision()
            recorder.record(decision)
            recorder.record(make_texts(decision))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(taken) < 16_000:
        taken += recorder.take(100)
    for thread in threads:
        thread.join()
    assert len({id(item) for item in taken}) == 16_000
    assert recorder._text_bytes_out == recorder._text_bytes_in
    assert not recorder.dropped


def test_cleaned_records_hold_what_rows_hold() -> None:
    decision = make_decision(original_model="m\ud800" * 1_000)
    mended = cleaned(decision)
    assert log_row(mended) == log_row(decision)  # type: ignore[arg-type]
    texts = make_texts(decision, ask="a\x00" * 1_000)
    assert cleaned(texts) == msgspec.structs.replace(texts, ask="a\ufffd" * 1_000)


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
