"""`GlobSet` against the twin and against `fnmatch` itself."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway import _core, reference
from bsgateway.reference.chars import clean
from bsgateway.reference.glob import check_pattern

from .strategies import examples

_alphabet = st.sampled_from("aab-b*?[]!^\\.&|~é中/\n")
_classes = st.builds("[{}{}]".format, st.sampled_from(["", "!", "]", "!]", "^"]), st.text("abc-]^\\&é[", max_size=5))
_patterns = st.builds("".join, st.lists(st.one_of(_alphabet, _classes, st.just("*")), min_size=1, max_size=8))
_any_text = st.text(st.characters(exclude_categories=()), max_size=10)
_names = st.text(st.one_of(st.sampled_from("aabc-^!]&é[\\./\n"), st.characters(exclude_categories=())), max_size=8)
_good = _patterns.filter(lambda pattern: check_pattern(pattern) is None)


@examples
@given(st.lists(_good, max_size=5), st.lists(_names, min_size=1, max_size=5))
def test_good_patterns(patterns: list[str], names: list[str]) -> None:
    native, twin = _core.GlobSet(patterns), reference.GlobSet(patterns)
    assert len(native) == len(twin) == len(patterns)
    for name in names:
        expected = next((i for i, pattern in enumerate(patterns) if fnmatchcase(clean(name), pattern)), None)
        assert native.first_match(name) == twin.first_match(name) == expected


def outcome(glob_set: type, patterns: list[str], name: str) -> tuple[str, object]:
    """What a set of `patterns` says of `name`, or why there is no such set."""
    try:
        return "matched", glob_set(patterns).first_match(name)
    except ValueError as error:
        return "refused", str(error)


@examples
@given(st.lists(st.one_of(_patterns, _any_text), max_size=3), _names)
def test_any_patterns(patterns: list[str], name: str) -> None:
    assert outcome(_core.GlobSet, patterns, name) == outcome(reference.GlobSet, patterns, name)


@pytest.mark.parametrize("pattern", ["", "x" * 257, "[", "a[", "[]", "[!]", "[z-a]", "[!b-a]", "[a][b", "[--!]"])
def test_bad_patterns_are_refused_in_the_same_words(pattern: str) -> None:
    native = outcome(_core.GlobSet, ["ok", pattern], "")
    assert native == outcome(reference.GlobSet, ["ok", pattern], "")
    assert native[0] == "refused"


def test_large_sets_and_names() -> None:
    patterns = [f"vendor-{i}/*-[0-9][0-9]?" for i in range(1000)]
    native, twin = _core.GlobSet(patterns), reference.GlobSet(patterns)
    for name in ("vendor-999/model-12x", "vendor-0/", "*" * 10_000, "vendor-7/" + "a" * 100_000 + "-99z"):
        assert native.first_match(name) == twin.first_match(name)
