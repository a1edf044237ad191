"""Policies, models and what they pass over, in few words."""

from __future__ import annotations

from typing import Any

import msgspec

from bsgateway.catalog import NEEDS, Model
from bsgateway.config import Routing
from bsgateway.decision import Reason, Skipped
from bsgateway.policy import Demand, Policy
from bsgateway.pricing import Price

Tiers = dict[str, tuple[int, int, list[str]]]
"""First and last score, models."""

THREE: Tiers = {"simple": (0, 30, ["s"]), "medium": (31, 65, ["m"]), "complex": (66, 100, ["c"])}

SMALL = Demand(context_tokens=10)

ABLE = {need: frozenset((need,)) for need in NEEDS}
WISHES = ("parallel_tools", "prompt_cache")
"""The needs that a model is not required to serve, unless the operator says so."""


def policy(tiers: Tiers, *models: Model, **more: Any) -> Policy:
    """Of a model that is not described nobody knows anything. `more` are options of `routing`."""
    raw = {name: {"score_range": [first, last], "models": names} for name, (first, last, names) in tiers.items()}
    routing = msgspec.convert({"tiers": raw, "fallback_tier": next(iter(tiers)), **more}, Routing)
    unknown = {name: Model(name) for _, _, names in tiers.values() for name in names}
    return Policy(routing, unknown | {model.name: model for model in models})


def priced(name: str, each: float, output: float | None = None, **more: Any) -> Model:
    """A model that asks `each` dollars for a token of input, and of output if nothing else is said."""
    return Model(name, Price(each, each if output is None else output), **more)


def passed(**why: Reason) -> tuple[Skipped, ...]:
    """Candidates that were passed over, in this order."""
    return tuple(Skipped(name, reason) for name, reason in why.items())
