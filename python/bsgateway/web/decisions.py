"""Decisions as the pages show them: the list, and the whole why of one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import msgspec

from ..config import Collector
from ..decision import Decision, Method, Reason, Texts, now
from ..decisions_log import DecisionFilters, DecisionParts
from ..decisions_log import decision as parts_of
from ..decisions_log import decisions as decisions_of
from ..figures_log import Scope
from ..gateway import Gateway
from ..log.redaction import redacted
from ..moments import parse_moment
from ..periods import find_zone
from .problems import RequestError
from .views import CandidateView, DecisionDetail, DecisionPage

if TYPE_CHECKING:
    from ..connections import Connection

MOST_ROWS = 200
"""Of one page of the list: more would take the event loop too long to write."""
NONE = "none"
"""As a tier or a strategy: requests that have none."""


class DecisionsQuery(msgspec.Struct, frozen=True):
    """Parameters of GET api/decisions. `key` is an alias or a hash, `conversation` and `session` are ids; `before` is
    what the page before told."""

    tier: str | None = None
    method: Method | None = None
    strategy: Literal["static", "ml", "llm", "none"] | None = None
    reason: Reason | None = None
    model: str | None = None
    applied: bool | None = None
    status: Literal["success", "failure", "pending"] | None = None
    fell_back: bool | None = None
    key: str | None = None
    conversation: str | None = None
    session: str | None = None
    call_id: str | None = None
    since: str | None = None
    until: str | None = None
    tz: str = "UTC"
    before: UUID | None = None
    limit: int = 50

    def filters(self, tiers: frozenset[str]) -> DecisionFilters:
        """What the log is to be searched for; `tiers` are those of the configuration. Raises RequestError and
        FiguresError."""
        zone = find_zone(self.tz)
        return DecisionFilters(
            tier="" if self.tier == NONE and NONE not in tiers else self.tier,
            method=None if self.method is None else self.method.value,
            strategy="" if self.strategy == NONE else self.strategy,
            reason=None if self.reason is None else self.reason.value,
            model=self.model,
            applied=self.applied,
            status=self.status,
            fell_back=self.fell_back,
            key=self.key,
            conversation_id=self.conversation,
            session_id=self.session,
            call_id=self.call_id,
            since=self._moment("since", zone),
            until=self._moment("until", zone),
        )

    def _moment(self, field: Literal["since", "until"], zone: tzinfo) -> datetime | None:
        text: str | None = getattr(self, field)
        try:
            return None if text is None else parse_moment(text, now(), zone)
        except ValueError as error:
            raise RequestError(400, f"{field}: {error}", field=field) from None


async def page(connection: Connection, wanted: DecisionsQuery, scope: Scope, gateway: Gateway) -> DecisionPage:
    """GET api/decisions. Raises RequestError, FiguresError, StoreError and what asyncpg does."""
    if not 1 <= wanted.limit <= MOST_ROWS:
        raise RequestError(400, f"limit: {wanted.limit} is not between 1 and {MOST_ROWS}", field="limit")
    filters = wanted.filters(frozenset(gateway.config.routing.tiers))
    found = await decisions_of(connection, scope=scope, filters=filters, before=wanted.before, limit=wanted.limit)
    return DecisionPage(rows=found.rows, before=found.before)


async def detail(connection: Connection, decision_id: UUID, scope: Scope, gateway: Gateway) -> DecisionDetail:
    """GET api/decisions/ID. Raises RequestError (404) where it is not there, or is another key's."""
    parts = await parts_of(connection, decision_id, scope)
    if parts is None:
        seen = "" if scope.key_hash is None else "; this key sees its own only"
        raise RequestError(404, "no such decision is in the log", f"a new one is there after some seconds{seen}")
    return await described(parts, gateway)


async def described(parts: DecisionParts, gateway: Gateway) -> DecisionDetail:
    """What the log knows of a decision, with what its words mean."""
    decision = parts.row.decision
    return DecisionDetail(
        row=parts.row,
        reason_doc=decision.reason.doc,
        method_doc=decision.method.doc,
        llm_doc=None if decision.llm_status is None else decision.llm_status.doc,
        candidates=tuple(candidates(decision, gateway)),
        texts=await shown(parts.texts, gateway.config.routing.collector),
        feedback=parts.feedback,
        comparison=parts.comparison,
        turns=parts.turns,
    )


def candidates(decision: Decision, gateway: Gateway) -> Iterator[CandidateView]:
    """Those that were passed over, in their order; the one that was chosen; and those of its tier (of the configuration
    in force) that nobody had to look at."""
    tier_of = gateway.policy.tier_of
    for each in decision.skipped:
        yield CandidateView(
            model=each.model,
            tier=tier_of(each.model),
            fate="passed_over",
            reason=each.reason.value,
            doc=each.reason.doc,
        )
    if decision.reason is Reason.NO_CANDIDATE:
        return
    yield CandidateView(model=decision.resolved_model, tier=decision.tier, fate="chosen")
    named = {each.model for each in decision.skipped} | {decision.resolved_model}
    for plan in gateway.policy.tiers:
        if plan.name == decision.tier:
            for model in plan.candidates:
                if model.name not in named:
                    yield CandidateView(model=model.name, tier=plan.name, fate="not_reached")


async def shown(texts: Texts | None, collector: Collector) -> Texts | None:
    """Words of a request as far as `collector.text` lets them be seen now: what was stored under a laxer setting is no
    reason to show it."""
    if texts is None or collector.text == "none":
        return None
    if collector.text == "full" or texts.redacted:
        return texts
    return await asyncio.to_thread(redacted, texts, collector.text_chars)
