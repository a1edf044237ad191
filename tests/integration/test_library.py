"""The gateway in an application of one's own: LiteLLM's Router or the SDKs, real HTTP, a real log, no proxy."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import asyncpg
import httpx
import openai
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # before LiteLLM, which otherwise waits for a download

import litellm

import bsgateway
from e2e.clients import GROUPS, PROMPTS, new_request_id
from e2e.gateways import PROVIDER_KEY, write_config
from e2e.records import until
from e2e.upstream import ANSWER, Plan, Upstream
from redis_server import RedisServer, program

pytestmark = pytest.mark.filterwarnings(  # LiteLLM's own, of its streams and of clients that it does not keep
    "ignore:Accessing the 'model_(computed_)?fields' attribute:DeprecationWarning",
    "ignore:Unclosed (connector|client session):ResourceWarning",
    "ignore:unclosed (transport|<socket):ResourceWarning",
)

EXPLAINED = "x" * 200
Load = Callable[..., bsgateway.Gateway]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """The providers."""
    with Upstream().running() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def cleared() -> Iterator[None]:
    """What LiteLLM leaves open is noticed here, and not in the middle of a test of others."""
    yield
    gc.collect()


@pytest.fixture
def load(tmp_path: Path, upstream: Upstream, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Load:
    """A gateway over the providers, logging to a database of the test's own. Keyword arguments replace parts of
    `routing`."""
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", postgres_dsn)
    return lambda **routing: bsgateway.load(write_config(tmp_path, upstream, **routing))


@pytest.fixture
async def make_router() -> AsyncIterator[Callable[[bsgateway.Gateway], Any]]:
    """Makes LiteLLM's Router for a gateway. What it leaves in LiteLLM is taken out afterwards: callbacks, clients."""
    names = ("callbacks", "success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback")
    before = {name: list(getattr(litellm, name)) for name in names}
    yield lambda gateway: litellm.Router(**bsgateway.router_arguments(gateway))
    for name, callbacks in before.items():
        setattr(litellm, name, callbacks)
    await litellm.close_litellm_async_clients()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A real Redis."""
    if (path := program()) is None:
        pytest.skip("no redis-server")
    server = RedisServer(path)
    server.start()
    yield server
    server.kill()


def chat(tier: str, request_id: str = "", **more: Any) -> dict[str, Any]:
    """A chat completion for this tier."""
    said = [{"role": "user", "content": f"{PROMPTS[tier]} {request_id}"}]
    return {"model": "auto", "messages": said, **more}


BODIES: dict[str, Callable[[str], dict[str, Any]]] = {
    "acompletion": lambda text: {"model": "auto", "messages": [{"role": "user", "content": text}]},
    "anthropic_messages": lambda text: {
        "model": "auto",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
    },
    "aresponses": lambda text: {"model": "auto", "input": text},
    "atext_completion": lambda text: {"model": "auto", "prompt": text},
    "agenerate_content": lambda text: {"model": "auto", "contents": [{"role": "user", "parts": [{"text": text}]}]},
}
"""Call type -> a body that says a text in its format."""
METHODS = {
    "acompletion": "acompletion",
    "anthropic_messages": "aanthropic_messages",
    "aresponses": "aresponses",
    "atext_completion": "atext_completion",
}
"""Call type -> the method of LiteLLM's Router that serves it."""


async def rows(dsn: str, decision: bsgateway.Decision) -> tuple[asyncpg.Record, asyncpg.Record | None]:
    """The row and the outcome of a decision, after its log was closed."""
    connection = await asyncpg.connect(dsn)
    try:
        (row,) = await connection.fetch("SELECT * FROM routing_logs WHERE decision_id = $1", decision.decision_id)
        outcomes = await connection.fetch("SELECT * FROM routing_outcomes WHERE decision_id = $1", decision.decision_id)
        assert len(outcomes) <= 1
        return row, outcomes[0] if outcomes else None
    finally:
        await connection.close()


def test_decide_reads_all_formats_and_any_number_of_threads(load: Load) -> None:
    gateway = load()
    cases = [(call_type, tier) for call_type in BODIES for tier in PROMPTS] * 20

    def decided(case: tuple[str, str]) -> tuple[str | None, int | None]:
        call_type, tier = case
        decision = gateway.decide(BODIES[call_type](PROMPTS[tier]), call_type)
        return decision.tier, decision.complexity_score

    alone = [decided(case) for case in cases]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(decided, cases)) == alone
    assert [tier for tier, _ in alone] == [tier for _, tier in cases]


@pytest.mark.parametrize("call_type", METHODS)
async def test_a_router_serves_what_was_decided_and_the_log_has_it(
    load: Load, make_router: Callable[..., Any], upstream: Upstream, postgres_dsn: str, call_type: str
) -> None:
    gateway = load(collector={"text": "redacted"})
    router = make_router(gateway)
    done = []
    async with bsgateway.Running(gateway, router) as running:
        for tier in PROMPTS:
            request_id = new_request_id()
            body = BODIES[call_type](f"{PROMPTS[tier]} {request_id}")
            asked = repr(body)
            caller = bsgateway.Caller(user_id="u7", call_id=request_id)
            async with running.route(body, call_type, caller=caller) as routed:
                answer = await getattr(router, METHODS[call_type])(**routed.body)
                routed.answered(answer)
            assert repr(body) == asked
            assert (routed.decision.tier, routed.body["model"]) == (tier, GROUPS[tier])
            done.append((routed, request_id))
    for routed, request_id in done:
        (call,) = upstream.calls(request_id)
        assert call.group == routed.body["model"]
        row, outcome = await rows(postgres_dsn, routed.decision)
        assert (row["resolved_model"], row["user_id"], row["call_id"]) == (call.group, "u7", request_id)
        assert outcome is not None
        assert (outcome["status"], outcome["served_group"], outcome["call_id"]) == ("success", call.group, request_id)
        tokens = call.prompt_tokens, call.completion_tokens
        assert (outcome["prompt_tokens"], outcome["completion_tokens"]) == tokens
        price = gateway.models[call.group].price.of(*tokens)
        assert outcome["cost"] == routed.cost == pytest.approx(price)
        assert outcome["baseline_cost"] == pytest.approx(gateway.policy.baseline.price.of(*tokens))
        assert outcome["finish_reason"] == "stop"
        assert outcome["latency_ms"] > 0


@pytest.mark.parametrize("call_type", ["acompletion", "aresponses"])
async def test_a_stream_of_a_router_is_passed_on_and_counted(
    load: Load, make_router: Callable[..., Any], upstream: Upstream, postgres_dsn: str, call_type: str
) -> None:
    gateway, request_id = load(), new_request_id()
    upstream.plan(request_id, Plan(pause=0.02), "small")
    body = {**BODIES[call_type](f"{PROMPTS['simple']} {request_id}"), "stream": True}
    if call_type == "acompletion":
        body["stream_options"] = {"include_usage": True}
    router = make_router(gateway)
    async with bsgateway.Running(gateway, router) as running, running.route(body, call_type) as routed:
        stream = await getattr(router, METHODS[call_type])(**routed.body)
        events = [event async for event in routed.streamed(stream)]
    assert len(events) > 2
    (call,) = upstream.calls(request_id)
    row, outcome = await rows(postgres_dsn, routed.decision)
    assert row["stream"]
    assert outcome is not None
    assert (outcome["prompt_tokens"], outcome["completion_tokens"]) == (call.prompt_tokens, call.completion_tokens)
    assert outcome["finish_reason"] == "stop"
    assert 0 < outcome["first_token_ms"] < outcome["latency_ms"]


async def test_who_really_answered_is_known_and_the_conversation_goes_on_there(
    load: Load, make_router: Callable[..., Any], upstream: Upstream, postgres_dsn: str
) -> None:
    gateway, request_id = load(), new_request_id()
    upstream.plan(request_id, Plan(status=500), "small")
    router, caller = make_router(gateway), bsgateway.Caller(session_id="s1")
    body = chat("simple", request_id)
    async with bsgateway.Running(gateway, router) as running:
        async with running.route(body, caller=caller) as first:
            answer = await router.acompletion(**first.body)
            first.answered(answer)
        said = {"role": "assistant", "content": answer.choices[0].message.content}
        body["messages"] = [*body["messages"], said, {"role": "user", "content": "Thanks."}]
        async with running.route(body, caller=caller) as second:
            second.answered(await router.acompletion(**second.body))
    assert [call.group for call in upstream.calls(request_id)] == ["small", "medium", "medium"]
    _, outcome = await rows(postgres_dsn, first.decision)
    assert first.decision.resolved_model == "small"
    assert outcome is not None
    assert outcome["served_group"] == "medium"
    assert (second.decision.previous_model, second.decision.resolved_model) == ("medium", "medium")
    assert second.decision.reason == "session_kept"


async def test_a_conversation_is_remembered_by_caller(load: Load) -> None:
    gateway = load()
    opening = chat("complex")["messages"]
    going_on = [*opening, {"role": "assistant", "content": "It depends."}, {"role": "user", "content": "Thanks."}]
    known = []
    async with bsgateway.Running(gateway) as running:
        for user, messages in (("a", opening), ("a", going_on), ("b", going_on)):
            async with running.route(
                {"model": "auto", "messages": messages}, caller=bsgateway.Caller(user_id=user)
            ) as routed:
                known.append((user, routed.decision.previous_model))
    assert known == [("a", None), ("a", "large"), ("b", None)]


async def test_processes_share_their_memory_by_the_redis_of_their_routers(load: Load, redis: RedisServer) -> None:
    gateway, opening = load(), chat("complex")["messages"]
    going_on = [*opening, {"role": "assistant", "content": "It depends."}, {"role": "user", "content": "Thanks."}]
    known = []
    for messages in (opening, going_on):
        arguments = {**bsgateway.router_arguments(gateway), "redis_host": "127.0.0.1", "redis_port": redis.port}
        router = litellm.Router(**arguments)
        body = {"model": "auto", "messages": messages}
        async with bsgateway.Running(gateway, router) as running, running.route(body) as routed:
            known.append(routed.decision.previous_model)
        await router.cache.redis_cache.disconnect()
    assert known == [None, "large"]


async def test_an_error_is_the_applications_and_the_logs(
    load: Load, make_router: Callable[..., Any], upstream: Upstream, postgres_dsn: str
) -> None:
    gateway, request_id = load(), new_request_id()
    upstream.plan(request_id, Plan(status=503, quote=True), "small", "medium", "large", "slow")
    router = make_router(gateway)
    async with bsgateway.Running(gateway, router) as running:
        with pytest.raises(litellm.exceptions.ServiceUnavailableError):
            async with running.route(chat("simple", request_id)) as routed:
                await router.acompletion(**routed.body)
        async with running.route(chat("simple")) as unsent:
            pass
    _, outcome = await rows(postgres_dsn, routed.decision)
    assert outcome is not None
    assert (outcome["status"], outcome["error_status"]) == ("failure", 503)
    assert outcome["error_class"] == "ServiceUnavailableError"
    _, nothing = await rows(postgres_dsn, unsent.decision)
    assert nothing is None


async def test_models_that_cool_down_in_the_router_are_passed_over(
    load: Load, make_router: Callable[..., Any], upstream: Upstream
) -> None:
    gateway = load()
    gateway.config.host["router_settings"].pop("disable_cooldowns")
    router, request_id = make_router(gateway), new_request_id()
    upstream.plan(request_id, Plan(status=503), "small")
    async with bsgateway.Running(gateway, router) as running:
        async with running.route(chat("simple", request_id)) as first:
            first.answered(await router.acompletion(**first.body))
        async with running.route(chat("simple")) as second:
            pass
    assert (first.decision.resolved_model, second.decision.resolved_model) == ("small", "medium")
    assert [(each.model, each.reason) for each in second.decision.skipped] == [("small", "cooling_down")]


async def test_fallbacks_are_narrowed_to_what_can_serve_the_request(
    load: Load, make_router: Callable[..., Any]
) -> None:
    gateway = load()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {"model": "auto", "messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]}
    async with bsgateway.Running(gateway, make_router(gateway)) as running, running.route(body) as routed:
        pass
    chosen = routed.body["model"]
    (listed,) = routed.body["fallbacks"]
    assert chosen in ("medium", "large")
    assert listed[chosen]
    assert all("vision" in gateway.models[name].supports for name in listed[chosen])


async def test_models_a_caller_may_not_use_are_left_out(load: Load) -> None:
    async with bsgateway.Running(load()) as running, running.route(chat("complex"), without=["large"]) as routed:
        assert routed.body["model"] == "medium"
        assert routed.decision.reason == "not_allowed"


async def test_names_that_need_no_score_and_shadow_mode_leave_a_name_that_is_served(load: Load) -> None:
    async with bsgateway.Running(load(mode="shadow")) as running:
        found = {}
        for name in ("auto", "claude-sonnet-4-5", "frontier", "small", "nobody/knows-this"):
            async with running.route({**chat("simple"), "model": name}) as routed:
                found[name] = routed.body["model"], routed.decision.applied
    marker = running.gateway.marker
    assert found == {
        "auto": (marker, False),
        "claude-sonnet-4-5": (marker, False),
        "frontier": ("large", True),
        "small": ("small", True),
        "nobody/knows-this": (marker, False),
    }


async def test_the_sdks_get_a_body_that_is_theirs(load: Load, upstream: Upstream, postgres_dsn: str) -> None:
    gateway, ids = load(), [new_request_id(), new_request_id()]
    bases = {"medium": f"{upstream.base_url}/medium/v1", "large": f"{upstream.base_url}/large"}
    async with (
        openai.AsyncOpenAI(base_url=bases["medium"], api_key=PROVIDER_KEY, max_retries=0) as gpt,
        anthropic.AsyncAnthropic(base_url=bases["large"], api_key=PROVIDER_KEY, max_retries=0) as claude,
        bsgateway.Running(gateway) as running,
    ):
        async with running.route(chat("medium", ids[0])) as first:
            first.answered(await gpt.chat.completions.create(**first.body))
        body = chat("complex", ids[1], max_tokens=50)
        async with running.route(body, "anthropic_messages") as second:
            stream = await claude.messages.create(**second.body, stream=True)
            text = [event.delta.text async for event in second.streamed(stream) if event.type == "content_block_delta"]
    assert "".join(text) == ANSWER
    for routed, request_id in zip((first, second), ids, strict=True):
        (call,) = upstream.calls(request_id)
        assert (call.group, call.model) == (routed.body["model"], routed.body["model"])
        assert "drop_params" not in call.body
        _, outcome = await rows(postgres_dsn, routed.decision)
        assert outcome is not None
        assert (outcome["prompt_tokens"], outcome["completion_tokens"]) == (call.prompt_tokens, call.completion_tokens)
        assert outcome["cost"] == pytest.approx(gateway.models[call.group].price.of(*_tokens(call)))


async def test_a_stream_that_breaks_off_is_a_failure_unless_it_is_asked_again(
    load: Load, upstream: Upstream, postgres_dsn: str
) -> None:
    gateway, broken, again = load(), new_request_id(), new_request_id()
    upstream.plan(broken, Plan(pause=1.0), "small")
    base = f"{upstream.base_url}/small/v1"
    async with (
        openai.AsyncOpenAI(base_url=base, api_key=PROVIDER_KEY, max_retries=0, timeout=0.3) as client,
        bsgateway.Running(gateway) as running,
    ):

        async def ask(routed: bsgateway.Routed, request_id: str) -> list[Any]:
            sent = {**routed.body, **chat("simple", request_id), "model": "small", "stream": True}
            return [event async for event in routed.streamed(await client.chat.completions.create(**sent))]

        with pytest.raises((openai.APITimeoutError, httpx.ReadTimeout)) as caught:
            async with running.route(chat("simple", broken)) as first:
                await ask(first, broken)
        async with running.route(chat("simple", broken)) as swallowed:
            with pytest.raises(type(caught.value)):
                await ask(swallowed, broken)
        async with running.route(chat("simple", broken)) as second:
            with pytest.raises(type(caught.value)):
                await ask(second, broken)
            assert len(await ask(second, again)) > 2
        async with running.route(chat("simple", again)) as left:
            async for _ in left.streamed(await client.chat.completions.create(**left.body, stream=True)):
                break
    for routed, status in ((first, "failure"), (swallowed, "failure"), (second, "success"), (left, "success")):
        _, outcome = await rows(postgres_dsn, routed.decision)
        assert outcome is not None
        assert outcome["status"] == status
        assert outcome["error_class"] == (type(caught.value).__name__ if status == "failure" else None)


def _tokens(call: Any) -> tuple[int, int]:
    return call.prompt_tokens, call.completion_tokens


async def test_what_is_not_to_be_logged_is_not(load: Load, postgres_dsn: str) -> None:
    async with bsgateway.Running(load()) as running:
        async with running.route(chat("simple"), logged=False) as hidden:
            hidden.answered({"usage": {"prompt_tokens": 1, "completion_tokens": 1}})
        async with running.route(chat("simple")) as seen:
            pass
    connection = await asyncpg.connect(postgres_dsn)
    ids = [row["decision_id"] for row in await connection.fetch("SELECT decision_id FROM routing_logs")]
    await connection.close()
    assert ids == [seen.decision.decision_id]
    assert hidden.cost is not None


async def test_without_a_database_it_routes_and_says_that_nothing_is_logged(
    load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("COLLECTOR_DATABASE_URL")
    async with bsgateway.Running(load()) as running, running.route(chat("simple")) as routed:
        assert routed.body["model"] == "small"
    assert running.log_metrics() is None
    assert "no decision is logged" in caplog.text


async def test_a_database_that_is_away_delays_nothing_and_loses_nothing(
    load: Load, monkeypatch: pytest.MonkeyPatch, postgres_dsn: str
) -> None:
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    async with bsgateway.Running(load()) as running, running.route(chat("simple")) as routed:
        pass
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", postgres_dsn)
    async with bsgateway.Running(load()) as running:

        async def written() -> bool:
            metrics = running.log_metrics()
            return metrics is not None and metrics.written >= 2  # its words are a row, too

        await until("what the spool holds is written", written)
    row, _ = await rows(postgres_dsn, routed.decision)
    assert row["tier"] == "simple"


async def test_trouble_inside_sends_a_request_to_the_fallback_tier(
    load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = load()

    async def broken(*_: Any) -> None:
        raise RuntimeError(EXPLAINED)

    monkeypatch.setattr(gateway, "judged", broken)
    async with bsgateway.Running(gateway) as running, running.route(chat("complex")) as routed:
        assert (routed.decision.reason, routed.body["model"]) == ("failed_open", "medium")
    assert gateway.failed_open == 1
    assert "RuntimeError" in caplog.text
    assert EXPLAINED not in caplog.text


async def test_mistakes_of_the_application_are_told(load: Load) -> None:
    running = bsgateway.Running(load())
    with pytest.raises(bsgateway.GatewayError, match="belongs into the block"):
        async with running.route(chat("simple")):
            pass
    async with running:
        for body, call_type in ((chat("simple"), "embeddings"), ({"messages": []}, "acompletion")):
            with pytest.raises(ValueError, match=r"not routed|no `model`"):
                async with running.route(body, call_type):
                    pass
        wrong: dict[str, Any]
        for wrong in ({"body": [chat("simple")]}, {"caller": "u7"}, {"caller": None}, {"without": "large"}):
            given = {"body": chat("simple"), **wrong}
            with pytest.raises(TypeError, match=f"{next(iter(wrong))} has to be"):
                async with running.route(**given):
                    pass
        assert running.gateway.failed_open == 0
        with pytest.raises(bsgateway.GatewayError, match="entered once"):
            await running.__aenter__()


async def test_an_app_that_streams_to_its_own_clients(
    load: Load, make_router: Callable[..., Any], upstream: Upstream, postgres_dsn: str
) -> None:
    gateway = load()
    router = make_router(gateway)
    decisions = []

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with bsgateway.Running(gateway, router) as running:
            app.state.running = running
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/ask")
    async def ask(body: dict[str, Any]) -> StreamingResponse:
        async def words() -> AsyncIterator[str]:
            asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
            async with app.state.running.route(asked) as routed:
                decisions.append(routed.decision)
                async for chunk in routed.streamed(await router.acompletion(**routed.body)):
                    if chunk.choices:
                        yield chunk.choices[0].delta.content or ""

        return StreamingResponse(words(), media_type="text/plain")

    ids = [new_request_id() for _ in range(20)]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client,
    ):
        tiers = [list(PROMPTS)[number % 3] for number in range(len(ids))]
        replies = await asyncio.gather(
            *(client.post("/ask", json=chat(tier, each)) for tier, each in zip(tiers, ids, strict=True))
        )
    assert {reply.text for reply in replies} == {ANSWER}
    assert [[call.group for call in upstream.calls(each)] for each in ids] == [[GROUPS[tier]] for tier in tiers]
    connection = await asyncpg.connect(postgres_dsn)
    found = await connection.fetch("SELECT decision_id FROM routing_outcomes WHERE cost > 0 AND first_token_ms > 0")
    await connection.close()
    assert {row["decision_id"] for row in found} == {decision.decision_id for decision in decisions}
    assert logging.getLogger("bsgateway").handlers == []  # an application's log lines are its own
