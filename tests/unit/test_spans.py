"""`telemetry/spans.py`: what a trace says of the routing, with OpenTelemetry's own SDK, and what it never says."""

from __future__ import annotations

import copy
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from litellm.caching.dual_cache import DualCache
from litellm.proxy._types import UserAPIKeyAuth
from litellm.types.utils import ModelResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Tracer

from bsgateway.hook import GatewayCallback
from bsgateway.stamps import KEPT
from bsgateway.telemetry.spans import ATTRIBUTES

HARD = "Prove the theorem, derive the bound, analyze the algorithm."
LIVE_KEY = "sk-live-0123456789"
MakeCallback = Callable[..., GatewayCallback]


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Iterator[Tracer]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("the proxy")
    provider.shutdown()


@pytest.fixture
async def make_callback(make_gateway: Callable[..., Any]) -> AsyncIterator[MakeCallback]:
    made = []

    def make(**routing: Any) -> GatewayCallback:
        made.append(GatewayCallback(make_gateway(**routing)))
        return made[-1]

    yield make
    for callback in made:
        await callback.lifecycle.stop()


def key_with(span: Any = None) -> UserAPIKeyAuth:
    """A key as LiteLLM hands it to callbacks, with the span that its own tracing has begun."""
    return UserAPIKeyAuth(api_key=LIVE_KEY, key_alias="an alias", user_id="a user", parent_otel_span=span)


async def routed(callback: GatewayCallback, key: UserAPIKeyAuth, model: str = "auto", **more: Any) -> dict[str, Any]:
    data = {"model": model, "messages": [{"role": "user", "content": HARD}], "metadata": {}, **more}
    await callback.async_pre_call_hook(key, DualCache(), data, "acompletion")
    return data


def answer(group: str) -> ModelResponse:
    response = ModelResponse()
    response._hidden_params = {"additional_headers": {"x-litellm-model-group": group}}
    return response


async def test_the_active_span_says_what_was_decided_and_who_answered(
    make_callback: MakeCallback, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    callback, key = make_callback(), key_with()
    with tracer.start_as_current_span("POST /v1/chat/completions"):
        data = await routed(callback, key)
        assert await callback.async_post_call_response_headers_hook(data, key, answer("middle"))
    [span] = exporter.get_finished_spans()
    assert dict(span.attributes or {}) == {
        "gen_ai.request.model": "auto",
        "gen_ai.response.model": "middle",
        "bsgateway.decision_id": str(data["metadata"][KEPT].id),
        "bsgateway.model": "large",
        "bsgateway.tier": "complex",
        "bsgateway.score": 68,
        "bsgateway.strategy": "static",
        "bsgateway.method": "auto",
        "bsgateway.reason": "score",
        "bsgateway.applied": True,
    }
    assert set(span.attributes or ()) == set(ATTRIBUTES)
    said = str(span.to_json())
    assert not any(word in said for word in (LIVE_KEY, "an alias", "a user", "theorem"))
    assert callback.errors == 0


async def test_the_span_that_litellm_has_begun_says_it_too(
    make_callback: MakeCallback, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    callback = make_callback()
    begun = tracer.start_span("Received Proxy Server Request")
    key = key_with(begun)
    with tracer.start_as_current_span("of a middleware"):
        data = await routed(callback, key)
        await callback.async_post_call_response_headers_hook(data, key, answer("large"))
    begun.end()
    inner, outer = exporter.get_finished_spans()
    assert inner.attributes == outer.attributes
    assert (outer.attributes or {})["gen_ai.response.model"] == "large"


async def test_only_what_is_known_is_said(
    make_callback: MakeCallback, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    callback, key = make_callback(mode="shadow"), key_with()
    with tracer.start_as_current_span("asked for by name"):
        data = await routed(callback, key, "small")
        # A stream whose first event has not come: nobody knows yet who answers.
        await callback.async_post_call_response_headers_hook(data, key, None)
    with tracer.start_as_current_span("in shadow mode"):
        await routed(callback, key)
    with tracer.start_as_current_span("not routed"):
        embedding = {"model": "auto", "input": HARD, "metadata": {}}
        await callback.async_pre_call_hook(key, DualCache(), embedding, "aembedding")
    named, shadowed, other = (dict(span.attributes or {}) for span in exporter.get_finished_spans())
    assert set(named) == {
        "gen_ai.request.model", "bsgateway.decision_id", "bsgateway.model", "bsgateway.method", "bsgateway.reason",
        "bsgateway.applied",
    }  # fmt: skip
    assert (shadowed["bsgateway.model"], shadowed["bsgateway.applied"]) == ("large", False)
    assert other == {}


async def test_a_fallback_of_litellm_leaves_the_decision_as_it_was(
    make_callback: MakeCallback, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    callback, key = make_callback(), key_with()
    data = await routed(callback, key)
    with tracer.start_as_current_span("the second attempt"):
        await callback.async_pre_call_hook(key, DualCache(), {**data, "model": "middle"}, "acompletion")
    [span] = exporter.get_finished_spans()
    assert not span.attributes


async def test_it_can_be_turned_off(
    make_callback: MakeCallback, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    callback, key = make_callback(telemetry={"spans": False}), key_with()
    with tracer.start_as_current_span("POST"):
        data = await routed(callback, key)
        assert await callback.async_post_call_response_headers_hook(data, key, answer("large"))
    [span] = exporter.get_finished_spans()
    assert not span.attributes


async def test_a_span_that_is_not_sampled_is_left_alone(make_callback: MakeCallback) -> None:
    class Watched:
        """A span that nobody records, as a sampler leaves it."""

        asked = 0

        def is_recording(self) -> bool:
            self.asked += 1
            return False

    span, callback = Watched(), make_callback()
    dropped = TracerProvider(sampler=ALWAYS_OFF).get_tracer("the proxy")
    with dropped.start_as_current_span("POST") as active:
        assert not active.is_recording()
        data = await routed(callback, key_with(span))
    assert data["model"] == "large"
    assert (span.asked, callback.errors) == (1, 0)  # anything but the question would have raised


async def test_a_broken_span_costs_the_request_nothing(
    make_callback: MakeCallback, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def is_recording(self) -> bool:
            return True

        def set_attribute(self, name: str, value: Any) -> None:
            raise ValueError(f"{HARD} {LIVE_KEY}")

    callback, key = make_callback(), key_with(Broken())
    with caplog.at_level(logging.ERROR):
        data = await routed(callback, key)
        before = copy.copy(data)
        headers = await callback.async_post_call_response_headers_hook(data, key, answer("large"))
    assert data == before
    assert data["model"] == "large"
    assert headers is not None
    assert headers["x-bsgateway-model"] == "large"
    assert callback.errors == 2
    assert caplog.messages == ["spans hook failed, the request goes on: ValueError"] * 2
