"""A YAML text as data, and the line each part of it stands on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

Place = tuple[str | int, ...]
"""The way to a part: keys and indexes, from the top."""


MAX_WRITTEN_OUT = 10_000_000
"""Anchors of anchors can stand for more than any memory holds; a configuration of this size is none."""


class NotYaml(ValueError):
    """The text is not valid YAML; `line` is 1-based, 0 if there is none."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class Document:
    """One YAML document: its `data`, of plain types only. Raises NotYaml."""

    def __init__(self, source: str) -> None:
        try:
            self._root = yaml.compose(source, Loader=_Loader)
            if self._root is not None and _written_out(self._root, {}) > MAX_WRITTEN_OUT:
                raise NotYaml(f"more than {MAX_WRITTEN_OUT} characters when its anchors are written out")
            # Apart from the nodes above, which keep the places of what merging moves.
            self.data: Any = yaml.load(source, Loader=_Loader)  # noqa: S506  # a SafeLoader
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise NotYaml(error.problem or error.context or "", mark.line + 1 if mark else 0) from error
        except ReaderError as error:
            line = source.count("\n", 0, error.position) + 1
            raise NotYaml(f"character #x{error.character:04x} is not allowed", line) from error
        except RecursionError as error:
            raise NotYaml("nested too deeply") from error

    def line(self, place: Place) -> int:
        """1-based line of the key or item at `place`, or of the nearest enclosing one that exists."""
        node = self._root
        line = node.start_mark.line + 1 if node else 0
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

    def duplicates(self) -> Iterator[tuple[int, Place]]:
        """(line, place) of every key that its mapping has already: YAML would silently take the last."""
        seen_nodes: set[int] = set()  # an anchor used often is one node, looked at once
        stack: list[tuple[yaml.Node | None, Place]] = [(self._root, ())]
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
                    name = str(key.value)
                    here = (*place, name)
                    if name in keys and key.tag != "tag:yaml.org,2002:merge":
                        yield key.start_mark.line + 1, here
                    keys.add(name)
                    stack.append((value, here))


class _Loader(yaml.SafeLoader):
    """SafeLoader, but each of its refusals has a line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # PyYAML lets through whatever the value's own type says of `!!int x` or 2020-13-45.
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            raise ConstructorError(None, None, f"is not a valid {kind}", node.start_mark) from error


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """Characters of `node`, and one for each part, when what anchors stand for is written out."""
    if id(node) not in known:
        known[id(node)] = 1  # for what holds itself
        if isinstance(node, yaml.ScalarNode):
            inside = len(node.value)
        elif isinstance(node, yaml.MappingNode):
            inside = sum(_written_out(key, known) + _written_out(value, known) for key, value in node.value)
        else:
            inside = sum(_written_out(item, known) for item in node.value)
        known[id(node)] = 1 + inside
    return known[id(node)]
