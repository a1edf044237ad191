"""The log's sums, as the dashboard, its API and `bsgateway report` show them.

All numbers come from the rollups (migration 0010), which `rollups.refresh` makes: a page of millions of rows reads
thousands. A connection must not be in a transaction: each function opens one of its own, which writes nothing, sees one
moment of the log, and in which no statement takes longer than 5 s. They raise asyncpg's errors, which `Store.acquire`
turns into StoreError, and FiguresError for a period that cannot be shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import msgspec

from .decision import MASTER_KEY, Reason
from .figures import By, Count, Group, Percentiles, Period, Point, Savings, Sums, TimedCount, Traffic
from .periods import Span, cover, local_date, spans
from .sql import queries

if TYPE_CHECKING:
    from .migrations import Connection

STICKY = (Reason.TOOL_RESULT, Reason.SESSION_KEPT, Reason.SESSION_UP, Reason.SESSION_DOWN, Reason.PROVIDER_STATE)
"""Reasons that have to do with a conversation."""
KEY_SAMPLE = 2_000
"""Newest rows of a key that are looked at for what there are no sums of, at most."""
BASELINE_SAMPLE = 1_000
"""Newest outcomes that are asked which model their baseline is."""

_MEASURES = Sums.__struct_fields__
_Row = asyncpg.Record
_Name = Callable[[_Row], str | None]


class Scope(NamedTuple):
    """Whose requests are seen: those of one key, or everybody's."""

    key_hash: str | None


EVERYBODY = Scope(None)


@asynccontextmanager
async def reading(connection: Connection) -> AsyncIterator[None]:
    """A transaction that sees one moment of the log, with little time for each statement."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await queries().begin_reading(connection)
        yield


async def savings(connection: Connection, period: Period, by: By, scope: Scope = EVERYBODY) -> Savings:
    """What was spent and saved in a period. By day, `groups` are days of the time zone, named by their ISO date.

    Every step has a point: one without requests has one point of no name.
    """
    steps = spans(period)
    days = spans(period, "day") if by == "day" else ()
    timed: list[str] = [by] if by in ("tier", "model") else []
    async with reading(connection):
        sums = await _LogSums.of(connection, period, scope)
        rows = await sums.by(steps, timed)
        if by in ("key", "team"):
            grouped = await sums.of_keys(_whole(period), [by])
        elif by == "day":
            grouped = rows if period.step == "day" else await sums.by(days, [])
        else:
            grouped = rows
        baselines = queries().baseline_models(connection, since=period.since, until=period.until, most=BASELINE_SAMPLE)
        baseline_models = tuple([row["baseline_model"] async for row in baselines])
    name = _namer(by, period, days)
    labels = _labels(grouped) if by == "key" else {}
    groups = [Group(name=each, label=labels.get(each), sums=sums) for each, sums in _folded(grouped, name).items()]
    return Savings(
        period=msgspec.structs.replace(period, as_of=sums.as_of),
        by=by,
        total=_folded(rows, lambda _: None).get(None, Sums()),
        groups=tuple(sorted(groups, key=_most_spent if by != "day" else _first_day)),
        points=tuple(_points(rows, steps, name if timed else lambda _: None)),
        baseline_models=baseline_models,
    )


async def traffic(connection: Connection, period: Period, scope: Scope = EVERYBODY) -> Traffic:
    """What was asked in a period, how it was decided and how it went.

    `tiers` has every step: one without requests has a count of nought of no name. `failures` are by model, of steps
    that have any. Scores and times are those of the whole hours that hold the period. Of a key, these and methods,
    strategies and reasons are those of its newest 2,000 requests in the period (`sampled`: it has more).
    """
    steps = spans(period)
    async with reading(connection):
        sums = await _LogSums.of(connection, period, scope)
        rows = await sums.by(steps, ["tier", "model"])
        mix = await sums.mix(period)
        bins = await sums.bins(period)
    total = _folded(rows, lambda _: None).get(None, Sums())
    reasons = _counts(mix, "reason")
    sticky = {reason.value for reason in STICKY}
    decision_us = _percentiles(bins, "decision_us")
    return Traffic(
        period=msgspec.structs.replace(period, as_of=sums.as_of),
        total=total,
        tiers=tuple(
            TimedCount(point.at, point.name, point.sums.requests)
            for point in _points(rows, steps, lambda row: row["tier"] or None)
        ),
        methods=_counts(mix, "method"),
        strategies=_counts(mix, "strategy"),
        reasons=reasons,
        models=_counts(rows, "model"),
        sticky=tuple(count for count in reasons if count.name in sticky),
        scores=_scores(bins),
        decision_us=decision_us[0] if decision_us else None,
        latency_ms=_percentiles(bins, "latency_ms"),
        first_token_ms=_percentiles(bins, "first_token_ms"),
        failures=_failures(rows, steps),
        sampled=scope.key_hash is not None and total.requests > KEY_SAMPLE,
    )


def _whole(period: Period) -> tuple[Span]:
    return (Span(period.since, period.since, period.until),)


class _LogSums:
    """Reads sums of the requests that a scope sees. `as_of`: rows that were written after it may be missing."""

    def __init__(self, connection: Connection, scope: Scope, as_of: datetime, waiting: datetime | None) -> None:
        self._connection = connection
        self._key = scope.key_hash
        self._waiting = waiting
        self.as_of = as_of

    @classmethod
    async def of(cls, connection: Connection, period: Period, scope: Scope) -> _LogSums:
        state = await queries().state_of_sums(connection, since=period.since)
        return cls(connection, scope, state["as_of"], state["waiting"])

    async def by(self, steps: Sequence[Span], dimensions: list[str]) -> list[_Row]:
        """By steps (`place`), and in them by tier, method, strategy, reason or model."""
        if self._key is not None:
            return await self.of_keys(steps, dimensions)
        found = queries().sums(self._connection, **self._stretches(steps), dimensions=dimensions)
        return [row async for row in found]

    async def of_keys(self, steps: Sequence[Span], dimensions: list[str]) -> list[_Row]:
        """The same, also by key or team."""
        stretches = self._stretches(steps)
        found = queries().key_sums(self._connection, **stretches, dimensions=dimensions, key=self._key)
        return [row async for row in found]

    async def mix(self, period: Period) -> list[_Row]:
        """Requests by method, strategy and reason."""
        if self._key is None:
            return await self.by(_whole(period), ["method", "strategy", "reason"])
        found = queries().key_mix(
            self._connection, key=self._key, since=period.since, until=period.until, most=KEY_SAMPLE
        )
        return [row async for row in found]

    async def bins(self, period: Period) -> list[_Row]:
        """Histograms: how many requests are in each `bin` of a `measure`, for some measures of each `model`."""
        if self._key is not None:
            found = queries().key_histograms(
                self._connection, key=self._key, since=period.since, until=period.until, most=KEY_SAMPLE
            )
        else:
            since = period.since - timedelta(seconds=period.since.timestamp() % 3_600)
            until = period.until + timedelta(seconds=-period.until.timestamp() % 3_600)
            stretches = self._stretches([Span(since, since, until)])
            del stretches["places"]
            found = queries().histograms(self._connection, **stretches)
        return [row async for row in found]

    def _stretches(self, steps: Sequence[Span]) -> dict[str, Sequence[Any]]:
        found = [
            (place, *each) for place, step in enumerate(steps) for each in cover(step.since, step.until, self._waiting)
        ]
        return dict(zip(("places", "spans", "firsts", "lasts"), zip(*found, strict=True), strict=True))


def _namer(by: By, period: Period, days: Sequence[Span]) -> _Name:
    """What the group of a row is called; '' in a column is None."""
    if by == "day":
        return lambda row: local_date(days[row["place"]].at, period)
    column = {"key": "key_hash", "team": "team_id"}.get(by, by)
    return lambda row: row[column] or None


def _folded(rows: Iterable[_Row], name: _Name) -> dict[str | None, Sums]:
    """The sums of the rows of each name, in the order in which names come first."""
    added: dict[str | None, list[Any]] = {}
    for row in rows:
        measures = [row[measure] if measure != "saved" else 0.0 for measure in _MEASURES]
        before = added.setdefault(name(row), [0] * len(measures))
        for place, measure in enumerate(measures):
            before[place] += measure
    return {each: _made(measures) for each, measures in added.items()}


def _made(measures: list[Any]) -> Sums:
    fields = dict(zip(_MEASURES, measures, strict=True))
    fields["saved"] = fields["baseline_cost"] - fields["cost"]
    return Sums(**fields)


def _points(rows: Iterable[_Row], steps: Sequence[Span], name: _Name) -> list[Point]:
    """In the order of time; in a step, what was spent most on first."""
    in_steps: list[list[_Row]] = [[] for _ in steps]
    for row in rows:
        in_steps[row["place"]].append(row)
    points = []
    for step, found in zip(steps, in_steps, strict=True):
        named = _folded(found, name) or {None: Sums()}
        inside = [Point(at=step.at, name=each, sums=sums) for each, sums in named.items()]
        points += sorted(inside, key=_most_spent)
    return points


def _most_spent(group: Group | Point) -> tuple[float, int, str]:
    return -group.sums.spent, -group.sums.requests, group.name or ""


def _first_day(group: Group) -> str:
    return group.name or ""


def _labels(rows: Iterable[_Row]) -> dict[str | None, str]:
    """The alias that each key had last."""
    ordered = sorted((row for row in rows if row["key_alias"]), key=lambda row: (row["newest"], row["key_alias"]))
    return {MASTER_KEY: "master key"} | {row["key_hash"] or None: row["key_alias"] for row in ordered}


def _failures(rows: Iterable[_Row], steps: Sequence[Span]) -> tuple[TimedCount, ...]:
    failed: Counter[tuple[int, str]] = Counter()
    for row in rows:
        failed[row["place"], row["model"]] += row["failed"]
    return tuple(
        TimedCount(steps[place].at, model or None, count) for (place, model), count in sorted(failed.items()) if count
    )


def _counts(rows: Iterable[_Row], column: str) -> tuple[Count, ...]:
    counted: Counter[str | None] = Counter()
    for row in rows:
        counted[row[column] or None] += row["requests"]
    return tuple(Count(name, requests) for name, requests in sorted(counted.items(), key=_commonest))


def _commonest(item: tuple[str | None, int]) -> tuple[int, str]:
    return -item[1], item[0] or ""


def _scores(bins: Iterable[_Row]) -> tuple[int, ...]:
    counted = {row["bin"]: row["count"] for row in bins if row["measure"] == "score"}
    return tuple(counted.get(score, 0) for score in range(101))


def _percentiles(bins: Iterable[_Row], measure: str) -> tuple[Percentiles, ...]:
    """Of each model, the one with the most requests first."""
    models: dict[str, list[tuple[int, int]]] = {}
    for row in bins:  # in the order of bins
        if row["measure"] == measure:
            models.setdefault(row["model"], []).append((row["bin"], row["count"]))
    found = [
        Percentiles(
            name=model or None,
            count=sum(count for _, count in counted),
            p50=_percentile(counted, 50),
            p90=_percentile(counted, 90),
            p99=_percentile(counted, 99),
        )
        for model, counted in models.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.count, each.name or "")))


def _percentile(counted: Sequence[tuple[int, int]], percent: int) -> float:
    """The middle of the first bin up to which at least so much lies: 40 bins are a decade."""
    left = sum(count for _, count in counted) * percent
    for each, count in counted:
        left -= count * 100
        if left <= 0:
            return float(10 ** ((each + 0.5) / 40))
    raise ValueError("no bins")
