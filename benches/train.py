"""What a whole `bsgateway train` costs: time and memory, on a log that is written to a PostgreSQL for it.

    make bench-train ARGS="--rows 50000 --memory 1GB"

Each row is a dual run. The log has a planted signal, so the report also shows whether it was found.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from bsgateway.decision import now
from bsgateway.embedded import EmbeddedPostgres
from bsgateway.store import Store
from labelled_log import make_asks, make_log

ROOT = Path(__file__).parents[1]
SECONDS, MEGABYTES = 60.0, 2_000.0
"""What 50,000 rows may take."""
DAYS = 20


async def write_log(dsn: str, rows: int) -> None:
    async with await Store.connect(dsn) as store:
        await store.migrate()
        start, apart = now() - timedelta(days=DAYS), timedelta(days=DAYS) / (rows + 1)
        for records in make_log(make_asks(rows), start, apart):
            await store.copy(records)
        async with store.acquire() as connection:
            await connection.execute("ANALYZE")


def train(state: Path, memory: str) -> dict[str, Any]:
    """Run the command; what it reports, with `wall` in seconds and `peak` in MB."""
    command = [
        sys.executable, "-m", "bsgateway", "train", "--config", str(ROOT / "gateway.yaml"), "--state", str(state),
        "--days", str(DAYS + 1), "--memory", memory, "--json",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "COLLECTOR_DATABASE_URL"}
    started = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    wall = time.monotonic() - started
    if done.returncode not in (0, 3):
        sys.exit(f"train failed with exit code {done.returncode}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest child: this one
    return {"wall": wall, "peak": peak, **json.loads(done.stdout)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--memory", default="1GB", help="as of `bsgateway train`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bsg-") as name, EmbeddedPostgres(Path(name)) as server:
        asyncio.run(write_log(server.dsn, options.rows))
        found = train(Path(name), options.memory)
    verdict = found["verdict"]
    print(f"rows {options.rows:,}  memory {options.memory}  wall {found['wall']:.1f} s  peak {found['peak']:,.0f} MB")
    print(f"held out {verdict['held_out']:,}  APGR {json.dumps(verdict['apgr'])}  promoted {found['promoted']}")
    if options.rows <= 50_000 and (found["wall"] > SECONDS or found["peak"] > MEGABYTES):
        sys.exit(f"more than {SECONDS:.0f} s or {MEGABYTES:,.0f} MB")


if __name__ == "__main__":
    main()
