"""Bootstrap intervals of sums whose parts come in clusters, without any library and in fixed memory."""

from __future__ import annotations

import random
from array import array

REPLICATES = 500
LEAST = 10
"""Clusters below which an interval would say little."""
SEED = 20240612
"""Any number: the same log gives the same interval."""


class Totals:
    """A sum, kept by cluster. Clusters share `buckets` by their hash: what is joined by chance stays independent of the
    rest, so the interval holds, and it is only a little less exact."""

    def __init__(self, buckets: int) -> None:
        self._sums = array("d", bytes(8 * buckets))
        self._filled = bytearray(buckets)

    def add(self, bucket: int, value: float) -> None:
        """Add to the sum of a bucket."""
        self._sums[bucket] += value
        self._filled[bucket] = 1

    def join(self, other: Totals) -> None:
        """Add the sums of other clusters, or of the same."""
        for bucket, (value, filled) in enumerate(zip(other._sums, other._filled, strict=True)):
            if filled:
                self.add(bucket, value)

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Percentile interval of the sum, by drawing clusters anew; None for fewer than `LEAST` of them."""
        sums = [value for value, filled in zip(self._sums, self._filled, strict=True) if filled]
        if len(sums) < LEAST:
            return None
        draw = random.Random(SEED)  # noqa: S311 - no secret is made of it
        found = sorted(sum(draw.choices(sums, k=len(sums))) for _ in range(REPLICATES))
        cut = int((1 - level) / 2 * REPLICATES)
        return found[cut], found[-1 - cut]
