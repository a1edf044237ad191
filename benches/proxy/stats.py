"""Medians, percentiles and paired ratios."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """A median and the distance between the quartiles; `iqr` is 0 for a single value."""

    median: float
    iqr: float


def spread(values: Sequence[float]) -> Spread:
    """Median and interquartile range (inclusive method). Raises StatisticsError without values."""
    if len(values) < 2:
        return Spread(statistics.median(values), 0.0)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, high - low)


def paired_ratios(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """value/baseline, each of the same round: what slows a round down for both cancels out.

    Raises ValueError when the two are not of the same rounds.
    """
    return [value / other for value, other in zip(values, baseline, strict=True)]


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Where the median lies with at least this confidence, whatever the distribution: the pair of order statistics that
    the binomial distribution with p = 1/2 gives. With fewer than 6 values at 0.95 there is no such pair; then it is the
    smallest and the largest.
    """
    ordered, below = sorted(values), 0.0
    rank = 0
    while (below := below + math.comb(len(ordered), rank) / 2 ** len(ordered)) <= (1 - confidence) / 2:
        rank += 1
    rank = max(rank, 1)
    return ordered[rank - 1], ordered[-rank]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]
