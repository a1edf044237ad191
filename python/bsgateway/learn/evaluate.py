"""How well routers order the prompts of an outcome file: the learned one, and the baselines beside it.

What is learned never sees what it is measured on: not a row, not another row of the same prompt, and no prior that was
trained on such a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupKFold

from ..errors import LearningError
from .fit import fit
from .model_file import Model
from .protocol import DRAWS, INTERVAL, SHARES, Draws, Ranking, area, bootstrap, gap, permutation, pgr
from .rows import Floats, Rows

__all__ = ["Baselines", "Curve", "Evaluation", "Score", "Trial", "bootstrap"]

LEAST_ROWS = 100
"""Rows that a model must not have seen, to be measured on the others' behalf."""

Index = npt.NDArray[np.intp]
Advance = Callable[[int], None]
Baselines = Mapping[str, Floats]
"""Scores of other routers by name, float64 [n] each."""


class Score(msgspec.Struct, frozen=True):
    """APGR with its 95 % interval, and the percentages of dear calls that recover 50 % and 80 % of the gap."""

    apgr: float
    low: float
    high: float
    cpt50: float
    cpt80: float


class Curve(NamedTuple):
    """PGR at `SHARES`, with its 95 % interval; float64 [11] each."""

    pgr: Floats
    low: Floats
    high: Floats


class Trial(NamedTuple):
    """Scores of each router on the rows at `test`, in their order."""

    test: Index
    scores: Mapping[str, Floats]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `rows`: of the file with both outcomes. `tested`: the rows of a trial, on average. `trained_on`:
    how `ml` came about. `prior`: what became of the prior."""

    rows: int
    tested: int
    weak: float
    strong: float
    trained_on: str
    prior: str
    routers: dict[str, Score]


def complete(rows: Rows) -> Rows:
    """The rows with both outcomes. Raises LearningError if there is no gap between the models."""
    rows = rows[np.flatnonzero(~np.isnan(rows.weak) & ~np.isnan(rows.strong))]
    gap(rows)
    return rows


def baselines(rows: Rows) -> Baselines:
    """What every router is held against."""
    return {"static": rows.static, "length": rows.length, "random": np.zeros(len(rows))}


def of_model(rows: Rows, model: Model, others: Baselines) -> list[Trial]:
    """The rows that a model has not seen, ordered by it. Raises LearningError if there are too few."""
    test = np.flatnonzero(~np.isin(rows.prompts, model.seen))
    if len(test) < LEAST_ROWS:
        raise LearningError(
            f"the model was trained on all but {len(test)} of the {len(rows):,} prompts: it cannot be measured on "
            "them. Use --cv 5 or --labels, which train on a part of the file, or --train-on with other files"
        )
    return [_trial(test, model.margins(rows[test]), others)]


def few_labels(
    rows: Rows, labels: int, splits: int, prior: Model | None, others: Baselines, advance: Advance = lambda _: None
) -> list[Trial]:
    """`splits` times: train on `labels` rows drawn at random, by group, and test on the rest. Raises LearningError."""
    if len(rows) - labels < LEAST_ROWS:
        raise LearningError(
            f"{len(rows):,} rows are too few to train on {labels:,} and test on at least {LEAST_ROWS}: ask for fewer "
            "--labels"
        )
    trials = []
    for split in range(splits):
        order = _by_group(rows, np.random.default_rng(split))
        train, test = order[:labels], np.sort(order[labels:])
        test = test[~np.isin(rows.group[test], rows.group[train])]
        trials.append(_trial(test, fit(rows[np.sort(train)], "gain", prior).margins(rows[test]), others))
        advance(labels)
    return trials


def cross_validated(
    rows: Rows, folds: int, prior: Model | None, others: Baselines, advance: Advance = lambda _: None
) -> list[Trial]:
    """All rows, each ordered by a model that was trained on the folds without it; groups are whole in a fold."""
    margins = np.empty(len(rows))
    place = _shuffled(rows, np.random.default_rng(0))
    for train, test in GroupKFold(folds).split(place, groups=place):
        margins[test] = fit(rows[train], "gain", prior).margins(rows[test])
        advance(len(test))
    return [_trial(np.arange(len(rows)), margins, others)]


def summary(rows: Rows, trials: Sequence[Trial], draws: int = DRAWS, seed: int = 0) -> dict[str, tuple[Score, Curve]]:
    """Score and curve of each router: means over trials. An interval is that of draws of rows and of trials, the rows'
    being the same in all trials; for `random`, of random orders."""
    gain = gap(rows)
    sample = Draws(rows, seed)
    rankings = [{name: Ranking(scores) for name, scores in trial.scores.items()} for trial in trials]
    points = {name: np.empty((draws, len(SHARES))) for name in trials[0].scores}
    for draw in range(draws):
        weight = sample.one()
        chosen = sample.random.integers(0, len(trials), len(trials)) if len(trials) > 1 else np.zeros(1, np.intp)
        for name, found in points.items():
            found[draw] = np.mean(
                [_points(name, rankings[at][name], trials[at].test, gain, weight, sample.random) for at in chosen],
                axis=0,
            )
    return {name: _summary(name, trials, rankings, gain, found) for name, found in points.items()}


def _summary(
    name: str, trials: Sequence[Trial], rankings: Sequence[Mapping[str, Ranking]], gain: Floats, points: Floats
) -> tuple[Score, Curve]:
    tested = [(ranking[name], gain[trial.test]) for ranking, trial in zip(rankings, trials, strict=True)]
    curve = np.mean([pgr(*ranking.curve(part)) for ranking, part in tested], axis=0)
    cpt = [100.0 * float(np.mean([ranking.cpt(share, part) for ranking, part in tested])) for share in (0.5, 0.8)]
    low, high = np.nanquantile([area(found) for found in points], INTERVAL)
    lows, highs = np.nanquantile(points, INTERVAL, axis=0)
    return Score(area(curve), float(low), float(high), *cpt), Curve(curve, lows, highs)


def _points(
    name: str, ranking: Ranking, test: Index, gain: Floats, weight: Floats, random: np.random.Generator
) -> Floats:
    """PGR of a trial on a draw of rows; NaN if the dear model is not better on the drawn rows that it tests."""
    if name == "random":
        ranking = Ranking(permutation(random, len(test)))
    try:
        return pgr(*ranking.curve(gain[test], weight[test]))
    except ValueError:
        return np.full(len(SHARES), np.nan)


def _trial(test: Index, margins: Floats, others: Baselines) -> Trial:
    return Trial(test, {"ml": margins, **{name: scores[test] for name, scores in others.items()}})


def _shuffled(rows: Rows, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """For each row a number of its group, the groups in a random order."""
    groups, member = np.unique(rows.group, return_inverse=True)
    return np.asarray(random.permutation(len(groups))[member], dtype=np.int64)


def _by_group(rows: Rows, random: np.random.Generator) -> Index:
    """Positions of all rows, in a random order in which groups stay together."""
    return np.asarray(np.argsort(_shuffled(rows, random), kind="stable"))


def without_seen(rows: Rows, model: Model) -> tuple[Model | None, str]:
    """The prior for a fit on `rows`, or None if it was trained on some of them; and what became of it, in words."""
    seen = int(np.isin(rows.prompts, model.seen).sum())
    if seen:
        return None, f"left out, it was trained on {seen:,} of the {len(rows):,} prompts"
    return model, "used, it has seen none of the prompts"
