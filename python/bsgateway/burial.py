"""A record that its table refused, as a row of routing_dead_letters."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any
from uuid import UUID

import msgspec

from bsgateway.log.chunk import Unreadable
from bsgateway.rows import MAX_NAME, clean

# What a letter shows of a value that is nested deeper: no record of the log is.
MAX_DEPTH = 32
LARGEST_INT = 2**64


def letter(item: object, reason: str) -> dict[str, Any]:
    """The columns of the row, in the order in which the query `bury` takes them.

    Whatever `item` is, it can be stored: see `payload`.
    """
    if isinstance(item, Unreadable):
        kind, found, body = item.kind, _read_id(item.fields), payload(item.fields)
    else:
        kind, found, body = type(item).__name__, getattr(item, "decision_id", None), payload(item)
    return {
        "digest": hashlib.sha256(body).digest(),
        "decision_id": found if isinstance(found, UUID) else None,
        "kind": clean(kind, MAX_NAME),
        "reason": clean(reason, MAX_NAME),
        "payload": body,
    }


def _read_id(fields: object) -> UUID | None:
    try:
        return UUID(fields["decision_id"]) if isinstance(fields, dict) else None
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def payload(item: object) -> bytes:
    """`item` as JSON in UTF-8.

    What JSON cannot carry, and may be why the row was refused, is told in its own way: lone surrogates as `\\udXXX`,
    integers of more than 64 bits as hexadecimal strings, infinity and NaN as strings, other objects as their class.
    """
    return json.dumps(_plain(item, 0), separators=(",", ":")).encode("ascii")


def _plain(value: object, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return f"<{type(value).__name__}>"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return value if abs(value) < LARGEST_INT else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name), depth + 1) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {_name(key): _plain(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(inner, depth + 1) for inner in value]
    try:
        return msgspec.to_builtins(value)  # times, ids, bytes
    except (TypeError, ValueError, OverflowError):
        return f"<{type(value).__name__}>"


def _name(key: object) -> str:
    return key if isinstance(key, str) else f"<{type(key).__name__}>"
