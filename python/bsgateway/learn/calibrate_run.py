"""What `bsgateway calibrate` does: reads the log or a file of it, calibrates, and writes the borders if told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ..config import Config
from ..config_edit import CannotEdit, tier_lines, write_ranges
from ..errors import LearningError
from ..gateway import load
from ..log_scores import Scored, scorer_of
from . import borders as between
from .calibrate import Calibration, Goal, calibrate
from .offpolicy_log import Comparison, compare
from .rescored import check_scored
from .survey import Beside
from .survey_log import survey_file, survey_log


class Order(msgspec.Struct, frozen=True):
    """What is asked of a calibration: the last `days` of the log, or all of `file`, an export of it."""

    config: Path
    state: Path
    goal: Goal
    days: float = 30.0
    file: Path | None = None
    write: bool = False


class Result(msgspec.Struct):
    """What came of it. `tiers` is the YAML of the new ranges; `written` is the file that has them now, `refused` why it
    has not, although it should."""

    strategy: str
    scorer_id: str | None
    calibration: Calibration
    scored: Scored
    beside: Beside
    off_policy: list[Comparison]
    tiers: str
    written: str | None = None
    refused: str | None = None


def run(
    order: Order, url: Callable[[], contextlib.AbstractContextManager[str]], advance: Callable[[int], None]
) -> Result:
    """Calibrate. `url` opens the database of the log, if there is no file; `advance` is told of rows.

    Raises LearningError, StoreError, ReplayError, ModelError, and ConfigError, also when the file cannot be written.
    """
    gateway = load(order.config)
    scorer = scorer_of(gateway.config, gateway.config, order.state)
    if len(gateway.policy.tiers) < 2:
        raise LearningError(f"{order.config} has one tier only: there is no border to set")
    if order.file is not None:
        survey, days = survey_file(order.file, gateway, scorer, advance, borders_move=True)
    else:
        with url() as dsn:
            reading = survey_log(dsn, order.days, gateway, scorer, advance, borders_move=True)
            survey, days = asyncio.run(reading)
    check_scored(scorer)
    old = between.of_config(gateway.config.routing)
    calibration = calibrate(survey, order.goal, old, days)
    ranges = {line.tier: line.score_range for line in calibration.proposed.tiers}
    new = tuple(first for first, _ in ranges.values())[1:]
    result = Result(
        scorer.strategy.value,
        scorer.scorer_id,
        calibration,
        scorer.counts,
        survey.beside,
        compare(survey.tiers, survey.explored, {"now": between.places(old), "proposed": between.places(new)}),
        tier_lines(_written_tiers(gateway.config), ranges),
    )
    if order.write:
        try:
            write_ranges(order.config, ranges)
            result.written = str(order.config)
        except CannotEdit as error:
            result.refused = str(error)
    return result


def _written_tiers(config: Config) -> dict[str, Any]:
    """The tiers as the file says them."""
    tiers: dict[str, Any] = config.host["routing"]["tiers"]
    return tiers
