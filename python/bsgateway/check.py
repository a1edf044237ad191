"""Every mistake of a gateway.yaml at once, each with its path, its line and a hint.

Three passes over one parsed file: YAML itself, its shape (the JSON Schema of `config.py`), and what a schema cannot say
(references, ranges, cycles). Only a file without mistakes becomes a `Config`.
"""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import yaml

from .config import AUTO_ROUTE, ENV_PREFIX, AutoAlias, Config, GatewayFile, Routing, json_schema, make_analyzer
from .core import core
from .errors import ConfigError
from .names import wildcard_covers

Place = tuple[str | int, ...]
Finding = tuple[Place, str, str]
"""Where, what is wrong, what to do."""


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: 1-based `line` (0 if there is none), dotted `path`, what is wrong, and what to do about it."""

    line: int
    path: str
    message: str
    hint: str = ""

    def render(self, file: str) -> str:
        """`file:line: path: message; hint` on one line."""
        where = f"{file}:{self.line}" if self.line else file
        return f"{where}: {self.path + ': ' if self.path else ''}{self.message}{'; ' + self.hint if self.hint else ''}"


def load_config(path: str | Path) -> Config:
    """Read and check a gateway.yaml. Raises ConfigError whose `problems` are all its mistakes, readable."""
    path = Path(path)
    config, problems = check_file(path)
    if config is None:
        lines = tuple(problem.render(str(path)) for problem in problems)
        raise ConfigError(f"{path} has {len(lines)} mistake(s):\n" + "\n".join(lines), lines)
    return config


def check_file(path: Path) -> tuple[Config | None, list[Problem]]:
    """The config, or None and every mistake in file order."""
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        return None, [Problem(0, "", f"cannot be read: {error.strerror}", "give the path of a gateway.yaml")]
    except UnicodeDecodeError as error:
        return None, [Problem(0, "", f"is not UTF-8 text (byte {error.start})")]
    return check_text(source, path)


def check_text(source: str, path: Path) -> tuple[Config | None, list[Problem]]:
    """As `check_file`, for text already read."""
    try:
        root = yaml.compose(source, Loader=yaml.SafeLoader)
        data = yaml.safe_load(source)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        return None, [Problem(line, "", f"is not valid YAML: {error.problem or error.context}")]
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return None, [Problem(0, "", f"is not valid YAML: {type(error).__name__}")]
    if root is None or not isinstance(data, dict):
        return None, [Problem(0, "", "is not a mapping", "it needs at least `model_list` and `routing`")]
    lines = _Lines(root)
    errors = list(_schema_errors(data))
    findings = [finding for error in errors for finding in _schema_findings(error)]
    file = _decode(data, errors)
    if file is not None:
        findings += _meaning_findings(file, data)
    problems = {Problem(lines.of(place), _dotted(place), message, hint) for place, message, hint in findings}
    problems.update(lines.duplicates())
    if file is None or problems:
        return None, sorted(problems)
    return Config(path, file.routing, data), []


def _decode(data: dict[str, Any], errors: list[jsonschema.ValidationError]) -> GatewayFile | None:
    """`data` as structs. Parts with mistakes are left out, so that the rest is still checked for its meaning; None when
    what is left does not decode, or would mislead (a tier without its range)."""
    if errors:
        data = copy.deepcopy(data)
        for error in errors:
            if not _prune(data, error):
                return None
    try:
        return msgspec.convert(data, GatewayFile)
    except msgspec.ValidationError:
        if errors:
            return None
        raise  # the schema is made from these structs: a difference between the two is a bug of ours


def _prune(data: Any, error: jsonschema.ValidationError) -> bool:
    """Take the part that `error` speaks of out of `data`; whether that could be done."""
    *parents, last = tuple(error.absolute_path) or (None,)
    for step in parents:
        data = data[step]
    if error.validator == "additionalProperties":
        owner = data if last is None else data[last]
        for key in _unknown_keys(error):
            owner.pop(key, None)
        return True
    if error.validator == "required" or last is None or last == "score_range" or "score_range" in parents:
        return False
    data.pop(last)
    return True


class _Lines:
    """Line numbers of places in a composed YAML document."""

    def __init__(self, root: yaml.Node) -> None:
        self._root = root

    def of(self, place: Place) -> int:
        """1-based line of the key or item at `place`, or of the nearest enclosing one that exists."""
        node, line = self._root, self._root.start_mark.line + 1
        for step in place:
            if isinstance(node, yaml.MappingNode):
                found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                break
        return line

    def duplicates(self) -> Iterator[Problem]:
        """Keys given twice: YAML would silently take the last."""
        seen_nodes: set[int] = set()  # an anchor used often is one node, looked at once
        stack: list[tuple[yaml.Node, Place]] = [(self._root, ())]
        while stack:
            node, place = stack.pop()
            if id(node) in seen_nodes:
                continue
            seen_nodes.add(id(node))
            if isinstance(node, yaml.SequenceNode):
                stack.extend((item, (*place, index)) for index, item in enumerate(node.value))
            elif isinstance(node, yaml.MappingNode):
                keys: set[str] = set()
                for key, value in node.value:
                    here = (*place, str(key.value))
                    if key.value in keys and key.tag != "tag:yaml.org,2002:merge":
                        yield Problem(key.start_mark.line + 1, _dotted(here), "key given twice", "keep one of them")
                    keys.add(str(key.value))
                    stack.append((value, here))


def _properties(error: jsonschema.ValidationError) -> dict[str, Any]:
    """The keys that the failing part of the schema allows."""
    schema: Any = error.schema
    properties: dict[str, Any] = schema.get("properties", {})
    return properties


def _schema_errors(data: dict[Any, Any]) -> Iterator[jsonschema.ValidationError]:
    """Leaf errors: of alternatives (`anyOf`), those of the branch that got furthest."""
    # A YAML sequence is a list, which JSON Schema knows as array; keys must be text before a schema can speak of them.
    validator = jsonschema.Draft202012Validator(json_schema())
    for error in validator.iter_errors(data):
        yield jsonschema.exceptions.best_match([error]) if error.validator == "anyOf" else error


def _schema_findings(error: jsonschema.ValidationError) -> Iterator[Finding]:
    place: Place = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        for key in _unknown_keys(error):
            yield (*place, key), "unknown key", _nearest(key, _properties(error))
    elif error.validator == "required":
        instance, required = _parts(error)
        for key in required:
            if key not in instance:
                yield place, f"`{key}` is missing", f"add `{key}:`"
    else:
        yield place, _SCHEMA_MESSAGES.get(str(error.validator), _plain)(error), ""


def _parts(error: jsonschema.ValidationError) -> tuple[Any, Any]:
    return error.instance, error.validator_value


def _unknown_keys(error: jsonschema.ValidationError) -> list[str]:
    instance: Any = error.instance
    return [str(key) for key in instance if key not in _properties(error)]


def _plain(error: jsonschema.ValidationError) -> str:
    return f"does not fit: {error.validator} {error.validator_value!r}"


# jsonschema's own messages quote the whole instance, which may hold a password: say what is expected instead.
_SCHEMA_MESSAGES: dict[str, Callable[[Any], str]] = {
    "type": lambda error: f"must be {_type_names(error.validator_value)}, not {_type_name(error.instance)}",
    "enum": lambda error: f"must be one of {', '.join(map(str, error.validator_value))}",
    "minimum": lambda error: f"must be at least {error.validator_value}",
    "maximum": lambda error: f"must be at most {error.validator_value}",
    "exclusiveMinimum": lambda error: f"must be more than {error.validator_value}",
    "minItems": lambda error: f"needs at least {error.validator_value} item(s)",
    "maxItems": lambda error: f"takes at most {error.validator_value} item(s)",
    "minLength": lambda error: "must not be empty",
    "maxLength": lambda error: f"must not be longer than {error.validator_value} characters",
    "minProperties": lambda error: "must not be empty",
}


def _type_names(expected: str | list[str]) -> str:
    return " or ".join([expected] if isinstance(expected, str) else expected)


def _type_name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "null" if value is None else type(value).__name__)


def _meaning_findings(file: GatewayFile, data: dict[str, Any]) -> Iterator[Finding]:
    names = [entry.get("model_name") for entry in file.model_list]
    yield from _model_list(file.model_list)
    known = tuple(dict.fromkeys(name for name in names if isinstance(name, str)))
    routing = file.routing
    yield from _tiers(routing, known)
    yield from _score_ranges(routing)
    yield from _aliases(routing, known)
    yield from _patterns(routing)
    yield from _static(routing)
    yield from _environment(data)


def _model_list(entries: list[dict[str, Any]]) -> Iterator[Finding]:
    for index, entry in enumerate(entries):
        if not isinstance(entry.get("model_name"), str) or not entry["model_name"]:
            yield ("model_list", index, "model_name"), "must be a non-empty string", "name the model clients ask for"
        params = entry.get("litellm_params")
        if not isinstance(params, dict) or not isinstance(params.get("model"), str):
            yield ("model_list", index, "litellm_params"), "needs a `model`", "for example `model: openai/gpt-5-mini`"


def _tiers(routing: Routing, known: tuple[str, ...]) -> Iterator[Finding]:
    for name, tier in routing.tiers.items():
        place: Place = ("routing", "tiers", name)
        if (tier.model is None) == (not tier.models):
            yield place, "needs either `model` or `models`, and not both", "give the model_list name that serves it"
        for model in tier.candidates:
            if model not in known:
                field = "model" if tier.model else "models"
                yield (*place, field), f"{model!r} is not in model_list", _nearest(model, known)
    if routing.fallback_tier not in routing.tiers:
        hint = _nearest(routing.fallback_tier, routing.tiers)
        yield ("routing", "fallback_tier"), f"{routing.fallback_tier!r} is not a tier", hint


def _score_ranges(routing: Routing) -> Iterator[Finding]:
    """Ranges must cover 0-100 with no hole and no overlap."""
    expected, last = 0, ""
    place: Place = ("routing", "tiers")
    for name, tier in sorted(routing.tiers.items(), key=lambda item: item[1].score_range):
        low, high = tier.score_range
        here: Place = (*place, name, "score_range")
        if low > high:
            yield here, f"[{low}, {high}] runs backwards", f"write [{high}, {low}]"
            continue
        if low > expected:
            yield here, f"leaves scores {expected}-{low - 1} without a tier", f"begin it at {expected}"
        elif low < expected:
            yield here, f"[{low}, {high}] overlaps tier {last!r}, which ends at {expected - 1}", f"begin at {expected}"
        expected, last = max(expected, high + 1), name
    if expected <= 100:
        yield place, f"leave scores {expected}-100 without a tier", "end the highest tier at 100"


def _aliases(routing: Routing, known: tuple[str, ...]) -> Iterator[Finding]:
    aliases = routing.aliases
    for name, target in aliases.items():
        place: Place = ("routing", "aliases", name)
        if name == AUTO_ROUTE:
            yield place, f"{AUTO_ROUTE!r} is the word for routing by score", "choose another name"
        if name in known:
            yield place, "never used: model_list has that name, and it comes first", "remove one of the two"
        if isinstance(target, AutoAlias) or target == AUTO_ROUTE or target in known or target in aliases:
            if cycle := _cycle(name, aliases):
                yield place, f"is a cycle: {' -> '.join(cycle)}", "let one of them name a model"
        elif not wildcard_covers(known, target):
            choices = [*known, *aliases, AUTO_ROUTE]
            yield place, f"{target!r} is neither in model_list nor an alias nor {AUTO_ROUTE}", _nearest(target, choices)


def _cycle(name: str, aliases: dict[str, AutoAlias | str]) -> list[str]:
    """The names from `name` round to itself, or nothing: a cycle `name` only leads into is its members' mistake."""
    chain, at = [name], aliases[name]
    while isinstance(at, str) and at in aliases and at not in chain:
        chain.append(at)
        at = aliases[at]
    return [*chain, name] if at == name else []


def _patterns(routing: Routing) -> Iterator[Finding]:
    for index, pattern in enumerate(routing.auto_route_patterns):
        place: Place = ("routing", "auto_route_patterns", index)
        try:
            core.GlobSet([pattern])
        except ValueError as error:
            yield place, str(error), "use *, ?, [seq] or [!seq]"
        if pattern in routing.auto_route_patterns[:index]:
            yield place, f"{pattern!r} is given twice", "keep one of them"


def _static(routing: Routing) -> Iterator[Finding]:
    static, place = routing.classifier.static, ("routing", "classifier", "static")
    for field in ("complex_keywords", "simple_keywords"):
        for index, keyword in enumerate(getattr(static, field) or ()):
            stem = keyword.removesuffix("*")
            if not stem.strip() or stem != stem.strip():
                yield (*place, field, index), f"{keyword!r} is blank or has spaces at an end", "trim or remove it"
    thresholds = static.token_thresholds
    if thresholds[0] <= 0 or any(low >= high for low, high in pairwise(thresholds)):
        yield (*place, "token_thresholds"), "must be positive and ascending", "for example [20, 100, 400, 1500, 6000]"
    weights = msgspec.structs.asdict(static.weights)
    for name, weight in weights.items():
        if not 0 <= weight <= 1e9:
            yield (*place, "weights", name), "must be a number from 0 up", "0 switches the signal off"
    if all(weight == 0 for weight in weights.values()):
        yield (*place, "weights"), "are all zero", "give at least one signal a weight"


# References that `serve` has an answer for when they are unset: it starts an embedded database, serves the model by a
# local one or by the stand-in, or makes a master key.
_MAY_BE_UNSET = re.compile(
    r"routing\.collector\.database_url|general_settings\.master_key|model_list\[\d+\]\.litellm_params\.(api_key|api_base)"
)


def _environment(data: dict[str, Any]) -> Iterator[Finding]:
    for place, value in _strings(data, (), set()):
        if value.startswith(ENV_PREFIX) and not _MAY_BE_UNSET.fullmatch(_dotted(place)):
            name = value.removeprefix(ENV_PREFIX)
            if not os.environ.get(name):
                yield place, f"environment variable {name} is not set", f"export {name}=... or put it into .env"


def _strings(value: Any, place: Place, seen: set[int]) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, (dict, list)) and id(value) not in seen:
        seen.add(id(value))  # anchors make the same object appear many times
        items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _strings(item, (*place, key), seen)


def _dotted(place: Place) -> str:
    """`model_list[0].litellm_params`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")


def _nearest(word: str, choices: Iterable[str]) -> str:
    choices = list(choices)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(choices[:12])}" if choices else ""


def make_checked(config: Config) -> core.Analyzer:
    """The analyzer of a checked config; a ValueError of the core becomes a ConfigError that names the section."""
    try:
        return make_analyzer(config.routing)
    except ValueError as error:
        raise ConfigError(f"{config.path}: routing.classifier.static: {error}") from error
