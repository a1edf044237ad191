"""Which models of `model_list` can really be reached, and what stands in for those that cannot.

A deployment whose key is missing is served by the local stand-in, which says so in every answer. A deployment of Ollama
that cannot be reached, or that lacks the model, is served by the small local model; without that, by the stand-in too.
Everything else is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

import httpx
import msgspec
import ollama

from .catalog import CAPABILITIES, Model, provider_of
from .config import ENV_PREFIX, Config, resolve_env
from .upstreams import local_model

OLLAMA_DEFAULT = "http://127.0.0.1:11434"
PROBE_SECONDS = 2.0
KEY_VARIABLES = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
"""Variables LiteLLM reads by itself when a deployment names no key."""

Kind = Literal["real", "local", "stand_in"]


class Served(msgspec.Struct, frozen=True):
    """How one deployment of model_list is served. `note` says why it is not the real one, and what to do about it."""

    index: int
    name: str
    kind: Kind
    missing: str = ""
    note: str = ""
    api_base: str = ""


def plan(config: Config, local_model: bool) -> list[Served]:
    """How each deployment will be served, given the environment. Probes Ollama. `local_model`: whether the small local
    model is installed."""
    probed: dict[str, Ollama] = {}

    def probe(base: str) -> Ollama:
        if base not in probed:
            probed[base] = probe_ollama(base)
        return probed[base]

    entries = config.host["model_list"]
    return [_plan_one(index, entry, local_model, probe) for index, entry in enumerate(entries)]


def _plan_one(index: int, entry: dict[str, Any], local_model: bool, probe: Callable[[str], Ollama]) -> Served:
    name, params = entry["model_name"], entry["litellm_params"]
    provider, model = provider_of(params)
    if provider in ("ollama", "ollama_chat"):
        base = resolve_env(params.get("api_base")) or OLLAMA_DEFAULT
        problem = probe(base).problem(model)
        if not problem:
            return Served(index, name, "real", api_base=base)
        kind: Kind = "local" if local_model else "stand_in"
        return Served(index, name, kind, "LOCAL_LLM_API_BASE", problem)
    variable = _missing_key(provider, params)
    if variable:
        return Served(index, name, "stand_in", variable, f"{variable} is not set")
    return Served(index, name, "real")


def _missing_key(provider: str, params: Mapping[str, Any]) -> str:
    key = params.get("api_key")
    if isinstance(key, str) and key.startswith(ENV_PREFIX):
        return "" if resolve_env(key) else key.removeprefix(ENV_PREFIX)
    if key is None and not params.get("api_base") and (variable := KEY_VARIABLES.get(provider)):
        return "" if os.environ.get(variable) else variable
    return ""


class Ollama(msgspec.Struct, frozen=True):
    """What a probe of an Ollama server found. `models` is None when it did not answer."""

    base: str
    models: tuple[str, ...] | None

    def problem(self, model: str) -> str:
        """Why `model` cannot be served from here, and what to do; empty if it can."""
        if self.models is None:
            return f"no Ollama answers at {self.base}"
        wanted = model if ":" in model else f"{model}:latest"
        return "" if wanted in self.models else f"Ollama at {self.base} lacks {model}: run `ollama pull {model}`"


def probe_ollama(base: str) -> Ollama:
    """Ask the server at `base` which models it has. A server that does not answer in `PROBE_SECONDS` is not there."""
    try:
        with ollama.Client(host=base, timeout=PROBE_SECONDS) as client:
            listed = client.list().models
    except (ConnectionError, httpx.HTTPError, ollama.ResponseError, ValueError):
        return Ollama(base, None)
    return Ollama(base, tuple(model.model for model in listed if model.model))


def apply(
    host: dict[str, Any],
    served: list[Served],
    models: Mapping[str, Model],
    local: dict[str, Any] | None,
    stand_in: Callable[[str, str], dict[str, Any]],
) -> None:
    """Point the deployments of `host["model_list"]`, in place, to what serves them.

    `local`: `litellm_params` and `model_info` of the local model. `stand_in(provider, variable)`: litellm_params of the
    stand-in for a provider whose key variable is missing. A stand-in keeps the price and the abilities of what it
    stands in for, so that routing, costs and savings are what they would be.
    """
    for item in served:
        entry = host["model_list"][item.index]
        params = entry["litellm_params"]
        if item.kind == "local" and local is not None:
            entry["litellm_params"] = dict(local["litellm_params"])
            entry["model_info"] = {**(entry.get("model_info") or {}), **local["model_info"]}
        elif item.kind == "stand_in":
            provider, model = provider_of(params)
            style = "anthropic" if provider == "anthropic" else "openai"
            entry["litellm_params"] = {**params, "model": f"{style}/{model}", **stand_in(style, item.missing)}
            entry["model_info"] = {**_model_info(models[item.name]), **(entry.get("model_info") or {})}
        elif item.api_base:
            entry["litellm_params"] = {**params, "api_base": item.api_base}


def local_deployment(base_url: str) -> dict[str, Any]:
    """litellm_params and model_info of the small local model served at `base_url`."""
    return {
        "litellm_params": {
            # Under this provider LiteLLM sends every API to chat completions, where llama.cpp keeps limits exactly.
            "model": f"llamafile/{local_model.MODEL_NAME}",
            "api_base": f"{base_url}/v1",
            "api_key": "none",
            "drop_params": True,  # clients ask for reasoning efforts it has no notion of
            "extra_body": local_model.EXTRA_BODY,
        },
        "model_info": {
            "input_cost_per_token": 0.0,
            "output_cost_per_token": 0.0,
            "max_input_tokens": local_model.CONTEXT_TOKENS - local_model.MAX_OUTPUT_TOKENS,
            "max_output_tokens": local_model.MAX_OUTPUT_TOKENS,
            **dict.fromkeys(CAPABILITIES.values(), False),
        },
    }


def _model_info(model: Model) -> dict[str, Any]:
    """`model` in LiteLLM's words."""
    info = {
        "input_cost_per_token": model.price.input,
        "output_cost_per_token": model.price.output,
        "cache_read_input_token_cost": model.price.cache_read,
        "cache_creation_input_token_cost": model.price.cache_write,
        "max_input_tokens": model.max_input_tokens,
        "max_output_tokens": model.max_output_tokens,
        **{key: need in model.supports for need, key in CAPABILITIES.items() if need not in model.unknown},
    }
    return {key: value for key, value in info.items() if value is not None}
