"""What a candidate costs, from `model_info` in gateway.yaml or LiteLLM's price map. US dollars per token."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from .config import ENV_PREFIX
from .errors import ConfigError

LOCAL_PROVIDERS = frozenset(("ollama", "ollama_chat", "llamafile", "lm_studio", "hosted_vllm", "vllm", "xinference"))
"""LiteLLM providers that run on the operator's own machines: free unless `model_info` gives a price."""


class Price(msgspec.Struct, frozen=True):
    """Prices of one model group; None where nobody knows. `max_input_tokens` is its context window."""

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    max_input_tokens: int | None = None

    def of(self, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0) -> float | None:
        """Cost of a request. `cache_read_tokens` of the input are billed at the cache price where one is known."""
        if self.input is None or self.output is None:
            return None
        cached = min(cache_read_tokens, input_tokens)
        cache_price = self.input if self.cache_read is None else self.cache_read
        return (input_tokens - cached) * self.input + cached * cache_price + output_tokens * self.output

    def holds(self, tokens: int) -> bool:
        """Whether a request of `tokens` fits the context window; an unknown window holds everything."""
        return self.max_input_tokens is None or tokens <= self.max_input_tokens


def prices(model_list: Iterable[dict[str, Any]]) -> dict[str, Price]:
    """The price of every group of a `model_list`. Of several deployments with one name the first that has prices."""
    found: dict[str, Price] = {}
    for entry in model_list:
        price = _price(entry.get("litellm_params") or {}, entry.get("model_info") or {})
        known = found.get(entry["model_name"])
        if known is None or known.input is None:
            found[entry["model_name"]] = price
    return found


def _price(params: dict[str, Any], info: dict[str, Any]) -> Price:
    mapped = _mapped(params)
    local = mapped.get("litellm_provider") in LOCAL_PROVIDERS

    def pick(key: str) -> Any:
        for source in (info, params, mapped):
            if source.get(key) is not None:
                return source[key]
        return None

    default = 0.0 if local else None
    return Price(
        input=_number(pick("input_cost_per_token"), default),
        output=_number(pick("output_cost_per_token"), default),
        cache_read=_number(pick("cache_read_input_token_cost"), None),
        max_input_tokens=_whole(pick("max_input_tokens")),
    )


def provider_of(params: Mapping[str, Any]) -> tuple[str, str]:
    """(provider, model) of a deployment's litellm_params, as LiteLLM reads them: ("openai", "gpt-5-mini").

    Raises ConfigError for a model whose provider LiteLLM does not know.
    """
    import litellm  # seconds of import: only whoever asks for prices pays for it

    # An unresolved reference for the base would only confuse the guess by host name.
    base = params.get("api_base")
    base = None if isinstance(base, str) and base.startswith(ENV_PREFIX) else base
    try:
        # LiteLLM prints words of its own about an unknown provider: they must not get between `--json` and its reader.
        with contextlib.redirect_stdout(sys.stderr):
            model, provider, _, _ = litellm.get_llm_provider(params["model"], params.get("custom_llm_provider"), base)
    except litellm.exceptions.BadRequestError as error:
        raise ConfigError(
            f"model_list: LiteLLM knows no provider for {params['model']!r}; write it as provider/model, "
            "for example openai/gpt-5-mini"
        ) from error
    return provider, model


def _mapped(params: Mapping[str, Any]) -> dict[str, Any]:
    """LiteLLM's own entry for the deployment's model. Its provider is known even when its price is not."""
    import litellm

    provider, model = provider_of(params)
    cost_map: dict[str, dict[str, Any]] = litellm.model_cost
    entry = cost_map.get(f"{provider}/{model}") or cost_map.get(model) or {}
    return {**entry, "litellm_provider": provider}


def _number(value: Any, default: float | None) -> float | None:
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        return default
    return number if math.isfinite(number) else default


def _whole(value: Any) -> int | None:
    number = _number(value, None)
    return None if number is None or number <= 0 else int(number)
