"""Which requests the local LLM is asked about, and what its verdict does to them: against a scripted server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bsgateway import gateway as gateway_module
from bsgateway.classifiers.llm.remedy import address
from bsgateway.classifiers.llm.target import Target
from bsgateway.decision import Decision, LlmStatus, Reason, Strategy
from bsgateway.gateway import Asker, Gateway
from bsgateway.sessions import Session
from builders import until
from ollama_api.scripted import MODEL, ScriptedOllama, hangs, says

EASY = "What is the capital of France?"
SLIGHTLY_OVER = "Explain the trade-offs of optimistic locking in one paragraph."
"""Its static score is just over the lowest border."""


@asynccontextmanager
async def awake(make_gateway: Any, server: ScriptedOllama, **llm: Any) -> AsyncIterator[Gateway]:
    settings = {"model": MODEL, "api_base": server.url, "timeout": 5.0, "memo_entries": 0} | llm
    gateway: Gateway = make_gateway(classifier={"strategy": "llm", "llm": settings})
    assert gateway.llm is not None
    running = asyncio.create_task(gateway.llm.run())
    try:
        await until(lambda: gateway.llm is not None and gateway.llm.stats().warm)
        yield gateway
    finally:
        running.cancel()
        await asyncio.wait([running])


async def decided(
    gateway: Gateway, ask: str = EASY, session: Session | None = None, key: dict[str, Any] | None = None, **body: Any
) -> Decision:
    data = {"model": "auto", "messages": [{"role": "user", "content": ask}], **body}
    pending = gateway.begin(data, "acompletion", Asker(key_metadata=key), lambda _: False)
    pending = await gateway.judged(pending, session, data)
    return gateway.decision(pending, gateway.choose(pending, session, now=0.0), session)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedOllama]:
    async with ScriptedOllama(says("complex")) as made:
        yield made


async def test_the_verdict_is_the_score(make_gateway: Any, server: ScriptedOllama) -> None:
    async with awake(make_gateway, server) as gateway:
        decision = await decided(gateway)
        assert (decision.strategy, decision.tier, decision.reason) == (Strategy.LLM, "complex", Reason.SCORE)
        assert decision.raw_score == 83.0
        assert sum(each.points for each in decision.contributions) == pytest.approx(83.0)
        assert (decision.llm_status, decision.llm_tier, decision.confidence) == (LlmStatus.ASKED, "complex", 1.0)
        assert decision.llm_model == MODEL


@pytest.mark.parametrize(
    "limits", [{"max_tier": "simple"}, {"min_tier": "complex"}, {"min_tier": "medium", "max_tier": "medium"}], ids=str
)
async def test_one_tier_that_is_left_needs_no_verdict(
    make_gateway: Any, server: ScriptedOllama, limits: dict[str, str]
) -> None:
    async with awake(make_gateway, server) as gateway:
        before = len(server.calls)
        decision = await decided(gateway, key={"bsgateway": limits})
        assert (decision.llm_status, decision.strategy) == (LlmStatus.NOT_NEEDED, Strategy.STATIC)
        assert decision.tier in limits.values()
        assert len(server.calls) == before


async def test_trouble_is_the_reason_unless_something_else_settled_it(
    make_gateway: Any, server: ScriptedOllama
) -> None:
    async with awake(make_gateway, server, timeout=0.2) as gateway:
        server.behave = hangs()
        decision = await decided(gateway)
        assert (decision.reason, decision.llm_status) == (Reason.LLM_TIMEOUT, LlmStatus.TIMEOUT)
        assert (decision.strategy, decision.tier, decision.llm_tier) == (Strategy.STATIC, "simple", None)
        session = Session("simple", "small", 15, 100, 0.0, ("openai",), scorer="llm")
        kept = await decided(gateway, SLIGHTLY_OVER, session=session)
        assert (kept.reason, kept.llm_status, kept.tier) == (Reason.SESSION_KEPT, LlmStatus.TIMEOUT, "simple")


async def test_a_fallback_after_a_verdict_does_not_lift_a_conversation(
    make_gateway: Any, server: ScriptedOllama
) -> None:
    """A static score just over the border is no harder ask because the local LLM's number before it was lower."""
    async with awake(make_gateway, server, timeout=0.2) as gateway:
        server.behave = hangs()
        static = await decided(gateway, SLIGHTLY_OVER)
        assert static.raw_score is not None
        assert 30.5 < static.raw_score < 35.5, static.raw_score
        for scorer, tier in (("llm", "simple"), ("static", "medium")):
            session = Session("simple", "small", 15, 100, 0.0, ("openai",), scorer=scorer)
            assert (await decided(gateway, SLIGHTLY_OVER, session=session)).tier == tier


async def test_trouble_of_ours_leaves_the_fallback(
    make_gateway: Any, server: ScriptedOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("opossum")

    async with awake(make_gateway, server) as gateway:
        monkeypatch.setattr(gateway_module, "request_of", fail)
        decision = await decided(gateway)
        assert (decision.reason, decision.llm_status) == (Reason.LLM_FAILED, LlmStatus.FAILED)
        assert (decision.strategy, decision.tier) == (Strategy.STATIC, "simple")
        assert gateway.llm is not None
        assert gateway.llm.stats().statuses["failed"] == 1


async def test_a_cancelled_request_cancels_its_question(make_gateway: Any, server: ScriptedOllama) -> None:
    async with awake(make_gateway, server, timeout=60.0) as gateway:
        server.behave = hangs()
        request = asyncio.create_task(decided(gateway))
        await until(lambda: server.in_flight == 1)
        request.cancel()
        await until(lambda: server.in_flight == 0 and len(server.given_up) == 1)
        assert request.cancelled()


def test_an_address_is_shown_without_its_password() -> None:
    assert address(Target("m", "http://user:secret@127.0.0.1:1")) == "http://127.0.0.1:1"
