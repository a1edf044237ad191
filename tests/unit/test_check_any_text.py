"""`check.py` on texts that nobody would write: it never raises, and every mistake it reports has its place."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bsgateway.check import check_text

REFERENCE = (Path(__file__).parents[2] / "gateway.yaml").read_text(encoding="utf-8")

SMALL = """\
model_list:
  - model_name: small
    litellm_params: {model: openai/gpt-5-nano}
routing:
  tiers: {only: {score_range: [0, 100], models: [small, small]}}
  fallback_tier: only
  aliases: {auto: auto_route, cheap: {route: auto_route, bias: -5}, other: small}
  auto_route_patterns: [a*, "[b-c]"]
  classifier: {static: {token_thresholds: [1, 2, 3, 4, 5], simple_keywords: [a, b]}}
"""

quick = settings(deadline=None, derandomize=True, database=None, max_examples=150)


def assert_reported(text: str) -> None:
    """Either a config or mistakes, each with a place that exists, in the order of the file, on one line."""
    config, found = check_text(text, Path("gateway.yaml"))
    assert (config is None) == bool(found)
    assert found == sorted(found)
    last = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    for problem in found:
        assert problem.message
        assert 0 <= problem.line <= last
        # Only what is wrong with the whole file has no place in it.
        whole = problem.message.startswith("is not ") or problem.message == "is nested too deeply"
        assert problem.line or whole
        assert problem.path or whole or problem.message.endswith("is missing")
        assert problem.render("f").isprintable()


@quick
@given(st.text(st.characters(exclude_categories=())))
@example("\ufeffa: \ud800")
@example("? !!str {=: x}\n: 1")
def test_no_text_makes_it_raise(text: str) -> None:
    assert_reported(text)


_PIECES = (
    "null", "~", "true", "0", "-1", "1.5", ".nan", ".inf", "1e9", "9" * 30, "''", "x", "[]", "{}", "[1, [2]]", "{a: 1}",
    "!!set {a}", "!!binary aGk=", "!!timestamp x", "!!bool x", "!!int x", "!!float x", "!!str {=: x}", "!x y", "*a",
    "&a", "&a [*a]", "<<: {a: 1}", "? [a]", "2020-01-01", "os.environ/NO_SUCH", "auto_route", "[0, 100]", ": ", "- ",
    "\n", "\n  ", "#", "'", '"', "\\ud800", "\t", "---", "...", "%YAML 9.9", "|\n", ">", "\u2028", "1: 2", "null: 3",
)  # fmt: skip


def mutated(text: str, seed: int, edits: int) -> str:
    """`text` with words replaced, and lines cut, doubled, joined or moved."""
    rng = random.Random(seed)
    lines = text.splitlines()
    changes: list[Callable[[int], None]] = [
        lambda at: lines.pop(at) and None,
        lambda at: lines.insert(at, lines[rng.randrange(len(lines))]),
        lambda at: lines.__setitem__(at, " " * rng.randrange(6) + lines[at].strip()),
        lambda at: lines.__setitem__(at, lines[at][: rng.randrange(len(lines[at]) + 1)]),
        lambda at: lines.__setitem__(at, _with_piece(lines[at], rng)),
        lambda at: lines.__setitem__(at, _with_piece(lines[at], rng)),
        lambda at: lines.__setitem__(at, _with_piece(lines[at], rng)),
    ]
    for _ in range(edits):
        if lines:
            rng.choice(changes)(rng.randrange(len(lines)))
    return "\n".join(lines)


def _with_piece(line: str, rng: random.Random) -> str:
    piece = rng.choice(_PIECES)
    key, colon, _ = line.partition(": ")
    if colon and rng.random() < 0.7:
        return f"{key}: {piece}"
    at = rng.randrange(len(line) + 1)
    return line[:at] + piece + line[at:]


@quick
@given(st.sampled_from([REFERENCE, SMALL]), st.integers(0, 2**32), st.integers(1, 4))
def test_no_change_to_a_good_file_makes_it_raise(text: str, seed: int, edits: int) -> None:
    assert_reported(mutated(text, seed, edits))


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["auto_route", "m"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(inner for key, item in items for inner in _places(item, (*place, key)))]


_DATA = yaml.safe_load(REFERENCE)


@quick
@given(st.lists(st.tuples(st.sampled_from(_places(_DATA)[1:]), _values), min_size=1, max_size=3))
def test_no_value_in_any_place_makes_it_raise(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    data = yaml.safe_load(REFERENCE)
    for place, value in changes:
        _put(data, place, value)
    assert_reported(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def _put(data: Any, place: tuple[Any, ...], value: Any) -> None:
    try:
        for step in place[:-1]:
            data = data[step]
        data[place[-1]] = value
    except (IndexError, KeyError, TypeError):
        return  # an earlier change took the place away
