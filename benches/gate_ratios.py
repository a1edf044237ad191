"""The timed part of the gate: ratios within one run, of the quickest of interleaved rounds.

Time is the processor's, of this thread: what else the machine does is not in it, save for the caches that it takes. A
ratio of two measurements that take turns depends little on that, and of their quickest rounds less. The margins are far
from what is measured when all is well and fail only where a fast path is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time
from typing import Any

import msgspec
import pytest

from bodies import BODIES, HOSTILE, Body
from bsgateway import _core, reference
from bsgateway.config import Analysis, Static, Weights

SETTINGS: dict[str, Any] = {
    "weights": msgspec.structs.asdict(Weights()),
    "token_thresholds": Static().token_thresholds,
    "complex_keywords": _core.default_complex_keywords(),
    "simple_keywords": _core.default_simple_keywords(),
    **msgspec.structs.asdict(Analysis()),
    "capture_chars": 0,
}
FORGETFUL = {**SETTINGS, "memo_bytes": 0}


def seconds(call: Callable[[], object]) -> float:
    began = thread_time()
    call()
    return thread_time() - began


def ratio(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> float:
    """How many times longer `slow` takes than `fast`: the quickest of rounds that take turns, after one of each."""
    slow(), fast()
    pairs = [(seconds(slow), seconds(fast)) for _ in range(rounds)]
    return min(pair[0] for pair in pairs) / min(pair[1] for pair in pairs)


def analysis(analyzer: Any, body: Body, calls: int = 1) -> Callable[[], object]:
    """A call that analyzes `body` so many times: some are too short for the clock alone."""

    def analyze() -> None:
        for _ in range(calls):
            analyzer.analyze(body.body, body.format)

    return analyze


@pytest.mark.parametrize(("name", "least"), [("chat_500b", 3), ("code_4k", 2)])
def test_native_core_is_faster_than_its_twin(name: str, least: float) -> None:
    """With exact token counts, which the twin leaves to tiktoken, that is compiled, too."""
    body = BODIES[name]()
    twin, native = reference.Analyzer(**FORGETFUL), _core.Analyzer(**FORGETFUL)
    assert ratio(analysis(twin, body), analysis(native, body), 25) > least


@pytest.mark.parametrize("name", BODIES)
def test_native_core_is_far_faster_where_all_is_its_own(name: str) -> None:
    body, estimating = BODIES[name](), {**FORGETFUL, "exact_token_bytes": 0}
    twin, native = reference.Analyzer(**estimating), _core.Analyzer(**estimating)
    assert ratio(analysis(twin, body), analysis(native, body), 5) > 8


@pytest.mark.parametrize(
    ("name", "least"), [("chat_500b", 2), ("code_4k", 4), ("claude_code_100k", 2), ("history_200k", 2.5)]
)
def test_what_was_seen_is_not_measured_again(name: str, least: float) -> None:
    body = BODIES[name]()
    forgetful, remembering = _core.Analyzer(**FORGETFUL), _core.Analyzer(**SETTINGS)
    assert ratio(analysis(forgetful, body, 5), analysis(remembering, body, 5), 25) > least


def test_a_conversation_costs_its_new_message() -> None:
    """The next turn of a history, against all of it for the first time; every turn is another one."""
    turns = iter([BODIES["history_200k"](turn) for turn in range(23)])
    forgetful, remembering = _core.Analyzer(**FORGETFUL), _core.Analyzer(**SETTINGS)
    whole = analysis(forgetful, BODIES["history_200k"]())
    assert ratio(whole, lambda: analysis(remembering, next(turns))(), 21) > 1.8


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "nested_100k"])
def test_hostile_bodies_cost_time_by_their_size(name: str) -> None:
    """Four times the text may cost four times as much, and three times that: a square would cost sixteen."""
    whole = HOSTILE[name]()
    quarter = shortened(whole)
    analyzer = _core.Analyzer(**FORGETFUL)
    # A pass that is worse than linear shows best in the part that is not bounded by the budget of exact counts.
    large, small = analysis(analyzer, whole), analysis(analyzer, quarter, 4)
    assert ratio(large, small, 15) < 3


def shortened(body: Body) -> Body:
    """A quarter of the body: of the text or the list of parts of its message, and of its tools."""
    (message,) = body.body["messages"]
    content, tools = message["content"], body.body.get("tools", [])
    short = {**message, "content": content[: max(len(content) // 4, 1)]}
    return Body(body.format, {**body.body, "messages": [short], "tools": tools[: len(tools) // 4]})
