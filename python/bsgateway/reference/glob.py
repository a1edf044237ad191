"""fnmatch patterns over model names, a whole set matched at once.

`*` any run of characters, `?` one character, `[seq]` one of, `[!seq]` none of; case-sensitive, whole name. A `]` right
after `[` or `[!` is literal, `a-z` is a range. Stricter than `fnmatch` only in what it refuses: see `check_pattern`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

from .chars import clean, quote

MAX_PATTERN = 256
"""Longest pattern, in characters."""


def check_pattern(pattern: str) -> str | None:
    """What is wrong with `pattern`, or None: empty, too long, an unclosed `[`, a range that runs backwards."""
    if not pattern:
        return "empty pattern"
    if len(pattern) > MAX_PATTERN:
        return f"pattern longer than {MAX_PATTERN} characters"
    i = 0
    while (i := pattern.find("[", i)) >= 0:
        start = i + 1 + pattern.startswith("!", i + 1)
        end = pattern.find("]", start + 1)
        if end < 0:
            return f"'[' at position {i + 1} is never closed"
        low = start
        while low < end:
            if low + 2 < end and pattern[low + 1] == "-":
                if pattern[low] > pattern[low + 2]:
                    return f"range '{pattern[low : low + 3]}' runs backwards"
                low += 3
            else:
                low += 1
        i = end + 1
    return None


class GlobSet:
    """An ordered set of patterns. Raises ValueError naming the first bad pattern."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._compiled = []
        for pattern in map(clean, patterns):
            if problem := check_pattern(pattern):
                raise ValueError(f"pattern {quote(pattern)}: {problem}")
            self._compiled.append(re.compile(translate(pattern)))

    def first_match(self, name: str) -> int | None:
        """Index of the first pattern, in the order given, that matches the whole of `name`; None if none does."""
        name = clean(name)
        return next((i for i, regex in enumerate(self._compiled) if regex.match(name)), None)

    def __len__(self) -> int:
        return len(self._compiled)
