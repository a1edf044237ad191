"""Training on labelled rows that lie in parts, each with whoever holds it: the same steps as in `train`.

To this process come the labels, conversations and times of all rows (some 80 bytes each), their margins, and inputs and
words of a bounded sample. The rest stays where it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .basis import sample
from .dataset import concat
from .fit import Settings, by_part, fit_parts
from .labelled import LabelledPart
from .model_file import Model
from .rows import Floats, Rows
from .shards import Shards
from .split import split
from .train import (
    Incumbent,
    Trained,
    beginning,
    check_both,
    check_enough,
    choose_target,
    compared,
    concluded,
    scorers,
    seen_by,
    to_measure,
    usable,
)

SAMPLE_ROWS = 20_000
"""Held-out rows that come here as they are, to tell which inputs move the margin most."""

Index = npt.NDArray[np.intp]


def train_parts(
    shards: Shards,
    incumbent: Incumbent,
    prior: Model | None,
    provenance: Mapping[str, Any],
    settings: Settings | None = None,
) -> Trained:
    """Fit a model to the rows of all parts, `LabelledPart`s, and hold it against `incumbent`; see `train`.

    Raises LearningError where there are too few labels.
    """
    labels = shards.map(_labels)
    lengths = [len(part) for part in labels]
    rows = concat(labels)
    target = choose_target(rows)
    chosen = usable(rows, target)
    prior = beginning(prior, rows.prompts[chosen])
    sides = split(rows[chosen], by_time=True, seen=seen_by(prior))
    train, held_out = chosen[sides.train], to_measure(rows, chosen[sides.held_out])
    check_enough(rows[held_out], len(chosen), sides.repeated)
    check_both(rows[train])
    model = fit_parts(shards, rows, train, target, prior, settings or Settings())
    scores = _scores(shards, by_part(held_out, lengths), model, incumbent, prior)
    some = concat(shards.map(_rows, each=[(index,) for index in by_part(sample(held_out, SAMPLE_ROWS), lengths)]))
    verdict = compared(model, scores, incumbent, rows[held_out], some)
    sources = Counter(rows.source[train].tolist())
    return concluded(model, verdict, target, sources, sides.repeated, provenance)


def _scores(
    shards: Shards, held_out: Sequence[Index], model: Model, incumbent: Incumbent, prior: Model | None
) -> dict[str, Floats]:
    """What everything that is compared says about the held-out rows, in their order."""
    found = shards.map(_part_scores, model, incumbent, prior, each=[(index,) for index in held_out])
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _labels(part: LabelledPart) -> Rows:
    """The rows without inputs and words."""
    return part.rows.bare()


def _rows(part: LabelledPart, index: Index) -> Rows:
    return part.rows[index]


def _part_scores(
    part: LabelledPart, model: Model, incumbent: Incumbent, prior: Model | None, index: Index
) -> dict[str, Floats]:
    rows = part.rows[index]
    return {name: scorer(rows) for name, scorer in scorers(model, incumbent, prior).items()}
