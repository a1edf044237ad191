"""What LiteLLM's router has for the sake of the tiers and aliases, and how it follows when they change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .config import Config
from .host import marker_names

LIVE = ("model_group_alias", "fallbacks", "context_window_fallbacks")
"""The settings of LiteLLM's router that follow the tiers and aliases, and that it takes while it runs."""
_COOLDOWN = "allowed_fails_policy"
"""What a deployment that cools down has in its `model_info`."""


def router_settings(config: Config, served: bool) -> dict[str, Any]:
    """What LiteLLM's router has for the sake of `config`: under `serve` as written in it, else the names announced."""
    settings = config.host.get("router_settings") or {}
    if served:
        return {name: settings[name] for name in LIVE if name in settings}
    return {"model_group_alias": {**marker_names(config), **(settings.get("model_group_alias") or {})}}


def retargeted(has: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a router must be given which `has` those of an `old` configuration, to follow a `new` one.

    What the router has from elsewhere, for example from LiteLLM's database, stays.
    """
    updates: dict[str, Any] = {}
    aliases = dict(has.get("model_group_alias") or {})
    before, after = old.get("model_group_alias") or {}, new.get("model_group_alias") or {}
    for name in (*before, *after):
        if name in aliases and aliases[name] != before.get(name):
            continue  # somebody else's
        if name in after:
            aliases[name] = after[name]
        else:
            aliases.pop(name, None)
    if aliases != (has.get("model_group_alias") or {}):
        updates["model_group_alias"] = aliases
    for name in ("fallbacks", "context_window_fallbacks"):
        before, after, there = (source.get(name) or [] for source in (old, new, has))
        added = there[len(before) :]  # LiteLLM puts its `default_fallbacks` at the end, under "*"
        if before != after and there[: len(before)] == before and all("*" in entry for entry in added):
            updates[name] = [*after, *added]
    return updates


def not_live(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What LiteLLM's router would be started with otherwise, and cannot be given while it runs."""
    names = dict.fromkeys((*old, *new))
    return [f"router_settings.{name}" for name in names if name not in LIVE and old.get(name) != new.get(name)]


def with_cooldown(entry: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`entry` of a model_list with the cool-down of `wanted`, if that is a model of the tiers. One that no longer is
    keeps its own: it does no harm."""
    policy = (wanted.get("model_info") or {}).get(_COOLDOWN)
    return entry if policy is None else {**entry, "model_info": {**(entry.get("model_info") or {}), _COOLDOWN: policy}}


def follow(old: Config, new: Config, served: bool) -> None:
    """Give LiteLLM's router what it has to know of `new`, after `old`: nothing while there is no router yet."""
    from litellm.proxy import proxy_server

    router: Any = proxy_server.llm_router
    if router is None:
        return
    router.update_settings(
        **retargeted(router.get_settings(), router_settings(old, served), router_settings(new, served))
    )
    policies: dict[str, Any] = {}
    for entry in new.host["model_list"]:
        policy = (entry.get("model_info") or {}).get(_COOLDOWN)
        # A group one of whose deployments has an arrangement of the operator's own is left alone.
        policies[entry["model_name"]] = policy and policies.get(entry["model_name"], policy)
    for deployment in router.model_list:
        if policy := policies.get(deployment["model_name"]):
            deployment["model_info"].setdefault(_COOLDOWN, policy)
