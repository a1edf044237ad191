"""The command `bsgateway replay`: over files of recorded requests, or over the log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from .cli_options import (
    DEFAULT_CONFIG,
    config_option,
    database,
    days_option,
    given,
    json_option,
    ray_options,
    state_option,
)

if TYPE_CHECKING:
    from .replay_log import LogReport
    from .replay_log_report import Question

DAYS = 7.0
_OF_THE_LOG = ("days", "parquet", "ray", "workers", "logged_by", "state", "model", "strategy", "limit", "show_text")


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_option
@days_option(f"How much of the log is replayed, up to now.  [default: {DAYS:g}]", default=None)
@click.option(
    "--logged-by",
    type=click.Path(path_type=Path),
    envvar="BSGATEWAY_CONFIG",
    help="The gateway.yaml that the log was written under, and whose database it is.  "
    f"[default: {DEFAULT_CONFIG} if it is there, else --config]",
)
@state_option
@click.option(
    "--strategy",
    type=click.Choice(["static", "ml", "llm"]),
    help="Score by this instead of what --config says. llm: by the verdicts in the log, as nobody is asked again, and "
    "else by the fallback.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Score by this model file, with the strategy ml.",
)
@click.option(
    "--limit", type=click.IntRange(0, 1_000), default=10, show_default=True, help="Disagreements of the log to show."
)
@click.option(
    "--parquet",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Replay this export of the log, or those in this directory, and not the database (needs `pip install "
    "'bsgateway[scale]'`); may be given several times.",
)
@ray_options
@click.option("--show-text", is_flag=True, help="Show what was asked in these, as far as the words were kept.")
@json_option
@click.pass_context
def replay(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    config: Path,
    days: float | None,
    logged_by: Path | None,
    state: Path,
    strategy: str | None,
    model: Path | None,
    limit: int,
    parquet: tuple[Path, ...],
    ray: str | None,
    workers: int | None,
    show_text: bool,
    as_json: bool,
) -> None:
    """Decide requests anew, as --config would, and compare. Nothing is sent anywhere.

    Without FILES: the requests of the log's last days, from what the log has of them, under another configuration,
    model or strategy than the one that decided them: which go to another tier, and what that costs or saves.

    FILES hold one request a line, as JSON: {"session": "...", "call_type": "acompletion", "headers": {...}, "at":
    seconds, "body": {...}}, and if known "thread", "output_tokens" and whether it is a "side" request. They are
    decided with and without conversations that keep their tier.
    """
    if files:
        for param in ctx.command.params:
            if param.name in _OF_THE_LOG and given(ctx, param):
                raise click.UsageError(f"{param.opts[-1]} is for the log, and does not go with FILES", ctx)
        _replay_files(files, config, as_json)
        return
    if strategy in ("static", "llm") and model is not None:
        raise click.UsageError(f"--model does not go with --strategy {strategy}", ctx)
    if logged_by is None:
        logged_by = Path(DEFAULT_CONFIG) if Path(DEFAULT_CONFIG).is_file() else config

    if parquet and days is not None:
        raise click.UsageError("--days does not go with --parquet, of which all is replayed", ctx)
    if not parquet and (ray is not None or workers is not None):
        raise click.UsageError("--ray and --workers go with --parquet", ctx)

    from .decision import Strategy
    from .replay_log_report import Question

    chosen = None if strategy is None else Strategy(strategy)
    question = Question(config, logged_by, state, days or DAYS, chosen, model, limit, show_text)
    if parquet:
        _replay_parquet(question, parquet, ray, workers or os.cpu_count() or 1, as_json)
    else:
        _replay_log(question, as_json)


def _replay_files(files: tuple[Path, ...], config: Path, as_json: bool) -> None:
    from .replay_report import print_report, run

    report = run(files, config)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        print_report(report)


def _replay_parquet(question: Question, paths: tuple[Path, ...], ray: str | None, workers: int, as_json: bool) -> None:
    from .replay_parquet import run, task_of

    _show_log(run(paths, task_of(question), ray, workers), as_json)


def _replay_log(question: Question, as_json: bool) -> None:
    from .replay_log_report import run

    with database(question.logged_by, question.state) as url:
        report = run(url, question)
    _show_log(report, as_json)


def _show_log(report: LogReport, as_json: bool) -> None:
    from .replay_log_report import print_report

    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        print_report(report)
