"""BSGateway: sends each request of a LiteLLM proxy to the cheapest model that can do the job.

import bsgateway
gateway = bsgateway.load("gateway.yaml")
decision = gateway.decide({"model": "auto", "messages": [{"role": "user", "content": "hi"}]})
decision.resolved_model, decision.tier, decision.complexity_score

`Running` has a memory of conversations and a log beside; see docs/library.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decision import Caller, Decision
    from .errors import AnalysisError, ConfigError, GatewayError, LocalServerError, StoreError
    from .gateway import Gateway, load
    from .library import Routed, Running, router_arguments

__all__ = [
    "AnalysisError",
    "Caller",
    "ConfigError",
    "Decision",
    "Gateway",
    "GatewayError",
    "LocalServerError",
    "Routed",
    "Running",
    "StoreError",
    "__version__",
    "load",
    "router_arguments",
]

_HOMES = {
    "Caller": "decision",
    "Decision": "decision",
    "Gateway": "gateway",
    "Routed": "library",
    "Running": "library",
    "__version__": "_version",
    "load": "gateway",
    "router_arguments": "library",
}


def __getattr__(name: str) -> Any:
    # Lazy: the child processes of `bsgateway serve` import this package for one small module each.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
