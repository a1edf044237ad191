"""What the models of `model_list` can do and what they cost: from `model_info` in gateway.yaml, else LiteLLM's map.

`Model` describes one group (a `model_name`); all its deployments must be able to do what the group is said to do, as
LiteLLM's router may choose any of them.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from .config import ENV_PREFIX
from .errors import ConfigError
from .pricing import Price

log = logging.getLogger(__name__)

LOCAL_PROVIDERS = frozenset(("ollama", "ollama_chat", "llamafile", "lm_studio", "hosted_vllm", "vllm", "xinference"))
"""LiteLLM providers that run on the operator's own machines: free unless `model_info` gives a price."""

CAPABILITIES = {
    "vision": "supports_vision",
    "audio": "supports_audio_input",
    "file": "supports_pdf_input",
    "tools": "supports_function_calling",
    "parallel_tools": "supports_parallel_function_calling",
    "json_schema": "supports_response_schema",
    "reasoning": "supports_reasoning",
    "prompt_cache": "supports_prompt_caching",
    "web_search": "supports_web_search",
}
"""Need of a request -> the key of `model_info`, and of LiteLLM's map, that says whether a model can serve it."""

SERVER_TOOLS = "server_tools"
"""The need of tools that the provider itself runs: only models of the family whose API the request speaks have them."""
NEEDS = (*CAPABILITIES, SERVER_TOOLS)
"""All needs."""

_FAMILIES = {
    "anthropic": "anthropic",
    "openai": "openai",
    "azure": "openai",
    "gemini": "google",
}
_HOSTS_OF_MANY = frozenset(("bedrock", "bedrock_converse", "vertex_ai", "vertex_ai_beta", "azure_ai", "databricks"))


class Model(msgspec.Struct, frozen=True):
    """One group of `model_list`.

    `supports` are the needs it serves, `unknown` those that neither gateway.yaml nor LiteLLM's map says anything about.
    `max_input_tokens` is the context window. `family` is whose own parts of a conversation it understands (signatures
    of thinking, tools that the provider runs): anthropic, openai, google or other. `adaptive_thinking`: a Claude that
    takes `thinking: {type: adaptive}`. `host` is the provider, and the address where
    one is given: what a provider keeps of a conversation is there alone. Empty where deployments differ.
    """

    name: str
    price: Price = Price()
    supports: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    family: str = "other"
    local: bool = False
    adaptive_thinking: bool = False
    host: str = ""

    def serves(self, need: str, family: str) -> bool:
        """Whether it serves `need` of a request that speaks the API of `family`. What nobody knows it to do, it does
        not."""
        return self.family == family if need == SERVER_TOOLS else need in self.supports

    def holds(self, tokens: int) -> bool:
        """Whether a request of `tokens` fits the context window; an unknown window holds everything."""
        return self.max_input_tokens is None or tokens <= self.max_input_tokens


def models(model_list: Iterable[dict[str, Any]]) -> dict[str, Model]:
    """Every group of a `model_list`, by name. Raises ConfigError for a model whose provider LiteLLM does not know."""
    found: dict[str, Model] = {}
    for entry in model_list:
        name = entry["model_name"]
        model = _model(name, entry.get("litellm_params") or {}, entry.get("model_info") or {})
        found[name] = _both(found[name], model) if name in found else model
    return found


def _both(one: Model, other: Model) -> Model:
    """A group of which either may serve a request: what both can do. The first that has prices gives them."""
    unknown = one.unknown | other.unknown
    both = one.supports | one.unknown, other.supports | other.unknown
    return Model(
        name=one.name,
        price=one.price if one.price.input is not None else other.price,
        supports=one.supports & other.supports,
        unknown=unknown & both[0] & both[1],
        max_input_tokens=_least(one.max_input_tokens, other.max_input_tokens),
        max_output_tokens=_least(one.max_output_tokens, other.max_output_tokens),
        family=one.family if one.family == other.family else "other",
        local=one.local and other.local,
        adaptive_thinking=one.adaptive_thinking and other.adaptive_thinking,
        host=one.host if one.host == other.host else "",
    )


def _least(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _model(name: str, params: Mapping[str, Any], info: Mapping[str, Any]) -> Model:
    provider, model = provider_of(params)
    base = info.get("base_model") or params.get("base_model")
    real = base if isinstance(base, str) else model  # the name of a deployment may be anything
    mapped = _mapped(provider, real) or _mapped(provider, model)

    def pick(key: str) -> Any:
        for source in (info, params, mapped):
            if source.get(key) is not None:
                return source[key]
        return None

    local = provider in LOCAL_PROVIDERS
    default = 0.0 if local else None
    said = {need: pick(key) for need, key in CAPABILITIES.items()}
    # Of a model in its map LiteLLM leaves out what it cannot do; of any other nothing is known.
    unknown = frozenset(need for need, value in said.items() if value is None) if not mapped else frozenset()
    supports = {need for need, value in said.items() if value is True}
    return Model(
        name=name,
        price=Price(
            input=_number(pick("input_cost_per_token"), default),
            output=_number(pick("output_cost_per_token"), default),
            cache_read=_number(pick("cache_read_input_token_cost"), None),
            cache_write=_number(pick("cache_creation_input_token_cost"), None),
        ),
        supports=frozenset(supports),
        unknown=unknown,
        max_input_tokens=_whole(pick("max_input_tokens")),
        max_output_tokens=_whole(pick("max_output_tokens")),
        family=_family(provider, real),
        local=local,
        adaptive_thinking=pick("supports_adaptive_thinking") is True,
        host=f"{provider} {params.get('api_base') or ''}".strip(),
    )


def _family(provider: str, model: str) -> str:
    if provider in _HOSTS_OF_MANY:
        return "anthropic" if "claude" in model else "google" if "gemini" in model else "other"
    return _FAMILIES.get(provider, "other")


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


def _mapped(provider: str, model: str) -> Mapping[str, Any]:
    """LiteLLM's own entry for a model; empty if it has none."""
    import litellm

    cost_map: dict[str, dict[str, Any]] = litellm.model_cost
    found = cost_map.get(f"{provider}/{model}")
    if not found and provider not in LOCAL_PROVIDERS:  # a model of that name elsewhere has a price
        found = cost_map.get(model)
    if found:
        return found
    if provider not in _FAMILIES and provider not in _HOSTS_OF_MANY:
        return {}  # of some others LiteLLM would ask their servers
    try:
        # It sees through routes, regions and versions in a name: bedrock/converse/us.anthropic.claude-...
        info = litellm.get_model_info(model, provider)
    except Exception as error:  # a plain one, for a model it does not know
        log.debug("LiteLLM knows nothing of %s/%s: %s", provider, model, type(error).__name__)
        return {}
    # Of a model that is only like others it knows, it says a price of 0.
    plain = {key: value for key, value in info.items() if value is not None and "cost" not in key}
    return cost_map.get(info["key"]) or plain


def _number(value: Any, default: float | None) -> float | None:
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        return default
    return number if math.isfinite(number) and number >= 0 else default


def _whole(value: Any) -> int | None:
    number = _number(value, None)
    return None if number is None or number <= 0 else int(number)
