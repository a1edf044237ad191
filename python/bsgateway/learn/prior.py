"""The prior: a model trained on public outcomes, for traffic that nothing is known of yet. It comes with the package.

    python -m bsgateway.learn.prior DATA --judged benches/prior/judged.tsv --output prior.safetensors

DATA is a directory of outcome files as `bsgateway.learn.dataset` describes them, of any names. In each file the models
that have an outcome on most of its rows are parted at the middle of their ranking; the mean outcome of the weaker half
is the cheap model's, that of the stronger half the dear one's. How good the prior is on traffic of another kind is told
by leaving out each file in turn, and every prompt that stands in it.

Benchmarks hold no greetings, no small chores and no work on a code base. A model of them alone takes whatever it has
not seen for as hard as an exam. So requests as people send them all day are added, with what the authors judge of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold

from ..core import core
from ..errors import GatewayError, LearningError
from ..models import OUTCOMES
from .asks import BATCH, default_analyzer, measure
from .dataset import chunks, concat, lines, read_outcomes, rows_of
from .fit import Settings, Target, calibrate, fit
from .model_file import Model
from .protocol import INTERVAL, bootstrap
from .rows import Floats, Rows
from .same_ask import ask_hash

SETTINGS = Settings(alpha=5.0, quantiles=(0.25, 0.5, 0.75))
JUDGED_WEIGHT = 5.0
"""A judged request counts as so many rows of outcomes: about the least at which easy and hard ones that were left out
are told apart. It costs .006 of the mean APGR on files that are left out."""
TARGET: Target = "mixed"
FULL = 0.9
"""A model counts in a file if it has an outcome on this share of the rows."""
FOLDS = 5
MAX_BYTES = 1_000_000
"""Of the files that come with the package."""
PAIRS = {
    "mmlu": (("mixtral-8x7b-instruct", "gpt-4-1106-preview"),),
    "mmlu_pro": (
        ("Meta-Llama-3_1-8B-Instruct", "Meta-Llama-3_1-70B-Instruct"),
        ("Meta-Llama-3_1-8B-Instruct", "gemini-1.5-pro-002"),
    ),
    "zeroeval": (
        ("gpt-4o-mini-2024-07-18", "o1-mini-2024-09-12"),
        ("claude-3-haiku-20240307", "gpt-4o-2024-08-06"),
    ),
    "fasteval": (("gpt-3.5-turbo-0613", "gpt-4-0613"),),
    "multitask": (("mistral-7b-instruct-v0.3", "llama-3.3-nemotron-super-49b-v1"),),
}
"""Weak and strong model by the stem of a file, for the held-out scores; of other files the weaker half of the models
is held against the stronger half."""


@dataclass(frozen=True)
class OutcomeFile:
    """An outcome file. `rows`: `weak` and `strong` are the means over the `weaker` and the `stronger` models; a prompt
    that repeats in the file is there once. `about`: its name, rows, sha256 and models, for the provenance."""

    path: Path
    rows: Rows
    weaker: tuple[str, ...]
    stronger: tuple[str, ...]
    about: dict[str, Any]


def read_judged(path: Path, analyzer: core.Analyzer | None = None) -> OutcomeFile:
    """Requests with what is judged of them: lines of `easy` or `hard`, a tab, and the request; `#` begins a comment.

    The cheap model is taken to fail the hard ones and no others, the dear model to fail none. Raises LearningError.
    """
    try:
        data = path.read_bytes()
        text = data.decode()
    except (OSError, UnicodeError) as error:
        raise LearningError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    words, asks = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        word, _, ask = line.partition("\t")
        if word not in ("easy", "hard") or not ask.strip():
            raise LearningError(f"{path}:{number}: a line is `easy` or `hard`, a tab, and the request")
        words.append(word)
        asks.append(ask)
    measured = measure(asks, analyzer or default_analyzer())
    count = len(asks)
    rows = Rows(
        inputs=measured.inputs,
        words=measured.words,
        weak=np.array([float(word == "easy") for word in words]),
        strong=np.ones(count),
        weight=np.full(count, JUDGED_WEIGHT),
        group=np.array([ask_hash(ask) for ask in asks], np.int64),
        at=np.arange(count, dtype=np.float64),
        length=measured.length,
        static=measured.static,
        prompts=measured.prompts,
        source=np.full(count, "judged", object),
    )
    about = {"name": path.name, "rows": count, "sha256": hashlib.sha256(data).hexdigest(), "judged": True}
    return OutcomeFile(path, rows, (), (), about)


def read(path: Path, analyzer: core.Analyzer | None = None) -> OutcomeFile:
    """All models of an outcome file. Raises LearningError."""
    analyzer = analyzer or default_analyzer()
    parts: list[Rows] = []
    outcomes: list[Mapping[str, float]] = []
    for chunk in chunks(((at, line) for at, line in lines(path) if not line.contaminated), BATCH):
        measured = measure([line.prompt for _, line in chunk], analyzer)
        parts.append(rows_of(chunk, measured, "", ""))
        outcomes.extend(line.outcomes for _, line in chunk)
    rows = concat(parts)
    models, scores = _scores(path, outcomes)
    half = max(1, len(models) // 2)
    weaker, stronger = models[:half], models[half:] or models
    rows = replace(rows, weak=_means(scores[:, :half]), strong=_means(scores[:, half:] if models[half:] else scores))
    _, first = np.unique(rows.group, return_index=True)
    first = np.sort(first)
    usable = first[~np.isnan(rows.weak[first]) & ~np.isnan(rows.strong[first])]
    about = {
        "name": path.name,
        "rows": len(usable),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "weaker": list(weaker),
        "stronger": list(stronger),
    }
    return OutcomeFile(path, rows[usable], weaker, stronger, about)


def _scores(path: Path, outcomes: Sequence[Mapping[str, float]]) -> tuple[tuple[str, ...], Floats]:
    """The models with outcomes on most rows, the weakest first, and their outcomes [rows, models]."""
    names = sorted({model for scores in outcomes for model in scores})
    table = np.array([[scores.get(model, np.nan) for model in names] for scores in outcomes])
    full = [at for at in range(len(names)) if np.count_nonzero(~np.isnan(table[:, at])) >= FULL * len(outcomes)]
    if not full:
        raise LearningError(f"{path}: no model has an outcome on {FULL:.0%} of the {len(outcomes)} rows")
    full.sort(key=lambda at: float(np.nanmean(table[:, at])))
    return tuple(names[at] for at in full), table[:, full]


def _means(scores: Floats) -> Floats:
    known = ~np.isnan(scores)
    counts = known.sum(axis=1)
    means = np.where(known, scores, 0.0).sum(axis=1) / np.maximum(counts, 1)
    return np.where(counts > 0, means, np.nan)


def train(
    found: Sequence[OutcomeFile], without: npt.NDArray[np.uint32] | None = None, judged: OutcomeFile | None = None
) -> Model:
    """A model of all files but for the prompts whose hashes are in `without`, and of the `judged` requests; with those,
    it has one without them beside it.

    Raises LearningError.
    """
    rows = concat([file.rows for file in found])
    if without is not None:
        rows = rows[np.flatnonzero(~np.isin(rows.prompts, without))]
    model = fit(rows, TARGET, None, SETTINGS)
    outcomes = replace(model, header=_header(model, found), seen=np.empty(0, np.uint32))
    if judged is None:
        return replace(outcomes, seen=model.seen)
    model = fit(concat([rows, judged.rows]), TARGET, None, SETTINGS)
    return replace(model, header=_header(model, [*found, judged]), outcomes=outcomes)


def _header(model: Model, found: Sequence[OutcomeFile], held_out: dict[str, Any] | None = None) -> Any:
    about = [file.about for file in found]
    return msgspec.structs.replace(model.header, kind="prior", provenance=about, held_out=held_out or {})


def train_and_measure(
    found: Sequence[OutcomeFile], judged: OutcomeFile | None, advance: Callable[[int], None] = lambda _: None
) -> Model:
    """The prior, calibrated and measured on files and judged requests that were left out. Raises LearningError.

    For the calibration, all of the files together count as much as all of the judged requests: traffic is some of each.
    """
    model = train(found, judged=judged)
    if len(found) < 2:
        raise LearningError("at least two outcome files are needed: how good a prior is shows on one that it left out")
    margins, apgr = [], {}
    for file, other in leave_one_out(found, judged):
        margins.append(other.margins(file.rows))
        apgr.update(_measured(file, other))
        advance(len(file.rows))
    held_out: dict[str, Any] = {
        "protocol": "APGR on a file, by a prior trained without it and its prompts",
        "apgr": apgr,
    }
    every = concat([file.rows for file in found])
    failed, weight = 1.0 - every.weak, every.weight / every.weight.sum()
    if judged is not None:
        margins.append(_judged_margins(found, judged))
        requests = judged.rows
        advance(len(requests))
        held_out["judged"] = {
            "protocol": f"share of pairs of an easy and a hard request in the right order, {FOLDS} folds",
            "easy": int((requests.weak == 1.0).sum()),
            "hard": int((requests.weak == 0.0).sum()),
            "auc": round(float(roc_auc_score(1.0 - requests.weak, margins[-1])), 4),
        }
        failed = np.concatenate([failed, 1.0 - requests.weak])
        weight = np.concatenate([weight, requests.weight / requests.weight.sum()])
    calibration = calibrate(np.concatenate(margins), failed, weight)
    sources = list(found) if judged is None else [*found, judged]
    return replace(model, calibration=calibration, header=_header(model, sources, held_out))


def _measured(file: OutcomeFile, model: Model) -> dict[str, dict[str, float]]:
    """APGR of a model that has not seen the file, on each pair of models in it."""
    found = {}
    for name, rows in _pairs(file):
        draws = bootstrap({"prior": model.margins(rows)}, rows)["prior"]
        low, high = np.quantile(draws[1:], INTERVAL)
        found[name] = {"value": round(float(draws[0]), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
    return found


def _judged_margins(found: Sequence[OutcomeFile], judged: OutcomeFile) -> Floats:
    """The margin of each judged request by a model that has not seen it."""
    margins = np.empty(len(judged.rows))
    for known, held_out in KFold(FOLDS, shuffle=True, random_state=0).split(margins):
        others = replace(judged, rows=judged.rows[known])
        margins[held_out] = train(found, judged=others).margins(judged.rows[held_out])
    return margins


def _pairs(file: OutcomeFile) -> Iterator[tuple[str, Rows]]:
    pairs = PAIRS.get(file.path.name.split(".")[0])
    if pairs is None:
        yield f"{file.path.name}: stronger over weaker half", file.rows
        return
    for weak, strong in pairs:
        rows = read_outcomes(file.path, weak, strong)
        yield f"{file.path.name}: {strong} over {weak}", rows[~np.isnan(rows.weak) & ~np.isnan(rows.strong)]


def leave_one_out(found: Sequence[OutcomeFile], judged: OutcomeFile | None) -> Iterator[tuple[OutcomeFile, Model]]:
    """Each file, and a prior trained without it."""
    for file in found:
        yield file, train([other for other in found if other is not file], file.rows.prompts, judged)


def outcome_files(directory: Path) -> list[Path]:
    """The outcome files of a directory, by name. Raises LearningError if there are none."""
    found = sorted(path for path in directory.iterdir() if path.name.endswith((".jsonl", ".jsonl.gz")))
    if not found:
        raise LearningError(f"{directory} has no *.jsonl or *.jsonl.gz: give a directory of outcome files")
    return found


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--judged", type=click.Path(path_type=Path, dir_okay=False), help="Requests judged by hand.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The model file. With --judged, the same without them is put beside it.",
)
def main(data: Path, judged: Path | None, output: Path) -> None:
    """Train the prior on the outcome files in DATA."""
    try:
        found = [read(path) for path in outcome_files(data)]
        requests = None if judged is None else read_judged(judged)
        model = train_and_measure(
            found, requests, lambda rows: click.echo(f"measured on {rows:,} rows left out", err=True)
        )
        written = model.to_bytes()
        beside = model.outcomes.to_bytes() if model.outcomes is not None else b""
        if (size := len(written) + len(beside)) > MAX_BYTES:
            raise LearningError(f"the prior has {size:,} bytes, more than {MAX_BYTES:,}: use fewer rows")
        output.write_bytes(written)
        if beside:
            (output.parent / OUTCOMES).write_bytes(beside)
    except GatewayError as error:
        raise click.ClickException(str(error)) from error
    for name, about in model.header.held_out["apgr"].items():
        click.echo(f"{name}: APGR {about['value']:.3f} ({about['low']:.3f} to {about['high']:.3f}) left out")
    means = [about["value"] for about in model.header.held_out["apgr"].values()]
    click.echo(f"mean: APGR {sum(means) / len(means):.3f} left out")
    if requests is not None:
        click.echo(f"judged requests: AUC {model.header.held_out['judged']['auc']:.3f} left out")
    click.echo(f"{output}: {len(written):,} bytes, {model.header.rows:,} rows, {core.LearnedModel(written).id}")


if __name__ == "__main__":
    main()
