"""What another policy would have earned on the log: off-policy estimates from explored requests.

While tiers are explored, the log knows the probability (propensity) with which each tier was chosen. A request counts
for another policy where both chose the same tier, by one over that probability. Two estimates: the self-normalised
inverse propensity score (Swaminathan & Joachims, "The Self-Normalized Estimator for Counterfactual Learning", 2015) and
the doubly robust one (Dudik, Langford & Li, "Doubly Robust Policy Evaluation and Learning", 2011) with a regression of
the reward on the score for each tier, fitted on other conversations than those it is used on. Intervals are from a
bootstrap of whole conversations, whose requests are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LinearRegression

from ..errors import LearningError

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

LEAST_ESS = 50.0
"""Effective sample size below which there is no estimate."""
REPLICATES = 1_000
MOST_CLUSTERS = 2_000
"""More conversations than this are drawn in blocks: as good for the interval, in less memory."""
FOLDS = 2
LEAST_ROWS = 10
"""Rows of a tier below which its regression is the mean of all."""
SEED = 20240612

REWARDS: Mapping[str, str] = {
    "cost": "US dollars of a request that was answered",
    "failure": "share of requests that failed, were refused or filtered",
    "rating": "mean rating, 0 to 1, of requests that were rated",
    "comparison": "mean score, 0 to 1, that the judge of dual runs gave to the tier's answer",
}
"""What can be estimated: word -> what it says. Requests without the reward are left out of its estimate."""


@dataclass(frozen=True)
class Explored:
    """`n` requests that could have been explored.

    `score`: float64 [n], 0-100. `tier`: int64 [n], the place of the tier that was chosen. `propensity`: float64 [n], in
    (0, 1], with which it was. `group`: int64 [n], the same for requests of one conversation. `rewards`: one of REWARDS
    -> float64 [n], NaN where unknown. `tiers`: names of the tiers, by place.
    """

    tiers: tuple[str, ...]
    score: Floats
    tier: Places
    propensity: Floats
    group: Places
    rewards: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """The mean reward that a policy would have earned, over the `rows` whose reward is known.

    `effective` is the effective sample size. `naive` is the mean of the rows where the policies agree, without weights:
    it is biased, and shown for comparison only.
    """

    reward: str
    rows: int
    effective: float
    naive: float
    snips: Interval
    doubly_robust: Interval


def effective_sample_size(weights: Floats) -> float:
    """Kish's: rows of equal weight that would tell as much. 0 where nothing has a weight."""
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def estimate(explored: Explored, target: Places, reward: str, seed: int = SEED) -> Estimate:
    """What a policy that chooses the tiers `target`, int64 [n], would have earned of `reward`.

    Raises LearningError where the log cannot tell: the effective sample size is below LEAST_ESS.
    """
    known = ~np.isnan(explored.rewards[reward])
    rows, earned = int(known.sum()), explored.rewards[reward][known]
    chosen, wanted, group = explored.tier[known], target[known], explored.group[known]
    agrees = chosen == wanted
    weights = np.where(agrees, 1.0 / explored.propensity[known], 0.0)
    effective = effective_sample_size(weights)
    if effective < LEAST_ESS:
        raise LearningError(
            f"no off-policy estimate of {reward}: the {rows:,} requests that have it tell as much as {effective:.0f} "
            f"for this policy, where {LEAST_ESS:.0f} are needed; have more explored (routing.learning.explore) and "
            "wait, or look at more days"
        )
    expected, row = _regression(explored.score[known], chosen, earned, group, len(explored.tiers)), np.arange(rows)
    corrected = expected[row, wanted] + weights * (earned - expected[row, chosen])
    clusters = _clusters(group)
    drawn = _draws(int(clusters.max()) + 1, seed)
    return Estimate(
        reward,
        rows,
        effective,
        float(earned[agrees].mean()),
        _ratio(weights * earned, weights, clusters, drawn),
        _ratio(corrected, np.ones(rows), clusters, drawn),
    )


def _regression(score: Floats, tier: Places, earned: Floats, group: Places, tiers: int) -> Floats:
    """The expected reward of each row at each tier, float64 [n, tiers], by a parabola in the score, fitted without the
    fold that the row's conversation is in."""
    expected = np.empty((len(score), tiers))
    x = np.column_stack((score / 100.0, np.square(score / 100.0)))
    fold = _clusters(group) % FOLDS
    for part in range(FOLDS):
        held, used = fold == part, fold != part
        if not used.any():
            used = held
        for place in range(tiers):
            mine = used & (tier == place)
            if int(mine.sum()) < LEAST_ROWS:
                expected[held, place] = earned[used].mean()
            else:
                guess: Any = LinearRegression().fit(x[mine], earned[mine]).predict(x[held])
                expected[held, place] = np.clip(guess, earned.min(), earned.max())
    return expected


def _clusters(group: Places) -> Places:
    """Groups as numbers from 0, MOST_CLUSTERS at most."""
    numbered: Places = np.unique(group, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return numbered % MOST_CLUSTERS


@lru_cache(maxsize=2)  # every reward of a policy draws the same
def _draws(clusters: int, seed: int) -> Floats:
    """How often each cluster is drawn, float64 [REPLICATES, clusters]."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=REPLICATES).astype(np.float64)


def _ratio(over: Floats, under: Floats, clusters: Places, drawn: Floats) -> Interval:
    """Sum of `over` by sum of `under`, with the percentile interval of the bootstrap."""
    sums = [np.bincount(clusters, weights=values, minlength=drawn.shape[1]) for values in (over, under)]
    above, below = drawn @ sums[0], drawn @ sums[1]
    possible = below > 0
    low, high = np.percentile(above[possible] / below[possible], (2.5, 97.5))
    return Interval(float(over.sum() / under.sum()), float(low), float(high))
