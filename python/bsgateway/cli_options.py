"""Options that several commands have, and the database that they name."""

from __future__ import annotations

import contextlib
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from .config import DEFAULT_STATE, STATE_VARIABLE
from .errors import GatewayError

DEFAULT_CONFIG = "gateway.yaml"

Command = TypeVar("Command", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A finite number in a range: click lets `nan` through, which is neither below nor above a bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def config_option(command: Command) -> Command:
    return click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path),
        default=DEFAULT_CONFIG,
        show_default=True,
        envvar="BSGATEWAY_CONFIG",
        help="The gateway.yaml.",
    )(command)


def state_option(command: Command) -> Command:
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_STATE,
        show_default=True,
        envvar=STATE_VARIABLE,
        help="Directory for the embedded database, the spool, logs and the master key.",
    )(command)


INHERITED = ("config", "state")
"""What the subcommands of a group take over from it: `logs -c FILE export` is `logs export -c FILE`."""


def given(ctx: click.Context, param: click.Parameter) -> bool:
    """Whether an option stands on the command line."""
    return param.name is not None and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE


def inherited(ctx: click.Context) -> tuple[Path, Path]:
    """Configuration and state directory: as the subcommand was given them, or else as the group was."""
    group = ctx.parent
    assert group is not None  # noqa: S101 - a subcommand has a parent
    where = {param.name: ctx if given(ctx, param) else group for param in ctx.command.params}
    config, state = (where[name].params[name] for name in INHERITED)
    return config, state


MAX_DAYS = 36_500


def days_option(help: str, default: float | None = 30.0) -> Callable[[Command], Command]:
    """`--days`: how much of the log, up to now."""
    kind = Number(0, MAX_DAYS, min_open=True)
    return click.option("--days", type=kind, default=default, show_default=default is not None, help=help)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="For machines: JSON instead of a table.")(command)


def ray_options(command: Command) -> Command:
    """Who holds what `--parquet` names."""
    workers = click.option(
        "--workers", type=click.IntRange(1, 10_000), help="Workers on Ray, each with a processor.  [default: as here]"
    )
    ray = click.option(
        "--ray",
        metavar="ADDRESS",
        help="Spread the work over a Ray cluster: its address, or `local` for one on this machine that ends with the "
        "command. Each node needs this version of bsgateway[scale], and the files by the same paths.",
    )
    return ray(workers(command))


@contextlib.contextmanager
def database(config: Path, state: Path) -> Iterator[str]:
    """The database of the log: the operator's own, that of a running gateway, or the embedded one for this command."""
    from .check import load_config
    from .config import resolve_env
    from .embedded import EmbeddedPostgres, running_dsn

    url = resolve_env(load_config(config).routing.collector.database_url) or running_dsn(state)
    if url is not None:
        yield url
    elif (state / "postgres").is_dir():
        with EmbeddedPostgres(state) as embedded:
            yield embedded.dsn
    else:
        raise GatewayError(f"no database: set COLLECTOR_DATABASE_URL, or start the gateway once (no {state}/postgres)")


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: the transaction is rolled back, an incomplete file removed.

    Both by a handler of ours: for Python's own, asyncio puts another in its place, which cancels the task; and what is
    cancelled while it connects may end with a time-out instead, and look like a database that does not answer.
    """

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
