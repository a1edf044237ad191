"""`daily_budget.py`: what may be spent a day."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway.daily_budget import UNPRICED_PER_DAY, DailyBudget, Reservation

NOON = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)


class Clock:
    def __init__(self) -> None:
        self.moment = NOON

    def __call__(self) -> datetime:
        return self.moment


def test_what_is_reserved_counts_until_it_is_settled() -> None:
    budget = DailyBudget(Clock())
    one = budget.reserve(0.6, 1.0)
    assert one == Reservation(0.6)
    assert budget.reserve(0.5, 1.0) is None
    budget.settle(one, 0.1)
    assert budget.spent == pytest.approx(0.1)
    assert budget.reserve(0.9, 1.0) is not None
    assert budget.reserve(0.1, 1.0) is None


def test_a_call_that_costs_more_than_was_expected_stops_the_next_one() -> None:
    budget = DailyBudget(Clock())
    one = budget.reserve(0.1, 1.0)
    assert one is not None
    budget.settle(one, 5.0)
    assert budget.spent == 5.0
    assert budget.reserve(0.0001, 1.0) is None


def test_a_new_day_begins_at_midnight_utc() -> None:
    clock = Clock()
    budget = DailyBudget(clock)
    late = budget.reserve(1.0, 1.0)
    assert late is not None
    budget.settle(late, 1.0)
    clock.moment = NOON.replace(hour=23, minute=59, second=59)
    assert budget.reserve(0.1, 1.0) is None
    clock.moment += timedelta(seconds=1)
    assert budget.spent == 0.0
    before = budget.reserve(1.0, 1.0)
    assert before is not None
    clock.moment += timedelta(days=1)
    assert budget.reserve(0.5, 1.0) is None, "what is still at work is not forgotten"
    budget.settle(before, 0.25)
    assert budget.spent == 0.25


def test_what_is_free_is_not_bounded() -> None:
    budget = DailyBudget(Clock())
    assert all(budget.reserve(0.0, 0.0) is not None for _ in range(2 * UNPRICED_PER_DAY))


def test_what_has_no_price_is_counted_instead() -> None:
    clock = Clock()
    budget = DailyBudget(clock)
    assert budget.reserve(0.0, 0.0, priced=False) is None, "nothing may be spent, and nobody knows"
    given = [budget.reserve(0.0, 0.5, priced=False) for _ in range(UNPRICED_PER_DAY + 1)]
    assert given[:-1] == [Reservation(0.0)] * UNPRICED_PER_DAY
    assert given[-1] is None
    assert budget.reserve(0.5, 0.5) is not None
    clock.moment += timedelta(days=1)
    assert budget.reserve(0.0, 0.5, priced=False) is not None


def test_what_is_known_of_the_price_counts_all_the_same() -> None:
    budget = DailyBudget(Clock())
    one = budget.reserve(0.4, 0.5, priced=False)
    assert one == Reservation(0.4)
    assert budget.reserve(0.4, 0.5, priced=False) is None
    budget.settle(one, 0.5)
    assert budget.reserve(0.1, 0.5, priced=False) is None


@given(st.lists(st.floats(0, 3), max_size=50), st.floats(0, 10))
def test_calls_that_cost_what_was_expected_never_exceed_the_limit(costs: list[float], limit: float) -> None:
    budget = DailyBudget(Clock())
    open_: list[Reservation] = []
    for cost in costs:
        if (reserved := budget.reserve(cost, limit)) is not None:
            open_.append(reserved)
        if len(open_) > 2:
            done = open_.pop(0)
            budget.settle(done, done.usd)
    for done in open_:
        budget.settle(done, done.usd)
    assert budget.spent <= limit + 1e-9
