"""Print docs/reference.md from the code: `make reference`. A test fails when the committed page differs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any

import click
import msgspec

from bsgateway import callers, headers, stamps
from bsgateway.catalog import CAPABILITIES, NEEDS
from bsgateway.cli import main as command_line
from bsgateway.config import json_schema
from bsgateway.core import core
from bsgateway.decision import LlmStatus, Method, Reason, Strategy
from bsgateway.gateway import FORMATS
from bsgateway.log.metrics import CAUSES, Metrics
from bsgateway.reference.extract import HARNESS_TAGS
from bsgateway.telemetry.events import EVENTS
from bsgateway.telemetry.families import FAMILIES
from bsgateway.telemetry.spans import ATTRIBUTES
from bsgateway.translate import CHANGES
from bsgateway.web import health

ENVIRONMENT = {
    "LITELLM_MASTER_KEY": "The key clients send. Unset: `serve` makes one and keeps it in the state directory.",
    "OPENAI_API_KEY": "Key of OpenAI. Unset: its models are served by the stand-in.",
    "ANTHROPIC_API_KEY": "Key of Anthropic. Unset: its models are served by the stand-in.",
    "LOCAL_LLM_API_BASE": "Address of Ollama. Unset: http://127.0.0.1:11434 is tried, then the small local model.",
    "COLLECTOR_DATABASE_URL": "PostgreSQL of the log. Unset: `serve` starts an embedded one.",
    "BSGATEWAY_CONFIG": "The gateway.yaml, for commands and for the callback under plain `litellm`.",
    "BSGATEWAY_STATE": "The state directory of commands, and of the callback: its spool lies there. Unset: .bsgateway.",
    "BSGATEWAY_SHUTDOWN_DELAY": "Seconds, as `serve --shutdown-delay`.",
    "BSGATEWAY_PURE": "1: use the pure-Python core even where the compiled one is installed.",
    "LITELLM_LOCAL_MODEL_COST_MAP": "LiteLLM's own. `serve` sets it to True unless it is set: prices come from the "
    "installed package, and no start waits for a download.",
}

REQUEST_HEADERS = {
    "x-bsgateway-tier": "Use this tier, within the limits of key, team and alias.",
    "x-bsgateway-min-tier": "No tier below this one.",
    "x-bsgateway-max-tier": "No tier above this one.",
    "x-bsgateway-bias": "-100 to 100, added to the score: negative leans to cheaper tiers.",
    "x-bsgateway-dry-run": "`true`, `1` or `yes`: decide and report, and rewrite nothing.",
    callers.NO_LOG_HEADER: "`true`, `1` or `yes`: keep this request out of the log, as far as "
    "`routing.collector.opt_out` lets it: its words, or its whole row.",
}

HEADERS = {
    "x-bsgateway-decision-id": "UUIDv7 of the decision: primary key of its rows.",
    "x-bsgateway-model": "The model_list name that answered (after a fallback of LiteLLM: the one that really did).",
    "x-bsgateway-tier": "Tier the policy chose. Only when routed by score.",
    "x-bsgateway-score": "Score 0-100 after bias. Only when routed by score.",
    "x-bsgateway-strategy": "What made the score. Only when routed by score.",
    "x-bsgateway-method": "How the name was resolved.",
    "x-bsgateway-reason": "Why this model.",
    "x-bsgateway-would-use": "The model that would have served it. Only when nothing was rewritten: shadow mode, the "
    "other share of a canary, a dry run.",
    "x-bsgateway-changes": "What was changed in the body for the model's sake.",
    "x-bsgateway-ignored": "What the client asked of the routing and may not, or what has no meaning here.",
    "x-bsgateway-llm": "What came of asking the local LLM. Only under the strategy `llm`, when routed by score.",
}

WANTED = {
    "vision": "Images or videos.",
    "audio": "Audio.",
    "file": "Documents.",
    "tools": "Tools, unless `tool_choice` is `none`.",
    "parallel_tools": "Tools, and `parallel_tool_calls: true`.",
    "json_schema": "A JSON format for the answer.",
    "reasoning": "Thinking or an effort of reasoning.",
    "prompt_cache": "Cache marks.",
    "web_search": "`web_search_options`, or a web search tool in messages and responses.",
    "server_tools": "Tools that only the API of the request's own format has: those that the provider runs, such as "
    "code execution, those whose shape it defines, such as a computer or a shell, and MCP servers.",
}

BOUND = {
    "thinking": "A signed or encrypted thought.",
    "open_thinking": "One in the loop of tool calls that goes on: behind the newest real ask, or right before it where "
    "the ask came in one message with results.",
    "open_tool_call": "The result of a tool call came with the newest real ask or after it.",
    "server_state": "State that the provider keeps (files, containers, caches, earlier responses) or only it can read "
    "(calls and results of tools that it ran, compacted histories).",
}


def page() -> str:
    """The whole page."""
    parts = [
        "# Reference",
        "Every option, command, header, column and reason. Generated from the code by `make reference`; do not edit.",
        *_options(),
        *_commands(),
        "## Environment variables",
        _table(("variable", "meaning"), ((f"`{name}`", text) for name, text in ENVIRONMENT.items())),
        *_vocabulary(),
        *_score(),
        *_log(),
        *_health(),
        *_events(),
        *_metrics(),
        *_columns(),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _options() -> Iterator[str]:
    yield "## Options of `routing` in gateway.yaml"
    yield (
        "Everything outside `routing` is LiteLLM's own. `os.environ/NAME` stands for an environment variable. "
        "`bsgateway check` reports every mistake at once."
    )
    schema = json_schema()
    rows = list(_walk(schema["$defs"], "Routing", "routing"))
    yield _table(("option", "type", "default", "meaning"), rows)


def _walk(defs: dict[str, Any], name: str, path: str) -> Iterator[tuple[str, str, str, str]]:
    definition = defs[name]
    for key, option in definition["properties"].items():
        here = f"{path}.{key}"
        required = key in definition.get("required", ())
        default = "required" if required else _default(option)
        yield f"`{here}`", _type(option), default, option.get("description", "")
        for suffix, inner in _inner(option):
            yield from _walk(defs, inner, here + suffix)


def _inner(option: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Structs below an option: (what stands between, name of the definition)."""
    if "$ref" in option:
        yield "", option["$ref"].rsplit("/", 1)[1]
    for alternative in option.get("anyOf", ()):
        yield from _inner(alternative)
    if isinstance(option.get("additionalProperties"), dict):
        for suffix, inner in _inner(option["additionalProperties"]):
            yield f".<name>{suffix}", inner


def _default(option: dict[str, Any]) -> str:
    if "default" not in option or option["default"] is None or isinstance(option["default"], dict):
        return ""
    return f"`{json.dumps(option['default']) if not isinstance(option['default'], str) else option['default']}`"


def _type(option: dict[str, Any]) -> str:
    if "enum" in option:
        return " or ".join(f"`{value}`" for value in option["enum"])
    if "anyOf" in option:
        return " or ".join(dict.fromkeys(_type(a) for a in option["anyOf"] if a.get("type") != "null"))
    if "$ref" in option:
        return "mapping"
    names = {"object": "mapping", "array": "list", "integer": "whole number"}
    return names.get(option.get("type", ""), option.get("type", ""))


def _commands() -> Iterator[str]:
    yield "## Commands"
    yield "Exit codes: 0 done, 1 the answer is no (mistakes found, something broken), 2 wrong usage."
    rows = []
    for name, command in _all_commands(command_line, ""):
        usage = " ".join([name, *(p.name.upper() for p in command.params if isinstance(p, click.Argument) and p.name)])
        rows.append((f"`bsgateway {usage}`", "", _paragraphs(command.help or "")))
        for option in command.params:
            if isinstance(option, click.Option):
                known = isinstance(option.default, (str, int)) and not option.is_flag
                default = f" Default: `{option.default}`." if known else ""
                names = f"`{', '.join([*option.opts, *option.secondary_opts])}`"
                rows.append(("", names, f"{option.help}{default}"))
    yield _table(("command", "option", "meaning"), rows)


def _paragraphs(text: str) -> str:
    """Paragraphs of a docstring as one cell of a table."""
    return "<br>".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _all_commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield prefix + name, command
        if isinstance(command, click.Group):
            yield from _all_commands(command, f"{prefix}{name} ")


def _vocabulary() -> Iterator[str]:
    yield "## Request headers"
    yield _table(("header", "meaning"), ((f"`{name}`", text) for name, text in REQUEST_HEADERS.items()))
    yield (
        "The first five work as far as `routing.client_overrides` lists them, and so do `bsgateway_tier` and the like "
        "in the `metadata` of a request's body. What is not listed is ignored, and `x-bsgateway-ignored` says so."
    )
    yield (
        f"`{callers.NO_LOG}: true` in the `metadata` of a request's body does the same; it is taken out before the "
        "request goes on. Both are ignored while `routing.collector.opt_out` is `nothing`."
    )
    yield "## Response headers"
    if set(HEADERS) != set(headers.HEADERS):
        raise SystemExit("docs/make_reference.py: HEADERS differs from bsgateway.headers.HEADERS")
    yield _table(("header", "meaning"), ((f"`{name}`", HEADERS[name]) for name in headers.HEADERS))
    yield (
        f"The same fields stand in LiteLLM's own metadata as `{stamps.STAMP}`, for other callbacks and spend logs: "
        "`decision_id`, `method`, `original_model`, `resolved_model`, `complexity_score`, `tier`, `strategy`, "
        "`reason`, `would_use`, `changes`, `ignored`, `llm`."
    )
    yield "## Methods"
    yield _table(("method", "meaning"), ((f"`{member.value}`", member.doc) for member in Method))
    yield "## Reasons"
    yield _table(("reason", "meaning"), ((f"`{member.value}`", member.doc) for member in Reason))
    yield "## What came of asking the local LLM"
    yield "What `x-bsgateway-llm` and the column `llm_status` name, under the strategy `llm`."
    yield _table(("status", "meaning"), ((f"`{member.value}`", member.doc) for member in LlmStatus))
    yield "## Changes"
    yield "What `x-bsgateway-changes` and the column `changes` name."
    yield _table(("change", "meaning"), ((f"`{name}`", text) for name, text in CHANGES.items()))
    yield "## Needs"
    if set(WANTED) != set(NEEDS):
        raise SystemExit("docs/make_reference.py: WANTED differs from bsgateway.catalog.NEEDS")
    yield _table(
        ("need", "what the request holds", "`model_info` key of LiteLLM that says whether a model serves it"),
        (
            (f"`{need}`", WANTED[need], f"`{CAPABILITIES[need]}`" if need in CAPABILITIES else "(by provider)")
            for need in NEEDS
        ),
    )
    yield "## Bound states"
    yield "What in a conversation belongs to the model or the provider that wrote it, and no other could go on with."
    if tuple(BOUND) != core.BOUND_STATES:
        raise SystemExit("docs/make_reference.py: BOUND differs from the core's BOUND_STATES")
    yield _table(("state", "meaning"), ((f"`{state}`", text) for state, text in BOUND.items()))
    yield "## Strategies"
    yield ", ".join(f"`{member.value}`" for member in Strategy)
    yield "## Routed call types"
    yield "LiteLLM's call type, and the body format it carries. Everything else passes untouched."
    yield _table(("call type", "format"), ((f"`{call}`", form) for call, form in FORMATS.items()))


def _score() -> Iterator[str]:
    yield "## Features and keywords"
    yield "What the score is made of. Signals, weights, floors: [scoring.md](scoring.md)."
    yield (
        f"Features, version {core.FEATURE_VERSION}, in order: " + ", ".join(f"`{n}`" for n in core.FEATURE_NAMES) + "."
    )
    yield (
        "Harness tags, whose blocks are not the user's ask: " + ", ".join(f"`{t}`" for t in sorted(HARNESS_TAGS)) + "."
    )
    yield "Complex keywords: " + ", ".join(core.default_complex_keywords()) + "."
    yield "Simple keywords: " + ", ".join(core.default_simple_keywords()) + "."


def _log() -> Iterator[str]:
    yield "## Metrics of the log"
    yield "What each process counts since its start. `bsgateway doctor` reads the newest ones from the spool."
    fields = msgspec.json.schema(Metrics)["$defs"]["Metrics"]["properties"]
    yield _table(("metric", "meaning"), ((f"`{name}`", field["description"]) for name, field in fields.items()))
    yield "## Causes of lost rows"
    yield "Each is counted in `dropped` and said in the log of the process, at most every ten seconds."
    yield _table(("cause", "meaning"), ((f"`{cause}`", text) for cause, text in CAUSES.items()))


def _health() -> Iterator[str]:
    yield "## Health"
    yield (
        "`GET` or `HEAD`, without a key, whatever the configuration says. Of the worker that answers. "
        "[operating.md](operating.md#health) says what to use them for."
    )
    yield _table(("path", "answer"), ((f"`{path}`", text) for path, text in health.ROUTES.items()))
    yield (
        f"`{health.READY}` answers with `status`, `routing` (`loaded` or `loading`) and `log`: its `database` is "
        "`reachable`, `away` or `off`, its `spool` is `accepting`, `full`, `failed` or `off`."
    )
    yield _table(("status", "meaning"), ((f"`{name}`", text) for name, text in health.STATUSES.items()))


def _events() -> Iterator[str]:
    yield "## Events"
    yield (
        "Lines on stderr whose `event` is one of these words; of all others it is a sentence. "
        "`routing.telemetry.log_format` and `log_level` say how and which."
    )
    yield _table(("event", "meaning"), ((f"`{word}`", text) for word, text in EVENTS.items()))


def _metrics() -> Iterator[str]:
    yield "## Metrics"
    yield (
        "What `/bsgateway/metrics` tells Prometheus, or whom `routing.telemetry.metrics` lets in; as OpenMetrics where "
        "that is asked for. `model` and `tier` are names of gateway.yaml, else `other`; `tier` and `strategy` are "
        "`none` where a request was not routed by score. With several workers counters and histograms are their sum, "
        "and stay when a worker ends; gauges are the sum or the extreme of those that run."
    )
    across = {"livesum": "sum", "livemax": "greatest", "livemin": "least", "sum": "sum of all that ever ran"}
    rows = (
        (
            f"`{family.name}`",
            family.kind,
            ", ".join(f"`{label}`" for label in family.labels),
            across[family.across] if family.kind == "gauge" else "",
            family.help,
        )
        for family in FAMILIES
    )
    yield _table(("metric", "kind", "labels", "of several workers", "meaning"), rows)
    yield "## Attributes of spans"
    yield (
        "On the active OpenTelemetry span, and on the one that LiteLLM's own tracing has begun for the request, unless "
        "`routing.telemetry.spans` is false."
    )
    yield _table(("attribute", "meaning"), ((f"`{name}`", text) for name, text in ATTRIBUTES.items()))


_COMMENT = re.compile(r"COMMENT ON (TABLE|VIEW|COLUMN) ([\w.]+) IS\s+((?:'(?:[^']|'')*'\s*)+);")


def _columns() -> Iterator[str]:
    yield "## Tables"
    tables: dict[str, str] = {}
    columns: dict[str, dict[str, str]] = {}  # a later migration may say it anew
    migrations = files("bsgateway").joinpath("sql", "migrations")
    for file in sorted(migrations.iterdir(), key=lambda file: file.name):
        for kind, name, quoted in _COMMENT.findall(file.read_text(encoding="utf-8")):
            text = "".join(part.replace("''", "'") for part in re.findall(r"'((?:[^']|'')*)'", quoted))
            if kind == "COLUMN":
                table, column = name.split(".")
                columns.setdefault(table, {})[f"`{column}`"] = text
            else:
                tables[name] = text
    for name, text in tables.items():
        yield f"### `{name}`"
        yield text
        if name in columns:
            yield _table(("column", "meaning"), list(columns[name].items()))


if __name__ == "__main__":
    sys.stdout.write(page())
