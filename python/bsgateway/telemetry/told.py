"""What is said of a decision and of a start: fields of the events `decided` and `started`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from bsgateway._version import __version__
from bsgateway.core import NATIVE
from bsgateway.decision import Decision
from bsgateway.gateway import Gateway

from .events import event


def decided(decision: Decision) -> dict[str, Any]:
    """`extra` for one decision: nothing of who asked, nor of what."""
    return event(
        "decided",
        decision_id=decision.decision_id,
        tier=decision.tier,
        score=decision.complexity_score,
        model=decision.resolved_model,
        method=decision.method,
        strategy=decision.strategy,
        reason=decision.reason,
        decision_us=decision.decision_us,
        applied=decision.applied,
    )


def started(gateway: Gateway, logged: bool) -> dict[str, Any]:
    """`extra` for the start of a process that routes by `gateway`. `logged`: decisions go to the database."""
    routing, model_file = gateway.config.routing, gateway.model_file
    return event(
        "started",
        version=__version__,
        core="native" if NATIVE else "pure",
        litellm=version("litellm"),
        mode=routing.mode,
        strategy=routing.classifier.strategy,
        tiers=list(routing.tiers),
        model=None if model_file is None or model_file.model is None else model_file.model.id,
        log=logged,
    )
