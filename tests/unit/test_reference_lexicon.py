"""Keywords of the twin: whole words, prefixes, folding, scripts without spaces."""

from __future__ import annotations

import pytest

from bsgateway.reference.chars import fold
from bsgateway.reference.lexicon import MAX_KEYWORD, Lexicon, check_keyword
from bsgateway.reference.score import default_complex_keywords, default_simple_keywords


def count(keywords: list[str], text: str) -> int:
    return Lexicon(keywords).count(fold(text))


@pytest.mark.parametrize(
    ("keyword", "text", "found"),
    [
        # Whole words.
        ("hi", "hi", True),
        ("hi", "oh hi!", True),
        ("hi", "this", False),
        ("hi", "hit", False),
        ("hi", "ahi", False),
        ("hi", "this hit, then hi", True),
        ("hi", "hi_", False),
        ("hi", "hi5", False),
        ("hi", "hi-fi", True),
        ("hi", "(hi)", True),
        ("hi", "éhi", False),
        ("hi", "hié", False),
        ("hi", "—hi—", True),
        ("hi", "", False),
        # Case.
        ("prove", "PROVE it", True),
        ("PROVE", "prove it", True),
        ("ÜBERSETZE", "übersetze", True),
        ("докажи", "ДОКАЖИ это", True),
        ("σας", "ΣΑΣ", True),
        # Prefixes.
        ("refactor*", "refactoring", True),
        ("refactor*", "refactor", True),
        ("refactor*", "unrefactored", False),
        ("refactor", "refactoring", False),
        ("a**", "a*b", True),  # only the last star is special
        # Several words.
        ("step by step", "Step by\nstep", True),
        ("step by step", "step\tby\u00a0step", True),
        ("step by step", "step  by step", False),  # exactly one
        ("step by step", "step by steps", False),
        ("root cause", "square root causes", False),
        # Keywords that begin or end in what is no letter.
        ("c++", "use c++ here", True),
        ("c++", "use c++11", True),
        ("tl;dr", "TL;DR: no", True),
        ("what's", "What's up", True),
        ("()", "f()", True),
        # Scripts without spaces.
        ("证明", "请证明这个", True),
        ("証明", "これを証明せよ", True),
        ("분석", "분석해줘", True),
        ("สวัสดี", "ครับสวัสดีครับ", True),
        ("证明", "请証明这个", False),
        ("hi", "中hi文", True),
        ("a中", "ba中", False),
    ],
)
def test_occurrences(keyword: str, text: str, found: bool) -> None:
    assert count([keyword], text) == int(found)


def test_different_keywords_are_counted_not_their_occurrences() -> None:
    assert count(["a", "b", "c"], "a a a b") == 2


def test_keywords_that_are_the_same_after_folding_count_once() -> None:
    assert count(["Hi", "hi", "HI", "HI*"], "hi") == 1
    assert count(["\ud800", "\udfff"], "\ufffd") == 1


def test_of_a_word_and_its_prefix_the_wider_one_is_kept() -> None:
    for order in (["design", "design*"], ["design*", "design"]):
        assert count(order, "designing a design") == 1
        assert count(order, "designing") == 1


def test_overlapping_keywords_all_count() -> None:
    assert count(["memory", "memory leak", "leak*"], "a memory leak") == 3


def test_an_occurrence_inside_a_word_does_not_hide_a_later_one() -> None:
    assert count(["aa"], "aaa aa") == 1
    assert count(["a b"], "a a b") == 1


BAD = {
    "": "empty keyword",
    " ": "empty keyword",
    "*": "empty keyword",
    " *": "empty keyword",
    "\u3000\t": "empty keyword",
    " a": "keyword begins or ends with a space",
    "a ": "keyword begins or ends with a space",
    "a *": "keyword begins or ends with a space",
    "\na": "keyword begins or ends with a space",
    "k" * (MAX_KEYWORD + 1): "keyword longer than 128 characters",
}


@pytest.mark.parametrize("keyword", BAD)
def test_bad_keywords(keyword: str) -> None:
    assert check_keyword(keyword) == BAD[keyword]
    with pytest.raises(ValueError, match=r"^keyword ") as caught:
        Lexicon(["fine", keyword])
    assert str(caught.value).endswith(f": {BAD[keyword]}")


@pytest.mark.parametrize("keyword", ["a", "a b", "k" * MAX_KEYWORD, "k" * MAX_KEYWORD + "*", "**", "-"])
def test_good_keywords(keyword: str) -> None:
    assert check_keyword(keyword) is None


@pytest.mark.parametrize("keywords", [default_complex_keywords(), default_simple_keywords()])
def test_the_built_in_lists(keywords: tuple[str, ...]) -> None:
    assert len(keywords) == len(set(keywords)) > 60
    assert [keyword for keyword in keywords if check_keyword(keyword)] == []
    lexicon = Lexicon(keywords)
    for keyword in keywords:
        assert lexicon.count(fold(f"x {keyword.removesuffix('*')} x")) >= 1


def test_no_built_in_keyword_speaks_for_both_sides() -> None:
    assert set(default_complex_keywords()) & set(default_simple_keywords()) == set()
