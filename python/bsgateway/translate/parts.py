"""What several formats share: looking at parts of a body that may be anything, and editing its top level.

`changed` collects the names of `CHANGES`. Nothing that the client sent is edited in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..catalog import Model

Json: TypeAlias = "dict[str, Any]"

# How LiteLLM marks what another provider has encrypted or signed, when it gives it to clients in a field of the format.
OPENAI_REASONING = "litellm_encrypted_reasoning:"
ANTHROPIC_REASONING = "["
GOOGLE_SIGNATURE = "__thought__"

THOUGHTS = ("thinking", "redacted_thinking")  # no set: the type of a client may be anything
"""Types of blocks of thinking."""
EFFORT_TOKENS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16_384}
"""Effort -> tokens that LiteLLM lets a Claude without adaptive thinking think with; Anthropic wants 1024 at least."""
_LEAST_BUDGET = 1024


def get(value: Any, name: str) -> Any:
    """A field of what may be no object at all: clients send anything."""
    return value.get(name) if isinstance(value, dict) else None


def without(mapping: Mapping[str, Any], *names: str) -> Json:
    """A copy without these fields."""
    return {name: value for name, value in mapping.items() if name not in names}


def drop(data: Json, name: str, changed: set[str], called: str | None = None) -> None:
    """Take a field out. It is a change only if it said something."""
    if data.pop(name, None) is not None:
        changed.add(called or name)


def replace(data: Json, name: str, value: Any) -> None:
    """Set a field, or take it out if nothing is left of it."""
    if value:
        data[name] = value
    else:
        del data[name]


def lower(data: Json, name: str, model: Model, changed: set[str]) -> None:
    """Ask for no longer an answer than `model` can write: providers refuse more."""
    wished, limit = data.get(name), model.max_output_tokens
    if limit is not None and isinstance(wished, int) and wished > limit:
        data[name] = limit
        changed.add("max_tokens")


def is_thought(block: Any) -> bool:
    """Whether it is a block of thinking, as Anthropic has them, open or encrypted."""
    return isinstance(block, dict) and block.get("type") in THOUGHTS


def is_signed(block: Json, by_openai: bool = False) -> bool:
    """Whether a thought carries what its maker knows it by: a signature of Anthropic, or what OpenAI has encrypted."""
    seal = block.get("signature" if block["type"] == "thinking" else "data")
    return isinstance(seal, str) and bool(seal) and seal.startswith(OPENAI_REASONING) is by_openai


def begins_with_thought(content: Any) -> bool:
    """Whether an answer begins with a thought that Anthropic has signed."""
    return isinstance(content, list) and bool(content) and is_thought(content[0]) and is_signed(content[0])


def no_room(effort: Any, tokens: Any) -> bool:
    """Whether an answer of `tokens` has no room for the thoughts of that effort."""
    return isinstance(effort, str) and isinstance(tokens, int) and tokens <= EFFORT_TOKENS.get(effort, 0)


def fit_budget(data: Json, tokens: Any, changed: set[str]) -> bool:
    """Lower `thinking.budget_tokens` below an answer of `tokens`, as Anthropic demands. False: there is no room."""
    thinking = data.get("thinking")
    budget = get(thinking, "budget_tokens")
    if get(thinking, "type") != "enabled" or not isinstance(budget, int) or not isinstance(tokens, int):
        return True
    if budget < tokens:
        return True
    if tokens <= _LEAST_BUDGET or not isinstance(thinking, dict):
        return False
    data["thinking"] = {**thinking, "budget_tokens": tokens - 1}
    changed.add("thinking_budget")
    return True


def keep_tools(data: Json, stays: Callable[[Any], bool], name: str, changed: set[str]) -> None:
    """Take the other tools out, and a choice of one of them."""
    tools = data.get("tools")
    if not isinstance(tools, list) or all(map(stays, tools)):
        return
    kept = [tool for tool in tools if stays(tool)]
    changed.add(name)
    replace(data, "tools", kept)
    if not kept:
        drop(data, "tool_choice", changed)
        drop(data, "parallel_tool_calls", changed, "parallel_tools")
        return
    choice = data.get("tool_choice")
    chosen = _named(choice)
    if chosen is not None and chosen not in map(_named, kept):
        drop(data, "tool_choice", changed)


def _named(tool: Any) -> Any:
    """The name of a tool, or of a choice of one, in any of the formats."""
    for inner in ("function", "custom"):
        if isinstance(found := get(tool, inner), dict):
            return found.get("name")
    return get(tool, "name")


def parallel(data: Json, model: Model, changed: set[str]) -> None:
    """Take out `parallel_tool_calls` where it means nothing."""
    # LiteLLM knows Anthropic's word for it; its map does not say that Claude has it.
    if "parallel_tool_calls" in data and model.family != "anthropic" and "parallel_tools" not in model.supports:
        drop(data, "parallel_tool_calls", changed, "parallel_tools")
