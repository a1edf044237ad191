"""What is no mistake in a gateway.yaml, but will hardly do what its operator wants: models of which nobody knows what
they can, or what they cost, and requests that nobody will serve.

Asks LiteLLM what it knows of the models, whose import takes seconds: only for a file without mistakes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal

import msgspec

from . import catalog, models
from .catalog import CAPABILITIES, Model
from .classifiers.llm.target import Target, find_target
from .config import Config, Llm, Routing
from .document import Place
from .errors import ConfigError, ModelError
from .host import marker
from .names import wildcard_covers

Severity = Literal["error", "warning"]
"""error: the gateway does not start. warning: it does, and something is probably not as meant."""
Advice = tuple[Severity, Place, str, str]
"""How bad, where, what is wrong, what to do."""

FELT_SECONDS = 1.0
"""A wait that people notice before the first word of an answer."""
SOME_WINDOW = 32_768
"""The context window in the line that is proposed where nobody knows it."""


def advice(config: Config) -> Iterator[Advice]:
    """All of it, for a checked config."""
    routing = config.routing
    candidates = {model for tier in routing.tiers.values() for model in tier.candidates}
    for index, entry in enumerate(config.host["model_list"]):
        place: Place = ("model_list", index)
        try:
            model = catalog.models([entry])[entry["model_name"]]
        except ConfigError as error:
            found, _, remedy = str(error).removeprefix("model_list: ").partition("; ")
            yield "error", (*place, "litellm_params", "model"), found, remedy
            continue
        if model.name in candidates:
            yield from _unknown(model, place, entry)
            yield from _unpriced(model, place, routing)
    yield from _not_rewritten(config)
    yield from _learning(routing, candidates)
    yield from _model_file(config)
    if routing.classifier.strategy == "llm":
        yield from _local_llm(routing, config.host["model_list"], candidates)


def _local_llm(routing: Routing, model_list: Sequence[dict[str, Any]], candidates: Collection[str]) -> Iterator[Advice]:
    """Verdicts that come late, that leave the house, that nobody asks for."""
    llm, place = routing.classifier.llm, ("routing", "classifier", "llm")
    if len(routing.tiers) == 1:
        yield "warning", (*place, "model"), "is never asked: there is only one tier", "set strategy: static"
        return
    if llm.timeout > FELT_SECONDS:
        found = f"a request waits up to {llm.timeout:g} s for a server that hangs or is busy"
        yield "warning", (*place, "timeout"), found, "0.5 is enough for a small model: `bsgateway doctor` measures it"
    target = find_target(llm, model_list)
    for name in sorted(candidates):
        served = find_target(msgspec.structs.replace(llm, model=name, api_base=None), model_list)
        if target is not None and served is not None and _alike(served, target):
            found = f"{target.model!r} serves {name!r} as well: verdicts wait while it writes answers"
            found += ", or is loaded with another num_ctx"
            yield "warning", (*place, "model"), found, "name a small model that serves no tier"
    if target is not None and target.model.endswith(("-cloud", ":cloud")):
        found = f"{target.model!r} runs at ollama.com: every ask leaves this network, before any tier is chosen"
        yield "warning", (*place, "model"), found, "name a model that runs on your own machine"
    if llm.when == "always":
        for option in ("margin", "min_confidence"):
            if getattr(llm, option) != getattr(Llm(), option):
                yield "warning", (*place, option), "has no effect: llm.when is always", "set when: uncertain"


def _alike(one: Target, other: Target) -> bool:
    """Whether both are the same model of the same server, as far as their names tell."""
    return (_tagged(one.model), _address(one)) == (_tagged(other.model), _address(other))


def _tagged(model: str) -> str:
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def _address(target: Target) -> str:
    return (target.api_base or "http://localhost:11434").rstrip("/").replace("//127.0.0.1", "//localhost")


def _learning(routing: Routing, candidates: Collection[str]) -> Iterator[Advice]:
    """A judge in its own cause, and what shadow mode leaves nothing of."""
    learning, place = routing.learning, ("routing", "learning")
    asked = [option for option in ("explore", "dual_run") if float(getattr(learning, option).rstrip("%"))]
    if "dual_run" in asked and learning.judge.method == "llm" and learning.judge.model in candidates:
        found = f"{learning.judge.model!r} judges answers of its own: models favour them"
        yield "warning", (*place, "judge", "model"), found, "name a model that serves no tier"
    if routing.mode == "shadow":
        for option in asked:
            yield "warning", (*place, option), "has no effect in shadow mode", "remove one of the two"


def _model_file(config: Config) -> Iterator[Advice]:
    """A file that the strategy ml refuses, also as the fallback of llm."""
    if config.routing.classifier.scorer != "ml":
        return
    place: Place = ("routing", "classifier", "ml", "model")
    try:
        models.in_force(config)
    except ModelError as error:
        yield "warning", place, f"{error}; the prior scores in its place", "train again, or put the model before there"


def _unknown(model: Model, place: Place, entry: dict[str, Any]) -> Iterator[Advice]:
    """What neither gateway.yaml nor LiteLLM says about a model that serves a tier."""
    needs = [need for need in CAPABILITIES if need in model.unknown]
    lines = [f"{CAPABILITIES[need]}: false" for need in needs]
    said = []
    if needs:
        said.append(f"nobody knows whether it can serve {', '.join(needs)}, which counts as no")
    if model.max_input_tokens is None:
        said.append("nobody knows its context window, which counts as endless")
        lines.append(f"max_input_tokens: {SOME_WINDOW}")
    if said:
        where = "to its model_info" if isinstance(entry.get("model_info"), dict) else "to it"
        written = ", ".join(lines)
        hint = f"add {where} what is true of it: model_info: {{ {written} }}"
        yield "warning", (*place, "model_info"), f"{model.name!r}: {'; '.join(said)}", hint


def _unpriced(model: Model, place: Place, routing: Routing) -> Iterator[Advice]:
    """A model without a price among others: which one is the cheapest nobody can say."""
    if model.price.input is not None and model.price.output is not None:
        return
    shared = (name for name, tier in routing.tiers.items() if {model.name} < set(tier.candidates))
    if (name := next(shared, None)) is not None:
        found = f"{model.name!r}: nobody knows its price, so in tier {name!r} it counts as the dearest"
        hint = "add US dollars per token: model_info: { input_cost_per_token: ..., output_cost_per_token: ... }"
        yield "warning", (*place, "model_info"), found, hint


def _not_rewritten(config: Config) -> Iterator[Advice]:
    """Names that LiteLLM does not serve itself, where some requests go on under the name they came with."""
    routing = config.routing
    if routing.mode == "route" and routing.canary == "100%":
        return
    place: Place = ("routing", "mode") if routing.mode == "shadow" else ("routing", "canary")
    if routing.mode == "shadow" and routing.canary != "100%":
        yield "warning", ("routing", "canary"), "has no effect in shadow mode", "remove one of the two"
    served, stand_in = config.model_names, marker(config)
    unserved = [
        pattern
        for pattern in routing.auto_route_patterns
        if pattern not in served and not wildcard_covers(served, pattern)
    ]
    if unserved:
        found = f"requests that are not rewritten go to {stand_in!r} where only a pattern knows their name: "
        found += ", ".join(unserved)
        hint = f"add a model_list entry that serves it, such as `model_name: {unserved[0]!r}`, or remove the pattern"
        yield "warning", place, found, hint
    if routing.unknown_models == "auto" and "*" not in served:
        found = f"requests that are not rewritten go to {stand_in!r} where nothing knows their name"
        yield "warning", place, found, "set unknown_models: leave, until every request is rewritten"
