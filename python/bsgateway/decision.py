"""`Decision`: the one record of a routed request, and `Outcome`: what the provider then did.

A decision is the log row, the source of the response headers, the output of `explain` and the row of the dashboard;
there is no second shape of it. Field names are the column names of `routing_logs` and `routing_outcomes`.
"""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import Any
from uuid import UUID

import fastuuid
import msgspec
from asyncpg.pgproto.pgproto import UUID as PgUUID

# The records are hidden from Python's cycle collector (gc=False): they can be in no cycle, and many thousands of them,
# read back from the spool, would have it walk through all of LiteLLM again and again, while every request waits.


class _Documented(str, Enum):
    """A word of a closed list; `doc` says what it means, on the reference page too."""

    doc: str

    def __new__(cls, value: str, doc: str) -> _Documented:
        member = str.__new__(cls, value)
        member._value_, member.doc = value, doc
        return member


class Method(_Documented):
    """How the requested name was resolved."""

    PASSTHROUGH = "passthrough", "the name is served as asked"
    ALIAS = "alias", "the name stands for one other model"
    PATTERN = "pattern", "a pattern caught the name: routed by score"
    AUTO = "auto", "the client asked for routing by score, or nothing knew the name"


class Reason(_Documented):
    """Why this model: the one rule that settled it. A closed list, visible in header, log and `explain`."""

    MODEL_LIST = "model_list", "passthrough: the name stands in model_list"
    WILDCARD = "model_list_wildcard", "passthrough: a wildcard name of model_list covers it"
    HOST_MODEL = "host_model", "passthrough: LiteLLM knows the name from elsewhere (its database, its own aliases)"
    UNKNOWN_LEFT = "unknown_model_left", "passthrough: nothing knows the name, and unknown_models is `leave`"
    ALIAS_MODEL = "alias", "an alias named the model"
    SCORE = "score", "the tier of the score, asked for by an alias to auto_route"
    PATTERN_SCORE = "pattern_score", "the tier of the score, after a pattern caught the name"
    UNKNOWN_SCORE = "unknown_model_score", "the tier of the score, as nothing knows the name"
    CHEAPEST = "cheapest_in_tier", "as `score`, and another model of the tier would have been dearer"
    REQUESTED_TIER = "requested_tier", "the client asked for this tier, and may"
    TIER_LIMIT = (
        "tier_limit",
        "the tier of the score lies outside what client, key, team or alias allow: the nearest one",
    )
    SIDE_REQUEST = (
        "side_request",
        "a title, summary or the like that an agent asks for beside its work: the lowest tier",
    )
    TOOL_RESULT = "tool_result", "the model that called a tool gets its result: no switch in the middle of a step"
    SESSION_KEPT = (
        "session_kept",
        "the conversation keeps its tier: the score says otherwise, but not enough for a switch",
    )
    SESSION_UP = "session_up", "the conversation goes up a tier: its newest ask is harder by more than the margin"
    SESSION_DOWN = "session_down", "the conversation goes down a tier: that saves more than its prompt cache is worth"
    NEEDS = "needs", "a model that was in turn cannot do what the request needs: the next one that can"
    CONTEXT_WINDOW = "context_window", "a model that was in turn cannot hold the request: the next one that can"
    PROVIDER_STATE = "provider_state", "only the provider that keeps this conversation's state can go on with it"
    NOT_ALLOWED = "not_allowed", "the key, its team or its user may not use a model that was in turn: the next one"
    OVER_BUDGET = "over_budget", "a budget or a rate limit for a model that was in turn is used up: the next one"
    COOLING_DOWN = (
        "cooling_down",
        "a model that was in turn has just failed and is left alone for a while: the next one",
    )
    EXPLORED = (
        "explored",
        "drawn at random, so that the log can tell what other tiers do (learning.explore)",
    )
    LLM_TIMEOUT = "llm_timeout", "the tier of the fallback's score: the local LLM gave no verdict in time"
    LLM_UNREACHABLE = (
        "llm_unreachable",
        "the tier of the fallback's score: the local LLM's server is not there",
    )
    LLM_DISCONNECTED = "llm_disconnected", "the tier of the fallback's score: the local LLM's server hung up"
    LLM_NO_MODEL = "llm_no_model", "the tier of the fallback's score: the local LLM's server lacks the model"
    LLM_ERROR = "llm_error", "the tier of the fallback's score: the local LLM's server answered with an error"
    LLM_BAD_ANSWER = "llm_bad_answer", "the tier of the fallback's score: the local LLM's answer names no tier"
    LLM_BUSY = "llm_busy", "the tier of the fallback's score: the local LLM has as many requests as it may have"
    LLM_OPEN = (
        "llm_open",
        "the tier of the fallback's score: the local LLM failed several times in a row and is not asked until it "
        "answers a probe",
    )
    LLM_COLD = "llm_cold", "the tier of the fallback's score: the local LLM is being loaded since the start"
    LLM_FAILED = "llm_failed", "the tier of the fallback's score: something in the gateway failed on the way to the LLM"
    NO_CANDIDATE = "no_candidate", "no model of any tier can serve the request: it goes on unchanged"
    FAILED_OPEN = "failed_open", "something inside the gateway failed: fallback_tier"


class Strategy(str, Enum):
    """What made the score."""

    STATIC = "static"
    ML = "ml"
    LLM = "llm"


class LlmStatus(_Documented):
    """What came of the strategy llm for a request. All that is neither a verdict nor a choice not to ask is a reason,
    too (`llm_` before it): the fallback has made the score."""

    ASKED = "asked", "the local LLM gave its verdict"
    KNOWN = "known", "its verdict on the same ask is remembered"
    CERTAIN = "certain", "not asked: the fallback's score is far from every border (llm.when: uncertain)"
    NOT_NEEDED = "not_needed", "not asked: something else than the score settles the tier"
    TIMEOUT = "timeout", "no verdict in time"
    UNREACHABLE = "unreachable", "no server takes connections there"
    DISCONNECTED = "disconnected", "the server hung up before its answer was complete"
    NO_MODEL = "no_model", "the server lacks the model: `ollama pull` it"
    ERROR = "error", "the server answered with an error"
    BAD_ANSWER = "bad_answer", "the answer names no tier, or is no answer at all"
    BUSY = "busy", "llm.max_concurrent requests are with it, and llm.max_waiting wait"
    OPEN = "open", "not asked: it failed several times in a row, and has not answered a probe since"
    COLD = "cold", "not asked: it has not answered since the start; the model may be being loaded"
    FAILED = "failed", "something in the gateway failed on the way; counted and logged"

    @property
    def reason(self) -> Reason | None:
        """Why the fallback's score counts; None where it does as it should, or the verdict does."""
        return _LLM_REASONS.get(self._value_)


VERDICTS = frozenset((LlmStatus.ASKED.value, LlmStatus.KNOWN.value))
"""The statuses of requests that the local LLM's verdict has scored."""

_LLM_REASONS: dict[str, Reason] = {
    reason.value.removeprefix("llm_"): reason for reason in Reason if reason.value.startswith("llm_")
}


class Contribution(msgspec.Struct, frozen=True, gc=False):
    """A signal's share of the score: `value` 0-100, `weight` 0-1, `points` that add up to the raw score."""

    signal: str
    value: float
    weight: float
    points: float


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """A candidate that was passed over, and why."""

    model: str
    reason: Reason


MASTER_KEY = "litellm_proxy_master_key"
"""What LiteLLM has in place of the hash of its master key."""


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who asked, as LiteLLM authenticated it. `key_hash` is LiteLLM's hash of the key; the key itself is nowhere."""

    call_id: str | None = None
    session_id: str | None = None
    key_hash: str | None = None
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    end_user: str | None = None
    user_agent: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One decision. Score fields are None unless the request was routed by score.

    `complexity_score` is 0-100 after `bias`; `raw_score` is the classifier's own, before bias and rounding.
    `confidence` is 0-1 (for the static strategy: distance to the nearest tier boundary, not a calibrated probability).
    Tokens are of `token_encoding`, tiktoken's name; `tokens_exact` is False where a text was estimated. `decision_us`
    is the time all of it took inside the gateway, in microseconds.

    `applied` is False where the request went on as it came (shadow mode, the other share of a canary, a dry run, no
    candidate): `resolved_model` is then what would have served it. `conversation_id` is a hash that the requests of one
    conversation share, `previous_model` what served it last. `skipped` are the candidates that were passed over.
    `expected_cost` is in US dollars. `changes` names what was changed in the body for the model's sake, `ignored` what
    the client asked of the routing without being allowed to.

    `scorer_id` names the model file that made the score. `propensity` is the probability with which the tier was to be
    chosen, while tiers are explored at random; `explored` says that chance decided.

    `llm_status` is what came of the strategy llm. `llm_tier` and `llm_confidence` (0-1) are the verdict, `llm_model`
    who gave it, and `llm_prompt` the version of the question, which depends on the tiers and their descriptions.
    """

    decision_id: UUID
    created_at: datetime
    call_type: str
    method: Method
    reason: Reason
    original_model: str
    resolved_model: str
    tier: str | None = None
    complexity_score: int | None = None
    strategy: Strategy | None = None
    confidence: float | None = None
    raw_score: float | None = None
    bias: int = 0
    contributions: tuple[Contribution, ...] = ()
    needs: tuple[str, ...] = ()
    features: tuple[float, ...] | None = None
    feature_version: int | None = None
    ask_tokens: int | None = None
    system_tokens: int | None = None
    context_tokens: int | None = None
    tool_tokens: int | None = None
    tokens_exact: bool | None = None
    max_output_tokens: int | None = None
    stream: bool = False
    caller: Caller = Caller()
    decision_us: float = 0.0
    token_encoding: str | None = None
    applied: bool = True
    conversation_id: str | None = None
    previous_model: str | None = None
    skipped: tuple[Skipped, ...] = ()
    expected_cost: float | None = None
    changes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    scorer_id: str | None = None
    propensity: float | None = None
    explored: bool = False
    llm_status: LlmStatus | None = None
    llm_tier: str | None = None
    llm_confidence: float | None = None
    llm_model: str | None = None
    llm_prompt: str | None = None


class Texts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The words of a request, kept only when `collector.text` says so: a row of `routing_texts`.

    `redacted` tells whether keys and personal data were replaced by placeholders; a request's own words until then.
    """

    decision_id: UUID
    created_at: datetime
    ask: str
    system: str
    redacted: bool = False

    def __repr__(self) -> str:
        # Without the words: a repr ends up in logs.
        return f"Texts(decision_id={self.decision_id!r}, ...)"


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the provider did. `status` is success or failure; a later success replaces a failure of the same decision,
    as LiteLLM reports a failed attempt before the fallback that then succeeds. Costs in US dollars, None when unpriced.

    `baseline_model` is the top tier's model and `baseline_cost` what the same tokens would have cost there.
    """

    decision_id: UUID
    completed_at: datetime
    status: str
    call_id: str | None = None
    served_group: str | None = None
    served_model: str | None = None
    provider: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost: float | None = None
    baseline_model: str | None = None
    baseline_cost: float | None = None
    latency_ms: float | None = None
    first_token_ms: float | None = None
    error_class: str | None = None
    error_status: int | None = None
    finish_reason: str | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What came of sending one request to two tiers: a row of `routing_comparisons`, one for each decision at most.

    Scores are 0-1, of the answer of the cheaper and of the dearer model, as `judge` (match, embedding or llm) gave
    them; `share` is the probability with which the request was drawn; `cost` that of the second answer and the judge,
    in US dollars.
    """

    decision_id: UUID
    created_at: datetime
    weak_tier: str
    strong_tier: str
    weak_model: str
    strong_model: str
    weak_score: float
    strong_score: float
    judge: str
    judge_model: str | None = None
    share: float = 1.0
    cost: float | None = None


def new_id() -> UUID:
    """A UUIDv7: its time order is the log's order, and replaying a row after a fault finds the row it already wrote.

    Of the class that asyncpg gives back for a uuid column: a `uuid.UUID`, made and printed in C.
    """
    return PgUUID(fastuuid.uuid7().bytes)


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(timezone.utc)


def stamp(decision: Decision) -> dict[str, Any]:
    """The part of a decision that goes into LiteLLM's own metadata as `routing_decision`."""
    return {
        "decision_id": str(decision.decision_id),
        "method": decision.method._value_,  # not .value: a descriptor in Python, at every request
        "original_model": decision.original_model,
        "resolved_model": decision.resolved_model,
        "complexity_score": decision.complexity_score,
        "tier": decision.tier,
        "strategy": decision.strategy._value_ if decision.strategy else None,
        "reason": decision.reason._value_,
        "would_use": None if decision.applied or decision.tier is None else decision.resolved_model,
        "changes": ", ".join(decision.changes) or None,
        "ignored": ", ".join(decision.ignored) or None,
        "llm": decision.llm_status._value_ if decision.llm_status else None,
    }
