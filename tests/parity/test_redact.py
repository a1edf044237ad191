"""The redactor against its twin, on texts built from secrets, halves of secrets and what stands around them."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.redaction.corpus import lookalikes, positives

from bsgateway import _core, reference
from bsgateway.reference.redact.rules import HINTS, KEYS, NAMES, VERSIONS

from .strategies import examples

_ALNUM = string.ascii_letters + string.digits
_SECRETS = sorted({positive.secret for positive in positives()})
_TEXTS = sorted({positive.text for positive in positives()} | {lookalike.text for lookalike in lookalikes()})

_chars = st.text(st.characters(exclude_categories=()), max_size=4)  # every code point, lone surrogates included
_signs = st.text(" \t\n\r\"'`\\=:;,.&()<>{}[]|/@-_+*#$%!?~^\x00é中ß\u0130\u212a\u0131\ud800", min_size=1, max_size=3)
_random = st.text(_ALNUM + "_-+/=.~", min_size=1, max_size=45)
_keys = st.builds("{}{}".format, st.sampled_from([key.prefix for key in KEYS]), _random)
_names = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "db_", "x-", "api ", "my", "MY_"]),
    st.sampled_from(
        [name.word for name in NAMES] + ["Authorization", "Cookie", "key", "Password", "API_KEY", "dbPass"]
    ),
    st.sampled_from(["", "_1", "_PROD", "-old", "s", "."]),
    st.sampled_from(["=", ": ", " = ", ":", '": "', "' => '", " is ", ">", '="', ": str = '", '=\\"', " ", ": Basic "]),
)
_numbers = st.builds(
    "{}{}".format,
    st.sampled_from([*sorted(HINTS), *sorted(VERSIONS), "", "", "", "DE", "+", "(", "00", "v", "==", "GB29 NWBK "]),
    st.text("0123456789 -./():", min_size=1, max_size=24),
)
_ip = st.text("0123456789abcdefA:.", min_size=2, max_size=24)
_mail = st.text("ab.-_+@é中1(/", min_size=3, max_size=16)
_words = st.sampled_from(
    ["curl ", "-u ", "--user ", "--password ", "Bearer ", "bearer ", "://", "-----BEGIN ", "-----END ", "PRIVATE KEY",
     "-----", "eyJ", ":AA", "Q~", " is ", "<token>", "</token>", "AKIA", "hunter2", "${X}", "password", "token", "null",
     "uint8", "[API_KEY]", "[IP]", "[CUT]", "[", "://u:", "\\n", "%3D"]
)  # fmt: skip
_slices = st.builds(
    lambda text, start, end: text[min(start, end) : max(start, end)],
    st.sampled_from(_TEXTS), st.integers(0, 120), st.integers(0, 120),
)  # fmt: skip
_pieces = st.one_of(
    _chars, _signs, _random, _keys, _names, _numbers, _ip, _mail, _words, _slices, st.sampled_from(_SECRETS)
)
_texts = st.lists(_pieces, max_size=10).map("".join)


def _all_gone(text: str) -> str:
    for placeholder in _core.REDACTION_PLACEHOLDERS:
        text = text.replace(placeholder, "")
    return text


@examples
@given(_texts, st.booleans())
def test_same_as_the_twin(text: str, cut: bool) -> None:
    assert _core.redact(text, cut) == reference.redact(text, cut)


@examples
@given(_texts, st.booleans())
def test_once_is_enough(text: str, cut: bool) -> None:
    once = _core.redact(text, cut)
    assert _core.redact(once, cut) == once
    assert _core.redact(once) == once


@examples
@given(_texts, st.booleans())
def test_grows_by_a_bound_and_invents_nothing(text: str, cut: bool) -> None:
    redacted = _core.redact(text, cut)
    assert len(redacted) <= 3 * len(text) + 16
    left = iter(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    kept = _all_gone(redacted).replace("\ufffd", "")
    assert not set(kept) - set(left), "a character that was not there"


@pytest.mark.parametrize("cut", [False, True])
def test_same_on_the_corpus(cut: bool) -> None:
    for text in _TEXTS:
        assert _core.redact(text, cut) == reference.redact(text, cut)


def test_no_half_of_a_secret_survives_a_cut() -> None:
    """Cut anywhere inside, less than four characters of a secret are left."""
    for positive in positives():
        if positive.secret.startswith("-----"):
            continue
        for length in range(5, len(positive.secret), 7):
            text = positive.before + positive.secret[:length]
            redacted = _core.redact(text, True)
            shared = len(_common(redacted, text)) - len(positive.before)
            assert shared < 4, f"line {positive.line}: {shared} characters are left"


def test_no_part_of_a_private_key_survives_a_cut() -> None:
    keys = [positive for positive in positives() if positive.secret.startswith("-----")]
    for positive in keys:
        header = positive.secret.index("-----", 5) + 5
        for length in range(header + 1, len(positive.secret), 13):
            redacted = _core.redact(positive.before + positive.secret[:length], True)
            left = redacted[len(_common(redacted, positive.text)) :]
            assert len(_common(redacted, positive.text)) <= len(positive.before) + header + 2, positive.line
            assert left in ("", "[CUT]", "[PRIVATE_KEY]"), positive.line
    assert len(keys) > 20


def _common(one: str, other: str) -> str:
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def test_lone_surrogates() -> None:
    for core in (_core, reference):
        assert core.redact("\ud800 10.1.2.3 \udfff") == "\ufffd [IP] \ufffd"


@pytest.mark.parametrize("bad", [None, b"x", 5])
def test_only_text(bad: object) -> None:
    with pytest.raises(TypeError):
        _core.redact(bad)  # type: ignore[arg-type]
