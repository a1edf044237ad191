"""What an answer cost in tokens, read from the answer itself, whole or event by event as it is streamed.

Reads objects of the OpenAI, Anthropic and Google SDKs and of LiteLLM, and parsed JSON; of anything else nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answers import REASONS, finish_reason

_COUNTS = (
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "prompt_token_count",
    "candidates_token_count",
    "thoughts_token_count",
    "cached_content_token_count",
)
_CAMEL = {name: name.split("_")[0] + "".join(word.title() for word in name.split("_")[1:]) for name in _COUNTS}
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_MAX = 2**31


class Reading:
    """What `see` has found so far: of several events, the newest that says anything counts.

    `prompt` and `completion` are tokens, the part of the prompt that a provider's cache had (`cache_read`) or took
    (`cache_write`) within the former; None where no event said so.
    """

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.model: str | None = None
        self._counts: dict[str, int] = {}

    def see(self, event: Any) -> None:
        """Take note of an answer, or of an event of one."""
        for holder in (event, _get(event, "message"), _get(event, "response")):
            if holder is None:
                continue
            self._see_usage(_get(holder, "usage") or _get(holder, "usage_metadata") or _get(holder, "usageMetadata"))
            if isinstance(model := _get(holder, "model"), str) and model:
                self.model = model
        said = finish_reason(event)
        if said is None and isinstance(stop := _get(_get(event, "delta"), "stop_reason"), str):  # Anthropic's stream
            said = REASONS.get(stop, stop)
        self.finish_reason = said or self.finish_reason

    @property
    def prompt(self) -> int | None:
        """Tokens that went in, cached ones among them."""
        counts = self._counts
        if "prompt_tokens" in counts:
            return counts["prompt_tokens"]
        if "prompt_token_count" in counts:
            return counts["prompt_token_count"]
        if "input_tokens" not in counts:
            return None
        if "total_tokens" in counts:  # the Responses API
            return counts["input_tokens"]
        # Anthropic counts what its cache had, and what it took, apart.
        return counts["input_tokens"] + (self.cache_read or 0) + (self.cache_write or 0)

    @property
    def completion(self) -> int | None:
        """Tokens that came out, those of thinking among them."""
        counts = self._counts
        if "candidates_token_count" in counts:
            return counts["candidates_token_count"] + counts.get("thoughts_token_count", 0)
        return counts.get("completion_tokens", counts.get("output_tokens"))

    @property
    def cache_read(self) -> int | None:
        """Tokens of the prompt that the provider's cache had."""
        counts = self._counts
        found = (
            counts.get(name) for name in ("cache_read_input_tokens", "cached_tokens", "cached_content_token_count")
        )
        return next((count for count in found if count is not None), None)

    @property
    def cache_write(self) -> int | None:
        """Tokens of the prompt that the provider's cache took."""
        return self._counts.get("cache_creation_input_tokens")

    def _see_usage(self, usage: Any) -> None:
        if usage is None:
            return
        for name in _COUNTS:
            value = _get(usage, name)
            self._keep(name, _get(usage, _CAMEL[name]) if value is None else value)
        for name in _DETAILS:
            self._keep("cached_tokens", _get(_get(usage, name), "cached_tokens"))

    def _keep(self, name: str, value: Any) -> None:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX:
            self._counts[name] = value


def _get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)
