"""Terms, buckets, counts and vocabulary of the twin."""

from __future__ import annotations

import pytest

from bsgateway.reference.chars import fold, is_word
from bsgateway.reference.features import FEATURE_NAMES
from bsgateway.reference.words import (
    LONG_WORD,
    WORD_BUCKETS,
    WORD_HEAD,
    WORD_TAIL,
    Words,
    vocabulary,
    words,
)

GROUPS = list(vocabulary())


def of_group(text: str) -> dict[str, int]:
    """How many words of each group stand in `text`; no group that has none."""
    return {name: count for name, count in zip(GROUPS, words(text).vocabulary, strict=True) if count}


def test_the_groups_are_those_of_the_features() -> None:
    assert [f"words_{name}" for name in GROUPS] == list(FEATURE_NAMES[-len(GROUPS) :])
    for group in vocabulary().values():
        assert all(fold(word) == word and all(map(is_word, word)) for word in group)


def test_no_text_has_no_words() -> None:
    for text in ("", " \t\r", "\x0b\x0c\x85\xa0\u2003\u3000"):
        assert words(text) == Words((), 0, 0, 0, 0, 0, 0, 0, 0, 0, (0,) * len(GROUPS))


# The weights of every model file stand by these numbers.
def test_buckets_stay_what_they_are() -> None:
    assert words("Prove it: 42!\né").buckets == (
        28830, 53124, 108687, 48870, 128735, 71997, 44282, 17005, 16341, 48095, 26439, 73973, 37692, 27613,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("one two", 2),
        ("one, two", 3),
        ("one_two", 1),
        ("don't", 3),
        ("?!...", 1),
        ("f(x[0])", 6),  # f ( x [ 0 ])
        ("a\r\nb", 3),  # a line end is a term, white space is not
        ("\n\n", 2),
        ("中文", 2),
        ("中a文", 3),
        ("é1", 1),
        ("3.5", 3),
        ("a\u200bb", 3),  # no width, no space
        ("a\u00a0b", 2),
        ("e\u0301", 1),  # a combining accent is of the word
    ],
)
def test_terms(text: str, terms: int) -> None:
    assert words(text).terms == terms


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Why Not", "why not"),
        ("why  not", "why\tnot"),
        ("ΣΑΣ", "σας"),
        ("İf", "if"),
        ("why not why not", "why not why"),
    ],
)
def test_texts_of_the_same_words(text: str, same: str) -> None:
    assert set(words(text).buckets) == set(words(same).buckets)


@pytest.mark.parametrize(
    ("text", "other"), [("why not", "not why"), ("whynot", "why not"), ("a b", "a\nb"), ("12", "34"), ("!?", "! ?")]
)
def test_texts_of_other_words(text: str, other: str) -> None:
    assert set(words(text).buckets) != set(words(other).buckets)


def test_each_bucket_counts_once() -> None:
    found = words("no " * 500).buckets
    assert len(found) == len(set(found)) == 2
    assert all(0 <= bucket < WORD_BUCKETS for bucket in words("Every word: its own bucket, 1 of many.").buckets)


def test_in_the_order_of_terms_a_number_is_its_length() -> None:
    one, other, longer = (words(f"about {number} apples").buckets for number in (4711, 99999999, 12))
    assert [a == b for a, b in zip(one, other, strict=True)] == [True, True, False, True, True, True]
    assert one[1] != longer[1]
    assert words("#4").buckets != words("4711").buckets


@pytest.mark.parametrize(("text", "numbers"), [("1 22 333", 3), ("3.14", 2), ("x1 1x 1_000", 0), ("١ ² ９", 0)])
def test_numbers_are_of_ascii_digits(text: str, numbers: int) -> None:
    assert words(text).numbers == numbers


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Ask Ann", 1),
        ("ask, Ann", 1),
        ("Ann asks", 0),
        ("ask. Ann", 0),
        ("ask\nAnn", 0),
        ("ask ANN", 0),
        ("ask A", 0),
        ("ask Éva, Ölund and Жан", 3),
        ("ask 7 Ann", 0),
        ("ask McDonald and iPhone", 1),
        ("ask X1", 1),
    ],
)
def test_names_are_capitalized_words_inside_sentences(text: str, names: int) -> None:
    assert words(text).names == names


def test_counts_of_characters() -> None:
    found = words("Äpfel NASA İ 中 x^2 = {\"a\": 'b'} (f[0]) $\\frac | é")
    assert (found.uppercase, found.symbols, found.quotes, found.brackets) == (6, 7, 4, 2)
    assert words("é" * LONG_WORD + " " + "é" * (LONG_WORD - 1) + " 123456789").long_words == 1


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("A. one\nB. two", 2),
        ("  (a) one\n\t(b) two\r\nc) three", 3),
        ("Ab. one", 0),
        ("1. one", 0),
        ("((a) one", 0),
        ("é. one", 0),
        ("A\n.", 0),
        ("(", 0),
        ("A.", 1),
        ("", 0),
    ],
)
def test_lines_that_begin_as_an_answer_to_choose(text: str, options: int) -> None:
    assert words(text).options == options


def test_words_of_the_vocabulary() -> None:
    assert of_group("PROVE it, and explain why") == {"math": 1, "reasoning": 2}
    assert of_group("none of these") == {"code": 1, "negation": 1}
    assert of_group("The plaintiff sued her husband.") == {"law": 2, "story": 2}
    assert of_group("proves nones pro-ve 123") == {}
    assert of_group("hello hello") == {"everyday": 2}, "each time"


def test_only_the_ends_of_a_long_text_are_looked_at() -> None:
    middle = ["Z ", "中", "prove ", "\ud7ff"]
    head, tail = "é " * (WORD_HEAD // 2), " b" * (WORD_TAIL // 2)
    assert words(head + tail).terms == (WORD_HEAD + WORD_TAIL) // 2
    for filler in middle:
        assert words(head + filler + tail) == words(f"{head}\n{tail}"), "and nothing is made of two halves"


def test_hostile_texts_end() -> None:
    for unit in ("a", "A ", "1 ", "\n", ". ", "中", "é,", "(", " ", "A.\n", "\u0301"):
        found = words(unit * (300_000 // len(unit)))
        assert found.terms <= WORD_HEAD + WORD_TAIL + 1
        assert len(found.buckets) <= 12
