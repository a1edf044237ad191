"""`--profile`: where the gateway's share of a request's processor time goes.

Two views of the same load. Timers around the callback's methods and the log's tasks give microseconds a request.
py-spy, when it is installed, samples the thread that holds the GIL, which gives the share of each function of ours
with all that it calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from .load import send
from .measure import SETTLE_SECONDS
from .processes import BenchError, Child
from .requests import BODIES, encoded
from .timers import EVERY, PARTS
from .variants import Variant

WARM_UP = 2 * EVERY
SAMPLES_PER_SECOND = 500
OURS = re.compile(r"^(?P<function>.+) \((?:.*/)?bsgateway/(?P<file>[\w/]+\.py):(?P<line>\d+)\)$")
"""A frame of ours in py-spy's raw format."""

Sums = dict[str, list[int] | None]


@dataclass(frozen=True)
class Samples:
    """py-spy's samples of one load: of ours, by function and by line, each with all that it calls."""

    total: int
    ours: int
    functions: Counter[str]
    lines: Counter[str]


async def profile(
    variant: Variant, proxy: Child, times: Path, body: str, requests: int, progress: Callable[[str], None]
) -> list[Table]:
    """Warm up, then load the proxy twice: under the timers, and under py-spy. `requests` is rounded up to EVERY."""
    requests = -(-requests // EVERY) * EVERY
    bodies = encoded(BODIES[body](), variant.model, range(1, WARM_UP + 2 * requests + 1))
    progress(f"warm-up, {body}")
    await send(variant, proxy.url, bodies[:WARM_UP], 1)
    await asyncio.sleep(SETTLE_SECONDS)  # the log's last batch
    before = _sums(times)
    progress(f"timers, {body}")
    cpu = proxy.cpu_seconds()
    await send(variant, proxy.url, bodies[WARM_UP:-requests], 1)
    await asyncio.sleep(SETTLE_SECONDS)
    per_request = (proxy.cpu_seconds() - cpu) / requests
    after = _sums(times)
    tables = [_timers_table(body, before, after, requests, per_request)]
    if (spy := _py_spy()) is not None:
        progress(f"py-spy, {body}")
        output = times.with_name(f"{body}.stacks")
        async with _spying(spy, proxy.pid, output):
            await send(variant, proxy.url, bodies[-requests:], 1)
        samples = read_stacks(output.read_text(encoding="utf-8").splitlines())
        tables.append(_samples_table(body, "function", samples.functions, samples))
        tables.append(_samples_table(body, "line", samples.lines, samples))
    return tables


def _sums(path: Path) -> Sums:
    sums: Sums = json.loads(path.read_text(encoding="utf-8"))
    return sums


def _timers_table(body: str, before: Sums, after: Sums, requests: int, per_request: float) -> Table:
    """`per_request`: seconds of the whole proxy's processor time."""
    table = Table(title=f"{body}: CPU of the gateway's parts, timed; a request takes {1e3 * per_request:.2f} ms")
    table.add_column("part (indented: inside the one above)", no_wrap=True)
    for title in ("calls/request", "us/call", "us/request", "share"):
        table.add_column(title, justify="right", no_wrap=True)
    for part, label in PARTS.items():
        first, last = before[part], after[part]
        if first is None or last is None:
            table.add_row(label, "no such part")
            continue
        calls, spent = last[0] - first[0], (last[1] - first[1]) / 1e3
        each, share = spent / max(calls, 1), spent / 1e6 / requests / per_request
        table.add_row(label, f"{calls / requests:.2f}", f"{each:.1f}", f"{spent / requests:.1f}", f"{share:.2%}")
    return table


def _py_spy() -> str | None:
    """The py-spy of this environment, or of PATH."""
    return shutil.which(Path(sys.executable).with_name("py-spy")) or shutil.which("py-spy")


@contextlib.asynccontextmanager
async def _spying(py_spy: str, pid: int, output: Path) -> AsyncIterator[None]:
    """Sample a process during the block. Raises BenchError when py-spy may not."""
    log = output.with_suffix(".log")
    with log.open("wb") as file:
        options = ("record", "--pid", str(pid), "--rate", str(SAMPLES_PER_SECOND), "--format", "raw", "--gil")
        spy = await asyncio.create_subprocess_exec(
            py_spy, *options, "--output", str(output), stdout=file, stderr=file, start_new_session=True
        )
        try:
            await asyncio.sleep(1.0)  # it reads the symbols first
            yield
        finally:
            if spy.returncode is None:
                spy.send_signal(signal.SIGINT)
            await spy.wait()
    if spy.returncode != 0:
        raise BenchError(f"py-spy failed: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace").strip()[-500:]


def read_stacks(stacks: Iterable[str]) -> Samples:
    """py-spy's raw format, `frame;frame;frame count` outermost first. A function counts once a stack."""
    total = ours = 0
    functions: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for stack in stacks:
        frames, _, count = stack.rpartition(" ")
        found = [
            match for match in map(OURS.match, frames.split(";")) if match and match["file"] != "upstreams/child.py"
        ]
        total += int(count)
        if found:
            ours += int(count)
        for name in {f"{match['file']} {match['function']}" for match in found}:
            functions[name] += int(count)
        for name in {f"{match['file']}:{match['line']} {match['function']}" for match in found}:
            lines[name] += int(count)
    return Samples(total, ours, functions, lines)


def _samples_table(body: str, what: str, counts: Counter[str], samples: Samples, most: int = 30) -> Table:
    share = samples.ours / samples.total
    table = Table(title=f"{body}: samples by {what} of bsgateway; {share:.2%} of {samples.total} are below ours")
    table.add_column(what, no_wrap=True)
    table.add_column("share of request CPU", justify="right")
    table.add_column("samples", justify="right")
    for name, count in counts.most_common(most):
        table.add_row(name, f"{count / samples.total:.2%}", str(count))
    return table
