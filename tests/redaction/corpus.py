"""The corpus of the redactor: `positives.tsv` and `lookalikes.tsv`, with the slots of their texts filled in.

No secret lies in these files: `{alnum:36}` becomes 36 random characters when they are read, from a seed, so that
every run sees the same ones.
"""

from __future__ import annotations

import base64
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

HERE = Path(__file__).parent
VARIANTS = 5
"""How many texts a line with slots makes."""


class Positive(NamedTuple):
    """A text with a secret in it."""

    split: str
    kind: str
    before: str
    secret: str
    after: str
    line: int

    @property
    def text(self) -> str:
        return self.before + self.secret + self.after


class Lookalike(NamedTuple):
    """A text that must stay."""

    split: str
    kind: str
    text: str
    line: int


_CHARS = {
    "alnum": string.ascii_letters + string.digits,
    "letters": string.ascii_letters,
    "upper": string.ascii_uppercase + "234567",
    "lower": string.ascii_lowercase,
    "digits": string.digits,
    "hex": "0123456789abcdef",
    "word": string.ascii_letters + string.digits + "-_",
    "base64": string.ascii_letters + string.digits + "+/",
}
_IBANS = {"NL": (18, 4), "ES": (24, 0), "CH": (21, 0), "IT": (27, 1), "PL": (28, 0), "SE": (24, 0)}
_WORDS = ("hunter", "Winter", "dragon", "Sommer", "monkey", "qwerty", "letme1n", "Tr0ub4dor")


def positives() -> list[Positive]:
    """All texts with a secret."""
    found = []
    for number, split, kind, template in _lines("positives.tsv"):
        for text in _filled(template):
            before, _, rest = text.partition("«")
            secret, _, after = rest.partition("»")
            found.append(Positive(split, kind, before, secret, after, number))
    return found


def lookalikes() -> list[Lookalike]:
    """All texts without one."""
    return [
        Lookalike(split, kind, text, number)
        for number, split, kind, template in _lines("lookalikes.tsv")
        for text in _filled(template)
    ]


def _lines(name: str) -> Iterator[tuple[int, str, str, str]]:
    for number, line in enumerate((HERE / name).read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("#"):
            split, kind, text = line.split("\t")
            yield number, split, kind, re.sub(r"\\([\\n])", lambda found: "\n" if found[1] == "n" else "\\", text)


_SLOT = re.compile(r"\{(\w+)(?::([^{}:]+))?(?::(\d+))?\}")


def _filled(template: str) -> Iterator[str]:
    slots = [found for found in _SLOT.finditer(template) if _is_slot(found)]
    for variant in range(VARIANTS if slots else 1):
        random = Random(f"{variant} {template}")
        yield _SLOT.sub(lambda found, r=random: _fill(found, r) if _is_slot(found) else found[0], template)


def _is_slot(found: re.Match[str]) -> bool:
    return found[1] in _MAKERS or (found[1] in _CHARS and bool(found[2]))


def _fill(found: re.Match[str], random: Random) -> str:
    name, first, second = found[1], found[2] or "", found[3] or ""
    if name in _CHARS:
        return _some(random, _CHARS[name], int(first))
    return str(_MAKERS[name](random, first, second))


def _some(random: Random, chars: str, count: int) -> str:
    return "".join(random.choices(chars, k=count))


def _pem(random: Random, label: str, line_end: str = "\n", closed: bool = True) -> str:
    dashes = "-" * 5
    lines = [f"{dashes}BEGIN {label}{dashes}", *(_some(random, _CHARS["base64"], 64) for _ in range(6))]
    lines.append(_some(random, _CHARS["base64"], 27) + "=")
    return line_end.join([*lines, f"{dashes}END {label}{dashes}"] if closed else lines)


def _jwt(random: Random) -> str:
    def part(**fields: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode().rstrip("=")

    return f"{part(alg='HS256', typ='JWT')}.{part(sub=random.random())}.{_some(random, _CHARS['word'], 43)}"


def _luhn(random: Random, prefix: str, length: str) -> str:
    digits = prefix + _some(random, string.digits, int(length) - len(prefix) - 1)
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits))]
    return digits + str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


def _iban(random: Random, country: str, groups: bool) -> str:
    length, letters = _IBANS[country]
    account = _some(random, string.ascii_uppercase, letters) + _some(random, string.digits, length - 4 - letters)
    value = int("".join(str(int(char, 36)) for char in f"{account}{country}00"))
    iban = f"{country}{98 - value % 97:02}{account}"
    return " ".join(iban[at : at + 4] for at in range(0, length, 4)) if groups else iban


def _uuid(random: Random) -> str:
    found = _some(random, _CHARS["hex"], 32)
    return f"{found[:8]}-{found[8:12]}-4{found[13:16]}-a{found[17:20]}-{found[20:]}"


_MAKERS = {
    "digits1": lambda r, n, _: r.choice("123456789") + _some(r, string.digits, int(n) - 1),
    "aws": lambda r, _, __: "wJ4+/x" + _some(r, _CHARS["base64"], 34),
    "jwt": lambda r, _, __: _jwt(r),
    "basic": lambda r, _, __: base64.b64encode(f"user:{_some(r, _CHARS['alnum'], 12)}".encode()).decode(),
    "pw": lambda r, _, __: r.choice(_WORDS) + _some(r, string.digits, r.randint(1, 4)) + r.choice(("", "!", "#x", "$")),
    "pem": lambda r, label, _: _pem(r, label),
    "pemjson": lambda r, label, _: _pem(r, label, "\\n"),
    "pemopen": lambda r, label, _: _pem(r, label, closed=False),
    "luhn": _luhn,
    "iban": lambda r, country, _: _iban(r, country, False),
    "ibang": lambda r, country, _: _iban(r, country, True),
    "uuid": lambda r, _, __: _uuid(r),
}
