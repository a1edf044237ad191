"""What `bsgateway explain` and the playground of the pages have in common: requests that are looked at and not sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from .classifiers.llm.remedy import remedy
from .config import Config
from .decision import Decision
from .errors import ConfigError
from .gateway import Gateway

Word = Literal["static", "ml", "llm"]
"""A strategy, as gateway.yaml says it."""


def guess_call_type(body: Mapping[str, Any]) -> str:
    """LiteLLM's call type for a body, by the keys that only one format has."""
    for key, call_type in (("contents", "agenerate_content"), ("input", "aresponses"), ("prompt", "atext_completion")):
        if key in body:
            return call_type
    return "anthropic_messages" if "system" in body else "acompletion"


def with_strategy(config: Config, strategy: Word) -> Config:
    """`config` with another strategy. llm is asked about every request, whatever `llm.when` says: that is what it was
    named for. Raises ConfigError where the config names no model for it."""
    classifier = config.routing.classifier
    if strategy == "llm" and classifier.llm.model is None:
        raise ConfigError(
            f"llm needs routing.classifier.llm.model in {config.path}: the name of a small model in Ollama, such as "
            "qwen3:0.6b"
        )
    llm = msgspec.structs.replace(classifier.llm, when="always")
    classifier = msgspec.structs.replace(classifier, strategy=strategy, llm=llm)
    return dataclasses.replace(config, routing=msgspec.structs.replace(config.routing, classifier=classifier))


def remedy_of(decision: Decision, gateway: Gateway) -> str:
    """What to do about a local LLM that gave no verdict; empty where it did, or was not to."""
    if gateway.llm is None or decision.llm_status is None:
        return ""
    return remedy(decision.llm_status, gateway.llm.settings, gateway.llm.target)
