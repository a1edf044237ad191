"""Rows of the log, in few words, as `replay` and `calibrate` see them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from bsgateway.classifiers.llm.prompt import Question
from bsgateway.config import Config
from bsgateway.core import core
from bsgateway.past import Past
from builders import id_at

START = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
_count = iter(range(1, 10**9))


def features(**values: float) -> tuple[float, ...]:
    """A feature vector, 0 where nothing is said."""
    assert values.keys() <= set(core.FEATURE_NAMES)
    return tuple(float(values.get(name, 0.0)) for name in core.FEATURE_NAMES)


LLM = {"strategy": "llm", "llm": {"model": "ollama_chat/tiny"}}
"""Settings of the classifier, for `judged`."""


def judged(config: Config, score: float, seconds: float = 0.0, **fields: Any) -> Past:
    """A request that the local LLM of a configuration with the classifier `LLM` has scored."""
    verdict = {"llm_status": "asked", "llm_model": "tiny", "llm_prompt": Question(config.routing.tiers).version}
    return past(score, seconds, **{"strategy": "llm", **verdict, **fields})


def past(score: float = 20.0, seconds: float = 0.0, **fields: Any) -> Past:
    """A request that was routed by score to the tier of the small configuration that its score belongs to, answered."""
    at = START + timedelta(seconds=seconds)
    place = 0 if score < 30.5 else 1 if score < 65.5 else 2
    tier, model = (("simple", "small"), ("medium", "middle"), ("complex", "large"))[place]
    return Past(
        **{
            "decision_id": id_at(at, next(_count)),
            "created_at": at,
            "call_type": "acompletion",
            "reason": "score",
            "original_model": "auto",
            "resolved_model": model,
            "tier": tier,
            "strategy": "static",
            "raw_score": score,
            "needs": (),
            "features": features(turns=1),
            "feature_version": core.FEATURE_VERSION,
            "context_tokens": 1_000,
            "applied": True,
            "outcome_status": "success",
            "outcome_served_group": model,
            "outcome_prompt_tokens": 1_000,
            "outcome_completion_tokens": 250,
            **fields,
        }
    )
