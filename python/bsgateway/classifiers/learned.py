"""Strategy `ml`: the probability that the cheap model fails, or loses, as the learned model in force sees it.

The core has computed it. Without a model, which is no ordinary state, the static score takes its place and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap

from ..core import core
from ..decision import Contribution, Strategy
from . import Classification
from .static import StaticClassifier

PRIOR_FLOORS = ("agent_steps", "agent_errors")
"""Floors of the static score that lift the score of a prior, too: it was made from single questions and has never seen
an agent at work."""


class LearnedClassifier:
    """Hands on 100 times the probability. `priors`: ids of models that are a prior."""

    def __init__(self) -> None:
        self.priors: frozenset[str] = frozenset()
        self._static = StaticClassifier()
        self._floors = PriorFloors()

    def classify(self, analysis: core.Analysis) -> Classification:
        """The score of the model in force and where it comes from."""
        learned = analysis.learned
        if learned is None:
            return self._static.classify(analysis)
        scorer_id, probability, shares = learned
        score = 100.0 * probability
        contributions = tuple(starmap(Contribution, shares))
        if scorer_id in self.priors:
            name, height = self._floors.highest(analysis.features)
            if height > score:
                contributions += (Contribution(f"floor:{name}", height, 0.0, height - score),)
                score = height
        return Classification(Strategy.ML, score, contributions, scorer_id)


class PriorFloors:
    """Those of PRIOR_FLOORS, for feature vectors."""

    def __init__(self) -> None:
        self._floors = [
            (name, core.FEATURE_NAMES.index(feature), least, height)
            for name, feature, least, height in core.score_table()["floors"]
            if name in PRIOR_FLOORS
        ]

    def highest(self, features: Sequence[float]) -> tuple[str, float]:
        """Name and height of the highest floor that applies; ("", 0) if none does."""
        best, highest = "", 0.0
        for name, feature, least, height in self._floors:
            if features[feature] >= least and height > highest:
                best, highest = name, height
        return best, highest
