"""Ridge regression on a design matrix whose rows lie in parts, each with whoever holds it.

The same as scikit-learn's `Ridge` on all rows at once: min over b, c of sum w (y - x b - c)^2 + alpha |b|^2. What goes
to and fro are vectors as long as a row is wide; of the rows themselves only one number each, for the margins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, cg

from ..errors import LearningError
from .rows import Floats, Rows
from .shards import Shards


class Shard:
    """A part of the rows, and the blocks that were made of it last, with what says which they are."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.blocks: tuple[str, tuple[sp.csr_matrix, Floats]] | None = None


Basis = Callable[[Rows], tuple[sp.csr_matrix, Floats]]
"""The columns of rows: a sparse block, float64 [n, s], and to its right a dense one, float64 [n, d]. It can be pickled
and says by `repr` what it is: blocks are kept for as long as the same one asks for them."""

TOLERANCE = 1e-10
"""Of the residual, relative to the right-hand side."""
STEPS = 2_000


class Solution(NamedTuple):
    """`coefficients`: float64 [s + d]; `intercept`; how many `steps` it took."""

    coefficients: Floats
    intercept: float
    steps: int


class DistributedDesign(LinearOperator):  # type: ignore[misc] # it has no types
    """The design matrix [n, s + d] of all rows, in the order of the parts."""

    def __init__(self, shards: Shards, basis: Basis) -> None:
        self._shards = shards
        self._basis = shards.put(basis)
        sizes = shards.map(_size, self._basis)
        self._ends = np.cumsum([rows for rows, _ in sizes])
        super().__init__(np.float64, (int(self._ends[-1]), sizes[0][1]))

    def parts(self, values: Floats) -> list[Floats]:
        """Values of all rows, by part."""
        return list(np.split(values, self._ends[:-1]))

    def ridge(self, target: Floats, weight: Floats, alpha: float, tolerance: float = TOLERANCE) -> Solution:
        """The coefficients that fit `target` best, both float64 [n]; rows of weight 0 count for nothing.

        Conjugate gradients on the centred normal equations, preconditioned by their diagonal, until the residual is
        `tolerance` of the right-hand side.
        Raises LearningError where they do not converge.
        """
        total = float(weight.sum())
        each = [
            (self._shards.put(values), self._shards.put(weights))
            for values, weights in zip(self.parts(target), self.parts(weight), strict=True)
        ]
        weights = [(handle,) for _, handle in each]
        moments = _sum(self._shards.map(_moments, self._basis, each=each))
        mean = moments[0] / total
        level = float(target @ weight) / total
        diagonal = moments[1] - total * mean**2 + alpha

        def normal(vector: Floats) -> Floats:
            center = float(mean @ vector)
            product = _sum(self._shards.map(_normal, self._basis, vector, center, each=weights))
            found: Floats = product + alpha * vector
            return found

        width = self.shape[1]
        steps = 0

        def count(_: Floats) -> None:
            nonlocal steps
            steps += 1

        coefficients, failed = cg(
            LinearOperator((width, width), matvec=normal, dtype=np.float64),
            moments[2] - level * moments[0],
            rtol=tolerance,
            maxiter=STEPS,
            M=LinearOperator((width, width), matvec=lambda vector: vector / diagonal, dtype=np.float64),
            callback=count,
        )
        if failed:
            raise LearningError(f"the fit has not converged in {STEPS} steps: take a larger alpha than {alpha:g}")
        return Solution(coefficients, level - float(mean @ coefficients), steps)

    def _matvec(self, vector: Floats) -> Floats:
        return np.concatenate(self._shards.map(_times, self._basis, np.ravel(vector)))

    def _rmatvec(self, vector: Floats) -> Floats:
        each = [(part,) for part in self.parts(np.ravel(vector))]
        product: Floats = _sum(self._shards.map(_transposed_times, self._basis, each=each))
        return product


def _sum(parts: Sequence[Any]) -> Any:
    """One after the other: in the order of the parts, whoever is the first to be done."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _blocks(shard: Shard, basis: Basis) -> tuple[sp.csr_matrix, Floats]:
    name = repr(basis)
    if shard.blocks is None or shard.blocks[0] != name:
        shard.blocks = (name, basis(shard.rows))
    return shard.blocks[1]


def _size(shard: Shard, basis: Basis) -> tuple[int, int]:
    words, dense = _blocks(shard, basis)
    return len(dense), words.shape[1] + dense.shape[1]


def _times(shard: Shard, basis: Basis, vector: Floats) -> Floats:
    words, dense = _blocks(shard, basis)
    return np.asarray(words @ vector[: words.shape[1]] + dense @ vector[words.shape[1] :])


def _transposed_times(shard: Shard, basis: Basis, vector: Floats) -> Floats:
    words, dense = _blocks(shard, basis)
    return np.concatenate((words.T @ vector, dense.T @ vector))


def _moments(shard: Shard, basis: Basis, target: Floats, weight: Floats) -> Floats:
    """Of each column, by weight: its sum, that of its squares, and of its product with the target: [3, s + d]."""
    words, dense = _blocks(shard, basis)
    squares = np.concatenate((words.multiply(words).T @ weight, (dense**2).T @ weight))
    return np.stack(
        (
            _transposed_times(shard, basis, weight),
            squares,
            _transposed_times(shard, basis, weight * target),
        )
    )


def _normal(shard: Shard, basis: Basis, vector: Floats, center: float, weight: Floats) -> Floats:
    return _transposed_times(shard, basis, weight * (_times(shard, basis, vector) - center))
