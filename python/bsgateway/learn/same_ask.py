"""When two asks are the same: whatever their case and white space."""

from __future__ import annotations

import hashlib

from ..reference.chars import clean

NO_PROMPT = 0
"""The hash of an ask that is not known."""


def same_words(ask: str) -> str:
    """An ask without what does not count when two are compared: case and white space."""
    return " ".join(clean(ask).split()).casefold()


def ask_hash(text: str) -> int:
    """63 bits of an ask, the same whatever its case and white space; `NO_PROMPT` for one without a visible word."""
    words = same_words(text)
    return hash63(words) if words else NO_PROMPT


def hash63(text: str) -> int:
    """63 bits of a text, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little") >> 1
