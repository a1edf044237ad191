"""Token counts: exact ones that are known, and what holds of every estimate."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.reference.tokens import count_tokens, estimate_tokens, warm


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


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_exact_counts_are_tiktokens(name: str) -> None:
    import tiktoken

    warm(name)  # names the directory of the rank files to tiktoken
    encoding = tiktoken.get_encoding(name)
    for text in (
        "Prove it, step by step.",
        "def f(x):\n    return x\n",
        "请证明这个定理。",
        "été 😀 \x00\r\n",
        "a" * 5000,
    ):
        assert count_tokens(text, name) == len(encoding.encode_ordinary(text))


def test_unknown_encodings_are_refused() -> None:
    for call in (count_tokens, estimate_tokens):
        with pytest.raises(ValueError, match=r'^unknown encoding "gpt2"; known: o200k_base, cl100k_base$'):
            call("text", "gpt2")


ENCODINGS = pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])


@ENCODINGS
def test_the_estimate_is_the_sum_of_a_weight_for_each_character(encoding: str) -> None:
    # What stands at the start hardly counts in a long text, so the estimate grows as the text does.
    for unit in ("word ", "    x = [1, 2]\n", "中文字，", "Größe é ", '{"a": 1}', "\ud800", "😀", " "):
        once, often = estimate_tokens(unit * 1000, encoding), estimate_tokens(unit * 5000, encoding)
        assert often == pytest.approx(5 * once, abs=35)


@ENCODINGS
def test_the_estimate_of_nothing_is_0_and_of_anything_else_more(encoding: str) -> None:
    assert estimate_tokens("", encoding) == 0
    for text in ("a", " ", "\n", "\x00", "é", "中", "😀", "\ud800"):
        assert 1 <= estimate_tokens(text, encoding) <= 8


@ENCODINGS
@settings(deadline=None, derandomize=True, database=None)
@given(text=st.text(st.characters(exclude_categories=()), max_size=50))
def test_the_estimate_is_bounded_and_grows(text: str, encoding: str) -> None:
    estimate = estimate_tokens(text, encoding)
    assert bool(text) <= estimate <= 8 * len(text)
    assert estimate_tokens(text + "\n", encoding) >= estimate


@ENCODINGS
@pytest.mark.parametrize(
    "text",
    [
        "The gateway reads each request once. It measures how long the newest question is, how much code it holds and "
        "how far the conversation has gone, and from these it makes a score between 0 and 100.\n",
        "def merge(left: list[int], right: list[int]) -> list[int]:\n    out = []\n    while left and right:\n"
        "        out.append(min(left, right, key=head).pop(0))\n    return out + left + right\n\n",
        "昨天下午，市政府召开会议，研究了三个方案。大家认为，这座桥应该尽快修建，但是对资金从哪里来还有不同的意见。"
        "会议决定，由交通部门在年底以前提出一份详细的报告，再请各方面的专家讨论。\n",
        '{"type": "function", "function": {"name": "read_file", "parameters": {"type": "object"}}}\n',
        "2026-03-01 12:00:07,113 - app.workers.queue - INFO - job 81723 done in 0.413 s\n",
    ],
)
def test_the_estimate_is_near_the_count(text: str, encoding: str) -> None:
    # A sentence is no document: `make estimator` measures those.
    assert estimate_tokens(text * 20, encoding) == pytest.approx(count_tokens(text * 20, encoding), rel=0.33)
