"""`bsgateway explain`: a text or a body -> the decision, as a table."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from . import trials
from .classifiers.llm import Verdict
from .classifiers.llm.remedy import address
from .config import Config
from .decision import Decision, LlmStatus
from .errors import ConfigError
from .gateway import Gateway
from .rows import clean
from .terminal import printable, wide_console
from .trials import Word, guess_call_type

_LONG_US = 10_000
"""From here on, milliseconds say enough."""

_UNWEIGHTED = ("floor:", "llm:within_tier")
"""Signals that only lift or bound what the others make."""
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


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except (OSError, ValueError):  # a text too long for a path, or with a NUL
        return False


def with_strategy(config: Config, strategy: Word) -> Config:
    """As `trials.with_strategy`. Raises click.UsageError."""
    try:
        return trials.with_strategy(config, strategy)
    except ConfigError as error:
        raise click.UsageError(f"--strategy {error}") from error


def decide(gateway: Gateway, body: dict[str, Any], call_type: str, say: Callable[[str], None]) -> Decision:
    """What the gateway would do, the local LLM asked where it is to be: woken first, which `say` tells of. Raises
    ValueError as `Gateway.decide` does."""
    return gateway.decide(body, call_type) if gateway.llm is None else asyncio.run(_ask(gateway, body, call_type, say))


async def _ask(gateway: Gateway, body: dict[str, Any], call_type: str, say: Callable[[str], None]) -> Decision:
    decision = await gateway.decide_asking(body, call_type)
    llm = gateway.llm
    if llm is None or decision.llm_status is not LlmStatus.COLD:
        return decision  # nobody is to be asked about it
    say(f"loading {printable(llm.target.model)} at {printable(address(llm.target))}: this may take a while")
    began = time.perf_counter()
    running = asyncio.create_task(llm.run(), name="bsgateway-llm")
    try:
        trouble = await llm.tried()
        if trouble is None:
            say(f"loaded in {time.perf_counter() - began:.1f} s")
            return await gateway.decide_asking(body, call_type)
        say(f"failed after {time.perf_counter() - began:.1f} s")
        return gateway.decide(body, call_type, Verdict(trouble))  # what has kept it cold says more than that it is
    finally:
        running.cancel()
        await asyncio.wait([running])


def print_decision(decision: Decision, advice: str = "") -> None:
    """Decision, then one row a signal. `advice`: what to do about a local LLM that gave no verdict."""
    console = wide_console()
    facts = Table.grid(padding=(0, 2))
    for name, value in (*_facts(decision), *([("what to do", advice)] if advice else [])):
        facts.add_row(Text(name, style="bold"), printable(value))
    console.print(facts)
    if not decision.contributions:
        return
    table = Table(title="what makes the score")
    for column in ("signal", "value", "weight", "points"):
        table.add_column(column, justify="left" if column == "signal" else "right")
    for share in decision.contributions:
        weight = "" if share.signal.startswith(_UNWEIGHTED) else f"{share.weight:.2f}"
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
    facts += _verdict(decision)
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
    long = decision.decision_us >= _LONG_US
    facts.append(("decided in", f"{decision.decision_us / 1000:.0f} ms" if long else f"{decision.decision_us:.0f} us"))
    return facts


def _verdict(decision: Decision) -> list[tuple[str, str]]:
    """What came of the strategy llm."""
    status = decision.llm_status
    if status is None:
        return []
    facts = [("local LLM", f"{status.value}: {status.doc}")]
    if decision.llm_tier is not None and decision.llm_confidence is not None:
        asked = f"{decision.llm_model}, prompt {decision.llm_prompt}"
        facts.append(("its verdict", f"{decision.llm_tier} (confidence {decision.llm_confidence:.2f}), by {asked}"))
    return facts
