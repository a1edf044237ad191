"""The shape of gateway.yaml: where parsed data does not fit the JSON Schema of `config.py`, in plain words."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jsonschema

from .config import DURATION, SHARE, json_schema
from .document import Place

Finding = tuple[Place, str, str]
"""Where, what is wrong, what to do."""

_TYPES = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        # As msgspec has it: 5.0 is no integer, and nan and inf are no numbers.
        "integer": lambda _, value: type(value) is int,
        "number": lambda _, value: type(value) is int or (type(value) is float and math.isfinite(value)),
    }
)
_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, type_checker=_TYPES
)


def errors(data: dict[str, Any]) -> Iterator[jsonschema.ValidationError]:
    """Every way in which `data` does not fit the schema."""
    for error in _Validator(json_schema()).iter_errors(data):
        if error.validator != "items":  # of a tuple that is too long, which maxItems says better
            yield from _leaves(error)


def _leaves(error: jsonschema.ValidationError) -> Iterator[jsonschema.ValidationError]:
    """`error`; or, of alternatives (`anyOf`), the errors of the first whose type fits, if there is one."""
    branches: dict[Any, list[jsonschema.ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    for inners in branches.values():
        if not any(inner.validator == "type" and not inner.relative_path for inner in inners):
            for inner in inners:
                yield from _leaves(inner)
            return
    yield error


def places(error: jsonschema.ValidationError) -> list[Place]:
    """The parts that `error` speaks of."""
    place: Place = tuple(error.absolute_path)
    instance: Any = error.instance
    if error.validator == "additionalProperties":
        return [(*place, key) for key in instance if key not in _properties(error)]
    if "propertyNames" in error.absolute_schema_path:
        return [(*place, instance)]
    return [place]


def findings(error: jsonschema.ValidationError) -> Iterator[Finding]:
    """`error` in plain words."""
    if error.validator == "required":
        instance, required = _parts(error)
        for key in required:
            if key not in instance:
                yield tuple(error.absolute_path), f"`{key}` is missing", f"add `{key}:`"
        return
    for place in places(error):
        if error.validator == "additionalProperties":
            yield place, "unknown key", nearest(str(place[-1]), _properties(error))
        else:
            yield place, _SCHEMA_MESSAGES.get(str(error.validator), _plain)(error), _switch_hint(error)


def _switch_hint(error: jsonschema.ValidationError) -> str:
    """Of a section that is only switched on or off: how that is written."""
    if error.validator == "type" and isinstance(error.instance, bool) and "enabled" in _properties(error):
        return f"write {{ enabled: {str(error.instance).lower()} }}"
    return ""


def _parts(error: jsonschema.ValidationError) -> tuple[Any, Any]:
    return error.instance, error.validator_value


def _plain(error: jsonschema.ValidationError) -> str:
    return f"does not fit: {error.validator} {error.validator_value!r}"


# jsonschema's own messages quote the whole instance, which may hold a password: say what is expected instead.
_FORMS = {SHARE: "a share such as 10%, of 100% at most", DURATION: "a whole number of s, m or h, such as 30m"}
"""What the patterns of options stand for."""
_SCHEMA_MESSAGES: dict[str, Callable[[Any], str]] = {
    "type": lambda error: f"must be {_type_names([error])}, not {_type_name(error.instance)}",
    "anyOf": lambda error: f"must be {_type_names(error.context)}, not {_type_name(error.instance)}",
    "enum": lambda error: f"must be one of {', '.join(map(str, error.validator_value))}",
    "minimum": lambda error: f"must be at least {error.validator_value}",
    "maximum": lambda error: f"must be at most {error.validator_value}",
    "exclusiveMinimum": lambda error: f"must be more than {error.validator_value}",
    "minItems": lambda error: f"needs at least {error.validator_value} item(s)",
    "maxItems": lambda error: f"takes at most {error.validator_value} item(s)",
    "minLength": lambda error: "must not be empty",
    "maxLength": lambda error: f"must not be longer than {error.validator_value} characters",
    "pattern": lambda error: f"must be {_FORMS[error.validator_value]}",
    "minProperties": lambda error: "must not be empty",
}


def _type_names(errors: Iterable[jsonschema.ValidationError]) -> str:
    return " or ".join(dict.fromkeys(str(error.validator_value) for error in errors if error.validator == "type"))


def _type_name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return names.get(type(value), "null" if value is None else type(value).__name__)


def _properties(error: jsonschema.ValidationError) -> dict[str, Any]:
    """The keys that the failing part of the schema allows."""
    schema: Any = error.schema
    properties: dict[str, Any] = schema.get("properties", {})
    return properties


def nearest(word: str, choices: Iterable[str]) -> str:
    """A hint: the choice most like `word`, or the choices."""
    choices = list(choices)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(choices[:12])}" if choices else ""
