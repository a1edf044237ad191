"""Every metric of `/bsgateway/metrics`: name, kind, labels, and what it says. The source of the reference page.

Units are base units: seconds, bytes, US dollars. Labels come from closed lists: models and tiers of gateway.yaml (else
`other`; `none` where there is none), and words of the code. Never a user, a key, or anything of a prompt.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Family(NamedTuple):
    """One metric. `across` is how gauges of several workers become one number: `live` ones are of workers that run,
    `sum` keeps those of workers that have ended. Counters and histograms are always added up."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    across: Literal["livesum", "livemax", "livemin", "sum"] = "livesum"
    buckets: tuple[float, ...] = ()

    @property
    def base(self) -> str:
        """The name without `_total`, as OpenMetrics has it."""
        return self.name.removesuffix("_total")

    @property
    def is_info(self) -> bool:
        """Whether it is 1 for what is the case, and is left out for what is no longer."""
        return self.name.endswith("_info")


OTHER = "other"
"""A name that is not in gateway.yaml."""
NONE = "none"
"""No tier, or no strategy: the request was not routed by score."""

_DECISION_BUCKETS = (
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5
)  # fmt: skip
_ANSWER_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0)

# Decisions
DECISIONS = Family(
    "bsgateway_decisions_total",
    "counter",
    "Requests that were decided. `model` is the chosen one, also where nothing was rewritten (shadow mode, dry runs).",
    ("tier", "model", "method", "strategy", "reason"),
)
DECISION_SECONDS = Family(
    "bsgateway_decision_duration_seconds",
    "histogram",
    "Time that a decision took inside the gateway.",
    ("strategy",),
    buckets=_DECISION_BUCKETS,
)
EXPLORED = Family(
    "bsgateway_explored_total", "counter", "Decisions whose tier was drawn at random (learning.explore).", ("tier",)
)
FAILED_OPEN = Family(
    "bsgateway_failed_open_total", "counter", "Decisions that something inside the gateway failed in: fallback_tier."
)
OPTED_OUT = Family(
    "bsgateway_opted_out_total",
    "counter",
    "Requests that kept their words or their row out of the log. They count in all other metrics.",
)

# Answers and money
REQUESTS = Family(
    "bsgateway_requests_total",
    "counter",
    "Requests that came to an end, once each. `status` is success or failure, `model` who answered (or should have), "
    "`fell_back` is true where that is another model than the chosen one.",
    ("status", "model", "fell_back"),
)
FAILED_ATTEMPTS = Family(
    "bsgateway_failed_attempts_total",
    "counter",
    "Calls of a provider that failed, those included that another model then answered.",
    ("model",),
)
REQUEST_SECONDS = Family(
    "bsgateway_request_duration_seconds",
    "histogram",
    "Time from the call of LiteLLM's router to the end of the answer. Answered requests only.",
    ("model",),
    buckets=_ANSWER_BUCKETS,
)
FIRST_TOKEN_SECONDS = Family(
    "bsgateway_first_token_seconds",
    "histogram",
    "Time to the first token, or to the whole answer of a request that is not streamed.",
    ("model",),
    buckets=_ANSWER_BUCKETS,
)
TOKENS = Family(
    "bsgateway_tokens_total",
    "counter",
    "Tokens that providers counted, by `kind`: prompt (what was read from a cache included), completion, cache_read, "
    "cache_write.",
    ("kind", "model"),
)
SPENT = Family("bsgateway_spent_usd_total", "counter", "All known cost of answers.", ("model",))
COST = Family(
    "bsgateway_cost_usd_total",
    "counter",
    "Cost of the answers to requests that went by score to the model that was chosen, where the cost at the top tier "
    "is known, too.",
    ("model", "tier"),
)
BASELINE_COST = Family(
    "bsgateway_baseline_cost_usd_total",
    "counter",
    "What the same tokens would have cost at the top tier's first model. Less bsgateway_cost_usd_total, it is what was "
    "saved: sum(increase(bsgateway_baseline_cost_usd_total[30d])) - sum(increase(bsgateway_cost_usd_total[30d])).",
    ("tier",),
)
SAVINGS = Family(
    "bsgateway_savings_usd",
    "gauge",
    "The difference of these two since the start. It falls where a request cost more than it would have at the top "
    "tier.",
    across="sum",
)
EXPECTED_COST = Family(
    "bsgateway_expected_cost_usd_total", "counter", "What the chosen models were expected to cost, at decision time."
)

# Log
LOG_QUEUED = Family("bsgateway_log_queued_rows", "gauge", "Rows of the log in memory only.")
LOG_SPOOLED_ROWS = Family("bsgateway_log_spooled_rows", "gauge", "Rows on disk that the database does not have yet.")
LOG_SPOOLED_BYTES = Family("bsgateway_log_spooled_bytes", "gauge", "What they take, without SQLite's own.")
LOG_OLDEST = Family("bsgateway_log_oldest_seconds", "gauge", "Age of the oldest of them.", across="livemax")
LOG_WRITTEN = Family("bsgateway_log_written_rows_total", "counter", "Rows that the database took.")
LOG_REPLAYED = Family("bsgateway_log_replayed_rows_total", "counter", "Of these, rows that were read back from disk.")
LOG_DEAD = Family(
    "bsgateway_log_dead_lettered_rows_total", "counter", "Rows that their table refused, in routing_dead_letters."
)
LOG_DROPPED = Family("bsgateway_log_dropped_rows_total", "counter", "Rows that are lost, by cause.", ("cause",))
LOG_UNLOGGED = Family(
    "bsgateway_log_unlogged_rows_total", "counter", "Rows that nobody wants: there is no log, or no database is set."
)
LOG_BATCHES = Family("bsgateway_log_batches_total", "counter", "Writes to the database that succeeded.")
LOG_FLUSH = Family("bsgateway_log_flush_seconds_total", "counter", "Time that these took.")
LOG_RETRIES = Family("bsgateway_log_retries_total", "counter", "Writes that failed and are tried again.")
LOG_CIRCUIT = Family(
    "bsgateway_log_circuit_open", "gauge", "1 while a worker waits for the database.", across="livemax"
)
EMBEDDED = Family(
    "bsgateway_embedded_texts_total", "counter", "Texts that got an embedding, or never will.", ("status",)
)
EMBEDDER_CIRCUIT = Family(
    "bsgateway_embedder_circuit_open", "gauge", "1 while the model of the embeddings is waited for.", across="livemax"
)

# Parts of the gateway
MEMO_HITS = Family("bsgateway_memo_hits_total", "counter", "Texts whose token count was known.")
MEMO_MISSES = Family("bsgateway_memo_misses_total", "counter", "Texts that had to be counted.")
MEMO_EVICTIONS = Family("bsgateway_memo_evictions_total", "counter", "Entries that made room for others.")
MEMO_BYTES = Family("bsgateway_memo_bytes", "gauge", "Memory that the memo takes.")
MEMO_CAPACITY = Family("bsgateway_memo_capacity_bytes", "gauge", "Memory that it takes at most.")
SESSIONS = Family("bsgateway_sessions", "gauge", "Conversations that are remembered in memory.")
SESSION_MISSES = Family(
    "bsgateway_session_misses_total",
    "counter",
    "Times that Redis could not be asked for a conversation, or told of it.",
)
COOLING = Family(
    "bsgateway_model_cooling_down", "gauge", "1 while a model is left alone after failures.", ("model",), "livemax"
)
LLM_REQUESTS = Family(
    "bsgateway_llm_requests_total", "counter", "Requests under the strategy llm, by what came of it.", ("status",)
)
LLM_ANSWERS = Family("bsgateway_llm_answers_total", "counter", "Questions that the local LLM answered with a verdict.")
LLM_ANSWER_SECONDS = Family("bsgateway_llm_answer_seconds_total", "counter", "Time that these took.")
LLM_CIRCUIT = Family(
    "bsgateway_llm_circuit_open",
    "gauge",
    "1 while the local LLM is left alone until it answers a probe.",
    (),
    "livemax",
)
LLM_READY = Family("bsgateway_llm_ready", "gauge", "1 once the local LLM has answered every worker.", (), "livemin")
LLM_IN_FLIGHT = Family("bsgateway_llm_in_flight", "gauge", "Questions that are with the local LLM.")
LLM_WAITING = Family("bsgateway_llm_waiting", "gauge", "Questions that wait for their turn.")
LLM_MEMO_ENTRIES = Family("bsgateway_llm_memo_entries", "gauge", "Verdicts that are remembered.")

# Learning
DUAL_RUNS_DRAWN = Family("bsgateway_dual_runs_drawn_total", "counter", "Requests drawn to be answered twice.")
DUAL_RUNS_COMPARED = Family("bsgateway_dual_runs_compared_total", "counter", "Pairs of answers that were compared.")
DUAL_RUNS_DROPPED = Family(
    "bsgateway_dual_runs_dropped_total", "counter", "Dual runs that came to nothing, by cause.", ("cause",)
)
DUAL_RUNS_QUEUED = Family("bsgateway_dual_runs_queued", "gauge", "Dual runs that wait.")
DUAL_RUNS_SPENT = Family(
    "bsgateway_dual_runs_spent_today_usd", "gauge", "Cost of second answers and of judging them, today (UTC)."
)
MODEL_TAKEN_UP = Family("bsgateway_model_file_taken_up_total", "counter", "Learned models that a worker took up.")
MODEL_REFUSED = Family("bsgateway_model_file_refused_total", "counter", "Model files that could not be used.")
MODEL_INFO = Family(
    "bsgateway_model_info", "gauge", "1 for the learned model that scores (`kind`: prior, trained).",
    ("id", "kind"), "livemax",
)  # fmt: skip

# The gateway itself
RELOADS = Family("bsgateway_reloads_total", "counter", "Changed configurations that a worker took up.")
RELOADS_REFUSED = Family("bsgateway_reloads_refused_total", "counter", "Changed configurations that were refused.")
HOOK_ERRORS = Family(
    "bsgateway_hook_errors_total", "counter", "Bugs inside the hook; each is logged, and the request goes on."
)
ACCESS_ERRORS = Family(
    "bsgateway_access_errors_total", "counter", "Checks of access that could not be made and counted as refusals."
)
EXPECTATION_FAILURES = Family(
    "bsgateway_expectation_failures_total",
    "counter",
    "Times that the length of answers could not be read from the log.",
)
TELEMETRY_ERRORS = Family(
    "bsgateway_telemetry_errors_total",
    "counter",
    "Bugs on the way to these metrics: what they were about is not counted.",
)
BUILD_INFO = Family(
    "bsgateway_build_info", "gauge", "1; `core` is native, or python where the compiled module is missing.",
    ("version", "core"), "livemax",
)  # fmt: skip

FAMILIES: tuple[Family, ...] = tuple(found for found in globals().values() if isinstance(found, Family))
"""All of them, in order."""
