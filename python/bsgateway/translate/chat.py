"""Bodies of OpenAI's chat completions API, and of its old completions API."""

from __future__ import annotations

from typing import Any

from ..catalog import Model
from .parts import (
    Json,
    begins_with_thought,
    drop,
    fit_budget,
    get,
    is_signed,
    is_thought,
    keep_tools,
    lower,
    no_room,
    parallel,
    without,
)

_ADDED_AS = {
    "thinking_blocks": "thinking_blocks",
    "reasoning_content": "thinking_blocks",
    "provider_specific_fields": "provider_fields",
    "images": "provider_fields",
    "cache_control": "cache_marks",
}
"""What LiteLLM, and clients that know Anthropic, add to messages -> the name of its removal."""
_ADDED = frozenset(_ADDED_AS)
_OF_CALLS = frozenset(("provider_specific_fields", "index", "cache_control"))


def completions(data: Json, model: Model, settled: bool, changed: set[str]) -> None:
    """Edit `data` for `model`; see `translate`."""
    lower(data, "max_tokens", model, changed)


def chat(data: Json, model: Model, settled: bool, changed: set[str]) -> None:
    """Edit `data` for `model`; see `translate`. `settled`: the history is all the model's own, as far as is known."""
    lower(data, "max_tokens", model, changed)
    lower(data, "max_completion_tokens", model, changed)
    reasons = "reasoning" in model.supports
    history = data.get("messages")
    if isinstance(history, list) and (
        model.family == "openai" or not (reasons or model.family in ("anthropic", "google"))
    ):
        data["messages"] = _plain(history, model.family == "openai", changed)
    if model.family != "openai":
        keep_tools(data, lambda tool: get(tool, "type") != "custom", "custom_tools", changed)
    if "web_search" not in model.supports:
        drop(data, "web_search_options", changed, "web_search")
    parallel(data, model, changed)
    if not reasons or (model.family == "anthropic" and not _may_think(data, model, changed)):
        drop(data, "reasoning_effort", changed, "thinking")
        drop(data, "thinking", changed)


def _may_think(data: Json, model: Model, changed: set[str]) -> bool:
    """Whether a Claude can think before this answer, as it is asked to."""
    effort = data.get("reasoning_effort")
    if effort is None and "thinking" not in data:
        return True
    tokens = data.get("max_completion_tokens") or data.get("max_tokens")
    if not fit_budget(data, tokens, changed):
        return False
    if model.adaptive_thinking:
        return True
    if no_room(get(effort, "effort") or effort, tokens):
        return False
    return not _loop_without_thought(data.get("messages"))


def _loop_without_thought(history: Any) -> bool:
    """Whether the newest message answers a tool call, and no thought of that turn is one that Anthropic has signed."""
    if not isinstance(history, list) or not history or get(history[-1], "role") != "tool":
        return False
    for message in reversed(history):
        if get(message, "role") == "assistant":
            blocks = get(message, "thinking_blocks")
            if isinstance(blocks, list) and any(is_thought(block) and is_signed(block) for block in blocks):
                return False
            if begins_with_thought(get(message, "content")):
                return False
        elif get(message, "role") != "tool":
            break
    return True


def _plain(history: list[Any], marks_too: bool, changed: set[str]) -> list[Any]:
    """`history` as OpenAI's API describes it: OpenAI and most who speak its API refuse what others have added."""
    edited: list[Any] | None = None
    for index, message in enumerate(history):
        if type(message) is not dict:
            continue
        plain: Json = message
        if not _ADDED.isdisjoint(message):
            plain = _without_added(plain, marks_too, changed)
        calls = plain.get("tool_calls")
        if calls and type(calls) is list:
            plain = _without_fields(plain, calls, changed)
        content = plain.get("content")
        if marks_too and type(content) is list:
            plain = _without_marks(plain, content, changed)
        if plain is not message:
            edited = list(history) if edited is None else edited
            edited[index] = plain
    return history if edited is None else edited


def _without_added(message: Json, marks_too: bool, changed: set[str]) -> Json:
    found = [name for name in _ADDED if name in message and (marks_too or name != "cache_control")]
    changed.update(_ADDED_AS[name] for name in found)
    return without(message, *found) if found else message


def _without_fields(message: Json, calls: list[Any], changed: set[str]) -> Json:
    if all(_OF_CALLS.isdisjoint(call) for call in calls if type(call) is dict):
        return message
    changed.add("provider_fields")
    plain = [without(call, *_OF_CALLS) if isinstance(call, dict) else call for call in calls]
    return {**message, "tool_calls": plain}


def _without_marks(message: Json, content: list[Any], changed: set[str]) -> Json:
    if not any("cache_control" in part for part in content if type(part) is dict):
        return message
    changed.add("cache_marks")
    parts = [without(part, "cache_control") if isinstance(part, dict) else part for part in content]
    return {**message, "content": parts}
