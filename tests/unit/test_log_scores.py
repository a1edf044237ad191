"""`log_scores.py`: scores made anew from what the log keeps are those that a request would get."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bsgateway.classifiers.learned import PriorFloors
from bsgateway.config import Config
from bsgateway.core import core
from bsgateway.decision import Strategy
from bsgateway.errors import ConfigError
from bsgateway.gateway import Gateway
from bsgateway.learn.model_file import Model
from bsgateway.log_scores import LogScorer, scorer_of
from bsgateway.model_header import ModelHeader
from bsgateway.models import prior_bytes
from past_rows import LLM, features, judged, past

MakeConfig = Callable[..., Config]
ASKS = (
    "hi",
    "What is the capital of France?",
    "Prove step by step that the algorithm terminates; derive its complexity.\n- first\n- second\n- third\n- fourth",
    "```python\n" + "x = 1\n" * 60 + "```\nrefactor this",
    'Traceback (most recent call last):\n  File "a.py", line 1, in f\n  File "b.py", line 2, in g\nwhy?',
    "word " * 9_000,
    "\u4e16\u754c 42, 1.5 (one) 'two' \"three\"? A) yes B) no",
)
WEIGHTS = {"token_count": 3.0, "system_prompt": 0.5, "keyword_patterns": 1.0, "conversation_length": 0.0,
           "code_complexity": 7.0, "tool_usage": 0.1}  # fmt: skip


def stored(values: tuple[float, ...]) -> tuple[float, ...]:
    """As a column of type real[] gives them back."""
    return struct.unpack(f"{len(values)}f", struct.pack(f"{len(values)}f", *values))


def decided(gateway: Gateway, ask: str) -> tuple[tuple[float, ...], float]:
    """Features and raw score of a request."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    body = {
        "model": "auto",
        "messages": [{"role": "system", "content": "Be brief. " * 50}, {"role": "user", "content": ask}],
    }
    decision = gateway.decide({**body, "tools": tools} if len(ask) % 2 else body)
    assert decision.features is not None
    assert decision.raw_score is not None
    return stored(decision.features), decision.raw_score


def learned(seed: int = 3, kind: str = "trained") -> core.LearnedModel:
    """A model of random weights, that reads words and inputs."""
    draw = np.random.default_rng(seed)
    knots = np.sort(draw.uniform(0, 8, (len(core.INPUT_NAMES), 3)), axis=1)
    model = Model(
        words=draw.normal(0, 1, core.WORD_BUCKETS),
        knots=knots,
        curves=draw.normal(0, 0.2, knots.shape),
        bias=0.1,
        calibration=np.array([[-20.0, 20.0], [0.0, 1.0]]),
        seen=np.empty(0, np.uint32),
        header=ModelHeader(kind=kind, target="fail", created="2026-01-01T00:00:00Z", rows=1),
    )
    return core.LearnedModel(model.to_bytes())


def scores(scorer: LogScorer, *rows: Any) -> list[float | None]:
    return scorer.scores(list(rows))


@pytest.mark.parametrize("ask", ASKS, ids=range(len(ASKS)))
def test_other_weights_give_what_the_gateway_would_have_given(make_config: MakeConfig, ask: str) -> None:
    old = make_config()
    vector, then = decided(Gateway(old), ask)
    new = make_config(classifier={"static": {"weights": WEIGHTS, "token_thresholds": [1, 2, 3, 4, 50]}})
    _, expected = decided(Gateway(new), ask)
    scorer = LogScorer(new, old, Strategy.STATIC)
    assert scores(scorer, past(then, features=vector)) == [pytest.approx(expected, abs=1e-9)]
    assert scorer.counts.anew == 1
    assert not scorer.reads_words


@pytest.mark.parametrize("ask", ASKS, ids=range(len(ASKS)))
def test_other_keywords_are_counted_in_the_text(make_config: MakeConfig, ask: str) -> None:
    old = make_config()
    vector, then = decided(Gateway(old), ask)
    new = make_config(classifier={"static": {"complex_keywords": ["capital", "word"], "simple_keywords": ["prove"]}})
    _, expected = decided(Gateway(new), ask)
    scorer = LogScorer(new, old, Strategy.STATIC)
    assert scorer.reads_words
    found = scores(scorer, past(then, features=vector, ask=ask), past(then, features=vector))
    assert found == [pytest.approx(expected, abs=1e-9), None]
    assert (scorer.counts.anew, scorer.counts.no_words) == (1, 1)


def test_the_same_static_score_stays(make_config: MakeConfig) -> None:
    config = make_config()
    scorer = LogScorer(config, config, Strategy.STATIC)
    rows = [past(12.5, features=None), past(1, strategy=None), past(1, raw_score=None)]
    assert scores(scorer, *rows) == [12.5, None, None]
    assert (scorer.counts.kept, scorer.counts.left_out) == (1, 0)  # the others were not routed by score


def test_vectors_of_version_1_are_enough_for_the_static_score(make_config: MakeConfig) -> None:
    config = make_config()
    vector, expected = decided(Gateway(config), ASKS[2])
    scorer = LogScorer(config, config, Strategy.STATIC)
    row = past(1, strategy="ml", scorer_id="0123456789ab", features=vector[:25], feature_version=1)
    assert scores(scorer, row) == [pytest.approx(expected, abs=1e-9)]


def test_a_learned_score_is_made_anew_from_vector_needs_and_words(make_config: MakeConfig) -> None:
    config, model = make_config(), learned()
    scorer = LogScorer(config, config, Strategy.ML, model)
    assert scorer.scorer_id == model.id
    vectors = [decided(Gateway(config), ask)[0] for ask in ASKS]
    rows = [past(50, features=vector, ask=ask, needs=("tools",)) for vector, ask in zip(vectors, ASKS, strict=True)]
    inputs = core.model_inputs(np.array(vectors).tobytes(), [("tools",)] * len(ASKS))
    _, probabilities = model.predict(inputs, *core.word_buckets(ASKS))
    expected = 100 * np.frombuffer(probabilities)
    found = scores(scorer, *rows)
    assert found == list(expected)
    assert len(set(found)) == len(ASKS)
    without = scores(scorer, *(past(50, features=vector, ask="", needs=("tools",)) for vector in vectors))
    assert found != without


def test_a_prior_keeps_its_floors_for_agents(make_config: MakeConfig) -> None:
    config = make_config()
    vectors = [features(turns=1, results_since_ask=count, errors_since_ask=count) for count in (0.0, 100.0)]
    rows = [past(50, features=vector, ask="hi") for vector in vectors]
    plain = scores(LogScorer(config, config, Strategy.ML, learned()), *rows)
    found = scores(LogScorer(config, config, Strategy.ML, learned(kind="prior")), *rows)
    heights = [PriorFloors().highest(vector)[1] for vector in vectors]
    assert found == [max(score or 0.0, height) for score, height in zip(plain, heights, strict=True)]
    assert heights[0] == 0.0 < heights[1]
    assert found != plain


def test_what_a_model_cannot_score_is_counted(make_config: MakeConfig) -> None:
    config, model = make_config(), learned()
    scorer = LogScorer(config, config, Strategy.ML, model)
    vector = features(ask_words=3, turns=1)
    rows = [
        past(50, strategy="ml", scorer_id=model.id, features=None),
        past(50, strategy="ml", scorer_id="another", features=vector),
        past(50, features=vector[:25], feature_version=1, ask="hi"),
        past(50, features=None, ask="hi"),
        past(50, features=vector, ask="hi"),
    ]
    found = scores(scorer, *rows)
    assert found[:4] == [50.0, None, None, None]
    assert found[4] is not None
    counts = scorer.counts
    assert (counts.kept, counts.anew, counts.no_words, counts.no_features) == (1, 1, 1, 2)


def test_verdicts_stay_and_the_fallback_scores_the_rest(make_config: MakeConfig) -> None:
    config = make_config(classifier=LLM)
    vector, static = decided(Gateway(make_config()), ASKS[2])
    scorer = LogScorer(config, config, Strategy.LLM)
    rows = [
        judged(config, 83.0, features=None),
        judged(config, 15.5, features=None, llm_status="known"),
        past(12.5, features=None, llm_status="timeout"),
        past(12.5, features=None),
        judged(config, 83.0, features=vector, llm_model="other"),
        judged(config, 83.0, features=vector, llm_prompt="1-00000000"),
        judged(config, 83.0, features=None, llm_model="other"),
        past(50.0, features=vector, strategy="ml", scorer_id="0123456789ab"),
    ]
    anew = pytest.approx(static, abs=1e-9)
    assert scores(scorer, *rows) == [83.0, 15.5, 12.5, 12.5, anew, anew, None, anew]
    counts = scorer.counts
    assert (counts.kept, counts.verdicts, counts.anew, counts.outdated, counts.no_features) == (4, 2, 3, 3, 1)
    assert counts.by_fallback == 5
    assert (scorer.strategy, scorer.scorer_id, scorer.reads_words) == (Strategy.LLM, None, False)


@pytest.mark.parametrize(
    "tiers",
    [
        {"simple": {"score_range": [0, 40]}, "medium": {"score_range": [41, 65]}},
        {"simple": {"description": "Small talk only."}},
    ],
)
def test_a_verdict_on_another_question_does_not_count(make_config: MakeConfig, tiers: dict[str, Any]) -> None:
    then = make_config(classifier=LLM)
    models = {"simple": "small", "medium": "middle", "complex": "large"}
    ranges = {name: {"score_range": list(tier.score_range)} for name, tier in then.routing.tiers.items()}
    changed = {name: {**ranges[name], "model": model, **tiers.get(name, {})} for name, model in models.items()}
    now = make_config(classifier=LLM, tiers=changed)
    scorer = LogScorer(now, then, Strategy.LLM)
    assert scores(scorer, judged(then, 83.0)) != [83.0]
    assert scores(scorer, judged(now, 83.0)) == [83.0]
    assert (scorer.counts.verdicts, scorer.counts.outdated) == (1, 1)


def test_the_fallback_may_be_a_model(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(classifier={**LLM, "llm": {"model": "tiny", "fallback": "ml"}})
    scorer = scorer_of(config, config, tmp_path)
    prior = core.LearnedModel(prior_bytes())
    assert (scorer.strategy, scorer.scorer_id, scorer.reads_words) == (Strategy.LLM, prior.id, True)
    vector = features(ask_words=1, turns=1)
    rows = [
        judged(config, 83.0),
        past(50, strategy="ml", scorer_id=prior.id, llm_status="busy"),
        past(50, features=vector, ask="hi"),
        past(50, features=vector),
    ]
    found = scores(scorer, *rows)
    assert found == [83.0, 50.0, *scores(LogScorer(config, config, Strategy.ML, prior), rows[2]), None]
    assert (scorer.counts.verdicts, scorer.counts.by_fallback, scorer.counts.no_words) == (1, 2, 1)
    with pytest.raises(ValueError, match="needs a model"):
        LogScorer(config, config, Strategy.LLM)


def test_other_strategies_score_what_the_local_llm_has_scored(make_config: MakeConfig) -> None:
    config = make_config()
    vector, static = decided(Gateway(config), ASKS[1])
    scorer = scorer_of(config, config, Path())
    assert scores(scorer, judged(config, 83.0, features=vector)) == [pytest.approx(static, abs=1e-9)]
    assert (scorer.counts.anew, scorer.counts.verdicts, scorer.counts.outdated) == (1, 0, 0)


def test_verdicts_need_the_name_of_who_gives_them(make_config: MakeConfig) -> None:
    config = make_config()
    with pytest.raises(ConfigError, match=r"needs routing\.classifier\.llm\.model"):
        scorer_of(config, config, Path(), Strategy.LLM)


def test_ml_needs_a_model(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match="needs a model"):
        LogScorer(make_config(), make_config(), Strategy.ML)
