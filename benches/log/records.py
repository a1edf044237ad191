"""What is logged: decisions that the gateway made of real bodies, with the outcomes and words that go with them."""

from __future__ import annotations

import os
from datetime import timedelta
from itertools import count, cycle
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import msgspec
from benches.bodies import BODIES, prose

import bsgateway
from bsgateway.decision import Caller, Decision, Outcome, Texts, new_id, now
from bsgateway.rows import Item

ROOT = Path(__file__).parents[2]
CALL_TYPES = {"chat": "acompletion", "messages": "anthropic_messages"}
ASK_CHARS, SYSTEM_CHARS = 1_500, 2_500
TURNS = 20
"""Decisions of one session."""


class Records:
    """Makes as many different records as are asked for. Every decision is of a call of its own, as its index sees."""

    def __init__(self) -> None:
        # No connection is made here, and none must be.
        with patch.dict(os.environ, {"COLLECTOR_DATABASE_URL": ""}):
            gateway = bsgateway.load(ROOT / "gateway.yaml")
        bodies = [make() for make in BODIES.values()]
        decided = [gateway.decide(body.body, CALL_TYPES[body.format]) for body in bodies if body.format in CALL_TYPES]
        assert all(decision.features and decision.contributions for decision in decided)
        self._decided = cycle(decided)
        self._numbers = count()
        self._session = ""
        self._ask, self._system = prose(ASK_CHARS, 4), prose(SYSTEM_CHARS, 5)

    def decision(self) -> Decision:
        """The next decision."""
        number = next(self._numbers)
        if number % TURNS == 0:
            self._session = str(uuid4())
        caller = Caller(
            call_id=str(uuid4()),
            session_id=self._session,
            key_hash="88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b",
            key_alias="team key",
            user_id="user-1",
            team_id="team-1",
            user_agent="client/1.0 (linux)",
        )
        return msgspec.structs.replace(
            next(self._decided), decision_id=new_id(), created_at=now(), caller=caller, decision_us=number % 97 + 0.5
        )

    def outcome(self, decision: Decision) -> Outcome:
        """The success of a decision, two seconds later."""
        return Outcome(
            decision_id=decision.decision_id,
            completed_at=decision.created_at + timedelta(seconds=2),
            status="success",
            call_id=decision.caller.call_id,
            served_group=decision.resolved_model,
            served_model="gpt-5-mini-2025-08-07",
            provider="openai",
            prompt_tokens=decision.context_tokens,
            completion_tokens=96,
            cache_read_tokens=4_000,
            cache_write_tokens=160,
            cost=0.0125,
            baseline_model="gpt-5",
            baseline_cost=0.25,
            latency_ms=812.5,
            first_token_ms=207.25,
        )

    def texts(self, decision: Decision) -> Texts:
        """The words of a decision: `ASK_CHARS` and `SYSTEM_CHARS` characters."""
        return Texts(
            decision_id=decision.decision_id, created_at=decision.created_at, ask=self._ask, system=self._system
        )

    def rows(self, number: int) -> list[Item]:
        """So many records: each decision with its outcome behind it."""
        made: list[Item] = []
        while len(made) < number:
            decision = self.decision()
            made += decision, self.outcome(decision)
        return made[:number]
