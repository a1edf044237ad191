"""A `Survey` of the log, or of a file that was exported from it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from .. import expectations
from ..decision import now
from ..gateway import Gateway
from ..log_scores import LogScorer
from ..past import read_file, stream
from ..store import Store
from .survey import Survey

LEAST_DAYS = 1 / 24
"""A shorter time is taken for an hour: what comes in a few seconds says nothing about a month."""


def survey_file(
    path: Path,
    gateway: Gateway,
    scorer: LogScorer,
    advance: Callable[[int], None] = lambda _: None,
    *,
    borders_move: bool = False,
) -> tuple[Survey, float]:
    """The survey of an export, and the days from its first row to its last. Raises ReplayError."""
    survey = Survey(gateway, scorer, borders_move=borders_move)
    for rows in read_file(path, advance):
        survey.take(rows)
    return survey, max((survey.last - survey.first) / 86_400, LEAST_DAYS)


async def survey_log(
    dsn: str,
    days: float,
    gateway: Gateway,
    scorer: LogScorer,
    advance: Callable[[int], None] = lambda _: None,
    *,
    borders_move: bool = False,
) -> tuple[Survey, float]:
    """The survey of the last `days` of the log, and how many days there are in it. Raises StoreError, ReplayError."""
    survey = Survey(gateway, scorer, borders_move=borders_move)
    until = now()
    async with await Store.connect(dsn) as store:
        await fill(survey, store, until - timedelta(days=days), until, gateway, scorer, advance)
    return survey, days_of(survey, until, days)


async def fill(
    survey: Survey,
    store: Store,
    since: datetime,
    until: datetime,
    gateway: Gateway,
    scorer: LogScorer,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Have a survey take the rows of a time. Raises StoreError, ReplayError."""
    gateway.expected = await store.expected_output(
        until - timedelta(days=expectations.DAYS), expectations.MOST_DECISIONS, expectations.LEAST_ANSWERS
    )
    async with contextlib.aclosing(stream(store, since, until, scorer.reads_words)) as batches:
        async for rows in batches:
            survey.take(rows)
            advance(len(rows))


def days_of(survey: Survey, until: datetime, most: float) -> float:
    """How many of the days before `until`, at most so many, the rows of a survey stand for."""
    seen = (until.timestamp() - survey.first) / 86_400 if survey.first else 0.0
    return min(most, max(seen, LEAST_DAYS))
