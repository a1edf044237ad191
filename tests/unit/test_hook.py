"""`hook.py`: what LiteLLM's callback does to a request, to the headers of its answer and to the log.

The callback is the real one on LiteLLM's own base class; `data` has the shape LiteLLM's proxy gives it. Only the way
into the log's queue is replaced, by a list.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import h11
import litellm
import msgspec
import pytest
from litellm.caching.dual_cache import DualCache
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import UserAPIKeyAuth
from litellm.types.utils import CallTypes, ModelResponse

from bsgateway import hook
from bsgateway.callers import NO_LOG, NO_LOG_HEADER
from bsgateway.decision import Decision, Outcome, Reason, Texts
from bsgateway.errors import ConfigError
from bsgateway.gateway import FORMATS
from bsgateway.headers import HEADERS
from bsgateway.hook import GatewayCallback
from bsgateway.stamps import KEPT, STAMP, RoutingDecision

HARD = "Prove the theorem, derive the bound, analyze the algorithm."
LIVE_KEY = "sk-live-0123456789"
KEY = UserAPIKeyAuth(api_key=LIVE_KEY, key_alias="team key", user_id="user-1", team_id="team-1", end_user_id="end-1")
ALWAYS = set(HEADERS) - {"x-bsgateway-would-use", "x-bsgateway-changes", "x-bsgateway-ignored", "x-bsgateway-llm"}
"""Headers of every request that is routed by score."""
LOG = {"enabled": True, "database_url": "postgresql://nobody@127.0.0.1:1/none", "text": "none"}

BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": HARD}], "temperature": 0.5},
    "messages": {"messages": [{"role": "user", "content": [{"type": "text", "text": HARD}]}], "max_tokens": 4000},
    "responses": {"input": [{"role": "user", "content": HARD}], "store": False},
    "completions": {"prompt": HARD},
    "generate_content": {"contents": [{"role": "user", "parts": [{"text": HARD}]}]},
}


def proxy_data(call_type: str, model: Any = "auto", **more: Any) -> dict[str, Any]:
    """`data` as the proxy hands it to its callbacks, LiteLLM's own metadata where it keeps it for this call type."""
    body = {"model": model, **copy.deepcopy(BODIES[FORMATS.get(call_type, "chat")])}
    ours = {
        "user_api_key_hash": "88dc28d0f030c55ed4ab77ed8faf0981",
        "user_api_key_alias": "team key",
        "user_agent": "OpenAI/Python 2.1.0",
        "headers": {"content-type": "application/json"},
        "endpoint": "http://localhost:4000/v1",
        "requester_ip_address": "",
    }
    client = {"user_id": "user_x_account_y_session_z"}
    own = FORMATS.get(call_type) in ("messages", "responses")
    return {
        **body,
        "litellm_call_id": "11707260-10c1-4e6f-90c3-533ff11a8a66",
        "litellm_session_id": "session-7",
        "proxy_server_request": {
            "url": "http://localhost:4000/v1",
            "method": "POST",
            "headers": {"x-bsgateway-model": "forged"},
            "body": copy.deepcopy(body),
        },
        "secret_fields": {"raw_headers": {"authorization": f"Bearer {LIVE_KEY}"}},
        **({"metadata": client, "litellm_metadata": ours} if own else {"metadata": ours}),
        **more,
    }


def metadata_name(call_type: str) -> str:
    return "litellm_metadata" if FORMATS[call_type] in ("messages", "responses") else "metadata"


RECORDED: dict[GatewayCallback, list[Any]] = {}


@pytest.fixture
async def make_callback(make_gateway: Callable[..., Any]) -> AsyncIterator[Callable[..., GatewayCallback]]:
    """Makes callbacks that hand their rows to a list; keyword arguments replace parts of `routing`."""
    made = []

    def make(**routing: Any) -> GatewayCallback:
        callback = GatewayCallback(make_gateway(**{"collector": LOG} | routing))
        made.append(callback)
        RECORDED[callback] = []
        callback.lifecycle.record = RECORDED[callback].append  # type: ignore[method-assign]
        return callback

    yield make
    for callback in made:
        await callback.lifecycle.stop()
    RECORDED.clear()


@pytest.fixture
def callback(make_callback: Callable[..., GatewayCallback]) -> GatewayCallback:
    return make_callback()


def rows(callback: GatewayCallback) -> list[Any]:
    """What was recorded since the last call."""
    taken = RECORDED[callback][:]
    RECORDED[callback].clear()
    return taken


async def pre_call(callback: GatewayCallback, data: dict[str, Any], call_type: Any = "acompletion") -> dict[str, Any]:
    """`data` after the hook, which changes it in place."""
    assert await callback.async_pre_call_hook(KEY, DualCache(), data, call_type) is None
    return data


async def headers(callback: GatewayCallback, data: dict[str, Any], response: Any = None) -> dict[str, str] | None:
    return await callback.async_post_call_response_headers_hook(
        data, KEY, response, request_headers={"x-bsgateway-model": "forged", "x-bsgateway-tier": "forged"}
    )


def test_litellm_finds_every_method_on_the_class_itself() -> None:
    # LiteLLM looks into the class of the callback, and not into those it inherits from.
    assert issubclass(GatewayCallback, CustomLogger)
    own = {name for name in vars(GatewayCallback) if name.startswith("async_")}
    assert own == {
        "async_pre_call_hook",
        "async_pre_call_deployment_hook",
        "async_post_call_response_headers_hook",
        "async_log_success_event",
        "async_log_failure_event",
        "async_post_call_failure_hook",
    }
    assert all(callable(getattr(CustomLogger, name)) for name in own)


# Before the call


@pytest.mark.parametrize("call_type", FORMATS)
async def test_the_model_is_rewritten_in_place_and_nothing_else(callback: GatewayCallback, call_type: str) -> None:
    data = proxy_data(call_type)
    before = copy.deepcopy(data)
    await pre_call(callback, data, call_type)
    metadata = data[metadata_name(call_type)]
    decision, *others = rows(callback)
    assert others == []
    assert data["model"] == decision.resolved_model == "large"
    assert metadata.pop(STAMP) is metadata.pop(KEPT)
    # What the chosen model does not take, LiteLLM may leave out.
    assert data.pop("drop_params") is True
    assert {**data, "model": "auto"} == before
    assert callback.errors == 0


async def test_the_stamp_and_the_row_say_the_same(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("acompletion", "claude-x"))
    [decision] = rows(callback)
    assert data["metadata"][STAMP] == {
        "decision_id": str(decision.decision_id),
        "method": "pattern",
        "original_model": "claude-x",
        "resolved_model": "large",
        "complexity_score": 68,
        "tier": "complex",
        "strategy": "static",
        "reason": "pattern_score",
        "would_use": None,
        "changes": None,
        "ignored": None,
        "llm": None,
    }
    assert data["metadata"][STAMP].call_id == data["litellm_call_id"]
    assert msgspec.structs.asdict(decision.caller) == {
        "call_id": data["litellm_call_id"],
        "session_id": "session-7",
        "key_hash": "88dc28d0f030c55ed4ab77ed8faf0981",
        "key_alias": "team key",
        "user_id": "user-1",
        "team_id": "team-1",
        "end_user": "end-1",
        "user_agent": "OpenAI/Python 2.1.0",
    }
    assert LIVE_KEY not in str(decision)
    assert LIVE_KEY not in str(data["metadata"])


async def test_a_member_of_litellms_call_types_is_as_good_as_its_word(callback: GatewayCallback) -> None:
    assert (await pre_call(callback, proxy_data("acompletion"), CallTypes.acompletion))["model"] == "large"
    assert (await pre_call(callback, proxy_data("aembedding"), CallTypes.aembedding))["model"] == "auto"


UNTOUCHED = sorted({call_type.value for call_type in CallTypes} - set(FORMATS))


def test_the_call_types_that_are_left_alone_are_litellms() -> None:
    assert {call_type.value for call_type in CallTypes} >= set(FORMATS) - {
        "agenerate_content", "generate_content", "agenerate_content_stream", "generate_content_stream"
    }  # fmt: skip
    assert {"aembedding", "embedding", "aimage_generation", "atranscription", "aspeech", "amoderation", "arerank",
            "pass_through_endpoint", "acreate_batch"} <= set(UNTOUCHED)  # fmt: skip


@pytest.mark.parametrize("call_type", [*UNTOUCHED, "aanthropic", "", "ACOMPLETION", None, 5])
async def test_other_call_types_are_left_alone(callback: GatewayCallback, call_type: Any) -> None:
    data = proxy_data("aembedding", input=["auto", HARD])
    before = copy.deepcopy(data)
    order = list(data)
    assert await pre_call(callback, data, call_type) == before
    assert list(data) == order
    assert rows(callback) == []
    assert await headers(callback, data, ModelResponse()) is None


async def test_a_name_that_is_served_as_asked_is_logged_too(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("acompletion", "small"))
    [decision] = rows(callback)
    assert (data["model"], decision.reason, decision.tier) == ("small", Reason.MODEL_LIST, None)


async def test_running_again_changes_nothing(callback: GatewayCallback) -> None:
    for call_type in ("acompletion", "anthropic_messages"):
        data = await pre_call(callback, proxy_data(call_type), call_type)
        assert len(rows(callback)) == 1
        after = copy.deepcopy(data)
        assert await pre_call(callback, data, call_type) == after
        # LiteLLM runs the hook again, with the model of a fallback.
        data["model"] = "middle"
        assert (await pre_call(callback, data, call_type))["model"] == "middle"
        assert data[metadata_name(call_type)][STAMP]["resolved_model"] == "large"
        assert rows(callback) == []


async def test_a_copy_of_the_request_is_the_same_request(callback: GatewayCallback) -> None:
    data = copy.deepcopy(await pre_call(callback, proxy_data("acompletion")))
    assert isinstance(data["metadata"][KEPT], RoutingDecision)
    assert data["metadata"][KEPT].call_id == data["litellm_call_id"]
    await pre_call(callback, data)
    assert len(rows(callback)) == 1


async def test_metadata_of_the_client_is_kept(callback: GatewayCallback) -> None:
    chat = proxy_data("acompletion")
    chat["metadata"] |= {"trace": [1, 2], "tags": ["a"]}
    await pre_call(callback, chat)
    assert (chat["metadata"]["trace"], chat["metadata"]["tags"]) == ([1, 2], ["a"])
    messages = await pre_call(callback, proxy_data("anthropic_messages"), "anthropic_messages")
    assert messages["metadata"] == {"user_id": "user_x_account_y_session_z"}


@pytest.mark.parametrize("value", [None, [], "text", 5])
async def test_metadata_of_a_wrong_type_is_made_anew(callback: GatewayCallback, value: Any) -> None:
    data = await pre_call(callback, proxy_data("acompletion", metadata=value))
    assert set(data["metadata"]) == {STAMP, KEPT}
    data = proxy_data("acompletion")
    del data["metadata"]
    assert set((await pre_call(callback, data))["metadata"]) == {STAMP, KEPT}


FORGED = {
    "decision_id": "00000000-0000-7000-8000-000000000000",
    "method": "passthrough",
    "original_model": "forged",
    "resolved_model": "forged",
    "complexity_score": 1,
    "tier": "forged",
    "strategy": "forged",
    "reason": "forged",
}


@pytest.mark.parametrize("call_type", ["acompletion", "anthropic_messages", "aresponses"])
async def test_a_stamp_that_the_client_sent_is_ignored(callback: GatewayCallback, call_type: str) -> None:
    data = proxy_data(call_type)
    for name in ("metadata", "litellm_metadata"):
        data.setdefault(name, {}).update({STAMP: dict(FORGED), KEPT: dict(FORGED)})
    await pre_call(callback, data, call_type)
    [decision] = rows(callback)
    assert data["model"] == "large"
    stamped = data[metadata_name(call_type)]
    assert stamped[STAMP]["decision_id"] == stamped[KEPT]["decision_id"] == str(decision.decision_id)
    found = await headers(callback, data, ModelResponse())
    assert found is not None
    assert found["x-bsgateway-decision-id"] == str(decision.decision_id)
    assert "forged" not in str(found)


async def test_a_stamp_that_the_client_sent_makes_no_headers_and_no_outcome(callback: GatewayCallback) -> None:
    data = proxy_data("aembedding")
    data["metadata"] |= {STAMP: dict(FORGED), KEPT: dict(FORGED)}
    await pre_call(callback, data, "aembedding")
    assert await headers(callback, data, ModelResponse()) is None
    kwargs = {"litellm_params": {"metadata": data["metadata"]}, "metadata": data["metadata"]}
    await callback.async_log_success_event(kwargs, None, datetime.now(), datetime.now())
    await callback.async_log_failure_event(kwargs, None, datetime.now(), datetime.now())
    await callback.async_post_call_failure_hook(data, ValueError(), KEY)
    await callback.async_pre_call_deployment_hook(data, None)
    assert (rows(callback), callback.errors) == ([], 0)


@pytest.mark.parametrize("model", [None, "", 5, ["auto"], {"auto": 1}])
async def test_a_request_without_a_model_is_litellms_to_refuse(callback: GatewayCallback, model: Any) -> None:
    data = await pre_call(callback, proxy_data("acompletion", model))
    assert data["model"] == model
    assert (rows(callback), callback.errors) == ([], 0)
    assert STAMP not in data["metadata"]
    del data["model"]
    assert "model" not in await pre_call(callback, data)


async def test_words_are_recorded_when_they_are_kept(make_callback: Callable[..., GatewayCallback]) -> None:
    callback = make_callback(collector={**LOG, "text": "full"})
    await pre_call(callback, proxy_data("acompletion"))
    decision, texts = rows(callback)
    assert isinstance(decision, Decision)
    assert isinstance(texts, Texts)
    assert (texts.decision_id, texts.ask) == (decision.decision_id, HARD)


async def test_without_a_log_rows_are_counted(make_gateway: Callable[..., Any]) -> None:
    callback = GatewayCallback(make_gateway(collector={"enabled": False}))
    assert (await pre_call(callback, proxy_data("acompletion")))["model"] == "large"
    assert (len(callback.lifecycle.recorder), callback.lifecycle.unlogged) == (0, 1)
    await callback.lifecycle.stop()


SECRET = "sk-hunter2 and the words of a user"


class Raises:
    """Fails whatever is asked of it, in words that must not be repeated."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any) -> Any:
            raise ValueError(SECRET)

        return fail


async def test_it_fails_open_when_the_analyzer_fails(
    callback: GatewayCallback, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callback.gateway, "_analyzer", Raises())
    data = proxy_data("acompletion")
    data["messages"][0]["content"] = SECRET
    with caplog.at_level(logging.DEBUG):
        await pre_call(callback, data)
    [decision] = rows(callback)
    assert (data["model"], decision.reason, decision.tier) == ("middle", Reason.FAILED_OPEN, "medium")
    assert await headers(callback, data, ModelResponse()) == {
        "x-bsgateway-decision-id": str(decision.decision_id),
        "x-bsgateway-model": "middle",
        "x-bsgateway-tier": "medium",
        "x-bsgateway-method": "auto",
        "x-bsgateway-reason": "failed_open",
    }
    assert callback.gateway.failed_open == 1
    assert SECRET not in caplog.text
    assert f"decision {decision.decision_id} failed open: ValueError" in caplog.messages


async def test_nothing_raises_into_a_request(
    callback: GatewayCallback, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callback, "gateway", Raises())
    data = proxy_data("acompletion")
    before = copy.deepcopy(data)
    with caplog.at_level(logging.DEBUG):
        assert await pre_call(callback, data) == before
    assert caplog.messages == [
        "routing hook failed, the request goes on: ValueError",
        "access hook failed, the request goes on: TypeError",
    ]
    assert (rows(callback), callback.errors) == ([], 2)
    assert SECRET not in caplog.text


async def test_a_failure_of_the_log_reaches_no_request(
    callback: GatewayCallback, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = await pre_call(callback, proxy_data("acompletion"))
    rows(callback)
    monkeypatch.setattr(callback, "lifecycle", Raises())
    kwargs = {"litellm_params": {"metadata": data["metadata"]}}
    with caplog.at_level(logging.DEBUG):
        assert (await pre_call(callback, proxy_data("acompletion")))["model"] == "auto"
        await callback.async_log_success_event(kwargs, None, datetime.now(), datetime.now())
        await callback.async_post_call_failure_hook(data, ValueError(SECRET), KEY)
    monkeypatch.undo()
    assert [message.split(",")[0] for message in caplog.messages] == [
        "routing hook failed", "outcome hook failed", "failure hook failed"
    ]  # fmt: skip
    assert callback.errors == 3
    assert SECRET not in caplog.text


# LiteLLM's router


async def test_the_stamp_is_put_back_where_the_router_cleared_it(callback: GatewayCallback) -> None:
    for call_type in ("acompletion", "anthropic_messages"):
        data = await pre_call(callback, proxy_data(call_type), call_type)
        metadata = data[metadata_name(call_type)]
        del metadata[STAMP]
        kwargs = {**data, metadata_name(call_type): {**metadata, "model_group": "middle"}}
        assert await callback.async_pre_call_deployment_hook(kwargs, CallTypes.acompletion) is None
        attempt = kwargs[metadata_name(call_type)]
        assert attempt[STAMP] is attempt[KEPT]
        assert attempt[KEPT].group == "middle"  # of the attempt that is about to be made


async def test_a_request_that_was_not_routed_gets_no_stamp(callback: GatewayCallback) -> None:
    kwargs = {"model": "x", "metadata": {"model_group": "x", KEPT: dict(FORGED)}, "litellm_metadata": None}
    before = copy.deepcopy(kwargs)
    await callback.async_pre_call_deployment_hook(kwargs, None)
    assert kwargs == before


# Headers


def answered_by(group: str | None) -> ModelResponse:
    response = ModelResponse()
    response._hidden_params = {"additional_headers": {"x-litellm-model-group": group}} if group else {}
    return response


async def test_headers_of_a_scored_request(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("acompletion"))
    [decision] = rows(callback)
    expected = {
        "x-bsgateway-decision-id": str(decision.decision_id),
        "x-bsgateway-model": "large",
        "x-bsgateway-tier": "complex",
        "x-bsgateway-score": "68",
        "x-bsgateway-strategy": "static",
        "x-bsgateway-method": "auto",
        "x-bsgateway-reason": "score",
    }
    assert list(expected) == [name for name in HEADERS if name in ALWAYS]
    assert await headers(callback, data, answered_by("large")) == expected
    assert await headers(callback, data, None) == expected  # a failed request


async def test_headers_of_a_request_that_was_not_scored(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("acompletion", "frontier"))
    found = await headers(callback, data, answered_by("large"))
    assert found is not None
    assert ALWAYS - set(found) == {"x-bsgateway-tier", "x-bsgateway-score", "x-bsgateway-strategy"}
    assert (found["x-bsgateway-method"], found["x-bsgateway-reason"]) == ("alias", "alias")


async def test_a_score_of_zero_is_sent(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("acompletion", "cheap"))
    found = await headers(callback, data, answered_by("small"))
    assert found is not None
    assert found["x-bsgateway-score"] == "0"


async def test_after_a_fallback_the_header_names_who_answered(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("acompletion"))
    assert (await headers(callback, data, answered_by("middle")) or {})["x-bsgateway-model"] == "middle"
    assert (await headers(callback, data, answered_by(None)) or {})["x-bsgateway-model"] == "large"
    # A plain dict (/v1/messages) carries no note: LiteLLM's logging object knows.
    details: Any = {"litellm_params": {"metadata": {"model_group": "small"}}}
    data["litellm_logging_obj"] = SimpleNamespace(model_call_details=details)
    assert (await headers(callback, data, {"type": "message"}) or {})["x-bsgateway-model"] == "small"
    for details in (None, [], {"litellm_params": None}, {"litellm_params": {"metadata": ["x"]}}):
        data["litellm_logging_obj"] = SimpleNamespace(model_call_details=details)
        assert (await headers(callback, data, {"type": "message"}) or {})["x-bsgateway-model"] == "large"
    assert callback.errors == 0


NAMES = {
    "plain-1.5/x:y": "plain-1.5/x:y",
    "a b": "a b",
    " a ": "a",
    "x\r\nset-cookie: y=1": "x%0D%0Aset-cookie: y=1",
    "x\x00\x7f\t": "x%00%7F%09",
    "é中😀": "%C3%A9%E4%B8%AD%F0%9F%98%80",
    "\ud800": "?",
    '"%\\': "%22%25%5C",
    "~!#$&'()*+,/:;<=>?@[]^_`{|}": "~!#$&'()*+,/:;<=>?@[]^_`{|}",
    "x" * 600: "x" * 512,
    "é" * 200: ("%C3%A9" * 200)[:512],
}


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_that_the_client_chose_cannot_break_a_header(
    make_callback: Callable[..., GatewayCallback], name: str
) -> None:
    callback = make_callback(unknown_models="leave")
    data = await pre_call(callback, proxy_data("acompletion", name))
    assert data["model"] == name
    found = await headers(callback, data, answered_by(None))
    assert found is not None
    assert found["x-bsgateway-model"] == NAMES[name]
    assert len(found) == 4
    # The server writes them without a complaint.
    h11.Response(status_code=200, headers=[(key, value) for key, value in found.items()])


async def test_headers_of_a_request_that_never_passed_the_hook(callback: GatewayCallback) -> None:
    for data in (proxy_data("acompletion"), {}, {"metadata": None}, {"metadata": [], "litellm_metadata": "x"}):
        assert await headers(callback, data, answered_by("small")) is None
    assert callback.errors == 0


# Afterwards


def report(data: dict[str, Any], call_type: str = "acompletion", **payload: Any) -> dict[str, Any]:
    """`kwargs` of a logging callback for a request that passed the hook."""
    return {
        "litellm_call_id": data["litellm_call_id"],
        "response_cost": 0.25,
        "litellm_params": {"metadata": {**data[metadata_name(call_type)], "model_group": "large"}},
        "standard_logging_object": {
            "model": "openai/large",
            "model_group": "large",
            "custom_llm_provider": "openai",
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "metadata": {"usage_object": {"prompt_tokens_details": {"cached_tokens": 40}}},
            **payload,
        },
    }


START = datetime(2026, 1, 2, 3, 4, 5)
END = START + timedelta(milliseconds=250)


async def outcome_of(callback: GatewayCallback, kwargs: dict[str, Any], status: str = "success") -> Outcome:
    log = callback.async_log_success_event if status == "success" else callback.async_log_failure_event
    await log(kwargs, None, START, END)
    [found] = rows(callback)
    assert isinstance(found, Outcome)
    return found


async def test_an_answer_is_recorded_with_what_the_top_tier_would_have_cost(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("acompletion", "cheap"))
    [decision] = rows(callback)
    found = await outcome_of(callback, report(data, model_group="small"))
    assert (found.decision_id, found.call_id) == (decision.decision_id, decision.caller.call_id)
    assert (found.status, found.served_group, found.latency_ms) == ("success", "small", 250.0)
    assert (found.prompt_tokens, found.completion_tokens, found.cache_read_tokens, found.cost) == (100, 10, 40, 0.25)
    # `large` costs 1e-5 and 4e-5, and has no price for what it reads from its cache.
    assert (found.baseline_model, found.baseline_cost) == ("large", pytest.approx(100 * 1e-5 + 10 * 4e-5))


async def test_the_stamp_is_found_in_either_metadata(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("anthropic_messages"), "anthropic_messages")
    [decision] = rows(callback)
    kwargs = report(data, "anthropic_messages")
    params = kwargs["litellm_params"]
    for holder in (
        {"litellm_params": {"metadata": {"user_id": "x"}, "litellm_metadata": params["metadata"]}},
        {"litellm_params": None, "litellm_metadata": params["metadata"]},
        {"litellm_params": {}, "metadata": params["metadata"]},
    ):
        assert (await outcome_of(callback, {**kwargs, **holder})).decision_id == decision.decision_id


async def test_a_failed_attempt_and_the_fallback_after_it(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("acompletion"))
    [decision] = rows(callback)
    error = {"error_code": "503", "error_class": "ServiceUnavailableError"}
    failed = await outcome_of(callback, report(data, error_information=error), "failure")
    answered = await outcome_of(callback, report(data, model_group="middle", model="openai/middle"))
    assert failed.decision_id == answered.decision_id == decision.decision_id
    assert (failed.status, failed.error_class, failed.error_status) == ("failure", "ServiceUnavailableError", 503)
    assert (failed.prompt_tokens, failed.cost, failed.baseline_cost) == (None, None, None)
    assert (answered.status, answered.served_group, answered.error_class) == ("success", "middle", None)


async def test_tokens_that_are_unknown_have_no_baseline(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("acompletion"))
    rows(callback)
    found = await outcome_of(callback, {**report(data, prompt_tokens=0, completion_tokens=0), "response_cost": 0.0})
    assert (found.cost, found.baseline_model, found.baseline_cost) == (None, None, None)


async def test_a_cost_that_litellm_did_not_find_is_worked_out(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("agenerate_content"), "agenerate_content")
    rows(callback)
    data["metadata"][KEPT].group = "middle"
    kwargs = report(data, "agenerate_content", model_group=None)
    del kwargs["litellm_params"]["metadata"]["model_group"]
    price = 100 * 1e-6 + 10 * 4e-6
    for cost in (None, 0.0):
        found = await outcome_of(callback, {**kwargs, "response_cost": cost})
        assert (found.served_group, found.cost) == ("middle", pytest.approx(price))
    # An answer from LiteLLM's cache is free, and one with a cost has it.
    assert (await outcome_of(callback, {**kwargs, "response_cost": 0.0, "cache_hit": True})).cost == 0.0
    assert (await outcome_of(callback, kwargs)).cost == 0.25
    # A model without a price costs what LiteLLM says.
    assert (await outcome_of(callback, {**report(data, model_group="vendor/*"), "response_cost": 0.0})).cost == 0.0


async def test_a_request_that_never_reached_a_provider(callback: GatewayCallback) -> None:
    data = await pre_call(callback, proxy_data("acompletion"))
    [decision] = rows(callback)
    error = litellm.RateLimitError(SECRET, llm_provider="openai", model="m")
    await callback.async_post_call_failure_hook(data, error, KEY, "traceback")
    [found] = rows(callback)
    assert (found.decision_id, found.call_id) == (decision.decision_id, data["litellm_call_id"])
    assert (found.status, found.error_class, found.error_status) == ("failure", "RateLimitError", 429)
    assert SECRET not in str(found)
    await callback.async_post_call_failure_hook(proxy_data("acompletion"), error, KEY)
    assert rows(callback) == []


@pytest.mark.parametrize(
    "kwargs", [{}, {"litellm_params": None}, {"litellm_params": {}}, {"litellm_params": {"metadata": None}}]
)
async def test_calls_that_were_not_routed_have_no_outcome(callback: GatewayCallback, kwargs: dict[str, Any]) -> None:
    await callback.async_log_success_event(kwargs, None, START, END)
    await callback.async_log_failure_event(kwargs, None, START, END)
    assert (rows(callback), callback.errors) == ([], 0)


async def test_a_report_that_cannot_be_read_is_counted(
    callback: GatewayCallback, caplog: pytest.LogCaptureFixture
) -> None:
    kwargs = {"litellm_params": {"metadata": {KEPT: RoutingDecision(decision_id=SECRET)}}}
    await callback.async_log_success_event(kwargs, None, START, END)
    assert (rows(callback), callback.errors) == ([], 1)
    assert caplog.messages == ["outcome hook failed, the request goes on: AttributeError"]


# Opting out


def opting_out(call_type: str, by: str, value: Any = True) -> dict[str, Any]:
    """A request that asks to be left out of the log, by its header or by its metadata."""
    data = proxy_data(call_type)
    if by == "header":
        data["proxy_server_request"]["headers"][NO_LOG_HEADER] = value if isinstance(value, str) else "true"
    else:
        data.setdefault("metadata", {})[NO_LOG] = value
    return data


async def whole_life(callback: GatewayCallback, data: dict[str, Any], call_type: str) -> list[str]:
    """The kinds of rows that a request leaves, from the hook to its outcomes."""
    await pre_call(callback, data, call_type)
    await callback.async_log_failure_event(report(data, call_type), None, START, END)
    await callback.async_log_success_event(report(data, call_type), None, START, END)
    await callback.async_post_call_failure_hook(data, ValueError(), KEY)
    assert callback.errors == 0
    return [type(row).__name__ for row in rows(callback)]


KEPT_ROWS = {
    "nothing": ["Decision", "Texts", "Outcome", "Outcome", "Outcome"],
    "text": ["Decision", "Outcome", "Outcome", "Outcome"],
    "row": [],
}


@pytest.mark.parametrize("by", ["header", "metadata"])
@pytest.mark.parametrize("call_type", FORMATS)
@pytest.mark.parametrize("allowed", KEPT_ROWS)
async def test_a_request_keeps_out_of_the_log_what_the_operator_lets_it(
    make_callback: Callable[..., GatewayCallback], allowed: str, call_type: str, by: str
) -> None:
    callback = make_callback(collector={**LOG, "text": "full", "opt_out": allowed})
    data = opting_out(call_type, by)
    assert await whole_life(callback, data, call_type) == KEPT_ROWS[allowed]
    assert callback.opted_out == (allowed != "nothing")
    # It is routed, stamped and answered as any other.
    assert data["model"] == "large"
    found = await headers(callback, data, ModelResponse())
    assert found is not None
    assert set(found) == ALWAYS
    assert found["x-bsgateway-decision-id"] == data[metadata_name(call_type)][STAMP]["decision_id"]
    # Its marker goes no further, unless it is none; the rest of its metadata is as it was.
    assert (NO_LOG in data["metadata"]) == (allowed == "nothing" and by == "metadata")
    if FORMATS[call_type] in ("messages", "responses"):
        assert data["metadata"]["user_id"] == "user_x_account_y_session_z"
    # The next one, which says nothing, is logged.
    assert await whole_life(callback, proxy_data(call_type), call_type) == KEPT_ROWS["nothing"]


async def test_a_request_that_is_not_scored_can_opt_out_too(make_callback: Callable[..., GatewayCallback]) -> None:
    callback = make_callback(collector={**LOG, "opt_out": "row"})
    data = {**opting_out("acompletion", "header"), "model": "small"}
    assert await whole_life(callback, data, "acompletion") == []


async def test_a_copy_of_a_request_that_opted_out_is_still_out(make_callback: Callable[..., GatewayCallback]) -> None:
    callback = make_callback(collector={**LOG, "opt_out": "row"})
    data = copy.deepcopy(await pre_call(callback, opting_out("acompletion", "metadata")))
    assert await whole_life(callback, data, "acompletion") == []  # LiteLLM runs the hook again for a fallback
    assert callback.opted_out == 1


@pytest.mark.parametrize("value", [True, 1, "true", "True", " TRUE ", "1", "yes", "YES"])
async def test_words_that_opt_out(make_callback: Callable[..., GatewayCallback], value: Any) -> None:
    callback = make_callback(collector={**LOG, "opt_out": "row"})
    for by in ("header", "metadata") if isinstance(value, str) else ("metadata",):
        assert await whole_life(callback, opting_out("acompletion", by, value), "acompletion") == []


@pytest.mark.parametrize("value", [False, 0, 2, None, "", "false", "no", "0", "truely", [True], {"true": True}, 1.5])
async def test_words_that_do_not(make_callback: Callable[..., GatewayCallback], value: Any) -> None:
    callback = make_callback(collector={**LOG, "opt_out": "row"})
    for by in ("header", "metadata") if isinstance(value, str) else ("metadata",):
        data = opting_out("acompletion", by, value)
        assert len(await whole_life(callback, data, "acompletion")) == 4
        assert NO_LOG not in data["metadata"]  # a marker all the same, and none of the provider's business
    assert callback.opted_out == 0


@pytest.mark.parametrize("request_of", [None, [], "x", {}, {"headers": None}, {"headers": ["x-bsgateway-no-log"]}])
async def test_a_request_without_headers_is_logged(
    make_callback: Callable[..., GatewayCallback], request_of: Any
) -> None:
    callback = make_callback(collector={**LOG, "opt_out": "row"})
    data = proxy_data("anthropic_messages", proxy_server_request=request_of, metadata=request_of)
    assert len(await whole_life(callback, data, "anthropic_messages")) == 4


# The handler


def test_the_handler_is_made_on_demand(config_file: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BSGATEWAY_CONFIG", str(config_file()))
    try:
        handler = hook.handler
        assert isinstance(handler, GatewayCallback)
        assert hook.handler is handler
        assert handler.gateway.config.model_names == ("small", "middle", "large", "vendor/*")
    finally:
        vars(hook).pop("handler", None)


def test_without_a_configuration_there_is_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BSGATEWAY_CONFIG", "/no/such/file.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        _ = hook.handler
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = hook.other


def test_ids_in_stamps_are_uuids() -> None:
    assert UUID(FORGED["decision_id"]).version == 7  # so that it is not for its shape that it is ignored


async def test_pages_that_cannot_be_closed_keep_no_row_from_the_log(callback: GatewayCallback) -> None:
    await pre_call(callback, proxy_data("acompletion"))
    callback.site = Raises()  # type: ignore[assignment]
    await callback.stop()
    assert callback.lifecycle._task is not None
    assert callback.lifecycle._task.done()
    assert callback.errors == 1


async def test_the_end_says_what_the_memo_did(callback: GatewayCallback, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bsgateway.hook")
    await callback.stop()
    assert caplog.messages[-1].startswith("memo: 0 texts were known, 0 were new, 0 made room for others; ")
