"""`classifiers/learned.py`: the score of the model, the floors of a prior, the static score without a model."""

from __future__ import annotations

from typing import Any

import pytest

from bsgateway.classifiers.learned import LearnedClassifier
from bsgateway.classifiers.static import StaticClassifier
from bsgateway.config import Routing, Tier, make_analyzer
from bsgateway.core import core
from bsgateway.decision import Strategy
from model_files import model

ROUTING = Routing(tiers={"all": Tier(score_range=(0, 100), model="small")}, fallback_tier="all")


def agent(results: int = 0, errors: int = 0) -> dict[str, Any]:
    """A request of an agent that has got so many results since the ask, so many of them errors."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Prove that there are infinitely many primes."}]
    for number in range(results):
        use = {"type": "tool_use", "id": f"use-{number}", "name": "run", "input": {}}
        result = {"type": "tool_result", "tool_use_id": use["id"], "content": "done", "is_error": number < errors}
        messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    return {"messages": messages}


def analysis(data: bytes | None, body: dict[str, Any]) -> core.Analysis:
    analyzer = make_analyzer(ROUTING)
    if data is not None:
        analyzer.set_model(core.LearnedModel(data))
    return analyzer.analyze(body, "messages")


def test_the_score_is_the_probability_of_the_model() -> None:
    data = model(0.5, seed=1).to_bytes()
    found = analysis(data, agent())
    scored = LearnedClassifier().classify(found)
    assert found.learned is not None
    scorer_id, probability, shares = found.learned
    assert (scored.strategy, scored.scorer_id) == (Strategy.ML, core.LearnedModel(data).id)
    assert scorer_id == scored.scorer_id
    assert scored.raw_score == 100 * probability
    assert [share.signal for share in scored.contributions] == [signal for signal, *_ in shares]
    assert sum(share.points for share in scored.contributions) == pytest.approx(scored.raw_score)
    assert 2 < len(scored.contributions) <= 10


def test_without_a_model_the_static_score_takes_its_place() -> None:
    found = analysis(None, agent(12, 3))
    scored = LearnedClassifier().classify(found)
    assert scored == StaticClassifier().classify(found)
    assert (scored.strategy, scored.scorer_id) == (Strategy.STATIC, None)


@pytest.mark.parametrize(
    ("results", "errors", "score", "floor"),
    [
        (0, 0, 10, None),
        (11, 2, 10, None),
        (12, 0, 40, "floor:agent_steps"),
        (3, 3, 66, "floor:agent_errors"),
        (12, 3, 66, "floor:agent_errors"),
    ],
)
def test_floors_lift_a_prior(results: int, errors: int, score: float, floor: str | None) -> None:
    data = model(-4.0, "prior").to_bytes()
    classifier = LearnedClassifier()
    found = analysis(data, agent(results, errors))
    assert classifier.classify(found).raw_score == pytest.approx(10), "nobody said that it is a prior"
    classifier.priors |= {core.LearnedModel(data).id}
    scored = classifier.classify(found)
    assert scored.raw_score == pytest.approx(score)
    assert sum(share.points for share in scored.contributions) == pytest.approx(score)
    last = scored.contributions[-1]
    assert (last.signal, last.weight) == (floor or "base", 0.0)


def test_a_floor_below_the_score_changes_nothing() -> None:
    data = model(4.0, "prior").to_bytes()
    classifier = LearnedClassifier()
    classifier.priors |= {core.LearnedModel(data).id}
    scored = classifier.classify(analysis(data, agent(12, 3)))
    assert (scored.raw_score, len(scored.contributions)) == (pytest.approx(90), 1)


def test_a_model_of_the_operators_own_traffic_needs_no_floors() -> None:
    classifier = LearnedClassifier()
    classifier.priors |= {core.LearnedModel(model(-4.0, "prior").to_bytes()).id}
    scored = classifier.classify(analysis(model(-4.0).to_bytes(), agent(12, 3)))
    assert scored.raw_score == pytest.approx(10)
