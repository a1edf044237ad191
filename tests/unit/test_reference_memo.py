"""The memo of the twin: what is looked up, what is remembered, and how much."""

from __future__ import annotations

import tracemalloc

import pytest

from bsgateway.reference.extract import extract, newest_ask
from bsgateway.reference.features import TokenCounts, count_all
from bsgateway.reference.memo import ENTRY_BYTES, Memo, MemoStats
from bsgateway.reference.tokens import count_tokens, estimate_tokens


def key(memo: Memo, number: int) -> bytes:
    found = memo.key(b"text number %d, long enough" % number, 1)
    assert found is not None
    return found


def held(memo: Memo, numbers: range) -> list[int]:
    """Which of the texts are known."""
    return [number for number in numbers if memo.recall(key(memo, number)) is not None]


def test_a_count_is_remembered_with_how_it_was_made() -> None:
    memo = Memo(10_000)
    assert memo.recall(key(memo, 1)) is None
    memo.keep(key(memo, 1), 7, True)
    memo.keep(key(memo, 2), 9, False)
    assert memo.recall(key(memo, 1)) == (7, True)
    assert memo.recall(key(memo, 2)) == (9, False)


@pytest.mark.parametrize(
    ("size", "parts", "looked_up"),
    [(0, 1, False), (15, 1, False), (16, 1, True), (15, 4096, False), (16, 4096, True),
     (16, 4097, False), (1023, 4097, False), (1024, 4097, True)],
)  # fmt: skip
def test_short_texts_are_not_looked_up(size: int, parts: int, looked_up: bool) -> None:
    memo = Memo(10_000)
    found = memo.key(b"x" * size, parts)
    assert (found is not None) is looked_up
    assert memo.recall(found) is None
    memo.keep(found, 1, True)
    assert memo.stats().entries == memo.stats().misses == looked_up


def test_keys_are_of_128_bits_and_differ_from_memo_to_memo() -> None:
    keys = [memo.key(b"the very same text", 1) for memo in (Memo(1000), Memo(1000))]
    assert keys[0] != keys[1]
    assert all(key is not None and len(key) == 16 for key in keys)


def test_the_oldest_makes_room_and_what_is_asked_for_is_new_again() -> None:
    memo = Memo(3 * ENTRY_BYTES)
    for number in range(3):
        memo.keep(key(memo, number), number, True)
    assert memo.recall(key(memo, 0)) == (0, True)
    memo.keep(key(memo, 3), 3, True)
    assert held(memo, range(4)) == [0, 2, 3]
    memo.keep(key(memo, 3), 3, True)
    assert memo.stats().evictions == 1, "what is kept twice takes the room of one"


def test_stats() -> None:
    memo = Memo(2 * ENTRY_BYTES + 1)
    assert memo.stats() == MemoStats(0, 0, 0, 0, 0, 2 * ENTRY_BYTES + 1)
    held(memo, range(2))
    for number in range(3):
        memo.keep(key(memo, number), number, True)
    held(memo, range(3))
    assert memo.stats() == MemoStats(2, 3, 1, 2, 2 * ENTRY_BYTES, 2 * ENTRY_BYTES + 1)


@pytest.mark.parametrize("capacity", [0, 1, ENTRY_BYTES - 1])
def test_too_few_bytes_remember_nothing(capacity: int) -> None:
    memo = Memo(capacity)
    assert memo.key(b"x" * 10_000, 1) is None
    assert memo.recall(None) is None
    memo.keep(None, 1, True)
    assert memo.stats() == MemoStats(0, 0, 0, 0, 0, 0)


def test_a_flood_stays_within_the_bytes_given() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        memo = Memo(1_000_000)
        for number in range(20_000):
            memo.keep(key(memo, number), number + 1000, True)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    stats = memo.stats()
    assert stats.entries == 1_000_000 // ENTRY_BYTES
    assert stats.evictions == 20_000 - stats.entries
    assert stats.bytes <= stats.capacity_bytes
    assert taken <= stats.capacity_bytes


FIRST, SECOND = "a" * 38, "e" * 33  # the estimate of such texts is far off


def counts(memo: Memo, budget: int, *texts: str) -> TokenCounts:
    found = extract({"messages": [{"role": "assistant", "content": text} for text in texts]}, "chat")
    return count_all(found, newest_ask(found.parts), "o200k_base", budget, memo)


def test_a_known_text_takes_nothing_from_the_budget() -> None:
    memo = Memo(10_000)
    assert counts(memo, len(FIRST), FIRST).exact
    both = counts(memo, len(SECOND), SECOND, FIRST)
    assert (both.context, both.exact) == (count_tokens(FIRST) + count_tokens(SECOND), True)
    assert (memo.stats().hits, memo.stats().misses) == (1, 2)


def test_an_estimate_stays_one_and_leaves_the_budget_to_new_texts() -> None:
    assert count_tokens(FIRST) != estimate_tokens(FIRST)
    memo = Memo(10_000)
    assert counts(memo, len(FIRST) - 1, FIRST) == TokenCounts(0, 0, estimate_tokens(FIRST), 0, False)
    both = counts(memo, len(SECOND), SECOND, FIRST)
    assert (both.context, both.exact) == (estimate_tokens(FIRST) + count_tokens(SECOND), False)
    assert counts(memo, len(SECOND), SECOND).exact


def test_a_text_that_stands_twice_is_counted_once() -> None:
    memo = Memo(10_000)
    assert counts(memo, len(FIRST), FIRST, FIRST) == TokenCounts(0, 0, 2 * count_tokens(FIRST), 0, True)
    assert (memo.stats().hits, memo.stats().misses) == (1, 1)
    assert counts(Memo(0), len(FIRST), FIRST, FIRST).exact is False
