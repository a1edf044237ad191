"""The columns of the linear model: the words as they are, and each dense input as a line that may bend at quantiles.

What is fitted on these columns is a curve of straight pieces for each input, so that the gateway needs no columns: it
looks up each curve once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .contrast import Contrast
from .rows import Floats, Rows

SAMPLE = 50_000
"""Rows that the quantiles are taken from, evenly spread over all."""

_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Basis:
    """`I` inputs, `K` knots. `knots`: float64 [I, K], ascending; between the first and the last an input counts as it
    is, outside it counts as the nearer of the two. `buckets`: the words' buckets that are columns, in ascending order;
    others count for nothing. `mean`, `deviation`: float64 [I (K - 1)] of the expanded columns.
    `kept`: bool [I (K - 1)], the columns that vary. `scale`: their standard deviation, against the words' length 1.
    `contrast`: one more column, the last."""

    knots: Floats
    buckets: npt.NDArray[np.int64]
    mean: Floats
    deviation: Floats
    kept: npt.NDArray[np.bool_]
    scale: float
    contrast: Contrast | None = None

    @classmethod
    def of(
        cls,
        inputs: Floats,
        buckets: npt.NDArray[np.int64],
        quantiles: tuple[float, ...],
        clip: float,
        scale: float,
    ) -> Basis:
        """The basis for rows like these. Inputs count as far as `clip` standard deviations from their mean."""
        counted = np.where(np.isnan(inputs).all(axis=0), 0.0, inputs)
        mean, deviation = np.nanmean(counted, axis=0), np.nanstd(counted, axis=0)
        low = np.maximum(np.nanmin(counted, axis=0), mean - clip * deviation)
        high = np.minimum(np.nanmax(counted, axis=0), mean + clip * deviation)
        bends = np.nanquantile(counted, quantiles, axis=0).reshape(len(quantiles), inputs.shape[1])
        knots = np.vstack((low, np.clip(bends, low, high), high)).T
        empty = np.zeros(inputs.shape[1] * (knots.shape[1] - 1))
        columns = cls(knots, buckets, empty, np.ones_like(empty), np.ones(len(empty), bool), 1.0).expand(counted)
        spread = np.nanstd(columns, axis=0)
        kept = spread > 1e-9
        return cls(knots, buckets, np.nanmean(columns, axis=0), np.where(kept, spread, 1.0), kept, scale)

    def expand(self, inputs: Floats) -> Floats:
        """The dense columns of inputs, float64 [n, kept]; 0 for an input that is NaN."""
        found = np.clip(inputs, self.knots[:, 0], self.knots[:, -1])
        bends = [np.maximum(found - self.knots[:, at], 0.0) for at in range(1, self.knots.shape[1] - 1)]
        columns = np.hstack([found, *bends])[:, self.kept]
        columns = (columns - self.mean[self.kept]) / self.deviation[self.kept] * self.scale
        return np.asarray(np.nan_to_num(columns), dtype=np.float64)

    def __call__(self, rows: Rows) -> tuple[sp.csr_matrix, Floats]:
        """The words of rows, and their dense columns."""
        place = np.full(rows.words.shape[1], -1)
        place[self.buckets] = np.arange(len(self.buckets))
        words, dense = rows.words.astype(np.float64), self.expand(rows.inputs)
        if self.contrast is not None:
            dense = np.column_stack((dense, self.contrast.column(rows)))
        found = place[words.indices]
        if (found < 0).any():
            return words[:, self.buckets], dense
        shape = (words.shape[0], len(self.buckets))
        return sp.csr_matrix((words.data, found, words.indptr), shape=shape), dense

    def curves(self, coefficients: Floats) -> Floats:
        """What the dense columns add up to with `coefficients`, float64 [kept], at each knot: float64 [I, K]."""
        inputs, knots = self.knots.shape
        weights = np.zeros(len(self.kept))
        weights[self.kept] = coefficients * self.scale / self.deviation[self.kept]
        heights = np.empty((inputs, knots))
        for at in range(knots):
            found = self.knots[:, at]
            bends = [np.maximum(found - self.knots[:, bend], 0.0) for bend in range(1, knots - 1)]
            columns = np.concatenate([found, *bends]) - self.mean
            heights[:, at] = (columns * weights).reshape(knots - 1, inputs).sum(axis=0)
        return heights

    def __repr__(self) -> str:
        digest = hashlib.sha256()
        for field in fields(self):
            value = getattr(self, field.name)
            digest.update(repr(value).encode() if field.name == "contrast" else np.asarray(value).tobytes())
        return f"Basis({digest.hexdigest()})"


def occurring(rows: Rows) -> npt.NDArray[np.int64]:
    """The buckets of words that occur in rows, in ascending order; the rows may lie in files."""
    found = np.zeros(rows.words.shape[1], bool)
    for at in range(0, len(rows.words.indices), _AT_ONCE):
        found[rows.words.indices[at : at + _AT_ONCE]] = True
    return np.flatnonzero(found)


def sample(index: npt.NDArray[np.intp], count: int = SAMPLE) -> npt.NDArray[np.intp]:
    """At most `count` of the positions, evenly spread."""
    return index[:: max(1, -(-len(index) // count))]
