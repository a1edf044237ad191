"""The page about learning: labels of the log, versions of the model, and putting one of them in force.

Labels are found by the rules of training. What people and judges said is in small tables, and is counted for the whole
period. What outcomes say takes a look at each request, in its order: of these, the newest `NEWEST` are looked at.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..config import Config
from ..decision import now
from ..errors import ModelError, NotBetterError, UnknownModelError
from ..learn.labelling import Labelling
from ..learn.labels import Label, Logged, Tiers, of_itself, tiers_of
from ..learn.promotion import list_versions
from ..learn.promotion import promote as put_in_force
from ..models import model_path
from ..sql import queries
from .problems import RequestError
from .views import LabelCount, LearningView, ModelVersion, Promoted, PromoteRequest

if TYPE_CHECKING:
    from ..connections import Connection

NEWEST = 2_000
"""Requests that are looked at for labels from outcomes."""
FEEDBACK = 5_000
"""Pieces of feedback that are looked at."""
FETCH_ROWS = 250

_COMPARED = (Label.DUAL_RUN, Label.DUAL_RUN_EMBEDDING)
_SAID = (Label.TIER, Label.RATING, Label.RATING_BETWEEN, Label.JUDGED)
_NIL = UUID(int=0)


async def learning(connection: Connection | None, config: Config, state: Path | None, days: float) -> LearningView:
    """What the page shows, with the labels of the last `days`. `connection`: in a transaction, whose plans are no good
    for other statements afterwards; None: there is no log, and no label is counted. Raises what asyncpg does, and
    ModelError."""
    versions, writable = await asyncio.to_thread(_files, config, state)
    classifier = config.routing.classifier
    used = classifier.scorer == "ml"
    return LearningView(
        strategy=classifier.strategy,
        in_force=next((each.id for each in versions if each.state == "in_force"), None) if used else None,
        days=days,
        labels=() if connection is None else await label_counts(connection, tiers_of(config), days),
        versions=versions,
        can_promote=writable,
    )


async def promote(config: Config, state: Path | None, request: PromoteRequest) -> Promoted:
    """Put a version in force. Raises RequestError: 404 for one that is not kept, 409 for one that takes force, 503 if
    the files cannot be changed."""
    try:
        return await asyncio.to_thread(put_in_force, config, state, request.id, request.force)
    except UnknownModelError as error:
        raise RequestError(404, str(error), field="id") from error
    except NotBetterError as error:
        raise RequestError(409, str(error), "promote it by force, or train again with more labels", "force") from error
    except ModelError as error:
        raise RequestError(503, str(error)) from error


async def label_counts(connection: Connection, tiers: Tiers, days: float) -> tuple[LabelCount, ...]:
    """Labels of the last `days` by their source, in the order of `Label`; 0 where there are none."""
    await queries().look_up_each(connection)
    since = now() - timedelta(days=days)
    found: Counter[Label] = Counter()
    async for row in queries().compared(connection, since=since):
        found.update(_times(Logged(**_NOBODY, judge=row["judge"], weak_score=0.0, strong_score=0.0), tiers, row))
    first_feedback = await queries().nth_newest_feedback(connection, since=since, n=FEEDBACK)
    async for row in queries().rated(connection, first=first_feedback or _first(since)):
        found.update(_times(Logged.of({**row, **_NOBODY}), tiers, row))
    first_decision = await queries().nth_newest_decision(connection, since=since, n=NEWEST)
    outcomes = await _of_outcomes(connection, tiers, _moment(first_decision) if first_decision else since)
    bounds = {
        **dict.fromkeys(_COMPARED, ""),
        **dict.fromkeys(_SAID, f" (in the newest {FEEDBACK:,} pieces of feedback)" if first_feedback else ""),
    }
    newest = f" (in the newest {NEWEST:,} requests)" if first_decision else ""
    return tuple(
        LabelCount(
            source=label.value,
            labels=found[label] if label in bounds else outcomes[label.value],
            weight=label.weight,
            doc=label.doc + bounds.get(label, newest),
        )
        for label in Label
    )


async def _of_outcomes(connection: Connection, tiers: Tiers, since: datetime) -> Counter[str]:
    """All labels of the requests since a moment, as training finds them."""
    labelling = Labelling(tiers)
    async with queries().training_rows_cursor(connection, since=since, until=None) as factory:
        cursor = await factory
        while batch := await cursor.fetch(FETCH_ROWS):
            await asyncio.to_thread(_take, labelling, batch)
    for _ in labelling.finish():
        pass
    return labelling.counts.labels


def _take(labelling: Labelling, rows: list[Any]) -> None:
    for _ in labelling.add(rows):  # what it finds is in its counts
        pass


def _times(row: Logged, tiers: Tiers, group: Any) -> dict[Label, int]:
    """What `row` says by itself, as often as it is in the log."""
    return dict.fromkeys(of_itself(row, tiers).found, group["count"])


_NOBODY: dict[str, Any] = {"decision_id": _NIL, "created_at": datetime.fromtimestamp(0)}


def _files(config: Config, state: Path | None) -> tuple[tuple[ModelVersion, ...], bool]:
    """The versions, and whether this process may put another one in force."""
    directory = model_path(config, state).parent
    return list_versions(config, state), os.access(directory, os.W_OK | os.X_OK)


def _first(since: datetime) -> UUID:
    """The smallest UUIDv7 of a moment."""
    return UUID(int=max(int(since.timestamp() * 1000), 0) << 80)


def _moment(decision: UUID) -> datetime:
    """When a UUIDv7 was made."""
    return datetime.fromtimestamp((decision.int >> 80) / 1000, tz=now().tzinfo)
