"""The commands `bsgateway logs`, `logs export` and `logs purge`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from .cli_options import INHERITED, config_option, database, given, inherited, json_option, state_option, stoppable

if TYPE_CHECKING:
    from .export import Selection, Summary
    from .purge import Found, Report


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    from .decision import now
    from .moments import parse_moment

    try:
        return None if value is None else parse_moment(value, now())
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def _name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value == "":  # as of a variable of the shell that is not set
        raise click.BadParameter("it is empty", ctx, param)
    return value


@click.group(invoke_without_command=True)
@config_option
@state_option
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Rows to show.")
@click.option("--tail", is_flag=True, help="Go on showing new decisions as they arrive.")
@json_option
@click.pass_context
def logs(ctx: click.Context, config: Path, state: Path, limit: int, tail: bool, as_json: bool) -> None:
    """Show the newest decisions and what came of them. With a command: export or erase them."""
    if ctx.invoked_subcommand is not None:
        for param in ctx.command.params:
            if given(ctx, param) and param.name not in INHERITED:
                raise click.UsageError(f"{param.opts[-1]} does not go with `logs {ctx.invoked_subcommand}`", ctx)
        return

    from .logs import show

    with database(config, state) as url, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(show(url, limit, tail, as_json))


@logs.command()
@config_option
@state_option
@click.option(
    "--since",
    callback=_moment,
    required=True,
    metavar="MOMENT",
    help="Decisions made at this moment or later: a date, a time (UTC unless it says otherwise) or an age (7d, 12h).",
)
@click.option("--until", callback=_moment, metavar="MOMENT", help="Only decisions made before this moment.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    show_default=True,
    help="JSON lines, or Parquet (needs `pip install 'bsgateway[export]'`).",
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
@click.option("--texts/--no-texts", default=False, show_default=True, help="With the words of the requests.")
@click.pass_context
def export(
    ctx: click.Context,
    /,
    since: datetime,
    until: datetime | None,
    format_: str,
    output: Path,
    force: bool,
    texts: bool,
    **_: Any,
) -> None:
    """Write decisions to a file, one row each, with their outcomes and feedback."""
    from .export import Selection

    path = None if str(output) == "-" else output
    if format_ == "parquet" and path is None:
        raise click.UsageError("Parquet cannot be written to the standard output: name a file with -o", ctx)
    if until is not None and until <= since:
        raise click.UsageError("--until is not after --since", ctx)
    summary = _export(*inherited(ctx), Selection(since, until, texts), format_, path, force)
    where = f": {path}" if path else ""
    click.echo(f"{summary.rows:,} rows, {summary.bytes:,} bytes in {summary.seconds:.1f} s{where}", err=True)


def _export(config: Path, state: Path, selection: Selection, format_: str, path: Path | None, force: bool) -> Summary:
    from .export import export
    from .export_files import destination, formatted
    from .progress import row_progress

    visible = path is not None or not sys.stdout.isatty()  # no bar between rows
    with (
        stoppable(),
        destination(path, force) as file,
        formatted(file, format_, selection.columns) as writer,
        database(config, state) as url,
        row_progress(visible=visible) as advance,
    ):
        return asyncio.run(export(url, selection, writer, advance))


@logs.command()
@config_option
@state_option
@click.option(
    "--user", callback=_name, metavar="NAME", help="Decisions of this user: a user_id of LiteLLM, or an end user."
)
@click.option("--key", callback=_name, metavar="NAME", help="Decisions of this key: its alias or its hash.")
@click.option(
    "--before", callback=_moment, metavar="MOMENT", help="Decisions made before this: a date, a time or an age."
)
@click.option("--dry-run", is_flag=True, help="Show what would be erased, change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--vacuum/--no-vacuum", default=True, show_default=True, help="VACUUM the tables afterwards.")
@json_option
@click.pass_context
def purge(
    ctx: click.Context,
    /,
    user: str | None,
    key: str | None,
    before: datetime | None,
    dry_run: bool,
    yes: bool,
    vacuum: bool,
    as_json: bool,
    **_: Any,
) -> None:
    """Erase decisions with all their rows. Several conditions: decisions that meet all of them."""
    from .purge import Condition, purge

    if user is None and key is None and before is None:
        raise click.UsageError("say what to erase: --user, --key or --before", ctx)
    if not (yes or dry_run or sys.stdin.isatty()):
        raise click.UsageError("nobody is there to confirm it: give --yes, or look first with --dry-run", ctx)
    config, state = inherited(ctx)

    def confirmed(found: Found) -> bool:
        if not (yes and as_json):
            _show_rows(found, err=as_json)
        return yes or click.confirm("Erase these rows for good?", err=True)

    with stoppable(), database(config, state) as url:
        condition = Condition(user, key, before)
        report = asyncio.run(purge(url, condition, None if dry_run else confirmed, vacuum))
    _show_report(report, dry_run, as_json)
    for note in _notes(report, config, state):
        click.echo(f"note: {note}", err=True)
    if report.declined:
        sys.exit(1)


def _show_rows(found: Found, err: bool) -> None:
    for table, rows in found.rows.items():
        click.echo(f"{table:<21} {rows:>12,}", err=err)


def _show_report(report: Report, dry_run: bool, as_json: bool) -> None:
    if as_json:
        answer = {
            "found": report.found.rows,
            "erased": report.erased,
            "unreadable_dead_letters": report.found.unreadable,
            "seconds": report.seconds,
        }
        click.echo(msgspec.json.encode(answer).decode())
    elif report.declined:
        click.echo("nothing was erased", err=True)
    elif not any(report.found.rows.values()):
        click.echo("nothing to erase")
    elif dry_run:
        _show_rows(report.found, err=False)
    else:
        click.echo(f"{sum(report.erased.values()):,} rows erased in {report.seconds:.1f} s")


def _notes(report: Report, config: Path, state: Path) -> Iterator[str]:
    """What may be left of what was to be erased."""
    from .check import load_config
    from .config import spool_directory
    from .log.spool import SpoolError, survey

    if report.warnings:  # one for each partition
        others = f" (and {len(report.warnings) - 1} more)" if len(report.warnings) > 1 else ""
        yield report.warnings[0] + others
    if report.found.unreadable:
        yield f"{report.found.unreadable:,} dead letters do not say whose they are, and stay; --before erases them"
    directory = spool_directory(load_config(config).routing.collector, state)
    if directory is None:
        return
    try:
        backlog = survey(directory)
    except SpoolError as error:
        yield f"rows may wait to be written: {error}"
        return
    if not backlog and not os.path.lexists(directory):
        yield f"no spool at {directory}: if the gateway has another state directory, rows may wait there"
    if rows := sum(slot.rows for slot in backlog):
        yield f"{rows:,} rows wait in {directory} and are not in the database yet: erase again once they are"
    for slot in backlog:
        if slot.error:
            yield f"{slot.path} cannot be read, and may hold rows: {slot.error}"
