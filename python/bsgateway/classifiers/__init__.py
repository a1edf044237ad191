"""Classifiers: how hard is this request? One Protocol, one module per strategy."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ..core import core
from ..decision import Contribution, Strategy


class Classification(msgspec.Struct, frozen=True):
    """`raw_score` is 0-100 before bias and rounding; `contributions` add up to it. `scorer_id` names the model file
    that made it."""

    strategy: Strategy
    raw_score: float
    contributions: tuple[Contribution, ...]
    scorer_id: str | None = None


class Classifier(Protocol):
    """Scores one analysed request. May raise: the caller fails open."""

    def classify(self, analysis: core.Analysis) -> Classification:
        """The score of `analysis` and where it comes from."""
        ...
