"""`learn/borders.py`: against all borders there are, where those are few, and on shapes whose answer is known."""

from __future__ import annotations

from itertools import combinations, pairwise

import msgspec
import numpy as np
import pytest

from bsgateway.config import Routing
from bsgateway.learn.borders import best_within, cheapest_worth, for_shares, of_config, places, ranges
from bsgateway.learn.survey import SCORES

NOW = (31, 66)


def value(costs: np.ndarray, worth: np.ndarray, borders: tuple[int, ...]) -> tuple[float, float]:
    rows, at = np.arange(SCORES), places(borders)
    return costs[rows, at].sum(), worth[rows, at].sum()


def traffic(seed: int, tiers: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Requests, costs and worth by score: dear tiers are better, above all at high scores."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 50, SCORES) * (generator.random(SCORES) < 0.8)
    price = np.array([0.01, 0.1, 1.0, 3.0][:tiers]) * generator.uniform(0.5, 1.5, tiers)
    costs = counts[:, None] * np.sort(price) * generator.uniform(0.8, 1.2, (SCORES, 1))
    hard = np.arange(SCORES) / 100
    falls = np.array([0.7, 0.3, 0.05, 0.0][:tiers])
    worth = counts[:, None] * (1 - hard[:, None] * falls)
    return counts, costs, worth


def test_ranges_and_places_are_those_of_the_configuration() -> None:
    routing = msgspec.convert(
        {
            "tiers": {
                "top": {"score_range": [66, 100], "model": "c"},
                "low": {"score_range": [0, 30], "model": "a"},
                "mid": {"score_range": [31, 65], "model": "b"},
            },
            "fallback_tier": "low",
        },
        Routing,
    )
    assert of_config(routing) == NOW
    assert ranges(NOW) == [(0, 30), (31, 65), (66, 100)]
    assert list(places(NOW)) == [0] * 31 + [1] * 35 + [2] * 35


class TestShares:
    def test_even_scores(self) -> None:
        assert for_shares(np.ones(SCORES), [0.5, 0.3, 0.2], NOW) == (50, 81)
        assert for_shares(np.ones(SCORES), [1.0, 0.0, 0.0], NOW) == (99, 100)
        assert for_shares(np.ones(SCORES), [0.0, 0.0, 1.0], NOW) == (1, 2)
        assert for_shares(np.ones(SCORES), [1.0], ()) == ()

    def test_between_scores_that_nobody_has_a_border_stays(self) -> None:
        counts = np.zeros(SCORES)
        counts[[10, 90]] = 5
        assert for_shares(counts, [0.5, 0.5], (31,)) == (31,)
        assert for_shares(counts, [0.5, 0.5], (95,)) == (90,)
        assert for_shares(counts, [0.5, 0.5], (5,)) == (11,)

    @pytest.mark.parametrize("seed", range(5))
    def test_each_tier_has_a_score(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        counts = np.zeros(SCORES)
        counts[generator.integers(0, SCORES, 2)] = 7
        found = for_shares(counts, list(generator.dirichlet(np.ones(5))), (10, 20, 30, 40))
        assert len(found) == 4
        assert list(found) == sorted(set(found))
        assert 1 <= found[0] <= found[-1] <= 100


class TestBest:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("part", [0.05, 0.3, 0.8])
    def test_within_a_budget_nothing_is_worth_more(self, seed: int, part: float) -> None:
        _, costs, worth = traffic(seed)
        low, high = value(costs, worth, (99, 100))[0], value(costs, worth, (1, 2))[0]
        budget = low + part * (high - low)
        found = best_within(costs, worth, budget, NOW)
        assert found is not None
        cost, got = value(costs, worth, found)
        assert cost <= budget * 1.000001
        every = [value(costs, worth, borders) for borders in combinations(range(1, SCORES), 2)]
        best = max(each[1] for each in every if each[0] <= budget)
        assert got == pytest.approx(best, rel=1e-9)

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("part", [0.9, 0.97, 0.999])
    def test_of_that_worth_nothing_is_cheaper(self, seed: int, part: float) -> None:
        _, costs, worth = traffic(seed)
        least = part * worth[:, -1].sum()
        found = cheapest_worth(costs, worth, least, NOW)
        assert found is not None
        cost, got = value(costs, worth, found)
        assert got >= least * 0.999999
        every = [value(costs, worth, borders) for borders in combinations(range(1, SCORES), 2)]
        cheapest = min(each[0] for each in every if each[1] >= least)
        assert cost == pytest.approx(cheapest, rel=1e-9)

    def test_more_money_is_never_worth_less(self) -> None:
        _, costs, worth = traffic(7, tiers=4)
        low, high = value(costs, worth, (98, 99, 100))[0], value(costs, worth, (1, 2, 3))[0]
        got = []
        for budget in np.linspace(low, high, 12):
            found = best_within(costs, worth, budget, (25, 50, 75))
            assert found is not None
            assert list(found) == sorted(set(found))
            assert value(costs, worth, found)[0] <= budget * 1.000001
            got.append(value(costs, worth, found)[1])
        assert all(after >= before * 0.9999 for before, after in pairwise(got))

    def test_what_cannot_be(self) -> None:
        _, costs, worth = traffic(1)
        assert best_within(costs, worth, 0.0, NOW) is None
        assert cheapest_worth(costs, worth, 2 * worth[:, -1].sum(), NOW) is None

    @pytest.mark.parametrize(("price", "budget"), [(0.0, 0.0), (1.0, 1e9)])
    def test_money_enough_for_everything(self, price: float, budget: float) -> None:
        worth = 1 - np.arange(1, SCORES + 1)[:, None] / 200 * np.array([1.0, 0.5, 0.0])
        assert best_within(np.full((SCORES, 3), price), worth, budget, NOW) == (1, 2)

    def test_two_tiers_and_five(self) -> None:
        for tiers in (2, 5):
            worth = 1 - np.arange(SCORES)[:, None] / 200 * np.linspace(1, 0, tiers)
            costs = np.tile(np.linspace(0, 1, tiers), (SCORES, 1))
            now = tuple(range(10, 10 * tiers, 10))
            found = cheapest_worth(costs, worth, 0.95 * SCORES, now)
            assert found is not None
            assert list(found) == sorted(set(found))
            assert len(found) == tiers - 1
            assert value(costs, worth, found)[1] >= 0.95 * SCORES
            # Wherever one border is moved, it is dearer or not worth enough.
            for place in range(tiers - 1):
                for step in (-1, 1):
                    other = (*found[:place], found[place] + step, *found[place + 1 :])
                    if list(other) == sorted(set(other)) and other[0] >= 1 and other[-1] <= 100:
                        cost, got = value(costs, worth, other)
                        assert got < 0.95 * SCORES or cost >= value(costs, worth, found)[0] - 1e-9
