"""Which rows are trained on, and which are held out to measure the model by: nothing of the one is in the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .rows import Rows
from .same_ask import NO_PROMPT

HELD_OUT_SHARE = 0.2
"""Of the rows, so many are held out,"""
HELD_OUT_ROWS = 100
"""but at least so many,"""
HELD_OUT_MOST = 0.5
"""at most this share,"""
HELD_OUT_ENOUGH = 50_000
"""and no more than these, which tell models apart by less than anybody would notice."""

Index = npt.NDArray[np.intp]

_NONE = np.empty(0, np.uint32)


class Split(NamedTuple):
    """Positions of rows, each in ascending order. `repeated`: how many rows are on neither side, as they would be held
    out and their ask is also in a row that is trained on, or was before."""

    train: Index
    held_out: Index
    repeated: int


def split(rows: Rows, by_time: bool, seen: npt.NDArray[np.uint32] = _NONE) -> Split:
    """Hold out the newest conversations, or, where rows have no time, some that their hash chooses.

    A conversation counts as new as its last row, so that all that is trained on was over before the newest of what is
    held out; and it is whole on one side. An ask that is on both sides stays where it is trained on. `seen`: hashes of
    asks that what is fitted has been trained on before.
    """
    groups, first, member = np.unique(rows.group, return_index=True, return_inverse=True)
    key = _scattered(groups)
    if by_time:
        key = np.full(len(groups), -np.inf)
        np.maximum.at(key, member, rows.at)
    order = np.lexsort((first, key))[::-1]  # the newest first
    counts = np.bincount(member, minlength=len(groups))[order]
    before = np.cumsum(counts) - counts
    chosen = np.zeros(len(groups), bool)
    chosen[order[before < _wanted(len(rows))]] = True
    held_out = chosen[member]
    known = np.concatenate((rows.prompts[~held_out], seen))
    repeated = held_out & (rows.prompts != NO_PROMPT) & np.isin(rows.prompts, known)
    return Split(np.flatnonzero(~held_out), np.flatnonzero(held_out & ~repeated), int(repeated.sum()))


def _wanted(rows: int) -> float:
    return min(max(HELD_OUT_SHARE * rows, HELD_OUT_ROWS), HELD_OUT_MOST * rows, HELD_OUT_ENOUGH)


def _scattered(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """A number for each group that has nothing to do with it, and is always the same (splitmix64)."""
    mixed = groups.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.float64)
