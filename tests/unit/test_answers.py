"""`answers.py`: what an answer says and why it ended, in every format, whole or as it is put together of a stream."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litellm import ModelResponse
from litellm.types.llms.openai import ResponseAPIUsage, ResponsesAPIResponse
from litellm.types.utils import Choices, Message, TextCompletionResponse, Usage

from bsgateway.answers import MAX_REASON, REDACTED, finish_reason, usage_of, words_of


def chat(content: Any = "Yes.", reason: Any = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": reason}
    return {"object": "chat.completion", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}


def message(*blocks: Any, reason: Any = "end_turn") -> dict[str, Any]:
    usage = {"input_tokens": 5, "output_tokens": 6}
    return {"type": "message", "content": list(blocks), "stop_reason": reason, "usage": usage}


def response(status: str = "completed", *parts: Any, why: str | None = None) -> dict[str, Any]:
    output = [{"type": "reasoning", "summary": []}, {"type": "message", "content": list(parts)}]
    details = None if why is None else {"reason": why}
    return {"object": "response", "status": status, "output": output, "incomplete_details": details}


TEXT = {"type": "text", "text": "Yes."}
OUTPUT_TEXT = {"type": "output_text", "text": "Yes."}


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (chat(), "stop", "Yes."),
        (chat(reason="length"), "length", "Yes."),
        (chat(None, "tool_calls"), "tool_calls", None),
        (chat(None, "content_filter"), "content_filter", None),
        (chat(None, "stop", refusal="I will not."), "refusal", None),
        (chat("  \n"), "stop", None),
        (chat(REDACTED), "stop", None),
        (message(TEXT), "stop", "Yes."),
        (message({"type": "thinking", "thinking": "Hm."}, TEXT), "stop", "Yes."),
        (message(TEXT, {"type": "tool_use", "name": "f"}, reason="tool_use"), "tool_calls", "Yes."),
        (message(TEXT, reason="max_tokens"), "length", "Yes."),
        (message(reason="refusal"), "refusal", None),
        (message(TEXT, reason="pause_turn"), "pause_turn", "Yes."),
        (response("completed", OUTPUT_TEXT), "stop", "Yes."),
        (response("incomplete", OUTPUT_TEXT, why="max_output_tokens"), "length", "Yes."),
        (response("incomplete", why="content_filter"), "content_filter", None),
        (response("completed", {"type": "refusal", "refusal": "I will not."}), "refusal", None),
        ({"type": "response.completed", "response": response("completed", OUTPUT_TEXT)}, "stop", "Yes."),
        ({"candidates": [{"finishReason": "STOP"}]}, "stop", None),
        ({"candidates": [{"finishReason": "SAFETY"}]}, "content_filter", None),
        ({"candidates": [{"finishReason": SimpleNamespace(value="MAX_TOKENS")}]}, "length", None),
        (chat(reason="x" * 1_000), "x" * MAX_REASON, "Yes."),
        (None, None, None),
        ({}, None, None),
        ({"choices": []}, None, None),
        ([1, 2], None, None),
        ("Yes.", None, None),
    ],
)  # fmt: skip
def test_formats(answer: Any, reason: str | None, words: str | None) -> None:
    assert finish_reason(answer) == reason
    assert words_of(answer) == words


def test_objects_of_litellm() -> None:
    made = ModelResponse(
        choices=[Choices(message=Message(content="Yes."), finish_reason="length")],
        usage=Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7),
    )
    assert (finish_reason(made), words_of(made), usage_of(made)) == ("length", "Yes.", (3, 4))
    completion = TextCompletionResponse(choices=[{"text": "Yes.", "finish_reason": "stop", "index": 0}])
    assert finish_reason(completion) == "stop"
    whole = ResponsesAPIResponse(
        id="r", created_at=1, output=[{"type": "message", "content": [OUTPUT_TEXT]}], parallel_tool_calls=False,
        temperature=None, tool_choice="auto", tools=[], top_p=None, status="completed",
        usage=ResponseAPIUsage(input_tokens=8, output_tokens=9, total_tokens=17),
    )  # fmt: skip
    assert (finish_reason(whole), words_of(whole), usage_of(whole)) == ("stop", "Yes.", (8, 9))


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [(chat(), (3, 4)), (message(TEXT), (5, 6)), ({}, None), ({"usage": {"prompt_tokens": 3}}, None), (None, None)],
)
def test_usage(answer: Any, tokens: tuple[int, int] | None) -> None:
    assert usage_of(answer) == tokens


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "output", "type", "text", "usage", "response", "candidates"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_anything_is_an_answer_or_says_nothing(answer: Any) -> None:
    for found in (finish_reason(answer), words_of(answer)):
        assert found is None or isinstance(found, str)
    usage_of(answer)
