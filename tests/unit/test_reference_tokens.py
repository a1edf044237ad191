"""Token counts: exact ones that are known, and the estimate's rule for each class of characters."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.reference.tokens import count_tokens, estimate_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("hello", 1),
        ("hello world", 2),
        ("Hello, world!", 4),
        ("<|endoftext|>", 7),  # ordinary text, whatever it says
        ("1234567", 3),  # digits by threes
        ("\ud800", 1),
        (" " * 64, 1),
    ],
)
def test_exact_counts(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


def test_exact_counts_are_those_of_o200k_base() -> None:
    import tiktoken

    encoding = tiktoken.get_encoding("o200k_base")
    for text in (
        "Prove it, step by step.",
        "def f(x):\n    return x\n",
        "请证明这个定理。",
        "été 😀 \x00\r\n",
        "a" * 5000,
    ):
        assert count_tokens(text) == len(encoding.encode_ordinary(text))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1), ("abcdefg", 1), ("abcdefgh", 2), ("a" * 70, 10),  # letters: 7 to a token
        ("1", 1), ("123", 1), ("1234", 2),  # digits: 3
        (".", 1), ("..", 1), ("...", 2),  # punctuation: 2
        ("\n", 1), ("\r\n\n\r", 1),  # line ends: a run
        (" ", 0), ("\t", 0), ("  ", 1), (" " * 100, 1), (" \t", 1),  # one space joins the next word
        ("中", 1), ("中文", 2), ("中文字", 3), ("中文字母", 3), ("ひらがなひらがな", 6),  # unspaced: 3 to 4 characters
        ("é", 1), ("ééé", 1), ("éééé", 2), ("😀" * 4, 2),  # others: 3
        ("\x00\x01\x7f", 2),
        ("one two 33", 1 + 1 + 1),
        ("a.b", 3),
        ("aé中1.\n", 6),
        ("\ud800", 1),
    ],
)  # fmt: skip
def test_the_estimate(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@settings(deadline=None, derandomize=True, database=None)
@given(st.text(st.characters(exclude_categories=()), max_size=50))
def test_the_estimate_is_never_more_than_the_characters(text: str) -> None:
    estimate = estimate_tokens(text)
    assert 0 <= estimate <= len(text)
    assert estimate >= len(text.split()) - text.count(" ") - len(text) / 2
    assert estimate_tokens(text + "\n" + text) <= 2 * estimate + 1


def test_the_estimate_is_near_the_count_on_prose() -> None:
    text = (
        "The gateway reads each request once. It measures how long the newest question is, how much code it holds and "
        "how far the conversation has gone, and from these it makes a score between 0 and 100.\n"
    ) * 20
    assert estimate_tokens(text) == pytest.approx(count_tokens(text), rel=0.1)
