"""A request body -> what the local model is told of it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway.classifiers.llm.request import EARLIER_CHARS, earlier_ask, request_of
from bsgateway.config import Analysis, Static, analyzer_of
from shapes import bodies

FORMATS = {
    "acompletion": "chat",
    "anthropic_messages": "messages",
    "aresponses": "responses",
    "atext_completion": "completions",
    "agenerate_content": "generate_content",
}
PLAN = "Plan the migration."
REMINDER = "<system-reminder>\nToday is Monday.\n</system-reminder>\n"


def _said(*turns: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in turns]


@pytest.mark.parametrize(
    ("call_type", "body", "earlier"),
    [
        ("acompletion", {"messages": _said(("user", PLAN), ("assistant", "Shall I?"), ("user", "Yes."))}, PLAN),
        ("acompletion", {"messages": _said(("system", "Be kind."), ("user", "Yes."))}, ""),
        ("acompletion", {"messages": _said(("user", PLAN), ("user", "Yes."))}, ""),  # one ask in two messages
        (
            "acompletion",
            {
                "messages": _said(
                    ("user", PLAN), ("assistant", None), ("tool", "ok"), ("assistant", "?"), ("user", "Yes")
                )
            },
            PLAN,
        ),
        (
            "anthropic_messages",
            {
                "messages": _said(
                    ("user", [{"type": "text", "text": REMINDER}, {"type": "text", "text": PLAN}]),
                    ("assistant", [{"type": "tool_use", "id": "1", "name": "read", "input": {}}]),
                    ("user", [{"type": "tool_result", "tool_use_id": "1", "content": "text"}]),
                    ("assistant", [{"type": "text", "text": "Shall I?"}]),
                    ("user", [{"type": "text", "text": REMINDER + "Yes."}]),
                )
            },
            PLAN,
        ),
        (
            "aresponses",
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": PLAN}]},
                    {"type": "function_call", "call_id": "1", "name": "read", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "1", "output": "text"},
                    {"role": "user", "content": [{"type": "input_text", "text": "Yes."}]},
                ]
            },
            PLAN,
        ),
        ("aresponses", {"input": "Yes."}, ""),
        ("atext_completion", {"prompt": [PLAN, "Yes."]}, ""),
        (
            "agenerate_content",
            {
                "contents": [
                    {"role": "user", "parts": [{"text": PLAN}]},
                    {"role": "model", "parts": [{"text": "Shall I?"}]},
                    {"role": "user", "parts": [{"text": "Yes."}]},
                ]
            },
            PLAN,
        ),
    ],
)
def test_the_ask_before_the_newest_is_found(call_type: str, body: dict[str, Any], earlier: str) -> None:
    assert earlier_ask(body, call_type) == earlier
    analyzer = analyzer_of(Static(), Analysis(), 2_000, 500)
    request = request_of(analyzer.analyze(body, FORMATS[call_type]), body, call_type)
    assert (request.earlier, request.tail) == (earlier, "")
    if call_type != "atext_completion":
        assert request.ask.startswith("Yes")


def test_real_clients_ask_with_what_was_asked_before() -> None:
    body = bodies.claude_code(bodies.claude_code_turns())
    analyzer = analyzer_of(Static(), Analysis(), 2_000, 500)
    request = request_of(analyzer.analyze(body, "messages"), body, "anthropic_messages")
    assert (request.ask, request.earlier) == (bodies.NEXT, bodies.ASK)
    assert request.tools == len(body["tools"])
    assert request.messages > 1
    assert request.context_tokens > 0


def test_of_a_long_ask_both_ends_are_known() -> None:
    ask = "a" * 5_000 + "z" * 5_000
    body = {"messages": _said(("user", ask))}
    request = request_of(analyzer_of(Static(), Analysis(), 2_000, 500).analyze(body, "chat"), body, "acompletion")
    assert (request.ask, request.tail) == ("a" * 2_000, "z" * 500)
    assert "a" not in repr(request).removeprefix("Request(2000 characters)")


def test_only_the_beginning_of_the_earlier_ask_is_taken() -> None:
    body = {"messages": _said(("user", PLAN * 1_000), ("assistant", "?"), ("user", "Yes."))}
    assert earlier_ask(body, "acompletion") == (PLAN * 1_000)[:EARLIER_CHARS]


def test_a_long_history_is_read_from_its_end() -> None:
    work = [
        turn
        for number in range(200)
        for turn in _said(
            ("assistant", [{"type": "tool_use", "id": f"{number}", "name": "read", "input": {}}]),
            ("user", [{"type": "tool_result", "tool_use_id": f"{number}", "content": "x" * 1_000}]),
        )
    ]
    messages = [*_said(("user", PLAN)), *work, *_said(("user", "Yes."))]
    assert earlier_ask({"messages": messages}, "anthropic_messages") == ""  # too far back
    best = min(_seconds(messages) for _ in range(20))
    assert best < 0.002  # about 25 us on an idle core; the bound only tells a search of everything from this


def _seconds(messages: list[dict[str, Any]]) -> float:
    began = time.perf_counter()
    earlier_ask({"messages": messages}, "anthropic_messages")
    return time.perf_counter() - began


keys = st.sampled_from(["role", "content", "parts", "text", "type", "messages", "input", "prompt", "contents"])
words = st.sampled_from(["user", "assistant", "model", "text", "input_text", "tool_result", REMINDER, "<task>"])
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | words,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=30,
)


@given(st.dictionaries(keys, odd, max_size=5), st.sampled_from(sorted(FORMATS)))
def test_no_body_is_too_odd(body: dict[str, Any], call_type: str) -> None:
    analysis = analyzer_of(Static(), Analysis(), 200, 100).analyze(body, FORMATS[call_type])
    request = request_of(analysis, body, call_type)
    assert len(request.earlier) <= EARLIER_CHARS
    assert request.messages >= 0
