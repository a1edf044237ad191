"""What the prior says differently for having been told of everyday requests: one more column of a fit.

The prior is made of public outcomes and of requests that its authors judged. On traffic like the public outcomes, the
prior without the judged requests orders better; on other traffic it knows nothing. Which of the two an operator's
traffic is like is what a few labels tell.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from .model_file import Model
from .rows import Floats, Rows


def deviation(found: Floats, weight: Floats) -> float:
    """The standard deviation by weight."""
    return float(np.sqrt(np.average((found - np.average(found, weights=weight)) ** 2, weights=weight)))


@dataclass(frozen=True)
class Contrast:
    """`outcomes`: the prior without the judged requests. The column is the margin of each times its factor, and
    `offset`."""

    prior: Model
    outcomes: Model
    prior_factor: float
    outcomes_factor: float
    offset: float

    @classmethod
    def of(
        cls, prior: Model, outcomes: Model, margins: tuple[Floats, Floats], weight: Floats, scale: float
    ) -> Contrast | None:
        """The column for rows with these `margins` of the two, float64 [n] each, and this weight: of mean 0 and
        standard deviation `scale`. None where the two say the same."""
        spreads = [deviation(each, weight) for each in margins]
        if min(spreads) < 1e-9:
            return None
        difference = margins[1] / spreads[1] - margins[0] / spreads[0]
        if (spread := deviation(difference, weight)) < 1e-9:
            return None
        factor = scale / spread
        offset = -factor * float(np.average(difference, weights=weight))
        return cls(prior, outcomes, -factor / spreads[0], factor / spreads[1], offset)

    def column(self, rows: Rows) -> Floats:
        """float64 [n]."""
        return (
            self.prior_factor * self.prior.margins(rows)
            + self.outcomes_factor * self.outcomes.margins(rows)
            + self.offset
        )

    def __repr__(self) -> str:
        digest = hashlib.sha256(repr((self.prior_factor, self.outcomes_factor, self.offset)).encode())
        for model in (self.prior, self.outcomes):
            for values in (model.words, model.knots, model.curves):
                digest.update(values.tobytes())
        return f"Contrast({digest.hexdigest()})"
