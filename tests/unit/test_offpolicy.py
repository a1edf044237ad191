"""`learn/offpolicy.py`: on simulated streams whose truth is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bsgateway.errors import LearningError
from bsgateway.learn.offpolicy import Explored, effective_sample_size, estimate

TIERS = ("low", "middle", "high")
EXPLORE = 0.3


def mean_reward(score: np.ndarray, tier: np.ndarray) -> np.ndarray:
    """Higher tiers earn more, above all where the score is high; not a parabola, so that the regression is wrong."""
    hard = 1.0 / (1.0 + np.exp(-(score - 60.0) / 8.0))
    return 0.9 - 0.7 * hard * (1.0 - tier / 2.0)


def by_borders(score: np.ndarray, *borders: float) -> np.ndarray:
    return np.searchsorted(np.array(borders), score, side="right").astype(np.int64)


def stream(seed: int, conversations: int = 500, mood: float = 0.1) -> Explored:
    """Conversations of one to five requests with something in common; of each a share goes to a tier at random."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 6, conversations)
    group = np.repeat(np.arange(conversations), sizes)
    rows = len(group)
    score = np.clip(np.repeat(generator.uniform(0, 100, conversations), sizes) + generator.normal(0, 10, rows), 0, 100)
    logged = by_borders(score, 40, 70)
    tier = np.where(generator.random(rows) < EXPLORE, generator.integers(0, 3, rows), logged)
    propensity = np.where(tier == logged, 1 - EXPLORE + EXPLORE / 3, EXPLORE / 3)
    shared = np.repeat(generator.normal(0, mood, conversations), sizes)
    reward = mean_reward(score, tier) + shared + generator.normal(0, 0.1, rows)
    return Explored(TIERS, score, tier, propensity, group, {"rating": reward, "cost": np.full(rows, np.nan)})


def target(score: np.ndarray) -> np.ndarray:
    """Much more for the lowest tier than the logged policy."""
    return by_borders(score, 75, 90)


def truth() -> float:
    many = stream(10**6, 100_000)
    return float(mean_reward(many.score, target(many.score)).mean())


def test_the_intervals_cover_the_truth_and_the_naive_mean_is_biased() -> None:
    real = truth()
    found = []
    for seed in range(80):
        explored = stream(seed)
        found.append(estimate(explored, target(explored.score), "rating"))
    for name in ("snips", "doubly_robust"):
        intervals = [getattr(each, name) for each in found]
        covered = sum(each.low <= real <= each.high for each in intervals)
        assert 0.9 * 80 <= covered < 80, (name, covered)
        assert np.mean([each.value for each in intervals]) == pytest.approx(real, abs=0.004), name
        assert all(each.low < each.value < each.high for each in intervals)
    bias = np.mean([each.naive for each in found]) - real
    assert bias > 0.02  # where both chose the lowest tier, the requests are easy
    widths = {name: np.mean([getattr(each, name).high - getattr(each, name).low for each in found])
              for name in ("snips", "doubly_robust")}  # fmt: skip
    assert widths["doubly_robust"] < 0.8 * widths["snips"]


def test_requests_of_a_conversation_are_not_independent() -> None:
    """The same stream as if each request were a conversation of its own has too narrow an interval."""
    explored = stream(1, mood=0.5)
    apart = dataclasses.replace(explored, group=np.arange(len(explored)))
    wide, narrow = (estimate(each, each.tier, "rating").snips for each in (explored, apart))
    assert wide.high - wide.low > 1.4 * (narrow.high - narrow.low)


def test_the_logged_policy_has_its_own_mean() -> None:
    explored = dataclasses.replace(stream(2), propensity=np.ones(len(stream(2))))
    found = estimate(explored, explored.tier, "rating")
    assert found.snips.value == pytest.approx(explored.rewards["rating"].mean())
    assert found.doubly_robust.value == pytest.approx(found.snips.value)
    assert found.effective == pytest.approx(len(explored))


def test_too_little_to_tell() -> None:
    explored = stream(3, conversations=40)
    with pytest.raises(LearningError, match=r"tell as much as \d+ for this policy, where 50 are needed"):
        estimate(explored, target(explored.score), "rating")
    with pytest.raises(LearningError, match=r"no off-policy estimate of cost: the 0 requests that have it"):
        estimate(stream(3), target(stream(3).score), "cost")


def test_rows_without_the_reward_are_left_out() -> None:
    explored = stream(4)
    half = explored.rewards["rating"].copy()
    half[::2] = np.nan
    found = estimate(dataclasses.replace(explored, rewards={"rating": half}), explored.tier, "rating")
    assert found.rows == len(explored) - len(half[::2])


def test_a_tier_that_was_never_chosen_takes_the_mean() -> None:
    explored = stream(5)
    two = dataclasses.replace(explored, tiers=(*TIERS, "never"))
    found = estimate(two, np.where(explored.score > 99, 3, explored.tier), "rating")
    assert 0 < found.doubly_robust.value < 1


def test_many_conversations_are_drawn_in_blocks() -> None:
    explored = stream(6, conversations=5_000)
    found = estimate(explored, explored.tier, "rating").snips
    assert 0 < found.high - found.low < 0.05


@pytest.mark.parametrize(("weights", "size"), [([1, 1, 1, 1], 4), ([4, 0, 0], 1), ([0, 0], 0), ([2, 1], 1.8)])
def test_effective_sample_size(weights: list[float], size: float) -> None:
    assert effective_sample_size(np.array(weights, float)) == pytest.approx(size)
