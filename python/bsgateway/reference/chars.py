"""Character rules shared by every measurement: cleaning, folding, word characters, white space.

The ranges are spelled out so that Rust and every Python version agree; see the package docstring.
"""

from __future__ import annotations

import json

WHITE = " \t\r\n"
"""White space for trimming and splitting. Other Unicode spaces count only in `fold`."""

_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")

# Folded to one plain space, so that a keyword of several words matches across line ends and exotic spaces.
_SPACES = (*range(0x09, 0x0E), 0x85, 0xA0, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)

# Blocks whose case pairs are complete and frozen: Latin, Greek, Cyrillic, Armenian, their extensions, full-width Latin.
_CASED = (*range(0x41, 0x5B), *range(0xC0, 0x590), *range(0x1E00, 0x2000), *range(0xFF21, 0xFF3B))

# Inclusive ranges of punctuation and symbols above ASCII: they end a word.
SEPARATORS = (
    (0x80, 0xA9), (0xAB, 0xB4), (0xB6, 0xB9), (0xBB, 0xBF), (0xD7, 0xD7), (0xF7, 0xF7), (0x2000, 0x2BFF),
    (0x2E00, 0x2E7F), (0x3000, 0x303F), (0xE000, 0xF8FF), (0xFE10, 0xFE6F), (0xFF00, 0xFF0F), (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40), (0xFF5B, 0xFF65), (0xFFE0, 0xFFFF), (0x1F000, 0x1FAFF),
)  # fmt: skip

# Inclusive ranges of scripts written without spaces (Thai, Lao, Myanmar, Khmer, kana, Han) or with particles glued on
# (Hangul): a keyword may begin or end anywhere in them.
UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3040, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x3FFFF),
)  # fmt: skip


def _fold_table() -> dict[int, str]:
    table = {cp: chr(cp).lower() for cp in _CASED if len(chr(cp).lower()) == 1 and chr(cp).lower() != chr(cp)}
    table.update(dict.fromkeys(_SPACES, " "))
    table[0x0130] = "i"  # İ lower-cases to two characters; offsets stay simple with one
    table[0x03C2] = "σ"  # final sigma
    return table


_FOLD = _fold_table()


def clean(text: str) -> str:
    """`text` with every lone surrogate replaced by U+FFFD, one for one, so that it has a UTF-8 form."""
    return text.translate(_SURROGATES) if not text.isascii() else text


def quote(text: str) -> str:
    """`text` as error messages show it: a JSON string."""
    return json.dumps(clean(text), ensure_ascii=False)


def fold(text: str) -> str:
    """Lower-case `text` one character for one character, and make every kind of space a plain one."""
    return text.translate(_FOLD)


def is_word(char: str) -> bool:
    """Whether `char` is part of a word in a script that puts spaces between words."""
    cp = ord(char)
    if cp < 0x80:
        return char.isalnum() or char == "_"
    return not _within(cp, SEPARATORS) and not _within(cp, UNSPACED)


def is_unspaced(char: str) -> bool:
    """Whether `char` belongs to a script that is written without spaces."""
    return char >= "\u0e00" and _within(ord(char), UNSPACED)


def byte_length(text: str) -> int:
    """Bytes of `text` in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _within(cp: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= cp <= high for low, high in ranges)
