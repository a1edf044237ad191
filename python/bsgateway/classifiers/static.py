"""Strategy `static`: the weighted signals the core has already computed. A prior, not a measurement of difficulty."""

from __future__ import annotations

from ..core import core
from ..decision import Contribution, Strategy
from . import Classification


class StaticClassifier:
    """Hands on the score of the analysis."""

    def classify(self, analysis: core.Analysis) -> Classification:
        """The analysis' own score and contributions."""
        shares = tuple(Contribution(c.signal, c.value, c.weight, c.points) for c in analysis.contributions)
        return Classification(Strategy.STATIC, analysis.raw_score, shares)
