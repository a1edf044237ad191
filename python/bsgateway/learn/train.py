"""Training: rows with labels in, a model and the evidence for or against it out. It decides; it writes nothing.

A model is promoted only if, on conversations that were held out (see `split`),
1. the lower bound of its APGR is above 0.5, which is what chance reaches, and
2. the lower bound of the difference between its APGR and that of what runs now is above 0.
Bounds are those of 95 % intervals by the bootstrap over whole conversations; for the difference, both are measured on
the same draws. Where the score of the dear model is not known, it is taken to be 1: the APGR then says how soon a
router finds the requests that the cheap model fails.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it has no types

from ..decision import now
from ..errors import LearningError
from .basis import sample
from .fit import Settings, fit
from .labels import Label
from .model_file import Model
from .protocol import Ranking, bootstrap
from .rows import Floats, Rows
from .spill import CHUNK, Scratch, take
from .split import HELD_OUT_ROWS, split

LEAST_OF_EACH = 10
"""Held-out rows that the cheap model fails, and that it does not, at least."""
COMPARISONS = 200
"""From so many rows on of which both scores are known, if they weigh at least half of all, the gain is learned."""
PRIOR_MAY_KNOW = 0.01
"""Share of the asks that the prior may have been trained on. These are not held out; with more, it is left aside."""
BINS = 10
POINTS = 21
"""Points of the curve that is kept with a model."""
FIT_FACTOR = 8
"""While rows are fitted, so much more memory is in use than their inputs and words take."""
SAMPLE_ROWS = 20_000
"""Held-out rows at most that the inputs are looked at of."""

Index = npt.NDArray[np.intp]
Target = Literal["gain", "fail"]
Scorer = Callable[[Rows], Floats]


class Incumbent(NamedTuple):
    """What runs now: the static score, unless there is a `model`. `name` says it to people; `same` is its name among
    what a new model is always held against, if it is there."""

    name: str
    model: Model | None = None
    same: str | None = None

    def scores(self, rows: Rows) -> Floats:
        """What it would order `rows` by."""
        return rows.static if self.model is None else margins(self.model, rows)


class Interval(msgspec.Struct, frozen=True):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class Bin(msgspec.Struct, frozen=True):
    """Held-out rows of like probability: what was `predicted` on average, and the share that really failed."""

    rows: int
    predicted: float
    observed: float


class Strength(msgspec.Struct, frozen=True):
    """How much an input moves the margin: the standard deviation of its part over the held-out rows. `rises`: whether
    more of it mostly speaks for the dear model; None for the words together."""

    input: str
    deviation: float
    rises: bool | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a training. `rows` were trained on, `held_out` measured, in `conversations`; `repeated` rows were on
    neither side, as their ask is in the rows that were trained on. Of `opinions` of the rows that were measured nothing
    but a verdict of the local LLM is known: to do well on them is to agree with it. `labels` counts those that were
    trained on by the label that counts most. `apgr` has the new model, what runs `now`, and others beside them, of
    which `same` may be what runs now; `difference` is new less now. `curve`: share of the requests that go to the dear
    model, the highest scores first -> mean score of the answers, 0-1 each; `random_curve` the same where chance
    chooses."""

    better: bool
    why: str
    target: Target
    rows: int
    held_out: int
    opinions: int
    conversations: int
    repeated: int
    labels: dict[str, int]
    now: str
    same: str | None
    apgr: dict[str, Interval]
    difference: Interval
    curve: tuple[tuple[float, float], ...]
    random_curve: tuple[tuple[float, float], ...]
    calibration: tuple[Bin, ...]
    strongest: tuple[Strength, ...]


class Trained(NamedTuple):
    """A model, whether to take it or not."""

    model: Model
    verdict: Verdict


def train(
    rows: Rows,
    by_time: bool,
    incumbent: Incumbent,
    prior: Model | None,
    provenance: Mapping[str, Any],
    scratch: Scratch,
    memory: int,
    settings: Settings | None = None,
) -> Trained:
    """Fit a model to `rows` and hold it against `incumbent`. `by_time`: whether `rows.at` is a time.

    Where that would take more than `memory` bytes, rows lie in files in `scratch` (see `budget`).
    Raises LearningError where there are too few labels.
    """
    target = choose_target(rows)
    chosen = usable(rows, target)
    prior = beginning(prior, rows.prompts[chosen])
    parts = split(rows.bare()[chosen], by_time, seen_by(prior))
    measured = to_measure(rows.bare(), chosen[parts.held_out])
    held_out = rows[measured]
    check_enough(held_out, len(chosen), parts.repeated)
    trained_on = take(rows, chosen[parts.train], scratch, budget(memory))
    check_both(trained_on)
    # Several threads only wait for each other here, above all beside a gateway that is busy.
    with threadpool_limits(1):
        model = fit(trained_on, target, prior, settings or Settings())
        verdict = judge(model, incumbent, prior, held_out)
    labels = Counter(trained_on.source.tolist())
    return concluded(model, verdict, target, labels, parts.repeated, provenance)


def beginning(prior: Model | None, prompts: npt.NDArray[np.uint32]) -> Model | None:
    """The prior to start from: none if it was trained on more than a few of the asks, whose hashes are `prompts`. What
    is made of it would look better on held-out rows than it is."""
    known = prior is not None and np.isin(prompts, prior.seen).sum() > PRIOR_MAY_KNOW * len(prompts)
    return None if known else prior


def seen_by(prior: Model | None) -> npt.NDArray[np.uint32]:
    """Hashes of the asks that it was trained on."""
    return np.empty(0, np.uint32) if prior is None else prior.seen


def budget(memory: int) -> int:
    """Bytes of inputs and words that may be in memory, so that training takes about `memory` bytes with them.

    Without any rows in memory it still takes some 600 MB, most of it for a sample of the rows.
    """
    return memory // FIT_FACTOR


def concluded(
    model: Model,
    verdict: Verdict,
    target: Target,
    labels: Counter[str],
    repeated: int,
    provenance: Mapping[str, Any],
) -> Trained:
    """What is to be made of `model`: it was trained on rows with `labels`, and measured with this `verdict`."""
    rows = labels.total()
    counted = dict(labels.most_common())
    verdict = msgspec.structs.replace(verdict, target=target, rows=rows, repeated=repeated, labels=counted)
    apgr = msgspec.to_builtins(verdict.apgr)
    measured = {
        "rows": verdict.held_out,
        "conversations": verdict.conversations,
        "better": verdict.better,
        "difference": msgspec.to_builtins(verdict.difference),
        "curve": verdict.curve,
        "random_curve": verdict.random_curve,
    }
    header = msgspec.structs.replace(
        model.header,
        kind="trained",
        target=target,
        created=now().isoformat(timespec="seconds"),
        rows=rows,
        labels=counted,
        held_out={**measured, "apgr": apgr.pop("new"), "others": apgr},
        provenance=[dict(provenance)],
    )
    return Trained(dataclasses.replace(model, header=header), verdict)


def choose_target(rows: Rows) -> Target:
    """`gain` (what the dear model is better by) where there are enough comparisons, else `fail` (the cheap one fails),
    for which labels of the cheap model alone will do."""
    both = ~np.isnan(rows.weak) & ~np.isnan(rows.strong)
    enough = int(both.sum()) >= COMPARISONS and rows.weight[both].sum() >= 0.5 * rows.weight.sum()
    return "gain" if enough else "fail"


def usable(rows: Rows, target: Target) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Positions of the rows that a target can be learned from."""
    known = ~np.isnan(rows.weak)
    return np.flatnonzero(known & ~np.isnan(rows.strong) if target == "gain" else known)


def to_measure(rows: Rows, held_out: Index) -> Index:
    """Which of the rows at the positions `held_out` models are measured on: those with more than a verdict of the local
    LLM, if they are enough. To agree with an opinion is no proof; it is all that can be told where there are no
    outcomes."""
    outcomes = held_out[rows.source[held_out] != Label.VERDICT.value]
    return outcomes if _enough(rows[outcomes]) else held_out


def check_both(rows: Rows) -> None:
    """Raises LearningError where `rows`, which are to be trained on, all say the same."""
    if not ((rows.weak < 0.5).any() and (rows.weak >= 0.5).any()):
        raise LearningError(_too_few("the rows to train on all say the same", len(rows)))


def check_enough(held_out: Rows, rows: int, repeated: int) -> None:
    """Raises LearningError if `held_out` is too little to tell a better model by; `rows` are those with a label."""
    failed = int((held_out.weak < 0.5).sum())
    if not _enough(held_out):
        again = f" ({repeated:,} more repeat an ask that is trained on)" if repeated else ""
        what = f"held out are {len(held_out):,} rows{again}, of which the cheap model fails {failed:,}"
        raise LearningError(_too_few(what, rows))


def _enough(held_out: Rows) -> bool:
    failed = int((held_out.weak < 0.5).sum())
    return len(held_out) >= HELD_OUT_ROWS and min(failed, len(held_out) - failed) >= LEAST_OF_EACH


def _too_few(what: str, rows: int) -> str:
    return (
        f"too few labels: {rows:,} rows have one; {what}. At least {HELD_OUT_ROWS} rows must be held out "
        f"({2 * HELD_OUT_ROWS} labelled in all), {LEAST_OF_EACH} that fail and {LEAST_OF_EACH} that do not. Labels "
        "come from feedback, from dual runs (routing.learning.dual_run: 1%) and, with time, from outcomes, or are the "
        "verdicts of the strategy llm; or train on files with --jsonl"
    )


def judge(model: Model, incumbent: Incumbent, prior: Model | None, held_out: Rows) -> Verdict:
    """Hold `model` against what runs now, on rows that it has not seen. Fields about training are left empty."""
    scores = {name: scorer(held_out) for name, scorer in scorers(model, incumbent, prior).items()}
    return compared(model, scores, incumbent, held_out, held_out[sample(np.arange(len(held_out)), SAMPLE_ROWS)])


def scorers(model: Model, incumbent: Incumbent, prior: Model | None) -> dict[str, Scorer]:
    """What is compared: the new model, what runs now, and others beside them."""
    found: dict[str, Scorer] = {"new": lambda rows: margins(model, rows), "now": incumbent.scores}
    found["static"] = lambda rows: rows.static
    if prior is not None:
        found["prior"] = lambda rows: margins(prior, rows)
    found["length"] = lambda rows: rows.length
    return found


def compared(model: Model, scores: Mapping[str, Floats], incumbent: Incumbent, held_out: Rows, some: Rows) -> Verdict:
    """The verdict on `model` by the `scores` that each of `scorers` gives to `held_out`. Of these rows inputs and words
    are not looked at; of `some` of them they are."""
    held_out = dataclasses.replace(held_out, strong=np.where(np.isnan(held_out.strong), 1.0, held_out.strong))
    draws = bootstrap(scores, held_out)
    apgr = {name: interval(values) for name, values in draws.items()}
    difference = interval(draws["new"] - draws["now"])
    better, why = decide(apgr["new"], difference, incumbent.name)
    return Verdict(
        better=better,
        why=why,
        target="fail",
        rows=0,
        held_out=len(held_out),
        opinions=int((held_out.source == Label.VERDICT.value).sum()),
        conversations=len(np.unique(held_out.group)),
        repeated=0,
        labels={},
        now=incumbent.name,
        same=incumbent.same,
        apgr=apgr,
        difference=difference,
        curve=quality(scores["new"], held_out),
        random_curve=quality(np.zeros(len(held_out)), held_out),
        calibration=calibration(np.interp(scores["new"], *model.calibration), held_out),
        strongest=strongest(model, some),
    )


def quality(scores: Floats, rows: Rows) -> tuple[tuple[float, float], ...]:
    """What routing by `scores` comes to at `POINTS` shares of dear calls; where they are equal, on average."""
    weak = float(np.average(rows.weak, weights=rows.weight))
    strong = float(np.average(rows.strong, weights=rows.weight))
    shares = np.linspace(0.0, 1.0, POINTS)
    gained = np.interp(shares, *Ranking(scores).curve(rows.strong - rows.weak, rows.weight))
    points = np.round(np.column_stack((shares, weak + gained * (strong - weak))), 6)
    return tuple((float(share), float(mean)) for share, mean in points)


def decide(new: Interval, difference: Interval, incumbent: str) -> tuple[bool, str]:
    """Whether a model is to be promoted, and why or why not."""
    shown = f"APGR {new.value:.3f} ({new.low:.3f} to {new.high:.3f})"
    against = f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f}) against {incumbent}"
    if not new.low > 0.5:
        return False, f"{shown}: it is not certain that it is better than chance, 0.5"
    if not difference.low > 0.0:
        return False, f"{shown}, {against}: it is not certain that it is better"
    return True, f"{shown}, {against}"


def margins(model: Model, rows: Rows) -> Floats:
    """The margin of each row; in parts, so that rows in files are read once, from the first to the last."""
    if not len(rows):
        return np.zeros(0)
    return np.concatenate([model.margins(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)])


def calibration(predicted: Floats, rows: Rows) -> tuple[Bin, ...]:
    """What the model's probabilities say, and what came true, in bins of as many rows each."""
    found = []
    for index in np.array_split(np.argsort(predicted, kind="stable"), BINS):
        if len(index):
            weight = rows.weight[index]
            observed = float(np.average(1.0 - rows.weak[index], weights=weight))
            found.append(Bin(len(index), float(np.average(predicted[index], weights=weight)), observed))
    return tuple(found)


def strongest(model: Model, rows: Rows, count: int = 12) -> tuple[Strength, ...]:
    """The inputs that move the margin most, and the words together. No word is named: what they are is not known."""
    found = [Strength("words", float(np.std(rows.words @ model.words)), None)]
    columns = zip(model.header.input_names, rows.inputs.T, model.knots, model.curves, strict=True)
    for name, values, knots, curve in columns:
        part = np.nan_to_num(np.interp(values, knots, curve))
        centred = values - values.mean()
        found.append(Strength(name, float(np.std(part)), bool(centred @ part >= 0.0)))
    found.sort(key=lambda each: -each.deviation)
    return tuple(each for each in found[:count] if each.deviation > 0.0)


def interval(draws: Floats) -> Interval:
    """The first of `draws` is the estimate from all rows, the others are of the bootstrap."""
    low, high = np.quantile(draws[1:], (0.025, 0.975))
    return Interval(float(draws[0]), float(low), float(high))
