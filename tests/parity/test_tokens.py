"""Exact and estimated token counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway import _core, reference

from .strategies import examples, texts

_any_text = st.text(st.characters(exclude_categories=()), max_size=60)
# What the splitting rules of o200k_base look at: case, apostrophes, white space of all kinds, digits, slashes.
_splitting = "aBzÉſİǅ'’sStTlL dm\t\n\r\u00a0\u2028\u3000\x85 123½²/*.,)(`~_-中のก한\u0301😀"
_tricky = st.text(st.sampled_from(_splitting), max_size=60)


@examples
@given(st.one_of(_any_text, _tricky, texts))
def test_counts(text: str) -> None:
    assert _core.count_tokens(text) == reference.count_tokens(text)
    assert _core.estimate_tokens(text) == reference.estimate_tokens(text)


@pytest.mark.parametrize("text", ["", "<|endoftext|>", "\ud800", "\ud83d\ude00", "a" * 100_000, "\n" * 9999])
def test_counts_of_odd_texts(text: str) -> None:
    assert _core.count_tokens(text) == reference.count_tokens(text)
    assert _core.estimate_tokens(text) == reference.estimate_tokens(text)


def test_every_code_point_is_classed_alike() -> None:
    for start in range(0, 0x110000, 0x100):
        # A letter between ends each run: one count per code point.
        text = "".join(f"{chr(cp) * 4}a" for cp in range(start, start + 0x100))
        assert _core.estimate_tokens(text) == reference.estimate_tokens(text), hex(start)
