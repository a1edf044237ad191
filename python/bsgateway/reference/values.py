"""Questions to a JSON-like value: a wrong type in a request is as good as absent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .chars import byte_length, clean


def dict_of(body: dict[Any, Any], key: str) -> dict[Any, Any]:
    """The dict under `key`, or an empty one."""
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def text_of(body: dict[Any, Any], key: str) -> str:
    """The text under `key`, or an empty one."""
    value = body.get(key)
    return clean(value) if isinstance(value, str) else ""


def list_of(body: dict[Any, Any], key: str) -> list[Any] | tuple[Any, ...]:
    """The list under `key`, or an empty one."""
    value = body.get(key)
    return value if isinstance(value, (list, tuple)) else ()


def is_int(value: Any) -> bool:
    """Whether `value` is a whole number of any size; a boolean is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def items(value: Any) -> Iterator[tuple[int, dict[Any, Any]]]:
    """(index, dict) of a list; the index counts every element, so wrong ones keep the others' places."""
    for index, item in enumerate(value if isinstance(value, (list, tuple)) else ()):
        if isinstance(item, dict):
            yield index, item


def dicts(value: Any) -> Iterator[dict[Any, Any]]:
    return (item for _, item in items(value))


def weigh(value: Any) -> int:
    """Approximate bytes of `value` as compact JSON: texts and keys in UTF-8 plus 2 and 4, containers 2 plus 1 an item
    of a list, anything else 4. Iterative, so that nesting cannot exhaust the stack."""
    total, stack = 0, [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            total += byte_length(item) + 2
        elif isinstance(item, dict):
            total += 2 + sum(byte_length(key) + 4 if isinstance(key, str) else 4 for key in item)
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            total += 2 + len(item)
            stack.extend(item)
        else:
            total += 4
    return total
