"""Keys and tokens that show what they are: private key blocks, known prefixes, JSON web tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .rules import (
    ALNUM,
    API_KEY,
    DIGITS,
    KEYS,
    PRIVATE_KEY,
    TOKEN,
    WORD,
    Key,
    Span,
    at,
    classes,
    is_free,
    run,
)

_BEGIN, _END = "-----BEGIN ", "-----END "
_LABEL = re.compile(r"[A-Z0-9 ]{0,60}")
_NEAR = re.compile(r"[\x00-\x7f]{0,256}")
_KEY_LINE = re.compile(r"[A-Za-z0-9+/]{16}")


def private_keys(text: str) -> Iterator[Span]:
    """PEM and PGP blocks, from the first line to the last.

    One whose end is missing ends with the text or where the next block begins; the first line alone, with nothing like
    a key soon after it, is talk about keys.
    """
    start = text.find(_BEGIN)
    while start >= 0:
        body = _marker_end(text, start, _BEGIN)
        if body is None or "PRIVATE KEY" not in text[start:body]:
            start = text.find(_BEGIN, start + len(_BEGIN))
            continue
        following = text.find(_BEGIN, body)
        limit = following if following >= 0 else len(text)
        end = text.find(_END, body, limit)
        if end >= 0:
            yield Span(start, _marker_end(text, end, _END) or limit, PRIVATE_KEY)
        elif _KEY_LINE.search(text, body, min(limit, _near(text, body))):
            yield Span(start, limit, PRIVATE_KEY)
        start = following


def _marker_end(text: str, start: int, begin: str) -> int | None:
    label = _LABEL.match(text, start + len(begin))
    end = label.end() if label else start
    return end + 5 if text.startswith("-----", end) else None


def _near(text: str, start: int) -> int:
    near = _NEAR.match(text, start)
    return near.end() if near else start


_PREFIXES = re.compile("|".join(f"({re.escape(key.prefix)})" for key in KEYS))
_LOOK = 40
_AWS_SECRET = 40


def prefixed_keys(text: str) -> Iterator[Span]:
    """Keys with a known prefix, and the secret half of an AWS key pair near the first half."""
    found = _PREFIXES.search(text)
    while found:
        start, end = found.start(), None
        if is_free(text, start):
            key = KEYS[(found.lastindex or 1) - 1]
            end = _key_end(text, found.end(), key)
            if end is not None:
                yield Span(start, end, key.placeholder)
                if key.prefix in ("AKIA", "ASIA") and (secret := _aws_secret(text, end)):
                    yield secret
                    end = secret.end
        found = _PREFIXES.search(text, start + 1 if end is None else end)


def _key_end(text: str, body: int, key: Key) -> int | None:
    """Where `key` ends whose prefix ends at `body`; None if it is none."""
    look = text[body : run(text, body, key.alphabet, _LOOK)]
    if len(look) < min(key.least, _LOOK) or not _looks_right(look, key.look):
        return None
    end = run(text, body, key.alphabet, key.most + 1 if key.most else None)
    while text[end - 1] == ".":
        end -= 1
    if end - body < key.least or (key.most and (end - body > key.most or at(text, end) in ALNUM)):
        return None
    return end


def _looks_right(look: str, rule: str) -> bool:
    if rule == "mixed":
        return sum(classes(look)) >= 2
    return rule == "any" or _is_dense(look)


def _is_dense(look: str) -> bool:
    """Whether seven letters and digits, some of each, stand in a row."""
    for piece in re.findall("[A-Za-z0-9]{7,}", look):
        lower, upper, digit = classes(piece)
        if (lower or upper) and digit:
            return True
    return False


def _aws_secret(text: str, start: int) -> Span | None:
    """The first 40 characters of base64 in the next 256 of ASCII that look random."""
    for found in re.compile("[A-Za-z0-9+/]+").finditer(text, start, _near(text, start)):
        end = found.end()
        whole = at(text, end) not in ALNUM + "+/"
        if end - found.start() == _AWS_SECRET and whole and all(classes(found[0])):
            return Span(found.start(), end, API_KEY)
    return None


def telegram_tokens(text: str) -> Iterator[Span]:
    """`123456789:AA` and 33 more: what a Telegram bot shows."""
    done = 0
    colon = text.find(":AA")
    while colon >= 0:
        start = colon
        while start > 0 and colon - start <= 10 and text[start - 1] in DIGITS:
            start -= 1
        end = run(text, colon + 1, WORD, 36)
        if 8 <= colon - start <= 10 and end - colon == 36 and start >= done:
            yield Span(start, end, TOKEN)
            done = end
        colon = text.find(":AA", colon + 1)


_AZURE = WORD + ".~"


def azure_secrets(text: str) -> Iterator[Span]:
    """Client secrets of Entra ID: three characters, a digit, `Q~`, 31 to 34 characters."""
    done = 0
    mark = text.find("Q~")
    while mark >= 0:
        start = mark - 4
        end = run(text, mark + 2, _AZURE, 35)
        while text[end - 1] == ".":
            end -= 1
        head = text[start:mark] if start >= done else ""
        fits = len(head) == 4 and head[3] in DIGITS and all(char in _AZURE for char in head)
        if fits and is_free(text, start) and 31 <= end - mark - 2 <= 34:
            yield Span(start, end, API_KEY)
            done = end
        mark = text.find("Q~", mark + 1)


def web_tokens(text: str) -> Iterator[Span]:
    """JSON web tokens: two to five parts with dots between them, the first of which begins as `{"` does in base64."""
    start = text.find("eyJ")
    while start >= 0:
        end = start + 3
        if at(text, start - 1) not in "_-" and is_free(text, start):
            end = run(text, start, WORD)
            second = run(text, end + 1, WORD) if at(text, end) == "." else end
            if end - start >= 10 and second - end > 10:
                end = second
                for _ in range(3):
                    if at(text, end) == "." and at(text, end + 1) in WORD:
                        end = run(text, end + 1, WORD)
                yield Span(start, end, TOKEN)
        start = text.find("eyJ", end)
