"""Clients that go on asking until the gateway is gone, and the check that the log has all they were answered."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anthropic
import httpx
import openai

from bsgateway.embedded import EmbeddedPostgres
from e2e.clients import PROMPTS, Reply, new_request_id, send
from e2e.gateways import Gateway
from e2e.records import Log, until
from e2e.upstream import ANSWER, Plan

NEVER_BY_ITSELF = {"collector": {"flush_seconds": 60}}
"""For `write_config`: what is in the log after a stop was then written by the stop."""
CLIENTS = 10
MAX_REQUESTS = 200
BEFORE_STOP = 20
GONE = (httpx.HTTPError, openai.APIError, anthropic.APIError)
KINDS = (("chat", False), ("chat", True), ("messages", False), ("messages", True), ("responses", True))


async def answers_until_stopped(gateway: Gateway, stop: Callable[[], None]) -> list[Reply]:
    """Ten clients ask; after some answers `stop` is called while they go on. The answers that were complete."""
    replies: list[Reply] = []
    numbers = iter(range(MAX_REQUESTS))

    async def client(first: int) -> None:
        for (endpoint, stream), tier in zip(
            itertools.islice(itertools.cycle(KINDS), first, None), itertools.cycle(PROMPTS), strict=False
        ):
            if next(numbers, None) is None:
                return
            request_id = new_request_id()
            # Slow enough that the signal meets requests at each stage.
            gateway.upstream.plan(request_id, Plan(delay=0.02 * first, pause=0.01), "small", "medium", "large")
            try:
                reply = await send(gateway, endpoint, "auto", f"{PROMPTS[tier]} {request_id}", stream=stream)
            except GONE:
                return
            if reply.text == ANSWER:
                replies.append(reply)

    async def enough() -> bool:
        return len(replies) >= BEFORE_STOP

    clients = [asyncio.create_task(client(first)) for first in range(CLIENTS)]
    await until(f"{BEFORE_STOP} answers", enough, 60)
    before = len(replies)
    await asyncio.to_thread(stop)
    await asyncio.gather(*clients)
    assert len(replies) > before, "the signal came when nothing was in flight"
    return replies


@asynccontextmanager
async def log_of(state: Path) -> AsyncIterator[Log]:
    """The database in the state directory of a gateway that has ended."""
    with EmbeddedPostgres(state) as server:
        async with await Log.open(server.dsn) as log:
            yield log


async def assert_complete(log: Log, replies: list[Reply]) -> None:
    """Each answer has exactly one row and one successful outcome."""
    wanted = {reply.decision_id for reply in replies}
    assert len(wanted) == len(replies)
    rows, outcomes = await log.ids("routing_logs"), await log.ids("routing_outcomes WHERE status = 'success'")
    assert len(rows) == len(set(rows))
    assert wanted - set(rows) == set(), "answered, but no row"
    assert wanted - set(outcomes) == set(), "answered, but no outcome"
