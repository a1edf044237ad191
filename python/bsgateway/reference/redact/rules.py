"""What the redactor knows by name: `bsgateway/data/redaction.rules`, which the Rust core reads, too."""

from __future__ import annotations

import re
import string
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from importlib.resources import files
from typing import NamedTuple

REDACTION_PLACEHOLDERS = (
    "[PRIVATE_KEY]", "[API_KEY]", "[TOKEN]", "[PASSWORD]", "[EMAIL]", "[CARD]", "[IBAN]", "[PHONE]", "[IP]", "[CUT]",
)  # fmt: skip
"""All that `redact` puts into a text."""

PRIVATE_KEY, API_KEY, TOKEN, PASSWORD, EMAIL, CARD, IBAN, PHONE, IP, CUT = REDACTION_PLACEHOLDERS

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
LETTERS = LOWER + UPPER
ALNUM = LETTERS + DIGITS
WORD = ALNUM + "_-"
ALPHABETS = {
    "alnum": ALNUM,
    "upper": UPPER + DIGITS,
    "lowerhex": DIGITS + "abcdef",
    "word": WORD,
    "dotted": WORD + ".",
    "path": WORD + "/",
    "base64": WORD + "+/=",
}


class Span(NamedTuple):
    """A part of a text that gives way to a placeholder."""

    start: int
    end: int
    placeholder: str


class Key(NamedTuple):
    """A kind of key that shows itself by how it begins."""

    placeholder: str
    prefix: str
    alphabet: str
    least: int
    most: int
    look: str


class Name(NamedTuple):
    """How the name of something secret ends. `apart`: a word of its own must begin there."""

    placeholder: str
    random: bool
    word: str
    apart: bool


def _rules(kind: str) -> Iterator[list[str]]:
    for line in _LINES:
        if line.startswith(f"{kind} "):
            yield line.split(" ")[1:]


def _words(kind: str) -> frozenset[str]:
    return frozenset(" ".join(words) for words in _rules(kind))


_LINES = (files("bsgateway") / "data" / "redaction.rules").read_text(encoding="utf-8").splitlines()

KEYS = tuple(
    Key(f"[{kind}]", prefix, ALPHABETS[alphabet], int(least), int(most), look)
    for kind, prefix, alphabet, least, most, look in _rules("key")
)
NAMES = tuple(
    Name(f"[{kind}]", rule == "random", word.removesuffix("+"), word.endswith("+"))
    for kind, rule, word in _rules("name")
)
ENDINGS = _words("ending")
STOPS = _words("stop")
HINTS = _words("hint")
VERSIONS = _words("version")
IBANS = {country: int(length) for country, length in _rules("iban")}


def at(text: str, index: int) -> str:
    """The character at `index`, NUL outside of the text."""
    return text[index] if 0 <= index < len(text) else "\0"


def run(text: str, start: int, chars: str, most: int | None = None) -> int:
    """Where the characters out of `chars` that begin at `start` end, at most `most` of them."""
    end = start
    last = len(text) if most is None else min(len(text), start + most)
    while end < last and text[end] in chars:
        end += 1
    return end


def is_free(text: str, start: int) -> bool:
    """Whether something may begin at `start`: no letter or digit stands before it, but for `\\n` and `%3D`."""
    before = at(text, start - 1)
    if before not in ALNUM:
        return True
    escaped = before in "nrt" and at(text, start - 2) == "\\"
    return escaped or (before in "0123456789ABCDEF" and at(text, start - 3) == "%")


_LOWERED = str.maketrans(UPPER, LOWER)


def lowered(text: str) -> str:
    """`text` with the capitals of ASCII made small, and no others."""
    return text.translate(_LOWERED)


def classes(text: str) -> tuple[bool, bool, bool]:
    """Whether small letters, capitals and digits of ASCII are in `text`."""
    return (
        any(char in LOWER for char in text),
        any(char in UPPER for char in text),
        any(char in DIGITS for char in text),
    )


def has_placeholder(text: str) -> bool:
    """Whether something in `text` was replaced already."""
    return "[" in text and any(placeholder in text for placeholder in REDACTION_PLACEHOLDERS)


def starts_placeholder(text: str, start: int) -> bool:
    """Whether a placeholder begins at `start`."""
    return at(text, start) == "[" and text.startswith(REDACTION_PLACEHOLDERS, start)


class Words:
    """Where certain words end, as whole words without regard to case."""

    def __init__(self, text: str, words: frozenset[str]) -> None:
        pattern = "|".join(sorted(map(_any_case, words), key=len, reverse=True))
        self._text = text
        self._pattern = pattern

    @cached_property
    def _ends(self) -> list[int]:
        return [
            found.end()
            for found in re.finditer(self._pattern, self._text)
            if at(self._text, found.start() - 1) not in LETTERS and at(self._text, found.end()) not in LETTERS
        ]

    def stands_before(self, start: int, most: int) -> bool:
        """Whether one ends at most `most` characters of ASCII before `start`, with no digit and no line end between."""
        place = bisect_right(self._ends, start)
        if not place or start - self._ends[place - 1] > most:
            return False
        between = self._text[self._ends[place - 1] : start]
        return all(char < "\x80" and char not in DIGITS + "\n" for char in between)


def _any_case(word: str) -> str:
    return "".join(f"[{char}{char.upper()}]" if char.islower() else re.escape(char) for char in word)
