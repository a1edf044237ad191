"""The bodies of `benches/bodies.py` as chat completions, which every variant routes; each turn is another request.

None of them asks for a stream: its events would cost every variant the same and make the ratios smaller.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from benches.bodies import chat_500b, claude_code_100k, history_200k, log_lines

Json = dict[str, Any]


def _chat_500b() -> Callable[[int], Json]:
    return lambda turn: chat_500b(turn).body


def _claude_code_100k() -> Callable[[int], Json]:
    body = as_chat(claude_code_100k().body)
    head = body["messages"][:-1]
    last = body["messages"][-1]["content"]

    def make(turn: int) -> Json:
        ask = {"type": "text", "text": f"Fix the flaky test of the parser, attempt {turn}."}
        return {**body, "messages": [*head, {"role": "user", "content": [*last[:-1], ask]}]}

    return make


def _history_200k() -> Callable[[int], Json]:
    body = as_chat(history_200k().body)
    head = body["messages"][:-1]

    def make(turn: int) -> Json:
        content = f"{turn} passed\n{log_lines(900, turn)}"
        return {**body, "messages": [*head, {"role": "tool", "tool_call_id": "call_x", "content": content}]}

    return make


BODIES: dict[str, Callable[[], Callable[[int], Json]]] = {
    "chat_500b": _chat_500b,
    "claude_code_100k": _claude_code_100k,
    "history_200k": _history_200k,
}
"""Name -> a function that makes a function from turn to body; the large ones are made once."""


def encoded(make: Callable[[int], Json], model: str, turns: range) -> list[bytes]:
    """The bodies of some turns as they go over the wire, asking for `model`."""
    return [json.dumps({**make(turn), "model": model}, ensure_ascii=False).encode() for turn in turns]


def as_chat(body: Json) -> Json:
    """An Anthropic messages body as a chat completion: system prompt and tools first, tool calls and results in their
    OpenAI shapes. Cache marks, thinking and streaming are left out."""
    messages: list[Json] = [{"role": "system", "content": [_text(block) for block in body["system"]]}]
    for message in body["messages"]:
        messages += _messages(message["role"], message["content"])
    tools = [
        {
            "type": "function",
            "function": {"name": t["name"], "description": t["description"], "parameters": t["input_schema"]},
        }
        for t in body["tools"]
    ]
    return {"model": body["model"], "messages": messages, "tools": tools}


def _messages(role: str, content: list[Json]) -> list[Json]:
    texts = [_text(block) for block in content if block["type"] == "text"]
    calls = [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
        }
        for block in content
        if block["type"] == "tool_use"
    ]
    results = [
        {"role": "tool", "tool_call_id": block["tool_use_id"], "content": _plain(block["content"])}
        for block in content
        if block["type"] == "tool_result"
    ]
    if not texts and not calls:
        return results
    message: Json = {"role": role, "content": texts or None}
    if calls:
        message["tool_calls"] = calls
    return [*results, message]


def _text(block: Json) -> Json:
    return {"type": "text", "text": block["text"]}


def _plain(content: str | list[Json]) -> str:
    return content if isinstance(content, str) else "\n".join(block["text"] for block in content)
