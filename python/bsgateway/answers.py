"""What an answer of LiteLLM says, and why it ended, in whichever format it came: an object of LiteLLM's or plain dicts.

Reads what is there; what is not an answer says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

REDACTED = "redacted-by-litellm"
"""What LiteLLM gives its callbacks in place of an answer's words, where the operator forbids to log them."""
MAX_REASON = 64
"""Characters kept of a word that is not known here."""

REASONS = {
    # Anthropic
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    # Responses API
    "completed": "stop",
    "max_output_tokens": "length",
    # Google
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "function_call": "tool_calls",
}
"""A provider's word in lower case -> that of OpenAI's chat completions. Others stay what they are."""


def finish_reason(answer: Any) -> str | None:
    """Why it ended: stop, length, tool_calls, content_filter, refusal, or another word of the provider's; None where it
    does not say."""
    for message in _messages(answer):
        if _get(message, "refusal"):
            return "refusal"
    body = _body(answer)
    choice = _first(_get(body, "choices"))
    candidate = _first(_get(body, "candidates"))
    said = _get(choice, "finish_reason") or _get(body, "stop_reason") or _get(candidate, "finishReason")
    if said is None and _get(body, "output") is not None:  # the Responses API
        if any(_get(part, "type") == "refusal" for part in _parts(body)):
            return "refusal"
        said = _get(_get(body, "incomplete_details"), "reason") or _get(body, "status")
    said = getattr(said, "value", said)
    if not isinstance(said, str) or not said:
        return None
    word = said.lower()[:MAX_REASON]
    return REASONS.get(word, word)


def words_of(answer: Any) -> str | None:
    """Its words, those of thinking left out; None where it has none: tool calls, a refusal, or an answer whose words
    LiteLLM does not show."""
    said = "".join(_texts(answer)).strip()
    return said if said and said != REDACTED else None


def usage_of(answer: Any) -> tuple[int, int] | None:
    """Tokens in and out, as the provider counted them."""
    usage = _get(_body(answer), "usage")
    counts = [
        next((found for name in names if isinstance(found := _get(usage, name), int)), None)
        for names in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
    ]
    return None if counts[0] is None or counts[1] is None else (counts[0], counts[1])


def _texts(answer: Any) -> Iterator[str]:
    body = _body(answer)
    for message in _messages(body):
        content = _get(message, "content")
        if isinstance(content, str):
            yield content
    for part in _parts(body):
        if _get(part, "type") in ("text", "output_text") and isinstance(text := _get(part, "text"), str):
            yield text


def _messages(body: Any) -> Iterator[Any]:
    """The message of a chat completion."""
    if (message := _get(_first(_get(body, "choices")), "message")) is not None:
        yield message


def _parts(body: Any) -> Iterator[Any]:
    """The content blocks of Anthropic's format and of the Responses API."""
    content = _get(body, "content")
    if isinstance(content, list):
        yield from content
    output = _get(body, "output")
    for item in output if isinstance(output, list) else ():
        if _get(item, "type") == "message":
            parts = _get(item, "content")
            yield from parts if isinstance(parts, list) else ()


def _body(answer: Any) -> Any:
    """The answer itself, where it is the last event of a stream that holds it."""
    inner = _get(answer, "response")
    return answer if inner is None else inner


def _first(items: Any) -> Any:
    return items[0] if isinstance(items, (list, tuple)) and items else None


def _get(holder: Any, name: str) -> Any:
    if isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name, None)
