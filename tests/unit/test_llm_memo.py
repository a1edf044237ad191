"""The memo of the local LLM's verdicts."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway.classifiers import Classification
from bsgateway.classifiers.llm import Request, Verdict
from bsgateway.classifiers.llm.memo import VerdictMemo, request_key
from bsgateway.decision import LlmStatus, Strategy

VERDICT = Verdict(LlmStatus.ASKED, Classification(Strategy.LLM, 15.0, ()), "simple", 0.9, "qwen3:0.6b", "1-00000000")
BASE = Request("What is 2 + 2?", tail="thanks", earlier="Hello", messages=3, tools=2, context_tokens=100)


def test_a_verdict_is_remembered_as_one() -> None:
    memo = VerdictMemo(10, 60.0)
    memo.put(b"key", VERDICT)
    assert memo.get(b"key") == msgspec.structs.replace(VERDICT, status=LlmStatus.KNOWN)
    assert memo.get(b"other") is None
    assert len(memo) == 1


@pytest.mark.parametrize("status", [status for status in LlmStatus if status is not LlmStatus.ASKED])
def test_nothing_else_is(status: LlmStatus) -> None:
    memo = VerdictMemo(10, 60.0)
    with pytest.raises(ValueError, match="is no verdict"):
        memo.put(b"key", Verdict(status))
    assert len(memo) == 0


def test_it_is_bounded_and_keeps_what_was_used_last() -> None:
    memo = VerdictMemo(3, 60.0)
    for number in range(3):
        memo.put(number, VERDICT)
    assert memo.get(0) is not None
    memo.put(3, VERDICT)
    assert [number for number in range(4) if memo.get(number)] == [0, 2, 3]


def test_it_forgets() -> None:
    memo = VerdictMemo(10, 0.02)
    memo.put(b"key", VERDICT)
    time.sleep(0.03)
    assert memo.get(b"key") is None
    assert len(memo) == 0


def test_it_may_be_none_at_all() -> None:
    memo = VerdictMemo(0, 60.0)
    memo.put(b"key", VERDICT)
    assert memo.get(b"key") is None
    assert len(memo) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"ask": "  what is\n2 + 2? "},
        {"ask": "WHAT IS 2 + 2?"},
        {"earlier": "HELLO "},
        {"tail": "Thanks"},
        {"messages": 2},
        {"context_tokens": 127},
    ],
)
def test_what_makes_no_difference(change: dict[str, Any]) -> None:
    assert request_key(msgspec.structs.replace(BASE, **change), "scope") == request_key(BASE, "scope")


@pytest.mark.parametrize(
    "change",
    [
        {"ask": "What is 2 + 3?"},
        {"ask": "What is 2 + 2"},
        {"ask": "Whatis 2 + 2?"},
        {"tail": ""},
        {"earlier": ""},
        {"earlier": "", "ask": "Hello What is 2 + 2?"},
        {"ask": BASE.ask + BASE.tail, "tail": ""},
        {"messages": 4},
        {"tools": 0},
        {"context_tokens": 128},
    ],
)
def test_what_makes_one(change: dict[str, Any]) -> None:
    assert request_key(msgspec.structs.replace(BASE, **change), "scope") != request_key(BASE, "scope")


def test_another_scope_has_other_verdicts() -> None:
    assert request_key(BASE, "one") != request_key(BASE, "two")


@given(ask=st.text(alphabet=st.characters(exclude_categories=())), earlier=st.text(), number=st.integers(0, 2**62))
def test_any_words_have_a_key_that_does_not_hold_them(ask: str, earlier: str, number: int) -> None:
    request = Request(ask, earlier=earlier, messages=number, tools=number, context_tokens=number)
    key = request_key(request, "scope")
    assert len(key) == 16
    assert key == request_key(msgspec.structs.replace(request, ask=f" {ask}\n"), "scope")
