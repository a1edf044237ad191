"""How well the learned score routes: `make quality DATA=dir`, by RouteLLM's protocol, beside what others do.

DATA holds outcome files (see `bsgateway.learn.dataset`). Nothing is fetched. For each pool, a file and a pair of its
models, the prior is trained on the other files, without any prompt of this one; labels of the pool come on top of it.
`blend` are the prior and the static score together. LiteLLM's complexity routers get the prompt as the only message.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from scipy.stats import rankdata

import quality_section
from bsgateway.errors import GatewayError, LearningError
from bsgateway.learn import evaluate, prior
from bsgateway.learn.dataset import lines, read_outcomes
from bsgateway.learn.evaluate import Curve, Score, Trial
from bsgateway.learn.evaluate_report import draw
from bsgateway.learn.model_file import Model
from bsgateway.learn.rows import Floats, Rows

RESULTS = Path(__file__).parent / "results"
DRAWS = 200
JUDGED = Path(__file__).parent / "prior" / "judged.tsv"
SPLITS = 10
LABELS = (200, 300, 1_500)
LEAST_TESTED = 500
"""A pool is not asked for labels that leave fewer rows to test on."""
Found = tuple[Score, Curve]
"""A router's score and curve."""


class Pool(NamedTuple):
    """A file and two of its models; `rows` have both outcomes."""

    name: str
    path: Path
    weak: str
    strong: str
    rows: Rows


Measured = Sequence[tuple[Pool, Mapping[str, Found]]]
"""Each pool with its routers, in the order of the table."""


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(prog="make quality", description=__doc__)
    parser.add_argument("data", type=Path, help="directory of outcome files")
    parser.add_argument("--pair", action="append", default=[], metavar="FILE:WEAK:STRONG", help="a pair for a file")
    parser.add_argument("--write", action="store_true", help="write benches/results/quality.* and README")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        found = [prior.read(path) for path in prior.outcome_files(options.data)]
        priors = {file.path.name: model for file, model in prior.leave_one_out(found, prior.read_judged(JUDGED))}
        _say(f"{len(priors)} priors, each without one file: {time.monotonic() - started:.0f} s")
        measured: list[tuple[Pool, dict[str, Found]]] = []
        for pool in pools(found, options.pair):
            measured.append((pool, measure(pool, priors[pool.path.name])))
            _say(f"{pool.name}: {time.monotonic() - started:.0f} s")
    except GatewayError as error:
        raise SystemExit(f"error: {error}") from error
    page = report(measured)
    print(page)
    if options.write:
        write(page, measured)


def pools(found: Sequence[prior.OutcomeFile], pairs: Sequence[str]) -> Iterator[Pool]:
    """The pools of the files. Raises LearningError."""
    asked: dict[str, list[tuple[str, str]]] = {}
    for pair in pairs:
        file, weak, strong = (*pair.split(":"), "", "")[:3]
        if not strong:
            raise LearningError(f"--pair {pair}: it must be FILE:WEAK:STRONG, FILE without .jsonl")
        asked.setdefault(file, []).append((weak, strong))
    for file in found:
        stem = file.path.name.split(".")[0]
        known = asked.get(stem) or prior.PAIRS.get(stem) or [(file.weaker[0], file.stronger[-1])]
        for at, (weak, strong) in enumerate(known, 1):
            rows = evaluate.complete(read_outcomes(file.path, weak, strong))
            yield Pool(stem if len(known) == 1 else f"{stem} {at}", file.path, weak, strong, rows)


def measure(pool: Pool, model: Model) -> dict[str, Found]:
    """Every router's score and curve on a pool, in the order of the table."""
    rows = pool.rows
    margins = model.margins(rows)
    others = {
        **evaluate.baselines(rows),
        **litellm_scores(pool),
        "blend of ranks": rankdata(margins) + rankdata(rows.static),
        "blend of scores": 100.0 * model.probabilities(rows) + rows.static,
    }
    whole = [Trial(np.arange(len(rows)), {"prior": margins, **others})]
    found = dict(evaluate.summary(rows, whole, DRAWS))
    for labels in LABELS:
        if len(rows) - labels >= LEAST_TESTED:
            trials = evaluate.few_labels(rows, labels, SPLITS, model, {})
            found[f"{labels:,} labels"] = evaluate.summary(rows, trials, DRAWS)["ml"]
    found["5-fold CV"] = evaluate.summary(rows, evaluate.cross_validated(rows, 5, model, {}), DRAWS)["ml"]
    return found


def litellm_scores(pool: Pool) -> dict[str, Floats]:
    """The scores of LiteLLM's complexity routers: version 1's own, and version 2's probability that its lowest tier
    does not do."""
    from contenders import litellm_router

    v1, v2 = litellm_router("heuristic"), litellm_router("heuristic_v2")
    wanted = dict.fromkeys(pool.rows.at.astype(int).tolist())
    prompts = [line.prompt for number, line in lines(pool.path) if number in wanted]
    lowest = [v2(prompt).heuristic_v2_forecast["probabilities"]["SIMPLE"] for prompt in prompts]
    return {"LiteLLM v1": np.array([v1(prompt).score for prompt in prompts]), "LiteLLM v2": 1.0 - np.array(lowest)}


def report(measured: Measured) -> str:
    """The page: APGR of every router on every pool, and CPT50 and CPT80."""
    routers = list(dict.fromkeys(name for _, found in measured for name in found))
    parts = [
        "# Routing quality",
        "",
        "Written by `make quality DATA=dir ARGS=--write`. RouteLLM's protocol (arXiv 2406.18665): APGR, chance is "
        f"0.5; in brackets the 95 % interval of the bootstrap ({DRAWS} draws). `prior` is trained on the other files, "
        f"without any prompt of the pool; `labels` and `CV` are trained on labels of the pool, on top of that prior, "
        f"and tested on the rest ({SPLITS} random splits). A pool with too few rows has no figure, and is not in the "
        "mean.",
        "",
        *_table("APGR", measured, routers, lambda score: f"{score.apgr:.3f} ({score.low:.3f}-{score.high:.3f})"),
        "",
        "Calls to the strong model, in per cent, that recover 50 % / 80 % of the gap:",
        "",
        *_table("CPT50/80", measured, routers, lambda score: f"{score.cpt50:.0f} / {score.cpt80:.0f}"),
        "",
        *(f"- {pool.name}: {pool.weak} -> {pool.strong}, {len(pool.rows):,} rows" for pool, _ in measured),
        "",
        *_reading(measured),
    ]
    return "\n".join(parts)


def _table(title: str, measured: Measured, routers: Sequence[str], show: Callable[[Score], str]) -> Iterator[str]:
    yield f"| {title} | {' | '.join(pool.name for pool, _ in measured)} | mean |"
    yield "|---" * (len(measured) + 2) + "|"
    for name in routers:
        cells = [show(found[name][0]) if name in found else "-" for _, found in measured]
        last = (
            f"{mean(measured, name):.3f}" if title == "APGR" else "{:.0f} / {:.0f}".format(*_mean_cpt(measured, name))
        )
        yield f"| {name} | {' | '.join(cells)} | {last} |"


def mean(measured: Measured, name: str) -> float:
    """Mean APGR of a router over the pools that have it."""
    return float(np.mean([found[name][0].apgr for _, found in measured if name in found]))


def _mean_cpt(measured: Measured, name: str) -> tuple[float, float]:
    scores = [found[name][0] for _, found in measured if name in found]
    return float(np.mean([score.cpt50 for score in scores])), float(np.mean([score.cpt80 for score in scores]))


def _reading(measured: Measured) -> Iterator[str]:
    """What the figures say, from the figures."""
    ways = {name: mean(measured, name) for name in ("prior", "static", "blend of ranks", "blend of scores")}
    best = max(ways, key=ways.__getitem__)
    shown = ", ".join(f"{name} {value:.3f}" for name, value in ways.items())
    yield f"Without labels of the traffic: {shown}. Best on the mean: {best}. The shipped model is the prior alone."
    static, length = mean(measured, "static"), mean(measured, "length")
    relation = "no worse than" if static >= length else "worse than"
    yield f"The static score ({static:.3f}) is {relation} prompt length ({length:.3f}) on the mean of the pools."


def write(page: str, measured: Measured) -> None:
    """Write the page and the curves next to the other results, and README's section."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    RESULTS.joinpath("quality.md").write_text(page + "\n\n![PGR curves](quality.svg)\n", encoding="utf-8")
    quality_section.write()
    across = min(4, len(measured))
    down = -(-len(measured) // across)
    with rc_context({"font.size": 9, "svg.fonttype": "path", "svg.hashsalt": "bsgateway"}):
        figure = Figure(figsize=(3.6 * across, 3.4 * down), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for place, (pool, found) in zip(axes, measured, strict=False):
            names = {"5-fold CV": "ml", "prior": "prior", "static": "static", "length": "length", "random": "random"}
            draw(place, {shown: found[name][1] for name, shown in names.items() if name in found})
            place.set_title(pool.name, loc="left", fontsize=9)
        for place in axes[len(measured) :]:
            place.set_axis_off()
        axes[0].legend(frameon=False, fontsize=7, loc="lower right")
        figure.savefig(RESULTS / "quality.svg", metadata={"Date": None})
        figure.savefig(RESULTS / "quality.png", dpi=110, metadata={"Software": None})


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
