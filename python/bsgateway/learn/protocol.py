"""RouteLLM's measure of a router (arXiv 2406.18665), from outcomes of a cheap and a dear model that are known.

A router's score orders the requests; the top x go to the dear model. The quality at x is the mean outcome, PGR(x) the
share of the gap between the two models that it recovers. APGR is the area under PGR over x, by the trapezoid rule on 10
equal bins: chance reaches 0.5. CPT(p) is the least share of dear calls that recovers a share p of the gap. Where scores
are equal the order is random; what is computed is its expectation, not a draw.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..errors import LearningError
from .rows import Floats, Rows

BINS = 10
DRAWS = 1_000
"""Bootstrap draws of an interval."""
INTERVAL = (0.025, 0.975)
SHARES: Floats = np.linspace(0.0, 1.0, BINS + 1)

_TRIES = 1_000


class Ranking:
    """The order that scores, float64 [n], put requests in: the highest first."""

    def __init__(self, score: Floats) -> None:
        self._order = np.argsort(-score, kind="stable")
        ordered = score[self._order]
        self._ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(score) - 1)

    def curve(self, gain: Floats, weight: Floats | None = None) -> tuple[Floats, Floats]:
        """PGR as a line of straight pieces: shares of dear calls from 0 to 1, and PGR there.

        `gain`: float64 [n], by how much the dear model's outcome is better; `weight`: float64 [n], what each request
        counts, 1 by default. Raises ValueError if the dear model is not better on the whole.
        """
        weight = np.ones(len(gain)) if weight is None else weight
        calls = np.cumsum(weight[self._order])[self._ends]
        gained = np.cumsum((gain * weight)[self._order])[self._ends]
        if not gained[-1] > 0.0:
            raise ValueError("the dear model is not better")
        return np.append(0.0, calls / calls[-1]), np.append(0.0, gained / gained[-1])

    def apgr(self, gain: Floats, weight: Floats | None = None) -> float:
        """See `curve`."""
        return area(pgr(*self.curve(gain, weight)))

    def cpt(self, part: float, gain: Floats, weight: Floats | None = None) -> float:
        """The least share of dear calls that recovers `part`, 0-1, of the gap. See `curve`."""
        calls, gained = self.curve(gain, weight)
        at = int(np.argmax(gained >= part))
        if at == 0:
            return 0.0
        step = (part - gained[at - 1]) / (gained[at] - gained[at - 1])
        return float(calls[at - 1] + step * (calls[at] - calls[at - 1]))


def pgr(calls: Floats, gained: Floats) -> Floats:
    """PGR at the 11 shares `SHARES`, from a curve of `Ranking`."""
    return np.asarray(np.interp(SHARES, calls, gained), dtype=np.float64)


def area(points: Floats) -> float:
    """The area under PGR at `SHARES`: APGR."""
    return float((points.sum() - 0.5 * (points[0] + points[-1])) / BINS)


def gap(rows: Rows) -> Floats:
    """By how much the dear model is better on each row, float64 [n]. Raises LearningError if it is not on the whole."""
    gain = rows.strong - rows.weak
    if not len(rows):
        raise LearningError("no rows to measure on")
    if np.isnan(gain).any():
        raise LearningError("an outcome is missing: only rows with both outcomes can be measured on")
    if not (gain * rows.weight).sum() > 0.0:
        raise LearningError(
            f"the strong model ({rows.strong.mean():.3f} on average) is not better than the weak one "
            f"({rows.weak.mean():.3f}) on these {len(rows):,} rows: there is nothing to gain by routing"
        )
    return gain


class Draws:
    """Bootstrap weights of rows: whole groups, drawn with replacement. The same in every process.

    Draws on which the dear model is not better have no APGR, and are drawn again.
    """

    def __init__(self, rows: Rows, seed: int = 0) -> None:
        self._gain = gap(rows)
        self._base = rows.weight
        groups, self._member = np.unique(rows.group, return_inverse=True)
        self._groups = len(groups)
        self.random = np.random.default_rng(seed)

    def one(self) -> Floats:
        """What each row counts in the next draw, float64 [n]."""
        for _ in range(_TRIES):
            chosen = self.random.integers(0, self._groups, self._groups)
            weight = np.bincount(chosen, minlength=self._groups)[self._member] * self._base
            if (self._gain * weight).sum() > 0.0:
                return np.asarray(weight, dtype=np.float64)
        raise LearningError("too few rows for an interval: the dear model is hardly ever better on a draw of them")


def bootstrap(scores: Mapping[str, Floats], rows: Rows, draws: int = DRAWS, seed: int = 0) -> dict[str, Floats]:
    """APGR of several routers by name: the first value is the one on all rows, then one for each bootstrap draw of
    whole groups, the same draws for every router. float64 [1 + draws]. Raises LearningError."""
    gain = gap(rows)
    sample = Draws(rows, seed)
    rankings = {name: Ranking(np.asarray(score, dtype=np.float64)) for name, score in scores.items()}
    found = {name: np.empty(1 + draws) for name in scores}
    for at in range(1 + draws):
        weight = sample.one() if at else rows.weight
        for name, ranking in rankings.items():
            found[name][at] = ranking.apgr(gain, weight)
    return found


def permutation(random: np.random.Generator, count: int) -> Floats:
    """Scores that put requests in a random order."""
    scores: npt.NDArray[np.int64] = random.permutation(count)
    return scores.astype(np.float64)
