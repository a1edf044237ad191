"""`judge.py`: which of two answers is better."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway.config import Judge
from bsgateway.judge import (
    EQUAL,
    FIRST,
    SECOND,
    JudgeError,
    Scores,
    compare,
    cosine,
    final_answer,
    is_match,
    normalized,
    read_verdict,
    together,
)


class Referee:
    """A judge that thinks the longer answer better, or says what it is told; it writes down what it was shown."""

    def __init__(self, *says: str | None) -> None:
        self.says = list(says)
        self.shown: list[tuple[str, str, str]] = []

    async def say(self, model: str, system: str, question: str, max_tokens: int) -> str | None:
        self.shown.append((model, system, question))
        if self.says:
            return self.says.pop(0)
        one, other = (question.partition(f"<{mark}>")[2].partition(f"</{mark}>")[0] for mark in ("first", "second"))
        return "first" if len(one) > len(other) else "Second." if len(other) > len(one) else "EQUAL"

    async def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        self.shown.append((model, *texts))  # type: ignore[arg-type]
        return [[float(text.count("a")), float(text.count("b"))] for text in texts]


# The same words, the same final answer


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paris.", "  paris ", True),
        ("**Paris**", "Paris", True),
        ("x + y", "x < y", False),
        ("Caf\u00e9", "Cafe\u0301", True),
        ("\uff11\uff12", "12", True),
        ("Paris is the capital.", "The capital is Paris.", False),
        ("", "", False),
        ("...", "!!!", False),
        ("3 apples and 4 pears make\n7", "So the sum is 7.", True),
        ("The total is $1,200.00", "1200", True),
        ("The total is 1,200", "The total is 1,300", False),
        ("7.10", "7.1", True),
        ("It is -3", "It is 3", False),
        (f"It is {10**40 + 1}", f"So {10**40 + 2}", False),
        ("It is 1200", "It is 12", False),
        ("In 1969 they landed.\nIt was a great day.", "In 1969.", False),  # its last line has no number
        ("The answer is (B).", "B", True),
        ("Option C", "**C)** because it is larger", True),
        ("Answer: A", "Answer: B", False),
        ("The answer is a dog", "A", False),
        ("The answer I gave", "I", False),
        ("A dog and a cat", "A bird and a fish", False),
        ("version v2", "release v2 of it", False),  # no number stands by itself
    ],
)
def test_match(one: str, other: str, same: bool) -> None:
    assert is_match(one, other) is same
    assert is_match(other, one) is same


@pytest.mark.parametrize("end", ["answer" + " " * 50_000, "answer:" * 10_000, "1" + ",111" * 20_000, "_" * 80_000])
def test_the_end_of_a_long_answer_is_read_in_no_time(end: str) -> None:
    began = time.monotonic()
    assert set(final_answer(f"{end}x") or "") <= {"1"}
    assert time.monotonic() - began < 5.0  # it took minutes once


@given(st.text())
def test_a_text_with_a_letter_matches_itself(text: str) -> None:
    assert is_match(text, text) is (bool(normalized(text)) or final_answer(text) is not None)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_a_number_is_read_however_it_is_written(number: object) -> None:
    assert final_answer(f"It is {number}") == final_answer(f"So: {number:,}.") is not None


async def test_match_takes_the_dear_answer_for_right() -> None:
    silent = Referee()
    assert await compare(Judge(), "?", "4", "The answer is 4", silent) == Scores(1.0, 1.0)
    assert await compare(Judge(), "?", "5", "The answer is 4", silent) == Scores(0.0, 1.0)
    assert silent.shown == []


# Embeddings


async def test_embedding_counts_from_its_threshold_on() -> None:
    judge = Judge("embedding", "vectors", similarity=0.8)
    assert await compare(judge, "?", "aaab", "aaaaab", Referee()) == Scores(1.0, 1.0)
    assert await compare(judge, "?", "aaab", "abbb", Referee()) == Scores(0.0, 1.0)
    assert await compare(Judge("embedding", "vectors", similarity=1.0), "?", "ab", "ab", Referee()) in (
        Scores(1.0, 1.0),
        Scores(0.0, 1.0),  # a cosine of 1 may come out a bit smaller
    )


@pytest.mark.parametrize(
    ("one", "other"), [([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([], []), ([float("inf")], [1.0]), ([float("nan")], [1.0])]
)
def test_vectors_that_have_no_cosine(one: list[float], other: list[float]) -> None:
    with pytest.raises(JudgeError, match="cannot be compared"):
        cosine(one, other)


def test_cosine() -> None:
    assert cosine([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert cosine([1, 0], [0, 5]) == 0
    assert cosine([1, 0], [-2, 0]) == -1


# A model that judges


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("FIRST", FIRST),
        ("second", SECOND),
        ("**Equal**.", EQUAL),
        ("The first answer is better.", FIRST),
        ("<think>The second is longer, the first is right.</think>\nFIRST", FIRST),
        ("<thinking>never closed: first", None),
        ("FIRST\nThe second answer misses the point.", FIRST),
        ("The first is short, the second complete.\n\nSECOND", SECOND),
        ("The first is short, the second complete.", None),
        ("FIRST\nor\nSECOND", None),
        ("firstly", None),
        ("", None),
        ("I cannot say.", None),
    ],
)
def test_reading_a_verdict(said: str, verdict: str | None) -> None:
    assert read_verdict(said) == verdict


@given(st.text(alphabet="FIRSTsecond EQUAL<think>/\n.*"))
def test_any_words_are_a_verdict_or_none(said: str) -> None:
    assert read_verdict(said) in (FIRST, SECOND, EQUAL, None)


@pytest.mark.parametrize(
    ("forth", "back", "scores"),
    [
        (FIRST, SECOND, Scores(1.0, 0.0)),
        (SECOND, FIRST, Scores(0.0, 1.0)),
        (EQUAL, EQUAL, Scores(0.5, 0.5)),
        (FIRST, FIRST, Scores(0.5, 0.5)),
        (SECOND, SECOND, Scores(0.5, 0.5)),
        (FIRST, EQUAL, Scores(0.5, 0.5)),
        (EQUAL, FIRST, Scores(0.5, 0.5)),
    ],
)
def test_only_who_wins_in_both_orders_has_won(forth: str, back: str, scores: Scores) -> None:
    assert together(forth, back) == scores


async def test_the_judge_sees_both_orders() -> None:
    referee = Referee()
    judge = Judge("llm", "referee")
    assert await compare(judge, "How long?", "short", "much longer", referee) == Scores(0.0, 1.0)
    assert await compare(judge, "How long?", "much longer", "short", referee) == Scores(1.0, 0.0)
    assert await compare(judge, "How long?", "alike", "equal", referee) == Scores(0.5, 0.5)
    (model, _, question), (_, _, turned), *_ = referee.shown
    assert model == "referee"
    assert "How long?" in question
    assert question.index("short") < question.index("much longer")
    assert turned.index("much longer") < turned.index("short")


async def test_a_judge_that_always_prefers_what_comes_first_has_no_say() -> None:
    assert await compare(Judge("llm", "referee"), "?", "one", "other", Referee("FIRST", "FIRST")) == Scores(0.5, 0.5)


@pytest.mark.parametrize("said", [None, "", "both have a secret point"])
async def test_a_judge_without_a_verdict(said: str | None) -> None:
    with pytest.raises(JudgeError, match="gave no verdict") as caught:
        await compare(Judge("llm", "referee"), "?", "one", "other", Referee("FIRST", said))
    assert "secret" not in str(caught.value)
