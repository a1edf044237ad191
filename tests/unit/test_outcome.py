"""`outcome.py`: LiteLLM's reports of finished calls -> outcomes.

The reports are LiteLLM 1.106.2's own, printed by a callback and cut down to what matters here; `test_hook.py` runs
LiteLLM itself.
"""

from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import litellm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.decision import Outcome, new_id, now
from bsgateway.outcome import MAX_TEXT, from_call, from_refusal, mapping, text

START = datetime(2026, 1, 2, 3, 4, 5)  # LiteLLM's are naive
FIRST = START + timedelta(milliseconds=120)
END = START + timedelta(milliseconds=1500)
ID = UUID("019aabcd-0000-7000-8000-000000000001")


def usage(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}


CHAT: dict[str, Any] = {
    "call_type": "acompletion",
    "litellm_call_id": "5a2d2b9e-f0f4-4855-811c-4f22a0c60dd0",
    "model": "gpt-5-mini",
    "stream": False,
    "cache_hit": None,
    "response_cost": 4.25e-05,
    "completion_start_time": END,
    "messages": [{"role": "user", "content": "hi"}],
    "litellm_params": {
        "litellm_call_id": "5a2d2b9e-f0f4-4855-811c-4f22a0c60dd0",
        "metadata": {"model_group": "cheap", "deployment": "openai/gpt-5-mini"},
    },
    "standard_logging_object": {
        "id": "chatcmpl-7c3d54d5",
        "call_type": "acompletion",
        "status": "success",
        "custom_llm_provider": "openai",
        "model": "openai/gpt-5-mini",
        "model_group": "cheap",
        "response_cost": 4.25e-05,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 30,
        "error_information": None,
        "metadata": {
            "user_api_key_hash": None,
            "usage_object": usage(10, 20, completion_tokens_details=None, prompt_tokens_details=None),
        },
    },
}


def report(payload: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """CHAT with changes to it, and to its standard_logging_object."""
    kwargs = copy.deepcopy(CHAT) | changes
    if payload is not None:
        kwargs["standard_logging_object"] |= payload
    return kwargs


STREAM = report({"stream": True}, stream=True, completion_start_time=FIRST)

MESSAGES = report(
    {
        "call_type": "anthropic_messages",
        "custom_llm_provider": None,
        "prompt_tokens": 2095,
        "completion_tokens": 503,
        "metadata": {
            "usage_object": usage(
                2095,
                503,
                prompt_tokens_details={"cached_tokens": 1500, "cache_creation_tokens": 64, "text_tokens": 531},
                cache_creation_input_tokens=64,
                cache_read_input_tokens=1500,
            )
        },
    },
    call_type="anthropic_messages",
    response_cost=0.0031,
)

RESPONSES = report(
    {
        "call_type": "aresponses",
        "custom_llm_provider": None,
        "prompt_tokens": 36,
        "completion_tokens": 87,
        "metadata": {"usage_object": usage(36, 87, prompt_tokens_details={"cached_tokens": 12, "audio_tokens": None})},
    },
    call_type="aresponses",
    response_cost=0.000768,
)

HUNG_UP = report(
    {
        "stream": True,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "total_tokens": 0,
        "response_cost": 0.0,
        "metadata": {"usage_object": usage(0, 0)},
    },
    stream=True,
    response_cost=0.0,
    completion_start_time=FIRST,
)

FAILURE = report(
    {
        "status": "failure",
        "model": "openai/gpt-4o",
        "model_group": "dead",
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "error_information": {
            "error_code": "429",
            "error_class": "RateLimitError",
            "llm_provider": "openai",
            "traceback": "  File ...",
            "error_message": "this is a mock rate limit error",
        },
        "metadata": {"usage_object": {}},
    },
    response_cost=0,
    completion_start_time=None,
)


def outcome(
    kwargs: dict[str, Any], status: str = "success", start: Any = START, end: Any = END, answer: Any = None
) -> Outcome:
    return from_call(ID, "call", kwargs, start, end, status, answer=answer)


def test_an_answer() -> None:
    before = now()
    found = outcome(CHAT)
    assert before <= found.completed_at <= now()
    assert found == Outcome(
        decision_id=ID,
        completed_at=found.completed_at,
        status="success",
        call_id="call",
        served_group="cheap",
        served_model="openai/gpt-5-mini",
        provider="openai",
        prompt_tokens=10,
        completion_tokens=20,
        cost=4.25e-05,
        latency_ms=1500.0,
        first_token_ms=1500.0,
    )


def test_why_an_answer_ended() -> None:
    refused = litellm.ModelResponse(choices=[{"finish_reason": "content_filter", "message": {"content": None}}])
    assert outcome(CHAT, answer=refused).finish_reason == "content_filter"
    assert outcome(MESSAGES, answer={"stop_reason": "refusal", "content": []}).finish_reason == "refusal"
    assert outcome(FAILURE, "failure", answer=refused).finish_reason is None


def test_a_streamed_answer() -> None:
    found = outcome(STREAM)
    assert (found.latency_ms, found.first_token_ms) == (1500.0, 120.0)
    assert (found.prompt_tokens, found.completion_tokens, found.cost) == (10, 20, 4.25e-05)


def test_tokens_from_and_into_a_providers_cache() -> None:
    found = outcome(MESSAGES)
    assert (found.cache_read_tokens, found.cache_write_tokens) == (1500, 64)
    assert (found.prompt_tokens, found.completion_tokens, found.cost) == (2095, 503, 0.0031)
    found = outcome(RESPONSES)
    assert (found.cache_read_tokens, found.cache_write_tokens) == (12, None)
    assert found.served_model == "openai/gpt-5-mini"


def test_no_tokens_at_all_are_unknown_and_not_free() -> None:
    found = outcome(HUNG_UP)
    assert (found.prompt_tokens, found.completion_tokens, found.cost) == (None, None, None)
    assert (found.cache_read_tokens, found.cache_write_tokens) == (None, None)
    assert (found.status, found.latency_ms, found.first_token_ms) == ("success", 1500.0, 120.0)
    assert found.served_group == "cheap"


def test_an_answer_without_words_is_known() -> None:
    found = outcome(report({"prompt_tokens": 9, "completion_tokens": 0}))
    assert (found.prompt_tokens, found.completion_tokens, found.cost) == (9, 0, 4.25e-05)


def test_a_failed_attempt() -> None:
    found = outcome(FAILURE, "failure")
    assert found == Outcome(
        decision_id=ID,
        completed_at=found.completed_at,
        status="failure",
        call_id="call",
        served_group="dead",
        served_model="openai/gpt-4o",
        provider="openai",
        latency_ms=1500.0,
        error_class="RateLimitError",
        error_status=429,
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("429", 429),
        (503, 503),
        ("", None),
        (None, None),
        ("timeout", None),
        (0, None),
        (99, None),
        (600, None),
        ("1e3", None),
    ],
)  # fmt: skip
def test_http_status_of_an_error(code: Any, status: int | None) -> None:
    kwargs = report({"error_information": {"error_code": code, "error_class": "X"}})
    assert outcome(kwargs, "failure").error_status == status


def test_the_group_is_taken_from_the_metadata_where_the_payload_lacks_it() -> None:
    assert outcome(report({"model_group": None})).served_group == "cheap"
    assert outcome(report({"model_group": ""}, litellm_params={})).served_group is None


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (0, 0.0), (0.5, 0.5), (None, None), ("0.5", None), ([], None),
        (-1.0, None), (float("nan"), None), (float("inf"), None), (1e308, None), (10**400, None),
    ],
)  # fmt: skip
def test_costs(cost: Any, expected: float | None) -> None:
    assert outcome(report(response_cost=cost)).cost == expected


@pytest.mark.parametrize("tokens", [-1, 2**31, True, 1.5, "7", None, [1]])
def test_counts_that_are_none(tokens: Any) -> None:
    found = outcome(report({"prompt_tokens": tokens, "completion_tokens": 20}))
    assert (found.prompt_tokens, found.completion_tokens) == (None, 20)


@pytest.mark.parametrize(("start", "end"), [(None, END), (START, None), (0.0, 1.5), ("a", "b")])
def test_times_that_are_none(start: Any, end: Any) -> None:
    found = outcome(CHAT, start=start, end=end)
    assert found.latency_ms is None


def test_long_names_are_cut() -> None:
    found = outcome(report({"model": "m" * 1000, "model_group": "g" * 1000, "custom_llm_provider": "p" * 1000}))
    assert (found.served_model, found.served_group, found.provider) == ("m" * 256, "g" * 256, "p" * 256)


def test_a_refused_request() -> None:
    error = litellm.RateLimitError("slow down", llm_provider="openai", model="m")
    found = from_refusal(ID, "call", error)
    assert (found.decision_id, found.call_id, found.status) == (ID, "call", "failure")
    assert (found.error_class, found.error_status) == ("RateLimitError", 429)
    assert (found.served_group, found.latency_ms, found.cost) == (None, None, None)
    found = from_refusal(ID, None, ValueError("the words of a user"))
    assert (found.call_id, found.error_class, found.error_status) == (None, "ValueError", None)
    assert "words" not in str(found)


@pytest.mark.parametrize(
    ("value", "kept"), [("a", "a"), ("", None), (None, None), (5, None), (b"a", None), ("x" * 300, "x" * MAX_TEXT)]
)
def test_text(value: Any, kept: str | None) -> None:
    assert text(value) == kept


@pytest.mark.parametrize(("value", "kept"), [({"a": 1}, {"a": 1}), ({}, {}), (None, {}), ([("a", 1)], {}), ("a", {})])
def test_mapping(value: Any, kept: dict[str, Any]) -> None:
    assert mapping(value) == kept


_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(datetime(2026, 1, 1)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_KEYS = ("standard_logging_object", "litellm_params", "response_cost", "completion_start_time", "cache_hit")
_PAYLOAD_KEYS = (
    "model", "model_group", "custom_llm_provider", "prompt_tokens", "completion_tokens", "metadata",
    "error_information",
)  # fmt: skip


@settings(deadline=None, derandomize=True, database=None)
@given(
    st.dictionaries(st.sampled_from(_KEYS), _junk),
    st.dictionaries(st.sampled_from(_PAYLOAD_KEYS), _junk),
    st.sampled_from(["success", "failure"]),
)
def test_a_field_of_a_wrong_type_is_as_good_as_absent(
    changes: dict[str, Any], payload: dict[str, Any], status: str
) -> None:
    kwargs = report(payload) | changes
    found = outcome(kwargs, status)
    assert (found.decision_id, found.status) == (ID, status)
    for name in ("served_group", "served_model", "provider", "error_class"):
        assert getattr(found, name) is None or type(getattr(found, name)) is str
    for name in ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "error_status"):
        assert getattr(found, name) is None or type(getattr(found, name)) is int


def test_ids_of_outcomes_are_those_of_their_decisions() -> None:
    decision_id = new_id()
    assert from_call(decision_id, None, CHAT, START, END, "success").decision_id == decision_id
    assert now().tzinfo is timezone.utc
