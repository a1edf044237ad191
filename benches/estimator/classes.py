"""The classes of characters that the estimator tells apart: at most 128, the letters of words first.

Ranges are spelled out. Where a script has thousands of characters (Han, Hangul), o200k_base itself says which are
common: the earlier a character became a token, the more often it was seen.
"""

from __future__ import annotations

BMP = 0x10000
"""Code points from here on have one of the last two classes."""
EMOJI_RANGE = (0x1F000, 0x1FBFF)
EMOJI, OTHER = 126, 127
"""Emoji beyond the basic multilingual plane; and what has no class of its own, in it and beyond."""

Ranges = list[tuple[int, int]]

_LETTERS: list[str | Ranges] = [
    *"abcdefghijklmnopqrstuvwxyz",
    "AIOUY", "E", "NLC", "RST", "DMP", "BFGHJKQVWXZ",
    "àâèêëîïôûùçœæÿÀÂÈÊËÎÏÔÛÙÇŒÆ", "é", "äöüßÄÖÜåøÅØÆ", "áíóúñÁÉÍÓÚÑ¿¡", "ãõìòÃÕÌÒ", "ąęłńśźżćĄĘŁŃŚŹŻĆ",
    "čšžřěůďťňľĺŕýðČŠŽŘĚŮĎŤŇÝÐđĐ", "ışğİŞĞ", "ăâșțţşȘȚőűŐŰ",
    [(0xAA, 0xAA), (0xB5, 0xB5), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x2AF)],
    [(0x1E00, 0x1EFF)],
    "αειοσςτν", [(0x370, 0x3FF), (0x1F00, 0x1FFF)],
    "аяуюы", "ое", "иіїйє", "нт", "рсл", "вкм", "дпг", "бзжхцчшщ", "ьъэґ", [(0x400, 0x42F)], [(0x430, 0x52F)],
    [(0x530, 0x58F), (0x10A0, 0x10FF), (0x1C80, 0x1CBF)],
    "יוהא", [(0x591, 0x5F4)],
    "اليوم", "نرتبدسعهة", "یکگپچژ", [(0x610, 0x61A), (0x64B, 0x65F), (0x670, 0x670)],
    [(0x620, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF)],
    [(0x904, 0x939), (0x958, 0x963)], [(0x900, 0x903), (0x93A, 0x957)], [(0x980, 0x9FF)], [(0xA00, 0xDFF)],
    [(0xE01, 0xE30)], [(0xE31, 0xE4E)], [(0xE80, 0xEFF), (0xF00, 0xFFF), (0x1000, 0x109F), (0x1780, 0x17FF)],
    [(0x300, 0x36F)],
]  # fmt: skip
_OTHERS: list[str | Ranges] = [
    [(0x30, 0x39)], " ", "\t", "\n\r",
    *".,'\"-_/\\:;()=`#*<>|+", "[{", "]}", "&@$%!?~^",
    [(0x00, 0x08), (0x0B, 0x0C), (0x0E, 0x1F), (0x7F, 0x9F)],
    [(0xA0, 0xA9), (0xAB, 0xB4), (0xB6, 0xB9), (0xBB, 0xBF), (0xD7, 0xD7), (0xF7, 0xF7)],
    "–—‘’“”…«»•", [(0x2000, 0x206F)], "─━│┃═║├└█", [(0x2070, 0x2DFF), (0xFE00, 0xFE0F)],
    "のにはをがでとたしいる", [(0x3041, 0x309F)], [(0x30A0, 0x30FF), (0xFF66, 0xFF9F)],
    "，。、", [(0x3000, 0x303F), (0xFF00, 0xFF65)],
]  # fmt: skip
# Script, and the ranks in o200k_base that part it into classes; the last two classes are of what is two tokens by
# itself, or three.
_RANKED: list[tuple[Ranges, tuple[int, ...]]] = [
    ([(0x4E00, 0x9FFF)], (6_000, 20_000, 60_000)),
    ([(0xAC00, 0xD7AF)], (20_000, 60_000)),
]
LETTERS = len(_LETTERS)
"""Classes below this one are letters: the place in a run of them counts."""


def class_map(ranks: dict[bytes, int]) -> bytes:
    """The class of each code point below `BMP`; `ranks` are o200k_base's."""
    classes = bytearray([255]) * BMP
    entries = [*_LETTERS, *_OTHERS]
    for number, entry in enumerate(entries):
        for low, high in [(ord(char), ord(char)) for char in entry] if isinstance(entry, str) else entry:
            for code in range(low, high + 1):
                if classes[code] == 255:  # single characters stand before the range that they are in
                    classes[code] = number
    number = len(entries)
    for ranges, bounds in _RANKED:
        for low, high in ranges:
            for code in range(low, high + 1):
                classes[code] = number + _rarity(chr(code).encode(), ranks, bounds)
        number += len(bounds) + 2
    if number > EMOJI:
        raise ValueError(f"{number} classes are too many")
    return bytes(classes).replace(b"\xff", bytes([OTHER]))


def _rarity(char: bytes, ranks: dict[bytes, int], bounds: tuple[int, ...]) -> int:
    if char in ranks:
        return sum(ranks[char] >= bound for bound in bounds)
    return len(bounds) if char[:2] in ranks or char[1:] in ranks else len(bounds) + 1  # two tokens or three
