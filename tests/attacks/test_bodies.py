"""Hostile request bodies through `Gateway.decide` and through LiteLLM's callback.

None may raise, hang, or even make the gateway fall back: what cannot be read is not there. The time limit is a bound
against passes that are worse than linear, which take minutes for these sizes; it is no measurement.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import h11
import msgspec
import pytest
from litellm.caching.dual_cache import DualCache
from litellm.proxy._types import UserAPIKeyAuth
from litellm.types.utils import ModelResponse

from bsgateway.decision import Decision, Reason, Texts
from bsgateway.gateway import FORMATS, MAX_NAME, Gateway
from bsgateway.headers import HEADERS
from bsgateway.hook import GatewayCallback
from bsgateway.rows import log_row, text_row

from .generators import BODIES, TEXTS, user, wrong_types

ALWAYS = HEADERS.keys() - {"x-bsgateway-would-use", "x-bsgateway-changes", "x-bsgateway-ignored", "x-bsgateway-llm"}
FILES = Path(__file__).parent / "bodies"
LIMIT = 20.0  # seconds
MODELS = {"local/glm-4.7-flash", "gpt-5-mini", "claude-opus"}


class Attacked:
    """LiteLLM's callback, and what it would have logged."""

    def __init__(self, gateway: Gateway) -> None:
        self.callback = GatewayCallback(gateway)
        self.recorded: list[Any] = []
        self.callback.lifecycle.record = self.recorded.append  # type: ignore[method-assign]

    async def send(self, data: dict[Any, Any], call_type: str) -> dict[str, str] | None:
        """Through the hook; the headers of the answer."""
        key = UserAPIKeyAuth()
        assert await self.callback.async_pre_call_hook(key, DualCache(), data, call_type) is None
        headers = await self.callback.async_post_call_response_headers_hook(data, key, ModelResponse())
        assert self.callback.errors == 0
        return headers


@pytest.fixture
async def attacked(gateway: Gateway) -> AsyncIterator[Attacked]:
    under = Attacked(gateway)
    yield under
    await under.callback.lifecycle.stop()


def is_refused(decision: Decision) -> bool:
    """Whether the request goes on as it came, as no model can serve it: too long, say."""
    return decision.reason is Reason.NO_CANDIDATE and decision.resolved_model == decision.original_model == "auto"


def assert_sound(decision: Decision, gateway: Gateway) -> None:
    """A scored decision that can be logged and printed, for one of the operator's models if one can serve it."""
    assert gateway.failed_open == 0
    assert decision.reason is not Reason.FAILED_OPEN
    assert decision.resolved_model in MODELS or is_refused(decision)
    assert decision.complexity_score is not None
    assert 0 <= decision.complexity_score <= 100
    assert decision.features is not None
    assert all(value >= 0 for value in decision.features)
    assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision
    log_row(decision)


async def assert_withstood(attacked: Attacked, call_type: str, body: dict[Any, Any]) -> Decision:
    """The decision for `body`, through the hook; what the hook hands on is the body it got, but for the
    changes that it tells of."""
    gateway = attacked.callback.gateway
    began = time.monotonic()
    data = {**body, "model": "auto"}
    headers = await attacked.send(data, call_type)
    assert time.monotonic() - began < LIMIT
    decision, *texts = attacked.recorded
    attacked.recorded.clear()
    assert_sound(decision, gateway)
    assert data["model"] == decision.resolved_model
    assert headers is not None
    assert headers["x-bsgateway-decision-id"] == str(decision.decision_id)
    h11.Response(status_code=200, headers=list(headers.items()))
    assert len(texts) == 1
    assert isinstance(texts[0], Texts)
    assert max(len(texts[0].ask), len(texts[0].system)) <= gateway.config.routing.collector.text_chars
    assert all("\x00" not in value for value in text_row(texts[0]) if isinstance(value, str))
    unchanged = {key for key in body if key not in ("metadata", "litellm_metadata", "stream_options")}
    assert decision.changes or all(data[key] is body[key] for key in unchanged)
    return decision


@pytest.mark.parametrize("name", TEXTS)
async def test_a_megabyte_of_text(attacked: Attacked, name: str) -> None:
    decision = await assert_withstood(
        attacked, "acompletion", {"messages": [{"role": "user", "content": TEXTS[name]()}]}
    )
    assert decision.context_tokens is not None
    assert 0 <= decision.context_tokens <= 3_000_000  # the estimate of such texts is far off, and no more than that
    assert decision.tokens_exact is False


@pytest.mark.parametrize(
    ("call_type", "wrap"),
    [
        ("acompletion", lambda text: {"messages": [{"role": role, "content": text} for role in ("system", "tool")]}),
        ("anthropic_messages", lambda text: {"system": text, "messages": user([{"type": "text", "text": text}])}),
        ("aresponses", lambda text: {"instructions": text, "input": text}),
        ("atext_completion", lambda text: {"prompt": [text, text]}),
        ("agenerate_content", lambda text: {"contents": text, "systemInstruction": {"parts": text}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["backticks", "harness tags that never close", "lone surrogates"])
async def test_megabytes_elsewhere(
    attacked: Attacked, name: str, call_type: str, wrap: Callable[[str], dict[str, Any]]
) -> None:
    await assert_withstood(attacked, call_type, wrap(TEXTS[name]()))


@pytest.mark.parametrize("name", BODIES)
async def test_large_deep_and_odd_bodies(attacked: Attacked, name: str) -> None:
    call_type, body = BODIES[name]()
    await assert_withstood(attacked, call_type, body)


EXPECTED: dict[str, dict[str, float]] = {
    "50,000 parts": {"ask_lines": 50_000, "turns": 1, "messages": 1},
    "50,000 messages": {"turns": 50_000, "messages": 50_000, "ask_lines": 1},
    "50,000 images": {"images": 50_000, "turns": 0},
    "50,000 failed results": {"results_since_ask": 50_000, "errors_since_ask": 50_000},
    "10,000 tools": {"tools": 10_000},
    "200,000 token ids": {"context_tokens": 200_000},
    "keys that are no text": {"turns": 0, "messages": 1},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_there_is_still_counted(gateway: Gateway, name: str) -> None:
    from bsgateway.core import core

    call_type, body = BODIES[name]()
    decision = gateway.decide({**body, "model": "auto"}, call_type)
    assert_sound(decision, gateway)
    assert decision.features is not None
    found = dict(zip(core.FEATURE_NAMES, decision.features, strict=True))
    assert {key: found[key] for key in EXPECTED[name]} == EXPECTED[name]


def test_wrong_types_everywhere(gateway: Gateway) -> None:
    count = 0
    for call_type, body in wrong_types():
        decision = gateway.decide({**body, "model": "auto"}, call_type)
        assert gateway.failed_open == 0, (call_type, body)
        assert decision.resolved_model in MODELS or is_refused(decision), (call_type, body)
        count += 1
    assert count > 8_000


async def test_wrong_types_in_what_only_the_hook_reads(attacked: Attacked) -> None:
    keys = ("metadata", "litellm_metadata", "litellm_call_id", "litellm_session_id", "stream", "stream_options",
            "proxy_server_request", "litellm_logging_obj", "secret_fields")  # fmt: skip
    for value in (None, 5, "x", [], [None], {}, {"x": 1}, {"model_group": 5}, object()):
        for key in keys:
            for call_type in ("acompletion", "anthropic_messages"):
                data = {"model": "auto", "messages": [], key: copy.copy(value)}  # the hook writes into it
                assert (await attacked.send(data, call_type) or {}).keys() == ALWAYS, (key, value)
                assert attacked.recorded.pop(0).resolved_model == data["model"]
                attacked.recorded.clear()


@pytest.mark.parametrize("model", [None, 0, True, [], ["auto"], {}, b"auto", object()])
async def test_models_of_wrong_types(attacked: Attacked, model: Any) -> None:
    data = {"model": model, "messages": []}
    assert await attacked.send(data, "acompletion") is None
    assert data["model"] is model
    assert attacked.recorded == []


NAMES: list[str] = json.loads((FILES / "names.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [*NAMES, "n" * 1_000_000], ids=ascii)
async def test_names(attacked: Attacked, name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        headers = await attacked.send({"model": name, "messages": []}, "acompletion")
    decision = attacked.recorded[0]
    assert len(decision.original_model) <= MAX_NAME
    decision.original_model.encode()
    assert "\x00" not in decision.original_model
    log_row(decision)
    assert headers is not None
    for key, value in headers.items():
        assert key in HEADERS
        assert len(value) <= 512
        assert value.isascii()
        assert value.isprintable()
    h11.Response(status_code=200, headers=list(headers.items()))
    assert [each for each in caplog.messages if each != "decided"] == []


FORGED: list[dict[str, Any]] = json.loads((FILES / "forged.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("index", range(len(FORGED)))
async def test_forged_stamps(attacked: Attacked, index: int) -> None:
    call_type, body = FORGED[index]["call_type"], FORGED[index]["body"]
    data = {**json.loads(json.dumps(body)), "model": "auto"}
    headers = await attacked.send(data, call_type)
    decision = attacked.recorded[0]
    assert data["model"] == decision.resolved_model == "local/glm-4.7-flash"
    assert headers is not None
    assert headers["x-bsgateway-decision-id"] == str(decision.decision_id)
    assert headers["x-bsgateway-model"] == decision.resolved_model
    assert "forged" not in str(headers)
    assert "forged" not in str(decision)
    for name in ("metadata", "litellm_metadata"):
        if "mine" in body.get(name, {}):
            assert data[name]["mine"] == "kept"


@pytest.mark.parametrize("index", range(len(FORGED)))
async def test_forged_stamps_on_what_is_not_routed(attacked: Attacked, index: int) -> None:
    data = json.loads(json.dumps(FORGED[index]["body"])) | {"model": "text-embedding-3-small"}
    before = json.dumps(data)
    assert await attacked.send(data, "aembedding") is None
    await attacked.callback.async_log_success_event({"litellm_params": data, **data}, None, None, None)
    await attacked.callback.async_post_call_failure_hook(data, ValueError(), UserAPIKeyAuth())
    assert json.dumps(data) == before
    assert (attacked.recorded, attacked.callback.errors) == ([], 0)


def test_the_call_types_of_these_tests_are_routed() -> None:
    assert {item["call_type"] for item in FORGED} | {
        BODIES[name]()[0] for name in ("deep input", "deep prompt")
    } <= set(FORMATS)
