"""Keywords, seen through the analyzer: folding, word boundaries, prefixes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bsgateway import _core, reference
from bsgateway.reference import chars
from bsgateway.reference.lexicon import check_keyword

from .strategies import examples

COMPLEX = reference.FEATURE_NAMES.index("complex_keywords")
SIMPLE = reference.FEATURE_NAMES.index("simple_keywords")


def counts(core: Any, complex: list[str], simple: list[str], text: str) -> tuple[float, float]:
    analyzer = core.Analyzer(
        dict.fromkeys(reference.SIGNALS, 1.0), (1, 2, 3, 4, 5), complex, simple, 0, 0, 0, "o200k_base"
    )
    features = analyzer.analyze({"messages": [{"role": "user", "content": text}]}, "chat").features
    return features[COMPLEX], features[SIMPLE]


def outcome(core: Any, keywords: list[str], text: str) -> tuple[str, object]:
    """What `keywords` count in `text`, or why there are no such keywords."""
    try:
        return "counted", counts(core, keywords, [], text)
    except ValueError as error:
        return "refused", str(error)


def assert_same(complex: list[str], simple: list[str], text: str) -> tuple[float, float]:
    expected = counts(reference, complex, simple, text)
    assert counts(_core, complex, simple, text) == expected
    return expected


_alphabet = st.sampled_from("aabAB_1 \n\u00a0-*'éÉßſİıΣςσЖжԱ中のก한😀\u0301\ue000\ud800")
_words = st.text(st.one_of(_alphabet, st.characters(exclude_categories=())), max_size=4)
_keywords = st.lists(st.builds("{}{}".format, _words, st.sampled_from(["", "", "*"])), max_size=6)
_valid = st.lists(st.text(_alphabet, min_size=1, max_size=3).filter(lambda word: not check_keyword(word)), max_size=6)


@examples
@given(_valid, _valid, st.text(_alphabet, max_size=40))
def test_valid_keywords(complex: list[str], simple: list[str], text: str) -> None:
    assert_same(complex, simple, text)


@examples
@given(_keywords, _words)
def test_any_keywords(keywords: list[str], text: str) -> None:
    assert outcome(_core, keywords, text) == outcome(reference, keywords, text)


@examples
@given(st.data())
def test_keywords_around_the_windows(data: st.DataObject) -> None:
    """A keyword near 2048 characters from either end, in texts around twice that."""
    filler = data.draw(st.sampled_from(["x ", "é ", "中", "\ud800"]))
    length = data.draw(st.integers(4080, 4130))
    at = data.draw(st.one_of(st.integers(2030, 2060), st.integers(length - 2060, length - 2030)))
    text = (filler * length)[:at] + " prove it " + (filler * length)[: max(length - at - 10, 0)]
    assert_same(["prove it", "prove", "it"], [], text)


_RANGES = (*chars.SEPARATORS, *chars.UNSPACED)
_EDGES = [edge + step for bounds in _RANGES for edge in bounds for step in (-1, 0, 1)]
_CASED = [*range(0x00, 0x600), *range(0x1C80, 0x2100), *range(0x2C00, 0x2E80), *range(0xFF00, 0x10000)]
_OTHERS = [*range(0, 0x110000, 997)]


def test_every_cased_character_folds_alike() -> None:
    for cp in (*_CASED, *_EDGES, *_OTHERS):
        char = chr(cp)
        # Every way a case table could go: as it stands, and each case that Python knows.
        keywords = [f"{other}z" for other in {char, char.lower(), char.upper(), char.title()} if other.strip()]
        if not any(check_keyword(keyword) for keyword in keywords):
            assert_same(keywords, [], f"{char}z")
        assert_same(["a b"], [], f"a{char}b")


def test_every_kind_of_character_ends_words_alike() -> None:
    seen = set()
    for cp in (*_CASED, *_EDGES, *_OTHERS):
        seen.add(assert_same(["word"], ["word*"], f"{chr(cp)}word"))
        seen.add(assert_same(["word"], ["word*"], f"word{chr(cp)}"))
    assert seen == {(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)}
