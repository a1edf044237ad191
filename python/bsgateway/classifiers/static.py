"""Strategy `static`: the weighted signals the core has already computed. A prior, not a measurement of difficulty."""

from __future__ import annotations

from itertools import starmap

from ..core import core
from ..decision import Contribution, Strategy
from . import Classification


class StaticClassifier:
    """Hands on the score of the analysis."""

    def classify(self, analysis: core.Analysis) -> Classification:
        """The analysis' own score and contributions."""
        return Classification(Strategy.STATIC, analysis.raw_score, tuple(starmap(Contribution, analysis.contributions)))
