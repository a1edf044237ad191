"""The configuration LiteLLM really gets: gateway.yaml plus what LiteLLM needs for the gateway's sake.

`serve` writes it into its state directory and starts LiteLLM with it; `bsgateway check --print` shows it. What the
operator has set wins everywhere.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from .catalog import Model, models
from .config import Config
from .host import marker_names

CALLBACK = "bsgateway.hook.handler"

COOLDOWN_SECONDS = 30
"""How long a deployment that has failed is left alone, unless its provider's `Retry-After` says otherwise."""

ALLOWED_FAILS = {
    "TimeoutErrorAllowedFails": 0,
    "RateLimitErrorAllowedFails": 0,
    "ServiceUnavailableErrorAllowedFails": 0,
    "BadGatewayErrorAllowedFails": 0,
    "InternalServerErrorAllowedFails": 2,
}
"""Failures within `COOLDOWN_SECONDS` that a deployment of a tier gets away with, by kind: LiteLLM's
`allowed_fails_policy`. A single 500 may be the fault of the one request. The other kinds keep LiteLLM's own number, or
never cool down: those a client can cause."""

_NO_COOLDOWNS_OF_OURS = ("disable_cooldowns", "allowed_fails", "allowed_fails_policy")


def effective_config(config: Config) -> dict[str, Any]:
    """A complete LiteLLM configuration, `os.environ/` references left as they are.

    Raises ConfigError for a model whose provider LiteLLM does not know.
    """
    host = copy.deepcopy(config.host)
    settings = _section(host, "litellm_settings")
    router = _section(host, "router_settings")
    _add_callback(settings)
    aliases = _section(router, "model_group_alias")
    for name, target in marker_names(config).items():
        aliases.setdefault(name, target)
    # A model that fails is not asked again at once: another one takes over.
    router.setdefault("num_retries", 0)
    others = _others(config)
    if not any(name in section for name in ("fallbacks", "default_fallbacks") for section in (settings, router)):
        router["fallbacks"] = _listed(others)
    if "context_window_fallbacks" not in settings:
        router.setdefault("context_window_fallbacks", _listed(_larger(others, models(host["model_list"]))))
    if not any(name in section for name in _NO_COOLDOWNS_OF_OURS for section in (settings, router)):
        _add_cooldowns(host["model_list"], router, others)
    # LiteLLM checks what a key may use for the model it starts with, and by default not for those it falls back to.
    _section(host, "general_settings").setdefault("enforce_fallback_model_access", True)
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


def _others(config: Config) -> dict[str, list[str]]:
    """Model of a tier -> all others, in the order they take over: those of its own tier, of the tiers above from the
    nearest to the highest, and of the tiers below from the nearest to the lowest.

    A dearer answer is better than one that may not do, and any answer better than none.
    """
    tiers = sorted(config.routing.tiers.values(), key=lambda tier: tier.score_range)
    others: dict[str, list[str]] = {}
    for index, tier in enumerate(tiers):
        order = [name for other in (*tiers[index:], *reversed(tiers[:index])) for name in other.candidates]
        for model in tier.candidates:
            others.setdefault(model, [name for name in dict.fromkeys(order) if name != model])
    return others


def _larger(others: Mapping[str, Sequence[str]], known: Mapping[str, Model]) -> dict[str, list[str]]:
    """Of `others` those whose context window is larger, as far as the windows are known."""

    def is_larger(model: str, other: str) -> bool:
        ours, theirs = known[model].max_input_tokens, known[other].max_input_tokens
        return ours is None or theirs is None or theirs > ours

    return {model: [name for name in names if is_larger(model, name)] for model, names in others.items()}


def _listed(fallbacks: Mapping[str, list[str]]) -> list[dict[str, list[str]]]:
    """The same in LiteLLM's words."""
    return [{model: targets} for model, targets in fallbacks.items() if targets]


def _add_cooldowns(model_list: list[dict[str, Any]], router: dict[str, Any], others: Mapping[str, list[str]]) -> None:
    """Have the models of the tiers cool down after a failure.

    LiteLLM exempts a group of one deployment, as nothing else could serve it; here the other models can. Models outside
    the tiers keep that exemption.
    """
    router.setdefault("cooldown_time", COOLDOWN_SECONDS)
    for entry in model_list:
        if others.get(entry["model_name"]):
            info = _section(entry, "model_info")
            if not any(name in info for name in _NO_COOLDOWNS_OF_OURS):
                info["allowed_fails_policy"] = dict(ALLOWED_FAILS)
