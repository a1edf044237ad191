"""A request body -> what the local model is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core import core
from . import Request

_TOOLS = core.FEATURE_NAMES.index("tools")
_MESSAGES = core.FEATURE_NAMES.index("messages")


def request_of(analysis: core.Analysis, body: Mapping[str, Any], call_type: str) -> Request:
    """What the model is told. Never raises for what a client sent."""
    features = analysis.features
    return Request(
        ask=analysis.ask,
        messages=int(features[_MESSAGES]),
        tools=int(features[_TOOLS]),
        context_tokens=analysis.context_tokens,
    )
