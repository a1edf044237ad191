"""Bodies of Google's generateContent API.

The signatures of thoughts in its history are Google's own: LiteLLM gives none to clients of this API in answers of
others. Google asks for them within an open tool loop only, which never changes its model.
"""

from __future__ import annotations

from ..catalog import Model
from .parts import Json, drop, lower, replace

_CONFIGS = ("generationConfig", "config")  # as clients call it, and as LiteLLM's router does


def generate_content(data: Json, model: Model, settled: bool, changed: set[str]) -> None:
    """Edit `data` for `model`; see `translate`."""
    for name in _CONFIGS:
        config = data.get(name)
        if not isinstance(config, dict):
            continue
        edited = dict(config)
        lower(edited, "maxOutputTokens", model, changed)
        if "reasoning" not in model.supports:
            drop(edited, "thinkingConfig", changed, "thinking")
        if edited != config:
            replace(data, name, edited)
