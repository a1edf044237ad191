"""`bsgateway replay` over the log: reads it, and shows what came of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from . import expectations
from .decision import Strategy, now
from .gateway import Gateway, load
from .log_scores import LogScorer, scorer_of
from .past import stream
from .progress import row_progress
from .replay_log import LogReplay, LogReport
from .replay_tally import Costs
from .store import Store
from .terminal import printable, wide_console


class Question(msgspec.Struct, frozen=True):
    """What is asked: the last `days` of the log that was written under the file `logged_by`, decided under `config`.

    `strategy` and `model`, the path of a model file, stand for those of `config` if given. `most`: disagreements to
    show; `texts`: with what was asked.
    """

    config: Path
    logged_by: Path
    state: Path
    days: float
    strategy: Strategy | None = None
    model: Path | None = None
    most: int = 10
    texts: bool = False


def run(url: str, question: Question) -> LogReport:
    """Replay the log in the database at `url`. Raises StoreError, ReplayError, ConfigError and ModelError."""
    gateway = load(question.config)
    same = question.logged_by.resolve() == question.config.resolve()
    logged_by = gateway if same else load(question.logged_by)
    scorer = scorer_of(gateway.config, logged_by.config, question.state, question.strategy, question.model)
    return asyncio.run(_run(url, question, gateway, logged_by, scorer))


async def _run(url: str, question: Question, gateway: Gateway, logged_by: Gateway, scorer: LogScorer) -> LogReport:
    until = now()
    since = until - timedelta(days=question.days)
    replay = LogReplay(gateway, logged_by, scorer, since, question.most, question.texts)
    # Conversations that were going on at the beginning are followed from some time before it.
    first = since - timedelta(seconds=gateway.config.routing.session.ttl_seconds)
    async with await Store.connect(url) as store:
        gateway.expected = await store.expected_output(
            until - timedelta(days=expectations.DAYS), expectations.MOST_DECISIONS, expectations.LEAST_ANSWERS
        )
        batches = stream(store, first, until, question.texts or scorer.reads_words)
        with row_progress() as advance:
            async with contextlib.aclosing(batches):
                async for rows in batches:
                    replay.take(rows)
                    advance(len(rows))
    return replay.report(until)


def print_report(report: LogReport) -> None:
    """Tables and what they mean."""
    console = wide_console()
    for line in heading(report):
        console.print(line)
    if report.decided:
        console.print()
        console.print(_matrix(report))
        console.print()
        console.print(_reasons(report))
    if report.disagreements:
        console.print()
        console.print("Strongest disagreements, one for each conversation:")
        console.print(_disagreements(report))
        _print_asks(console, report)
    console.print()
    for line in remarks(report):
        console.print(line)


def heading(report: LogReport) -> list[str]:
    """The answer in a few lines."""
    scorer = report.strategy + (f" ({report.scorer_id})" if report.scorer_id else "")
    span = f"{report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC"
    lines = [f"{report.requests:,} requests, {span}; {report.decided:,} decided anew, strategy {scorer}."]
    if report.decided:
        share = 100 * report.changed / report.decided
        lines.append(f"{report.changed:,} go to another tier ({share:.1f} %).")
    costs = report.costs
    if costs.requests:
        lines.append(
            f"Estimated cost of {costs.requests:,} answered requests: ${costs.before:,.4f} as it was decided, "
            f"${costs.after:,.4f} as it would be: {difference(costs)}."
        )
    return lines


def difference(costs: Costs) -> str:
    """The difference with its interval, such as `-$1.2500 (95 %: -$1.6000 to -$0.9000)`."""
    text = _signed(costs.difference)
    if costs.low is None or costs.high is None:
        return f"{text} (no interval: too few conversations)" if costs.difference else text
    return f"{text} (95 %: {_signed(costs.low)} to {_signed(costs.high)})"


def remarks(report: LogReport) -> list[str]:
    """How it was found out, and what is not in it."""
    lines = [
        "The log holds no bodies: requests are decided from what was stored of them (score, needs, tokens, order in "
        "their conversation). What agents do side by side in one conversation is taken for one thread.",
        "Costs: tokens of the logged answers at the prices of the configuration, with an estimate of what lies in "
        "prompt caches. Another model may write longer or shorter answers.",
    ]
    if report.logged_costs:
        lines.append(f"The log itself says ${report.logged_cost:,.4f} for {report.logged_costs:,} answers.")
    lines += [f"{count:,} {meaning}" for count, meaning in _counted(report) if count]
    if report.unpriced_models:
        names = printable(", ".join(report.unpriced_models))
        lines.append(
            f"No price is known of {names}: give input_cost_per_token and output_cost_per_token in model_info."
        )
    return lines


def _counted(report: LogReport) -> Sequence[tuple[int, str]]:
    scored, assumed = report.scored, report.assumed
    return (
        (
            scored.verdicts,
            "rows keep the verdict of the local LLM, which is not asked again.",
        ),
        (
            scored.by_fallback if report.strategy == Strategy.LLM.value else 0,
            "rows are scored by the fallback of the strategy llm, as the log has no verdict that holds.",
        ),
        (
            scored.outdated,
            "rows have a verdict of another local LLM, or on another question: other tiers, ranges or descriptions.",
        ),
        (scored.anew, "rows (some from before the time, to follow conversations) were scored anew."),
        (scored.no_features, "rows left out: the log has no features of theirs, or of another version."),
        (
            scored.no_words,
            "rows left out: their score needs the words of the ask, which were not kept (collector.text).",
        ),
        (report.not_routed, "requests are served by name, then and now."),
        (
            report.needs_body,
            "requests would be routed by score, and the log cannot score them: served by name, or failed open.",
        ),
        (report.unserved, "requests that no model can serve."),
        (report.unanswered, "decided requests in no cost: no answer is logged."),
        (report.unpriced, "decided requests in no cost: no price is known."),
        (
            assumed.access,
            "requests met models that could not be had then: taken as they were, all others as available.",
        ),
        (assumed.limits, "requests were limited by key, team or client: the limit is taken to be where they went."),
        (assumed.state, "requests depend on what a provider keeps of the conversation."),
        (assumed.joined, "requests continue conversations whose beginning is not in the log, and begin them here."),
        (assumed.explored, "requests went where chance sent them (learning.explore): the score decides now."),
        (assumed.requested, "requests asked for a tier that the configuration does not have: the score decides."),
    )


def _matrix(report: LogReport) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("from \\ to")
    for tier in report.tiers:
        table.add_column(printable(tier), justify="right")
    table.add_column("all", justify="right")
    for old, row in report.moved.items():
        table.add_row(printable(old), *(f"{row[new]:,}" for new in report.tiers), f"{sum(row.values()):,}")
    table.add_section()
    sums = [sum(row[new] for row in report.moved.values()) for new in report.tiers]
    table.add_row("all", *(f"{count:,}" for count in sums), f"{report.decided:,}")
    return table


def _reasons(report: LogReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("reason now", "requests", "up", "down", "before $", "after $", "difference"):
        table.add_column(name, justify="left" if name in ("reason now", "difference") else "right")
    for each in report.reasons:
        costs = each.costs
        table.add_row(
            each.reason, f"{each.requests:,}", f"{each.up:,}", f"{each.down:,}",
            f"{costs.before:.4f}", f"{costs.after:.4f}", difference(costs),
        )  # fmt: skip
    return table


def _disagreements(report: LogReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("decision", "tier", "score", "cost $", "reason now"):
        table.add_column(name)
    for each in report.disagreements:
        table.add_row(
            each.decision_id,
            printable(f"{each.tier} -> {each.new_tier}"),
            f"{each.score} -> {each.new_score}",
            f"{_dollars(each.cost)} -> {_dollars(each.new_cost)}",
            each.reason,
        )
    return table


def _print_asks(console: Console, report: LogReport) -> None:
    for each in report.disagreements:
        if each.ask is not None:
            console.print(f"{each.decision_id}: {printable(each.ask)[:500]}")


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"{cost:.6f}"


def _signed(dollars: float) -> str:
    return f"{'-' if dollars < 0 else '+'}${abs(dollars):,.4f}"
