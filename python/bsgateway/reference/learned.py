"""The learned score: a linear model over the words of the ask and curves of the inputs, calibrated to a probability.

    margin = bias + curve_1(input_1) + ... + curve_n(input_n) + word_sum * (word_scale / sqrt(buckets))

`word_sum` adds up the whole-number weights of the ask's different buckets, so that their order does not matter.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import pairwise

from .inputs import INPUT_NAMES
from .model_file import read
from .words import WORD_BUCKETS

MOST_NAMED = 8
"""Contributions that have a name; the others are summed up as `other`."""
SAME_MARGIN = 1e-12
"""Closer margins are the same: nothing of a score is due to what lies between them."""

Contribution = tuple[str, float, float, float]
"""A share of the score: signal, what it adds to the margin, points for one of the margin, points."""


class LearnedModel:
    """A model out of the bytes of its file. `id` names it: the first 12 digits of its checksum; `kind` is prior or
    trained; `description` is the JSON text that its maker put into it. Raises ValueError with the reason for a file
    that is not exactly right (see `model_file`)."""

    def __init__(self, data: bytes) -> None:
        self._file = read(data)

    @property
    def id(self) -> str:
        return self._file.id

    @property
    def kind(self) -> str:
        return self._file.kind

    @property
    def description(self) -> str:
        return self._file.description

    def __repr__(self) -> str:
        return f"LearnedModel(id='{self.id}', kind='{self.kind}')"

    def predict(self, inputs: bytes, indptr: bytes, indices: bytes) -> tuple[bytes, bytes]:
        """Margins and probabilities, float64 [n] each, of `inputs`, float64 [n, len(INPUT_NAMES)] row by row, and of
        the word buckets `indices`, int32: those from `indptr[i]` to `indptr[i + 1]`, int64 [n + 1], belong to row i.
        Raises ValueError where these do not fit each other."""
        width = len(INPUT_NAMES)
        rows, rest = divmod(len(inputs), 8 * width)
        if rest or len(indptr) != 8 * (rows + 1) or len(indices) % 4:
            raise ValueError(f"inputs, indptr and indices must be of n x {width} float64, n + 1 int64, and int32")
        values = struct.unpack(f"={rows * width}d", inputs)
        starts = struct.unpack(f"={rows + 1}q", indptr)
        buckets = struct.unpack(f"={len(indices) // 4}i", indices)
        ascending = all(one <= other for one, other in pairwise(starts))
        if not ascending or starts[0] != 0 or starts[-1] != len(buckets):
            raise ValueError("indptr must ascend from 0 to the number of indices")
        if not all(0 <= bucket < WORD_BUCKETS for bucket in buckets):
            raise ValueError(f"indices must be from 0 to {WORD_BUCKETS - 1}")
        margins = [
            self.margin(values[row * width : (row + 1) * width], buckets[starts[row] : starts[row + 1]])
            for row in range(rows)
        ]
        probabilities = map(self.probability, margins)
        return struct.pack(f"={rows}d", *margins), struct.pack(f"={rows}d", *probabilities)

    def margin(self, inputs: Sequence[float], buckets: Sequence[int]) -> float:
        """The linear score of one ask, from its inputs and its different buckets."""
        margin = self._file.bias
        for value in self._curve_values(inputs):
            margin += value
        return margin + self._word_value(buckets)

    def probability(self, margin: float) -> float:
        """The probability, 0-1, that a margin stands for."""
        return _curve(margin, self._file.margins, self._file.probabilities)

    def explain(self, inputs: Sequence[float], buckets: Sequence[int]) -> tuple[float, tuple[Contribution, ...]]:
        """The probability for one ask, and what it is made of: points that add up to 100 times the probability.

        `base` is the score of the bias alone. A straight line leads from there to the score: each input and the
        `words` get the points of their part of the margin. The largest have names, in descending order."""
        bias = self._file.bias
        parts = [*self._curve_values(inputs), self._word_value(buckets)]
        margin = bias
        for value in parts:
            margin += value
        probability = self.probability(margin)
        base = 100.0 * self.probability(bias)
        reach = margin - bias
        slope = (100.0 * probability - base) / reach if abs(reach) > SAME_MARGIN else 0.0
        found: list[Contribution] = [("base", bias, 0.0, base)]
        order = [at for at, value in enumerate(parts) if value * slope != 0.0]
        order.sort(key=lambda at: -abs(parts[at] * slope))  # stable: of equals, the first input first
        names = (*INPUT_NAMES, "words")
        found += [(names[at], parts[at], slope, parts[at] * slope) for at in order[:MOST_NAMED]]
        if len(order) > MOST_NAMED:
            rest = 0.0
            for at in sorted(order[MOST_NAMED:]):
                rest += parts[at]
            found.append(("other", rest, slope, rest * slope))
        return probability, tuple(found)

    def _curve_values(self, inputs: Sequence[float]) -> list[float]:
        return [
            _curve(value, knots, curve)
            for value, knots, curve in zip(inputs, self._file.knots, self._file.curves, strict=True)
        ]

    def _word_value(self, buckets: Sequence[int]) -> float:
        if not buckets:
            return 0.0
        total = sum(self._file.words[bucket] for bucket in buckets)
        return total * (self._file.word_scale / math.sqrt(len(buckets)))


def _curve(value: float, knots: Sequence[float], heights: Sequence[float]) -> float:
    """Straight lines between the knots, flat outside. 0 for NaN: an unknown input says nothing, as its curve is 0 on
    the mean of what the model was trained on."""
    if value != value:
        return 0.0
    if value <= knots[0]:
        return heights[0]
    low, height = knots[0], heights[0]
    for knot, next_height in zip(knots, heights, strict=True):
        if value < knot:
            return height + (next_height - height) * ((value - low) / (knot - low))
        low, height = knot, next_height
    return height
