"""`POST /bsgateway/feedback`: what a client, or somebody at the dashboard, says about an answer.

A key may speak of the requests it has made, an admin of all. What is stored of a comment follows `collector.text`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from datetime import timedelta
from typing import Literal
from uuid import UUID

import msgspec

from ..core import core
from ..decision import now
from ..gateway import Gateway
from ..rows import MAX_NAME, clean
from ..shape import nearest
from ..sql import queries
from .database import Database
from .problems import RequestError
from .viewer import Viewer
from .views import FeedbackAnswer, FeedbackRequest

log = logging.getLogger(__name__)

SOURCE_HEADER = "x-bsgateway-source"
"""Request header that says who speaks: `dashboard`, or, from an admin, a source such as `judge-7b`."""
MAX_COMMENT = 4_000
"""Characters."""
MOST_SAID = 100
"""Pieces of feedback on one decision. An admin may give more: a judge may be tried again and again."""
FRESH = timedelta(seconds=60)
"""A decision is waited for while it is so young: the log writes in batches."""
WAIT_SECONDS = 2.0
LOOK_SECONDS = 0.1
RETRY_SECONDS = 2
_SOURCE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")

CommentFate = Literal["none", "kept", "redacted", "dropped"]


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """Checked feedback, as it is to be stored. `fate` tells what became of the comment."""

    decision_id: UUID
    source: str
    rating: float | None
    label: str | None
    comment: str | None
    fate: CommentFate

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to store."""
        return self.rating is None and self.label is None and self.comment is None


def opinion(asked: FeedbackRequest, source: str, gateway: Gateway) -> Opinion:
    """The one place that checks feedback. Raises RequestError (422)."""
    routing = gateway.config.routing
    if asked.rating is not None and not 0.0 <= asked.rating <= 1.0:
        raise RequestError(422, "rating must lie between 0 (useless) and 1 (just right)", field="rating")
    if asked.label is not None and asked.label not in routing.tiers:
        raise RequestError(
            422, f"label: {asked.label[:64]!r} is not a tier", nearest(asked.label[:MAX_NAME], routing.tiers), "label"
        )
    comment = (asked.comment or "").strip()
    if len(comment) > MAX_COMMENT:
        raise RequestError(422, f"comment is longer than {MAX_COMMENT:,} characters", "shorten it", "comment")
    if asked.rating is None and asked.label is None and not comment:
        raise RequestError(422, "nothing is said", "give a rating, a label or a comment")
    kept, fate = _kept(comment, routing.collector.text)
    return Opinion(
        decision_id=asked.decision_id,
        source=source,
        rating=asked.rating,
        label=asked.label,
        comment=kept,
        fate=fate,
    )


def source_of(said: str | None, viewer: Viewer) -> str:
    """Who gives feedback, as `routing_feedback.source` has it: what kind of client, and which key.

    Labels of sources that begin with judge or llm weigh less in training, so only an admin's key may speak as one.
    Raises RequestError (403, 422).
    """
    kind = said or "client"
    if kind not in ("client", "dashboard"):
        if not viewer.may_write:
            raise RequestError(403, f"only an admin's key may speak as another source than {SOURCE_HEADER}: dashboard")
        if _SOURCE.fullmatch(kind) is None:
            raise RequestError(422, f"{SOURCE_HEADER} must be up to 64 of a-z, 0-9, `_`, `.` and `-`")
    return clean(f"{kind}:{viewer.name}", MAX_NAME)


async def give(
    asked: FeedbackRequest, said: str | None, viewer: Viewer, gateway: Gateway, database: Database
) -> FeedbackAnswer:
    """Store feedback; when this returns, the database has it. Raises RequestError: 422 for what is no feedback, 404 for
    a decision that is not in the log (yet), 403 for one of another key, 503."""
    checked = opinion(asked, source_of(said, viewer), gateway)
    await _authorise(checked.decision_id, viewer, database)
    if checked.is_empty:
        return FeedbackAnswer(decision_id=checked.decision_id, stored=False, comment=checked.fate)
    async with database.writing() as connection:
        await queries().insert_feedback(
            connection,
            decision_id=checked.decision_id,
            source=checked.source,
            rating=checked.rating,
            label=checked.label,
            comment=checked.comment,
        )
    return FeedbackAnswer(decision_id=checked.decision_id, stored=True, comment=checked.fate)


async def _authorise(decision_id: UUID, viewer: Viewer, database: Database) -> None:
    """Raises RequestError unless the decision is in the log and the viewer may speak of it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        async with database.reading() as connection:
            found = await queries().maker_of_decision(connection, decision_id=decision_id)
        if found is not None:
            break
        if not _is_fresh(decision_id) or time.monotonic() + LOOK_SECONDS > deadline:
            raise RequestError(
                404,
                "no decision with this id is in the log",
                "decision_id is what x-bsgateway-decision-id said; a new one is there after some seconds",
                "decision_id",
                RETRY_SECONDS,
            )
        await asyncio.sleep(LOOK_SECONDS)
    if not viewer.admin and found["key_hash"] != viewer.key_hash:
        raise RequestError(403, "this decision was made for another key", field="decision_id")
    if not viewer.may_write and found["said"] >= MOST_SAID:
        raise RequestError(409, f"{MOST_SAID} pieces of feedback were given on this decision already")


def _is_fresh(decision_id: UUID) -> bool:
    """Whether a UUIDv7 was made just now; the first 48 bits of one are its time."""
    age = now().timestamp() - (decision_id.int >> 80) / 1000
    return abs(age) <= FRESH.total_seconds()


def _kept(comment: str, text: str) -> tuple[str | None, CommentFate]:
    """What of a comment may be stored."""
    if not comment:
        return None, "none"
    if text == "full":
        return clean(comment), "kept"
    if text == "none":
        return None, "dropped"
    try:
        return clean(core.redact(clean(comment), False)), "redacted"
    except Exception as error:  # what cannot be freed of secrets is not stored
        log.error("a comment could not be redacted and is dropped: %s", type(error).__name__)
        return None, "dropped"
