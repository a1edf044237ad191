"""The configuration LiteLLM really gets: gateway.yaml plus what LiteLLM needs for the gateway's sake. Pure.

`serve` writes it into its state directory and starts LiteLLM with it; `bsgateway check --print` shows it. What the
operator has set wins everywhere.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

from .config import Config
from .host import marker_names

CALLBACK = "bsgateway.hook.handler"


def effective_config(config: Config) -> dict[str, Any]:
    """A complete LiteLLM configuration, `os.environ/` references left as they are."""
    host = copy.deepcopy(config.host)
    settings = _section(host, "litellm_settings")
    router = _section(host, "router_settings")
    _add_callback(settings)
    aliases = _section(router, "model_group_alias")
    for name, target in marker_names(config).items():
        aliases.setdefault(name, target)
    # A model that fails is not asked again at once: the tier above takes over.
    router.setdefault("num_retries", 0)
    if "fallbacks" not in settings:
        router.setdefault("fallbacks", _next_tier(config))
    if "context_window_fallbacks" not in settings:
        router.setdefault("context_window_fallbacks", _next_tier(config))
    return host


def _section(host: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(host.get(name), dict):
        host[name] = {}
    section: dict[str, Any] = host[name]
    return section


def _add_callback(settings: dict[str, Any]) -> None:
    callbacks = settings.get("callbacks") or []
    callbacks = [callbacks] if isinstance(callbacks, str) else list(callbacks)
    if CALLBACK not in callbacks:
        callbacks.append(CALLBACK)
    settings["callbacks"] = callbacks


def _next_tier(config: Config) -> list[dict[str, list[str]]]:
    """Each tier's models fall back to those of the next tier up; the highest has nowhere to go."""
    tiers = sorted(config.routing.tiers.values(), key=lambda tier: tier.score_range)
    fallbacks: dict[str, list[str]] = {}
    for tier, above in pairwise(tiers):
        for model in tier.candidates:
            targets = [other for other in above.candidates if other != model]
            if targets:
                fallbacks.setdefault(model, targets)
    return [{model: targets} for model, targets in fallbacks.items()]
