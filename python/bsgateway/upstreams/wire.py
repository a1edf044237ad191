"""One text answer in the shapes of the four APIs that clients speak, whole and as a stream of events.

Sources: the OpenAI API reference (chat completions, completions, responses) and the Anthropic API reference
(messages).  Fields that the official SDKs require are present; nothing of the request is repeated but the model.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Json: TypeAlias = "dict[str, Any]"

Event: TypeAlias = "tuple[str | None, Json | str]"
"""A server-sent event: its name, or None, and its data; data that is a string is sent as it is."""

_CHUNK_CHARACTERS: Final = 32
_FINGERPRINT: Final = "bsgateway-stand-in"


@dataclass(frozen=True)
class Answer:
    """What to say, and about how many tokens it would have cost."""

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    include_usage: bool = False
    """Whether a streamed chat completion or completion ends with its usage."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def chunks(self) -> Iterator[str]:
        """The text in pieces of a few words, as a model would stream it."""
        for start in range(0, len(self.text), _CHUNK_CHARACTERS):
            yield self.text[start : start + _CHUNK_CHARACTERS]


# -- OpenAI chat completions and completions


def chat_completion(answer: Answer) -> Json:
    """The body of a chat completion."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {**_chat_head(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer)}


def chat_completion_events(answer: Answer) -> Iterator[Event]:
    """The chunks of a streamed chat completion."""
    head = _chat_head(answer, "chat.completion.chunk")

    def chunk(delta: Json, finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return None, {**head, "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    for text in answer.chunks():
        yield chunk({"content": text})
    yield chunk({}, "stop")
    if answer.include_usage:
        yield None, {**head, "choices": [], "usage": _usage(answer)}
    yield None, "[DONE]"


def completion(answer: Answer) -> Json:
    """The body of a text completion."""
    choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": "stop"}
    return {**_completion_head(answer), "choices": [choice], "usage": _usage(answer)}


def completion_events(answer: Answer) -> Iterator[Event]:
    """The chunks of a streamed text completion."""
    head = _completion_head(answer)
    for text in answer.chunks():
        yield None, {**head, "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": None}]}
    yield None, {**head, "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]}
    if answer.include_usage:
        yield None, {**head, "choices": [], "usage": _usage(answer)}
    yield None, "[DONE]"


def _chat_head(answer: Answer, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": _FINGERPRINT,
    }


def _completion_head(answer: Answer) -> Json:
    return {**_chat_head(answer, "text_completion"), "id": f"cmpl-{answer.id}"}


def _usage(answer: Answer) -> Json:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


# -- OpenAI responses


def response(answer: Answer) -> Json:
    """The body of a finished response."""
    usage = {
        "input_tokens": answer.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
    return _response(answer, "completed", [_output_item(answer, "completed")], usage)


def response_events(answer: Answer) -> Iterator[Event]:
    """The events of a streamed response, numbered in order."""
    for number, (name, data) in enumerate(_response_events(answer)):
        yield name, {"type": name, "sequence_number": number, **data}


def _response_events(answer: Answer) -> Iterator[tuple[str, Json]]:
    item = {"item_id": f"msg_{answer.id}", "output_index": 0}
    part = {**item, "content_index": 0}
    started = _response(answer, "in_progress", [], None)
    yield "response.created", {"response": started}
    yield "response.in_progress", {"response": started}
    yield "response.output_item.added", {"output_index": 0, "item": _output_item(answer, "in_progress")}
    yield "response.content_part.added", {**part, "part": _output_text("")}
    for text in answer.chunks():
        yield "response.output_text.delta", {**part, "delta": text, "logprobs": []}
    yield "response.output_text.done", {**part, "text": answer.text, "logprobs": []}
    yield "response.content_part.done", {**part, "part": _output_text(answer.text)}
    yield "response.output_item.done", {"output_index": 0, "item": _output_item(answer, "completed")}
    yield "response.completed", {"response": response(answer)}


def _response(answer: Answer, status: str, output: list[Json], usage: Json | None) -> Json:
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "model": answer.model,
        "output": output,
        "usage": usage,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
    }


def _output_item(answer: Answer, status: str) -> Json:
    content = [_output_text(answer.text)] if status == "completed" else []
    return {
        "type": "message",
        "id": f"msg_{answer.id}",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _output_text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


# -- Anthropic messages


def message(answer: Answer) -> Json:
    """The body of a message."""
    content = [{"type": "text", "text": answer.text}]
    usage = {"input_tokens": answer.prompt_tokens, "output_tokens": answer.completion_tokens}
    return {**_message_head(answer), "content": content, "stop_reason": "end_turn", "usage": usage}


def message_events(answer: Answer) -> Iterator[Event]:
    """The events of a streamed message."""
    for name, data in _message_events(answer):
        yield name, {"type": name, **data}


def _message_events(answer: Answer) -> Iterator[tuple[str, Json]]:
    usage = {"input_tokens": answer.prompt_tokens, "output_tokens": 1}
    yield "message_start", {"message": {**_message_head(answer), "usage": usage}}
    yield "content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}
    for text in answer.chunks():
        yield "content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}}
    yield "content_block_stop", {"index": 0}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    yield "message_delta", {"delta": end, "usage": {"output_tokens": answer.completion_tokens}}
    yield "message_stop", {}


def _message_head(answer: Answer) -> Json:
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
