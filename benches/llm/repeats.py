"""Asks that come again, and what the server is sent for an ask: both on a server that answers by script."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import litellm
from benches.proxy.processes import BenchError

from .gateways import chat, routed, running, until_ready
from .peer import Peer
from .servers import Faulty, faulty
from .side_by_side import OURS, THEIRS, THEIRS_OUR_TIERS
from .timing import summary

TIMEOUT = 30.0
ANY_CONTEXT = 4096
ASK = "What does HTTP stand for?"
"""Of which the size of the prompts is told."""

Timed = Callable[[str], Awaitable[float]]


async def measure(directory: Path, asks: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    """A row for each router: milliseconds of asks that were asked before."""
    with faulty() as server:
        llm = {"model": server.model, "api_base": server.url, "timeout": TIMEOUT}
        async with running(directory, {"strategy": "llm", "llm": llm}) as callback:
            await until_ready(callback)

            async def ours(ask: str) -> float:
                return (await routed(callback, chat(ask))).seconds

            found = {OURS: await _again(ours, server, asks, rounds)}
    with faulty() as server, _no_cache_left():
        peer = Peer(server.model, server.url, TIMEOUT, ANY_CONTEXT, cached=True)

        async def theirs(ask: str) -> float:
            return (await peer.place(ask)).seconds

        found[f"{THEIRS}, response cache on"] = await _again(theirs, server, asks, rounds)
    return [{"who": who, **summary(seconds)} for who, seconds in found.items()]


@contextlib.contextmanager
def _no_cache_left() -> Iterator[None]:
    try:
        yield
    finally:
        litellm.cache = None


async def _again(timed: Timed, server: Faulty, asks: Sequence[str], rounds: int) -> list[float]:
    for ask in asks:
        await timed(ask)
    before = len(server.prompts())
    seconds = [await timed(ask) for _ in range(rounds) for ask in asks]
    if len(server.prompts()) != before:
        raise BenchError("the server was asked again about what it had answered")
    return seconds


async def prompts(directory: Path, tiers: Mapping[str, str]) -> dict[str, Any]:
    """Characters of the messages that the server gets for `ASK`, by router; and the `num_ctx` that ours asks for."""
    sizes = {}
    with faulty() as server:
        llm = {"model": server.model, "api_base": server.url, "timeout": TIMEOUT}
        async with running(directory, {"strategy": "llm", "llm": llm}) as callback:
            await until_ready(callback)
            await routed(callback, chat(ASK))
            sizes[OURS], context = server.prompts()[-1], server.context_tokens()
    for name, named in ((THEIRS, None), (THEIRS_OUR_TIERS, tiers)):
        with faulty() as server:
            await Peer(server.model, server.url, TIMEOUT, context, named).place(ASK)
            sizes[name] = server.prompts()[-1]
    return {"ask": ASK, "characters": sizes, "num_ctx": context}
