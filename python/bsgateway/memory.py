"""A request's conversation: what is remembered of it before the choice, and what its next turn has to know."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .conversations import begins, thread_id
from .gateway import Gateway, Pending
from .policy import Choice
from .sessions import RedisCache, Session, Sessions, after, with_stranger
from .translate import FOREIGN


async def recalled(
    sessions: Sessions, redis: RedisCache | None, gateway: Gateway, pending: Pending, body: Mapping[str, Any]
) -> tuple[str | None, Session | None]:
    """The id under which the conversation of a request is remembered, and what is; None for what there is not."""
    conversation = pending.conversation
    if conversation is None or not gateway.config.routing.session.enabled:
        return None, None
    # What would have been done is kept apart from what was.
    shadow = "" if gateway.is_applied(pending) else "-shadow"
    if begins(body, pending.call_type):
        return conversation + shadow, None
    thread = thread_id(conversation, body, pending.call_type, pending.caller)
    session = await sessions.get(redis, thread + shadow)
    if session is None and thread != conversation:  # its second turn: the first one had no answer yet
        session = await sessions.get(redis, conversation + shadow)
    return thread + shadow, session


def left(
    gateway: Gateway,
    pending: Pending,
    choice: Choice,
    session: Session | None,
    thread: str | None,
    changes: tuple[str, ...] = (),
) -> Session | None:
    """What a request leaves behind for the next turn of `thread`; None if that is nothing."""
    demand = pending.demand
    if thread is None or demand.side or choice.tier is None or choice.model is None or choice.score is None:
        return None
    if pending.wishes.dry_run:
        return None
    model = gateway.models[choice.model]
    easy = gateway.policy.is_easy(choice.score, choice.tier)
    size = demand.context_tokens
    scorer = "" if pending.scored is None else pending.scored.strategy.value
    now = after(session, choice.tier, model.name, model.family, choice.score, size, time.time(), easy, scorer)
    return now if FOREIGN.isdisjoint(changes) else with_stranger(now)
