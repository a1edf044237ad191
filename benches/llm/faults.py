"""A server that hangs, or that is not there any more: what the requests wait for, ours and LiteLLM's.

Each time the model has answered before. The first requests after that come one after another, as many as open our
circuit by default; then those while it is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from benches.proxy.processes import BenchError

from bsgateway.config import Llm

from .gateways import chat, routed, running, until_ready
from .peer import VERDICT, Peer
from .servers import FAULTS, Faulty, faulty
from .side_by_side import FIRST, OURS, THEIRS
from .timing import summary

TIMEOUT = 0.5
"""`timeout` of both, in seconds."""
FIRSTS = Llm().open_after
CONTEXT = 4096
TRIES = 5
AFTER = 60
"""Requests while the server is left alone."""

Asked = Callable[[str], Awaitable[tuple[float, str]]]


async def measure(directory: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for each fault, contender and phase."""
    seconds: dict[tuple[str, str, str], list[float]] = {}
    said: dict[tuple[str, str, str], Counter[str]] = {}
    for number in range(rounds):
        for fault in FAULTS:
            for who, run in ((OURS, _ours), (THEIRS, _theirs)):
                with faulty() as server:
                    firsts, after = await run(directory / f"{number}-{fault}", server, fault)
                for phase, found in ((f"the first {FIRSTS}", firsts), ("then", after)):
                    seconds.setdefault((fault, who, phase), []).extend(each for each, _ in found)
                    said.setdefault((fault, who, phase), Counter()).update(word for _, word in found)
    return [
        {"fault": fault, "who": who, "phase": phase, **summary(found), "said": dict(said[fault, who, phase])}
        for (fault, who, phase), found in seconds.items()
    ]


Phases = tuple[Sequence[tuple[float, str]], Sequence[tuple[float, str]]]


async def _ours(directory: Path, server: Faulty, fault: str) -> Phases:
    llm = {"model": server.model, "api_base": server.url, "timeout": TIMEOUT}
    async with running(directory, {"strategy": "llm", "llm": llm}) as callback:
        await until_ready(callback)

        async def ask(words: str) -> tuple[float, str]:
            found = await routed(callback, chat(words))
            return found.seconds, found.llm or ""

        return await _phases(ask, server, fault)


async def _theirs(_: Path, server: Faulty, fault: str) -> Phases:
    peer = await _answering(server)

    async def ask(words: str) -> tuple[float, str]:
        found = await peer.place(words)
        return found.seconds, found.failure or found.cause

    return await _phases(ask, server, fault)


async def _answering(server: Faulty) -> Peer:
    """A router that has had an answer. The first calls bring in modules, and may take longer than its time-out."""
    await Peer(server.model, server.url, 60.0, CONTEXT).place(FIRST)
    for _ in range(TRIES):
        peer = Peer(server.model, server.url, TIMEOUT, CONTEXT)
        if (await peer.place(FIRST)).cause == VERDICT:
            return peer
    raise BenchError("LiteLLM's router has no answer from a server that works")


async def _phases(ask: Asked, server: Faulty, fault: str) -> Phases:
    server.begin(fault)
    firsts = [await ask(f"Summarise chapter {number}.") for number in range(FIRSTS)]
    return firsts, [await ask(f"Summarise page {number}.") for number in range(AFTER)]
