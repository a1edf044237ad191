"""`python -m benches.proxy`: start the proxies, measure them, write the results."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.status import Status

from bsgateway.errors import GatewayError

from . import report
from .measure import Bench, Plan, assert_all_logged, assert_all_reached
from .processes import BenchError
from .profile import profile
from .requests import BODIES
from .site import Site, running
from .variants import BASELINE, GATEWAY, VARIANTS

RESULTS = Path(__file__).parents[1] / "results"
DEFAULT_VARIANTS = ("no hook", BASELINE, GATEWAY, "BSGateway, no log", "LiteLLM router v1", "LiteLLM router v2")
DEFAULT_BODIES = ("chat_500b", "history_200k")
REQUESTS = 30
PROFILE_REQUESTS = 500
WIDTH = 120


def main() -> int:
    """The command line; the exit code."""
    options = _parser().parse_args()
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that the children are stopped
    try:
        with console.status("starting") as status:
            if options.profile:
                _profile(options, status)
            else:
                _measure(options, status)
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except (BenchError, GatewayError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    return 0


def _measure(options: argparse.Namespace, status: Status) -> None:
    plan = Plan(
        tuple(variant for name, variant in VARIANTS.items() if name in (BASELINE, *options.variants)),
        tuple(options.bodies),
        options.rounds,
        options.requests or REQUESTS,
        options.concurrency,
    )
    setup = report.setup(plan)  # the commit of what is imported now
    with running(plan.variants, _progress(status)) as site:
        rows = asyncio.run(_rounds(plan, site, status))
    _output(to_stderr=options.json).print(report.tables(rows, plan.bodies))
    report.write(options.results, rows, setup)
    if options.json:
        print(json.dumps({"rows": rows, "setup": setup}))


async def _rounds(plan: Plan, site: Site, status: Status) -> list[report.Row]:
    bench = Bench(plan, site.proxies, site.postgres_pid)
    await bench.warm_up(_progress(status))
    await bench.run(_progress(status))
    rss_mb = {name: proxy.rss_mb() for name, proxy in site.proxies.items()}
    assert_all_reached(site.upstream_counts(), bench.sent.values())
    for variant in plan.variants:
        if variant.logs and site.dsn is not None:
            await assert_all_logged(site.dsn, bench.sent[variant.name])
    return report.rows(plan, bench.visits, rss_mb)


def _profile(options: argparse.Namespace, status: Status) -> None:
    variant, requests = VARIANTS[GATEWAY], options.requests or PROFILE_REQUESTS
    with tempfile.TemporaryDirectory(prefix="bsgateway-bench-") as directory:
        times = Path(directory) / "times.json"
        with running([variant], _progress(status), times) as site:
            for body in options.bodies:
                tables = asyncio.run(profile(variant, site.proxies[GATEWAY], times, body, requests, _progress(status)))
                for table in tables:
                    _output().print(table)


def _output(to_stderr: bool = False) -> Console:
    """Where tables go: wide enough for them when it is a file or a pipe."""
    console = Console(stderr=to_stderr)
    return console if console.is_terminal else Console(stderr=to_stderr, width=WIDTH)


def _progress(status: Status) -> Callable[[str], None]:
    """Shows what is being done: on a terminal all of it, elsewhere a line for each stage."""
    told = ""

    def tell(text: str) -> None:
        nonlocal told
        status.update(text)
        stage = re.split("[,:]", text)[0]
        if not status.console.is_terminal and stage != told:
            status.console.print(told := stage)

    return tell


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches.proxy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="visits of each variant (default %(default)s)")
    parser.add_argument(
        "--requests",
        type=int,
        help=f"of a visit one after another, and as many again at --concurrency (default {REQUESTS}; of a profile "
        f"{PROFILE_REQUESTS})",
    )
    parser.add_argument("--concurrency", type=int, default=8, help="default %(default)s")
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=DEFAULT_VARIANTS)
    parser.add_argument("--bodies", nargs="+", choices=tuple(BODIES), default=DEFAULT_BODIES)
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory for proxy.json and proxy.md")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, too")
    parser.add_argument("--profile", action="store_true", help="instead: where the gateway's share of the CPU goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
