"""Results -> tables on the terminal, and the page of benches/results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from benches.log.records import ASK_CHARS, SYSTEM_CHARS
from rich.console import Console
from rich.table import Table


class Line(msgspec.Struct, frozen=True):
    """A layout. `cpu_ms`: of all processes of the gateways, for one request. `lost` answers have no row or no outcome;
    `duplicates` are rows over one for each."""

    gateways: int
    workers: int
    per_second: float
    median_ms: float
    p95_ms: float
    cpu_ms: float
    lost: int
    duplicates: int


class Size(msgspec.Struct, frozen=True):
    """Bytes that a request takes in a table, or in the spool."""

    name: str
    row: float
    indexes: float


class Results(msgspec.Struct, frozen=True):
    """All of it."""

    machine: dict[str, Any]
    date: str
    requests: int
    clients: int
    layouts: Sequence[Line]
    rows: int
    sizes: Sequence[Size]


LAYOUT_HEAD = (
    "gateways", "workers each", "requests/s", "median ms", "p95 ms", "CPU ms a request", "lost", "duplicates"
)  # fmt: skip
SIZE_HEAD = ("bytes of a request in", "rows", "indexes", "together")


def _layout_cells(lines: Iterable[Line]) -> list[tuple[str, ...]]:
    return [
        (
            str(line.gateways),
            str(line.workers),
            f"{line.per_second:,.1f}",
            f"{line.median_ms:,.0f}",
            f"{line.p95_ms:,.0f}",
            f"{line.cpu_ms:,.1f}",
            str(line.lost),
            str(line.duplicates),
        )
        for line in lines
    ]


def _size_cells(sizes: Iterable[Size]) -> list[tuple[str, ...]]:
    return [
        (each.name, f"{each.row:,.0f}", f"{each.indexes:,.0f}", f"{each.row + each.indexes:,.0f}") for each in sizes
    ]


def show(found: Results, console: Console) -> None:
    """On the terminal."""
    for head, cells in ((LAYOUT_HEAD, _layout_cells(found.layouts)), (SIZE_HEAD, _size_cells(found.sizes))):
        if cells:
            table = Table(box=None, pad_edge=False)
            for number, name in enumerate(head):
                table.add_column(name, justify="right" if number or head is LAYOUT_HEAD else "left")
            for row in cells:
                table.add_row(*row)
            console.print(table)


def page(found: Results) -> str:
    """The page of benches/results."""
    machine = found.machine
    return (
        "# Several workers, several gateways\n\n"
        f"`make bench-scale` on {machine['cpu']}, {machine['cores']} cores, at {machine['commit']}, {found.date}: "
        f"{found.requests:,} chat completions of {found.clients} clients at once, each on a connection of its own, "
        "after a warm-up. Clients, providers, PostgreSQL and all gateways share these cores: with more workers than "
        "cores there is nothing to gain here, and what counts is that nothing is lost and nothing is there twice. "
        "CPU a request is the figure to size a machine by.\n\n"
        + _markdown(LAYOUT_HEAD, _layout_cells(found.layouts))
        + "\n## What a request takes on disk\n\n"
        f"{found.rows:,} decisions that the gateway made of real bodies, each with its outcome and its words "
        f"({ASK_CHARS:,} characters of an ask and {SYSTEM_CHARS:,} of a system prompt), written in batches as the log "
        "does, after VACUUM. `routing_texts` is compressed by PostgreSQL, and is as large as the words are; without "
        "words (`collector.text: none`) it is empty. The spool holds all three until the database has them.\n\n"
        + _markdown(SIZE_HEAD, _size_cells(found.sizes))
    )


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, tuple("---:" if number else "---" for number in range(len(head))), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
