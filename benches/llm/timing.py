"""Seconds of single requests -> what a table says of them."""

from __future__ import annotations

from collections.abc import Sequence

from benches.proxy.stats import percentile


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Number of requests, and percentiles in milliseconds. Raises IndexError without any."""
    found = {f"p{share:.0f}_ms": percentile(seconds, share / 100) * 1e3 for share in (50, 95, 99)}
    return {"requests": len(seconds), **found, "max_ms": max(seconds) * 1e3}
