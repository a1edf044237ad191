"""Valid records for tests, whose fields keyword arguments replace; and waiting for something to happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from bsgateway.decision import (
    Caller,
    Comparison,
    Contribution,
    Decision,
    LlmStatus,
    Method,
    Outcome,
    Reason,
    Skipped,
    Strategy,
    Texts,
    new_id,
    now,
)


def make_decision(**fields: Any) -> Decision:
    """A decision in which every field has a value of its own."""
    return Decision(
        **{
            "decision_id": new_id(),
            "created_at": now(),
            "call_type": "acompletion",
            "method": Method.PATTERN,
            "reason": Reason.PATTERN_SCORE,
            "original_model": "claude-sonnet",
            "resolved_model": "local/small",
            "tier": "simple",
            "complexity_score": 17,
            "strategy": Strategy.STATIC,
            "confidence": 0.4375,
            "raw_score": 21.3,
            "bias": -4,
            "contributions": (
                Contribution("token_count", 10.0, 0.25, 2.5),
                Contribution("code_complexity", 94.0, 0.2, 18.8),
            ),
            "needs": ("tools", "vision"),
            "features": (0.0, 0.5, -1.25, 3.0),  # values that a real holds exactly
            "feature_version": 3,
            "ask_tokens": 12,
            "system_tokens": 340,
            "context_tokens": 5_600,
            "tool_tokens": 780,
            "tokens_exact": False,
            "max_output_tokens": 2**40,
            "stream": True,
            "caller": Caller(
                "call",
                "session",
                "hash",
                "key alias",
                "user",
                "team",
                "end user",
                "client/1.0 (\u00e4\u4e16\U0001f600)",
            ),
            "decision_us": 41.5,
            "token_encoding": "o200k_base",
            "conversation_id": "0123456789abcdef0123456789abcdef",
            "previous_model": "large",
            "skipped": (Skipped("local/tiny", Reason.CONTEXT_WINDOW), Skipped("local/b\u00e4r", Reason.NEEDS)),
            "expected_cost": 0.00725,
            "changes": ("thinking", "cache_control"),
            "ignored": ("x-bsgateway-tier",),
            "scorer_id": "0123456789ab",
            "propensity": 0.975,
            "explored": True,
            "llm_status": LlmStatus.ASKED,
            "llm_tier": "simple",
            "llm_confidence": 0.8125,
            "llm_model": "qwen3:0.6b",
            "llm_prompt": "1-0123abcd",
            **fields,
        }
    )


def make_texts(decision: Decision, **fields: Any) -> Texts:
    """The words of a decision."""
    return Texts(
        **{
            "decision_id": decision.decision_id,
            "created_at": decision.created_at,
            "ask": "What is this?",
            "system": "You help.",
            **fields,
        }
    )


def make_outcome(decision: Decision, **fields: Any) -> Outcome:
    """A success of a decision, in which every field but those of errors has a value of its own."""
    return Outcome(
        **{
            "decision_id": decision.decision_id,
            "completed_at": decision.created_at + timedelta(seconds=2),
            "status": "success",
            "call_id": decision.caller.call_id,
            "served_group": decision.resolved_model,
            "served_model": "small-2026",
            "provider": "openai",
            "prompt_tokens": 5_610,
            "completion_tokens": 96,
            "cache_read_tokens": 4_000,
            "cache_write_tokens": 160,
            "cost": 0.0125,
            "baseline_model": "large",
            "baseline_cost": 0.25,
            "latency_ms": 812.5,
            "first_token_ms": 207.25,
            "finish_reason": "stop",
            **fields,
        }
    )


def make_failure(decision: Decision, **fields: Any) -> Outcome:
    """A failure of a decision, one second after it."""
    return Outcome(
        **{
            "decision_id": decision.decision_id,
            "completed_at": decision.created_at + timedelta(seconds=1),
            "status": "failure",
            "call_id": decision.caller.call_id,
            "served_group": decision.resolved_model,
            "error_class": "RateLimitError",
            "error_status": 429,
            **fields,
        }
    )


def make_comparison(decision: Decision, **fields: Any) -> Comparison:
    """What a dual run of a decision found, in which every field has a value of its own."""
    return Comparison(
        **{
            "decision_id": decision.decision_id,
            "created_at": decision.created_at + timedelta(seconds=3),
            "weak_tier": "simple",
            "strong_tier": "complex",
            "weak_model": "local/small",
            "strong_model": "large",
            "weak_score": 0.25,
            "strong_score": 0.75,
            "judge": "llm",
            "judge_model": "referee",
            "share": 0.0125,
            "cost": 0.375,
            **fields,
        }
    )


def id_at(moment: datetime, tail: int = 0) -> UUID:
    """The UUIDv7 of a moment whose random bits are `tail`."""
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | tail)


async def until(condition: Callable[[], Any], timeout: float = 30.0) -> None:
    """Wait until `condition` holds. The time-out is a bound against hangs, not a measurement."""

    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)

    await asyncio.wait_for(poll(), timeout)
