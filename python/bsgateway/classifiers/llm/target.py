"""Which model on which Ollama server `classifier.llm.model` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...config import Llm, resolve_env

_PREFIXES = ("ollama_chat/", "ollama/")


class Target(NamedTuple):
    """`model` is Ollama's own name, `api_base` the URL of its server; None: Ollama's default."""

    model: str
    api_base: str | None


def find_target(settings: Llm, model_list: Sequence[Mapping[str, Any]]) -> Target | None:
    """The target of settings that name a model; None where that is a name of `model_list` that Ollama does not serve,
    or there is none. The first deployment of the name that Ollama serves counts."""
    name, given = settings.model, resolve_env(settings.api_base)
    if name is None:
        return None
    served = [entry.get("litellm_params") or {} for entry in model_list if entry.get("model_name") == name]
    for params in served:
        model = params.get("model")
        if isinstance(model, str) and model.startswith(_PREFIXES):
            base = params.get("api_base")
            return Target(_bare(model), given or (resolve_env(base) if isinstance(base, str) else None))
    return None if served else Target(_bare(name), given)


def _bare(model: str) -> str:
    prefix = next((each for each in _PREFIXES if model.startswith(each)), "")
    return model.removeprefix(prefix)
