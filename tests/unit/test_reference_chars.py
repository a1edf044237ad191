"""Character rules of the twin: cleaning, folding, what is part of a word."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.reference.chars import SEPARATORS, UNSPACED, byte_length, clean, fold, is_word, quote

any_text = st.text(st.characters(exclude_categories=()), max_size=30)
quick = settings(deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("", ""),
        ("plain", "plain"),
        ("é😀\x00", "é😀\x00"),
        ("\ud800", "\ufffd"),
        ("a\udfffb", "a\ufffdb"),
        ("\ud83d\ude00", "\ufffd\ufffd"),  # one for one, even where the two would be one character
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@quick
@given(any_text)
def test_a_clean_text_has_a_utf8_form_of_the_same_length(text: str) -> None:
    cleaned = clean(text)
    assert cleaned.encode().decode() == cleaned
    assert len(cleaned) == len(text)
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("a", '"a"'), ('"\n', '"\\"\\n"'), ("é中", '"é中"'), ("\ud800", '"\ufffd"'), ("\x00", '"\\u0000"')],
)
def test_quote(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("AbC xyz 09_", "abc xyz 09_"),
        ("ÀÉÎÕÜ ŸŽ", "àéîõü ÿž"),
        ("ΑΣ σς", "ασ σσ"),  # final sigma is sigma
        ("ДОКАЖИ", "докажи"),
        ("ԱԲ", "աբ"),
        ("ＡＢＣ", "ａｂｃ"),
        ("İstanbul I", "istanbul i"),  # one character for one
        ("ß ẞ", "ß ß"),
        ("中文 한국 ไทย", "中文 한국 ไทย"),
        ("ǅ ǆ", "ǆ ǆ"),
        ("a\tb\nc\rd", "a b c d"),
        ("a\x0b\x0c\x85\xa0\u2003\u2028\u202f\u3000b", "a" + " " * 8 + "b"),
        ("a\u200bb", "a\u200bb"),  # no width, no space
        ("Ⅷ Ａ Ⓐ", "Ⅷ ａ Ⓐ"),  # only blocks whose pairs are complete
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


@quick
@given(any_text)
def test_folding_keeps_every_offset_and_is_done_once(text: str) -> None:
    assert len(fold(text)) == len(text)
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize("char", [*"azAZ09_", *"éßÀ", *"ДΣա", "\xaa", "\xb5", "\xba", "ａ", "９", "\U00040000", "ı"])
def test_characters_of_words(char: str) -> None:
    assert is_word(char)


@pytest.mark.parametrize(
    "char",
    [*" -.,'\"`!?*(){}[]<>/\\|@#$%^&+=~:;\n\t\x00\x7f", *"×÷«»©€“”’—…", *"、。「」", *"中文のカ한ก", "\u0e01",
     "\u2028", "\ue000", "\ufffd", "😀", "\U00020000", "ｶ"],
)  # fmt: skip
def test_characters_that_end_words(char: str) -> None:
    assert not is_word(char)


@pytest.mark.parametrize("ranges", [SEPARATORS, UNSPACED])
def test_ranges_ascend_and_do_not_touch(ranges: tuple[tuple[int, int], ...]) -> None:
    edges = [edge for bounds in ranges for edge in bounds]
    assert edges == sorted(edges)
    assert all(low <= high for low, high in ranges)
    assert all(after[0] > before[1] for before, after in itertools.pairwise(ranges))


@pytest.mark.parametrize(
    ("text", "size"), [("", 0), ("abc", 3), ("é", 2), ("中", 3), ("😀", 4), ("a\x00", 2), ("\ud8f0", 3)]
)
def test_byte_length(text: str, size: int) -> None:
    assert byte_length(text) == size
