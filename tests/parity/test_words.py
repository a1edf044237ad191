"""Words, inputs and the bulk calls: as the twin's, on any text."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway import _core, reference
from bsgateway.reference import chars
from bsgateway.reference.inputs import INPUT_NEEDS
from bsgateway.reference.words import WORD_HEAD, WORD_TAIL, vocabulary

from .analyses import arguments
from .strategies import Items, Name, examples, texts

NATIVE, TWIN = _core.Analyzer(**arguments()), reference.Analyzer(**arguments())
WIDTH = len(reference.FEATURE_NAMES)
fewer = settings(examples, max_examples=max(1, examples.max_examples // 4))  # the twin takes its time over long texts

_vocabulary = sorted({word for group in vocabulary().values() for word in group})
_pieces = st.sampled_from(
    [*"aB_1 9,\n\r\t-.(['\"$=\\", "A.", "(b)", "12345", ", Ann", " Éva", "ǅx", "İf", "ſin", "Σας", "Жук", "Ա", "中",
     "のก한", "😀", "\u0301", "\ue000",
     "\ud800", "\u00a0", "\x85", "\u2028", "\u200b", "\x0b", "\x00", "\x7f", "ﬁ", "ＡＢ１"]
)  # fmt: skip
_words = st.sampled_from(_vocabulary).flatmap(
    lambda word: st.sampled_from([word, word.title(), word.upper(), word + "s"])
)
_terms = st.lists(st.one_of(_pieces, _pieces, _words.map(" {} ".format)), max_size=40).map("".join)
_texts = st.one_of(_terms, texts)


def assert_same(sent: list[str]) -> None:
    found, expected = NATIVE.featurize(sent), TWIN.featurize(sent)
    rows = f"={len(sent) * WIDTH}d"  # numbers first, which say more when they differ
    assert struct.unpack(rows, found.features) == struct.unpack(rows, expected.features)
    for name in ("features", "static", "indptr", "indices"):
        assert getattr(found, name) == getattr(expected, name), name
        assert type(getattr(found, name)) is bytes
    assert _core.word_buckets(sent) == reference.word_buckets(sent)
    assert _core.model_inputs(found.features, None) == reference.model_inputs(expected.features, None)


@examples
@given(st.lists(_texts, max_size=3))
def test_texts(sent: list[str]) -> None:
    assert_same(sent)


@fewer
@given(st.data())
def test_texts_around_the_windows(data: st.DataObject) -> None:
    """Texts about as long as what is looked at, where a term, a number or an option stands at the edge of a window."""
    filler = data.draw(st.sampled_from(["x ", "é ", "中", "\ud800", "X", "1", "\n", ", A"]))
    length = data.draw(st.integers(WORD_HEAD + WORD_TAIL - 20, WORD_HEAD + WORD_TAIL + 20))
    edge = data.draw(st.sampled_from([WORD_HEAD, length - WORD_TAIL]))
    at = edge + data.draw(st.integers(-12, 12))
    inside = data.draw(_terms)
    text = (filler * length)[:at] + inside + (filler * length)[: max(length - at - len(inside), 0)]
    assert_same([text])


def test_every_code_point_is_read_alike() -> None:
    around = [edge + step for bounds in (*chars.SEPARATORS, *chars.UNSPACED) for edge in bounds for step in (-1, 0, 1)]
    points = [*range(0x3000), *range(0xA000, 0xB000), *range(0xF900, 0x10200), *range(0, 0x110000, 97), *around]
    for start in range(0, len(points), 500):
        assert_same(["".join(f"x{chr(cp)}y {chr(cp)}{chr(cp)} a {chr(cp)}z\n" for cp in points[start : start + 500])])


def test_every_word_of_the_vocabulary() -> None:
    assert_same([" ".join(_vocabulary), *(form(word) for word in _vocabulary for form in (str, str.title, str.upper))])


@pytest.mark.parametrize("text", ["a" * 1_000_000, "\n" * 300_000, "é," * 200_000, "\ud800" * 9999, "A.\n" * 30_000])
def test_large_texts(text: str) -> None:
    assert_same([text])


_counts = st.one_of(st.integers(0, 5000).map(float), st.floats(0, 1e300), st.sampled_from([0.0, 1.0, 2.0**53, 5e-324]))
_rows = st.lists(st.lists(_counts, min_size=WIDTH, max_size=WIDTH), max_size=3)
_needs = st.lists(st.sampled_from([*INPUT_NEEDS, "parallel_tools", "", "é", "Tools"]), max_size=4)


@examples
@given(_rows, st.data())
def test_inputs(rows: list[list[float]], data: st.DataObject) -> None:
    features = b"".join(struct.pack(f"={WIDTH}d", *row) for row in rows)
    needs = data.draw(st.lists(_needs, min_size=len(rows), max_size=len(rows)))
    assert _core.model_inputs(features, needs) == reference.model_inputs(features, needs)
    assert _core.model_inputs(features, tuple(map(tuple, needs))) == reference.model_inputs(features, needs)


@pytest.mark.parametrize(
    ("features", "needs"),
    [
        (b"x", None),
        (bytes(8 * WIDTH - 8), None),
        (bytes(8 * WIDTH), []),
        (b"", [["tools"]]),
        (struct.pack(f"={WIDTH}d", *[0.0] * (WIDTH - 1), -1.0), None),
        (struct.pack(f"={WIDTH}d", *[math.inf] * WIDTH), None),
        (struct.pack(f"={2 * WIDTH}d", *[0.0] * (WIDTH + 3), math.nan, *[0.0] * (WIDTH - 4)), None),
    ],
)
def test_what_does_not_fit_is_refused_in_the_same_words(features: bytes, needs: Any) -> None:
    said = []
    for core in (_core, reference):
        with pytest.raises(ValueError, match=r"\w") as error:
            core.model_inputs(features, needs)
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("sent", ["one text", b"bytes", [b"bytes"], [None], ["text", 1]])
def test_only_texts(sent: Any) -> None:
    for measure in (NATIVE.featurize, TWIN.featurize, _core.word_buckets, reference.word_buckets):
        with pytest.raises(TypeError):
            measure(sent)


def test_subclasses_of_str_and_list() -> None:
    sent = Items([Name("Ask Ann"), "why?"])
    assert NATIVE.featurize(sent).features == TWIN.featurize(list(sent)).features
    assert _core.word_buckets(tuple(sent)) == reference.word_buckets(tuple(sent))


def test_the_memo_is_left_out_of_it() -> None:
    remembers = arguments(memo_bytes=1_000_000, exact_token_bytes=20)
    for analyzer in (_core.Analyzer(**remembers), reference.Analyzer(**remembers)):
        text = "a text that is longer than what is counted exactly, " * 3
        analyzer.analyze({"messages": [{"role": "user", "content": text}]}, "chat")
        before = analyzer.memo_stats()
        analyzer.featurize([text, text])
        assert analyzer.memo_stats() == before
