"""What the log adds up to: the shapes that the dashboard, its API and `bsgateway report` share.

Money is in US dollars, times are UTC, a period is [since, until). `saved` has one meaning everywhere: over the requests
that were routed by score and really sent there (`routed`), and of which both costs are known (`priced`), what the same
tokens would have cost at the top tier's first model, less what they did cost. Names served as asked are in `spent`, and
save nothing. What dual runs cost is `learning_cost`, in neither.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

ASSUMPTION = (
    "Saved: what the same tokens would have cost at the top tier's first model, at the prices of that moment, less "
    "what they did cost. Only requests that were routed by score and answered at known prices count. A dearer model "
    "might have answered with more or fewer tokens."
)
"""What is to be said beside every number of savings."""

By = Literal["tier", "model", "key", "team", "day"]
Step = Literal["quarter", "hour", "day", "week", "month"]


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """What a group of requests adds up to.

    `requests` are all decisions. `failed` have a failure as their outcome, `fell_back` were answered by another model
    group than the chosen one. `spent` is all cost that is known. `routed` requests went by score to the model that was
    chosen; of these `priced` have both costs known, and `cost`, `baseline_cost` and `saved` are theirs. Tokens are
    those that the provider counted, `prompt_tokens` includes what was read from its cache.
    """

    requests: int = 0
    failed: int = 0
    fell_back: int = 0
    routed: int = 0
    priced: int = 0
    spent: float = 0.0
    cost: float = 0.0
    baseline_cost: float = 0.0
    saved: float = 0.0
    learning_cost: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of one value of what was grouped by. `name` is None where the rows have none: requests that were not
    routed by score have no tier, the master key no team. `label` is what people know a key by: its alias."""

    name: str | None
    label: str | None = None
    sums: Sums


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of one group in one step of time, which begins at `at`."""

    at: datetime
    name: str | None = None
    sums: Sums


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """What numbers are about. `since` and `until` as they were rounded outwards, to the quarter of an hour; `timezone`
    is an IANA name, which days begin by. `as_of`: rows that were written after it may be missing."""

    since: datetime
    until: datetime
    timezone: str
    step: Step
    as_of: datetime


class Savings(msgspec.Struct, frozen=True, kw_only=True):
    """Page and report of savings. `groups` are by what was asked for, the most spent first; `points` are by `by`, too,
    unless that is key, team or day: then all together (name None); a step without requests has one, of no name.
    `groups` by day are named by ISO dates, in their order. `baseline_models` are those that baseline costs were
    computed with."""

    period: Period
    by: By
    total: Sums
    groups: tuple[Group, ...]
    points: tuple[Point, ...]
    baseline_models: tuple[str, ...] = ()
    assumption: str = ASSUMPTION


class Count(msgspec.Struct, frozen=True):
    """Requests of one value."""

    name: str | None
    requests: int


class TimedCount(msgspec.Struct, frozen=True):
    """Requests of one value in the step of time that begins at `at`."""

    at: datetime
    name: str | None
    requests: int


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Of how long something took. In microseconds for decisions, else in milliseconds; right to 3 percent, as they come
    from logarithmic bins. `name` is the model for latencies."""

    name: str | None = None
    count: int
    p50: float
    p90: float
    p99: float


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Page of traffic. `scores` has 101 counts, of scores 0-100. `sticky` counts the decisions by the reasons that have
    to do with a conversation. `failures` are by model. Scores and times are those of the whole hours that hold the
    period. Of a key, these and methods, strategies and reasons are those of its newest 2,000 requests in the period
    (`sampled`: it has more)."""

    period: Period
    total: Sums
    tiers: tuple[TimedCount, ...]
    methods: tuple[Count, ...]
    strategies: tuple[Count, ...]
    reasons: tuple[Count, ...]
    models: tuple[Count, ...]
    sticky: tuple[Count, ...]
    scores: tuple[int, ...]
    decision_us: Percentiles | None
    latency_ms: tuple[Percentiles, ...]
    first_token_ms: tuple[Percentiles, ...]
    failures: tuple[TimedCount, ...]
    sampled: bool = False
