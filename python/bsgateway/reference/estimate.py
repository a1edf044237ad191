"""Approximate token counts, in one pass over the characters.

The estimate is the sum of one weight for each character. The weight depends on the character's class, on the class of
the one before it, and on how long a run of letters that one ends. Classes and weights are a file that
`benches/estimator` fits to the exact counts of many kinds of text, and measures on others.
"""

from __future__ import annotations

from array import array
from functools import cache
from pathlib import Path
from sys import byteorder

# What the file holds: the class of each code point of the basic multilingual plane, the number of the classes that are
# letters, a zero, then for each encoding the weights as little-endian 16-bit numbers.
_TABLE = Path(__file__).parents[1] / "data" / "estimator.bin"
_ENCODINGS = ("o200k_base", "cl100k_base")
_BMP = 0x10000
_CLASSES = 128
_PLACES = 4  # in a run of letters: after 0 or 1, 2 or 3, 4 or 5, 6 or more of them
_UNIT = 4096  # weights are whole numbers of this part of a token
_EMOJI, _OTHER = 126, 127  # the two classes beyond the basic multilingual plane


@cache
def _table() -> tuple[bytes, int, dict[str, array[int]]]:
    """The class of each code point, how many classes are letters, and the weights by encoding."""
    table = _TABLE.read_bytes()
    weights = array("H", table[_BMP + 2 :])
    if byteorder == "big":
        weights.byteswap()
    size = _PLACES * _CLASSES * _CLASSES
    parts = (weights[number * size : (number + 1) * size] for number in range(len(_ENCODINGS)))
    return table[:_BMP], table[_BMP], dict(zip(_ENCODINGS, parts, strict=True))


def estimate(text: str, encoding: str) -> int:
    """Approximate number of tokens in `text`: 0 for an empty one, for any other 1 to the number of its bytes."""
    classes, letters, by_encoding = _table()
    weights = by_encoding[encoding]
    total, before, run = 0, classes[ord("\n")], 0
    for point in map(ord, text):
        own = classes[point] if point < _BMP else _EMOJI if 0x1F000 <= point <= 0x1FBFF else _OTHER
        total += weights[(run // 2 * _CLASSES + before) * _CLASSES + own]
        run = min(run + 1, 2 * _PLACES - 1) if own < letters else 0
        before = own
    return min(max((total + _UNIT // 2) // _UNIT, int(text != "")), len(text.encode()))
