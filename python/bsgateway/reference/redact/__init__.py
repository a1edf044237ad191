"""Secrets and personal data in a text, replaced by typed placeholders before anything is stored.

Stages follow each other, from what is most certain to what is least: a key with a known prefix, then what is secret by
its name, then addresses and numbers. Each replaces what it finds from left to right, and the next sees its
placeholders. What one stage replaced can uncover nothing new, or the stages run again, so the result is stable.
Time is linear: no stage looks at a character more than a fixed number of times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..chars import clean, is_unspaced
from .assigned import assigned, bearer_tokens, curl_passwords, url_passwords
from .internet import addresses6
from .keys import azure_secrets, prefixed_keys, private_keys, telegram_tokens, web_tokens
from .mail import addresses
from .numbers import numbers
from .rules import ALNUM, CUT, DIGITS, IBANS, REDACTION_PLACEHOLDERS, Span, at

__all__ = ["REDACTION_PLACEHOLDERS", "redact"]

STAGES: tuple[Callable[[str], Iterator[Span]], ...] = (
    private_keys,
    prefixed_keys,
    telegram_tokens,
    azure_secrets,
    web_tokens,
    url_passwords,
    assigned,
    bearer_tokens,
    curl_passwords,
    addresses,
    addresses6,
    numbers,
)
ROUNDS = 4


def redact(text: str, cut: bool = False) -> str:
    """`text` with what must not be stored replaced by `REDACTION_PLACEHOLDERS`. Lone surrogates become U+FFFD.

    `cut`: the text is the beginning of a longer one, so its last word may be half a secret that can no longer be
    recognized. That word, and the digits and groups before it that may belong to it, become `[CUT]`.
    """
    text = clean(text)
    if not cut:
        return _settled(text)
    # Before anything else: the groups of half an IBAN can pass for a card.
    start = _unfinished_iban(text)
    if start == len(text):
        text = _settled(text)
        start = _unfinished(text)
    return text if start == len(text) else _settled(text[:start] + CUT)


def _settled(text: str) -> str:
    for _ in range(ROUNDS):
        before = text
        for stage in STAGES:
            text = _replaced(text, stage(text))
        if text == before:
            break
    return text


def _replaced(text: str, spans: Iterator[Span]) -> str:
    parts, done = [], 0
    for start, end, placeholder in spans:
        parts += [text[done:start], placeholder]
        done = end
    return "".join([*parts, text[done:]]) if parts else text


# They end the word that was cut. A bracket does not: `(415) 55`.
_ENDS = " \t\n\r\x0b\x0c\"'`<>,;{}[]|"
_GROUPS = 48
_IBAN_HEAD = re.compile("[A-Z]{2}[0-9]{2}")


def _unfinished(text: str) -> int:
    """Where the last word of `text` begins, with the groups before it that may belong to the same number."""
    start = len(text)
    while start > 0 and text[start - 1] not in _ENDS and not is_unspaced(text[start - 1]):
        start -= 1
    number = len(text)
    while number > 0 and text[number - 1] in DIGITS + " +-./()":
        number -= 1
    if number < start and not any(char in DIGITS for char in text[number:]):
        number = len(text)
    return min(start, number)


def _unfinished_iban(text: str) -> int:
    """Where the groups begin, at most 48 characters, that are the beginning of an IBAN; else the end of `text`."""
    start = len(text)
    while start > 0 and len(text) - start < _GROUPS and (text[start - 1] in ALNUM or text[start - 1] in " -"):
        start -= 1
    for found in _IBAN_HEAD.finditer(text, start):
        if at(text, found.start() - 1) not in ALNUM and found[0][:2] in IBANS:
            groups = re.split("[ -]", text[found.start() :])
            if all(len(group) == 4 for group in groups[:-1]) and len(groups[-1]) <= 4:
                return found.start()
    return len(text)
