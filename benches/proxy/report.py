"""Visits -> rows, tables, `proxy.json` and `proxy.md`."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Group
from rich.table import Table

from .measure import Key, Plan, Visit
from .processes import ROOT
from .stats import median_interval, paired_ratios, percentile, spread
from .variants import BASELINE, GATEWAY

Row = dict[str, Any]

BUDGET = 1.02
"""Processor time per request as a ratio to the no-op hook: DESIGN, section 9."""
ENOUGH_ROUNDS = 6
"""With fewer there is no 95 % interval of a median."""
PACKAGES = ("bsgateway", "litellm", "uvicorn", "uvloop", "fastapi", "asyncpg", "msgspec", "aiohttp")
CAVEAT = (
    "Measured on a shared machine: the ratios count, not the milliseconds. Each ratio is the median over rounds of "
    "variant / no-op hook in the same round; the true one lies between `from` and `to` with 95 % confidence (or in the "
    "range of all rounds, when they are fewer than six), and IQR is the interquartile range over rounds. In a visit "
    "only one variant is at work, all answer the same requests, and none of them streams."
)
COLUMNS = (
    ("variant", "variant", "{}"),
    ("cpu_ms", "CPU ms", "{:.2f}"),
    ("ratio_cpu", "ratio", "{:.3f}"),
    ("ratio_cpu_low", "from", "{:.3f}"),
    ("ratio_cpu_high", "to", "{:.3f}"),
    ("ratio_cpu_iqr", "IQR", "{:.3f}"),
    ("p50_ms", "p50 ms", "{:.1f}"),
    ("p99_ms", "p99 ms", "{:.1f}"),
    ("rps", "req/s", "{:.1f}"),
    ("rss_mb", "RSS MB", "{:.0f}"),
    ("postgres_cpu_ms", "PG CPU ms", "{:.2f}"),
)


def rows(plan: Plan, visits: Mapping[Key, Sequence[Visit]], rss_mb: Mapping[str, float]) -> list[Row]:
    """One row for each body and variant, in the plan's order."""
    return [
        {
            "variant": variant.name,
            "body": body,
            **_figures(visits[variant.name, body], visits[BASELINE, body]),
            "rss_mb": rss_mb[variant.name],
            "postgres_cpu_ms": _postgres_ms(visits[variant.name, body]) if variant.logs else None,
        }
        for body in plan.bodies
        for variant in plan.variants
    ]


def _figures(mine: Sequence[Visit], base: Sequence[Visit]) -> Row:
    """Medians over rounds; p99 is over the answers of all rounds together."""
    cpu = spread([_per_request(visit) for visit in mine])
    ratios = paired_ratios([_per_request(visit) for visit in mine], [_per_request(visit) for visit in base])
    ratio, (low, high) = spread(ratios), median_interval(ratios)
    rps = spread(paired_ratios([visit.rps for visit in mine], [visit.rps for visit in base]))
    return {
        "cpu_ms": cpu.median,
        "cpu_ms_iqr": cpu.iqr,
        "ratio_cpu": ratio.median,
        "ratio_cpu_iqr": ratio.iqr,
        "ratio_cpu_low": low,
        "ratio_cpu_high": high,
        "p50_ms": 1e3 * median(median(visit.latencies) for visit in mine),
        "p99_ms": 1e3 * percentile([seconds for visit in mine for seconds in visit.latencies], 0.99),
        "rps": median(visit.rps for visit in mine),
        "ratio_rps": rps.median,
        "ratio_rps_iqr": rps.iqr,
        "rounds": len(mine),
        "requests": sum(visit.requests for visit in mine),
    }


def _per_request(visit: Visit) -> float:
    """Milliseconds of the proxy's processor time for a request."""
    return 1e3 * visit.cpu / visit.requests


def _postgres_ms(visits: Sequence[Visit]) -> float:
    """Milliseconds of PostgreSQL's processor time for a request."""
    return 1e3 * median(visit.postgres_cpu / visit.requests for visit in visits)


def setup(plan: Plan) -> dict[str, Any]:
    """What it was measured on and with."""
    return {
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "rounds": plan.rounds,
        "requests": 2 * plan.requests,
        "concurrency": [1, plan.concurrency],
        "budget_ratio_cpu": BUDGET,
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:  # PackageNotFoundError: run from the sources
        return "not installed"


def _git(*args: str) -> str | None:
    """What git says of this repository; None without git or repository."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def tables(rows: Sequence[Row], bodies: Sequence[str]) -> Group:
    """A table for each body, and how the budget fares."""
    made = (_table(body, [row for row in rows if row["body"] == body]) for body in bodies)
    return Group(*made, *verdicts(rows))


def _table(body: str, rows: Sequence[Row]) -> Table:
    table = Table(title=f"{body}: milliseconds a request, and CPU as a ratio to the {BASELINE}", title_justify="left")
    for _, title, _ in COLUMNS:
        table.add_column(title, justify="left" if title == "variant" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[str]:
    return ["-" if row[name] is None else form.format(row[name]) for name, _, form in COLUMNS]


def verdicts(rows: Sequence[Row]) -> list[str]:
    """For each body whether the gateway keeps its budget, in words."""
    return [_verdict(row) for row in rows if row["variant"] == GATEWAY]


def _verdict(row: Row) -> str:
    low, high = row["ratio_cpu_low"], row["ratio_cpu_high"]
    word = "met" if high <= BUDGET else "not met" if low > BUDGET else ""
    if not word or row["rounds"] < ENOUGH_ROUNDS:
        word = "this run cannot tell, more rounds may"
    return (
        f"{row['body']}: CPU of {GATEWAY} is {row['ratio_cpu']:.3f} ({low:.3f} to {high:.3f}) of the {BASELINE}'s; "
        f"budget {BUDGET}: {word}"
    )


def markdown(rows: Sequence[Row], setup: Mapping[str, Any]) -> str:
    """The same as a page."""
    lines = ["# Cost in the proxy", "", CAVEAT, ""]
    for body in dict.fromkeys(row["body"] for row in rows):
        lines += [f"## {body}", "", _line(title for _, title, _ in COLUMNS)]
        lines.append(_line("---" if title == "variant" else "---:" for _, title, _ in COLUMNS))
        lines += [_line(_cells(row)) for row in rows if row["body"] == body]
        lines.append("")
    lines += [f"- {line}" for line in verdicts(rows)] + [""]
    machine, versions = setup["machine"], setup["versions"]
    lines += [
        f"{setup['rounds']} rounds of {setup['requests']} requests a variant and body, half of them one after another "
        f"(p50, p99), half {setup['concurrency'][1]} at a time (req/s); CPU is over all of them and the log's "
        "writes.",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + f". {setup['date']}, commit {setup['commit']}{' with changes' if setup['dirty'] else ''}.",
        "",
    ]
    return "\n".join(lines)


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def write(directory: Path, rows: Sequence[Row], setup: Mapping[str, Any]) -> None:
    """Write `proxy.json` and `proxy.md`."""
    directory.mkdir(parents=True, exist_ok=True)
    result = {"rows": rows, "setup": setup}
    (directory / "proxy.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (directory / "proxy.md").write_text(markdown(rows, setup), encoding="utf-8")
