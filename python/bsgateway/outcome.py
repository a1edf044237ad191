"""LiteLLM's report of a finished call -> `Outcome`. Reads what is there; a field LiteLLM left out stays None."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from .answers import finish_reason
from .catalog import Model
from .decision import Outcome, now

MAX_TEXT = 256
"""Characters kept of names that a client or a provider chose."""
MAX_COST = 1e9
"""US dollars that one request may cost; more is a mistake."""


def from_call(
    decision_id: UUID,
    call_id: str | None,
    kwargs: Mapping[str, Any],
    start: Any,
    end: Any,
    status: str,
    group: str | None = None,
    answer: Any = None,
) -> Outcome:
    """The outcome of one attempt: `kwargs`, `answer`, `start` and `end` as LiteLLM hands them to a logging callback.
    `group` is the model group where LiteLLM does not say it."""
    payload = mapping(kwargs.get("standard_logging_object"))
    metadata = mapping(mapping(kwargs.get("litellm_params")).get("metadata"))
    error = mapping(payload.get("error_information"))
    attempt = Outcome(
        decision_id=decision_id,
        completed_at=now(),
        status=status,
        call_id=call_id,
        # Google's format leaves it out of the payload.
        served_group=text(payload.get("model_group")) or text(metadata.get("model_group")) or group,
        served_model=text(payload.get("model")),
        provider=text(payload.get("custom_llm_provider")),
        latency_ms=_milliseconds(start, end),
        error_class=text(error.get("error_class")),
        error_status=_http_status(error.get("error_code")),
        finish_reason=finish_reason(answer) if status == "success" else None,
    )
    return _with_usage(attempt, kwargs, payload, start) if status == "success" else attempt


def _with_usage(attempt: Outcome, kwargs: Mapping[str, Any], payload: Mapping[str, Any], start: Any) -> Outcome:
    """`attempt` with tokens and cost. A client that hangs up on a stream leaves LiteLLM with 0 tokens in and out, for 0
    dollars: that is unknown, not free."""
    first = _milliseconds(start, kwargs.get("completion_start_time"))
    prompt, completion = _count(payload.get("prompt_tokens")), _count(payload.get("completion_tokens"))
    if not prompt and not completion:
        return msgspec.structs.replace(attempt, first_token_ms=first)
    usage = mapping(mapping(payload.get("metadata")).get("usage_object"))
    cost = kwargs.get("response_cost")
    return msgspec.structs.replace(
        attempt,
        first_token_ms=first,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cache_read_tokens=_cache_read(usage),
        cache_write_tokens=_count(usage.get("cache_creation_input_tokens")),
        cost=_cost(cost),
    )


def _cache_read(usage: Mapping[str, Any]) -> int | None:
    read = _count(usage.get("cache_read_input_tokens"))
    details = usage.get("prompt_tokens_details")
    return read if read is not None or not isinstance(details, dict) else _count(details.get("cached_tokens"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _cost(value: Any) -> float | None:
    """US dollars. Some providers name the price themselves: one that is no number would make all sums none."""
    return float(value) if isinstance(value, (int, float)) and 0 <= value <= MAX_COST else None


def _http_status(value: Any) -> int | None:
    """An HTTP status, which LiteLLM gives as a number or as text."""
    try:
        status = int(value)
    except (OverflowError, TypeError, ValueError):
        return None
    return status if 100 <= status <= 599 else None


def _milliseconds(start: Any, end: Any) -> float | None:
    if isinstance(start, datetime) and isinstance(end, datetime):
        return (end - start).total_seconds() * 1000
    return None


def from_refusal(decision_id: UUID, call_id: str | None, error: Exception) -> Outcome:
    """The outcome of a request that never reached a provider."""
    return Outcome(
        decision_id=decision_id,
        completed_at=now(),
        status="failure",
        call_id=call_id,
        **error_of(error),
    )


def error_of(error: BaseException) -> dict[str, Any]:
    """What an outcome says of an error: `error_class` and `error_status`, never its message, which may quote words."""
    return {
        "error_class": type(error).__name__,
        "error_status": _http_status(getattr(error, "status_code", None)),
    }


def priced(ended: Outcome, models: Mapping[str, Model], baseline: Model, cached: bool = False) -> Outcome:
    """`ended` with what the same tokens would have cost with `baseline`, the top tier's model, and its own cost where
    nobody has found one: LiteLLM, in Google's format, overlooks the prices of `model_info`. `cached`: it came from
    LiteLLM's cache, and is free indeed."""
    if ended.prompt_tokens is None or ended.completion_tokens is None:
        return ended
    tokens = (
        ended.prompt_tokens,
        ended.completion_tokens,
        ended.cache_read_tokens or 0,
        ended.cache_write_tokens or 0,
    )
    cost = ended.cost
    if not cost and not cached and (model := models.get(ended.served_group or "")):
        cost = model.price.of(*tokens) if model.price.input is not None else cost
    return msgspec.structs.replace(
        ended, cost=cost, baseline_model=baseline.name, baseline_cost=baseline.price.of(*tokens)
    )


def mapping(value: Any) -> Mapping[str, Any]:
    """A dict; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str | None:
    """A name, bounded; None for anything else."""
    return value[:MAX_TEXT] if isinstance(value, str) and value else None
