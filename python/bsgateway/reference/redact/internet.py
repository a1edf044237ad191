"""Addresses of the internet."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address

from .rules import ALNUM, DIGITS, IP, LETTERS, Span, Words, at, run

_HEX = DIGITS + "abcdefABCDEF"


def addresses6(text: str) -> Iterator[Span]:
    """IPv6 addresses, but for `::` and `::1`.

    A group of three digits at least must be in it, and a hexadecimal letter or four groups: `a[1::2]` and `std::fs` are
    code.
    """
    done = 0
    colon = text.find(":")
    while colon >= 0:
        start = colon
        while start > done and text[start - 1] in _HEX + ".":
            start -= 1
        end = done = run(text, colon, _HEX + ":.")
        while end > start and (text[end - 1] == "." or (text[end - 1] == ":" and at(text, end - 2) != ":")):
            end -= 1
        before, after = at(text, start - 1), at(text, end)
        if end - start <= 45 and before not in ALNUM + "_:" and after not in ALNUM + "_:" and _is_ip6(text[start:end]):
            yield Span(start, end, IP)
        colon = text.find(":", done)


def _is_ip6(found: str) -> bool:
    groups = [group for group in found.split(":") if group]
    if not any(len(group) >= 3 for group in groups):
        return False
    if len(groups) < 4 and not any(char in LETTERS for char in found):
        return False
    if not any(char in DIGITS for char in found):
        return False
    try:
        IPv6Address(found)
    except AddressValueError:
        return False
    return True


def address4(text: str, start: int, versions: Words) -> Span | None:
    """Four numbers up to 255; no version, no loopback (127.*), no mask (255.*), not 0.*."""
    sign = start - (at(text, start - 1) == " ") - 1
    if at(text, sign) == "=" and at(text, sign - 1) in "=<>~!^":
        return None
    before = at(text, start - 1)
    if before in ALNUM + "_." or (before in "-/~^" and at(text, start - 2) in LETTERS):
        return None
    octets: list[int] = []
    end = start
    for _ in range(4):
        if octets and at(text, end) != ".":
            return None
        begin = end + bool(octets)
        end = run(text, begin, DIGITS, 4)
        if not 1 <= end - begin <= 3 or (text[begin] == "0" and end - begin > 1):
            return None
        octets.append(int(text[begin:end]))
    after, then = at(text, end), at(text, end + 1)
    if after in ALNUM + "_" or (after in ".+" and then in ALNUM) or (after == "-" and then in LETTERS):
        return None
    if max(octets) > 255 or octets[0] in (0, 127, 255) or versions.stands_before(start, 12):
        return None
    return Span(start, end, IP)
