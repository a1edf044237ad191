"""What rows of the log say about the cheap and the dear model, and how rows with a label become arrays."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from bsgateway.core import core
from bsgateway.decision import new_id
from bsgateway.learn import labelling
from bsgateway.learn.asks import default_analyzer
from bsgateway.learn.dataset import concat
from bsgateway.learn.labelling import V1_FEATURES
from bsgateway.learn.labels import Label, Logged, Scores, Tiers, of_itself, of_next
from bsgateway.learn.log_rows import LogRows
from bsgateway.learn.rows import Rows
from bsgateway.learn.same_ask import NO_PROMPT

TIERS = Tiers({"simple": ("small", "tiny"), "medium": ("middle",), "complex": ("large",)})
START = datetime(2026, 3, 1, tzinfo=timezone.utc)
ASK = "Please explain how the tides come about."
WIDTH = len(core.FEATURE_NAMES)


def features_of(ask: str, **changed: float) -> list[float]:
    """The features of a request of one user message, some of them changed."""
    body = {"messages": [{"role": "user", "content": ask}]}
    named = dict(zip(core.FEATURE_NAMES, default_analyzer().analyze(body, "chat").features, strict=True))
    return list((named | changed).values())


def row(ask: str | None = ASK, seconds: float = 0.0, **fields: Any) -> dict[str, Any]:
    """A row of the view, answered by the cheapest tier."""
    return {
        "decision_id": new_id(),
        "created_at": START + timedelta(seconds=seconds),
        "conversation_id": None,
        "session_id": None,
        "reason": "score",
        "tier": "simple",
        "resolved_model": "small",
        "served_group": "small",
        "strategy": "static",
        "raw_score": 12.5,
        "features": features_of(ask or ASK),
        "feature_version": core.FEATURE_VERSION,
        "needs": (),
        "ask": ask,
        "status": "success",
        "error_class": None,
        "finish_reason": "stop",
        "rating": None,
        "label": None,
        "label_source": None,
        "weak_score": None,
        "strong_score": None,
        "judge": None,
        "llm_status": None,
        "llm_tier": None,
        "llm_confidence": None,
        "of_no_interest": 1,
        **fields,
    }


def scores(**fields: Any) -> dict[Label, tuple[float | None, float | None]]:
    return of_itself(Logged.of(row(**fields)), TIERS).found


UP = {"tier": "complex", "resolved_model": "large", "served_group": "large"}
SIMPLE = {"llm_status": "asked", "llm_tier": "simple", "llm_confidence": 1.0}
COMPLEX = {"llm_status": "known", "llm_tier": "complex", "llm_confidence": 0.5}
BETWEEN = {"tier": "medium", "resolved_model": "middle", "served_group": "middle"}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, {}),
        ({"weak_score": 0.25, "strong_score": 1.0, "judge": "llm"}, {Label.DUAL_RUN: (0.25, 1.0)}),
        ({"weak_score": 0.0, "strong_score": 0.5, "judge": "embedding"}, {Label.DUAL_RUN_EMBEDDING: (0.0, 0.5)}),
        ({"weak_score": 0.0}, {}),
        ({"label": "simple"}, {Label.TIER: (1.0, 1.0)}),
        ({"label": "medium", **UP}, {Label.TIER: (0.0, 1.0)}),
        ({"label": "a tier of old times", "rating": 0.5}, {Label.RATING: (0.5, None)}),
        ({"label": "complex", "label_source": "Judge-7"}, {Label.JUDGED: (0.0, 1.0)}),
        ({"rating": 0.0}, {Label.RATING: (0.0, None)}),
        ({"rating": 0.75, "label_source": "llm"}, {Label.JUDGED: (0.75, None)}),
        ({"rating": 0.75, **UP}, {Label.RATING: (None, 0.75)}),
        ({"rating": 0.25, **BETWEEN}, {Label.RATING_BETWEEN: (0.25, None)}),
        ({"rating": 0.5, **BETWEEN}, {}),
        ({"status": "failure", "error_class": "ContentPolicyViolationError"}, {Label.ERROR: (0.0, None)}),
        ({"status": "failure", "error_class": "RateLimitError"}, {}),
        ({"status": "failure", "error_class": "APIConnectionError"}, {}),
        ({"status": "failure", "error_class": "JSONSchemaValidationError", **UP}, {}),
        ({"finish_reason": "content_filter"}, {Label.REFUSAL: (0.0, None)}),
        ({"finish_reason": "refusal"}, {Label.REFUSAL: (0.0, None)}),
        ({"finish_reason": "refusal", **UP}, {}),
        ({"finish_reason": "length"}, {}),
        # A fallback: another tier than the chosen one answered.
        ({"served_group": "large", "rating": 0.5}, {Label.RATING: (None, 0.5)}),
        ({**UP, "served_group": "tiny", "rating": 0.5}, {Label.RATING: (0.5, None)}),
        ({"served_group": "gone", "rating": 0.5}, {}),
        (SIMPLE, {Label.VERDICT: (1.0, None)}),
        (COMPLEX, {Label.VERDICT: (0.0, None)}),
        ({**COMPLEX, "llm_tier": "medium"}, {Label.VERDICT: (0.0, None)}),
        ({**SIMPLE, **UP}, {Label.VERDICT: (1.0, None)}),
        ({**SIMPLE, "llm_confidence": None}, {Label.VERDICT: (1.0, None)}),
        ({**SIMPLE, "llm_confidence": 0.0}, {}),
        ({**SIMPLE, "llm_tier": "a tier of old times"}, {}),
        ({**SIMPLE, "llm_tier": None}, {}),
        *(({**SIMPLE, "llm_status": status}, {}) for status in (None, "certain", "timeout", "bad_answer")),
        ({**SIMPLE, "rating": 0.0}, {Label.RATING: (0.0, None)}),
        ({**SIMPLE, **UP, "rating": 1.0}, {Label.RATING: (None, 1.0)}),
        ({**SIMPLE, "finish_reason": "refusal"}, {Label.REFUSAL: (0.0, None)}),
    ],
)
def test_what_a_request_says_by_itself(fields: dict[str, Any], found: dict[Any, Any]) -> None:
    assert scores(**fields) == found


AGAIN = {"ask": "please  explain how the TIDES come about."}


@pytest.mark.parametrize(
    ("before", "then", "label"),
    [
        ({}, {"ask": "And now the moon."}, Label.WENT_ON),
        ({}, {"ask": "And now the moon.", **UP}, Label.WENT_UP),
        ({}, {"ask": "And now the moon.", **UP, "reason": "requested_tier"}, Label.ASKED_HIGHER),
        ({}, AGAIN, Label.RETRY),
        ({}, {**AGAIN, "seconds": 301}, None),
        ({}, {**AGAIN, **UP, "seconds": 301}, Label.WENT_UP),
        ({"ask": "go on"}, {"ask": "go on"}, None),
        ({}, {**AGAIN, "features": features_of(ASK, results_since_ask=1.0)}, None),
        ({"status": "failure"}, AGAIN, None),
        ({"status": None}, {"ask": "And now the moon."}, None),
        ({"ask": None}, {"ask": "And now the moon."}, None),
        ({}, {"ask": None}, None),
        ({"ask": None}, {"ask": None, **UP}, Label.WENT_UP),
    ],
)
def test_what_the_next_request_says(before: dict[str, Any], then: dict[str, Any], label: Label | None) -> None:
    assert of_next(Logged.of(row(**before)), Logged.of(row(**{"seconds": 60, **then})), TIERS) is label


def test_labels_of_one_request_combine_by_weight() -> None:
    found = Scores()
    found.add(Label.RETRY, 0.0)
    assert found.combined()[0] == 0.0
    assert np.isnan(found.combined()[1])
    assert found.combined()[2] == 0.3
    found.add(Label.DUAL_RUN_EMBEDDING, 1.0, 0.5)
    assert found.combined() == (pytest.approx(0.7), 0.5, 1.0)
    found.add(Label.ERROR, 0.0)
    assert found.combined() == (pytest.approx(0.7 / 1.5), 0.5, 1.0)
    assert found.source is Label.DUAL_RUN_EMBEDDING


def test_a_verdict_weighs_by_its_confidence_and_gives_way_to_all_else() -> None:
    found = of_itself(Logged.of(row(**COMPLEX)), TIERS)
    assert found.source is Label.VERDICT
    weak, strong, weight = found.combined()
    assert (weak, weight) == (0.0, Label.VERDICT.weight * 0.5)
    assert np.isnan(strong)
    found.add(Label.WENT_ON, 1.0)
    assert found.combined()[::2] == (1.0, Label.WENT_ON.weight)
    found.add(Label.VERDICT, 0.0)
    assert found.found == {Label.WENT_ON: (1.0, None)}
    assert all(label.weight > Label.VERDICT.weight for label in Label if label is not Label.VERDICT)


def test_a_few_outcomes_outweigh_many_verdicts_on_the_same() -> None:
    verdicts = [row(seconds=place, **SIMPLE) for place in range(100)]
    rows, into = read(*verdicts, *(row(seconds=100 + place, **SIMPLE, rating=0.0) for place in range(3)))
    assert into.counts.labels == {"verdict": 100, "rating": 3}
    assert np.average(rows.weak, weights=rows.weight) < 0.5
    assert sorted(set(rows.source.tolist())) == ["rating", "verdict"]


def test_every_label_has_a_weight_and_says_what_it_is() -> None:
    assert all(0.0 < label.weight <= 1.0 and label.doc for label in Label)


# Rows


def read(*rows: dict[str, Any], tiers: Tiers = TIERS) -> tuple[Rows, LogRows]:
    into = LogRows(tiers)
    return concat([*into.add(rows), *into.finish()]), into


def test_only_rows_with_a_label_are_kept() -> None:
    rated = row(rating=0.25, needs=("tools", "vision"), conversation_id="c", session_id="s")
    rows, into = read(row(), rated, row(rating=1.0, **UP))
    assert len(rows) == 2
    assert (into.counts.read, into.counts.labelled, into.counts.without_words) == (3, 2, 0)
    assert into.counts.labels == {"rating": 2}
    assert np.isnan(rows.weak).tolist() == np.isfinite(rows.strong).tolist()
    (place,) = np.flatnonzero(rows.weak == 0.25)
    assert rows.inputs[place].tobytes() == core.model_inputs(np.array(rated["features"]).tobytes(), [rated["needs"]])
    assert sorted(rows.words[place].indices.astype(np.int32).tolist()) == sorted(
        np.frombuffer(core.word_buckets([ASK])[1], np.int32).tolist()
    )
    assert rows.static[place] == 12.5
    assert rows.at[place] == START.timestamp()
    assert rows.length[place] == len(ASK)
    assert rows.source[place] == "rating"
    assert rows.prompts[place] != NO_PROMPT


def test_the_next_request_of_the_conversation_is_waited_for() -> None:
    rows, into = read(
        row(conversation_id="a"),
        row(conversation_id="b", seconds=1),
        row("Something else altogether.", 2, conversation_id="a"),
        row(seconds=3, conversation_id="b"),
        row("And yet another thing.", 4, conversation_id="c"),
    )
    assert into.counts.labels == {"went_on": 1, "retry": 1}
    assert sorted(zip(rows.weak.tolist(), rows.weight.tolist(), strict=True)) == [(0.0, 0.3), (1.0, 0.1)]


def test_a_conversation_is_a_group() -> None:
    rated = {"rating": 1.0}
    rows, _ = read(
        row(conversation_id="a", session_id="s", **rated), row(conversation_id="a", **rated),
        row(conversation_id="b", session_id="s", **rated), row(session_id="s", **rated), row(session_id="s", **rated),
        row(**rated), row(**rated),
    )  # fmt: skip
    assert sorted(np.unique(rows.group, return_counts=True)[1].tolist()) == [1, 1, 1, 2, 2]


def test_a_request_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    late = labelling.WAIT_SECONDS + 1
    _, into = read(row(conversation_id="a"), row("Something else.", late, conversation_id="a"))
    assert not into.counts.labels
    monkeypatch.setattr(labelling, "WAITING_ROWS", 2)
    asks = [row(conversation_id=name) for name in "abc"]
    _, into = read(*asks, row("Something else.", 5, conversation_id="c"), row("Other.", 5, conversation_id="a"))
    assert into.counts.labels == {"went_on": 1}


def test_rows_of_version_1_are_completed_from_their_words() -> None:
    whole = features_of(ASK, context_tokens=9_000.0, tools=4.0, turns=7.0)
    old = {"feature_version": 1, "features": whole[:V1_FEATURES], "rating": 1.0}
    rows, into = read(row(**old), row(None, **old))
    assert (into.counts.read, into.counts.labelled, into.counts.old) == (2, 1, 1)
    assert rows.inputs[0].tobytes() == core.model_inputs(np.array(whole).tobytes(), None)


@pytest.mark.parametrize(
    "fields",
    [
        {"feature_version": core.FEATURE_VERSION + 1},
        {"feature_version": None},
        {"features": [1.0] * (WIDTH - 1)},
        {"features": [float("nan")] * WIDTH},
        {"features": [-1.0] * WIDTH},
        {"feature_version": 1},
    ],
)
def test_features_that_cannot_be_read_are_counted(fields: dict[str, Any]) -> None:
    rows, into = read(row(rating=1.0, **fields))
    assert (len(rows), into.counts.other) == (0, 1)


def test_without_words_there_are_counts() -> None:
    rows, into = read(row(None, rating=1.0))
    assert into.counts.without_words == 1
    assert rows.words.nnz == 0
    assert rows.prompts.tolist() == [NO_PROMPT]
    assert rows.inputs.any()


def test_the_static_score_of_what_another_strategy_scored() -> None:
    rows, _ = read(row(rating=1.0, strategy="ml", raw_score=99.0))
    expected = default_analyzer().analyze({"messages": [{"role": "user", "content": ASK}]}, "chat").raw_score
    assert rows.static.tolist() == [expected]
