"""Options that several commands have, and the database that they name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from .config import DEFAULT_STATE, STATE_VARIABLE
from .errors import GatewayError

DEFAULT_CONFIG = "gateway.yaml"

Command = TypeVar("Command", bound=Callable[..., Any])


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


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="For machines: JSON instead of a table.")(command)


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
