"""`bsgateway evaluate`: what was asked for -> trials -> what came of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..check import load_config
from ..errors import LearningError, ModelError
from ..models import MODEL, model_path, prior_bytes
from . import evaluate, prior
from .dataset import read_outcomes
from .evaluate import Curve, Evaluation, Trial
from .model_file import Model, shipped_prior
from .protocol import DRAWS
from .rows import Rows

Advance = Callable[[int], None]


class Order(NamedTuple):
    """What to measure. At most one of `labels` and `folds` is not 0; without both, the model of `train_on` is measured,
    or, if that is empty, the one in force. `config` is None if there is no such file."""

    file: Path
    weak: str
    strong: str
    labels: int
    splits: int
    folds: int
    train_on: tuple[Path, ...]
    config: Path | None
    state: Path
    draws: int = DRAWS


class Result(NamedTuple):
    """The figures, and the curves that are drawn."""

    evaluation: Evaluation
    curves: dict[str, Curve]


def run(order: Order, advance: Advance = lambda _: None) -> Result:
    """Raises LearningError, ModelError, ConfigError."""
    if order.weak == order.strong:
        raise LearningError(f"--weak and --strong are both {order.weak}: name two models")
    rows = evaluate.complete(read_outcomes(order.file, order.weak, order.strong, advance=advance))
    trials, how, about_prior = _trials(order, rows, advance)
    found = evaluate.summary(rows, trials, order.draws)
    evaluation = Evaluation(
        rows=len(rows),
        tested=round(float(np.mean([len(trial.test) for trial in trials]))),
        weak=float(rows.weak.mean()),
        strong=float(rows.strong.mean()),
        trained_on=how,
        prior=about_prior,
        routers={name: score for name, (score, _) in found.items()},
    )
    return Result(evaluation, {name: curve for name, (_, curve) in found.items()})


def _trials(order: Order, rows: Rows, advance: Advance) -> tuple[list[Trial], str, str]:
    others = evaluate.baselines(rows)
    if not (order.labels or order.folds):
        model, name = _trained(order, rows, advance) if order.train_on else _in_force(order)
        trials = evaluate.of_model(rows, model, others)
        left = len(rows) - len(trials[0].test)
        seen = f"; {left:,} rows that it was trained on are left out" if left else ""
        return trials, name, f"not beside the model{seen}"
    if order.train_on:
        start, about = _trained(order, rows, advance)
        about = f"used, trained on {about}"
        beside: Model | None = start
    else:
        beside, about = evaluate.without_seen(rows, shipped_prior())
    if order.labels:
        trials = evaluate.few_labels(rows, order.labels, order.splits, beside, others, advance)
        return trials, f"{order.labels:,} labels of the file, mean of {order.splits} random splits", about
    trials = evaluate.cross_validated(rows, order.folds, beside, others, advance)
    return trials, f"the file, {order.folds}-fold cross-validation", about


def _trained(order: Order, rows: Rows, advance: Advance) -> tuple[Model, str]:
    """A prior made of other files, without the prompts of this one."""
    found = []
    for path in order.train_on:
        found.append(prior.read(path))
        advance(len(found[-1].rows))
    if all(np.isin(file.rows.prompts, rows.prompts).all() for file in found):
        names = ", ".join(map(str, order.train_on))
        raise LearningError(f"all prompts of {names} are in {order.file}, too: train on files of other prompts")
    model = prior.train(found, without=rows.prompts)
    return model, f"{', '.join(path.name for path in order.train_on)}: {model.header.rows:,} rows"


def _in_force(order: Order) -> tuple[Model, str]:
    path = (order.state / MODEL).absolute()
    if order.config is not None:
        path = model_path(load_config(order.config), order.state)
    try:
        return Model.from_bytes(path.read_bytes()), f"the model in {path}"
    except FileNotFoundError:
        return Model.from_bytes(prior_bytes()), "the shipped prior"
    except ModelError as error:
        raise ModelError(f"model file {path}: {error}") from error
    except OSError as error:
        raise LearningError(f"{path} cannot be read: {error.strerror or error}") from error
