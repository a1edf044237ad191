"""The callback under LiteLLM's own router, with mocked answers: what it reports is what we read.

One test, as LiteLLM's logging worker stays with the event loop it first met.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import litellm
import pytest
from litellm import Router
from litellm.caching.dual_cache import DualCache
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from litellm.proxy._types import UserAPIKeyAuth

from bsgateway.decision import Decision, Outcome
from bsgateway.hook import GatewayCallback
from bsgateway.stamps import KEPT, STAMP

HANG = 30.0  # seconds: a bound against hangs, not a measurement
ANSWER = "the answer"


def deployment(name: str, answer: str, dollars: float) -> dict[str, Any]:
    return {
        "model_name": name,
        "litellm_params": {"model": f"openai/{name}", "api_key": "none", "mock_response": answer},
        "model_info": {"input_cost_per_token": dollars, "output_cost_per_token": 4 * dollars},
    }


class Other(litellm.integrations.custom_logger.CustomLogger):
    """Another callback of the operator: what does it see of the decision?"""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self.seen.append((kwargs["litellm_params"]["metadata"] or {}).get(STAMP))


@pytest.fixture
async def live(make_gateway: Callable[..., Any]) -> AsyncIterator[tuple[GatewayCallback, Other, list[Any]]]:
    """The callback and another one, registered with LiteLLM, and what the first records."""
    callback = GatewayCallback(make_gateway())
    recorded: list[Any] = []
    callback.lifecycle.record = recorded.append  # type: ignore[method-assign]
    other = Other()
    litellm.callbacks = [callback, other]
    yield callback, other, recorded
    litellm.logging_callback_manager._reset_all_callbacks()
    await callback.lifecycle.stop()
    await GLOBAL_LOGGING_WORKER.stop()


async def test_decisions_and_outcomes(live: tuple[GatewayCallback, Other, list[Any]]) -> None:
    callback, other, recorded = live
    router = Router(
        model_list=[
            deployment("small", ANSWER, 1e-7),
            deployment("middle", ANSWER, 1e-6),
            deployment("large", "litellm.RateLimitError", 1e-5),
        ],
        fallbacks=[{"large": ["middle"]}],
        num_retries=0,
    )

    async def send(model: str, call: str = "acompletion", **more: Any) -> tuple[dict[str, Any], Any]:
        """A request through hook and router; `data` and the answer, read to its end."""
        ours = "metadata" if call == "acompletion" else "litellm_metadata"
        call_type = {"aanthropic_messages": "anthropic_messages"}.get(call, call)
        body = {"input": "hi"} if call == "aresponses" else {"messages": [{"role": "user", "content": "hi"}]}
        data = {"model": model, **body, **more, "litellm_call_id": f"id of {model}", ours: {"mine": "kept"}}
        await callback.async_pre_call_hook(UserAPIKeyAuth(), DualCache(), data, call_type)
        response = await getattr(router, call)(**data)
        if more.get("stream"):
            async for _ in response:
                pass
        return data, response

    async def logged(rows: int) -> list[Any]:
        """The next rows, once LiteLLM's logging worker has run."""
        for _ in range(int(HANG / 0.05)):
            await asyncio.wait_for(GLOBAL_LOGGING_WORKER.flush(), HANG)
            if len(recorded) >= rows:
                break
            await asyncio.sleep(0.05)
        taken = recorded[:]
        recorded.clear()
        return taken

    # An answer of the tier that the score chose.
    data, response = await send("auto")
    decision, outcome = await logged(2)
    assert isinstance(decision, Decision)
    assert isinstance(outcome, Outcome)
    assert (decision.resolved_model, decision.tier) == ("small", "simple")
    assert (outcome.decision_id, outcome.call_id, outcome.status) == (decision.decision_id, "id of auto", "success")
    assert (outcome.served_group, outcome.provider) == ("small", "openai")
    assert outcome.served_model is not None
    assert outcome.served_model.endswith("small")
    tokens = response.usage
    assert (outcome.prompt_tokens, outcome.completion_tokens) == (tokens.prompt_tokens, tokens.completion_tokens)
    assert outcome.cost == pytest.approx(1e-7 * tokens.prompt_tokens + 4e-7 * tokens.completion_tokens)
    assert outcome.baseline_model == "large"
    assert outcome.baseline_cost == pytest.approx(100 * outcome.cost)
    assert outcome.latency_ms is not None
    assert 0 < outcome.latency_ms < 1000 * HANG
    found = await callback.async_post_call_response_headers_hook(data, UserAPIKeyAuth(), response)
    assert found is not None
    assert (found["x-bsgateway-model"], found["x-bsgateway-tier"]) == ("small", "simple")
    # Another callback sees the stamp, in spite of the router, and what the client sent.
    [seen] = other.seen
    assert seen == data["metadata"][KEPT]
    assert data["metadata"]["mine"] == "kept"

    # A streamed one.
    data, response = await send("auto", stream=True)
    decision, outcome = await logged(2)
    assert (outcome.decision_id, outcome.status, outcome.served_group) == (decision.decision_id, "success", "small")
    assert outcome.prompt_tokens > 0
    assert outcome.completion_tokens > 0
    assert outcome.cost > 0
    assert 0 < outcome.first_token_ms <= outcome.latency_ms

    # One that falls back: a failure, then a success, of one decision.
    data, response = await send("best")
    decision, *outcomes = await logged(3)
    assert decision.resolved_model == "large"
    assert {outcome.decision_id for outcome in outcomes} == {decision.decision_id}
    failure, success = sorted(outcomes, key=lambda outcome: outcome.status)
    assert (failure.status, failure.served_group) == ("failure", "large")
    assert (failure.error_class, failure.error_status) == ("RateLimitError", 429)
    assert (failure.cost, failure.prompt_tokens) == (None, None)
    assert (success.status, success.served_group) == ("success", "middle")
    found = await callback.async_post_call_response_headers_hook(data, UserAPIKeyAuth(), response)
    assert found is not None
    assert (found["x-bsgateway-model"], found["x-bsgateway-tier"]) == ("middle", "complex")

    # The other formats, whose own metadata LiteLLM keeps apart.
    for call in ("aanthropic_messages", "aresponses"):
        data, response = await send("auto", call, **({"max_tokens": 5} if call == "aanthropic_messages" else {}))
        decision, outcome = await logged(2)
        assert (outcome.decision_id, outcome.call_id) == (decision.decision_id, "id of auto")
        assert (outcome.status, outcome.served_group) == ("success", "small")
        assert outcome.prompt_tokens > 0
        assert data["litellm_metadata"]["mine"] == "kept"

    assert (callback.errors, recorded) == (0, [])
