"""What a request to the API asks for: its query and its body, as structs of their own.

A parameter or field that nobody knows is refused with the name that is most like it: a filter that is misspelt would
otherwise show everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from ..shape import nearest
from .problems import RequestError

T = TypeVar("T", bound=msgspec.Struct)

MAX_VALUE = 512
"""Characters of a parameter at most: as many as names have in the log."""
_FIELD = re.compile(r"at `\$\.?([^`]*)`$")


def query(pairs: Sequence[tuple[str, str]], kind: type[T]) -> T:
    """The parameters of a URL as a `kind`. Each may be given once; an empty one counts as not given.

    Raises RequestError (400) that names the parameter.
    """
    given: dict[str, str] = {}
    for name, value in pairs:
        _known(name, kind.__struct_fields__, "parameter")
        if name in given:
            raise RequestError(400, f"{name} is given twice", field=name)
        if len(value) > MAX_VALUE:
            raise RequestError(400, f"{name} is longer than {MAX_VALUE} characters", field=name)
        if "\x00" in value or not value.isprintable():
            raise RequestError(400, f"{name} holds characters that cannot be printed", field=name)
        given[name] = value
    try:
        return msgspec.convert({name: value for name, value in given.items() if value}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _refused(error, given, kind) from None


def body(content_type: str, content: bytes, kind: type[T]) -> T:
    """A JSON body as a `kind`. Raises RequestError: 415 for what is no JSON by its type, 400 for what cannot be read as
    JSON, 422 for what is JSON and not what is asked for."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, "the body must be JSON", "send the header `content-type: application/json`")
    try:
        given = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RequestError(400, "the body is not JSON", "send one JSON object") from None
    if not isinstance(given, dict):
        raise RequestError(422, "the body must be a JSON object")
    for name in given:
        _known(name, kind.__struct_fields__, "field", status=422)
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise _refused(error, given, kind, status=422) from None


def no_body(content: bytes) -> None:
    """Refuse words that nobody would read."""
    if content.strip():
        raise RequestError(400, "this takes no body")


def _known(name: str, names: Iterable[str], what: str, status: int = 400) -> None:
    if name not in (known := tuple(names)):
        raise RequestError(status, f"unknown {what} {_shown(name)}", nearest(name[:MAX_VALUE], known), field=name[:64])


def _refused(
    error: msgspec.ValidationError, given: dict[str, Any], kind: type[msgspec.Struct], status: int = 400
) -> RequestError:
    """What is wrong with a value: msgspec says what is expected and where, and quotes nothing but words of a list."""
    message = str(error)
    if (missing := re.match(r"Object missing required field `([^`]+)`", message)) is not None:
        return RequestError(status, f"{missing[1]} is missing", field=missing[1])
    found = _FIELD.search(message)
    field = re.split(r"[.\[]", found[1])[0] if found is not None else None
    value = given.get(field) if field else None
    choices = _choices(get_type_hints(kind).get(field or ""))
    if field and choices and isinstance(value, str):
        return RequestError(status, f"{field}: {_shown(value)} is none of its values", nearest(value, choices), field)
    said = message if found is None else message[: found.start()].rstrip(" -")
    return RequestError(status, f"{field}: {said}" if field else said, field=field)


def _choices(hint: Any) -> tuple[str, ...]:
    """The words of a `Literal` or of an enumeration, or of one that may be None."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return tuple(str(member.value) for member in hint)
    if get_origin(hint) is Literal:
        return tuple(word for word in get_args(hint) if isinstance(word, str))
    return tuple(word for part in get_args(hint) for word in _choices(part))


def _shown(word: str) -> str:
    return repr(word if len(word) <= 64 else f"{word[:64]}...")
