"""What a trace says of a request's routing: attributes on the span that is under way. No content, no key, no user.

OpenTelemetry's API only: whose spans these are, and where they go, is up to LiteLLM's callbacks or whoever instruments
the proxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span

ATTRIBUTES: dict[str, str] = {
    "gen_ai.request.model": "The name that the client asked for.",
    "gen_ai.response.model": "The model_list name that answered, where it is known when the headers are sent.",
    "bsgateway.decision_id": "UUIDv7 of the decision: primary key of its rows.",
    "bsgateway.model": "The model that was chosen; of a dry run or in shadow mode the one that would have been.",
    "bsgateway.tier": "Tier the policy chose. Only when routed by score.",
    "bsgateway.score": "Score 0-100 after bias. Only when routed by score.",
    "bsgateway.strategy": "What made the score. Only when routed by score.",
    "bsgateway.method": "How the name was resolved.",
    "bsgateway.reason": "Why this model.",
    "bsgateway.applied": "Whether the request was rewritten: false in shadow mode, for a dry run, without a candidate.",
}
"""Each attribute, with what it says."""

_FIELDS = {
    "gen_ai.request.model": "original_model",
    "bsgateway.decision_id": "decision_id",
    "bsgateway.model": "resolved_model",
    "bsgateway.tier": "tier",
    "bsgateway.score": "complexity_score",
    "bsgateway.strategy": "strategy",
    "bsgateway.method": "method",
    "bsgateway.reason": "reason",
}
"""Attribute -> field of the decision's stamp."""


def decided(stamp: Mapping[str, Any], applied: bool, key: Any) -> None:
    """A request was decided, whose stamp this is; `key` as LiteLLM hands it to a callback."""
    for span in _recording(key):
        for name, field in _FIELDS.items():
            if (value := stamp[field]) is not None:
                span.set_attribute(name, value)
        span.set_attribute("bsgateway.applied", applied)


def answered(served: str | None, key: Any) -> None:
    """A request was answered by the model `served`, as far as that is known."""
    if served is not None:
        for span in _recording(key):
            span.set_attribute("gen_ai.response.model", served)


def _recording(key: Any) -> Iterator[Span]:
    """The active span, and the one that LiteLLM has begun for the request: its own tracing activates none."""
    active = _current_span()()
    if active.is_recording():
        yield active
    begun = getattr(key, "parent_otel_span", None)
    if begun is not None and begun is not active and begun.is_recording():
        yield begun


@cache
def _current_span() -> Any:
    from opentelemetry.trace import get_current_span  # not at import: LiteLLM brings it along, commands need none of it

    return get_current_span
