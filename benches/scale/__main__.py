"""`python -m benches.scale`: gateways x workers over one PostgreSQL, and what a row takes on disk."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

# Before anything imports LiteLLM, which otherwise waits for a download of its price map.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import click
import msgspec
from benches.machine import about
from rich.console import Console

from bsgateway.embedded import EmbeddedPostgres
from bsgateway.errors import GatewayError
from e2e.upstream import Upstream

from . import layouts, report, sizes

RESULTS = Path(__file__).parents[1] / "results" / "scale.md"
LAYOUTS = ((1, 1), (1, 2), (2, 2))
"""Gateways, and workers of each."""


@click.command()
@click.option("--requests", default=600, show_default=True, help="Measured requests of a layout.")
@click.option("--clients", default=16, show_default=True, help="Requests at once.")
@click.option("--rows", default=50_000, show_default=True, help="Decisions of the log whose size is measured; 0: none.")
@click.option("--sizes-only", is_flag=True, help="Start no gateway.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", is_flag=True, help="Write benches/results/scale.md.")
def main(requests: int, clients: int, rows: int, sizes_only: bool, as_json: bool, write: bool) -> None:
    """Exit 1 if a row is lost or there twice."""
    if write and (sizes_only or not rows):
        raise click.UsageError("the page has all of it: --write goes without --sizes-only and --rows 0")
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that all that was started is stopped
    machine = about()  # the commit of what is imported now
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bsgateway-bench-") as directory,
            EmbeddedPostgres(Path(directory) / "state") as server,
        ):
            found = report.Results(
                machine=machine,
                date=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
                requests=requests,
                clients=clients,
                layouts=[] if sizes_only else _measure(server.dsn, Path(directory), requests, clients, console),
                rows=rows,
                sizes=asyncio.run(sizes.measure(server.dsn, rows, console.print)) if rows else [],
            )
    except GatewayError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        report.show(found, Console(width=None if sys.stdout.isatty() else 120))
    if write:
        RESULTS.write_text(report.page(found), encoding="utf-8")
    if wrong := [line for line in found.layouts if line.lost or line.duplicates]:
        raise click.ClickException(f"rows are lost or there twice: {wrong}")


def _measure(dsn: str, directory: Path, requests: int, clients: int, console: Console) -> list[report.Line]:
    lines = []
    with Upstream().running() as upstream:
        for gateways, workers in LAYOUTS:
            console.print(f"{gateways} gateway(s) with {workers} worker(s)")
            home = directory / f"{gateways}x{workers}"
            lines.append(layouts.measure(dsn, home, upstream, gateways, workers, requests, clients))
    return lines


if __name__ == "__main__":
    main()
