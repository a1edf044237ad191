"""Bodies of Anthropic's messages API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..catalog import Model
from .parts import (
    THOUGHTS,
    Json,
    begins_with_thought,
    drop,
    fit_budget,
    get,
    is_signed,
    is_thought,
    keep_tools,
    lower,
    replace,
    without,
)


def messages(data: Json, model: Model, settled: bool, changed: set[str]) -> None:
    """Edit `data` for `model`; see `translate`. `settled`: the history is all the model's own, as far as is known."""
    lower(data, "max_tokens", model, changed)
    reasons = "reasoning" in model.supports
    foreign = _FOREIGN.get(model.family) if reasons else _any
    history = data.get("messages")
    if foreign is not None and isinstance(history, list) and not (settled and not _in_newest(history, foreign)):
        history = data["messages"] = _without_thoughts(history, foreign, changed)
    if not reasons:
        _stop_thinking(data, changed)
    elif model.family == "anthropic":
        _claude(data, model, history, changed)
    if model.family != "anthropic":
        _server_tools(data, model, changed)


def _any(block: Json) -> bool:
    return True


def _unsigned(block: Json) -> bool:
    """A thought that Anthropic refuses: it checks that it has signed it."""
    return not is_signed(block)


def _not_encrypted(block: Json) -> bool:
    """A thought that OpenAI can make nothing of: it wants its own, encrypted."""
    return not is_signed(block, by_openai=True)


# LiteLLM finds its way with the thoughts of others to Google and to hosts of other models.
_FOREIGN: dict[str, Callable[[Json], bool]] = {"anthropic": _unsigned, "openai": _not_encrypted}


def _holds(content: list[Any], foreign: Callable[[Json], bool]) -> bool:
    """Whether an answer holds such a thought. Long histories are searched by this: a generator would cost twice."""
    for block in content:  # noqa: SIM110
        if type(block) is dict and block.get("type") in THOUGHTS and foreign(block):
            return True
    return False


def _in_newest(history: list[Any], foreign: Callable[[Json], bool]) -> bool:
    """Whether the newest answer holds such a thought: LiteLLM may have fallen back to another model."""
    for message in reversed(history):
        if get(message, "role") == "assistant":
            content = message.get("content")
            return isinstance(content, list) and _holds(content, foreign)
    return False


def _without_thoughts(history: list[Any], foreign: Callable[[Json], bool], changed: set[str]) -> list[Any]:
    edited: list[Any] | None = None
    for index, message in enumerate(history):
        if type(message) is not dict or message.get("role") != "assistant":
            continue
        content = message.get("content")
        if type(content) is list and _holds(content, foreign):
            edited = list(history) if edited is None else edited
            edited[index] = {**message, "content": [one for one in content if not (is_thought(one) and foreign(one))]}
    if edited is None:
        return history
    changed.add("thinking_blocks")
    # An answer of nothing but thoughts goes with them: Anthropic refuses an empty message.
    return [after for after, before in zip(edited, history, strict=True) if after is before or after["content"]]


def _stop_thinking(data: Json, changed: set[str]) -> None:
    """As if the client had not asked for thinking."""
    drop(data, "thinking", changed)
    config = data.get("output_config")
    if isinstance(config, dict) and "effort" in config:
        replace(data, "output_config", without(config, "effort"))
        changed.add("thinking")
    _drop_edits_of_thoughts(data, changed)


def _drop_edits_of_thoughts(data: Json, changed: set[str]) -> None:
    management = data.get("context_management")
    edits = get(management, "edits")
    if not isinstance(management, dict) or not isinstance(edits, list):
        return
    kept = [edit for edit in edits if not str(get(edit, "type")).startswith("clear_thinking")]
    if len(kept) != len(edits):
        replace(data, "context_management", kept and {**management, "edits": kept})
        changed.add("context_edits")


def _claude(data: Json, model: Model, history: Any, changed: set[str]) -> None:
    """A Claude that can think, asked to do so."""
    kind = get(data.get("thinking"), "type")
    if kind not in ("enabled", "adaptive") and get(data.get("output_config"), "effort") is None:
        return
    if kind == "adaptive" and not model.adaptive_thinking:
        _drop_edits_of_thoughts(data, changed)  # LiteLLM makes a budget of it, or nothing
    # With adaptive thinking no thought needs to stand at the start of an open tool loop.
    needs_thought = kind == "enabled" or not model.adaptive_thinking
    lacks_thought = needs_thought and _loop_without_thought(history)
    if lacks_thought or not fit_budget(data, data.get("max_tokens"), changed):
        _stop_thinking(data, changed)


def _loop_without_thought(history: Any) -> bool:
    """Whether the newest message answers a tool call, and no answer of that turn begins with a thought. As a rule the
    newest does, so that a long loop is not walked through."""
    if not isinstance(history, list) or not history or not _answers_a_call(history[-1]):
        return False
    for message in reversed(history):
        if get(message, "role") == "assistant":
            if begins_with_thought(get(message, "content")):
                return False
        elif not _answers_a_call(message):
            break
    return True


def _answers_a_call(message: Any) -> bool:
    content = get(message, "content")
    return isinstance(content, list) and any(get(block, "type") == "tool_result" for block in content)


def _server_tools(data: Json, model: Model, changed: set[str]) -> None:
    """Keep the tools that the client runs itself; LiteLLM turns a web search into that of a model which has one."""
    searches = "web_search" in model.supports

    def stays(tool: Any) -> bool:
        kind = get(tool, "type")
        return kind in (None, "custom", "function") or (searches and str(kind).startswith("web_search"))

    keep_tools(data, stays, "server_tools", changed)
    drop(data, "mcp_servers", changed, "server_tools")
    drop(data, "container", changed, "server_tools")
