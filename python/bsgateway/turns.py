"""The turns of a request body, in whichever of the five formats: who said what, and which words are the user's own.

Reads heads only and copies nothing long: it runs at every request, beside the core's analysis, which reads everything.
A wrong type anywhere is as good as absent, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .harness import HARNESS_TAGS

_PLACES = {
    "acompletion": "messages",
    "completion": "messages",
    "anthropic_messages": "messages",
    "aresponses": "input",
    "responses": "input",
    "atext_completion": "prompt",
    "text_completion": "prompt",
}
_NO_HEADERS: Mapping[str, Any] = MappingProxyType({})
_MAX_BLOCKS = 32
_MAX_REMINDERS = 16
_TEXTS = ("text", "input_text", "output_text")
_TAG = re.compile(r"\s*<([A-Za-z0-9_-]{1,40})[\t\n\r >]")
_WORD = re.compile(r"\S")
_SYSTEM = ("system", "developer")
_BILLING = "x-anthropic-billing-header"  # the first text of Claude Code's system prompt, another one at every request
NEW_CHAT = "I switched to a new code base"
"""How aider ends the examples that it puts before a conversation."""

# What agents send under the user's role without a tag around it: the beginnings, as they stand in their open sources.
_CONTEXT = (
    "# AGENTS.md instructions",  # Codex
    "This is the Gemini CLI.",
    "I have *added these files to the chat*",  # aider, this one and the rest
    "Here are summaries of some files present",
    "Here are some READ ONLY files",
    NEW_CHAT,
)


def headers_of(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The client's headers as LiteLLM keeps them: names in lower case, as ASGI has them."""
    request = data.get("proxy_server_request")
    headers = request.get("headers") if isinstance(request, dict) else None
    return headers if isinstance(headers, dict) else _NO_HEADERS


def turns(data: Mapping[str, Any], call_type: str) -> Sequence[Any]:
    """The messages of a body, as they stand there. A text alone is one of the user."""
    found = data.get(_PLACES.get(call_type, "contents"))
    if isinstance(found, (list, tuple)):
        return found
    return () if found is None else (found,)


ANSWERING = ("assistant", "model")
"""Roles of what a model said."""


def role_of(turn: Any) -> str:
    """user, assistant, system, tool ...; "" for an item that is no message."""
    if isinstance(turn, str):
        return "user"
    role = turn.get("role") if isinstance(turn, dict) else None
    return role if isinstance(role, str) else ""


def blocks(turn: Any) -> Sequence[Any]:
    """What a turn consists of: texts and blocks, the first few."""
    if isinstance(turn, str):
        return (turn,)
    if not isinstance(turn, dict):
        return ()
    content = turn.get("content")
    if content is None:
        content = turn.get("parts")
    if isinstance(content, (list, tuple)):
        return content if len(content) <= _MAX_BLOCKS else content[:_MAX_BLOCKS]
    return () if content is None else (content,)


def text_of(block: Any) -> str | None:
    """The text of a text block; None for a block of any other kind."""
    if isinstance(block, str):
        return block
    if isinstance(block, dict) and block.get("type", "text") in _TEXTS:
        text = block.get("text")
        return text if isinstance(text, str) else None
    return None


def own_start(text: str) -> int | None:
    """Where the user's own words begin in a text: after what an agent put before them. None if there are none."""
    at = 0
    if text[:1].isalnum() and not text.startswith(_CONTEXT):  # most texts
        return 0
    for _ in range(_MAX_REMINDERS):
        found = _TAG.match(text, at)
        tag = found[1] if found else None
        if tag is None or tag not in HARNESS_TAGS:
            break
        end = text.find(f"</{tag}>", at)
        if end < 0:
            break
        at = end + len(tag) + 3
    found = _WORD.search(text, at)
    return None if found is None or text.startswith(_CONTEXT, found.start()) else found.start()


def has_answer(said: Sequence[Any], limit: int = 64) -> bool:
    """Whether a model has spoken in the conversation yet; of more turns than `limit` that is taken for granted."""
    for turn in said[:limit]:
        if isinstance(turn, dict):
            role = turn.get("role")
            if role == "assistant" or role == "model" or (role is None and _is_call(turn.get("type"))):
                return True
    return len(said) > limit


def _is_call(kind: Any) -> bool:
    return isinstance(kind, str) and (kind == "reasoning" or kind.endswith("_call"))


def system_heads(data: Mapping[str, Any], said: Sequence[Any], length: int, most: int = 4) -> list[str]:
    """The first `length` characters of each of the system prompt's texts, at most `most` of them."""
    heads: list[str] = []
    outside = data.get("system") or data.get("instructions") or data.get("systemInstruction")
    if outside:
        if isinstance(outside, dict):
            outside = outside.get("parts")
        _add_heads(heads, outside if isinstance(outside, (list, tuple)) else (outside,), length, most)
    for turn in said[:4]:
        if isinstance(turn, dict) and turn.get("role") in _SYSTEM:
            _add_heads(heads, blocks(turn), length, most)
    return heads


def _add_heads(heads: list[str], found: Sequence[Any], length: int, most: int) -> None:
    for block in found[:_MAX_BLOCKS]:
        if len(heads) >= most:
            return
        text = text_of(block)
        if text and not text.startswith(_BILLING):
            heads.append(text[:length])
