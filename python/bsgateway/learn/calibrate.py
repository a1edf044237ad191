"""`bsgateway calibrate`: borders between tiers for a wanted share, monthly cost or quality, from the log's own scores.

Quality is estimated from labels: for each tier a straight line of the quality over the score, through the scores that
dual runs gave it or, where there are too few of those, the ratings. It is told as a share of what the top tier alone
would reach. Without labels the score itself says which requests a dear tier should have first. Intervals come from a
bootstrap of whole conversations, with the borders as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np

from ..errors import LearningError
from . import borders as between
from .borders import Borders
from .survey import COMPARISON, RATING, SCORES, Floats, Survey

MONTH_DAYS = 365.25 / 12
LEAST_REQUESTS = 100
"""Scored requests below which nothing is proposed."""
LEAST_LABELS = 50
"""Labels of one kind below which there is no estimate of quality."""
LEAST_OF_END = 10
"""Of these, labels of the lowest and of the top tier."""
NEAR_SHARE = 2.0
"""Points by which a share may miss what was wanted without a word."""
REPLICATES = 500
SEED = 20240612
SHRINK = 10 * 20.0**2
"""A slope is drawn to 0 as by ten labels, 20 points from the mean, that show none."""

HOW_TO_LABEL = (
    "turn on dual runs (`routing.learning.dual_run: 1%`), which compare the answers of two tiers, or write ratings "
    "from 0 to 1 to routing_feedback; or calibrate by --share or --monthly-usd, which need no labels"
)


class Goal(msgspec.Struct, frozen=True):
    """What is wanted; one of them. `shares`: tier -> per cent of requests, what is missing goes to the tiers that are
    not named. `monthly_usd`: what the scored requests may cost a month. `quality`: the share, 0 to 1, to keep of what
    the top tier alone would reach."""

    shares: Mapping[str, float] | None = None
    monthly_usd: float | None = None
    quality: float | None = None


class Measure(msgspec.Struct, frozen=True):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


class TierLine(msgspec.Struct, frozen=True):
    """A tier under one setting. `share` is of the scored requests; costs are US dollars, None where a price is unknown,
    `cost` by request of the tier; `quality` is the mean of its requests, None without labels."""

    tier: str
    score_range: tuple[int, int]
    share: Measure
    cost: Measure | None
    monthly: Measure | None
    quality: Measure | None


class Setting(msgspec.Struct, frozen=True):
    """All tiers under one setting of the borders. `kept` is the share of the top tier's quality."""

    tiers: list[TierLine]
    cost: Measure | None
    monthly: Measure | None
    kept: Measure | None


class Calibration(msgspec.Struct):
    """What comes of a calibration. `labels`: kind -> tier -> labels; `quality_from` is the kind that was used."""

    requests: int
    scored: int
    days: float
    now: Setting
    proposed: Setting
    labels: dict[str, dict[str, int]]
    quality_from: str | None
    unpriced: list[str]
    remarks: list[str]


def calibrate(survey: Survey, goal: Goal, now: Borders, days: float) -> Calibration:
    """Borders for `goal`, and what they and those of `now` mean. `days` is the time that the survey covers.

    Raises LearningError where the log does not suffice, or no borders reach the goal.
    """
    if survey.scored < LEAST_REQUESTS:
        named = survey.beside.verdicts
        besides = f" (the local LLM named the tier of {named:,} more, which no border moves)" if named else ""
        raise LearningError(
            f"{survey.scored:,} scored requests do not suffice to calibrate{besides}: {LEAST_REQUESTS} are needed; "
            "look at more with --days"
        )
    table = _Table(survey, days)
    proposed = table.setting(_propose(table, goal, now))
    return Calibration(
        requests=survey.requests,
        scored=survey.scored,
        days=days,
        now=table.setting(now),
        proposed=proposed,
        labels={
            kind: {tier: survey.label_counts[kind, place] for place, tier in enumerate(survey.tiers)}
            for kind in (COMPARISON, RATING)
        },
        quality_from=table.kind,
        unpriced=sorted(survey.unpriced),
        remarks=[*_missed(goal, proposed), *table.remarks()],
    )


def shares_of(goal: Mapping[str, float], tiers: tuple[str, ...]) -> list[float]:
    """The share of each tier, adding up to 1: what is not given is divided among the tiers that are not named."""
    if unknown := sorted(goal.keys() - set(tiers)):
        raise LearningError(f"--share {unknown[0]}: no such tier; tiers are {', '.join(tiers)}")
    given = sum(goal.values())
    others = [tier for tier in tiers if tier not in goal]
    if given > 100 + 1e-9 or (not others and abs(given - 100) > 1e-9):
        raise LearningError(f"--share: the shares add up to {given:g} %; they must be 100 % for all tiers together")
    rest = (100 - given) / len(others) if others else 0.0
    return [goal.get(tier, rest) / 100 for tier in tiers]


def _missed(goal: Goal, proposed: Setting) -> list[str]:
    """Shares that no border gives, as too many requests have the same score."""
    found = []
    for line in proposed.tiers:
        wanted, share = (goal.shares or {}).get(line.tier), 100 * line.share.value
        if wanted is not None and abs(share - wanted) > NEAR_SHARE:
            found.append(f"{line.tier} gets {share:.1f} % and not {wanted:g} %: no border comes nearer")
    return found


def _propose(table: _Table, goal: Goal, now: Borders) -> Borders:
    if goal.shares is not None:
        return between.for_shares(table.counts, shares_of(goal.shares, table.survey.tiers), now)
    table.need_prices()
    if goal.quality is not None:
        table.need_labels()
        least = goal.quality * float(table.worth[:, -1].sum())
        found = between.cheapest_worth(table.costs, table.worth, least, now)
        if found is None:
            raise LearningError(f"no borders keep {100 * goal.quality:g} % of the top tier's quality")
        return found
    budget = (goal.monthly_usd or 0.0) / table.months
    found = between.best_within(table.costs, table.worth, budget, now)
    if found is None:
        low = table.setting(tuple(range(SCORES - len(now), SCORES))).monthly
        raise LearningError(
            f"no borders cost ${goal.monthly_usd:,.2f} a month or less: the lowest tier alone costs about "
            f"${0.0 if low is None else low.value:,.2f}"
        )
    return found


class _Table:
    """A survey as sums over all conversations, and over drawn ones."""

    def __init__(self, survey: Survey, days: float) -> None:
        self.survey = survey
        self.months = MONTH_DAYS / days
        """What the costs of the time are multiplied by for those of a month."""
        filled = np.flatnonzero(survey.counts.sum(axis=1))
        drawn = np.random.default_rng(SEED).multinomial(
            len(filled), np.full(len(filled), 1 / len(filled)), size=REPLICATES
        )
        # The first row is the log itself: every number is computed once for it and for all that were drawn.
        self._weights: Floats = np.vstack((np.ones(len(filled)), drawn))
        self._counts = np.tensordot(self._weights, survey.counts[filled], 1)
        self._costs = np.tensordot(self._weights, survey.costs[filled], 1)
        self.counts: Floats = self._counts[0]
        self.costs: Floats = self._costs[0]
        self.kind = _kind(survey)
        self._quality = None if self.kind is None else self._lines(survey.labels[self.kind][filled])
        self.worth = self.counts[:, None] * (self._supposed() if self._quality is None else self._quality[0])

    def need_prices(self) -> None:
        """Raises LearningError where a model has no price."""
        if self.survey.unpriced:
            raise LearningError(
                f"no price is known of {', '.join(sorted(self.survey.unpriced))}: give input_cost_per_token and "
                "output_cost_per_token in its model_info, or calibrate by --share"
            )

    def need_labels(self) -> None:
        """Raises LearningError where there are too few labels."""
        if self.kind is None:
            found = [sum(self.survey.label_counts[kind, at] for at in range(len(self.survey.tiers)))
                     for kind in (COMPARISON, RATING)]  # fmt: skip
            raise LearningError(
                f"quality cannot be estimated from {found[0]:,} scores of dual runs and {found[1]:,} ratings: "
                f"{LEAST_LABELS} of one kind are needed, {LEAST_OF_END} of them of the lowest tier and as many of the "
                f"top tier; {HOW_TO_LABEL}"
            )

    def setting(self, borders: Borders) -> Setting:
        """What the tiers mean with these borders."""
        place = between.places(borders)
        total = self._counts.sum(axis=1)
        lines, costs, worth = [], np.zeros(len(total)), np.zeros(len(total))
        for at, (tier, score_range) in enumerate(zip(self.survey.tiers, between.ranges(borders), strict=True)):
            mine = place == at
            requests = self._counts[:, mine].sum(axis=1)
            cost = self._costs[:, mine, at].sum(axis=1)
            costs += cost
            known = at not in self.survey.unpriced_tiers
            quality = None
            if self._quality is not None:
                good = (self._counts[:, mine] * self._quality[:, mine, at]).sum(axis=1)
                worth += good
                quality = _measure(good, requests)
            lines.append(
                TierLine(
                    tier,
                    score_range,
                    _measure(requests, total) or Measure(0.0, 0.0, 0.0),
                    _measure(cost, requests) if known else None,
                    _measure(cost * self.months, None) if known else None,
                    quality,
                )
            )
        known = not self.survey.unpriced_tiers
        kept = None
        if self._quality is not None:
            kept = _measure(worth, (self._counts * self._quality[:, :, -1]).sum(axis=1))
        return Setting(
            lines,
            _measure(costs, total) if known else None,
            _measure(costs * self.months, None) if known else None,
            kept,
        )

    def remarks(self) -> list[str]:
        """What somebody should know who reads the numbers."""
        survey, found = self.survey, []
        if survey.unpriced:
            found.append(
                f"costs are unknown: no price is known of {', '.join(sorted(survey.unpriced))}; give "
                "input_cost_per_token and output_cost_per_token in its model_info"
            )
        if self.kind is None:
            found.append(f"quality is unknown: too few labels; {HOW_TO_LABEL}")
        else:
            found += self._about_labels(self.kind)
        most = int(self.counts.argmax())
        share = 100 * float(self.counts[most] / self.counts.sum())
        if share >= 10:
            found.append(f"{share:.0f} % of the requests have the score {most}: no border divides them")
        if survey.own_tokens:
            found.append(
                f"of {survey.own_tokens:,} requests no answer is known: their tokens are the gateway's estimate"
            )
        return found

    def _about_labels(self, kind: str) -> list[str]:
        survey = self.survey
        known = [survey.label_counts[kind, at] for at in range(len(survey.tiers))]
        none = [tier for tier, count in zip(survey.tiers, known, strict=True) if count < LEAST_OF_END]
        found = [f"quality of {', '.join(none)}: few labels, so it is put between its neighbours"] if none else []
        if kind == RATING:
            found.append(
                "quality is from ratings: a tier is only rated on what was sent to it, and its line is drawn on from "
                "there; dual runs and exploration see all of it"
            )
        return found

    def _lines(self, sums: Floats) -> Floats:
        """The quality of each tier at each score, float64 [1 + REPLICATES, SCORES, K], 0-1."""
        drawn = np.tensordot(self._weights, sums, 1)
        enough = [place for place in range(sums.shape[1]) if sums[:, place, 0].sum() >= LEAST_OF_END]
        score = np.arange(SCORES)
        found = np.empty((len(drawn), SCORES, sums.shape[1]))
        for place in enough:
            n, x, xx, y, xy = (drawn[:, place, at] for at in range(5))
            n = np.maximum(n, 1e-9)  # a draw may have none of them
            slope = (xy - x * y / n) / (xx - x * x / n + SHRINK)
            found[:, :, place] = np.clip((y / n)[:, None] + slope[:, None] * (score - (x / n)[:, None]), 0.0, 1.0)
        for place in range(sums.shape[1]):
            if place not in enough:
                low = max(each for each in enough if each < place)
                high = min(each for each in enough if each > place)
                part = (place - low) / (high - low)
                found[:, :, place] = (1 - part) * found[:, :, low] + part * found[:, :, high]
        return found

    def _supposed(self) -> Floats:
        """Without labels: the lowest tier fails with the probability that the score says, the top tier never, and those
        between by their place. float64 [SCORES, K]."""
        tiers = len(self.survey.tiers)
        falls = 1.0 - np.arange(tiers) / max(tiers - 1, 1)
        return 1.0 - np.arange(SCORES)[:, None] / 100.0 * falls


def _kind(survey: Survey) -> str | None:
    """The labels that quality is estimated from: ratings only where there are too few comparisons."""
    last = len(survey.tiers) - 1
    for kind in (COMPARISON, RATING):
        known = [survey.label_counts[kind, place] for place in range(len(survey.tiers))]
        if sum(known) >= LEAST_LABELS and min(known[0], known[last]) >= LEAST_OF_END:
            return kind
    return None


def _measure(over: Floats, under: Floats | None) -> Measure | None:
    """Of the log, the first, and its interval from all others; None where there is nothing to divide by."""
    if under is not None:
        if under[0] <= 0:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            over = over / under
    drawn = over[1:][np.isfinite(over[1:])]
    value = float(over[0])
    low, high = np.percentile(drawn, (2.5, 97.5)) if len(drawn) else (math.nan, math.nan)
    return Measure(value, float(low), float(high))
