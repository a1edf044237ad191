"""Which pattern catches a model name: all patterns at once, beside a loop over compiled `fnmatch` patterns."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase, translate
from typing import Any

import pytest

from bsgateway import _core, reference

NAMES = {
    "first": "vendor-0/model-2026-01-01",
    "last": "vendor-{last}/model-2026-01-01",
    "none": "provider/a-name-that-nothing-catches-2026-01-01",
}


def compiled_fnmatch(patterns: list[str]) -> Callable[[str], int | None]:
    """The best that the standard library offers: each pattern compiled once, tried in order."""
    matches = [re.compile(translate(pattern)).match for pattern in patterns]

    def first_match(name: str) -> int | None:
        for index, match in enumerate(matches):
            if match(name):
                return index
        return None

    return first_match


def fnmatch_loop(patterns: list[str]) -> Callable[[str], int | None]:
    """What is written without a second thought."""
    return lambda name: next((i for i, pattern in enumerate(patterns) if fnmatchcase(name, pattern)), None)


CONTENDERS: dict[str, Callable[[list[str]], Callable[[str], int | None]]] = {
    "native": lambda patterns: _core.GlobSet(patterns).first_match,
    "twin": lambda patterns: reference.GlobSet(patterns).first_match,
    "fnmatch, compiled": compiled_fnmatch,
    "fnmatchcase": fnmatch_loop,
}


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("which", NAMES)
@pytest.mark.parametrize("number", [1, 20, 500])
def test_first_match(measure: Any, number: int, which: str, contender: str) -> None:
    patterns = [f"vendor-{index}/*-[0-9][0-9]" for index in range(number)]
    name = NAMES[which].format(last=number - 1)
    first_match = CONTENDERS[contender](patterns)
    expected = next((i for i, pattern in enumerate(patterns) if fnmatchcase(name, pattern)), None)
    assert first_match(name) == expected
    assert (expected is None) == (which == "none")
    words = "1 pattern" if number == 1 else f"{number} patterns"
    measure.named("globs", f"{words}, {which} matches", contender).same(first_match, name)
