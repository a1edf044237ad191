"""Results -> tables on the terminal, `log.json` and `log.md`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from benches.budgets import LOG, verdicts
from rich.console import Console
from rich.table import Table

from . import chart

Results = Mapping[str, Any]

ABOUT = (
    "What the log costs, and how fast it is. Measured on a shared machine, the server and this process on the same "
    "cores: look at the ratios, not at the times. Rows are decisions that the gateway made of real bodies, with all "
    "features and contributions, and as many outcomes."
)


class Section(NamedTuple):
    """A table: its title, what to know about it, its head and its cells."""

    title: str
    note: str
    head: Sequence[str]
    cells: Sequence[Sequence[str]]


def sections(results: Results) -> list[Section]:
    """All tables, in the order of the path of a row."""
    return [
        _budgets(results),
        _record(results["record"]),
        _ways(results["ways"]),
        _spool(results["spool"]),
        _paced(results["paced"]),
        _recovery(results["recovery"]),
        _disturbance(results["recovery"]),
    ]


def _budgets(results: Results) -> Section:
    found = verdicts(SimpleNamespace(log=results), LOG)
    return Section("Budgets", "", ("budget", "at most", "measured", "met"), found)


def _record(rows: Sequence[Results]) -> Section:
    note = (
        "Microseconds of one call on the thread of the event loop, while the log's thread spools and writes the rows. "
        "The clock is part of each. `after a sleep`: the first request of a turn of the loop, when other threads and "
        "processes had the processor. `after a pause`: of a tenth of a second without a row."
    )
    head = ("record", "calls", "median µs", "p99 µs", "p99.9 µs", "max µs")
    cells = [
        [row["kind"], f"{row['calls']:,}", *(f"{row[name]:,.2f}" for name in ("median", "p99", "p999", "max"))]
        for row in rows
    ]
    return Section("`record()`", note, head, cells)


def _ways(rows: Sequence[Results]) -> Section:
    note = (
        f"Each way writes the same {rows[0]['rows']:,} rows to empty tables, and must leave the same contents. Medians "
        "of rounds. A single INSERT is a transaction, with its wait for the disk. `the log` is all of it, from the "
        "first `record()` until the spool is empty, with rows that come as it keeps up; when they come all at once, "
        "those that it does not keep in memory are read back from the disk. CPU is that of this process, not of the "
        "server."
    )
    base = rows[0]["rows_per_second"]
    head = ("way", "rounds", "rows/s", "least", "most", "of the first", "CPU µs/row")
    cells = [
        [
            row["way"],
            f"{row['rounds']}",
            *(f"{row[name]:,.0f}" for name in ("rows_per_second", "rows_per_second_least", "rows_per_second_most")),
            f"{row['rows_per_second'] / base:.1f}×",
            f"{row['cpu_us_per_row']:.1f}",
        ]
        for row in rows
    ]
    return Section("Rows into PostgreSQL", note, head, cells)


def _spool(rows: Sequence[Results]) -> Section:
    note = (
        "Into it: encoding a chunk and storing it. Out of it: reading chunks back, 1,000 rows at a time or one chunk, "
        "decoding them, and removing them. In the log itself rows are read back only after an outage or a restart."
    )
    head = ("rows a chunk", "bytes/row", "in rows/s", "in MB/s", "in CPU µs/row", "out rows/s", "out CPU µs/row")
    cells = [
        [
            f"{row['chunk_rows']:,}",
            f"{row['bytes_per_row']:,.0f}",
            f"{row['append_rows_per_second']:,.0f}",
            f"{row['append_mb_per_second']:,.1f}",
            f"{row['append_cpu_us_per_row']:.1f}",
            f"{row['deliver_rows_per_second']:,.0f}",
            f"{row['deliver_cpu_us_per_row']:.1f}",
        ]
        for row in rows
    ]
    return Section("The spool alone", note, head, cells)


def _paced(rows: Sequence[Results]) -> Section:
    note = (
        f"At a steady {rows[0]['rows_per_second']:,} rows a second, with the default settings. A request makes two "
        "rows or three. What making that pace costs is taken off."
    )
    cells = [[row["log"], f"{row['rows']:,}", f"{row['rounds']}", f"{row['cpu_us_per_row']:.1f}"] for row in rows]
    return Section("Processor time of a logged row", note, ("log", "rows", "rounds", "CPU µs/row"), cells)


def _recovery(found: Results) -> Section:
    note = (
        "A spool that a process left behind, in chunks of 20 rows, delivered to an empty database by a new process "
        "that has LiteLLM's proxy loaded, from the start of its log until the spool is empty."
    )
    head = ("backlog", "on disk", "seconds", "rows/s", "CPU s", "memory before", "peak")
    cells = [
        f"{found['rows']:,} rows",
        f"{found['backlog_bytes'] / 1e6:,.0f} MB",
        f"{found['seconds']:.1f}",
        f"{found['rows_per_second']:,.0f}",
        f"{found['cpu_seconds']:.1f}",
        f"{found['calm']['rss_mb']:,.0f} MB",
        f"{found['busy']['rss_mb']:,.0f} MB",
    ]
    return Section("Recovery", note, head, [cells])


def _disturbance(found: Results) -> Section:
    note = (
        "A task of the event loop in the same process, as the proxy's requests are: how late a sleep of a millisecond "
        "ends, and how long a piece of pure Python takes that needs the interpreter all the time."
    )
    head = ("milliseconds", "p50", "p99", "p99.9", "max")
    cells = [
        [f"{what}, {when}", *(f"{found[key][name][part]:.2f}" for part in ("median", "p99", "p999", "max"))]
        for what, name in (("late", "late_ms"), ("work", "work_ms"))
        for when, key in (("calm", "calm"), ("recovering", "busy"))
    ]
    return Section("An event loop beside the recovery", note, head, cells)


def show(results: Results, console: Console) -> None:
    """Print every table."""
    for section in sections(results):
        table = Table(title=section.title.replace("`", ""), title_justify="left", title_style="bold")
        for place, name in enumerate(section.head):
            table.add_column(name, justify="right" if place else "left", no_wrap=True)
        for line in section.cells:
            table.add_row(*(cell.replace("`", "") for cell in line))
        console.print(table)
    console.print(machine(results["setup"]), markup=False)


def page(results: Results) -> str:
    """`log.md`."""
    parts = ["# The log", ABOUT]
    for section in sections(results):
        marks = ["---", *["---:"] * (len(section.head) - 1)]
        lines = [_line(section.head), _line(marks), *map(_line, section.cells)]
        parts += filter(None, (f"## {section.title}", section.note, "\n".join(lines)))
        if section.title == "Rows into PostgreSQL":
            parts.append("![Rows per second by each way](log.svg)")
    return "\n\n".join([*parts, machine(results["setup"]), "`make bench-log` measures anew."]) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine(setup: Results) -> str:
    """Where, with what and when."""
    versions = ", ".join(f"{name} {setup[name]}" for name in ("python", "postgresql", "sqlite", "asyncpg", "msgspec"))
    commit = f", commit {setup['commit']}{' with changes' if setup['dirty'] else ''}" if setup["commit"] else ""
    return f"{setup['cpu']}, {setup['cores']} cores, {setup['system']}; {versions}. {setup['date']}{commit}."


def write(results: Results, directory: Path) -> None:
    """Write `log.json`, `log.md`, `log.svg` and `log.png`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "log.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (directory / "log.md").write_text(page(results), encoding="utf-8")
    chart.draw(results["ways"], directory)
