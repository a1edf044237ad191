"""Answers of models that think and call tools, in the shapes of their APIs, whole and as a stream of events.

`bsgateway.upstreams.wire` has plain text answers; these carry what binds a conversation to its provider.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import uuid4

from bsgateway.upstreams import wire

Json: TypeAlias = "dict[str, Any]"

USAGE = {"input_tokens": 1000, "output_tokens": 50}
_CHAT_USAGE = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}


@dataclass(frozen=True)
class Said:
    """One answer: a thought with what its provider binds it by, then a tool call or, without a tool, a text."""

    model: str
    text: str
    thought: str | None
    signature: str
    tool: str | None = None
    arguments: Json = field(default_factory=lambda: {"file_path": "/srv/billing/total.py"})
    id: str = field(default_factory=lambda: uuid4().hex)


# -- Anthropic messages


def message(said: Said) -> Json:
    """The body of a message."""
    blocks: list[Json] = []
    if said.thought is not None:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": said.signature})
    blocks.append({"type": "text", "text": said.text})
    if said.tool:
        call = {"type": "tool_use", "id": f"toolu_{said.id}", "name": said.tool, "input": said.arguments}
        blocks.append(call)
    end = "tool_use" if said.tool else "end_turn"
    head = {"id": f"msg_{said.id}", "type": "message", "role": "assistant", "model": said.model}
    return {**head, "content": blocks, "stop_reason": end, "stop_sequence": None, "usage": USAGE}


def message_events(said: Said) -> Iterator[wire.Event]:
    """The events of a streamed message."""
    whole = message(said)

    def event(name: str, **data: Any) -> wire.Event:
        return name, {"type": name, **data}

    yield event("message_start", message={**whole, "content": [], "stop_reason": None})
    for index, block in enumerate(whole["content"]):
        empty, deltas = _message_deltas(block)
        yield event("content_block_start", index=index, content_block=empty)
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=end, usage={"output_tokens": 50})
    yield event("message_stop")


def _message_deltas(block: Json) -> tuple[Json, list[Json]]:
    if block["type"] == "thinking":
        signed = {"type": "signature_delta", "signature": block["signature"]}
        thought = {"type": "thinking_delta", "thinking": block["thinking"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [thought, signed]
    if block["type"] == "tool_use":
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": block["text"]}]


# -- OpenAI responses


def response(said: Said) -> Json:
    """The body of a finished response."""
    answer = wire.Answer(said.text, said.model, 1000, 50, id=said.id)
    return {**wire.response(answer), "output": _output(said)}


def _output(said: Said) -> list[Json]:
    items: list[Json] = []
    if said.thought is not None:
        summary = [{"type": "summary_text", "text": said.thought}]
        items.append(
            {"type": "reasoning", "id": f"rs_{said.id}", "summary": summary, "encrypted_content": said.signature}
        )
    text = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
    items.append(
        {"type": "message", "id": f"msg_{said.id}", "status": "completed", "role": "assistant", "content": [text]}
    )
    if said.tool:
        call = {"name": said.tool, "arguments": json.dumps(said.arguments), "call_id": f"call_{said.id}"}
        items.append({"type": "function_call", "id": f"fc_{said.id}", "status": "completed", **call})
    return items


def response_events(said: Said) -> Iterator[wire.Event]:
    """The events of a streamed response, numbered in order."""
    for number, (name, data) in enumerate(_response_events(said)):
        yield name, {"type": name, "sequence_number": number, **data}


def _response_events(said: Said) -> Iterator[tuple[str, Json]]:
    whole = response(said)
    started = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield "response.created", {"response": started}
    yield "response.in_progress", {"response": started}
    for index, item in enumerate(whole["output"]):
        at = {"item_id": item["id"], "output_index": index}
        yield "response.output_item.added", {"output_index": index, "item": {**item, **_begun(item)}}
        if item["type"] == "reasoning":
            part = {**at, "summary_index": 0}
            yield "response.reasoning_summary_part.added", {**part, "part": {"type": "summary_text", "text": ""}}
            yield "response.reasoning_summary_text.delta", {**part, "delta": said.thought}
            yield "response.reasoning_summary_text.done", {**part, "text": said.thought}
            yield "response.reasoning_summary_part.done", {**part, "part": item["summary"][0]}
        elif item["type"] == "message":
            part = {**at, "content_index": 0}
            yield "response.content_part.added", {**part, "part": {**item["content"][0], "text": ""}}
            yield "response.output_text.delta", {**part, "delta": said.text, "logprobs": []}
            yield "response.output_text.done", {**part, "text": said.text, "logprobs": []}
            yield "response.content_part.done", {**part, "part": item["content"][0]}
        else:
            yield "response.function_call_arguments.delta", {**at, "delta": item["arguments"]}
            yield "response.function_call_arguments.done", {**at, "arguments": item["arguments"]}
        yield "response.output_item.done", {"output_index": index, "item": item}
    yield "response.completed", {"response": whole}


def _begun(item: Json) -> Json:
    if item["type"] == "reasoning":
        return {"summary": [], "encrypted_content": ""}
    return {"content": [], "status": "in_progress"} if item["type"] == "message" else {"arguments": ""}


# -- OpenAI chat completions, of OpenAI and of local servers, which show their thoughts


def chat_completion(said: Said) -> Json:
    """The body of a chat completion."""
    spoken: Json = {"role": "assistant", "content": said.text}
    if said.thought is not None:
        spoken["reasoning_content"] = said.thought
    if said.tool:
        call = {"name": said.tool, "arguments": json.dumps(said.arguments)}
        spoken["tool_calls"] = [{"id": f"call_{said.id}", "type": "function", "function": call}]
    choice = {"index": 0, "message": spoken, "logprobs": None, "finish_reason": _finish(said)}
    return {**_chat_head(said, "chat.completion"), "choices": [choice], "usage": _CHAT_USAGE}


def chat_completion_events(said: Said) -> Iterator[wire.Event]:
    """The chunks of a streamed chat completion."""
    head = _chat_head(said, "chat.completion.chunk")
    whole = chat_completion(said)["choices"][0]["message"]

    def chunk(delta: Json, finish: str | None = None) -> wire.Event:
        return None, {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

    yield chunk({"role": "assistant", "content": ""})
    if said.thought is not None:
        yield chunk({"reasoning_content": said.thought})
    yield chunk({"content": said.text})
    if said.tool:
        yield chunk({"tool_calls": [{"index": 0, **whole["tool_calls"][0]}]})
    yield chunk({}, _finish(said))
    yield None, {**head, "choices": [], "usage": _CHAT_USAGE}
    yield None, "[DONE]"


def _finish(said: Said) -> str:
    return "tool_calls" if said.tool else "stop"


def _chat_head(said: Said, kind: str) -> Json:
    return {"id": f"chatcmpl-{said.id}", "object": kind, "created": 1_760_000_000, "model": said.model}


# -- Ollama's own API: a stream is one JSON object a line


def ollama(said: Said) -> Json:
    """The body of an answer, which is also the last line of a stream."""
    spoken: Json = {"role": "assistant", "content": said.text}
    if said.thought is not None:
        spoken["thinking"] = said.thought
    if said.tool:
        spoken["tool_calls"] = [{"function": {"name": said.tool, "arguments": said.arguments}}]
    counts = {"prompt_eval_count": 1000, "eval_count": 50, "total_duration": 1, "load_duration": 1}
    head = {"model": said.model, "created_at": "2026-01-01T00:00:00Z"}
    return {**head, "message": spoken, "done": True, "done_reason": "stop", **counts}


def ollama_events(said: Said) -> Iterator[wire.Event]:
    """The lines of a stream."""
    whole = ollama(said)
    head = {"model": said.model, "created_at": whole["created_at"], "done": False}
    if said.thought is not None:
        yield None, {**head, "message": {"role": "assistant", "content": "", "thinking": said.thought}}
    yield None, {**head, "message": {"role": "assistant", "content": said.text}}
    spoken = {**whole["message"], "content": ""}
    spoken.pop("thinking", None)
    if said.tool:
        yield None, {**head, "message": spoken}
    yield None, {**whole, "message": {"role": "assistant", "content": ""}}


# -- Google


def generate_content(said: Said) -> Json:
    """The body of an answer, which is also the only event of a stream."""
    parts: list[Json] = []
    if said.thought is not None:
        parts.append({"text": said.thought, "thought": True})
    if said.tool:
        call = {"name": said.tool, "args": said.arguments}
        parts.append({"functionCall": call, "thoughtSignature": said.signature})
    else:
        parts.append({"text": said.text})
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 1000, "candidatesTokenCount": 50, "totalTokenCount": 1050}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": said.model}


def generate_content_events(said: Said) -> Iterator[wire.Event]:
    """The one event of a stream."""
    yield None, generate_content(said)
