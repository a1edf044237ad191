"""Every mistake of a gateway.yaml at once, each with its path, its line and a hint.

Three passes over one parsed file: YAML itself, its shape (the JSON Schema of `config.py`), and what a schema cannot say
(references, ranges, cycles). Only a file without mistakes becomes a `Config`.
"""

from __future__ import annotations

import copy
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import msgspec

from . import shape
from .advice import Severity, advice
from .classifiers.llm.target import find_target
from .config import (
    AUTO_ROUTE,
    ENV_PREFIX,
    AutoAlias,
    Collector,
    Config,
    GatewayFile,
    Routing,
    resolve_env,
    spool_directory,
)
from .connections import NOT_A_URL, describe
from .core import core
from .document import Document, NotYaml, Place
from .errors import ConfigError
from .names import wildcard_covers
from .shape import Finding, nearest
from .terminal import printable


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: 1-based `line` (0 if there is none), dotted `path`, what is wrong, and what to do about it.

    Or a `warning`, with which the gateway starts all the same.
    """

    line: int
    path: str
    message: str
    hint: str = ""
    severity: Severity = "error"

    def render(self, file: str) -> str:
        """`file:line: path: message; hint` on one line."""
        where = f"{file}:{self.line}" if self.line else file
        where += ": warning" if self.severity == "warning" else ""
        return f"{where}: {self.path + ': ' if self.path else ''}{self.message}{'; ' + self.hint if self.hint else ''}"


def load_config(path: str | Path, warn: Callable[[str], None] | None = None) -> Config:
    """Read and check a gateway.yaml. Raises ConfigError whose `problems` are all its mistakes, readable.

    `warn` gets each warning, if it is given.
    """
    path = Path(path)
    config, problems = check_file(path, advised=warn is not None)
    if config is None:
        lines = tuple(problem.render(str(path)) for problem in problems)
        raise ConfigError(f"{path} has {len(lines)} mistake(s):\n" + "\n".join(lines), lines)
    if warn is not None:
        for problem in problems:
            warn(problem.render(str(path)))
    return config


def check_file(path: Path, advised: bool = False) -> tuple[Config | None, list[Problem]]:
    """The config, or None and every mistake in file order.

    `advised`: look for what is no mistake but probably not meant, too; then a config may come with warnings. That
    imports LiteLLM, which takes seconds, if the file has no mistake.
    """
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        return None, [Problem(0, "", f"cannot be read: {error.strerror}", "give the path of a gateway.yaml")]
    except UnicodeDecodeError as error:
        return None, [Problem(0, "", f"is not UTF-8 text (byte {error.start})")]
    return check_text(source, path, advised)


def check_text(source: str, path: Path, advised: bool = False) -> tuple[Config | None, list[Problem]]:
    """As `check_file`, for text already read."""
    try:
        document = Document(source)
        config, problems = _check(document, path)
        if advised and config is not None:
            problems = sorted(
                _problem(document.line(place), place, message, hint, severity)
                for severity, place, message, hint in advice(config)
            )
        return (None if any(problem.severity == "error" for problem in problems) else config), problems
    except NotYaml as error:
        return None, [Problem(error.line, "", f"is not valid YAML: {printable(str(error))}")]
    except RecursionError:
        return None, [Problem(0, "", "is nested too deeply")]


def check_against(config: Config, model_names: tuple[str, ...]) -> list[Problem]:
    """What the routing of a checked `config` makes of a proxy that already runs, with `model_names` in its model_list:
    each name that is wrong there, in file order."""
    document = Document(config.path.read_text(encoding="utf-8"))
    found = (*_tiers(config.routing, model_names), *_aliases(config.routing, model_names))
    changed = "the running proxy keeps the model_list that it started with"
    return sorted(
        Problem(document.line(place), printable(_dotted(place)), printable(f"{message}: {changed}"), "restart it")
        for place, message, _ in found
    )


def _check(document: Document, path: Path) -> tuple[Config | None, list[Problem]]:
    data = document.data
    if not isinstance(data, dict):
        return None, [Problem(0, "", "is not a mapping", "it needs at least `model_list` and `routing`")]
    findings = list(_odd_keys(data))
    errors = list(shape.errors(data))
    findings += [finding for error in errors for finding in shape.findings(error)]
    file = _decode(data, errors)
    if file is not None:
        findings += (finding for finding in _meaning_findings(file, data) if not _follows(finding[0], errors))
    located = [(document.line(place), place, message, hint) for place, message, hint in findings]
    located += ((line, place, "key given twice", "keep one of them") for line, place in document.duplicates())
    problems = {_problem(*found) for found in located}
    if file is None or problems:
        return None, sorted(problems)
    return Config(path, file.routing, data), []


def _problem(line: int, place: Place, message: str, hint: str, severity: Severity = "error") -> Problem:
    return Problem(line, printable(_dotted(place)), printable(message), printable(hint), severity)


def _odd_keys(data: dict[Any, Any]) -> Iterator[Finding]:
    """Keys that are not text, where the schema speaks of keys; made text in `data`. LiteLLM's sections keep theirs."""
    seen: set[int] = set()
    stack: list[tuple[Any, Place]] = [(data, ())]
    while stack:
        value, place = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict) and (not place or place[0] in GatewayFile.__struct_fields__):
            for key in [key for key in value if not _is_text(key)]:
                name = printable(str(key))
                value.setdefault(name, value.pop(key))
                yield (*place, name), "key must be text", "put it in quotes"
        if not place or place[0] == "routing" or place == ("model_list",):
            items: Iterable[tuple[Any, Any]] = ()
            if isinstance(value, dict):
                items = value.items()
            elif isinstance(value, list):
                items = enumerate(value)
            stack.extend((item, (*place, step)) for step, item in items)


def _is_text(key: Any) -> bool:
    """Whether `key` is a string that has a UTF-8 form: YAML can also write half a character."""
    return isinstance(key, str) and not any("\ud800" <= char <= "\udfff" for char in key)


def _decode(data: dict[str, Any], errors: list[jsonschema.ValidationError]) -> GatewayFile | None:
    """`data` as structs. Parts with mistakes are left out, so that the rest is still checked for its meaning; None when
    what is left does not decode, or would mislead (a tier without its range)."""
    if errors:
        data = copy.deepcopy(data)
        for error in errors:
            places = shape.places(error)
            if error.validator == "required" or not all(map(_can_go_without, places)):
                return None
            for place in places:
                _take_out(data, place)
    try:
        return msgspec.convert(data, GatewayFile)
    except msgspec.ValidationError:
        if errors:
            return None
        raise  # the schema is made from these structs: a difference between the two is a bug of ours


def _can_go_without(place: Place) -> bool:
    """Whether the rest still means the same. Without a tier, or the range of one, the other ranges do not."""
    return place[:2] != ("routing", "tiers") or (len(place) > 3 and place[3] != "score_range")


def _take_out(data: dict[str, Any], place: Place) -> None:
    *parents, last = _whole(place)
    owner: Any = data
    for step in parents:
        owner = owner.get(step, {})
    if parents == ["model_list"]:
        owner[last] = {}
    elif parents == ["routing", "aliases"] and last in owner:
        owner[last] = AUTO_ROUTE  # other aliases may name it
    else:
        owner.pop(last, None)


def _whole(place: Place) -> Place:
    """What has to go for the part at `place` to go: without one item of a list the others would stand elsewhere."""
    while isinstance(place[-1], int) and place[:-1] != ("model_list",):
        place = place[:-1]
    return place


def _follows(place: Place, errors: list[jsonschema.ValidationError]) -> bool:
    """Whether a finding at `place` may only follow from a part that `_decode` left out."""
    for error in errors:
        for wrong in map(_whole, shape.places(error)):
            if place[: len(wrong)] == wrong or (place == wrong[:-1] and error.validator != "additionalProperties"):
                return True
    return False


def _meaning_findings(file: GatewayFile, data: dict[str, Any]) -> Iterator[Finding]:
    names = [entry.get("model_name") for entry in file.model_list]
    yield from _model_list(file.model_list)
    known = tuple(dict.fromkeys(name for name in names if isinstance(name, str)))
    routing = file.routing
    yield from _tiers(routing, known)
    yield from _score_ranges(routing)
    yield from _aliases(routing, known)
    yield from _patterns(routing)
    for option in ("required_needs", "client_overrides"):
        yield from _twice(("routing", option), getattr(routing, option))
    yield from _static(routing)
    yield from _collector(routing, data)
    yield from _learning(routing, known)
    yield from _llm(routing, file.model_list)
    yield from _environment(data)


def _model_list(entries: list[dict[str, Any]]) -> Iterator[Finding]:
    for index, entry in enumerate(entries):
        if not isinstance(entry.get("model_name"), str) or not entry["model_name"]:
            yield ("model_list", index, "model_name"), "must be a non-empty string", "name the model clients ask for"
        params = entry.get("litellm_params")
        if not isinstance(params, dict) or not isinstance(params.get("model"), str):
            yield ("model_list", index, "litellm_params"), "needs a `model`", "for example `model: openai/gpt-5-mini`"
        if not isinstance(entry.get("model_info"), (dict, type(None))):
            hint = "for example `model_info: { supports_vision: false }`"
            yield ("model_list", index, "model_info"), "must be an object", hint


def _tiers(routing: Routing, known: tuple[str, ...]) -> Iterator[Finding]:
    for name, tier in routing.tiers.items():
        place: Place = ("routing", "tiers", name)
        if (tier.model is None) == (not tier.models):
            yield place, "needs either `model` or `models`, and not both", "give the model_list name that serves it"
        for index, model in enumerate(tier.candidates):
            if model not in known:
                here: Place = (*place, "models", index) if tier.models else (*place, "model")
                yield here, f"{model!r} is not in model_list", nearest(model, known)
    if routing.fallback_tier not in routing.tiers:
        hint = nearest(routing.fallback_tier, routing.tiers)
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
        if isinstance(target, AutoAlias):
            yield from _limits(routing, place, target)
        if isinstance(target, AutoAlias) or target == AUTO_ROUTE or target in known or target in aliases:
            if cycle := _cycle(name, aliases):
                yield place, f"is a cycle: {' -> '.join(cycle)}", "let one of them name a model"
        elif not wildcard_covers(known, target):
            choices = [*known, *aliases, AUTO_ROUTE]
            yield place, f"{target!r} is neither in model_list nor an alias nor {AUTO_ROUTE}", nearest(target, choices)


def _limits(routing: Routing, place: Place, alias: AutoAlias) -> Iterator[Finding]:
    for option, tier in (("min_tier", alias.min_tier), ("max_tier", alias.max_tier)):
        if tier is not None and tier not in routing.tiers:
            yield (*place, option), f"{tier!r} is not a tier", nearest(tier, routing.tiers)
    low, high = (routing.tiers.get(tier or "") for tier in (alias.min_tier, alias.max_tier))
    if low is not None and high is not None and low.score_range > high.score_range:
        yield (*place, "min_tier"), f"{alias.min_tier!r} is above max_tier, which is {alias.max_tier!r}", "swap the two"


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
    yield from _twice(("routing", "auto_route_patterns"), routing.auto_route_patterns)


def _twice(place: Place, words: tuple[str, ...]) -> Iterator[Finding]:
    for index, word in enumerate(words):
        if word in words[:index]:
            yield (*place, index), f"{word!r} is given twice", "keep one of them"


def _static(routing: Routing) -> Iterator[Finding]:
    static, place = routing.classifier.static, ("routing", "classifier", "static")
    for field in ("complex_keywords", "simple_keywords"):
        for index, keyword in enumerate(getattr(static, field) or ()):
            if problem := _keyword_problem(keyword):
                yield (*place, field, index), problem, "trim or remove it"
    if any(low >= high for low, high in pairwise(static.token_thresholds)):
        yield (*place, "token_thresholds"), "must be ascending", "for example [20, 100, 400, 1500, 6000]"
    if not any(msgspec.structs.astuple(static.weights)):
        yield (*place, "weights"), "are all zero", "give at least one signal a weight"


def _keyword_problem(keyword: str) -> str | None:
    """What the core says against `keyword`."""
    try:
        core.Analyzer(dict.fromkeys(core.SIGNALS, 1.0), (1, 2, 3, 4, 5), (keyword,), (), 0, 0, 0, "o200k_base")
    except ValueError as error:
        return str(error)
    return None


def _collector(routing: Routing, data: dict[str, Any]) -> Iterator[Finding]:
    collector, place = routing.collector, ("routing", "collector")
    if collector.enabled:
        yield from _database_url(collector, (*place, "database_url"))
    if collector.embedding is not None and collector.text == "none":
        hint = "set collector.text to redacted, or remove embedding"
        yield (*place, "embedding"), "has nothing to embed: collector.text is none", hint
    if collector.embedding is not None:
        yield from _ollama_address(resolve_env(collector.embedding.api_base), (*place, "embedding", "api_base"))
    yield from _spool(collector, (*place, "spool", "directory"))
    days, text_days = collector.retention_days, collector.text_retention_days
    # Only if it was written down: the default gives way to a shorter retention_days.
    written = _at(data, (*place, "text_retention_days")) is not None
    if written and days is not None and text_days is not None and text_days > days:
        found = f"{text_days} is longer than retention_days, which is {days}: texts go with their rows"
        yield (*place, "text_retention_days"), found, f"{days} at most, or null"


def _learning(routing: Routing, known: tuple[str, ...]) -> Iterator[Finding]:
    learning, place = routing.learning, ("routing", "learning")
    for option in ("explore", "dual_run"):
        if len(routing.tiers) == 1 and not _is_none(getattr(learning, option)):
            yield (*place, option), "has nothing to compare: there is only one tier", "add a tier, or remove this"
    if not _is_none(learning.dual_run) and not routing.collector.enabled:
        found = "has nowhere to put what it finds: collector.enabled is false"
        yield (*place, "dual_run"), found, "set collector.enabled to true, or remove this"
    judge, here = learning.judge, (*place, "judge", "model")
    if judge.model is None and judge.method != "match":
        yield here, f"is needed by the method {judge.method!r}", "give the model_list name of the model that judges"
    elif judge.model is not None and judge.model not in known:
        yield here, f"{judge.model!r} is not in model_list", nearest(judge.model, known)


def _llm(routing: Routing, model_list: list[dict[str, Any]]) -> Iterator[Finding]:
    llm, place = routing.classifier.llm, ("routing", "classifier", "llm")
    if llm.model is None:
        if routing.classifier.strategy == "llm":
            hint = "give the name of a small model in Ollama, such as qwen3:0.6b"
            yield (*place, "model"), "is needed by the strategy llm", hint
        return
    target = find_target(llm, model_list)
    if target is not None and not target.model:
        yield (*place, "model"), f"{llm.model!r} names no model", "give the name of a small model in Ollama"
    if target is None:
        hint = "give a name of Ollama's, or of a model of model_list that Ollama serves"
        yield (*place, "model"), f"{llm.model!r} is a model of model_list that Ollama does not serve", hint
    yield from _ollama_address(resolve_env(llm.api_base), (*place, "api_base"))


def _is_none(share: str) -> bool:
    return float(share.rstrip("%")) == 0


def _database_url(collector: Collector, place: Place) -> Iterator[Finding]:
    """Never quotes it: it may hold a password."""
    url = resolve_env(collector.database_url)
    if url is not None and describe(url) == NOT_A_URL:
        hint = "write postgresql://user:password@host:port/database, with %2F for a slash in the password"
        yield place, "is not the URL of a PostgreSQL", hint


def _ollama_address(url: str | None, place: Place) -> Iterator[Finding]:
    if not _is_http(url):
        yield place, "is not the URL of a server", "for example http://127.0.0.1:11434"
    elif url is not None and "@" in urlsplit(url).netloc:
        found = "has a user or a password, which Ollama's client does not send"
        yield place, found, "leave them out; OLLAMA_API_KEY in the environment is sent as a bearer token"


def _is_http(url: str | None) -> bool:
    try:
        parts = urlsplit("http://default" if url is None else url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, an address without its bracket
        return False


def _spool(collector: Collector, place: Place) -> Iterator[Finding]:
    try:
        directory = spool_directory(collector, Path())
        if directory is not None and not stat.S_ISDIR(directory.stat().st_mode):
            raise NotADirectoryError
    except NotADirectoryError:
        yield place, "is not a directory", "name another, or remove the file that is there"
    except OSError:
        return  # not there yet, or not to be seen by this user: the gateway makes it, or says so
    except ValueError:
        yield place, "is not a path", "name a directory on a local disk"


def _at(data: Any, place: Place) -> Any:
    for step in place:
        data = data.get(step) if isinstance(data, dict) else None
    return data


# References that `serve` has an answer for when they are unset: it starts an embedded database, serves the model by a
# local one or by the stand-in, or makes a master key.
_MAY_BE_UNSET = re.compile(
    r"routing\.collector\.database_url|general_settings\.master_key|model_list\[\d+\]\.litellm_params\.(api_key|api_base)"
)


_VARIABLE = re.compile(r"[!-<>-~]+")


def _environment(data: dict[str, Any]) -> Iterator[Finding]:
    for place, value in _strings(data, (), set()):
        if not value.startswith(ENV_PREFIX):
            continue
        name = value.removeprefix(ENV_PREFIX)
        if not _VARIABLE.fullmatch(name):
            yield place, f"{name!r} is not the name of an environment variable", f"write {ENV_PREFIX}NAME"
        elif not os.environ.get(name) and not _MAY_BE_UNSET.fullmatch(_dotted(place)):
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
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")
