"""The gate: what the Rust core costs in instructions and allocations, against the committed baseline.

`python benches/gate.py` (`make gate`) fails where a scenario of `benches/rust/gate.rs` costs more than the baseline
allows; `--accept` (`make gate-baseline`) writes the baseline anew. All figures are counts, not times: they depend on
the compiler, the C library (which allocates and copies), valgrind, and the processor's vector instructions, not on how
busy it is. The baseline says what it was made with; where that differs, instructions are compared with a wider limit.
The timed part of the gate, ratios within one run, is `gate_ratios.py`.

The limits stand in the baseline. Percents are what a figure may grow by; `blocks` and `allocated` are what it may grow
by in any case. A request may need `peak_free` bytes of memory at once, and `peak_per_byte` for each byte of its body.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

import bodies

ROOT = Path(__file__).parents[1]
BASELINE = ROOT / "benches" / "baseline" / "instructions.json"

RUNS = 3
"""Runs of a scenario at most."""
UNITS = {"instructions": "instructions", "blocks": "blocks", "allocated": "bytes allocated"}

Figures = dict[str, int]


def environment() -> dict[str, Any]:
    """What the counts depend on."""
    rustc = _output("rustc", "-vV")
    flags = Path("/proc/cpuinfo")
    vectors = {"avx2", "sse4_2"} & set(flags.read_text(encoding="utf-8").split()) if flags.exists() else set()
    return {
        "rustc": rustc.splitlines()[0].removeprefix("rustc "),
        "target": re.findall(r"^host: (.*)$", rustc, re.MULTILINE)[0],
        "libc": " ".join(platform.libc_ver()),
        "valgrind": _output("valgrind", "--version").strip().removeprefix("valgrind-") if _valgrind() else None,
        "vectors": sorted(vectors),
    }


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def _valgrind() -> bool:
    return shutil.which("valgrind") is not None


def build() -> Path:
    """The program with the scenarios, in the profile of the product but for its symbols."""
    command = ("cargo", "build", "--quiet", "--locked", "--profile", "bench", "--bench", "gate")
    lines = _output(*command, "--message-format=json").splitlines()
    programs = [path for line in lines if (path := json.loads(line).get("executable"))]
    return Path(programs[-1])


def measure(program: Path, folder: Path, scenario: str) -> Figures:
    """Size, blocks, bytes allocated, peak, and with valgrind instructions, of one scenario in a process of its own."""
    command = [str(program), scenario, str(folder)]
    if not _valgrind():
        return dict(json.loads(_output(*command)))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "callgrind.out"
        figures = dict(json.loads(_output("valgrind", *_callgrind(out), *command)))
        found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None or int(found[1]) == 0:
        raise SystemExit(f"gate: callgrind counted nothing in {scenario}: is gate::measured a symbol of {program}?")
    return {**figures, "instructions": int(found[1])}


def least(program: Path, folder: Path, scenario: str, known: Figures) -> Figures:
    """As `measure`, again while it counts more than is known, and the figures of the cheapest run.

    The memo hashes under a key drawn at random, so that a lookup meets other entries on its way now and then: some
    hundred instructions.
    """
    figures = measure(program, folder, scenario)
    for _ in range(RUNS - 1):
        if figures.get("instructions", 0) <= known.get("instructions", 0):
            break
        again = measure(program, folder, scenario)
        figures = min(figures, again, key=lambda found: found["instructions"])
    return figures


def _callgrind(out: Path) -> tuple[str, ...]:
    return "--quiet", "--tool=callgrind", "--toggle-collect=*gate::measured*", f"--callgrind-out-file={out}"


def profile(program: Path, folder: Path, scenario: str) -> str:
    """Where the instructions of a scenario go, function by function, the costliest first."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "callgrind.out"
        _output("valgrind", *_callgrind(out), str(program), scenario, str(folder))
        return _output("callgrind_annotate", "--auto=no", "--threshold=95", str(out))


class Finding(NamedTuple):
    """A figure of a scenario beside the baseline's; `change` in percent."""

    scenario: str
    what: str
    baseline: int
    now: int
    change: float
    verdict: str


def compare(baseline: dict[str, Any], now: dict[str, Figures], same: bool) -> Iterator[Finding]:
    """One finding per scenario and figure; its verdict is `ok`, `better`, `worse` or `new`."""
    limits: dict[str, float] = baseline["limits"]
    percents = {**limits, "instructions_percent": limits["instructions_percent" if same else "elsewhere_percent"]}
    for scenario, figures in now.items():
        known = baseline["scenarios"].get(scenario, {})
        for what in UNITS:
            if what not in figures:
                continue
            if what not in known:
                yield Finding(scenario, what, 0, figures[what], 0.0, "new")
                continue
            before, after = known[what], figures[what]
            allowed = max(limits.get(what, 0), before * percents[f"{what}_percent"] / 100)
            change = 100 * (after - before) / before if before else 0.0
            verdict = "worse" if after > before + allowed else "better" if after < before - allowed else "ok"
            yield Finding(scenario, what, before, after, change, verdict)


def unbounded(limits: dict[str, float], now: dict[str, Figures]) -> list[str]:
    """The scenarios that need more memory at once than their body allows."""
    return [
        f"{scenario}: {figures['peak']:,} bytes at once for a body of {figures['size']:,}"
        for scenario, figures in now.items()
        if figures["peak"] > limits["peak_free"] + limits["peak_per_byte"] * figures["size"]
    ]


def show(console: Console, findings: list[Finding], now: dict[str, Figures]) -> None:
    """A row per scenario; a change that is none is not shown."""
    colours = {"worse": "red", "better": "green", "new": "yellow", "ok": "none"}
    table = Table(title="What the core costs: now, and change against the baseline", header_style="bold")
    table.add_column("scenario")
    for name in ("body bytes", *UNITS.values(), "bytes at once"):
        table.add_column(name, justify="right")
    cells: dict[str, dict[str, str]] = {scenario: {} for scenario in now}
    for finding in findings:
        change = "new" if finding.verdict == "new" else f"{finding.change:+.2f} %" if finding.change else ""
        text = f"{finding.now:,} {change}".strip()
        cells[finding.scenario][finding.what] = f"[{colours[finding.verdict]}]{text}[/]"
    for scenario, figures in now.items():
        costs = [cells[scenario].get(what, "not counted") for what in UNITS]
        table.add_row(scenario, f"{figures['size']:,}", *costs, f"{figures['peak']:,}")
    console.print(table)


def judge(console: Console, baseline: dict[str, Any], made: dict[str, Any], now: dict[str, Figures]) -> bool:
    """Say what the figures mean; whether the gate is passed."""
    different = [f"{key} {baseline['environment'][key]} -> {value}" for key, value in made.items()
                 if baseline["environment"][key] != value and value is not None]  # fmt: skip
    if different:
        limit = baseline["limits"]["elsewhere_percent"]
        console.print(f"[yellow]The baseline was made with something else: {'; '.join(different)}. Instruction counts "
                      f"cannot be compared closely, the limit is {limit:g} % here.")  # fmt: skip
    findings = list(compare(baseline, now, not different))
    show(console, findings, now)
    if made["valgrind"] is None:
        console.print("[bold yellow]INSTRUCTIONS WERE NOT COUNTED: valgrind is missing (apt-get install valgrind).")
    gone = sorted(baseline["scenarios"].keys() - now.keys())
    large = unbounded(baseline["limits"], now)
    worse = [finding for finding in findings if finding.verdict == "worse"]
    new = sorted({finding.scenario for finding in findings if finding.verdict == "new"})
    if any(finding.verdict == "better" for finding in findings):
        console.print("[green]Some figures are better than the baseline: renew it by `make gate-baseline`, so that "
                      "nothing of it is lost again.")  # fmt: skip
    for line in large:
        console.print(f"[red]{line}")
    for finding in worse:
        console.print(f"[red]{finding.scenario}: {finding.now:,} {UNITS[finding.what]}, {finding.change:+.2f} %")
    if gone or new:
        console.print(f"[red]The baseline does not fit: scenarios new: {new}, gone: {gone}.")
    if worse or gone or new:
        console.print("If that is meant to be: `make gate-baseline`, and commit the baseline with the reason.")
    return not (worse or gone or new or large)


def main() -> int:
    """Measure, then compare or accept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", action="store_true", help="write the baseline anew; needs valgrind")
    parser.add_argument("--profile", metavar="SCENARIO", help="print where its instructions go; needs valgrind")
    arguments = parser.parse_args()
    accept = arguments.accept
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    if accept and not _valgrind():
        raise SystemExit("gate: a baseline needs instruction counts: install valgrind (apt-get install valgrind)")
    made = environment()
    program = build()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bodies.write(folder)
        if arguments.profile:
            print(profile(program, folder, arguments.profile))
            return 0
        scenarios = _output(str(program)).split()
        baseline = json.loads(BASELINE.read_text(encoding="utf-8"))
        known = baseline["scenarios"]
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            found = pool.map(lambda name: least(program, folder, name, known.get(name, {})), scenarios)
            now = dict(zip(scenarios, found, strict=True))
    if not accept:
        return 0 if judge(console, baseline, made, now) else 1
    show(console, list(compare(baseline, now, True)), now)
    text = json.dumps({"environment": made, "limits": baseline["limits"], "scenarios": now}, indent=2)
    BASELINE.write_text(f"{text}\n", encoding="utf-8")
    console.print(f"{BASELINE.relative_to(ROOT)}: {len(now)} scenarios. Commit it with the reason.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
