"""What the pages' API answers when something cannot be done."""

from __future__ import annotations

import pytest

from bsgateway.connections import explained
from bsgateway.errors import StoreError, StoreVersionError
from bsgateway.web.problems import AWAY, OTHER_VERSION, request_error


def test_a_database_that_is_away_and_one_of_another_version_are_told_apart() -> None:
    away = request_error(StoreError("cannot connect to PostgreSQL at db.example:5432"))
    other = request_error(StoreVersionError("the log holds a row of another version"))
    assert (away.status, away.problem.error, away.retry_after) == (503, AWAY, 2)
    assert (other.status, other.problem.error, other.retry_after) == (503, OTHER_VERSION, None)
    assert "bsgateway migrate" in other.problem.remedy
    for told in (away, other):
        assert "db.example" not in str(told.problem)


@pytest.mark.parametrize("kind", [StoreError, StoreVersionError])
def test_what_an_error_is_about_is_known_whatever_it_went_through(kind: type[StoreError]) -> None:
    with pytest.raises(StoreError, match="cannot read the log: a row") as caught, explained("cannot read the log", ""):
        raise kind("a row")
    assert type(caught.value) is kind
