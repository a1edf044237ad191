"""The labelled asks of `tests/data/obvious_asks.tsv`, with the tiers of the reference configuration."""

from __future__ import annotations

from collections.abc import Mapping

from benches.llm.accuracy import ASKS, PLACES, read

from bsgateway.check import load_config
from bsgateway.classifiers.llm.prompt import bands_of
from bsgateway.config import Tier

from .gateways import REFERENCE


def tiers() -> Mapping[str, Tier]:
    """Those of the reference configuration, one for each place."""
    return load_config(REFERENCE).routing.tiers


def descriptions() -> dict[str, str]:
    """Tier -> what belongs there, as our own question says it, the lowest first."""
    return {band.name: band.description for band in bands_of(tiers())}


def tiers_of_asks() -> dict[str, str]:
    """Ask -> its tier."""
    names = dict(zip(PLACES, descriptions(), strict=True))
    return {row.ask: names[row.place] for row in read(ASKS)}


def some(labelled: Mapping[str, str], count: int) -> list[str]:
    """So many of the asks at most, spread evenly over the tiers and the file."""
    asks = list(labelled)
    step = max(len(asks) / count, 1.0)
    return [asks[int(place * step)] for place in range(min(count, len(asks)))]
