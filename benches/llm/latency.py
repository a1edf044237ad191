"""What the hook costs a request, by strategy: the same asks to each, round after round."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches.proxy.processes import BenchError

from .gateways import Routed, chat, routed, running, until_ready
from .servers import Server
from .timing import summary

PATIENCE = 30.0
"""`timeout` where verdicts are measured: what a slow machine takes longer for shall count, not be given up."""
ALWAYS, UNCERTAIN, REMEMBERED = "llm, always", "llm, uncertain", "llm, every ask remembered"


def ways(server: Server) -> dict[str, dict[str, Any]]:
    """Way to score -> `routing.classifier`. Nothing is remembered but where that is measured."""
    llm = {"model": server.model, "api_base": server.url, "timeout": PATIENCE, "memo_entries": 0}
    return {
        "static": {"strategy": "static"},
        "ml": {"strategy": "ml"},
        REMEMBERED: {"strategy": "llm", "llm": {**llm, "memo_entries": 10_000}},
        UNCERTAIN: {"strategy": "llm", "llm": {**llm, "when": "uncertain"}},
        ALWAYS: {"strategy": "llm", "llm": llm},
    }


async def measure(directory: Path, server: Server, asks: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """A row for each way: milliseconds that the hook takes, and what came of asking, by status."""
    found: dict[str, list[Routed]] = {}
    async with contextlib.AsyncExitStack() as stack:
        callbacks = {
            name: await stack.enter_async_context(running(directory / f"{number}", classifier))
            for number, (name, classifier) in enumerate(ways(server).items())
        }
        for callback in callbacks.values():
            await until_ready(callback)
        for name in ("static", "ml", REMEMBERED):  # what a first request brings in counts for nobody
            for ask in asks:
                await routed(callbacks[name], chat(ask))
        for _ in range(rounds):
            for name, callback in callbacks.items():
                found.setdefault(name, []).extend([await routed(callback, chat(ask)) for ask in asks])
    rows = [_row(name, routings) for name, routings in found.items()]
    for row in rows:
        row["of_static"] = row["p50_ms"] / rows[0]["p50_ms"]
    return rows


def _row(way: str, routings: Sequence[Routed]) -> dict[str, Any]:
    statuses = Counter(routing.llm or "" for routing in routings)
    if way.startswith("llm") and (strange := statuses.keys() - {"asked", "known", "certain"}):
        raise BenchError(f"{way}: not all asks had a verdict: {', '.join(sorted(strange))}")
    return {"way": way, **summary([routing.seconds for routing in routings]), "statuses": dict(statuses)}
