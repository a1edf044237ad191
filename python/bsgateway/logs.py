"""`bsgateway logs`: the newest decisions and their outcomes, once or as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import click
import msgspec
from rich.table import Table

from .rows import LogRow
from .store import Store
from .terminal import printable, printable_json, wide_console

POLL_SECONDS = 1.0
SETTLE = timedelta(seconds=5)
"""How far back a poll looks: rows of several workers arrive in batches, and outcomes after their decisions."""


async def show(url: str, limit: int, tail: bool, as_json: bool) -> None:
    """Print the newest `limit` rows; with `tail`, go on until interrupted. Raises StoreError."""
    async with await Store.connect(url) as store:
        rows = await store.recent(limit)
        _print(rows, as_json)
        if tail:
            await _follow(store, rows, as_json)


async def _follow(store: Store, rows: list[LogRow], as_json: bool) -> None:
    seen = {row.decision.decision_id for row in rows}
    while True:
        await asyncio.sleep(POLL_SECONDS)
        found = await store.recent(10_000, after=_some_seconds_ago())
        fresh = [row for row in found if row.decision.decision_id not in seen and _settled(row)]
        seen.update(row.decision.decision_id for row in fresh)
        _print(fresh, as_json, header=False)


def _settled(row: LogRow) -> bool:
    """Whether a row is worth printing: with its outcome, or old enough that it may never get one."""
    from .decision import now

    return row.outcome is not None or now() - row.decision.created_at > SETTLE


def _some_seconds_ago() -> UUID:
    """The smallest UUIDv7 of a moment twice `SETTLE` ago."""
    from .decision import now

    moment = int((now() - 2 * SETTLE).timestamp() * 1000)
    return UUID(int=moment << 80)


def _print(rows: Iterable[LogRow], as_json: bool, header: bool = True) -> None:
    if as_json:
        for row in rows:
            click.echo(printable_json(msgspec.json.encode(row).decode()))
        return
    rows = list(rows)
    if not rows and header:
        click.echo("no decisions yet")
    if rows:
        wide_console().print(table(rows, header))


def table(rows: Iterable[LogRow], header: bool = True) -> Table:
    """The rows as people read them."""
    view = Table(show_header=header, box=None, pad_edge=False)
    for name in ("time", "asked for", "method", "score", "tier", "model", "reason", "status"):
        view.add_column(name, justify="right" if name == "score" else "left", no_wrap=True, overflow="ellipsis")
    for name in ("ms", "cost $", "top tier $"):
        view.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        decision, outcome = row.decision, row.outcome
        view.add_row(
            decision.created_at.astimezone().strftime("%H:%M:%S"),
            printable(decision.original_model),
            decision.method.value,
            "" if decision.complexity_score is None else str(decision.complexity_score),
            decision.tier or "",
            printable(_model(row)),
            decision.reason.value,
            outcome.status if outcome else "",
            f"{outcome.latency_ms:.0f}" if outcome and outcome.latency_ms is not None else "",
            money(outcome.cost if outcome else None),
            money(outcome.baseline_cost if outcome else None),
        )
    return view


def _model(row: LogRow) -> str:
    """Who answered, as far as it is known; and, where nothing was rewritten, who would have."""
    decision, outcome = row.decision, row.outcome
    served = outcome.served_group if outcome and outcome.served_group else None
    if decision.applied or decision.tier is None:
        return served or decision.resolved_model
    return f"{served or decision.original_model} (would be {decision.resolved_model})"


def money(dollars: float | None) -> str:
    """US dollars, six decimals: single requests cost fractions of a cent. Empty when unknown."""
    return "" if dollars is None else f"{dollars:.6f}"
