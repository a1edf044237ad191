"""Make a body acceptable to the model that was chosen, when the client meant it for another.

LiteLLM translates formats. It does not know that a conversation has changed hands: thoughts that another model signed,
wishes that the chosen model does not know, limits that it does not have. Only that is handled here; see
`tests/e2e/test_translate.py` for what providers refuse. The words of users and assistants, function tools, their calls
and their results are never touched.

What a provider keeps for the client (`previous_response_id`, `cachedContent`) cannot be moved and is left alone.
"""

from __future__ import annotations

from collections.abc import Callable

from ..catalog import Model
from .betas import without_long_context
from .chat import chat, completions
from .generate_content import generate_content
from .messages import messages
from .parts import Json, drop
from .responses import responses

__all__ = ("CHANGES", "FOREIGN", "translate")

CHANGES = {
    "thinking_blocks": "Thoughts in the history that the model did not sign, or that it cannot read.",
    "reasoning_items": "Reasoning items in the history that the model did not make, or that it cannot read.",
    "thinking": "The wish to think: the model does not reason, its answer has no room for it, or the open tool call "
    "was made without a thought, which Anthropic asks for.",
    "thinking_budget": "The tokens to think with, lowered below the limit of the answer.",
    "context_edits": "Anthropic's edits of thoughts in the history, which need a model that is thinking.",
    "encrypted_reasoning": "The wish to be given encrypted reasoning, by a model that does not reason.",
    "verbosity": "OpenAI's wish for a short or long answer, to a model that does not reason.",
    "cache_marks": "`cache_control` marks in content, to models of OpenAI, which cache by themselves.",
    "provider_fields": "Fields such as `provider_specific_fields`, which LiteLLM puts into answers of other providers.",
    "call_ids": "The signature that LiteLLM appends to the ids of Google's tool calls, which makes them too long.",
    "server_tools": "Tools that another provider runs itself, and what belongs to them: MCP servers, containers.",
    "custom_tools": "OpenAI's tools with free text as input, in chat completions.",
    "tool_choice": "A choice of tool, when that tool or all tools were taken out.",
    "parallel_tools": "The wish for or against parallel tool calls, to a model that does not know it.",
    "web_search": "The wish for a web search, to a model that has none.",
    "service_tier": "The tier of service, whose names are those of another provider.",
    "beta": "Beta features, asked for by header, that the model does not have.",
    "max_tokens": "The longest answer, lowered to what the model can write.",
}
"""What `translate` may change -> what that is."""
FOREIGN = frozenset(("thinking_blocks", "reasoning_items"))
"""Changes that tell of answers of other models in the history."""

_FORMATS: dict[str, Callable[[Json, Model, bool, set[str]], None]] = {
    "messages": messages,
    "chat": chat,
    "responses": responses,
    "completions": completions,
    "generate_content": generate_content,
}
_OWNER = {"messages": "anthropic", "generate_content": "google"}  # the others are OpenAI's


def translate(data: Json, format: str, model: Model, *, families: tuple[str, ...], same_model: bool) -> tuple[str, ...]:
    """Edit `data`, LiteLLM's dict of a request in `format` (see `gateway.FORMATS`), for `model`.

    Top-level keys of `data` are replaced; the lists and dicts that the client sent stay as they are. `families` are
    those of the models that have answered in this conversation (empty: nobody knows), `same_model` says whether `model`
    gave the latest answer: a history that is all its own is not searched, but for its newest answer.

    Returns the names of what was changed, in the order of `CHANGES`. A second call changes nothing.
    """
    # What the client asks for it asks of the name it knows. LiteLLM refuses a parameter that the chosen model does not
    # take, unless it may drop it.
    data.setdefault("drop_params", True)
    changed: set[str] = set()
    settled = same_model and bool(families) and all(family == model.family for family in families)
    _FORMATS[format](data, model, settled, changed)
    if "service_tier" in data and model.family != _OWNER.get(format, "openai"):
        drop(data, "service_tier", changed)
    if "provider_specific_header" in data:
        without_long_context(data, model, changed)
    return tuple(name for name in CHANGES if name in changed) if changed else ()
