"""Small edits of a gateway.yaml: other score ranges, and every other byte as it was."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .check import check_text
from .document import Document, NotYaml
from .errors import ConfigError

Ranges = Mapping[str, tuple[int, int]]
"""Tier -> first and last score."""

_NUMBER = re.compile(r"[0-9]{1,3}")


class CannotEdit(ConfigError):
    """The file says its score ranges in a way that cannot be edited safely."""


def with_ranges(source: str, ranges: Ranges, path: Path) -> str:
    """The text of a gateway.yaml with other score ranges: only the numbers are replaced.

    Raises CannotEdit, for what an edit could break (anchors, merge keys, numbers written in another way), and where the
    result is not the same configuration with these ranges, checked as `bsgateway check` does.
    """
    edits: list[tuple[int, int, str]] = []
    try:
        root = yaml.compose(source, Loader=yaml.SafeLoader)
        times = _references(root)
        for tier, (first, last) in ranges.items():
            for node, score in zip(_numbers(root, times, tier), (first, last), strict=True):
                start, end = node.start_mark.index, node.end_mark.index
                if not _NUMBER.fullmatch(source[start:end]):
                    raise CannotEdit(f"{path}:{node.start_mark.line + 1}: score_range of {tier!r} is no plain number")
                edits.append((start, end, str(score)))
    except yaml.YAMLError as error:
        raise CannotEdit(f"{path} is not valid YAML") from error
    except _Unsafe as error:
        raise CannotEdit(f"{path}: {error}") from None
    for start, end, text in sorted(edits, reverse=True):
        source = source[:start] + text + source[end:]
    return source


def checked(source: str, edited: str, ranges: Ranges, path: Path) -> None:
    """Raises CannotEdit unless `edited` is without mistakes, and says what `source` says but for the `ranges`."""
    try:
        wanted, found = Document(source).data, Document(edited).data
    except NotYaml as error:
        raise CannotEdit(f"{path}:{error.line}: {error}") from error
    for tier, (first, last) in ranges.items():
        wanted["routing"]["tiers"][tier]["score_range"] = [first, last]
    if wanted != found:
        raise CannotEdit(f"{path}: an edit of the score ranges would change something else")
    config, problems = check_text(edited, path)
    if config is None:
        lines = tuple(problem.render(str(path)) for problem in problems)
        raise CannotEdit("with these score ranges the file has mistakes:\n" + "\n".join(lines), lines)


def write_ranges(path: Path, ranges: Ranges) -> None:
    """Replace the score ranges in a gateway.yaml, all at once: who reads the file sees the old text or the new one.

    Its mode stays, and its owner where this user may give it. Raises CannotEdit, and ConfigError for a file that cannot
    be read or written, or that somebody else changes meanwhile.
    """
    path = path.resolve()  # the file itself, not a link to it
    try:
        before = path.read_bytes()
        source = before.decode()
        edited = with_ranges(source, ranges, path)
        checked(source, edited, ranges, path)
        _replace(path, before, edited.encode())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path} cannot be edited: {reason}") from error


def _replace(path: Path, before: bytes, after: bytes) -> None:
    known = path.stat()
    handle, name = tempfile.mkstemp(prefix=".bsgateway-", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(after)
            os.fchmod(file.fileno(), known.st_mode & 0o7777)
            with contextlib.suppress(PermissionError):  # only root may give a file away
                os.fchown(file.fileno(), known.st_uid, known.st_gid)
            file.flush()
            os.fsync(file.fileno())
        if path.read_bytes() != before:
            raise ConfigError(f"{path} was changed by somebody else meanwhile: run it again")
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


class _Unsafe(ValueError):
    """What makes an edit unsafe."""


def _numbers(root: Any, times: Mapping[int, int], tier: str) -> list[yaml.ScalarNode]:
    """The two nodes of the score range of a tier. Raises _Unsafe."""
    node, place = root, "the file"
    for key in ("routing", "tiers", tier, "score_range"):
        if not isinstance(node, yaml.MappingNode):
            raise _Unsafe(f"{place} is not a mapping")
        if any(name.tag == "tag:yaml.org,2002:merge" for name, _ in node.value):
            raise _Unsafe(f"{place} has a merge key (<<): what it takes over cannot be told from its own")
        found = [value for name, value in node.value if name.value == key]
        if len(found) != 1:
            raise _Unsafe(f"{place} has {key!r} {len(found)} times")
        node, place = found[0], f"{key!r}"
        _check_single(node, times, place)
    if not isinstance(node, yaml.SequenceNode) or len(node.value) != 2:
        raise _Unsafe(f"score_range of {tier!r} is not a list of two numbers")
    for number in node.value:
        _check_single(number, times, f"score_range of {tier!r}")
        if not isinstance(number, yaml.ScalarNode):
            raise _Unsafe(f"score_range of {tier!r} is not a list of two numbers")
    return list(node.value)


def _check_single(node: Any, times: Mapping[int, int], place: str) -> None:
    if times[id(node)] > 1:
        raise _Unsafe(f"{place} stands in several places by an anchor: an edit would change all of them")


def _references(root: Any) -> dict[int, int]:
    """How often each node is referred to: more than once where an alias stands for it."""
    times: dict[int, int] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        times[id(node)] = times.get(id(node), 0) + 1
        if times[id(node)] == 1:
            waiting += _parts(node)
    return times


def _parts(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def tier_lines(tiers: Mapping[str, Any], ranges: Ranges) -> str:
    """The `tiers` of a configuration as YAML, ready to paste under `routing`: `tiers` as read from the file, with other
    ranges."""
    whole = {name: {**tier, "score_range": list(ranges[name])} for name, tier in tiers.items()}
    lines = ["  tiers:"]
    for name, tier in whole.items():
        flow = yaml.safe_dump(tier, default_flow_style=True, sort_keys=False, allow_unicode=True, width=100_000).strip()
        key = yaml.safe_dump(name, default_flow_style=True, allow_unicode=True).removesuffix("...\n").strip()
        lines.append(f"    {key}: {{ {flow[1:-1]} }}")
    return "routing:\n" + "\n".join(lines) + "\n"


def setting_lines(tiers: Mapping[str, Any], ranges: Ranges, bias: int | None) -> str:
    """As `tier_lines`, with the bias of the configuration, unless that is None: not said at all."""
    text = tier_lines(tiers, ranges)
    return text if bias is None else text.replace("routing:\n", f"routing:\n  bias: {bias}\n", 1)
