"""Rows in memory and in files, and how they are split into what is trained on and what is held out."""

from __future__ import annotations

import contextlib
import mmap
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from bsgateway.core import core
from bsgateway.learn.rows import Rows
from bsgateway.learn.same_ask import NO_PROMPT
from bsgateway.learn.spill import Scratch, Spill, size, take
from bsgateway.learn.split import HELD_OUT_ROWS, split


def make_rows(count: int, seed: int = 0) -> Rows:
    """Rows of any content, each of its own conversation, ask and time."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 9, count)
    buckets = [np.sort(random.choice(core.WORD_BUCKETS, each, replace=False)) for each in counts]
    starts = np.concatenate([[0], np.cumsum(counts)])
    indices = np.concatenate([*buckets, []]).astype(np.int32)
    return Rows(
        inputs=random.random((count, len(core.INPUT_NAMES))),
        words=sp.csr_matrix((random.random(len(indices), np.float32), indices, starts), (count, core.WORD_BUCKETS)),
        weak=random.random(count),
        strong=random.random(count),
        weight=np.ones(count),
        group=random.integers(0, 2**62, count),
        at=np.arange(count, dtype=np.float64),
        length=random.random(count),
        static=random.random(count),
        prompts=random.permutation(np.arange(1, count + 1, dtype=np.uint32)),
        source=np.array(["x"] * count, dtype=object),
    )


def assert_same(one: Rows, other: Rows) -> None:
    for field in fields(Rows):
        left, right = getattr(one, field.name), getattr(other, field.name)
        assert left.shape == right.shape
        if field.name == "words":
            left, right = (each.toarray() if each.shape[0] else each.data for each in (left, right))
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("budget", [0, 30_000, 10**9])
def test_rows_are_the_same_in_files_and_in_memory(tmp_path: Path, budget: int) -> None:
    rows = make_rows(100)
    spill = Spill(Scratch(tmp_path), budget)
    for start in range(0, 100, 7):
        spill.add(rows[start : start + 7])
    found = spill.rows()
    assert spill.spilled is (budget < size(rows))
    assert isinstance(found.inputs, np.memmap) is spill.spilled
    assert_same(found, rows)
    index = np.array([5, 3, 99, 3])
    assert_same(take(found, index, Scratch(tmp_path), budget), rows[index])
    assert_same(found[index], rows[index])


def test_words_in_files_are_not_copied(tmp_path: Path) -> None:
    spill = Spill(Scratch(tmp_path), 0)
    spill.add(make_rows(50))
    words = spill.rows().words
    for part in (words.data, words.indices):
        owner = part
        while isinstance(owner, np.ndarray):
            owner = owner.base
        assert isinstance(owner, mmap.mmap)


def test_no_rows_and_rows_without_words(tmp_path: Path) -> None:
    assert len(Spill(Scratch(tmp_path), 0).rows()) == 0
    rows = make_rows(3)
    rows = replace(rows, words=sp.csr_matrix(rows.words.shape, dtype=np.float32))
    spill = Spill(Scratch(tmp_path), 0)
    spill.add(rows)
    assert_same(spill.rows(), rows)


def test_the_directory_is_private_and_goes(tmp_path: Path) -> None:
    with Scratch(tmp_path / "state"):
        pass
    assert not (tmp_path / "state").exists()
    with Scratch(tmp_path / "state") as scratch:
        for directory in (scratch.directory(), scratch.directory()):
            (directory / "file").write_text("x")
            assert directory.stat().st_mode & 0o777 == directory.parent.stat().st_mode & 0o777 == 0o700
    assert not list((tmp_path / "state").iterdir())
    with contextlib.suppress(KeyboardInterrupt), Scratch(tmp_path / "state") as scratch:
        scratch.directory()
        raise KeyboardInterrupt
    assert not list((tmp_path / "state").iterdir())


MEASURE = """
import resource, sys
from pathlib import Path
import numpy as np
import scipy.sparse as sp
from bsgateway.core import core
from bsgateway.learn.rows import Rows
from bsgateway.learn.spill import Scratch, Spill

WORDS, ROWS, PARTS = 200, 2_000, 60
random = np.random.default_rng(0)
def part():
    indices = random.integers(0, core.WORD_BUCKETS, ROWS * WORDS, dtype=np.int32)
    starts = np.arange(0, ROWS * WORDS + 1, WORDS)
    words = sp.csr_matrix((np.ones(ROWS * WORDS, np.float32), indices, starts), (ROWS, core.WORD_BUCKETS))
    some = random.random(ROWS)
    return Rows(np.zeros((ROWS, len(core.INPUT_NAMES))), words, some, some, some, np.arange(ROWS), some, some, some,
                np.zeros(ROWS, np.uint32), np.array(["x"] * ROWS, dtype=object))
spill = Spill(Scratch(Path(sys.argv[1])), 10_000_000)
spill.add(part())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(PARTS - 1):
    spill.add(part())
written = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(written - before)
"""


def test_what_is_in_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """250 MB of rows are taken with some tens of megabytes."""
    done = subprocess.run([sys.executable, "-c", MEASURE, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60_000  # KB
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*/*")) > 250_000_000


# Splits


def test_the_newest_conversations_are_held_out() -> None:
    rows = make_rows(1_000)
    train, held_out, repeated = split(rows, by_time=True)
    assert train.tolist() == list(range(800))
    assert held_out.tolist() == list(range(800, 1_000))
    assert repeated == 0


@pytest.mark.parametrize("by_time", [True, False])
def test_a_conversation_is_on_one_side(by_time: bool) -> None:
    rows = make_rows(1_000)
    rows = replace(rows, group=np.random.default_rng(1).integers(0, 150, 1_000))
    train, held_out, _ = split(rows, by_time)
    assert not set(rows.group[train]) & set(rows.group[held_out])
    assert len(train) + len(held_out) == 1_000
    assert 200 <= len(held_out) < 230
    if by_time:
        last = {group: rows.at[rows.group == group].max() for group in range(150)}
        assert max(last[group] for group in rows.group[train]) < min(last[group] for group in rows.group[held_out])


def test_a_conversation_across_the_border_is_held_out() -> None:
    rows = make_rows(1_000)
    rows.group[10] = rows.group[990]
    train, held_out, _ = split(rows, by_time=True)
    assert 10 in held_out
    assert len(held_out) == 200
    assert rows.at[train].max() < rows.at[held_out].max()


def test_an_ask_is_on_one_side() -> None:
    rows = make_rows(1_000)
    rows.prompts[950:] = rows.prompts[:50]
    rows.prompts[[20, 940]] = NO_PROMPT  # not known: it may be any
    train, held_out, repeated = split(rows, by_time=True)
    assert repeated == 49
    assert not set(rows.prompts[train]) & set(rows.prompts[held_out]) - {NO_PROMPT}
    assert 940 in held_out
    assert {960, 999} & {*held_out, *train} == set()


def test_without_a_time_the_order_does_not_count() -> None:
    rows = make_rows(1_000)
    shuffled = np.random.default_rng(3).permutation(1_000)
    _, held_out, _ = split(rows, by_time=False)
    _, again, _ = split(rows[shuffled], by_time=False)
    assert set(rows.group[held_out]) == set(rows.group[shuffled][again])
    assert 50 < np.median(held_out) < 950
    assert np.ptp(held_out) > 900


@pytest.mark.parametrize(("rows", "held_out"), [(0, 0), (1, 1), (50, 25), (200, 100), (400, 100), (1_000, 200)])
def test_how_much_is_held_out(rows: int, held_out: int) -> None:
    assert HELD_OUT_ROWS == 100
    assert len(split(make_rows(rows), by_time=True).held_out) == held_out
