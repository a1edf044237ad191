"""`gateway.yaml` -> frozen structs.

One file: LiteLLM's own sections (`model_list`, `litellm_settings`, `router_settings`, `general_settings`,
`environment_variables`) stay LiteLLM's and pass through untouched; `routing` is ours and is what this module describes.
The descriptions here are the source of the JSON Schema for editors and of the reference page. Mistakes are found, all
at once and with their lines, by `check.py`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from .core import core

AUTO_ROUTE = "auto_route"
"""The alias target that means: route by score."""
ENV_PREFIX = "os.environ/"
STATE_VARIABLE = "BSGATEWAY_STATE"
"""Names the state directory, of commands and of the callback."""
DEFAULT_STATE = ".bsgateway"

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Score = Annotated[int, Meta(ge=0, le=100)]
Bias = Annotated[int, Meta(ge=-100, le=100)]
Keyword = Annotated[str, Meta(min_length=1, max_length=129)]
Weight = Annotated[float, Meta(ge=0, le=1_000_000_000)]
Tokens = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Days = Annotated[int, Meta(ge=1, le=36_500)]
Text = Annotated[str, Meta(min_length=1)]
Sentence = Annotated[str, Meta(min_length=1, max_length=500)]
SHARE = r"^(100|[0-9]{1,2}(\.[0-9]+)?)%$"
"""How a share of a hundred is written."""
DURATION = r"^[1-9][0-9]*(s|m|h)$"
"""How a time is written that is handed on to Ollama."""


class Tier(Struct, frozen=True, forbid_unknown_fields=True):
    """A band of scores and the models that serve it."""

    score_range: Annotated[
        tuple[Score, Score],
        Meta(description="First and last score of the tier, inclusive. All tiers together cover 0-100 exactly once."),
    ]
    model: Annotated[Name | None, Meta(description="The model_list name that serves the tier.")] = None
    models: Annotated[
        tuple[Name, ...] | None,
        Meta(description="Several names instead of one: the cheapest that fits is taken, ties go to the first."),
    ] = None

    description: Annotated[
        Sentence | None,
        Meta(
            description="What belongs here, for the strategy llm: a sentence. Unset: what is usual for its place among "
            "the tiers.",
        ),
    ] = None

    @property
    def candidates(self) -> tuple[str, ...]:
        """The model_list names of this tier, in the operator's order."""
        return self.models or ((self.model,) if self.model else ())


class AutoAlias(Struct, frozen=True, forbid_unknown_fields=True):
    """An alias that routes by score, leaning cheap or dear, or within limits."""

    route: Annotated[Literal["auto_route"], Meta(description="Always auto_route.")]
    bias: Annotated[Bias, Meta(description="Added to the score: negative leans to cheaper tiers.")] = 0
    min_tier: Annotated[Name | None, Meta(description="The lowest tier it may choose.")] = None
    max_tier: Annotated[Name | None, Meta(description="The highest tier it may choose.")] = None


class Session(Struct, frozen=True, forbid_unknown_fields=True):
    """How a conversation keeps its tier from one request to the next."""

    enabled: Annotated[bool, Meta(description="false: every request is decided by itself.")] = True
    ttl_seconds: Annotated[
        int, Meta(ge=1, le=2_592_000, description="How long a conversation is remembered after its last request.")
    ] = 3600
    up_margin: Annotated[
        float,
        Meta(
            ge=0,
            le=100,
            description="Points by which the score must pass the border of the tier, or the score of the ask before, "
            "for the conversation to go up to the score's tier, at once.",
        ),
    ] = 5.0
    horizon_turns: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="Requests over which a lower tier must save more than the prompt cache is worth that is lost "
            "by going down; each step of a tool loop is one. 0: a conversation never goes down.",
        ),
    ] = 20
    cache_seconds: Annotated[
        int, Meta(ge=0, le=86_400, description="How long providers keep a prompt cache after its last use.")
    ] = 300


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """How much each signal counts. Only the proportions matter."""

    token_count: Annotated[Weight, Meta(description="Length of the user's newest ask.")] = 0.20
    system_prompt: Annotated[Weight, Meta(description="Length of the system prompt.")] = 0.05
    keyword_patterns: Annotated[Weight, Meta(description="Keywords, lists and questions of the ask.")] = 0.40
    conversation_length: Annotated[Weight, Meta(description="Number of real asks so far.")] = 0.10
    code_complexity: Annotated[Weight, Meta(description="Code and stack traces in the ask.")] = 0.15
    tool_usage: Annotated[Weight, Meta(description="Tools declared, and steps taken since the ask.")] = 0.10


class Static(Struct, frozen=True, forbid_unknown_fields=True):
    """The static score."""

    weights: Annotated[Weights, Meta(description="Weight of each signal.")] = Weights()
    token_thresholds: Annotated[
        tuple[Tokens, Tokens, Tokens, Tokens, Tokens],
        Meta(description="Tokens of the ask where the token_count signal reaches 20, 40, 60, 80 and 100."),
    ] = (20, 100, 400, 1500, 6000)
    complex_keywords: Annotated[
        tuple[Keyword, ...] | None,
        Meta(description="Words that speak for a hard request; replaces the built-in list. `word*` matches a prefix."),
    ] = None
    simple_keywords: Annotated[
        tuple[Keyword, ...] | None,
        Meta(description="Words that speak for an easy request; replaces the built-in list."),
    ] = None


class Analysis(Struct, frozen=True, forbid_unknown_fields=True):
    """How requests are measured, whatever the strategy."""

    encoding: Annotated[
        Literal["o200k_base", "cl100k_base"],
        Meta(description="Whose tokens are counted, by tiktoken's name. Other providers' counts differ by 10-20 %."),
    ] = "o200k_base"
    exact_token_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000_000,
            description="Bytes of new text per request whose tokens are counted exactly; the rest is estimated.",
        ),
    ] = 32_768
    memo_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000_000_000,
            description="Memory per worker for what is remembered of texts (their hashes and counts, no words), so "
            "that a conversation costs its new part only. 0: nothing is remembered.",
        ),
    ] = 16_777_216


class Ml(Struct, frozen=True, forbid_unknown_fields=True):
    """The learned score."""

    model: Annotated[
        Text | None,
        Meta(
            description="The model file; every worker follows it when it is replaced. While there is none, the shipped "
            "prior scores. Unset: `model.safetensors` in the state directory."
        ),
    ] = None


class Llm(Struct, frozen=True, forbid_unknown_fields=True):
    """One word from a local model."""

    model: Annotated[
        Name | None,
        Meta(
            description="The model's name in Ollama, such as qwen3:0.6b, with or without LiteLLM's prefix "
            "`ollama_chat/`; or a name of model_list that is served by Ollama."
        ),
    ] = None
    api_base: Annotated[
        Text | None,
        Meta(description="URL of the Ollama server. Unset: that of the name in model_list, or Ollama's own default."),
    ] = None
    timeout: Annotated[
        float,
        Meta(
            gt=0,
            le=60,
            description="Seconds from the request's arrival after which the fallback decides. 0.5 is enough for a "
            "small model that is loaded.",
        ),
    ] = 3.0
    when: Annotated[
        Literal["always", "uncertain"],
        Meta(
            description="uncertain: the model is asked only where the fallback's score lies within `margin` of a "
            "border between tiers, or its confidence is below `min_confidence`."
        ),
    ] = "always"
    margin: Annotated[float, Meta(ge=0, le=100, description="Points from a border.")] = 5.0
    min_confidence: Annotated[float, Meta(ge=0, le=1, description="0-1, as in the log.")] = 0.6
    fallback: Annotated[
        Literal["static", "ml"], Meta(description="The strategy that scores while there is no verdict.")
    ] = "static"
    max_concurrent: Annotated[
        int, Meta(ge=1, le=256, description="Requests with the model at once, per worker; OLLAMA_NUM_PARALLEL at most.")
    ] = 1
    max_waiting: Annotated[
        int, Meta(ge=0, le=10_000, description="Requests that may wait for their turn, per worker, within `timeout`.")
    ] = 8
    open_after: Annotated[
        int, Meta(ge=1, le=1_000, description="Failures in a row after which the model is left alone until it answers.")
    ] = 3
    keep_alive: Annotated[
        str,
        Meta(
            pattern=DURATION,
            description="How long Ollama keeps the model loaded after the last question; while the gateway runs it is "
            "kept loaded.",
        ),
    ] = "30m"
    ask_chars: Annotated[
        int, Meta(ge=200, le=8_192, description="Characters of an ask that are shown, of its beginning and its end.")
    ] = 2_000
    memo_entries: Annotated[int, Meta(ge=0, le=10_000_000, description="Verdicts remembered per worker. 0: none.")] = (
        10_000
    )
    memo_seconds: Annotated[float, Meta(gt=0, le=2_592_000, description="How long a verdict is remembered.")] = 3_600.0

    @property
    def tail_chars(self) -> int:
        """How much of `ask_chars` is for the end of a long ask (`prompt.cut`); the beginning gets the rest."""
        return self.ask_chars // 3


class Judge(Struct, frozen=True, forbid_unknown_fields=True):
    """Who compares the answers of a dual run."""

    method: Annotated[
        Literal["match", "embedding", "llm"],
        Meta(
            description="match: the same words but for case, space and punctuation, or the same final answer. "
            "embedding: cosine similarity. llm: a model is asked which answer is better, once in each order."
        ),
    ] = "match"
    model: Annotated[
        Name | None, Meta(description="The model_list name that judges or embeds; needed by embedding and llm.")
    ] = None
    similarity: Annotated[
        float, Meta(gt=0, le=1, description="Cosine from which on two embedded answers count as equally good.")
    ] = 0.9


class Learning(Struct, frozen=True, forbid_unknown_fields=True):
    """What the gateway does to learn from its own traffic. All of it is off unless asked for."""

    explore: Annotated[
        str,
        Meta(
            pattern=SHARE,
            description="Share of the requests routed by score alone that go to a tier drawn at random, with the "
            "probability in the log, so that other thresholds and models can be judged from it.",
        ),
    ] = "0%"
    dual_run: Annotated[
        str,
        Meta(
            pattern=SHARE,
            description="Share of the requests routed by score that are answered a second time by another tier, after "
            "the client has its answer, and compared. Never requests with tools.",
        ),
    ] = "0%"
    dual_run_usd_per_day: Annotated[
        float, Meta(ge=0, le=1_000_000, description="What dual runs and their judge may cost a day (UTC), per worker.")
    ] = 1.0
    judge: Annotated[Judge, Meta(description="Who compares the two answers.")] = Judge()


class Classifier(Struct, frozen=True, forbid_unknown_fields=True):
    """What makes the score."""

    strategy: Annotated[
        Literal["static", "ml", "llm"],
        Meta(
            description="static: weighted signals. ml: a learned model, the one that `bsgateway train` has promoted, "
            "or, until there is one, the prior that comes with the package. llm: one word from a local model, and "
            "static or ml on any trouble."
        ),
    ] = "static"
    static: Annotated[Static, Meta(description="Settings of the static strategy.")] = Static()
    ml: Annotated[Ml, Meta(description="Settings of the ml strategy.")] = Ml()
    llm: Annotated[Llm, Meta(description="Settings of the llm strategy.")] = Llm()

    @property
    def scorer(self) -> Literal["static", "ml"]:
        """What makes the score without asking anybody: for llm its fallback."""
        return self.llm.fallback if self.strategy == "llm" else self.strategy


class Spool(Struct, frozen=True, forbid_unknown_fields=True):
    """Rows on the local disk, from the moment they are recorded until the database has them."""

    enabled: Annotated[
        bool, Meta(description="false: rows wait in memory only, and those of a process that dies are lost.")
    ] = True
    directory: Annotated[
        Text | None,
        Meta(
            description="Where the spool lies: on a local disk, writable; gateways that log to the same database may "
            "share it. Unset: `spool` in the state directory.",
        ),
    ] = None
    max_rows: Annotated[int, Meta(ge=1, le=1_000_000_000, description="Rows each worker keeps on disk at most.")] = (
        5_000_000
    )
    max_bytes: Annotated[
        int, Meta(ge=1_000_000, le=1_000_000_000_000, description="Bytes of rows each worker keeps on disk at most.")
    ] = 2_147_483_648


class Embedding(Struct, frozen=True, forbid_unknown_fields=True):
    """Embeddings of the asks that are kept, computed after the fact by an Ollama server."""

    model: Annotated[Name, Meta(description="The embedding model's name in Ollama, such as nomic-embed-text.")]
    api_base: Annotated[Text | None, Meta(description="URL of the Ollama server. Unset: Ollama's own default.")] = None
    batch_rows: Annotated[int, Meta(ge=1, le=1_000, description="Texts per call at most.")] = 32
    timeout_seconds: Annotated[float, Meta(gt=0, le=600, description="Longest wait for one call.")] = 60.0


class Collector(Struct, frozen=True, forbid_unknown_fields=True):
    """The log of decisions and outcomes in PostgreSQL."""

    enabled: Annotated[bool, Meta(description="false: nothing is logged and no database is needed.")] = True
    database_url: Annotated[
        str | None,
        Meta(description="postgresql://user:password@host:port/database. Unset: `serve` starts an embedded one."),
    ] = "os.environ/COLLECTOR_DATABASE_URL"
    text: Annotated[
        Literal["full", "redacted", "none"],
        Meta(
            description="What is kept in routing_texts of asks and system prompts. redacted: their words, with keys, "
            "tokens, addresses and numbers of people replaced by placeholders. full: as they are. none: nothing.",
        ),
    ] = "redacted"
    text_chars: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Characters kept of an ask and of a system prompt at most.")
    ] = 32_768
    opt_out: Annotated[
        Literal["nothing", "text", "row"],
        Meta(
            description="What a request can keep out of the log with the header `x-bsgateway-no-log: true` or "
            "`bsgateway_no_log: true` in its metadata: nothing, its words, or the whole row.",
        ),
    ] = "nothing"
    queue_rows: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="Rows that wait in memory at most, while the spool cannot take them; over it rows are dropped.",
        ),
    ] = 100_000
    queue_bytes: Annotated[
        int, Meta(ge=1_000_000, le=1_000_000_000_000, description="Memory that these rows take at most, estimated.")
    ] = 402_653_184
    spool: Annotated[Spool, Meta(description="Rows on disk until the database has them.")] = Spool()
    batch_rows: Annotated[int, Meta(ge=1, le=50_000, description="Rows per COPY at most.")] = 1_000
    flush_seconds: Annotated[
        float, Meta(gt=0, le=60, description="Age at which a batch is written even if it is not full.")
    ] = 1.0
    partition: Annotated[
        Literal["month", "week", "day"],
        Meta(description="The time one partition of the tables holds, from now on. Whole partitions are dropped."),
    ] = "month"
    retention_days: Annotated[
        Days | None,
        Meta(description="Age at which rows are dropped, by whole partitions. Unset: never."),
    ] = None
    text_retention_days: Annotated[
        Days | None, Meta(description="Age at which routing_texts are erased. Unset: retention_days.")
    ] = 30
    embedding: Annotated[
        Embedding | None, Meta(description="Embeddings of the asks that are kept. Unset: none are computed.")
    ] = None


class Dashboard(Struct, frozen=True, forbid_unknown_fields=True):
    """The pages under /bsgateway/."""

    enabled: Annotated[
        bool,
        Meta(description="Serve the pages, and what they ask for. Everything but the pages themselves needs a key."),
    ] = True


class Telemetry(Struct, frozen=True, forbid_unknown_fields=True):
    """What the gateway tells machines of itself: metrics, spans and log lines. Never a prompt, a user or a key."""

    metrics: Annotated[
        Literal["admin", "open", "off"],
        Meta(
            description="Who may read /bsgateway/metrics: `admin` the master key and proxy admins (Prometheus sends it "
            "as `authorization`), `open` everybody who reaches the port, `off` nobody."
        ),
    ] = "admin"
    spans: Annotated[
        bool, Meta(description="Put `gen_ai.*` and `bsgateway.*` attributes on the active OpenTelemetry span.")
    ] = True
    log_format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="Of log lines on stderr. auto: text on a terminal, else JSON, a line for each event."),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least of what is logged. debug: a line for each decision."),
    ] = "info"


Need = Literal[
    "vision",
    "audio",
    "file",
    "tools",
    "parallel_tools",
    "json_schema",
    "reasoning",
    "prompt_cache",
    "web_search",
    "server_tools",
]


class Routing(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything BSGateway decides by."""

    tiers: Annotated[dict[Name, Tier], Meta(min_length=1, description="Tiers by name, cheapest first.")]
    fallback_tier: Annotated[Name, Meta(description="The tier used when something inside the gateway fails.")]
    aliases: Annotated[
        dict[Name, AutoAlias | Name],
        Meta(description="Name -> model_list name, another alias, auto_route, or {route: auto_route, bias: N}."),
    ] = field(default_factory=dict)
    auto_route_patterns: Annotated[
        tuple[Name, ...],
        Meta(description="fnmatch patterns (`*`, `?`, `[seq]`, `[!seq]`, case-sensitive): a match is routed by score."),
    ] = ()
    unknown_models: Annotated[
        Literal["auto", "leave"],
        Meta(description="A name that nothing knows: `auto` routes it by score, `leave` passes it on to LiteLLM."),
    ] = "auto"
    mode: Annotated[
        Literal["route", "shadow"],
        Meta(description="shadow: decide, log and report, but rewrite nothing."),
    ] = "route"
    canary: Annotated[
        str,
        Meta(
            pattern=SHARE,
            description="The share of conversations that is rewritten; the others are treated as in shadow mode. "
            "Always the same conversations for one share, and they stay when it grows.",
        ),
    ] = "100%"
    bias: Annotated[
        Bias, Meta(description="Added to every score, before the biases of alias, key, team and request.")
    ] = 0
    required_needs: Annotated[
        tuple[Need, ...],
        Meta(
            description="Needs that a model must be known to serve. The others are wishes: among models that cost the "
            "same those that serve them come first, and what the chosen one does not know is taken out.",
        ),
    ] = ("vision", "audio", "file", "tools", "json_schema", "reasoning", "web_search", "server_tools")
    client_overrides: Annotated[
        tuple[Literal["tier", "min_tier", "max_tier", "bias", "dry_run"], ...],
        Meta(
            description="What clients may ask of the routing, by header (`x-bsgateway-min-tier: medium`) or metadata "
            "(`bsgateway_min_tier`). A word that is not listed is ignored, and the answer says so.",
        ),
    ] = ()
    session: Annotated[Session, Meta(description="Conversations that keep their tier.")] = Session()
    analysis: Annotated[Analysis, Meta(description="How requests are measured.")] = Analysis()
    classifier: Annotated[Classifier, Meta(description="What makes the score.")] = Classifier()
    learning: Annotated[Learning, Meta(description="What is done to learn from the traffic.")] = Learning()
    collector: Annotated[Collector, Meta(description="The log in PostgreSQL.")] = Collector()
    dashboard: Annotated[Dashboard, Meta(description="The pages under /bsgateway/.")] = Dashboard()
    telemetry: Annotated[Telemetry, Meta(description="Metrics, spans and log lines.")] = Telemetry()


class GatewayFile(Struct, frozen=True):
    """gateway.yaml: LiteLLM's configuration plus a `routing` section."""

    model_list: Annotated[list[dict[str, Any]], Meta(min_length=1, description="LiteLLM's deployments.")]
    routing: Annotated[Routing, Meta(description="BSGateway's section.")]
    litellm_settings: Annotated[dict[str, Any] | None, Meta(description="LiteLLM's own.")] = None
    router_settings: Annotated[dict[str, Any] | None, Meta(description="LiteLLM's own.")] = None
    general_settings: Annotated[dict[str, Any] | None, Meta(description="LiteLLM's own.")] = None


@dataclass(frozen=True)
class Config:
    """A checked gateway.yaml. `host` is the whole file as read, LiteLLM's sections and all; nobody changes it."""

    path: Path
    routing: Routing
    host: dict[str, Any]

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of model_list, in order, each once."""
        return tuple(dict.fromkeys(entry["model_name"] for entry in self.host["model_list"]))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of gateway.yaml, as committed in `gateway.schema.json`."""
    schema = msgspec.json.schema(GatewayFile)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "gateway.yaml", **schema}


def resolve_env(value: str | None) -> str | None:
    """`os.environ/NAME` -> that variable, or None when it is unset or empty; anything else is itself."""
    if value is not None and value.startswith(ENV_PREFIX):
        return os.environ.get(value.removeprefix(ENV_PREFIX)) or None
    return value or None


def spool_directory(collector: Collector, state: Path) -> Path | None:
    """Where the rows of a gateway lie whose state directory is `state`: an absolute path, where a
    relative one is meant from the working directory. None when there is to be no spool."""
    if not collector.spool.enabled:
        return None
    given = resolve_env(collector.spool.directory)
    return (state / "spool" if given is None else Path(os.path.expanduser(given))).absolute()


def make_analyzer(routing: Routing) -> core.Analyzer:
    """The core's analyzer for this config. Raises ValueError naming what is wrong."""
    collector, llm = routing.collector, routing.classifier.llm
    kept = collector.text_chars if collector.enabled and collector.text != "none" else 0
    if routing.classifier.strategy != "llm":
        return analyzer_of(routing.classifier.static, routing.analysis, kept)
    shown = max(kept, llm.ask_chars)
    return analyzer_of(routing.classifier.static, routing.analysis, shown, llm.tail_chars)


def analyzer_of(static: Static, analysis: Analysis, capture_chars: int, tail_chars: int = 0) -> core.Analyzer:
    """The core's analyzer with these settings. Raises ValueError naming what is wrong."""
    return core.Analyzer(
        weights=msgspec.structs.asdict(static.weights),
        token_thresholds=static.token_thresholds,
        complex_keywords=_or(static.complex_keywords, core.default_complex_keywords()),
        simple_keywords=_or(static.simple_keywords, core.default_simple_keywords()),
        exact_token_bytes=analysis.exact_token_bytes,
        capture_chars=capture_chars,
        memo_bytes=analysis.memo_bytes,
        encoding=analysis.encoding,
        tail_chars=tail_chars,
    )


def _or(given: tuple[str, ...] | None, default: tuple[str, ...]) -> tuple[str, ...]:
    # An empty list is a choice: no keywords at all.
    return default if given is None else given
