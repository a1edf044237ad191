"""Moments of a command line: dates, times and ages."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from bsgateway.moments import parse_moment

NOW = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01", datetime(2026, 3, 1)),
        ("2026-03-01T12:30", datetime(2026, 3, 1, 12, 30)),
        ("2026-03-01 12:30:15.250", datetime(2026, 3, 1, 12, 30, 15, 250_000)),
        ("2026-03-01T12:30:00Z", datetime(2026, 3, 1, 12, 30)),
        ("2026-03-01T12:30:00z", datetime(2026, 3, 1, 12, 30)),
        ("2026-03-01T12:30:00+05:30", datetime(2026, 3, 1, 7)),
        (" 2026-03-01T00:00:00-01:00 ", datetime(2026, 3, 1, 1)),
        ("0001-01-01", datetime(1, 1, 1)),
    ],
)
def test_a_date_or_a_time(text: str, expected: datetime) -> None:
    moment = parse_moment(text, NOW)
    assert moment == expected.replace(tzinfo=timezone.utc)
    assert moment.tzinfo is timezone.utc


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("0s", timedelta()), ("90s", timedelta(seconds=90)), ("5m", timedelta(minutes=5)), ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)), ("4w", timedelta(weeks=4)), (" 007d ", timedelta(days=7)),
    ],
)  # fmt: skip
def test_an_age(text: str, age: timedelta) -> None:
    assert parse_moment(text, NOW) == NOW - age


def test_a_time_without_an_offset_is_that_of_the_zone() -> None:
    zone = timezone(timedelta(hours=5, minutes=45))
    for text, expected in (
        ("2026-03-01", datetime(2026, 2, 28, 18, 15)),
        ("2026-03-01T00:00:00Z", datetime(2026, 3, 1)),
        ("2026-03-01T00:00:00+01:00", datetime(2026, 2, 28, 23)),
    ):
        assert parse_moment(text, NOW, zone) == expected.replace(tzinfo=timezone.utc)
    assert parse_moment("7d", NOW, zone) == NOW - timedelta(days=7)


@pytest.mark.parametrize(
    "text",
    ["", "d", "7", "-7d", "7 d", "7D", "1.5d", "7d12h", "7y", "yesterday", "2026-02-30", "2026-3-1", "01/03/2026",
     "999999999w", "9999999999s", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "\u0667d"],
)  # fmt: skip
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match=r"is neither a date \(2026-03-01\), nor a time") as caught:
        parse_moment(text, NOW)
    assert repr(text.strip()) in str(caught.value)
