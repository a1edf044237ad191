"""Periods of the log, and the steps of time that they are cut into: quarters of an hour, hours, days, weeks or months,
as they begin in a time zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import NamedTuple, get_args
from zoneinfo import ZoneInfo

import msgspec

from .errors import FiguresError
from .figures import Period, Step
from .moments import parse_moment

QUARTER = 900
"""Seconds of a quarter of an hour: all that is added up begins and ends with one."""
MOST_STEPS = 1_000
"""A picture holds no more, and an answer grows with them."""
FIRST = datetime(2000, 1, 1, tzinfo=timezone.utc)
"""Nothing was logged before; and since long before it, the offsets of all time zones are whole quarters of an hour."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECONDS: dict[Step, int] = {"quarter": QUARTER, "hour": 3_600, "day": 86_400, "week": 604_800, "month": 28 * 86_400}
# The longest period that a step is chosen for.
_CHOICE: tuple[tuple[timedelta, Step], ...] = (
    (timedelta(hours=6), "quarter"),
    (timedelta(days=3), "hour"),
    (timedelta(days=120), "day"),
    (timedelta(days=731), "week"),
)


class Span(msgspec.Struct, frozen=True):
    """A step of a period: it begins at `at`, of which the period holds [since, until)."""

    at: datetime
    since: datetime
    until: datetime


class Stretch(NamedTuple):
    """Sums of `span` seconds each, whose buckets lie in [first, last)."""

    span: int
    first: datetime
    last: datetime


def resolve_period(since: str, until: str | None, tz: str, step: Step | None, now: datetime) -> Period:
    """The period from `since` up to `until`, or up to now, rounded outwards to whole quarters of an hour.

    Both are dates, times, or ages before `now` (see `parse_moment`): 30d is now less 30 times 24 hours. Dates and times
    without an offset are those of the time zone `tz`, an IANA name. Without a `step` it is chosen by the length of the
    period. Raises FiguresError, also where that makes more than 1,000 steps.
    """
    zone = find_zone(tz)
    first = max(_moment("since", since, now, zone), FIRST)
    last = now if until is None else _moment("until", until, now, zone)
    if last <= first:
        raise FiguresError(f"the period ends at {_shown(last)}, before it begins at {_shown(first)}", "until")
    if step is None:
        step = _chosen(last - first)
    elif step not in get_args(Step):
        raise FiguresError(f"step: {step!r} is none of {', '.join(get_args(Step))}", "step")
    first, last = _start(first, QUARTER), _start(last, QUARTER, up=True)
    period = Period(since=first, until=last, timezone=tz, step=step, as_of=now)
    spans(period)  # which finds what is wrong with it
    return period


def _shown(moment: datetime) -> str:
    return moment.isoformat(" ", "seconds")


def find_zone(name: str) -> tzinfo:
    """The time zone of an IANA name. Raises FiguresError."""
    if name == "UTC":  # also where there is no database of time zones
        return timezone.utc
    try:
        return ZoneInfo(name[:100])
    except (KeyError, ValueError, OSError):
        raise FiguresError(
            f"tz: {name[:100]!r} is no time zone of this system: give an IANA name such as Europe/Berlin", "tz"
        ) from None


def spans(period: Period, step: Step | None = None) -> tuple[Span, ...]:
    """The steps of a period, or those of another `step`, in their order; the first one may begin before it. Raises
    FiguresError if there are too many."""
    step = step or period.step
    if (period.until - period.since).total_seconds() / _SECONDS[step] > MOST_STEPS:
        raise FiguresError(
            f"a period of {(period.until - period.since).days} days has more than {MOST_STEPS:,} steps of a {step}: "
            "choose a shorter period or a longer step",
            "step",
        )
    zone = find_zone(period.timezone)
    local = step in ("quarter", "hour")
    starts = list(_moments(period, zone, _SECONDS[step]) if local else _dates(period, zone, step))
    if any((start - _EPOCH) % timedelta(seconds=QUARTER) for start in starts):
        raise FiguresError(f"tz: the offsets of {period.timezone} are not whole quarters of an hour", "tz")
    ends = [*starts[1:], period.until]
    return tuple(Span(at, max(at, period.since), end) for at, end in zip(starts, ends, strict=True))


def cover(since: datetime, until: datetime, waiting: datetime | None) -> Iterator[Stretch]:
    """The stretches of sums that make up a time, as bsg_cover gives them: whole days (UTC), but for those from the day
    `waiting`, then whole hours, then quarters of an hour."""
    first_hour, last_hour = _start(since, 3_600, up=True), _start(until, 3_600)
    if first_hour >= last_hour:
        first_hour = last_hour = until
    first_day, last_day = _start(first_hour, 86_400, up=True), _start(last_hour, 86_400)
    last_day = last_day if waiting is None else min(last_day, waiting)
    if first_day >= last_day:
        first_day = last_day = last_hour
    borders = (since, first_hour, first_day, last_day, last_hour, until)
    for span, (first, last) in zip((QUARTER, 3_600, 86_400, 3_600, QUARTER), pairwise(borders), strict=True):
        if first < last:
            yield Stretch(span, first, last)


def _start(moment: datetime, seconds: int, up: bool = False) -> datetime:
    past = (moment - _EPOCH) % timedelta(seconds=seconds)
    return moment - past + timedelta(seconds=seconds if up and past else 0)


def local_date(moment: datetime, period: Period) -> str:
    """The date, as ISO writes it, that it is at a moment in the time zone of a period."""
    return moment.astimezone(find_zone(period.timezone)).date().isoformat()


def _chosen(length: timedelta) -> Step:
    return next((step for longest, step in _CHOICE if length <= longest), "month")


def _moment(field: str, text: str, now: datetime, zone: tzinfo) -> datetime:
    try:
        return parse_moment(text, now, zone)
    except ValueError as error:
        raise FiguresError(f"{field}: {error}", field) from None


def _moments(period: Period, zone: tzinfo, seconds: int) -> Iterator[datetime]:
    """Starts of steps of some seconds, as clocks show them: where one is put forward or back by less than a step, the
    step is cut short there."""
    at = _aligned(period.since, zone, seconds)
    while at < period.until:
        yield at
        at = _aligned(at + timedelta(seconds=seconds), zone, seconds)


def _aligned(at: datetime, zone: tzinfo, seconds: int) -> datetime:
    offset = at.astimezone(zone).utcoffset() or timedelta()
    return at - (at - _EPOCH + offset) % timedelta(seconds=seconds)


def _dates(period: Period, zone: tzinfo, step: Step) -> Iterator[datetime]:
    """Starts of days, weeks (on Monday) or months. A date that a time zone left out begins where the next one does."""
    day = period.since.astimezone(zone).date()
    if step == "week":
        day -= timedelta(days=day.weekday())
    elif step == "month":
        day = day.replace(day=1)
    start = _midnight(day, zone)
    while start < period.until:
        day = _next(day, step)
        end = _midnight(day, zone)
        if end > start:
            yield start
        start = end


def _midnight(day: date, zone: tzinfo) -> datetime:
    # Of a midnight that comes twice the first one, and for one that does not come the moment at which it would have.
    return datetime.combine(day, time(), zone).astimezone(timezone.utc)


def _next(day: date, step: Step) -> date:
    if step == "month":
        return (day.replace(day=1) + timedelta(days=31)).replace(day=1)
    return day + timedelta(days=7 if step == "week" else 1)
