"""A whole decision: the core with classifier and policy, `Gateway.decide`, and the hook as LiteLLM calls it.

The hook is driven in a running event loop, without a server: our Python and the core are measured, and no scheduling.
Its rows go to the real queue, which is emptied between rounds, outside the timing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from litellm.caching.dual_cache import DualCache
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import UserAPIKeyAuth

import bsgateway
from bodies import Body
from bsgateway.classifiers.static import StaticClassifier
from bsgateway.config import make_analyzer
from bsgateway.gateway import Gateway
from bsgateway.hook import GatewayCallback
from bsgateway.policy import Policy
from contenders import ALL_BODIES, finished, parsed, renewed, size_of
from variants import next_turns

ROOT = Path(__file__).parents[1]
CALL_TYPES = {"chat": "acompletion", "messages": "anthropic_messages", "responses": "aresponses"}
CALL_TYPES |= {"completions": "atext_completion", "generate_content": "agenerate_content"}
OWN_METADATA = ("anthropic_messages", "aresponses")
"""Call types whose `metadata` is the client's; LiteLLM keeps its own in `litellm_metadata`."""
KEY = UserAPIKeyAuth(api_key="sk-none", key_alias="team key", user_id="user-1", team_id="team-1", models=["auto"])


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """The repository's own gateway.yaml; no database is behind its log."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLLECTOR_DATABASE_URL", raising=False)
        yield bsgateway.load(ROOT / "gateway.yaml")


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def callback(gateway: Gateway, loop: asyncio.AbstractEventLoop) -> Iterator[GatewayCallback]:
    """The hook, its rows in the real queue. Without a database they would only be counted."""
    callback = GatewayCallback(gateway)
    callback.lifecycle.record = callback.lifecycle.recorder.record  # type: ignore[method-assign]
    yield callback
    loop.run_until_complete(callback.lifecycle.stop())


def rounds(body: Body, sight: str) -> Callable[[], Body]:
    """Makes the body of the next round."""
    if sight == "next turn":
        make = next_turns()
        return lambda: Body("messages", make()[0])
    return lambda: renewed(body) if sight == "first sight" else parsed(body)


def subjects() -> list[Any]:
    made = [pytest.param(name, sight) for name in ALL_BODIES for sight in ("first sight", "seen")]
    return [*made, pytest.param("history_200k", "next turn")]


@pytest.mark.parametrize(("name", "sight"), subjects())
def test_core_and_policy(measure: Any, gateway: Gateway, name: str, sight: str) -> None:
    """What the budgets are for: `analyze`, the classifier and the policy."""
    routing, body = gateway.config.routing, ALL_BODIES[name]()
    analyzer, classifier, policy = make_analyzer(routing), StaticClassifier(), Policy(routing, gateway.prices)

    def decide(body: dict[str, Any], format: str) -> Any:
        analysis = analyzer.analyze(body, format)
        scored = classifier.classify(analysis)
        return policy.choose(scored.raw_score, 0, analysis.context_tokens, analysis.max_output_tokens)

    decide(body.body, body.format)
    make = rounds(body, sight)
    measure.named("decision", f"{name}, {sight}", "analyze + policy", bytes=size_of(body))
    measure.fresh(decide, lambda: tuple(make())[::-1])


@pytest.mark.parametrize(("name", "sight"), subjects())
def test_decide(measure: Any, gateway: Gateway, name: str, sight: str) -> None:
    body = ALL_BODIES[name]()
    call_type = CALL_TYPES[body.format]
    gateway.decide(body.body, call_type)
    make = rounds(body, sight)
    measure.named("decision", f"{name}, {sight}", "Gateway.decide", bytes=size_of(body))
    measure.fresh(gateway.decide, lambda: (make().body, call_type))


@pytest.mark.parametrize(("name", "sight"), subjects())
def test_hook(measure: Any, loop: asyncio.AbstractEventLoop, callback: GatewayCallback, name: str, sight: str) -> None:
    measure.named("decision", f"{name}, {sight}", "hook", bytes=size_of(ALL_BODIES[name]()))
    hooked(measure, loop, callback, name, sight)
    assert callback.errors == callback.gateway.failed_open == 0


@pytest.mark.parametrize("name", ALL_BODIES)
def test_no_op_hook(measure: Any, loop: asyncio.AbstractEventLoop, name: str) -> None:
    """LiteLLM's own base class, which does nothing: the cost of asking."""
    measure.named("decision", f"{name}, seen", "no-op hook", bytes=size_of(ALL_BODIES[name]()))
    hooked(measure, loop, CustomLogger(), name, "seen")


def hooked(measure: Any, loop: asyncio.AbstractEventLoop, hook: CustomLogger, name: str, sight: str) -> None:
    """Measure the hook inside of `loop`, on what LiteLLM's proxy would hand it."""
    body, cache = ALL_BODIES[name](), DualCache()
    make = rounds(body, sight)
    call_type: Any = CALL_TYPES[body.format]

    def prepare() -> tuple[dict[str, Any]]:
        if isinstance(hook, GatewayCallback):
            hook.lifecycle.recorder.take(10)
        ours = {"user_api_key_hash": "88dc28d0f030c55ed4ab77ed8faf0981", "user_agent": "OpenAI/Python 2.1.0"}
        metadata = {"metadata": {}, "litellm_metadata": ours} if call_type in OWN_METADATA else {"metadata": ours}
        return ({**make().body, "litellm_call_id": "11707260-10c1-4e6f-90c3-533ff11a8a66", **metadata},)

    def call(data: dict[str, Any]) -> None:
        finished(hook.async_pre_call_hook(KEY, cache, data, call_type))

    async def run() -> None:
        call(*prepare())
        measure.fresh(call, prepare)

    loop.run_until_complete(run())
