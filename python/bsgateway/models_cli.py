"""The commands `bsgateway models`, `models promote` and `models rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from .cli_options import INHERITED, config_option, given, inherited, json_option, state_option

if TYPE_CHECKING:
    from rich.table import Table

    from .web.views import HeldOut, ModelVersion

STATES = {"in_force": "in force"}
BETTER = {True: "yes", False: "no", None: ""}


@click.group(invoke_without_command=True)
@config_option
@state_option
@json_option
@click.pass_context
def models(ctx: click.Context, config: Path, state: Path, as_json: bool) -> None:
    """List the versions of the learned model that are kept. With a command: put one of them in force."""
    if ctx.invoked_subcommand is not None:
        for param in ctx.command.params:
            if given(ctx, param) and param.name not in INHERITED:
                raise click.UsageError(f"{param.opts[-1]} does not go with `models {ctx.invoked_subcommand}`", ctx)
        return

    from .check import load_config
    from .learn.promotion import list_versions
    from .terminal import wide_console

    checked = load_config(config)
    versions = list_versions(checked, state)
    if as_json:
        click.echo(msgspec.json.encode(versions).decode())
        return
    wide_console().print(table(versions))
    if checked.routing.classifier.scorer != "ml":
        click.echo(_unused())


@models.command()
@click.argument("model")
@click.option("--force", is_flag=True, help="Also if it was not certain that it is better than what ran.")
@config_option
@state_option
@json_option
@click.pass_context
def promote(ctx: click.Context, model: str, force: bool, config: Path, state: Path, as_json: bool) -> None:
    """Put a version in force. MODEL: an id that `bsgateway models` lists, or `previous`, or `prior`.

    All workers follow within a few seconds. What was in force is kept, and is `previous` from then on.
    """
    _promote(*inherited(ctx), model, force, as_json)


@models.command()
@config_option
@state_option
@json_option
@click.pass_context
def rollback(ctx: click.Context, config: Path, state: Path, as_json: bool) -> None:
    """Put the model in force that was before; done twice, it changes nothing. Same as `promote previous`."""
    from .learn.promotion import PREVIOUS

    _promote(*inherited(ctx), PREVIOUS, False, as_json)


def _promote(config: Path, state: Path, model: str, force: bool, as_json: bool) -> None:
    from .check import load_config
    from .learn.promotion import promote
    from .models import model_path

    checked = load_config(config)
    done = promote(checked, state, model, force)
    if as_json:
        click.echo(msgspec.json.encode(done).decode())
        return
    where = model_path(checked, state)
    if done.id == done.before:
        click.echo(f"model {done.id} is in force already: {where}")
    else:
        click.echo(f"model {done.id} is in force now, in place of {done.before or 'one that was refused'}: {where}")
    if checked.routing.classifier.scorer != "ml":
        click.echo(_unused())


def table(versions: tuple[ModelVersion, ...]) -> Table:
    """The versions as people read them."""
    from rich.table import Table

    view = Table(box=None, pad_edge=False)
    for name in ("model", "state", "made", "rows", "APGR", "better by", "better"):
        view.add_column(name, justify="right" if name == "rows" else "left", no_wrap=True)
    for version in versions:
        # Estimates of a prior are one for each file: there is none of the whole.
        held_out = {} if version.kind == "prior" else {each.name: each for each in version.held_out}
        view.add_row(
            version.id,
            STATES.get(version.state, version.state) + (", prior" if _is_prior(version) else ""),
            version.created,
            f"{version.rows:,}",
            _shown(held_out.get("apgr")),
            _shown(held_out.get("difference"), "+"),
            BETTER[version.better],
        )
    return view


def _is_prior(version: ModelVersion) -> bool:
    return version.kind == "prior" and version.state != "prior"


def _shown(estimate: HeldOut | None, sign: str = "") -> str:
    if estimate is None:
        return ""
    value, *bounds = (
        "" if number is None else format(number, f"{sign}.3f")
        for number in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({' to '.join(bounds)})" if all(bounds) else value


def _unused() -> str:
    return "No score comes from it: for that, routing.classifier.strategy is ml, or llm with the fallback ml."
