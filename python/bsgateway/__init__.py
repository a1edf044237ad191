"""BSGateway: sends each request of a LiteLLM proxy to the cheapest model that can do the job.

import bsgateway
gateway = bsgateway.load("gateway.yaml")
decision = gateway.decide({"model": "auto", "messages": [{"role": "user", "content": "hi"}]})
decision.resolved_model, decision.tier, decision.complexity_score
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decision import Decision
    from .errors import AnalysisError, ConfigError, GatewayError, LocalServerError, StoreError
    from .gateway import Gateway, load

__all__ = [
    "AnalysisError",
    "ConfigError",
    "Decision",
    "Gateway",
    "GatewayError",
    "LocalServerError",
    "StoreError",
    "__version__",
    "load",
]

_HOMES = {"Decision": "decision", "Gateway": "gateway", "load": "gateway", "__version__": "_version"}


def __getattr__(name: str) -> Any:
    # Lazy: the child processes of `bsgateway serve` import this package for one small module each.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
