"""What the model said -> tier, confidence and score."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway.classifiers.llm import Band
from bsgateway.classifiers.llm.answer import WITHIN_TIER, read_answer
from bsgateway.decision import Strategy
from bsgateway.ollama_server import ChatAnswer, TokenProbs

BANDS = (Band("simple", 0, 30, ""), Band("medium", 31, 65, ""), Band("complex", 66, 100, ""))


def _probs(*tokens: tuple[str, dict[str, float]]) -> tuple[TokenProbs, ...]:
    """Tokens with the probability of each in its place."""
    return tuple(
        TokenProbs(said, math.log(odds[said]), {text: math.log(each) for text, each in odds.items() if each > 0})
        for said, odds in tokens
    )


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        ('"simple"', "simple"),
        (' "complex"\n', "complex"),
        ('" Medium "', "medium"),
        ("simple", "simple"),
        ("COMPLEX\n", "complex"),
        ('{"tier": "medium"}', "medium"),
        ('{"anything":" SIMPLE"}', "simple"),
        ("", None),
        ('""', None),
        ("simple medium", None),
        ('"simple" "medium"', None),
        ("simple.", None),
        ('"simpl"', None),
        ('["simple"]', None),
        ('{"tier": "simple", "other": "medium"}', None),
        ('{"tier": {"tier": "simple"}}', None),
        ("{}", None),
        ("1", None),
        ("null", None),
        ('"simple', None),
        ("[" * 100_000, None),
        ("simple" + " " * 100_000, None),
        ("The request is simple", None),
    ],
)
def test_only_exactly_one_name_is_an_answer(text: str, tier: str | None) -> None:
    read = read_answer(ChatAnswer(text), BANDS)
    if tier is None:
        assert read is None
        return
    assert read is not None
    band = next(band for band in BANDS if band.name == tier)
    named, confidence, scored = read
    assert (named, confidence, scored.raw_score, scored.strategy) == (tier, 1.0, band.middle, Strategy.LLM)
    assert [(each.signal, each.points) for each in scored.contributions] == [(f"llm:{tier}", band.middle)]


@pytest.mark.parametrize("name", ["1", "null", "true", 'a "b"', "café", "простой", "Straße", "two words"])
def test_names_that_json_writes_otherwise_are_read(name: str) -> None:
    bands = (Band(name, 0, 50, ""), Band("other", 51, 100, ""))
    for text in (json.dumps(name), json.dumps(name, ensure_ascii=False), json.dumps({"tier": name})):
        read = read_answer(ChatAnswer(text), bands)
        assert read is not None
        assert read[0] == name


def test_names_that_differ_in_case_only_are_told_apart() -> None:
    bands = (Band("Fast", 0, 50, ""), Band("fast", 51, 100, ""))
    read = read_answer(ChatAnswer('"fast"'), bands)
    assert read is not None
    assert read[0] == "fast"
    assert read_answer(ChatAnswer('"FAST"'), bands) is None


ODDS = {"simple": 0.5, "medium": 0.25, "complex": 0.05, "The": 0.2}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ('"simple"', _probs(('"', {'"': 0.9, "The": 0.1}), ("simple", ODDS), ('"', {'"': 1.0}))),
        ('"simple"', _probs(('"simple', {f'"{name}': odds for name, odds in ODDS.items()}), ('"', {'"': 1.0}))),
        ('"simple"', _probs(('"', {'"': 1.0}), ("sim", {"sim": 0.5, "med": 0.25, "com": 0.05}), ("ple", {"ple": 1.0}))),
        ('"simple"', _probs(('"', {'"': 1.0}), ("s", {"s": 0.5, "m": 0.2, "me": 0.05, "c": 0.05}), ("i", {"i": 1.0}))),
        ("simple", _probs(("simple", ODDS))),
        ("Simple", _probs(("Simple", {"Simple": 0.5, "Medium": 0.25, "complex": 0.05}))),
        ('{"tier":"simple"}', _probs(('{"tier":', {'{"tier":': 1.0}), ('"', {'"': 1.0}), ("simple", ODDS))),
    ],
)
def test_probabilities_are_those_where_the_names_part(text: str, tokens: tuple[TokenProbs, ...]) -> None:
    read = read_answer(ChatAnswer(text, tokens), BANDS)
    assert read is not None
    tier, confidence, scored = read
    assert tier == "simple"
    assert confidence == pytest.approx(0.625)
    assert [each.weight for each in scored.contributions[:3]] == pytest.approx([0.625, 0.3125, 0.0625])
    assert scored.raw_score == pytest.approx(0.625 * 15 + 0.3125 * 48 + 0.0625 * 83)


def test_a_score_is_kept_within_the_tier_that_was_named() -> None:
    tokens = _probs(('"', {'"': 1.0}), ("simple", {"simple": 0.4, "complex": 0.35, "medium": 0.25}))
    read = read_answer(ChatAnswer('"simple"', tokens), BANDS)
    assert read is not None
    last = read[2].contributions[-1]
    assert (read[2].raw_score, last.signal, last.weight) == (30.0, WITHIN_TIER, 0.0)
    assert last.points == pytest.approx(30 - (0.4 * 15 + 0.35 * 83 + 0.25 * 48))


def test_names_that_begin_alike_part_late() -> None:
    bands = (Band("medium", 0, 50, ""), Band("medium-high", 51, 80, ""), Band("high", 81, 100, ""))
    tokens = _probs(('"', {'"': 1.0}), ("medium", {"medium": 0.8, "high": 0.2}), ("-high", {"-high": 0.75, '"': 0.25}))
    read = read_answer(ChatAnswer('"medium-high"', tokens), bands)
    assert read is not None
    weights = {each.signal: each.weight for each in read[2].contributions}
    assert weights["llm:medium"] == pytest.approx(0.2)
    assert weights["llm:medium-high"] == pytest.approx(0.6) == read[1]
    assert weights["llm:high"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "tokens",
    [
        (TokenProbs('"', -0.1), TokenProbs("simple", math.nan, {"medium": -1.0})),
        (TokenProbs('"', -0.1), TokenProbs("simple", 0.5, {"medium": -1.0})),
        (TokenProbs('"', -0.1), TokenProbs("simple", -0.1, {"medium": -0.1})),  # more than 1 together
        (TokenProbs('"', -0.1), TokenProbs("medium", -0.1, {"simple": -3.0})),  # of another answer
        (TokenProbs('"', -0.1), TokenProbs("simple", -math.inf, {"medium": -0.5})),
        (TokenProbs('"', -0.1),),
        (TokenProbs("", -0.1),),
        (TokenProbs("<think>", -0.1, {}),),
    ],
)
def test_probabilities_that_make_no_sense_do_not_count(tokens: tuple[TokenProbs, ...]) -> None:
    read = read_answer(ChatAnswer('"simple"', tokens), BANDS)
    assert read is not None
    assert (read[0], read[1], read[2].raw_score) == ("simple", 1.0, 15.0)


names = st.lists(
    st.text(min_size=1, max_size=12).filter(lambda text: text.strip()), min_size=1, max_size=6, unique=True
)


@st.composite
def _answers(draw: st.DrawFn) -> tuple[tuple[Band, ...], ChatAnswer]:
    tiers = draw(names)
    edges = sorted(draw(st.sets(st.integers(1, 100), min_size=len(tiers) - 1, max_size=len(tiers) - 1)))
    bands = tuple(
        Band(name, first, last - 1, "") for name, first, last in zip(tiers, [0, *edges], [*edges, 101], strict=True)
    )
    text = draw(st.sampled_from([json.dumps(name, ensure_ascii=False) for name in tiers]) | st.text(max_size=20))
    cuts = [0, *sorted(draw(st.sets(st.integers(0, len(text)), max_size=4))), len(text)]
    number = st.floats(max_value=0.0) | st.floats()
    other = st.text(max_size=5) | st.sampled_from([json.dumps(name, ensure_ascii=False) for name in tiers])
    tokens = tuple(
        TokenProbs(text[first:last], draw(number), draw(st.dictionaries(other, number, max_size=4)))
        for first, last in pairwise(cuts)
    )
    return bands, ChatAnswer(text, draw(st.sampled_from([tokens, ()])))


@given(_answers())
def test_any_answer_gives_a_score_of_the_named_tier_or_none(case: tuple[tuple[Band, ...], ChatAnswer]) -> None:
    bands, answer = case
    read = read_answer(answer, bands)
    if read is None:
        return
    tier, confidence, scored = read
    band = next(band for band in bands if band.name == tier)
    assert band.first <= scored.raw_score <= band.last
    assert 0.0 < confidence <= 1.0
    assert math.fsum(each.points for each in scored.contributions) == pytest.approx(scored.raw_score, abs=1e-9)
    weights = [each.weight for each in scored.contributions if each.signal != WITHIN_TIER]
    assert math.fsum(weights) == pytest.approx(1.0)
