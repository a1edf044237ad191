"""The commands that learn: `bsgateway train` and `bsgateway evaluate`."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click
import msgspec

from .cli_options import config_option, database, days_option, json_option, ray_options, state_option, stoppable
from .errors import LearningError

KEPT = 3
"""Exit code of `train` when the new model is not certain to be better, and the old one stays."""
PLOTS = (".svg", ".png", ".pdf")

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class Bytes(click.ParamType):  # type: ignore[type-arg,unused-ignore] # generic from click 8.2 on
    """A size: 500MB, 1.5 GB, 1000000."""

    name = "SIZE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([kmgt]?)b?", str(value).strip(), re.IGNORECASE)
        if found is None:
            self.fail(f"{value!r} is not a size such as 500MB or 1GB", param, ctx)
        return int(float(found[1]) * _UNITS[found[2].lower()])


def needs_the_extra() -> None:
    """Raises LearningError where the packages that learning needs are not installed."""
    try:
        import safetensors  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else f"scikit-learn ({error})"
        raise LearningError(f"this needs {missing}: run `pip install 'bsgateway[train]'`") from error


@click.command()
@config_option
@state_option
@days_option("Train on the log of so many days, up to now.")
@click.option(
    "--jsonl",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Train on this file of outcomes instead of the log; may be given several times.",
)
@click.option("--weak", metavar="MODEL", help="The cheap model's name in the files.")
@click.option("--strong", metavar="MODEL", help="The dear model's name in the files.")
@click.option(
    "--memory",
    type=Bytes(),
    default="1GB",
    show_default=True,
    help="Take about so much memory; rows beyond it lie in files in the state directory meanwhile.",
)
@click.option(
    "--parquet",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Train on this export of the log, or on those in this directory (needs `pip install 'bsgateway[scale]'`); may "
    "be given several times. Export it with --texts.",
)
@ray_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the model here, not where it is used.",
)
@click.option("--force", is_flag=True, help="Take the new model even if it is not certain that it is better.")
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would become of it.")
@json_option
@click.pass_context
def train(
    ctx: click.Context,
    /,
    config: Path,
    state: Path,
    days: float,
    jsonl: tuple[Path, ...],
    weak: str | None,
    strong: str | None,
    memory: int,
    parquet: tuple[Path, ...],
    ray: str | None,
    workers: int | None,
    output: Path | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train the learned score on the log, and promote the new model if it is certain to be better than what runs now.

    A fifth of the conversations, the newest, is held out: the lower bound of what the new model is better by there must
    be above 0. Exit code 3: it is not, and nothing has changed.
    """
    if jsonl and not (weak and strong):
        raise click.UsageError("--jsonl needs --weak and --strong, the names of two models in the file", ctx)
    if jsonl and weak == strong:
        raise click.UsageError(f"--weak and --strong are both {weak}: name two models", ctx)
    if not jsonl and (weak or strong):
        raise click.UsageError("--weak and --strong go with --jsonl", ctx)
    if parquet and jsonl:
        raise click.UsageError("--parquet does not go with --jsonl", ctx)
    if not parquet and (ray is not None or workers is not None):
        raise click.UsageError("--ray and --workers go with --parquet", ctx)
    needs_the_extra()
    from .learn.train_report import lines
    from .learn.train_run import Order, run
    from .progress import row_progress

    order = Order(
        config=config,
        state=state,
        days=days,
        jsonl=jsonl,
        weak=weak or "",
        strong=strong or "",
        memory=memory,
        parquet=parquet,
        ray=ray,
        workers=workers or os.cpu_count() or 1,
        output=output,
        force=force,
        dry_run=dry_run,
    )
    with stoppable(), row_progress() as advance:
        report = run(order, advance)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        for line in lines(report):
            click.echo(line)
        if report.report is not None:
            click.echo(f"report: {report.report}")
    if not report.promoted:
        sys.exit(KEPT)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--weak", metavar="MODEL", help="The cheap model's name in the file.")
@click.option("--strong", metavar="MODEL", help="The dear model's name in the file.")
@click.option("--labels", type=click.IntRange(20), help="Train on so many rows drawn at random, test on the rest.")
@click.option(
    "--splits", type=click.IntRange(1, 100), default=10, show_default=True, help="With --labels: mean of so many draws."
)
@click.option("--cv", "folds", type=click.IntRange(2, 20), help="Cross-validate with so many folds.")
@click.option(
    "--train-on",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Train on all models of this file; may be given several times, and takes all FILES but the first. With "
    "--labels or --cv, it stands for the shipped prior.",
)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the curves: .svg, .png or .pdf.")
@click.option("--log", "of_log", is_flag=True, help="Instead of FILES: off-policy estimates from explored requests.")
@days_option("With --log: look at so many days of it, up to now.")
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --log: score by this model file instead of what --config says.",
)
@config_option
@state_option
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    weak: str | None,
    strong: str | None,
    labels: int | None,
    splits: int,
    folds: int | None,
    train_on: tuple[Path, ...],
    plot: Path | None,
    of_log: bool,
    days: float,
    model: Path | None,
    config: Path,
    state: Path,
    as_json: bool,
) -> None:
    """Measure how well the learned score routes, by RouteLLM's protocol, beside the static score, prompt length and
    chance.

    The first of FILES holds outcomes, one prompt a line as JSON, gzipped or not: {"prompt": "...", "outcomes":
    {"model": score from 0 to 1}}. Without --labels, --cv and --train-on, the model in force is measured, on the prompts
    that it has not seen.

    With --log: what cost, failures, ratings and comparisons would have been under --config, always in the lowest and
    always in the top tier, estimated from the requests that learning.explore has sent elsewhere.
    """
    if of_log:
        if files or weak or strong or labels or folds or train_on or plot:
            raise click.UsageError("--log takes no files, and none of the options for them", ctx)
        needs_the_extra()
        _evaluate_log(config, state, days, model, as_json)
        return
    if not (files and weak and strong):
        raise click.UsageError("name a file of outcomes, and --weak and --strong, two models in it; or give --log", ctx)
    if model is not None:
        raise click.UsageError("--model goes with --log", ctx)
    if labels and folds:
        raise click.UsageError("--labels and --cv are two ways to measure: give one of them", ctx)
    if len(files) > 1 and not train_on:
        raise click.UsageError("only one file is measured: name the others after --train-on", ctx)
    if plot is not None and (plot.suffix.lower() not in PLOTS or not plot.absolute().parent.is_dir()):
        raise click.UsageError(
            f"--plot {plot}: name a file in a directory that is there, ending in .svg, .png or .pdf", ctx
        )
    needs_the_extra()
    from rich.console import Console

    from .learn.evaluate_report import plot as draw
    from .learn.evaluate_report import table
    from .learn.evaluate_run import Order, run
    from .progress import row_progress

    given = ctx.get_parameter_source("config") is not click.core.ParameterSource.DEFAULT
    order = Order(
        file=files[0],
        weak=weak,
        strong=strong,
        labels=labels or 0,
        splits=splits,
        folds=folds or 0,
        train_on=(*train_on, *files[1:]),
        config=config if given or config.exists() else None,
        state=state,
    )
    with row_progress() as advance:
        evaluation, curves = run(order, advance)
    if plot is not None:
        draw(curves, f"{files[0].name}: {weak} and {strong}", plot)
    if as_json:
        click.echo(f"prior: {evaluation.prior}", err=True)
        click.echo(msgspec.json.encode(evaluation).decode())
    else:
        Console().print(table(evaluation))


def _evaluate_log(config: Path, state: Path, days: float, model: Path | None, as_json: bool) -> None:
    from .learn.offpolicy_log import evaluate_log, report
    from .progress import row_progress

    with database(config, state) as url, row_progress() as advance:
        found = evaluate_log(url, config, state, days, model, advance)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        for line in report(found):
            click.echo(line)
