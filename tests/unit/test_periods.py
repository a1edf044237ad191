"""Periods and their steps, in time zones whose clocks are put forward and back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.errors import FiguresError, GatewayError
from bsgateway.figures import Period, Step
from bsgateway.periods import FIRST, MOST_STEPS, find_zone, local_date, resolve_period, spans

NOW = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=timezone.utc)
ZONES = (
    "UTC", "Asia/Kolkata", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham", "Australia/Lord_Howe",
    "Asia/Beirut", "America/Havana", "Pacific/Apia",
)  # fmt: skip
LENGTHS: dict[Step, timedelta] = {
    "quarter": timedelta(minutes=15),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=28),
}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("since", "until", "tz", "first", "last"),
    [
        ("30d", None, "UTC", "2026-02-02T05:00", "2026-03-04T05:15"),
        ("90m", None, "UTC", "2026-03-04T03:30", "2026-03-04T05:15"),
        ("24h", "12h", "UTC", "2026-03-03T05:00", "2026-03-03T17:15"),
        ("2026-03-01", "2026-03-02", "UTC", "2026-03-01", "2026-03-02"),
        ("2026-03-01", "2026-03-02", "Asia/Kathmandu", "2026-02-28T18:15", "2026-03-01T18:15"),
        ("2026-03-01T00:00:00Z", "2026-03-01T12:00+01:00", "Asia/Kathmandu", "2026-03-01", "2026-03-01T11:00"),
        ("2026-03-01T00:00:01", "2026-03-01T00:00:02", "UTC", "2026-03-01", "2026-03-01T00:15"),
        ("2026-03-01T10:15", "2026-03-01T10:30", "UTC", "2026-03-01T10:15", "2026-03-01T10:30"),
        ("0001-01-01", None, "UTC", "2000-01-01", "2026-03-04T05:15"),
    ],
)
def test_a_period_is_rounded_outwards(since: str, until: str | None, tz: str, first: str, last: str) -> None:
    period = resolve_period(since, until, tz, None, NOW)
    assert (period.since, period.until, period.timezone) == (at(first), at(last), tz)


@pytest.mark.parametrize(
    ("since", "step"),
    [("15m", "quarter"), ("6h", "quarter"), ("7h", "hour"), ("3d", "hour"), ("73h", "day"), ("120d", "day"),
     ("121d", "week"), ("731d", "week"), ("732d", "month"), ("9999d", "month")],
)  # fmt: skip
def test_a_step_is_chosen_by_length(since: str, step: Step) -> None:
    assert resolve_period(since, None, "UTC", None, NOW).step == step


@pytest.mark.parametrize(
    ("since", "until", "tz", "step", "field", "message"),
    [
        ("soon", None, "UTC", None, "since", "since: 'soon' is neither a date"),
        ("30d", "later", "UTC", None, "until", "until: 'later' is neither a date"),
        ("1d", "2d", "UTC", None, "until", "before it begins"),
        ("1d", "1d", "UTC", None, "until", "before it begins"),
        ("10d", "20d", "UTC", None, "until", r"the period ends at \S+ \d\d:\d\d:\d\d\+00:00, before it begins"),
        ("1990-01-01", "1999-01-01", "UTC", None, "until", "before it begins"),
        ("30d", None, "Mars/Base", None, "tz", "no time zone of this system: give an IANA name such as Europe/Berlin"),
        ("30d", None, "", None, "tz", "no time zone"),
        ("30d", None, "../../etc/passwd", None, "tz", "no time zone"),
        ("30d", None, "/etc/localtime", None, "tz", "no time zone"),
        ("30d", None, "America", None, "tz", "no time zone"),
        ("30d", None, "a\0b", None, "tz", "no time zone"),
        ("30d", None, "\ud800", None, "tz", "no time zone"),
        ("30d", None, "x" * 100_000, None, "tz", "no time zone"),
        ("30d", None, "UTC", "quarter", "step", "more than 1,000 steps of a quarter: choose a shorter period"),
        ("1000d", None, "UTC", "day", "step", "more than 1,000 steps of a day"),
        ("30d", "9999-12-31", "UTC", None, "step", "more than 1,000 steps of a month"),
        ("30d", None, "UTC", "minute", "step", "'minute' is none of quarter, hour, day, week, month"),
    ],
)  # fmt: skip
def test_what_is_no_period(since: str, until: str | None, tz: str, step: Step | None, field: str, message: str) -> None:
    with pytest.raises(FiguresError, match=message) as caught:
        resolve_period(since, until, tz, step, NOW)
    assert isinstance(caught.value, GatewayError)
    assert caught.value.field == field
    assert len(str(caught.value)) < 400


def test_utc_needs_no_database_of_time_zones() -> None:
    assert find_zone("UTC") is timezone.utc


def test_days_begin_at_local_midnight() -> None:
    period = resolve_period("2026-03-07T12:00", "2026-03-10", "America/New_York", "day", NOW)
    assert [(each.at, each.since, each.until) for each in spans(period)] == [
        (at("2026-03-07T05:00"), at("2026-03-07T17:00"), at("2026-03-08T05:00")),
        (at("2026-03-08T05:00"), at("2026-03-08T05:00"), at("2026-03-09T04:00")),  # 23 hours
        (at("2026-03-09T04:00"), at("2026-03-09T04:00"), at("2026-03-10T04:00")),
    ]
    assert [local_date(each.at, period) for each in spans(period)] == ["2026-03-07", "2026-03-08", "2026-03-09"]


def test_weeks_begin_on_monday_and_months_with_their_first_day() -> None:
    period = resolve_period("2025-12-31", "2026-03-04", "Asia/Kolkata", "week", NOW)
    weeks = [local_date(each.at, period) for each in spans(period)]
    assert weeks[:2] == ["2025-12-29", "2026-01-05"]
    assert weeks[-1] == "2026-03-02"
    months = [local_date(each.at, period) for each in spans(period, "month")]
    assert months == ["2025-12-01", "2026-01-01", "2026-02-01", "2026-03-01"]


def test_a_date_that_was_left_out_has_no_day() -> None:
    period = resolve_period("2011-12-28", "2012-01-02", "Pacific/Apia", "day", NOW)
    days = [local_date(each.at, period) for each in spans(period)]
    assert days == ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01"]


def test_a_midnight_that_does_not_come() -> None:
    period = resolve_period("2026-03-28", "2026-03-31", "Asia/Beirut", "day", NOW)
    assert [local_date(each.at, period) for each in spans(period)] == ["2026-03-28", "2026-03-29", "2026-03-30"]
    assert [(each.until - each.at) // timedelta(hours=1) for each in spans(period)] == [24, 23, 24]


@settings(deadline=None, derandomize=True, database=None)
@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)),
    st.integers(1, 60 * 24 * 400),
    st.sampled_from(ZONES),
    st.sampled_from(get_args(Step)),
)
def test_steps_are_the_period_cut_into_pieces(since: datetime, minutes: int, tz: str, step: Step) -> None:
    since = since.replace(tzinfo=timezone.utc)
    until = since + timedelta(minutes=minutes)
    if (until - since) > MOST_STEPS * LENGTHS[step] - timedelta(minutes=30):
        with pytest.raises(FiguresError, match="more than 1,000 steps") as caught:
            resolve_period(since.isoformat(), (until + timedelta(hours=2)).isoformat(), tz, step, NOW)
        assert caught.value.field == "step"
        return
    period = resolve_period(since.isoformat(), until.isoformat(), tz, step, NOW)
    found = spans(period)
    assert FIRST <= period.since <= since < until <= period.until
    assert (found[0].since, found[-1].until) == (period.since, period.until)
    assert all(one.until == other.since == other.at for one, other in pairwise(found))
    assert found[0].at <= period.since
    for each in found:
        assert each.at < each.until
        assert each.at.timestamp() % 900 == 0
        if step in ("quarter", "hour"):
            local = each.at.astimezone(ZoneInfo(tz))
            assert local.minute % 15 == 0
            assert (each.until - each.at) <= timedelta(hours=1)
    if step == "day":
        assert len({local_date(each.at, period) for each in found}) == len(found)


def test_a_period_that_was_made_otherwise_is_checked() -> None:
    period = Period(since=FIRST, until=NOW, timezone="UTC", step="hour", as_of=NOW)
    with pytest.raises(FiguresError, match="more than 1,000 steps"):
        spans(period)
