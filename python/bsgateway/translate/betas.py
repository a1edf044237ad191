"""The `anthropic-beta` header of the client, which LiteLLM sends to hosts of Anthropic's models and to nobody else."""

from __future__ import annotations

from typing import Any

from ..catalog import Model
from .parts import Json, get, without

_LONG_CONTEXT = "context-1m-"
_LONG_CONTEXT_TOKENS = 200_000


def without_long_context(data: Json, model: Model, changed: set[str]) -> None:
    """Take out the wish for a context window that a Claude does not have."""
    if model.family != "anthropic" or model.max_input_tokens is None or model.max_input_tokens > _LONG_CONTEXT_TOKENS:
        return
    given = data["provider_specific_header"]  # one object of headers for some providers, or a list of such
    scopes = given if isinstance(given, list) else [given]
    edited = [_without(scope) for scope in scopes]
    if edited != scopes:
        data["provider_specific_header"] = edited if isinstance(given, list) else edited[0]
        changed.add("beta")


def _without(scope: Any) -> Any:
    headers = get(scope, "extra_headers")
    betas = get(headers, "anthropic-beta")
    if not isinstance(betas, str) or _LONG_CONTEXT not in betas:
        return scope
    kept = ",".join(beta for beta in betas.split(",") if not beta.strip().startswith(_LONG_CONTEXT))
    others = without(headers, "anthropic-beta")
    return {**scope, "extra_headers": {**others, "anthropic-beta": kept} if kept else others}
