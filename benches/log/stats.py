"""Times of single calls -> what a table says of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benches.proxy.stats import percentile


def summary(seconds: Sequence[float], unit: float) -> dict[str, float]:
    """Median, high percentiles and maximum, in units of `unit` seconds. Raises StatisticsError without values."""
    return {
        "median": median(seconds) / unit,
        "p99": percentile(seconds, 0.99) / unit,
        "p999": percentile(seconds, 0.999) / unit,
        "max": max(seconds) / unit,
    }
