"""`python -m benches.log`: measure the log, from one `record()` to the recovery of a million rows."""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

# Before anything imports LiteLLM, which otherwise waits for a download of its price map.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import uvloop
from benches.machine import about
from rich.console import Console
from rich.status import Status

from bsgateway.embedded import EmbeddedPostgres
from bsgateway.errors import GatewayError

from . import pacing, recording, recovery, report, spooling, ways
from .records import Records
from .site import Database

RESULTS = Path(__file__).parents[1] / "results"
WIDTH = 120


def main() -> int:
    """The command line; the exit code."""
    options = _parser().parse_args()
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that the server is stopped
    setup = about("asyncpg", "msgspec") | {"sqlite": sqlite3.sqlite_version}  # the commit of what is imported now
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bsgateway-bench-") as directory,
            console.status("starting") as status,
            _postgres(Path(directory)) as dsn,
        ):
            results = uvloop.run(_measure(dsn, Path(directory), options, status))
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except GatewayError as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    setup |= {"postgresql": results.pop("postgresql"), "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"}
    results = {"setup": setup, **results}
    if options.write:
        report.write(results, options.results)
    report.show(results, Console(width=None if sys.stdout.isatty() else WIDTH))
    return 0


async def _measure(dsn: str, directory: Path, options: argparse.Namespace, status: Status) -> dict[str, Any]:
    def stage(name: str) -> Path:
        """Say what is measured, and give it a place for its spool."""
        status.update(name)
        if not status.console.is_terminal:
            status.console.print(name)
        return directory / name.replace(" ", "-")

    records = Records()
    async with Database(dsn) as database:
        return {
            "record": await recording.measure(database, stage("record"), records, options.turns, options.pauses),
            "ways": await ways.measure(database, stage("ways to write"), records, options.way_rows, options.rounds),
            "spool": spooling.measure(stage("spool"), records, options.rounds),
            "paced": await pacing.measure(database, stage("steady pace"), records, options.seconds, options.rounds),
            "recovery": await recovery.measure(database, stage("recovery"), records, options.rows),
            "postgresql": await database.version(),
        }


@contextmanager
def _postgres(directory: Path) -> Iterator[str]:
    """The DSN of a PostgreSQL with settings as `serve` starts it, or of the one that BSGATEWAY_TEST_POSTGRES names: its
    log is emptied."""
    if given := os.environ.get("BSGATEWAY_TEST_POSTGRES"):
        yield given
        return
    with EmbeddedPostgres(directory / "state") as server:
        yield server.dsn


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches.log", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the backlog (default %(default)s, 1 GB)")
    parser.add_argument("--way-rows", type=int, default=10_000, help="that each way writes (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of ways, spool and pace (default %(default)s)")
    parser.add_argument("--turns", type=int, default=2_000, help="of the loop that records (default %(default)s)")
    parser.add_argument("--pauses", type=int, default=100, help="first records after one (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round at a steady pace (default %(default)s)")
    parser.add_argument("--write", action="store_true", help="write log.json, log.md and the plot")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the directory for that (default %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
