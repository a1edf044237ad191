"""The command `bsgateway report`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from .cli_options import config_option, database, state_option, stoppable
from .figures import By

if TYPE_CHECKING:
    from .figures import Period, Savings
    from .report import Reading


@click.command()
@config_option
@state_option
@click.option(
    "--since",
    default="30d",
    show_default=True,
    metavar="MOMENT",
    help="Requests made at this moment or later: a date, a time or an age (7d, 12h).",
)
@click.option("--until", metavar="MOMENT", help="Only requests made before this moment.  [default: now]")
@click.option("--by", type=click.Choice(get_args(By)), default="tier", show_default=True, help="What to add up by.")
@click.option(
    "--tz",
    metavar="NAME",
    help="The time zone that days begin by, and that dates without one are meant in, such as Europe/Berlin.  "
    "[default: that of this machine, or UTC]",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json", "csv", "html"]),
    default="table",
    show_default=True,
    help="A table to read, JSON, CSV for spreadsheets, or one HTML file with plots.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    default="-",
    show_default=True,
    help="The file to write; - is the standard output. It appears once it is complete.",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.pass_context
def report(
    ctx: click.Context,
    /,
    config: Path,
    state: Path,
    since: str,
    until: str | None,
    by: By,
    tz: str | None,
    format_: str,
    output: Path,
    force: bool,
) -> None:
    """Show what was spent and saved: the numbers of the dashboard, in a terminal or in a file."""
    from .export_files import destination

    period = _period(ctx, since, until, tz)
    path = None if str(output) == "-" else output
    if format_ == "html":
        from .report_html import asset

        asset("report.js")  # before anything is read
    with stoppable():
        if path is None and format_ == "table":
            _show(_read(config, state, period, by).savings)
            return
        with destination(path, force) as file:
            found = _read(config, state, period, by)
            file.write(_written(found.savings, format_))
    if not found.savings.total.requests:
        click.echo(_nothing(found.savings), err=True)
    if path is not None:
        click.echo(f"{found.savings.total.requests:,} requests: {path}", err=True)


def _period(ctx: click.Context, since: str, until: str | None, tz: str | None) -> Period:
    from .decision import now
    from .errors import FiguresError
    from .periods import resolve_period

    try:
        return resolve_period(since, until, tz or local_zone(), None, now())
    except FiguresError as error:
        raise click.UsageError(str(error), ctx) from error


def local_zone() -> str:
    """The IANA name of this machine's time zone, as far as it says so; else UTC."""
    import tzlocal

    from .errors import FiguresError
    from .periods import find_zone

    try:
        name = tzlocal.get_localzone_name()
        find_zone(name)
    except (LookupError, ValueError, OSError, FiguresError):  # it is set to something without a name
        return "UTC"
    return name


def _read(config: Path, state: Path, period: Period, by: By) -> Reading:
    from .check import load_config
    from .progress import hour_progress
    from .report import read

    retention_days = load_config(config).routing.collector.retention_days
    with database(config, state) as url, hour_progress() as advance:
        found = asyncio.run(read(url, period, by, retention_days, advance))
    if not found.complete:
        click.echo("note: not all of the log is added up yet, and some requests are missing: ask again later", err=True)
    return found


def _written(savings: Savings, format_: str) -> bytes:
    from .report import as_csv, as_json

    if format_ == "json":
        return as_json(savings)
    if format_ == "csv":
        return as_csv(savings)
    if format_ == "html":
        from .report_html import as_html

        return as_html(savings)
    from .report_table import as_text

    return as_text(savings)


def _show(savings: Savings) -> None:
    from .report_table import render
    from .terminal import wide_console

    if savings.total.requests:
        console = wide_console()
        console.print(render(savings, console.width))
    else:
        click.echo(_nothing(savings))


def _nothing(savings: Savings) -> str:
    from .report import local

    period = savings.period
    return (
        f"the log has no requests from {local(period.since, period)} to {local(period.until, period)}, "
        f"{period.timezone}"
    )
