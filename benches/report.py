"""What pytest-benchmark measured -> tables, and with `--write` the pages and the plot in `results/`."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import pages
import plot

NAMES = ("suite", "subject", "contender", "bytes")


def rows(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a benchmark, times in microseconds; what else a bench noted is in `more`."""
    made = []
    for one in measured:
        noted = {"suite": "other", "subject": one["name"], "contender": "", "bytes": None, **one["extra_info"]}
        stats = one["stats"]
        made.append(
            {name: noted[name] for name in NAMES}
            | {
                "median_us": round(stats["median"] * 1e6, 3),
                "iqr_us": round(stats["iqr"] * 1e6, 3),
                "min_us": round(stats["min"] * 1e6, 3),
                "rounds": stats["rounds"],
                "iterations": stats["iterations"],
                "more": {name: value for name, value in noted.items() if name not in NAMES},
            }
        )
    return made


def setup(measured: dict[str, Any]) -> dict[str, Any]:
    """Where, with what and when it was measured."""
    return {**measured["machine_info"]["bsgateway"], "date": measured["datetime"][:16].replace("T", " ") + " UTC"}


def show(results: pages.Results, console: Console) -> None:
    """Print every table, and the budgets last."""
    for name, suite in pages.SUITES.items():
        if results.subjects(name):
            console.print(_table(suite.title, *pages.suite_cells(results, name)))
    console.print(_table("Budgets", pages.BUDGET_HEAD, pages.budget_cells(results)))
    console.print(f"{pages.machine(results.setup)}\n{pages.CAVEAT}")


def _table(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    made = Table(title=title, title_justify="left", title_style="bold")
    for place, name in enumerate(head):
        made.add_column(name, justify="right" if place else "left", no_wrap=place == 0)
    for line in lines:
        made.add_row(*line)
    return made


def write(results: pages.Results, directory: Path) -> None:
    """Write `analyze.json`, `analyze.md`, `budgets.md`, `analyze.svg` and `analyze.png`."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in results.rows)
    about = json.dumps(results.setup, ensure_ascii=False, indent=1)
    (directory / "analyze.json").write_text(f'{{"setup": {about},\n "rows": [\n  {lines}\n]}}\n', encoding="utf-8")
    pages.write_pages(directory)
    plot.draw(results, directory)


def main() -> None:
    """Print the tables of a file of pytest-benchmark's; with `--write` make them the results of the repository."""
    parser = ArgumentParser(description=main.__doc__)
    parser.add_argument("measured", type=Path, help="what pytest --benchmark-json wrote")
    parser.add_argument("--write", action="store_true", help="write to benches/results")
    options = parser.parse_args()
    measured = json.loads(options.measured.read_text(encoding="utf-8"))
    others = (pages.other(name) for name in ("proxy", "estimator", "log"))
    results = pages.Results(rows(measured["benchmarks"]), setup(measured), *others)
    if options.write:
        write(results, pages.RESULTS)
    show(results, Console(width=None if sys.stdout.isatty() else 200))


if __name__ == "__main__":
    main()
