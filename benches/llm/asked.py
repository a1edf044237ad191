"""How many requests the model is asked about, with `when: uncertain`.

No model is needed for that: where none answers, the status of a request says all the same whether it would have been
asked. Requests go through the hook one after another, so that conversations count as they do in the proxy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from benches.bodies import BODIES
from benches.proxy.processes import free_port

from sessions import aider, claude_code, codex, opencode

from .gateways import Json, chat, routed, running

MARGINS = (1.0, 3.0, 5.0, 10.0, 15.0)
FALLBACKS = ("static", "ml")
CALL_TYPES = {"chat": "acompletion", "messages": "anthropic_messages"}
"""Format of a body -> the call it arrives as."""
_UNASKED = frozenset(("certain", "not_needed"))


class Arrival(NamedTuple):
    """A request as it arrives."""

    body: Json
    call_type: str = "acompletion"
    headers: Mapping[str, str] = MappingProxyType({})


def mix(asks: Iterable[str]) -> dict[str, list[Arrival]]:
    """Part of the mix -> its requests: `asks` alone, each in a conversation of its own; whole sessions of agents; the
    first two turns of each body of the other benches."""
    lines = [line for module in (claude_code, codex, opencode, aider) for line in module.requests()]
    bodies = [make(turn) for make in BODIES.values() for turn in (0, 1)]
    return {
        "obvious asks": [Arrival(chat(ask)) for ask in asks],
        "sessions of agents": [Arrival(line["body"], line["call_type"], line["headers"]) for line in lines],
        "bodies of the benches": [Arrival(body.body, CALL_TYPES[body.format]) for body in bodies],
    }


async def measure(
    directory: Path, asks: Sequence[str], margins: Sequence[float] = MARGINS, fallbacks: Sequence[str] = FALLBACKS
) -> list[dict[str, Any]]:
    """A row for each part of the mix, fallback and margin: requests, those that the score decides, those asked."""
    rows = []
    for fallback in fallbacks:
        for margin in margins:
            for part, arrivals in mix(asks).items():
                counts = await _statuses(directory / f"{fallback}-{margin}-{part}", fallback, margin, arrivals)
                asked = sum(count for status, count in counts.items() if status not in _UNASKED)
                rows.append(
                    {
                        "part": part,
                        "fallback": fallback,
                        "margin": margin,
                        "min_confidence": 0,  # it is a distance too: the margin alone shall decide
                        "requests": counts.total(),
                        "scored": counts.total() - counts["not_needed"],
                        "asked": asked,
                    }
                )
    return rows


async def _statuses(directory: Path, fallback: str, margin: float, arrivals: Iterable[Arrival]) -> Counter[str]:
    classifier = {
        "strategy": "llm",
        "llm": {
            "model": "nobody",
            "api_base": f"http://127.0.0.1:{free_port()}",
            "when": "uncertain",
            "margin": margin,
            "min_confidence": 0,  # it is a distance too: the margin alone shall decide
            "fallback": fallback,
        },
    }
    async with running(directory, classifier) as callback:
        found = [await routed(callback, *arrival) for arrival in arrivals]
    return Counter(each.llm or "none" for each in found)
