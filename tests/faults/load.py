"""A steady stream of requests, sent at fixed times whatever became of the ones before."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import httpx

from e2e.clients import PROMPTS, http, new_request_id
from e2e.gateways import Gateway

RATE = 20.0
"""Requests a second."""
WARM_UP_REQUESTS = 30
TIMEOUT = 20.0
MODEL = "auto"


@dataclass(frozen=True)
class Answer:
    """An answer of status 200: when it was due and when it had arrived (seconds of time.monotonic()), what it named."""

    due: float
    arrived: float
    decision_id: UUID

    @property
    def seconds(self) -> float:
        """Latency from the time the request was due: a gateway that stands still for a while is not let off."""
        return self.arrived - self.due


@dataclass
class Load:
    """Asks a gateway RATE times a second. `answers` in order of arrival; `failed` says how the others ended."""

    gateway: Gateway
    answers: list[Answer] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    new_connections: bool = False
    """Whether each request comes by a connection of its own, which any of several workers may take."""
    models: list[str] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """No new requests; the answers of those under way still count."""
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        async with http(self.gateway) as client:
            began = time.monotonic()
            try:
                for number in itertools.count():
                    due = began + number / RATE
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    task = asyncio.create_task(self.ask(client, due))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
            finally:
                await asyncio.gather(*under_way)

    async def ask(self, client: httpx.AsyncClient, due: float) -> None:
        """One request, and what became of it."""
        model = self.models.pop() if self.models else MODEL
        body = {
            "model": model,
            "messages": [{"role": "user", "content": f"{PROMPTS['simple']} {new_request_id()}"}],
            "max_tokens": 20,
        }
        headers = {"Connection": "close"} if self.new_connections else {}
        try:
            answer = await client.post("/v1/chat/completions", json=body, headers=headers, timeout=TIMEOUT)
        except httpx.HTTPError as error:
            self.failed.append((time.monotonic(), type(error).__name__))
            return
        if answer.status_code != 200:
            self.failed.append((time.monotonic(), f"status {answer.status_code}"))
            return
        self.answers.append(Answer(due, time.monotonic(), UUID(answer.headers["x-bsgateway-decision-id"])))


async def warm_up(gateway: Gateway) -> None:
    """Ask one after the other: the first answers of a gateway take long, and no others must wait behind them."""
    load = Load(gateway)
    async with http(gateway) as client:
        for _ in range(WARM_UP_REQUESTS):
            await load.ask(client, time.monotonic())
    assert not load.failed, f"the gateway does not answer: {load.failed[0][1]}"


def percentile(seconds: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed, in milliseconds; NaN of none."""
    if not seconds:
        return math.nan
    return 1000 * sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]
