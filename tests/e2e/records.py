"""What the gateway left behind: rows in its database, and what another callback saw."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg

from e2e.clients import PROMPTS, send
from e2e.gateways import Gateway

ROW_SECONDS = 20.0


async def until(what: str, found: Callable[[], Awaitable[bool]], seconds: float = ROW_SECONDS) -> None:
    """Wait for something to come true, at most so long."""
    deadline = time.monotonic() + seconds
    while not await found():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


def probed(gateway: Gateway, decision_id: UUID) -> list[dict[str, Any]]:
    """What the probe callback saw of a decision: its events, with the `routing_decision` that stood in LiteLLM's
    metadata, the same as in the payload that LiteLLM makes of it for its spend logs."""
    found = []
    for event in map(json.loads, gateway.config.with_name("probe.jsonl").read_text().splitlines()):
        decision = (event["payload_metadata"] or {}).get("routing_decision")
        if decision and decision["decision_id"] == str(decision_id):
            assert event["metadata"]["routing_decision"] == decision
            found.append({**event, "routing_decision": decision})
    return found


class Log:
    """The database of a gateway, read with plain SQL."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, dsn: str) -> Log:
        """Connect."""
        return cls(await asyncpg.connect(dsn))

    async def __aenter__(self) -> Log:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def rows(self, call_id: str) -> tuple[list[asyncpg.Record], list[asyncpg.Record]]:
        """Rows and outcomes of a call, as many as there are."""
        logs = await self._connection.fetch("SELECT * FROM routing_logs WHERE call_id = $1", call_id)
        outcomes = await self._connection.fetch("SELECT * FROM routing_outcomes WHERE call_id = $1", call_id)
        return logs, outcomes

    async def complete(self, call_id: str, status: str = "success") -> tuple[asyncpg.Record, asyncpg.Record]:
        """The one row and the one outcome of a call, once they are there."""

        async def there() -> bool:
            try:
                logs, outcomes = await self.rows(call_id)
            except asyncpg.UndefinedTableError:  # plain LiteLLM: the first batch makes the tables
                return False
            return bool(logs) and any(outcome["status"] == status for outcome in outcomes)

        await until(f"row and outcome of {call_id}", there)
        logs, outcomes = await self.rows(call_id)
        assert (len(logs), len(outcomes)) == (1, 1)
        assert logs[0]["decision_id"] == outcomes[0]["decision_id"]
        return logs[0], outcomes[0]

    async def ids(self, table: str) -> list[UUID]:
        """The decision ids of a table."""
        return [row["decision_id"] for row in await self._connection.fetch(f"SELECT decision_id FROM {table}")]

    async def call_ids(self) -> list[str]:
        """The call ids of all rows."""
        return [row["call_id"] for row in await self._connection.fetch("SELECT call_id FROM routing_logs")]

    async def assert_only(self, gateway: Gateway) -> None:
        """Every decision that an answer named has one row and one outcome, and no row is of anything else."""
        rows, outcomes, calls = (
            await self.ids("routing_logs"),
            await self.ids("routing_outcomes"),
            await self.call_ids(),
        )
        assert gateway.answered <= set(rows)
        assert gateway.answered <= set(outcomes) <= set(rows)
        assert len(rows) == len(set(rows)) == len(set(calls))
        assert len(outcomes) == len(set(outcomes))
        assert set(calls) <= gateway.asked


async def assert_not_logged(gateway: Gateway, log: Log, call_id: str | None) -> None:
    """The log is written in order: once the row of a later request is there, an earlier one's would be too."""
    await log.complete((await send(gateway, "chat", "auto", PROMPTS["simple"])).call_id)
    if call_id is not None:
        assert await log.rows(call_id) == ([], [])
    assert set(await log.call_ids()) <= gateway.asked
