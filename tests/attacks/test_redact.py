"""Texts that would take minutes in a redactor whose passes are worse than linear. The limits are no measurement."""

from __future__ import annotations

import time

import pytest

from bsgateway import _core, reference

from .generators import TEXTS

LIMIT = 5.0  # seconds for a megabyte, which takes some 0.05
TWIN_LIMIT = 20.0  # seconds for a fiftieth of it in Python
UNITS = (
    "@", "a@", "é@é.", "9", "1 ", "1.2.3.", "4111 ", "DE89", "+1", "(", "(1", "phone 1", ".", ":", "::", "a:", "fe80:",
    "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----END ", "sk-", "sk-a1", "SG.", "AKIA", "xoxb-", "eyJ", "eyJaaaaaaa.",
    "Q~", ":AA", "://", "://a:", "://a:b@", "=", "a=", "yyy=", "token=", "token=a1b2c3(", "TOKEN=a1b2", "password='",
    'password="', 'password=\\"', "password=\\", "passphrase=' ", "cookie: ", "cookie: a=", "authorization:",
    "authorization: a ", "authorization:a1b2c3d4e5", "bearer ", "curl -u ", "-u a:b ", "--user a:", "--password ", "--",
    " is ", "secret is ", "<token>", "<token>a", "key ", "api key: ", "[", "[TOKEN]", "TOKEN=[TOKEN", "%3D", "\\n", "\\",
)  # fmt: skip


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_a_megabyte_of_it(unit: str, cut: bool) -> None:
    text = unit * (1_000_000 // len(unit.encode()))
    began = time.monotonic()
    redacted = _core.redact(text, cut)
    assert time.monotonic() - began < LIMIT
    assert _core.redact(redacted, cut) == redacted


@pytest.mark.parametrize("name", TEXTS)
def test_texts_against_other_passes(name: str) -> None:
    text = TEXTS[name]()
    began = time.monotonic()
    _core.redact(text, True)
    assert time.monotonic() - began < LIMIT


@pytest.mark.parametrize("unit", UNITS)
def test_the_twin(unit: str) -> None:
    text = unit * (20_000 // len(unit.encode()))
    began = time.monotonic()
    redacted = reference.redact(text)
    assert time.monotonic() - began < TWIN_LIMIT
    assert redacted == _core.redact(text)
