"""How quickly the pages answer over a log of millions of rows: `make bench-web`.

A real PostgreSQL with a seeded log (`seed.py`), a real proxy before it, and every request that the pages make, over
HTTP with LiteLLM's authentication. A request is repeated so many times; the log is not written to meanwhile. What-if
is set apart: it reads rows, in a process of its own, and its answer is kept for a minute.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import click
import httpx
import msgspec
import yaml
from benches.machine import about
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bsgateway.decision import now
from bsgateway.embedded import EmbeddedPostgres
from e2e.gateways import KEY, Gateway, clean_environment, start_serve, write_config
from e2e.upstream import Upstream

from .seed import seed

RESULTS = Path(__file__).parents[1] / "results" / "web.md"
BUDGET_MS = 300.0
BY = ("tier", "model", "key", "team", "day")
DAYS, KEYS, TEAMS = 30, 200, 20
OWN_KEY = "sk-key-of-the-bench"
"""Stands for the busiest key of the seeded log."""


class Ask(NamedTuple):
    """A request of a page."""

    page: str
    name: str
    path: str
    key: str = KEY


class Line(msgspec.Struct, frozen=True):
    """Milliseconds until an answer was whole, and its size in bytes."""

    page: str
    name: str
    first: float
    median: float
    p95: float
    worst: float
    size: int


def asks(sample: dict[str, str]) -> list[Ask]:
    """What the pages ask for, and filters that few rows pass."""
    api = "/bsgateway/api"
    month = "since=30d"
    return [
        Ask("all", "me", f"{api}/me"),
        Ask("all", "filters", f"{api}/filters"),
        *(Ask("savings", f"30 days by {by}", f"{api}/savings?{month}&by={by}") for by in BY),
        Ask("savings", "30 days, Kolkata", f"{api}/savings?{month}&tz=Asia/Kolkata"),
        Ask("savings", "30 days, New York", f"{api}/savings?{month}&tz=America/New_York&by=model"),
        Ask("savings", "24 hours", f"{api}/savings?since=24h"),
        Ask("savings", "own key, 30 days", f"{api}/savings?{month}", OWN_KEY),
        Ask("traffic", "30 days", f"{api}/traffic?{month}"),
        Ask("traffic", "30 days, Kathmandu", f"{api}/traffic?{month}&tz=Asia/Kathmandu"),
        Ask("traffic", "24 hours", f"{api}/traffic?since=24h"),
        Ask("traffic", "own key, 30 days", f"{api}/traffic?{month}", OWN_KEY),
        Ask("decisions", "newest 50", f"{api}/decisions?limit=50"),
        Ask("decisions", "older", f"{api}/decisions?limit=50&before={sample['old']}"),
        Ask("decisions", "tier complex", f"{api}/decisions?limit=50&tier=complex"),
        Ask("decisions", "rare reason", f"{api}/decisions?limit=50&reason=no_candidate"),
        Ask("decisions", "no such row", f"{api}/decisions?limit=50&reason=over_budget&tier=simple"),
        Ask("decisions", "failures", f"{api}/decisions?limit=50&status=failure"),
        Ask("decisions", "fell back", f"{api}/decisions?limit=50&fell_back=true"),
        Ask("decisions", "a busy key", f"{api}/decisions?limit=50&key=key-0"),
        Ask("decisions", "a rare key", f"{api}/decisions?limit=50&key=key-{KEYS - 1}"),
        Ask("decisions", "a key and a reason", f"{api}/decisions?limit=50&key=key-{KEYS - 1}&reason=cooling_down"),
        Ask("decisions", "conversation", f"{api}/decisions?limit=50&conversation={sample['conversation']}"),
        Ask("decisions", "call id", f"{api}/decisions?limit=50&call_id={sample['call']}"),
        Ask("decisions", "own key", f"{api}/decisions?limit=50", OWN_KEY),
        Ask("decisions", "one", f"{api}/decisions/{sample['id']}"),
        Ask("decisions", "own key, one", f"{api}/decisions/{sample['own']}", OWN_KEY),
        Ask("learning", "30 days", f"{api}/learning"),
        Ask("metrics", "scrape", "/bsgateway/metrics"),
    ]  # fmt: skip


async def samples(dsn: str) -> dict[str, str]:
    """Rows from the middle of the log."""
    connection = await asyncpg.connect(dsn)
    try:
        middle = now() - timedelta(days=DAYS / 2)
        row = await connection.fetchrow(
            "SELECT decision_id, conversation_id, call_id FROM routing_logs WHERE decision_id >= bsg_uuid7_floor($1) "
            "ORDER BY decision_id LIMIT 1",
            middle,
        )
        own = await connection.fetchval(
            "SELECT decision_id FROM routing_logs WHERE key_hash = $1 ORDER BY decision_id DESC LIMIT 1", own_hash()
        )
    finally:
        await connection.close()
    if row is None or own is None:
        raise click.ClickException("the seeded log has no such rows: seed it anew (without --state)")
    old = str(row["decision_id"])
    return {"id": old, "old": old, "conversation": row["conversation_id"], "call": row["call_id"], "own": str(own)}


def own_hash() -> str:
    """LiteLLM's hash of the key that stands for the busiest one."""
    return sha256(OWN_KEY.encode()).hexdigest()


def measure(gateway: Gateway, each: Ask, rounds: int) -> Line:
    """Raises ClickException for an answer that is no success."""
    times: list[float] = []
    size = 0
    with httpx.Client(base_url=gateway.url, headers={"Authorization": f"Bearer {each.key}"}, timeout=60) as client:
        client.get("/bsgateway/")  # the connection
        for _ in range(rounds):
            began = time.perf_counter()
            answer = client.get(each.path)
            times.append((time.perf_counter() - began) * 1000)
            size = len(answer.content)
            if answer.status_code != 200:
                raise click.ClickException(f"{each.path}: {answer.status_code}: {answer.text[:300]}")
    ordered = sorted(times)
    return Line(
        each.page, each.name, times[0], statistics.median(times), ordered[int(0.95 * (rounds - 1))], ordered[-1], size
    )


def what_if(gateway: Gateway) -> Line:
    """The first answer, which reads rows, and one from memory."""
    with httpx.Client(base_url=gateway.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=120) as client:
        times = []
        for _ in range(3):
            began = time.perf_counter()
            answer = client.get("/bsgateway/api/what-if?days=7")
            times.append((time.perf_counter() - began) * 1000)
            if answer.status_code != 200:
                raise click.ClickException(f"what-if: {answer.status_code}: {answer.text[:300]}")
    return Line("playground", "what-if, 7 days", times[0], times[1], times[2], max(times), len(answer.content))


@contextmanager
def seeded(state: Path | None, rows: int, console: Console) -> Iterator[str]:
    """The DSN of a database with the log in it; made unless `state` has one."""
    with ExitStack() as stack:
        directory = state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bsgateway-web-")))
        directory.mkdir(parents=True, exist_ok=True)
        marker = directory / f"seeded-{rows}.json"
        dsn = stack.enter_context(EmbeddedPostgres(directory)).dsn
        if not marker.exists():
            _seed(dsn, rows, console)
            marker.write_text(json.dumps({"until": now().isoformat()}))
        yield dsn


def _seed(dsn: str, rows: int, console: Console) -> None:
    until = now().replace(minute=0, second=0, microsecond=0)
    with Progress(console=console) as progress:
        bars: dict[str, Any] = {}

        def say(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        asyncio.run(seed(dsn, rows, until, DAYS, KEYS, TEAMS, own_hash(), say))


def _serve(dsn: str, directory: Path, upstream: Upstream) -> Gateway:
    config = write_config(directory, upstream)
    content = yaml.safe_load(config.read_text())
    content["general_settings"]["custom_auth"] = "bench_keys.authenticate"
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    shutil.copy(Path(__file__).with_name("bench_keys.py"), directory)
    environment = clean_environment(LITELLM_MASTER_KEY=KEY, COLLECTOR_DATABASE_URL=dsn)
    return start_serve(config, directory / "state", upstream, environment=environment, database=dsn)


def run(rows: int, rounds: int, state: Path | None, console: Console) -> list[Line]:
    """All of it, from the log to the lines."""
    with (
        seeded(state, rows, console) as dsn,
        tempfile.TemporaryDirectory() as directory,
        Upstream().running() as upstream,
    ):
        found = asyncio.run(samples(dsn))
        gateway = _serve(dsn, Path(directory), upstream)
        try:
            lines = []
            with Progress(console=console) as progress:
                for each in progress.track(asks(found), description="requests"):
                    lines.append(measure(gateway, each, rounds))
            lines.append(what_if(gateway))
            gateway.stop()
        finally:
            gateway.kill()
    return lines


def table(lines: list[Line]) -> Table:
    """As people read them."""
    view = Table(box=None, pad_edge=False)
    for name in ("page", "request", "first ms", "median ms", "p95 ms", "worst ms", "KB"):
        view.add_column(name, justify="left" if name in ("page", "request") else "right")
    for line in lines:
        numbers = (f"{each:,.0f}" for each in (line.first, line.median, line.p95, line.worst))
        view.add_row(line.page, line.name, *numbers, f"{line.size / 1000:,.1f}")
    return view


def page(lines: list[Line], rows: int, rounds: int) -> str:
    """The page of benches/results."""
    machine = about()
    head = (
        "# Pages over a log of millions of rows\n\n"
        f"`make bench-web` on {machine['cpu']}, {machine['cores']} cores, at {machine['commit']}: {rows:,} decisions "
        f"of {DAYS} days, {KEYS} keys, {TEAMS} teams, PostgreSQL on the same machine; each request {rounds} times "
        "through the proxy, its authentication included. The budget is 300 ms. What-if reads rows in a process of its "
        "own and is in no budget: `first` starts that process, the others are answers from memory.\n\n"
        "| page | request | first ms | median ms | p95 ms | worst ms | KB |\n|---|---|---:|---:|---:|---:|---:|\n"
    )
    body = "".join(
        f"| {line.page} | {line.name} | {line.first:,.0f} | {line.median:,.0f} | {line.p95:,.0f} | {line.worst:,.0f} "
        f"| {line.size / 1000:,.1f} |\n"
        for line in lines
    )
    return head + body


@click.command()
@click.option("--rows", default=5_000_000, show_default=True, help="Decisions in the log.")
@click.option("--rounds", default=20, show_default=True, help="How often each request is made.")
@click.option("--state", type=click.Path(path_type=Path), help="Keep the seeded database here, and use it again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", is_flag=True, help="Write benches/results/web.md.")
def main(rows: int, rounds: int, state: Path | None, as_json: bool, write: bool) -> None:
    """Measure the pages' requests; exit 1 if one of them takes longer than the budget (median)."""
    console = Console(stderr=True)
    lines = run(rows, rounds, state, console)
    if as_json:
        click.echo(msgspec.json.encode(lines).decode())
    else:
        Console(width=120).print(table(lines))
    if write:
        RESULTS.write_text(page(lines, rows, rounds))
    slow = [line for line in lines if line.median > BUDGET_MS and line.page != "playground"]
    if slow:
        names = ", ".join(f"{line.page}: {line.name}" for line in slow)
        raise click.ClickException(f"over {BUDGET_MS:.0f} ms: {names}")


if __name__ == "__main__":
    main()
