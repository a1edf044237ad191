"""A log in which a signal is planted: what a request is about decides how often the cheap model fails.

Only the words tell: subjects are no harder or easier by their length, numbers or any other count.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from bsgateway.core import core
from bsgateway.decision import Caller, Comparison, Decision, LlmStatus, Outcome, Strategy, Texts
from bsgateway.learn.asks import default_analyzer, matrix, measure
from bsgateway.learn.rows import Rows
from builders import id_at, make_comparison, make_decision, make_outcome, make_texts

SUBJECTS = 16
WORDS_OF_A_SUBJECT = 12
LETTERS = "bdfgklmnprstvz"
VOWELS = "aeiou"
TURNS = 2

Record = Decision | Texts | Outcome | Comparison


class Ask(NamedTuple):
    """What is asked, and whether the cheap model's answer fails."""

    text: str
    fails: bool


def make_asks(count: int, seed: int = 0, signal: bool = True) -> list[Ask]:
    """`count` asks; of the even subjects 96 % fail, of the odd ones 4 %. Without a `signal`, half of all."""
    chance = random.Random(seed)
    words = random.Random(1)  # the same language for every seed
    common = [_word(words) for _ in range(60)]
    subjects = [[_word(words) for _ in range(WORDS_OF_A_SUBJECT)] for _ in range(SUBJECTS)]
    asks = []
    for _ in range(count):
        subject = chance.randrange(SUBJECTS)
        said = chance.choices(subjects[subject], k=4) + chance.choices(common, k=chance.randint(4, 30))
        chance.shuffle(said)
        fails = chance.random() < ((0.96, 0.04)[subject % 2] if signal else 0.5)
        asks.append(Ask(" ".join(said).capitalize() + ".", fails))
    return asks


def _word(chance: random.Random) -> str:
    return "".join(chance.choice(LETTERS) + chance.choice(VOWELS) for _ in range(3))


def make_log(
    asks: Sequence[Ask], start: datetime, apart: timedelta, compared: bool = True, judged: bool = False
) -> Iterator[list[Record]]:
    """The records of a request for each ask, `apart` in time, some in each conversation; all were answered by the
    cheapest tier. `compared`: each was a dual run. `judged`: a local LLM named a tier, `complex` for those that fail,
    and no two are of one conversation. Otherwise the log says nothing more about them."""
    for place in range(0, len(asks), 1_000):
        part = asks[place : place + 1_000]
        features = matrix(default_analyzer().featurize([ask.text for ask in part]).features, len(core.FEATURE_NAMES))
        records: list[Record] = []
        for number, (ask, row) in enumerate(zip(part, features, strict=True), place):
            records += _request(ask, row, start + number * apart, number, compared, judged)
        yield records


def _request(ask: Ask, features: Any, at: datetime, number: int, compared: bool, judged: bool) -> list[Record]:
    tier = ("complex" if ask.fails else "simple") if judged else None
    decision = make_decision(
        decision_id=id_at(at, number),
        created_at=at,
        resolved_model="small",
        strategy=Strategy.STATIC,
        raw_score=float(np.float32(features[0]) % 30),
        needs=(),
        features=tuple(features.tolist()),
        feature_version=core.FEATURE_VERSION,
        caller=Caller(),
        conversation_id=f"{number if judged else number // TURNS:032x}",
        explored=False,
        propensity=None,
        llm_status=LlmStatus.ASKED if judged else None,
        llm_tier=tier,
        llm_confidence=0.75 if judged else None,
        llm_model="tiny" if judged else None,
        llm_prompt="1-0123abcd" if judged else None,
    )
    records: list[Record] = [decision, make_texts(decision, ask=ask.text, system=""), make_outcome(decision)]
    if compared:
        scores = {"weak_score": float(not ask.fails), "strong_score": 1.0}
        records.append(make_comparison(decision, weak_model="small", judge="match", judge_model=None, **scores))
    return records


def labelled_rows(asks: Sequence[Ask], **fields: Any) -> Rows:
    """Rows with both scores, each prompt its own conversation, one after the other."""
    measured = measure([ask.text for ask in asks], default_analyzer())
    count = len(asks)
    rows = Rows(
        inputs=measured.inputs,
        words=measured.words,
        weak=np.array([float(not ask.fails) for ask in asks]),
        strong=np.ones(count),
        weight=np.ones(count),
        group=np.arange(count),
        at=np.arange(count, dtype=np.float64),
        length=measured.length,
        static=measured.static,
        prompts=measured.prompts,
        source=np.full(count, "dual_run", object),
    )
    return replace(rows, **fields)
