"""Off-policy estimates on the log: what other borders, or always the same tier, would have earned.

Only requests that chance could send elsewhere say something: those that the score alone settled, the first of their
conversation. What follows in a conversation is not in the estimates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from ..errors import LearningError
from ..gateway import load
from ..log_scores import Scored, scorer_of
from .borders import of_config, places
from .offpolicy import REWARDS, Estimate, Explored, Interval, estimate
from .survey import SCORES, ExploredRow
from .survey_log import survey_log


class Comparison(msgspec.Struct):
    """One policy and one reward: an estimate, or `refused`, why there is none."""

    policy: str
    reward: str
    rows: int = 0
    effective: float = 0.0
    naive: float | None = None
    snips: Interval | None = None
    doubly_robust: Interval | None = None
    refused: str = ""


class LogEvaluation(msgspec.Struct):
    """What the log says about a scorer: `explored` of its requests could have gone to several tiers by chance."""

    strategy: str
    scorer_id: str | None
    requests: int
    explored: int
    scored: Scored
    comparisons: list[Comparison]


def explored_of(tiers: tuple[str, ...], rows: Sequence[ExploredRow]) -> Explored:
    """The rows of a survey as arrays."""
    places = {cluster: place for place, cluster in enumerate(dict.fromkeys(row.cluster for row in rows))}

    def known(reward: str) -> npt.NDArray[np.float64]:
        values = (getattr(row, reward) for row in rows)
        return np.array([np.nan if value is None else value for value in values], np.float64)

    return Explored(
        tiers,
        np.array([row.score for row in rows], np.float64),
        np.array([row.tier for row in rows], np.int64),
        np.array([row.propensity for row in rows], np.float64),
        np.array([places[row.cluster] for row in rows], np.int64),
        {reward: known(reward) for reward in REWARDS},
    )


def compare(
    tiers: tuple[str, ...], rows: Sequence[ExploredRow], policies: Mapping[str, npt.NDArray[np.int64]]
) -> list[Comparison]:
    """What each of `policies`, the place of the tier for each score, int64 [SCORES], would have earned of each reward
    that the rows know. Nothing where there was no exploration: without it every propensity is 1 or unknown."""
    if not any(row.propensity < 1.0 for row in rows):
        return []
    explored = explored_of(tiers, rows)
    lands = np.array([row.lands for row in rows], np.int64)
    found = []
    for reward in REWARDS:
        if np.isnan(explored.rewards[reward]).all():
            continue
        for name, chosen in policies.items():
            if chosen.shape != (SCORES,):
                raise ValueError(f"a policy must give a tier to each of {SCORES} scores")
            target = lands[np.arange(len(rows)), chosen[explored.score.astype(np.int64)]]
            try:
                found.append(_comparison(name, estimate(explored, target, reward)))
            except LearningError as error:
                found.append(Comparison(name, reward, refused=str(error)))
    return found


def _comparison(policy: str, found: Estimate) -> Comparison:
    return Comparison(policy, found.reward, found.rows, found.effective, found.naive, found.snips, found.doubly_robust)


def lines(comparisons: Sequence[Comparison]) -> list[str]:
    """As sentences, one each, in their order."""
    text = []
    for each in comparisons:
        if each.snips is None or each.doubly_robust is None:
            text.append(f"{each.policy}: {each.refused}")
            continue
        text.append(
            f"{each.policy}: {each.reward} {_interval(each.doubly_robust)} doubly robust, {_interval(each.snips)} "
            f"SNIPS ({REWARDS[each.reward]}; {each.rows:,} rows, effective {each.effective:,.0f})"
        )
    return text


def report(found: LogEvaluation) -> list[str]:
    """An evaluation for people."""
    scorer = found.strategy + (f" ({found.scorer_id})" if found.scorer_id else "")
    text = [
        f"{found.explored:,} of {found.requests:,} requests could have gone to several tiers by chance; "
        f"scored by {scorer}",
        *lines(found.comparisons),
        "in brackets: 95 % intervals, by conversation; requests that follow in a conversation are not in it",
    ]
    if found.scored.left_out:
        text.append(
            f"{found.scored.left_out:,} rows of another strategy or model cannot be scored anew and are left out"
        )
    return text


def _interval(found: Interval) -> str:
    return f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g})"


def evaluate_log(
    dsn: str,
    config: Path,
    state: Path,
    days: float,
    model: Path | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> LogEvaluation:
    """What the log of the last `days` says about the routing of `config`, with the borders that it has, and about
    always the lowest and always the top tier. With `model`, the path of a model file, requests are scored by that.

    Raises LearningError where there was no exploration, StoreError, ReplayError, ConfigError and ModelError.
    """
    gateway = load(config)
    scorer = scorer_of(gateway.config, gateway.config, state, model=model)
    survey, _ = asyncio.run(survey_log(dsn, days, gateway, scorer, advance))
    top = len(survey.tiers) - 1
    policies = {
        "as configured": places(of_config(gateway.config.routing)),
        f"always {survey.tiers[0]}": np.zeros(SCORES, np.int64),
        f"always {survey.tiers[top]}": np.full(SCORES, top, np.int64),
    }
    comparisons = compare(survey.tiers, survey.explored, policies)
    if not comparisons:
        raise LearningError(
            f"no off-policy estimate: the log of the last {days:g} days has no explored requests with an outcome; set "
            "routing.learning.explore (2%, for example) and wait"
        )
    return LogEvaluation(
        scorer.strategy.value, scorer.scorer_id, survey.requests, len(survey.explored), scorer.counts, comparisons
    )
