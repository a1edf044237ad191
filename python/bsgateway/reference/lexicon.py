"""Keyword sets, matched on whole words, case-folded, in any script.

A keyword ending in `*` matches any word that begins so (`refactor*`: refactoring). The space inside a keyword matches
any one white-space character. In scripts without spaces a keyword matches anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from .chars import clean, fold, is_word, quote

MAX_KEYWORD = 128
"""Longest keyword, in characters."""


def check_keyword(keyword: str) -> str | None:
    """What is wrong with `keyword`, or None."""
    stem = fold(clean(keyword)).removesuffix("*")
    if not stem.strip(" "):
        return "empty keyword"
    if stem != stem.strip(" "):
        return "keyword begins or ends with a space"
    if len(stem) > MAX_KEYWORD:
        return f"keyword longer than {MAX_KEYWORD} characters"
    return None


class Lexicon:
    """A set of keywords. Raises ValueError naming the first bad one. Duplicates after folding count once."""

    def __init__(self, keywords: Sequence[str]) -> None:
        stems: dict[str, bool] = {}
        for keyword in keywords:
            if problem := check_keyword(keyword):
                raise ValueError(f"keyword {quote(keyword)}: {problem}")
            folded = fold(clean(keyword))
            stem = folded.removesuffix("*")
            # `design` and `design*` in one list are one keyword, the wider one.
            stems[stem] = stems.get(stem, False) or stem != folded
        self._stems = tuple(stems.items())

    def count(self, folded: str) -> int:
        """How many different keywords occur in `folded`, a text that `chars.fold` made."""
        return sum(_occurs(folded, stem, prefix) for stem, prefix in self._stems)


def _occurs(text: str, stem: str, prefix: bool) -> bool:
    at = text.find(stem)
    while at >= 0:
        end = at + len(stem)
        starts = at == 0 or not (is_word(text[at - 1]) and is_word(stem[0]))
        ends = prefix or end == len(text) or not (is_word(stem[-1]) and is_word(text[end]))
        if starts and ends:
            return True
        at = text.find(stem, at + 1)
    return False
