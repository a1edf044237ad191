"""E-mail addresses."""

from __future__ import annotations

from collections.abc import Iterator

from ..chars import is_word
from .rules import ALNUM, DIGITS, EMAIL, LETTERS, Span, at, lowered

_LOCAL = ALNUM + "._%+'-"
_DOMAIN = ALNUM + ".-"
# Accounts of services, not of people: `git@github.com:owner/repository`.
_SERVICES = ("git", "hg", "svn")
# No top-level domains, but common after an @ in file names and code.
_ENDINGS = frozenset(
    ("png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "js", "mjs", "cjs", "ts", "tsx", "jsx", "css", "scss", "json",
     "html", "htm", "txt", "yml", "yaml", "toml", "lock", "tgz", "gz", "tar", "whl", "rb", "cpp", "hpp", "java", "xml",
     "service", "timer", "target", "socket", "mount", "dtype", "shape")
)  # fmt: skip


def addresses(text: str) -> Iterator[Span]:
    """`local@domain.tld`, letters of any script that puts spaces between words included. Not before a `(`: code."""
    floor = 0
    mark = text.find("@")
    while mark >= 0:
        following = text.find("@", mark + 1)
        start, end = _local_start(text, mark, floor), _domain_end(text, mark + 1)
        floor = mark + 1
        if start < mark and end is not None and text[start:mark] not in _SERVICES:
            yield Span(start, end, EMAIL)
            floor = end
        mark = following


def _is_letter(char: str) -> bool:
    return char > "\x7f" and is_word(char)


def _local_start(text: str, mark: int, floor: int) -> int:
    start = mark
    while start > floor and (text[start - 1] in _LOCAL or _is_letter(text[start - 1])):
        start -= 1
    if at(text, start - 1) == "\\" and at(text, start) in "nrt" and mark - start > 1:
        start += 1
    while start < mark and text[start] not in ALNUM and not _is_letter(text[start]):
        start += 1
    return start


def _domain_end(text: str, start: int) -> int | None:
    """Where the domain that begins at `start` ends; None if there is none."""
    end = start
    while end < len(text) and (text[end] in _DOMAIN or _is_letter(text[end])):
        end += 1
    while end > start and text[end - 1] in ".-":
        end -= 1
    labels = text[start:end].split(".")
    if len(labels) < 2 or not all(labels) or labels[0][0] == "-":
        return None
    last = labels[-1]
    if not last.startswith("xn--") and not all(char in LETTERS or _is_letter(char) for char in last):
        return None
    numbers = all(char in DIGITS for label in labels[:2] for char in label)
    if len(last) < 2 or lowered(last) in _ENDINGS or numbers or at(text, end) == "(":
        return None
    return end
