"""Exact and estimated token counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway import _core, reference

from .strategies import examples, texts

ENCODINGS = ("o200k_base", "cl100k_base")
RANKS = Path(__file__).parents[2] / "rust" / "data"

_any_text = st.text(st.characters(exclude_categories=()), max_size=60)
# What the splitting patterns look at: case, apostrophes, white space of all kinds, digits, slashes.
_splitting = "aBzÉſİǅ'’sStTlL dm\t\n\r\u00a0\u2028\u3000\x85 123½²/*.,)(`~_-中のก한\u0301😀"
_tricky = st.text(st.sampled_from(_splitting), max_size=60)
_white = st.text(st.sampled_from(" \n\r\t\u00a0\u3000\x85a"), max_size=40)
# Pieces of more than 128 bytes are merged in another way than shorter ones.
_run = st.builds(str.__mul__, st.text(st.sampled_from(_splitting), min_size=1, max_size=4), st.integers(20, 2000))
_long_piece = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzéßжצक中文字한국の"), min_size=100, max_size=400)
_marker = st.sampled_from(["<|endoftext|>", "<|fim_prefix|>", "<|endofprompt|>", "<|", "|>", " x "])
_markers = st.lists(_marker).map("".join)
_texts = st.one_of(_any_text, _tricky, _white, _run, _long_piece, _markers, texts)


@pytest.mark.parametrize("encoding", ENCODINGS)
@examples
@given(text=st.one_of(_texts, st.lists(_texts, max_size=4).map("".join)))
def test_counts(encoding: str, text: str) -> None:
    assert _core.count_tokens(text, encoding) == reference.count_tokens(text, encoding)
    assert _core.estimate_tokens(text, encoding) == reference.estimate_tokens(text, encoding)
    assert _core.sample_tokens(text, encoding) == reference.sample_tokens(text, encoding)


@examples
@given(st.lists(_texts, min_size=1, max_size=4).map("".join), st.integers(1, 20_000), st.sampled_from(ENCODINGS))
def test_samples_of_long_texts(text: str, size: int, encoding: str) -> None:
    text = (text or "-") * (size // (len(text) or 1) + 1)
    assert _core.sample_tokens(text, encoding) == reference.sample_tokens(text, encoding)


@pytest.mark.parametrize("unit", ["a", "`", "中", "😀", "Grüße ", "def f(x):\n    return x\n"])
def test_samples_set_right_what_the_estimate_has_wrong(unit: str) -> None:
    text = unit * (40_000 // len(unit))
    assert _core.sample_tokens(text) == pytest.approx(_core.count_tokens(text), rel=0.1)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "text", ["", "<|endoftext|>", "\ud800", "\ud83d\ude00", "a" * 100_000, "\n" * 9999, " " * 50_000]
)
def test_counts_of_odd_texts(text: str, encoding: str) -> None:
    assert _core.count_tokens(text, encoding) == reference.count_tokens(text, encoding)
    assert _core.estimate_tokens(text, encoding) == reference.estimate_tokens(text, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_code_point_is_read_alike(encoding: str) -> None:
    for start in range(0, 0x110000, 0x400):
        text = "".join(f"{chr(cp) * 3}a{chr(cp)} " for cp in range(start, start + 0x400))
        assert _core.count_tokens(text, encoding) == reference.count_tokens(text, encoding), hex(start)
        assert _core.estimate_tokens(text, encoding) == reference.estimate_tokens(text, encoding), hex(start)


@pytest.mark.parametrize("core", [_core, reference])
def test_o200k_base_is_the_default(core: type[reference]) -> None:
    for text in ("你好，世界", "请证明这个定理。" * 20):
        assert core.count_tokens(text) == core.count_tokens(text, encoding="o200k_base")
        assert core.count_tokens(text) != core.count_tokens(text, "cl100k_base")
        assert core.estimate_tokens(text) == core.estimate_tokens(text, encoding="o200k_base")
        assert core.estimate_tokens(text) != core.estimate_tokens(text, "cl100k_base")


@pytest.mark.parametrize("core", [_core, reference])
def test_only_known_encodings(core: type[reference]) -> None:
    message = '^unknown encoding "p50k\\\\n"; known: o200k_base, cl100k_base$'
    with pytest.raises(ValueError, match=message):
        core.count_tokens("", "p50k\n")
    with pytest.raises(ValueError, match=message):
        core.estimate_tokens("", "p50k\n")
    with pytest.raises(ValueError, match=message):
        core.warm("p50k\n")
    for encoding in ENCODINGS:
        assert core.warm(encoding) is None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_embedded_ranks_are_tiktokens(encoding: str) -> None:
    import tiktoken

    reference.warm(encoding)  # names the directory of the rank files to tiktoken
    packed = (RANKS / f"{encoding}.ranks").read_bytes()
    count = int.from_bytes(packed[:4], "little")
    tokens, start = [], 4 + count
    for length in packed[4:start]:
        tokens.append(packed[start : start + length])
        start += length
    assert start == len(packed)
    known = tiktoken.get_encoding(encoding)
    assert tokens == [known.decode_single_token_bytes(rank) for rank in range(count)]
    assert count == len(known.token_byte_values())
