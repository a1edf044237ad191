"""Which classifier of the strategy llm runs: that of the configuration in force, and no other for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from bsgateway.classifiers.llm import Request
from bsgateway.classifiers.llm.classifier import LlmClassifier
from bsgateway.classifiers.llm.ready import Keeper
from bsgateway.classifiers.llm.target import Target
from bsgateway.config import Llm, Tier
from bsgateway.decision import LlmStatus
from builders import until
from ollama_api.scripted import MODEL, ScriptedOllama, late, says

TIERS = {"simple": Tier((0, 50), model="small"), "complex": Tier((51, 100), model="large")}


class Reloads:
    """What the hook does: one classifier is in force, another one takes its place."""

    def __init__(self, server: ScriptedOllama) -> None:
        self._server = server
        self.llm: LlmClassifier | None = self.make()
        self.keeper = Keeper(lambda: self.llm)

    def make(self, **settings: Any) -> LlmClassifier:
        return LlmClassifier(Llm(model=MODEL, **settings), Target(MODEL, self._server.url), TIERS)

    def adopt(self, llm: LlmClassifier | None) -> None:
        if llm is not None and self.llm is not None:
            llm.follow(self.llm)
        self.llm = llm
        self.keeper.look()

    async def ask(self, word: str) -> LlmStatus:
        assert self.llm is not None
        return (await self.llm.verdict(Request(word), time.perf_counter() + 5)).status


@pytest.fixture
async def server() -> AsyncIterator[ScriptedOllama]:
    async with ScriptedOllama(says("complex")) as running:
        yield running


@asynccontextmanager
async def reloads(server: ScriptedOllama) -> AsyncIterator[Reloads]:
    found = Reloads(server)
    task = asyncio.create_task(found.keeper.run())
    try:
        await until(lambda: found.llm is not None and found.llm.stats().warm)
        yield found
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await until(lambda: server.connections == 0)


async def test_one_that_is_soon_replaced_leaves_no_connection(server: ScriptedOllama) -> None:
    async with reloads(server) as reload:
        for margin in (1, 2, 3):
            reload.adopt(reload.make(margin=margin))
            assert await reload.ask(f"ask {margin}") is LlmStatus.ASKED  # it goes on where the former one was
        reload.adopt(None)
        await until(lambda: server.connections == 0)


async def test_who_waits_for_the_former_one_has_its_verdict(server: ScriptedOllama) -> None:
    async with reloads(server) as reload:
        server.behave = late(0.2, says("simple"))
        waiting = asyncio.create_task(reload.ask("slow"))
        await until(lambda: server.in_flight == 1)
        reload.adopt(None)
        assert await waiting is LlmStatus.ASKED
        await until(lambda: server.connections == 0)


async def test_one_that_is_in_force_before_it_runs(server: ScriptedOllama) -> None:
    found = Reloads(server)
    found.adopt(found.make(margin=1))  # no loop runs it yet
    assert (await found.ask("early"), server.connections) == (LlmStatus.COLD, 0)
