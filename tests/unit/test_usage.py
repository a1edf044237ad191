"""Tokens of an answer, whole and event by event."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from bsgateway.usage import Reading

CHAT = {
    "model": "gpt-x",
    "choices": [{"finish_reason": "stop", "message": {"content": "Yes."}}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "total_tokens": 107,
        "prompt_tokens_details": {"cached_tokens": 60},
    },
}
MESSAGE = {
    "model": "claude-x",
    "stop_reason": "max_tokens",
    "usage": {
        "input_tokens": 10,
        "output_tokens": 7,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 30,
    },
}
RESPONSE = {
    "model": "gpt-x",
    "status": "completed",
    "output": [],
    "usage": {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60},
        "output_tokens": 7,
        "total_tokens": 107,
    },
}
GOOGLE = {
    "candidates": [{"finishReason": "MAX_TOKENS"}],
    "usageMetadata": {
        "promptTokenCount": 100,
        "candidatesTokenCount": 4,
        "thoughtsTokenCount": 3,
        "cachedContentTokenCount": 60,
    },
}


def counts(*events: Any) -> tuple[Any, ...]:
    """Prompt, completion, read from a cache, written to it, and the reason of the end."""
    reading = Reading()
    for event in events:
        reading.see(event)
    return reading.prompt, reading.completion, reading.cache_read, reading.cache_write, reading.finish_reason


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (CHAT, (100, 7, 60, None, "stop")),
        (MESSAGE, (100, 7, 60, 30, "length")),
        (RESPONSE, (100, 7, 60, None, "stop")),
        (GOOGLE, (100, 7, 60, None, "length")),
        ({"type": "response.completed", "response": RESPONSE}, (100, 7, 60, None, "stop")),
    ],
)
def test_cached_tokens_are_part_of_the_prompt_in_every_format(answer: Any, found: tuple[Any, ...]) -> None:
    assert counts(answer) == found


def test_objects_of_the_sdks_read_as_their_json() -> None:
    chat = openai.types.chat.ChatCompletion.model_construct(**CHAT)
    message = anthropic.types.Message.model_construct(**MESSAGE)
    assert counts(chat) == counts(CHAT)
    assert counts(message) == counts(MESSAGE)


def test_the_events_of_a_stream_add_up() -> None:
    chat = [
        {"choices": [{"delta": {"content": "Yes."}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": CHAT["usage"]},
    ]
    message = [
        {"type": "message_start", "message": {**MESSAGE, "stop_reason": None}},
        {"type": "content_block_delta", "delta": {"text": "Yes."}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    response = [
        {"type": "response.created", "response": {"status": "in_progress", "output": [], "usage": None}},
        {"type": "response.completed", "response": RESPONSE},
    ]
    assert counts(*chat) == (100, 7, 60, None, "stop")
    assert counts(*message) == (100, 9, 60, 30, "stop")
    assert counts(*response) == (100, 7, 60, None, "stop")


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"data: {}",
        "text",
        [],
        {"usage": 3},
        {"usage": {"prompt_tokens": "many", "completion_tokens": True}},
        {"usage": {"prompt_tokens": -1, "completion_tokens": 2**31}},
        {"usage": {"input_tokens": None, "prompt_tokens_details": [1]}, "model": 7},
    ],
)
def test_what_is_no_count_is_not_counted(answer: Any) -> None:
    assert counts(answer) == (None, None, None, None, None)
