"""Rows -> a model: ridge regression on words and dense inputs, starting from the prior, folded into one file.

The target less what the prior says is fitted; so with few labels the prior decides, and with many they do. Prior and
labels then are one set of words, curves and bias: serving costs one model. If on rows that were not fitted the result
is clearly worse than the prior, the prior stays as it is and only its calibration is learned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from ..core import core
from ..decision import now
from ..errors import LearningError
from .basis import Basis, occurring, sample
from .contrast import Contrast, deviation
from .design import DistributedDesign, Shard, Solution
from .model_file import Model, ModelHeader
from .protocol import bootstrap
from .rows import Floats, Rows
from .same_ask import NO_PROMPT
from .shards import LocalShards, Shards
from .spill import CHUNK

Target = Literal["gain", "fail", "mixed"]
"""gain: what the dear model is better by. fail: the cheap model fails. mixed: it fails, less half of the dear one's
failures; a request that nobody can answer is worth less, which is what transfers best to other traffic."""

Index = npt.NDArray[np.intp]

KNOTS = 16
"""Of a curve, at most."""
SEEN = 1_000_000
"""Hashes of asks in a file, at most: beyond it none is kept."""
LEAST_ROWS = 20


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to fit; the defaults were chosen on the pools of benches/results/quality.md, in round numbers.

    `alpha`: the ridge penalty; a row's words have length 1. `scale`: the standard deviation of a dense column,
    against that 1. `quantiles`: where a dense input may bend. `clip`: it counts up to so many standard deviations
    from its mean. `prior`: what one standard deviation of the prior's margin is taken to say of the target, in
    standard deviations of the target, before any label; it is half of that with `prior_rows` labels, and goes on to
    fade: what the labels say of the prior's inputs they then say better themselves. `contrast`: the standard deviation
    of the column that tells the prior from itself without judged requests. `folds`: of rows, by group, for what needs
    margins of rows that were not fitted. `out_of_fold`: so many such rows are enough. `worse`: draws of
    200 on which the prior must be better than the fit to be kept in its place.
    """

    alpha: float = 5.0
    scale: float = 0.04
    quantiles: tuple[float, ...] = (0.5,)
    clip: float = 4.0
    prior: float = 0.15
    prior_rows: int = 300
    contrast: float = 0.15
    folds: int = 5
    out_of_fold: int = 5_000
    worse: int = 199


class _Start(NamedTuple):
    """The prior as a part of the fit: its margins times `factor`, float64 [n], and what the labels may add of its
    `contrast`."""

    factor: float
    margins: Floats
    contrast: Contrast | None


class _Problem(NamedTuple):
    """The rows at the positions `known` of all in `shards`, without inputs and words, and their targets."""

    shards: Shards
    known: Index
    rows: Rows
    wanted: Floats


@dataclass(frozen=True)
class _Fitted:
    """A solution, and the margins of some rows by solutions that have not seen them: NaN for the others."""

    basis: Basis
    coefficients: Floats
    intercept: float
    unseen: Floats


def fit(rows: Rows, target: Target, prior: Model | None, settings: Settings | None = None) -> Model:
    """Fit a model to the rows whose label is known. Same rows, same model, but for `created` in the header.

    The probability is that of the cheap model failing, whatever the target. Raises LearningError for too few rows.
    """
    return fit_parts(LocalShards(_parts(rows)), rows.bare(), np.arange(len(rows)), target, prior, settings)


def fit_parts(
    shards: Shards, labels: Rows, chosen: Index, target: Target, prior: Model | None, settings: Settings | None = None
) -> Model:
    """The same for rows in parts, `Shard`s, of which those at the positions `chosen`, ascending, are fitted. `labels`:
    all of the rows, in the order of the parts; inputs and words need not be there."""
    settings = settings or Settings()
    wanted = values(labels, target)
    known = chosen[(~np.isnan(wanted) & ~np.isnan(labels.weak) & (labels.weight > 0.0))[chosen]]
    rows, wanted = labels[known], wanted[known]
    if len(rows) < LEAST_ROWS or len(np.unique(rows.group)) < settings.folds:
        raise LearningError(
            f"{len(rows):,} rows with a label in {len(np.unique(rows.group)):,} groups (conversations, or prompts of a "
            f"file): at least {LEAST_ROWS} rows and {settings.folds} groups are needed"
        )
    lengths = shards.map(_length)
    start = _start(shards, by_part(known, lengths), rows, wanted, prior, settings)
    inputs = np.concatenate(shards.map(_inputs, each=[(index,) for index in by_part(sample(known), lengths)]))
    fitted = _fit(_Problem(shards, known, rows, wanted), inputs, start, settings)
    margins, alone = fitted.unseen, False
    if prior is not None and _clearly_worse(fitted.unseen, start.margins, rows, settings):
        margins, alone = start.margins, True
    measured = ~np.isnan(margins)
    calibration = calibrate(margins[measured], 1.0 - rows.weak[measured], rows.weight[measured])
    model = prior if prior is not None and alone else _folded(inputs, fitted, prior, start.factor)
    return replace(
        model, calibration=calibration, seen=_seen(rows.prompts, prior), header=_header(rows, target, settings, alone)
    )


def values(rows: Rows, target: Target) -> Floats:
    """The target of each row, float64 [n]; NaN where it is not known."""
    failed = 1.0 - rows.weak
    if target == "fail":
        return failed
    return failed - (1.0 if target == "gain" else 0.5) * (1.0 - rows.strong)


def calibrate(margins: Floats, failed: Floats, weight: Floats, points: int = 64) -> Floats:
    """Probabilities of failure by margin, float64 [2, at most `points`], for `Model.calibration`.

    The mean of isotonic regression, which follows the rows, and of Platt's logistic curve, which has no steps, and 2 %
    of the rank of the margin: different margins never have the same probability, so a border between tiers can lie
    between any two. For the first, a failure and a success are added at either end: a few rows there do not make it
    certain.
    """
    base = float(np.average(failed, weights=weight))
    low, high = float(margins.min()), float(margins.max())
    regression = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(
        np.concatenate(([low], margins, [high])),
        np.concatenate(([base], failed, [base])),
        sample_weight=np.concatenate(([2.0], weight / weight.mean(), [2.0])),
    )
    shares = np.linspace(0.0, 1.0, points)
    grid, first = np.unique(np.quantile(margins, shares), return_index=True)
    if len(grid) < 2:
        grid, first = np.array([low, low + 1.0]), np.array([0, points - 1])
    curves = regression.predict(grid) + _logistic(grid, margins, failed, weight)
    found = 0.49 * curves + 0.02 * shares[first]
    return np.stack((grid, np.maximum.accumulate(np.clip(found, 0.0, 1.0))))


def _logistic(grid: Floats, margins: Floats, failed: Floats, weight: Floats) -> Floats:
    """Platt's curve at `grid`; the mean where margins say nothing or the contrary. A row that failed in part counts as
    part of a failure and part of a success."""
    center, spread = float(margins.mean()), float(margins.std()) or 1.0
    shares = np.concatenate((failed, 1.0 - failed)) * np.tile(weight / weight.mean(), 2)
    counted = shares > 0.0
    outcome = np.repeat((1, 0), len(margins))[counted]
    if len(np.unique(outcome)) < 2:
        return np.full(len(grid), float(outcome[0]))
    column = np.tile((margins - center) / spread, 2)[counted, None]
    curve = LogisticRegression(C=100.0).fit(column, outcome, sample_weight=shares[counted])
    if curve.coef_[0, 0] <= 0.0:
        return np.full(len(grid), float(np.average(failed, weights=weight)))
    return np.asarray(curve.predict_proba(((grid - center) / spread)[:, None])[:, 1], dtype=np.float64)


def by_part(index: Index, lengths: Sequence[int]) -> list[Index]:
    """Positions among all rows, ascending, as positions in each part."""
    ends = np.cumsum(lengths)
    places = np.split(index, np.searchsorted(index, ends[:-1]))
    return [place - (end - length) for place, end, length in zip(places, ends, lengths, strict=True)]


def _length(part: Shard) -> int:
    return len(part.rows)


def _buckets(part: Shard) -> npt.NDArray[np.int64]:
    return occurring(part.rows)


def _inputs(part: Shard, index: Index) -> Floats:
    return np.asarray(part.rows.inputs[index])


def margins_of(part: Shard, model: Model, index: Index) -> Floats:
    """The margins of the rows at `index`, in its order."""
    found = [model.margins(part.rows[index[at : at + CHUNK]]) for at in range(0, len(index), CHUNK)]
    return np.concatenate(found) if found else np.zeros(0)


def _start(
    shards: Shards, index: Sequence[Index], rows: Rows, wanted: Floats, prior: Model | None, settings: Settings
) -> _Start:
    if prior is None:
        return _Start(0.0, np.zeros(len(rows)), None)
    places = [(place,) for place in index]
    margins = np.concatenate(shards.map(margins_of, prior, each=places))
    spread = deviation(margins, rows.weight)
    share = settings.prior * settings.prior_rows / (settings.prior_rows + len(rows))
    factor = share * deviation(wanted, rows.weight) / spread if spread > 1e-9 else 0.0
    contrast = None
    if prior.outcomes is not None:
        others = np.concatenate(shards.map(margins_of, prior.outcomes, each=places))
        contrast = Contrast.of(prior, prior.outcomes, (margins, others), rows.weight, settings.contrast)
    return _Start(factor, margins, contrast)


def _fit(problem: _Problem, inputs: Floats, start: _Start, settings: Settings) -> _Fitted:
    shards, known, rows, wanted = problem
    buckets = np.unique(np.concatenate(shards.map(_buckets)))
    basis = Basis.of(inputs, buckets, settings.quantiles, settings.clip, settings.scale)
    basis = replace(basis, contrast=start.contrast)
    design = DistributedDesign(shards, basis)

    def solve(weight: Floats, tolerance: float) -> Solution:
        targets, weights = np.zeros(design.shape[0]), np.zeros(design.shape[0])
        targets[known], weights[known] = wanted - start.factor * start.margins, weight
        return design.ridge(targets, weights, settings.alpha, tolerance)

    weight = rows.weight / rows.weight.mean()
    fitted = solve(weight, 1e-6)
    unseen = np.full(len(rows), np.nan)
    for _, held_out in GroupKFold(settings.folds).split(wanted, groups=rows.group):
        part = weight.copy()
        part[held_out] = 0.0
        found = solve(part, 1e-4)
        margins = design.matvec(found.coefficients)[known[held_out]]
        # With the intercept of all rows: a fold with many failures leaves few to the others, so that their own level
        # would put it below the folds with few.
        unseen[held_out] = margins + fitted.intercept + start.factor * start.margins[held_out]
        if np.count_nonzero(~np.isnan(unseen)) >= settings.out_of_fold:
            break
    return _Fitted(basis, fitted.coefficients, fitted.intercept, unseen)


def _clearly_worse(unseen: Floats, alone: Floats, rows: Rows, settings: Settings) -> bool:
    """Whether the prior alone orders the rows better than margins of rows that were not fitted."""
    measured = rows[np.flatnonzero(~np.isnan(unseen))]
    measured = replace(measured, strong=np.where(np.isnan(measured.strong), 1.0, measured.strong))
    scores = {"fit": unseen[~np.isnan(unseen)], "prior": alone[~np.isnan(unseen)]}
    try:
        found = bootstrap(scores, measured, draws=200)
    except LearningError:  # the dear model is no better on them: there is no order to compare by
        return False
    return bool((found["prior"] > found["fit"])[1:].sum() >= settings.worse)


def _folded(inputs: Floats, fitted: _Fitted, prior: Model | None, factor: float) -> Model:
    """Words, curves and bias of the fit, `factor` times those of the prior, and what was fitted of its contrast,
    together."""
    basis, own = fitted.basis, fitted.coefficients
    words = np.zeros(core.WORD_BUCKETS)
    words[basis.buckets] = own[: len(basis.buckets)]
    dense = own[len(basis.buckets) :]
    knots, curves = basis.knots, basis.curves(dense[: np.count_nonzero(basis.kept)])
    bias = fitted.intercept
    parts = [] if prior is None else [(factor, prior)]
    if (contrast := basis.contrast) is not None:
        parts = [(factor + dense[-1] * contrast.prior_factor, contrast.prior)]
        parts.append((dense[-1] * contrast.outcomes_factor, contrast.outcomes))
        bias += dense[-1] * contrast.offset
    for each, model in parts:
        words += each * model.words
        knots, curves = _added(knots, curves, model.knots, each * model.curves)
        bias += each * model.bias
    centres = np.zeros(len(knots))
    for at, (column, knot, curve) in enumerate(zip(inputs.T, knots, curves, strict=True)):
        there = column[~np.isnan(column)]
        centres[at] = float(np.interp(there, knot, curve).sum()) / len(inputs) if len(there) else 0.0
        # An input that is NaN adds nothing, so what is taken off the curve comes back only for the others.
        if len(there):
            centres[at] *= len(inputs) / len(there)
    return Model(
        words=words,
        knots=knots,
        curves=curves - centres[:, None],
        bias=float(bias + centres.sum()),
        calibration=np.array([[0.0, 1.0], [0.0, 1.0]]),
        seen=np.empty(0, np.uint32),
        header=ModelHeader(kind="trained", target="", created="", rows=0),
    )


def _added(knots: Floats, curves: Floats, others: Floats, more: Floats) -> tuple[Floats, Floats]:
    """The sum of two curves for each input. Both are flat outside their knots."""
    every = np.sort(np.hstack((knots, others)), axis=1)
    if every.shape[1] > KNOTS:
        raise LearningError(
            f"the curves of fit and prior have {every.shape[1]} knots together, a model file holds {KNOTS}: use fewer "
            "quantiles, or the prior that comes with the package"
        )
    both = [
        np.interp(at, knot, curve) + np.interp(at, other, extra)
        for at, knot, curve, other, extra in zip(every, knots, curves, others, more, strict=True)
    ]
    return every, np.array(both)


def _parts(rows: Rows) -> list[Shard]:
    if not isinstance(rows.inputs, np.memmap):
        return [Shard(rows)]
    slot: dict[str, Any] = {}
    return [_InFiles(rows, at, slot) for at in range(0, len(rows), CHUNK)]


class _InFiles(Shard):
    """Some of the rows that lie in files. Only the blocks of the part that is in use are kept."""

    def __init__(self, rows: Rows, at: int, slot: dict[str, Any]) -> None:
        self._all, self._at, self._slot = rows, at, slot

    @property
    def rows(self) -> Rows:  # type: ignore[override]
        return self._all[self._at : self._at + CHUNK]

    @property
    def blocks(self) -> Any:
        return self._slot["blocks"] if self._slot.get("at") == self._at else None

    @blocks.setter
    def blocks(self, found: Any) -> None:
        self._slot.update(at=self._at, blocks=found)


def _seen(prompts: npt.NDArray[np.uint32], prior: Model | None) -> npt.NDArray[np.uint32]:
    """What the model was trained on, and what is in it of the prior."""
    before = np.empty(0, np.uint32) if prior is None else prior.seen
    found = np.unique(np.concatenate((prompts[prompts != NO_PROMPT], before)))
    return found if len(found) <= SEEN else np.empty(0, np.uint32)


def _header(rows: Rows, target: Target, settings: Settings, alone: bool) -> ModelHeader:
    return ModelHeader(
        kind="trained",
        target=target,
        created=now().isoformat(timespec="seconds"),
        rows=len(rows),
        labels=dict(Counter(map(str, rows.source.tolist())).most_common()),
        settings={**msgspec.to_builtins(settings), "prior_alone": alone},
    )
