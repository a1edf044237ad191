"""`bsgateway explain`: a text or a body -> the decision, as a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from .decision import Decision
from .rows import clean
from .terminal import printable, wide_console

MAX_FILE = 32_000_000
"""Largest body file, in bytes: what LiteLLM would not take either."""


def read_request(source: str, model: str) -> tuple[dict[str, Any], str]:
    """The request body that `source` stands for, and its call type. `source` is `-` for standard input, a file, or the
    text of a user. Input that is a JSON object is a body; anything else is a text. Raises click.UsageError."""
    if source == "-":
        given = sys.stdin.read()
    elif _is_file(source):
        path = Path(source)
        if path.stat().st_size > MAX_FILE:
            raise click.UsageError(f"{source} is larger than {MAX_FILE} bytes")
        given = path.read_text(encoding="utf-8", errors="replace")
    else:
        given = source
    try:
        body = json.loads(given)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        body = {"messages": [{"role": "user", "content": given}]}
    body.setdefault("model", model)
    if isinstance(body["model"], str):
        body["model"] = clean(body["model"])  # JSON can hold half a character, a terminal cannot
    return body, guess_call_type(body)


def guess_call_type(body: dict[str, Any]) -> str:
    """LiteLLM's call type for a body, by the keys that only one format has."""
    for key, call_type in (("contents", "agenerate_content"), ("input", "aresponses"), ("prompt", "atext_completion")):
        if key in body:
            return call_type
    return "anthropic_messages" if "system" in body else "acompletion"


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except (OSError, ValueError):  # a text too long for a path, or with a NUL
        return False


def print_decision(decision: Decision) -> None:
    """Decision, then one row a signal."""
    console = wide_console()
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(decision):
        facts.add_row(Text(name, style="bold"), printable(value))
    console.print(facts)
    if not decision.contributions:
        return
    table = Table(title="what makes the score")
    for column in ("signal", "value", "weight", "points"):
        table.add_column(column, justify="left" if column == "signal" else "right")
    for share in decision.contributions:
        weight = "" if share.signal.startswith("floor:") else f"{share.weight:.2f}"
        table.add_row(share.signal, f"{share.value:.1f}", weight, f"{share.points:.1f}")
    if decision.bias:
        table.add_row("bias", "", "", f"{decision.bias:+d}")
    table.add_section()
    table.add_row("score (0-100, rounded)", "", "", str(decision.complexity_score))
    console.print(table)


def _facts(decision: Decision) -> list[tuple[str, str]]:
    facts = [("asked for", decision.original_model), ("goes to", decision.resolved_model)]
    if decision.tier is not None:
        facts.append(("tier", decision.tier))
    if decision.complexity_score is not None:
        facts.append(("score", f"{decision.complexity_score} (confidence {decision.confidence:.2f})"))
    if decision.strategy is not None:
        learned = f", model {decision.scorer_id}" if decision.scorer_id else ""
        facts.append(("scored by", f"{decision.strategy.value}{learned}"))
    facts += [("method", decision.method.value), ("reason", f"{decision.reason.value}: {decision.reason.doc}")]
    for skipped in decision.skipped:
        facts.append(("passed over", f"{skipped.model} ({skipped.reason.value})"))
    if decision.expected_cost is not None:
        facts.append(("expected cost", f"${decision.expected_cost:.6f}"))
    if not decision.applied:
        facts.append(("rewritten", "no"))
    if decision.ignored:
        facts.append(("ignored", ", ".join(decision.ignored)))
    if decision.ask_tokens is not None:
        exact = "" if decision.tokens_exact else ", partly estimated"
        facts.append(("tokens", f"{decision.ask_tokens} in the ask, {decision.context_tokens} in all{exact}"))
    if decision.needs:
        facts.append(("needs", ", ".join(decision.needs)))
    facts.append(("decided in", f"{decision.decision_us:.0f} us"))
    return facts
