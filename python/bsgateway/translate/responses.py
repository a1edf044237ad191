"""Bodies of OpenAI's responses API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..catalog import Model
from .parts import (
    ANTHROPIC_REASONING,
    GOOGLE_SIGNATURE,
    Json,
    drop,
    get,
    keep_tools,
    lower,
    no_room,
    parallel,
    replace,
    without,
)

_ENCRYPTED = "reasoning.encrypted_content"


def responses(data: Json, model: Model, settled: bool, changed: set[str]) -> None:
    """Edit `data` for `model`; see `translate`. `settled`: the history is all the model's own, as far as is known."""
    lower(data, "max_output_tokens", model, changed)
    reasons = "reasoning" in model.supports
    items = data.get("input")
    # LiteLLM finds its way with the reasoning of others to Anthropic and to Google.
    if model.family not in ("anthropic", "google") and isinstance(items, list) and not (settled and reasons):
        data["input"] = _plain(items, _foreign(data, model, reasons), changed)
    parallel(data, model, changed)
    if not reasons:
        drop(data, "reasoning", changed, "thinking")
        _drop_wishes_of_reasoners(data, changed)
    elif model.family == "anthropic" and not model.adaptive_thinking and "reasoning" in data:
        effort = get(data["reasoning"], "effort")
        if no_room(effort, data.get("max_output_tokens")) or _loop_without_thought(items):
            drop(data, "reasoning", changed, "thinking")
    if model.family != "openai":
        _server_tools(data, model, changed)


def _foreign(data: Json, model: Model, reasons: bool) -> Callable[[Json], bool]:
    """Which reasoning items `model` can make nothing of."""
    if not reasons:
        return lambda item: True
    if model.family != "openai":
        return lambda item: bool(item.get("encrypted_content"))
    is_unstored = data.get("store") is False  # then OpenAI would look in vain for an item without its cipher
    return lambda item: _is_of_anthropic(item) or (is_unstored and not item.get("encrypted_content"))


def _plain(items: list[Any], foreign: Callable[[Json], bool], changed: set[str]) -> list[Any]:
    """The history without such reasoning, and as OpenAI's API describes it."""
    kept, edited = [], False
    for item in items:
        if get(item, "type") == "reasoning" and foreign(item):
            changed.add("reasoning_items")
            edited = True
            continue
        plain = _plain_item(item, changed) if isinstance(item, dict) else item
        edited = edited or plain is not item
        kept.append(plain)
    return kept if edited else items


def _plain_item(item: Json, changed: set[str]) -> Json:
    if "provider_specific_fields" in item:
        item = without(item, "provider_specific_fields")
        changed.add("provider_fields")
    for name in ("call_id", "id"):
        value = item.get(name)
        if isinstance(value, str) and GOOGLE_SIGNATURE in value:
            item = {**item, name: value.partition(GOOGLE_SIGNATURE)[0]}
            changed.add("call_ids")
    return item


def _loop_without_thought(items: Any) -> bool:
    """Whether the newest item answers a call, and no thought of that turn is one that Anthropic has signed."""
    if not isinstance(items, list) or not items or not str(get(items[-1], "type")).endswith("_output"):
        return False
    for item in reversed(items):
        if get(item, "type") == "reasoning" and _is_of_anthropic(item):
            return False
        if get(item, "type") in (None, "message") and get(item, "role") != "assistant":
            break
    return True


def _is_of_anthropic(item: Json) -> bool:
    encrypted = item.get("encrypted_content")
    return isinstance(encrypted, str) and encrypted.startswith(ANTHROPIC_REASONING)


def _drop_wishes_of_reasoners(data: Json, changed: set[str]) -> None:
    include = data.get("include")
    if isinstance(include, list) and _ENCRYPTED in include:
        replace(data, "include", [name for name in include if name != _ENCRYPTED])
        changed.add("encrypted_reasoning")
    text = data.get("text")
    if isinstance(text, dict) and "verbosity" in text:
        replace(data, "text", without(text, "verbosity"))
        changed.add("verbosity")


def _server_tools(data: Json, model: Model, changed: set[str]) -> None:
    """Keep the tools that the client runs itself; LiteLLM turns a web search into that of a model which has one."""
    searches = "web_search" in model.supports

    def stays(tool: Any) -> bool:
        kind = get(tool, "type")
        return kind in ("function", "custom") or (searches and str(kind).startswith("web_search"))

    keep_tools(data, stays, "server_tools", changed)
