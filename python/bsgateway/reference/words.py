"""The words of an ask: hashed for the learned model, and counted for the feature vector, in one pass.

A term is a run of word characters, one character of a script without spaces, a run of other visible characters, or a
line end. Case is folded. In the order of the terms a number stands for all of its length: what matters is that there is
one, not which; which one it is counts beside it. Terms and pairs of neighbours fall by their hash into `WORD_BUCKETS`
buckets, each of which counts once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from .chars import fold, is_unspaced, is_word

WORD_BUCKETS = 1 << 17
"""How many buckets there are for terms and pairs of terms."""
WORD_HEAD, WORD_TAIL = 4096, 2048
"""Of a longer ask only so many characters at its beginning and at its end are looked at."""
LONG_WORD = 8
"""Characters from which on a word is a long one."""

_MASK = (1 << 64) - 1
_OFFSET, _PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a, 64 bits
_SPREAD = 0x9E3779B97F4A7C15  # odd, close to 2^64 divided by the golden ratio: spreads what is multiplied by it
_SYMBOLS = frozenset("\\$^=+*/<>{}|")
_QUOTES = frozenset("\"'")
_BRACKETS = frozenset("([")


@dataclass(frozen=True)
class Words:
    """`buckets`: the different ones, in the order in which they are met. The others are counts: of terms, of numbers
    among them, of capitalized words right after a word or a comma, of long words, of characters of each kind, of lines
    that begin as an answer to choose does (`A.`, `(b)`), and of words of each group of `vocabulary()`, in their order.
    """

    buckets: tuple[int, ...]
    terms: int
    numbers: int
    names: int
    long_words: int
    uppercase: int
    symbols: int
    quotes: int
    brackets: int
    options: int
    vocabulary: tuple[int, ...]


@cache
def vocabulary() -> dict[str, frozenset[str]]:
    """The groups of words, by name."""
    text = (files("bsgateway") / "data" / "vocabulary.txt").read_text("utf-8")
    lines = [line.split(":", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: frozenset(words.split()) for name, words in lines}


@cache
def _hashed_vocabulary() -> tuple[frozenset[int], ...]:
    """The hashes of the words of each group: a word is of a group if its hash is."""
    return tuple(frozenset(map(_hash, group)) for group in vocabulary().values())


def words(text: str) -> Words:
    """The words of `text`, which `chars.clean` made."""
    if len(text) > WORD_HEAD + WORD_TAIL:
        text = text[:WORD_HEAD] + "\n" + text[-WORD_TAIL:]
    buckets: dict[int, None] = {}
    groups = _hashed_vocabulary()
    counts = [0] * len(groups)
    terms = numbers = names = long_words = 0
    before, joins = 0, False  # the hash of the term before, and whether a capital after it may begin a name
    for term in _terms(text):
        folded = fold(term) if term != "\n" else term
        is_number = term.isascii() and term.isdigit()
        hashed = _hash(f"#{min(len(term), 4)}" if is_number else folded)
        terms += 1
        numbers += is_number
        word = is_word(term[0]) and not is_number
        if word:
            long_words += len(term) >= LONG_WORD
            names += joins and len(term) > 1 and folded[0] != term[0] and folded[1] == term[1]
            for at, group in enumerate(groups):
                counts[at] += hashed in group
        buckets[_bucket(hashed)] = None
        if is_number:
            buckets[_bucket(_hash(term))] = None
        if terms > 1:
            buckets[_bucket((before * _PRIME & _MASK) ^ hashed)] = None
        before, joins = hashed, word or term == ","
    return Words(
        buckets=tuple(buckets),
        terms=terms,
        numbers=numbers,
        names=names,
        long_words=long_words,
        uppercase=sum(char != fold(char) for char in text if is_word(char)),
        symbols=sum(char in _SYMBOLS for char in text),
        quotes=sum(char in _QUOTES for char in text),
        brackets=sum(char in _BRACKETS for char in text),
        options=sum(map(_is_option, text.split("\n"))),
        vocabulary=tuple(counts),
    )


def _terms(text: str) -> Iterator[str]:
    run, kind = "", ""
    for char in text:
        now = _kind(char)
        if run and (now != kind or kind not in ("word", "other")):
            yield run
            run = ""
        if now == "space":
            run = ""
            kind = now
            continue
        run, kind = run + char, now
    if run:
        yield run


def _kind(char: str) -> str:
    if char == "\n":
        return "line"
    if fold(char) == " ":
        return "space"
    if is_word(char):
        return "word"
    return "single" if is_unspaced(char) else "other"


def _is_option(line: str) -> bool:
    """`A.`, `A)`, `(A)` and the like: one ASCII letter."""
    start = line.lstrip(" \t\r").removeprefix("(")
    return len(start) > 1 and start[0].isascii() and start[0].isalpha() and start[1] in ".)"


def _hash(term: str) -> int:
    hashed = _OFFSET
    for byte in term.encode():
        hashed = ((hashed ^ byte) * _PRIME) & _MASK
    return hashed


def _bucket(hashed: int) -> int:
    return ((hashed ^ (hashed >> 32)) * _SPREAD & _MASK) >> 47
