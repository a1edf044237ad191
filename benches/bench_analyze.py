"""One request analysed: our native core and its twin beside LiteLLM's complexity router and tiktoken, in one process.

`first sight` is a request none of whose texts was ever seen, made outside the timing; `seen` one whose texts are all in
the memo; `next turn` a conversation of which all but the newest message is. LiteLLM's router reads the newest user
message only, handed to it ready; tiktoken counts every text and does nothing else; ours read the whole body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bodies import HOSTILE, Body, history_200k
from contenders import (
    ALL_BODIES,
    litellm_ask,
    litellm_router,
    native,
    renewed,
    size_of,
    texts,
    tiktoken_counter,
    twin,
)
from variants import SIZES, hostile, next_turns, one_message, quarter

OURS: dict[str, Callable[..., Any]] = {"native": native, "twin": twin}
ROUTERS = {"LiteLLM v1": "heuristic", "LiteLLM v2": "heuristic_v2"}
EXACT: dict[str, dict[str, int]] = {
    "the default": {},
    "all estimated": {"exact_token_bytes": 0},
    "all exact": {"exact_token_bytes": 1_000_000_000},
}
SLOW_BYTES = 200_000
"""LiteLLM's version 1 takes seconds for a text that is longer: it is called once."""


def first_sight(measure: Any, analyzer: Any, body: Body) -> None:
    measure.fresh(analyzer.analyze, lambda: (renewed(body).body, body.format))


def seen(measure: Any, analyzer: Any, body: Body) -> None:
    measure.same(analyzer.analyze, body.body, body.format)


def classified(measure: Any, contender: str, body: Body) -> None:
    ask = litellm_ask(body)
    if not ask:
        pytest.skip("LiteLLM finds no ask to classify")
    call = litellm_router(ROUTERS[contender])
    slow = contender == "LiteLLM v1" and len(ask) > SLOW_BYTES
    (measure.once if slow else measure.same)(call, ask)


def compared(measure: Any, contender: str, body: Body) -> None:
    """Measure one of the contenders that need no telling apart otherwise."""
    core, _, sight = contender.partition(", ")
    if core in OURS:
        (first_sight if sight == "first sight" else seen)(measure, OURS[core](), body)
    elif core in ROUTERS:
        classified(measure, contender, body)
    else:
        measure.same(tiktoken_counter(), texts(body))


CONTENDERS = (
    "native, first sight",
    "native, seen",
    "twin, first sight",
    "twin, seen",
    "LiteLLM v1",
    "LiteLLM v2",
    "tiktoken",
)


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("name", ALL_BODIES)
def test_body(measure: Any, name: str, contender: str) -> None:
    body = ALL_BODIES[name]()
    compared(measure.named("bodies", name, contender, bytes=size_of(body)), contender, body)


@pytest.mark.parametrize("core", OURS)
def test_next_turn(measure: Any, core: str) -> None:
    analyzer = OURS[core]()
    measure.named("bodies", "history_200k", f"{core}, next turn", bytes=size_of(history_200k()))
    measure.fresh(analyzer.analyze, next_turns())


@pytest.mark.parametrize("words", EXACT)
@pytest.mark.parametrize("name", ALL_BODIES)
def test_exact_tokens(measure: Any, name: str, words: str) -> None:
    body = ALL_BODIES[name]()
    first_sight(measure.named("exact tokens", name, words, bytes=size_of(body)), native(**EXACT[words]), body)


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("size", SIZES)
def test_size(measure: Any, size: str, contender: str) -> None:
    body = one_message(size)
    compared(measure.named("sizes", size, contender, bytes=size_of(body)), contender, body)


@pytest.mark.parametrize("contender", ["native", "native, a quarter of it", "LiteLLM v1", "LiteLLM v2", "tiktoken"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(measure: Any, name: str, contender: str) -> None:
    body = quarter(name) if contender.endswith("quarter of it") else hostile(name)
    measure.named("hostile", name, contender, bytes=size_of(body))
    if contender.startswith("native"):
        # A new analyzer each round: its memo has seen nothing.
        measure.fresh(lambda analyzer: analyzer.analyze(body.body, body.format), lambda: (native(),))
    else:
        compared(measure, contender, body)
