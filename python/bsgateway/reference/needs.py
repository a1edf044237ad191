"""What a request asks of the model: needs and the limit on output tokens."""

from __future__ import annotations

from typing import Any

from .extract import Extract
from .values import dict_of, text_of

MAX_OUTPUT_TOKENS = 1_000_000_000
"""A limit on output tokens above this one is taken for a mistake."""


def needs(body: Any, found: Extract) -> tuple[str, ...]:
    """What a model must be able to do for this body, in a fixed order."""
    body = body if isinstance(body, dict) else {}
    choice = body.get("tool_choice")
    choice = choice.get("type") if isinstance(choice, dict) else choice
    flags = {
        "vision": found.images > 0,
        "audio": found.audios > 0,
        "file": found.files > 0,
        "tools": found.tools > 0 and choice != "none",
        "parallel_tools": found.tools > 0 and body.get("parallel_tool_calls") is True,
        "json_schema": _wants_json(body),
        "reasoning": _wants_reasoning(body),
        "prompt_cache": found.cache_marks,
        "web_search": isinstance(body.get("web_search_options"), dict) or (found.web_search and choice != "none"),
        "server_tools": found.server_tools and choice != "none",
    }
    return tuple(name for name, wanted in flags.items() if wanted)


def max_output_tokens(body: Any) -> int | None:
    """The limit on output tokens that the client set, if it is a sane number."""
    body = body if isinstance(body, dict) else {}
    config = dict_of(body, "generationConfig")
    for source, key in (
        (body, "max_completion_tokens"),
        (body, "max_output_tokens"),
        (body, "max_tokens"),
        (config, "maxOutputTokens"),
    ):
        value = source.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_OUTPUT_TOKENS:
            return int(value)  # an int subclass would leave the JSON types
    return None


def _wants_json(body: dict[Any, Any]) -> bool:
    formats = (
        dict_of(body, "response_format"),
        dict_of(dict_of(body, "text"), "format"),
        dict_of(body, "output_format"),
        dict_of(dict_of(body, "output_config"), "format"),
    )
    if any(text_of(item, "type") in ("json_schema", "json_object") for item in formats):
        return True
    config = dict_of(body, "generationConfig")
    if text_of(config, "responseMimeType") == "application/json":
        return True
    return any(isinstance(config.get(key), dict) for key in ("responseSchema", "responseJsonSchema"))


def _wants_reasoning(body: dict[Any, Any]) -> bool:
    if text_of(dict_of(body, "thinking"), "type") in ("enabled", "adaptive"):
        return True
    effort = text_of(body, "reasoning_effort") or text_of(dict_of(body, "reasoning"), "effort")
    if effort and effort != "none":
        return True
    return isinstance(dict_of(body, "generationConfig").get("thinkingConfig"), dict)
