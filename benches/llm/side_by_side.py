"""Verdicts of the strategy llm and of LiteLLM's classifier: how fast, how many a second, how often as labelled.

One contender at a time, a block of all asks each, in turn. A server keeps the beginning of the last prompts: so each
block begins with asks that are not measured, and none pays for the prompt of another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from .gateways import chat, routed, running, until_ready
from .labels import some
from .latency import PATIENCE
from .peer import VERDICT, Peer
from .servers import Server
from .timing import summary

LEVELS = (1, 2, 4)
"""Requests at once."""
CROWD = 20
"""Asks of a block with several at once."""
FIRST = "What is the opposite of cold?"
"""Asked before anything is measured."""
OURS = "bsgateway"
THEIRS, THEIRS_OUR_TIERS = "LiteLLM, its four tiers", "LiteLLM, our three tiers"


class Answer(NamedTuple):
    """What came of one ask: `verdict` says that the model named the tier."""

    ask: str
    seconds: float
    tier: str | None
    verdict: bool


Contender = Callable[[str], Awaitable[Answer]]


async def measure(
    directory: Path, server: Server, labelled: Mapping[str, str], tiers: Mapping[str, str], num_ctx: int, rounds: int
) -> list[dict[str, Any]]:
    """A row for each contender and level. `labelled`: ask -> tier; `tiers`: tier -> what belongs there, in order."""
    classifier = {
        "strategy": "llm",
        "llm": {
            "model": server.model,
            "api_base": server.url,
            "timeout": PATIENCE,
            "max_concurrent": max(LEVELS),
            "memo_entries": 0,
        },
    }
    blocks: dict[tuple[str, int], list[tuple[float, list[Answer]]]] = {}
    async with running(directory, classifier) as callback:
        await until_ready(callback)

        async def ours(ask: str) -> Answer:
            found = await routed(callback, chat(ask))
            return Answer(ask, found.seconds, found.tier, found.llm == "asked")

        contenders: dict[str, Contender] = {
            OURS: ours,
            THEIRS: _peer(Peer(server.model, server.url, PATIENCE, num_ctx)),
            THEIRS_OUR_TIERS: _peer(Peer(server.model, server.url, PATIENCE, num_ctx, tiers)),
        }
        asks = {level: list(labelled) if level == 1 else some(labelled, CROWD) for level in LEVELS}
        for _ in range(rounds):
            for level in LEVELS:
                for name, contender in contenders.items():
                    block = await _block(contender, asks[level], level)
                    blocks.setdefault((name, level), []).append(block)
    return [_row(name, level, found, labelled) for (name, level), found in blocks.items()]


def _peer(peer: Peer) -> Contender:
    async def place(ask: str) -> Answer:
        found = await peer.place(ask)
        return Answer(ask, found.seconds, found.tier, found.cause == VERDICT)

    return place


async def _block(contender: Contender, asks: Sequence[str], level: int) -> tuple[float, list[Answer]]:
    """Seconds that all asks took, `level` at once, and the answers."""
    await asyncio.gather(*(contender(f"{FIRST} {number}") for number in range(level)))
    waiting, answers = iter(asks), []

    async def work() -> None:
        for ask in waiting:
            answers.append(await contender(ask))

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(level)))
    return time.perf_counter() - began, answers


def _row(
    name: str, level: int, blocks: Sequence[tuple[float, Sequence[Answer]]], labelled: Mapping[str, str]
) -> dict[str, Any]:
    answers = [answer for _, block in blocks for answer in block]
    verdicts = [answer for answer in answers if answer.verdict]
    first = [answer for answer in blocks[0][1] if answer.verdict]  # the same in all rounds
    rates = [sum(answer.verdict for answer in block) / seconds for seconds, block in blocks]
    return {
        "who": name,
        "level": level,
        **summary([answer.seconds for answer in answers]),
        "verdicts": len(verdicts),
        "verdicts_per_second": median(rates),
        "verdicts_per_second_least": min(rates),
        "verdicts_per_second_most": max(rates),
        "agree": sum(answer.tier == labelled[answer.ask] for answer in first),
        "agree_of": len(first),
    }
