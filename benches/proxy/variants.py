"""The proxies that are compared: the same model_list and settings, each with its own callback or router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

KEY = "sk-bench-client"
PROVIDER_KEY = "sk-bench-provider"
GROUPS = {"small": "openai/gpt-4.1-nano", "medium": "openai/gpt-4.1-mini", "large": "openai/gpt-4.1"}
"""Model group -> LiteLLM's model. One provider and one family, so that all groups take the same way through LiteLLM."""
PLAIN = "medium"
"""The group that is asked for where nothing routes."""
BASELINE = "no-op hook"
GATEWAY = "BSGateway"


@dataclass(frozen=True)
class Variant:
    """One proxy. `callback` is the dotted path LiteLLM gets; `models` and `routing` are added to the common file."""

    name: str
    callback: str | None = None
    model: str = PLAIN
    models: list[dict[str, Any]] = field(default_factory=list)
    routing: dict[str, Any] | None = None

    @property
    def is_gateway(self) -> bool:
        """Whether BSGateway routes here."""
        return self.routing is not None

    @property
    def logs(self) -> bool:
        """Whether it writes its decisions to the database."""
        return self.routing is not None and self.routing["collector"]["enabled"]

    def config(self, upstream: str) -> dict[str, Any]:
        """Its LiteLLM configuration."""
        deployments = [
            {
                "model_name": group,
                "litellm_params": {"model": model, "api_base": f"{upstream}/{group}/v1", "api_key": PROVIDER_KEY},
            }
            for group, model in GROUPS.items()
        ]
        config: dict[str, Any] = {
            "model_list": [*deployments, *self.models],
            "litellm_settings": {"drop_params": True},
            "router_settings": {"num_retries": 0},
            "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
        }
        if self.callback:
            config["litellm_settings"]["callbacks"] = [self.callback]
        if self.routing:
            config["routing"] = self.routing
        return config

    def write(self, directory: Path, upstream: str) -> Path:
        """Write the configuration; its path."""
        path = directory / f"{self.name.replace(' ', '-').replace(',', '')}.yaml"
        path.write_text(yaml.safe_dump(self.config(upstream), sort_keys=False), encoding="utf-8")
        return path

    def complaint(self, status: int, headers: Mapping[str, str]) -> str | None:
        """What is wrong with an answer; None when it is right and was routed as it should be."""
        if status != 200:
            return f"status {status}"
        # Not `x-litellm-model-group`: for LiteLLM's own router that is the name of the router.
        base = headers.get("x-litellm-model-api-base", "")
        served = next((group for group in GROUPS if base.rstrip("/").endswith(f"/{group}/v1")), None)
        if served is None or (self.model == PLAIN and served != PLAIN):
            return f"served by {base!r}"
        if self.is_gateway:
            model, method = headers.get("x-bsgateway-model"), headers.get("x-bsgateway-method")
            if (model, method) != (served, "auto"):
                return f"x-bsgateway-model is {model!r} and -method {method!r} where {served!r} served"
            if "x-bsgateway-score" not in headers or headers.get("x-bsgateway-reason") == "failed_open":
                return "the gateway did not score the request"
        return None


def _complexity_router(classifier: str) -> list[dict[str, Any]]:
    """LiteLLM's own router as its README configures it (litellm/router_strategy/complexity_router/README.md)."""
    tiers = {"SIMPLE": "small", "MEDIUM": "medium", "COMPLEX": "large", "REASONING": "large"}
    router = {"classifier_type": classifier, "tiers": tiers}
    return [
        {
            "model_name": "auto",
            "litellm_params": {"model": "auto_router/complexity_router", "complexity_router_config": router},
        }
    ]


def _routing(collector: dict[str, Any]) -> dict[str, Any]:
    return {
        "tiers": {
            "simple": {"score_range": [0, 30], "model": "small"},
            "medium": {"score_range": [31, 65], "model": "medium"},
            "complex": {"score_range": [66, 100], "model": "large"},
        },
        "fallback_tier": "medium",
        "aliases": {"auto": "auto_route"},
        "auto_route_patterns": ["claude-*", "gpt-4*"],
        "collector": collector,
    }


_HOOK = "bsgateway.hook.handler"
_ALL = (
    Variant("no hook"),
    Variant(BASELINE, "benches.proxy.callbacks.pre_call"),
    Variant("no-op, all hooks", "benches.proxy.callbacks.all_calls"),
    Variant(GATEWAY, _HOOK, "auto", routing=_routing({"enabled": True})),
    Variant("BSGateway, no log", _HOOK, "auto", routing=_routing({"enabled": False})),
    Variant("LiteLLM router v1", None, "auto", _complexity_router("heuristic")),
    Variant("LiteLLM router v2", None, "auto", _complexity_router("heuristic_v2")),
)
VARIANTS = {variant.name: variant for variant in _ALL}
"""All of them by name; what each costs is told as a ratio to BASELINE."""
