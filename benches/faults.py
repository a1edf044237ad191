"""The results of the faults: a table on the terminal, the page benches/results/faults.md, the table in docs/log.md.

`make faults` runs them and calls this.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from machine import about

Fault = Mapping[str, Any]
MAX_NOTE = 400
RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs" / "log.md"
_SECTION = re.compile(r"(?<=<!-- faults -->\n).*?(?=<!-- /faults -->)", re.DOTALL)
COLUMNS = (
    "fault",
    "result",
    "decisions",
    "in the database",
    "lost",
    "duplicates",
    "recovery",
    "p50 before, during",
    "p99 before, during",
    "note",
)
ABOUT = """\
# Faults

Each fault is injected for real, into a running `bsgateway serve` and a running PostgreSQL, while {rate:g} requests a
second go through the proxy. `make faults` does it again and writes this page.

- **decisions**: requests that were answered with a decision id, from before the fault until everything had arrived.
- **in the database**: those that have a row in `routing_logs`. There is one outcome and one text for each as well, or
  the fault has failed.
- **lost**: decisions without a row. The note says what is not held against the gateway: decisions handed over less than
  50 ms before a SIGKILL, and a row that its table refuses.
- **duplicates**: rows over one for each decision in any of the tables, and rows of decisions that nobody was answered.
- **recovery**: from the end of the fault until all that was decided before it had arrived. Where the gateway was ended,
  the fault ends when the next one is ready.
- **p50, p99**: latency of the requests in milliseconds, from when each was due: before the fault, and from its begin to
  the recovery. A request that fails is a failure too, unless the gateway itself was ended.

"""


def main() -> None:
    """Print the table, and write the page if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("measured", type=Path)
    parser.add_argument("--write", action="store_true", help="write results/faults.json and results/faults.md")
    options = parser.parse_args()
    results = json.loads(options.measured.read_text(encoding="utf-8"))
    results["setup"] = about("litellm", "asyncpg")
    show(results["faults"])
    if options.write:
        (RESULTS / "faults.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (RESULTS / "faults.md").write_text(page(results), encoding="utf-8")
        DOCS.write_text(with_section(DOCS.read_text(encoding="utf-8"), section(results)), encoding="utf-8")
        click.echo(f"written: {RESULTS / 'faults.md'}, {DOCS}")


def show(faults: Sequence[Fault]) -> None:
    """The table on the terminal."""
    table = Table(title="Faults", show_lines=True)
    for name in COLUMNS:
        table.add_column(name, overflow="fold", min_width=6 if name not in ("fault", "note") else 20)
    for fault in faults:
        table.add_row(*cells(fault))
    Console(width=None if Console().is_terminal else 200).print(table)


def section(results: Mapping[str, Any]) -> str:
    """The table of docs/log.md."""
    faults = results["faults"]
    rows = ["| fault | decisions | lost | duplicates | recovery | p99 ms before, during |", "| --- |" + " ---: |" * 5]
    for fault in faults:
        name, result, decisions, _, lost, duplicates, recovery, _, p99, _ = cells(fault)
        failed = "" if fault["passed"] else f" ({result})"
        rows.append(f"| {name}{failed} | {decisions} | {lost} | {duplicates} | {recovery} | {p99} |")
    return f"{_totals(faults)} {results['date']}.\n\n" + "\n".join(rows) + "\n"


def with_section(document: str, text: str) -> str:
    """`document` with `text` where the table of the faults is. Raises ValueError when it has no place for it."""
    found, count = _SECTION.subn(lambda _: text, document)
    if count != 1:
        raise ValueError("docs/log.md must have <!-- faults --> and <!-- /faults --> once")
    return found


def _totals(faults: Sequence[Fault]) -> str:
    passed = sum(fault["passed"] for fault in faults)
    return (
        f"{passed} of {len(faults)} faults passed: {sum(fault['decisions'] for fault in faults)} decisions, "
        f"{sum(fault['lost'] for fault in faults)} lost, {sum(fault['duplicates'] for fault in faults)} duplicates."
    )


def page(results: Mapping[str, Any]) -> str:
    """The page."""
    setup, faults = results["setup"], results["faults"]
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "| --- | --- " + "| ---: " * (len(COLUMNS) - 3) + "| --- |",
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in cells(fault)) + " |" for fault in faults),
    ]
    commit = f", commit {setup['commit']}{' with changes' if setup['dirty'] else ''}" if setup["commit"] else ""
    measured = (
        f"{setup['cpu']}, {setup['cores']} cores, {setup['system']}; PostgreSQL {results['postgresql']}, "
        f"litellm {setup['litellm']}, asyncpg {setup['asyncpg']}, python {setup['python']}. {results['date']}{commit}. "
        "The machine is shared: look at what changes, not at the times themselves."
    )
    return (
        "\n\n".join([ABOUT.format(rate=results["rate"]).rstrip(), _totals(faults), "\n".join(lines), measured]) + "\n"
    )


def cells(fault: Fault) -> list[str]:
    """One row, in the order of COLUMNS."""
    note = " ".join("; ".join(filter(None, (fault["why"], fault["note"]))).split())
    recovery = fault["recovery"]
    return [
        fault["fault"],
        "passed" if fault["passed"] else "FAILED",
        str(fault["decisions"]),
        str(fault["written"]),
        str(fault["lost"]),
        str(fault["duplicates"]),
        "-" if recovery is None else f"{recovery:.1f} s",
        _change(fault["p50_before"], fault["p50_during"]),
        _change(fault["p99_before"], fault["p99_during"]),
        note if len(note) <= MAX_NOTE else f"{note[:MAX_NOTE]}...",
    ]


def _change(before: float | None, during: float | None) -> str:
    return " → ".join("-" if value is None else f"{value:.0f}" for value in (before, during))


if __name__ == "__main__":
    main()
