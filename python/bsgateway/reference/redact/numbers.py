"""Numbers that stand for a person or a machine: payment cards, bank accounts, telephones, addresses of the internet."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .internet import address4
from .rules import ALNUM, CARD, DIGITS, HINTS, IBAN, IBANS, PHONE, VERSIONS, Span, Words, at, run

_START = re.compile("[0-9+(]")
_NUMBER = re.compile("[0-9]+")


def numbers(text: str) -> Iterator[Span]:
    """Bank accounts, IPv4 addresses, cards and telephone numbers, in this order where two begin at one place."""
    hints, versions = Words(text, HINTS), Words(text, VERSIONS)
    floor = chain = 0  # where the last span and the last chain of numbers end
    found = _START.search(text)
    while found:
        start = found.start()
        end = run(text, start, DIGITS) if text[start] in DIGITS else start + 1
        span = (
            _iban(text, start, end, floor)
            or address4(text, start, versions)
            or _card(text, start)
            or _phone(text, start, hints, start >= chain)
        )
        if start >= chain:
            chain = _chain_end(text, start)
        if span:
            yield span
            floor = end = span.end
            chain = max(chain, end)
        found = _START.search(text, end)


def _chain_end(text: str, start: int) -> int:
    """Where the digits that begin at `start` end, single signs between them included."""
    end = start
    while at(text, end) in DIGITS or (at(text, end) in " -./()+" and at(text, end + 1) in DIGITS):
        end += 1
    return end


def _iban(text: str, start: int, end: int, floor: int) -> Span | None:
    """Two letters and two digits, of which `start` is the first, then as many as the country has, plain or in fours."""
    country = text[start - 2 : start] if start - 2 >= floor else ""
    country = country.upper() if country.isascii() else ""
    length = IBANS.get(country, 0)
    if not length or end - start < 2 or at(text, start - 3) in ALNUM + "_":
        return None
    chars, place = text[start - 2 : start + 2], start + 2
    while len(chars) < length:
        if len(chars) % 4 == 0 and at(text, place) in " -":
            place += 1
        if at(text, place) not in ALNUM:
            return None
        chars += text[place]
        place += 1
    if at(text, place) in ALNUM + "_" or not _mod97(chars.upper()):
        return None
    return Span(start - 2, place, IBAN)


def _mod97(chars: str) -> bool:
    """ISO 7064 MOD 97-10, letters as 10 to 35."""
    rest = 0
    for char in chars[4:] + chars[:4]:
        value = int(char, 36)
        rest = (rest * (100 if value > 9 else 10) + value) % 97
    return rest == 1


_LAYOUTS: tuple[tuple[int, ...], ...] = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (8, 8), (6, 10), (6, 13))


def _card(text: str, start: int) -> Span | None:
    """A card number, plain or grouped as on cards, with a known beginning and a sound check digit."""
    before = at(text, start - 1)
    if before in ALNUM + "_." or (before == "-" and at(text, start - 2) in ALNUM) or text[start] not in "23456":
        return None
    first = run(text, start, DIGITS, 20) - start
    separator = at(text, start + first)
    if first in (4, 6, 8) and separator in " -":
        layouts = [layout for layout in _LAYOUTS if layout[0] == first]
    elif 14 <= first <= 19:
        layouts, separator = [(first,)], ""
    else:
        return None
    for layout in layouts:
        digits, end = "", start
        for group in layout:
            if digits and at(text, end) == separator:
                end += 1
            elif digits:
                break
            stop = run(text, end, DIGITS, group + 1)
            if stop - end != group:
                break
            digits, end = digits + text[end:stop], stop
        else:
            after, then = at(text, end), at(text, end + 1)
            if after in ALNUM + "_" or (after in "-." and then in ALNUM) or not _is_card(digits):
                continue
            return Span(start, end, CARD)
    return None


def _is_card(digits: str) -> bool:
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    length, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    brand = (
        (digits[0] == "4" and length in (16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and length == 16)
        or (two in (34, 37) and length == 15)
        or ((four == 6011 or 644 <= three <= 649 or two == 65) and length in (16, 19))
        or ((300 <= three <= 305 or two in (36, 38, 39)) and length == 14)
        or (3528 <= four <= 3589 and length == 16)
        or (two == 62 and length in (16, 19))
        or (2200 <= four <= 2204 and length == 16)
        or (four in (5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763) and length in (16, 19))
    )
    return brand and total % 10 == 0


_NEAR = 32


def _phone(text: str, start: int, hints: Words, is_first: bool) -> Span | None:
    """An international number; a North American one; any other that a word such as `phone` stands before."""
    before = at(text, start - 1)
    if before in ALNUM + "_.+=$#" or (before in "-/" and at(text, start - 2) in ALNUM):
        return None
    end, digits, signs = _phone_end(text, start)
    after = at(text, end)
    if end == start or after in ALNUM + "_" or (after in "-.:/" and at(text, end + 1) in ALNUM):
        return None
    if text[start] == "+":
        sound = digits[0] != "0" and (8 <= len(digits) <= 15) and (bool(signs) or len(digits) >= 10)
    else:
        sound = _is_american(text[start:end], digits) or (
            7 <= len(digits) <= 15 and is_first and hints.stands_before(start, _NEAR)
        )
    return Span(start, end, PHONE) if sound else None


def _phone_end(text: str, start: int) -> tuple[int, str, str]:
    """End, digits and signs of the number that may begin at `start`, at most 40 characters of it."""
    place = start + (text[start] == "+")
    end, digits, signs, depth = start, "", "", 0
    while place < start + 40:
        char = at(text, place)
        if char in DIGITS:
            digits += char
            if not depth:
                end = place + 1
        elif char == "(" and not depth and at(text, place + 1) in DIGITS + "+":
            depth, signs = 1, signs + char
        elif char == ")" and depth:
            depth = 0
            end = place + 1
        elif char in " -./" and at(text, place - 1) in DIGITS + ")" and at(text, place + 1) in DIGITS + "(":
            signs += char
        else:
            break
        place += 1
    return (end, digits, signs) if digits and at(text, end - 1) in DIGITS else (start, "", "")


_AMERICAN = re.compile(r"(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-.])[2-9][0-9]{2}[-. ][0-9]{4}", re.ASCII)


def _is_american(found: str, digits: str) -> bool:
    """`(415) 555-2671`, `415-555-2671`, `1-415-555-2671`: brackets or the same sign twice."""
    if not _AMERICAN.fullmatch(found):
        return False
    return "(" in found or found[-5] == found[-9]
