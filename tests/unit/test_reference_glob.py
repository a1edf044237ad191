"""Patterns of the twin, by hand; that they are fnmatch's is also a parity test."""

from __future__ import annotations

from typing import Any

import pytest

from bsgateway import reference
from bsgateway.core import core
from bsgateway.reference.glob import MAX_PATTERN, check_pattern


@pytest.fixture(params=[reference, core], ids=["twin", "in use"])
def glob_set(request: pytest.FixtureRequest) -> Any:
    """The class under test: the twin's, and that of the core in use."""
    return request.param.GlobSet


MATCHES: dict[str, tuple[list[str], list[str]]] = {
    # pattern: what it matches, what it does not
    "gpt-5": (["gpt-5"], ["", "gpt-", "gpt-50", "GPT-5", " gpt-5", "gpt-5\n"]),
    "claude-*": (["claude-", "claude-3", "claude-\n", "claude-a/b"], ["claude", "Claude-3", "a claude-3"]),
    "*": (["", "x", "a\nb", "/", "\x00"], []),
    "**": (["", "x"], []),
    "*-mini": (["-mini", "gpt-5-mini"], ["mini", "gpt-5-mini-2"]),
    "a*b*c": (["abc", "aXbYc", "abbcc"], ["ac", "acb", "abcd"]),
    "gpt-?": (["gpt-5", "gpt--", "gpt-é", "gpt-\n"], ["gpt-", "gpt-55"]),
    "??": (["ab", "中文"], ["a", "abc"]),
    "[abc]": (["a", "b", "c"], ["", "d", "ab", "A", "[abc]"]),
    "[a-c]x": (["ax", "bx", "cx"], ["dx", "-x", "x"]),
    "[!a-c]": (["d", "-", "!", "\n"], ["a", "b", "c", ""]),
    "[^a]": (["^", "a"], ["b"]),  # not a regular expression
    "[]]": (["]"], ["[]", ""]),
    "[!]]": (["a"], ["]"]),
    "[]a]": (["]", "a"], ["b"]),
    "[a-]": (["a", "-"], ["b"]),
    "[-a]": (["a", "-"], ["b"]),
    "[--0]": (["-", ".", "/", "0"], ["1", ","]),
    "[a-c-e]": (["a", "b", "c", "-", "e"], ["d"]),
    "[*?]": (["*", "?"], ["a", ""]),
    "a.b": (["a.b"], ["axb"]),
    "a+(b)|c$^{2}\\d": (["a+(b)|c$^{2}\\d"], ["a+(b)|c$^{2}5"]),
    "a]b": (["a]b"], ["ab"]),
    "[é中]*": (["é", "中x"], ["e"]),
    "vendor/*/[0-9]?": (["vendor/a/1x", "vendor//9-", "vendor/a/b/0."], ["vendor/a/1", "vendor/a/x1"]),
}


@pytest.mark.parametrize("pattern", MATCHES)
def test_patterns(glob_set: Any, pattern: str) -> None:
    matched, missed = MATCHES[pattern]
    one = glob_set([pattern])
    assert [name for name in matched if one.first_match(name) != 0] == []
    assert [name for name in missed if one.first_match(name) is not None] == []


def test_the_first_of_a_set_wins(glob_set: Any) -> None:
    patterns = glob_set(["x*", "*y", "xy", "*"])
    assert [patterns.first_match(name) for name in ("xy", "ay", "q", "")] == [0, 1, 3, 3]
    assert len(patterns) == 4


def test_an_empty_set(glob_set: Any) -> None:
    assert len(glob_set([])) == 0
    assert glob_set([]).first_match("") is None
    assert glob_set(()).first_match("x") is None


def test_lone_surrogates_are_one_character(glob_set: Any) -> None:
    assert glob_set(["a?"]).first_match("a\ud800") == 0
    assert glob_set(["a\ud800"]).first_match("a\udfff") == 0  # both are U+FFFD
    assert glob_set(["a?"]).first_match("a\ud83d\ude00") is None


def test_a_hostile_pattern_is_matched_in_time(glob_set: Any) -> None:
    patterns = glob_set(["*a" * 100 + "b"])
    assert patterns.first_match("a" * 20_000) is None
    assert patterns.first_match("a" * 20_000 + "b") == 0


BAD = {
    "": "empty pattern",
    "x" * (MAX_PATTERN + 1): "pattern longer than 256 characters",
    "[": "'[' at position 1 is never closed",
    "a[b": "'[' at position 2 is never closed",
    "[]": "'[' at position 1 is never closed",
    "[!]": "'[' at position 1 is never closed",
    "[a][b": "'[' at position 4 is never closed",
    "[b-a]": "range 'b-a' runs backwards",
    "x[!9-0]": "range '9-0' runs backwards",
    "[a-bd-c]": "range 'd-c' runs backwards",
}


@pytest.mark.parametrize("pattern", BAD)
def test_bad_patterns(glob_set: Any, pattern: str) -> None:
    assert check_pattern(pattern) == BAD[pattern]
    with pytest.raises(ValueError, match=r"^pattern ") as caught:
        glob_set(["ok", pattern])
    assert str(caught.value).endswith(f": {BAD[pattern]}")


@pytest.mark.parametrize("pattern", ["x" * MAX_PATTERN, "]", "a]", "[[]", "[a-a]", "-", "[!!]"])
def test_patterns_that_only_look_bad(glob_set: Any, pattern: str) -> None:
    assert check_pattern(pattern) is None
    assert len(glob_set([pattern])) == 1
