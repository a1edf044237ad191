"""The pages made of the results: `make performance` writes them and the section of README.md.

Everything here is computed from `results/analyze.json` and, where they have run, from what `make bench-proxy`, `make
bench-log` and `make estimator` wrote there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

from budgets import BUDGETS, Verdict, verdicts

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
CAVEAT = (
    "Measured on a shared machine, on one core: look at the ratios, not at the times. LiteLLM's router is given the "
    "newest user message, ready, and reads nothing else (one sentence of the two agent requests); tiktoken is given "
    "the texts and only counts; ours read the whole body."
)
BASE = "native, first sight"
_SECTION = re.compile(r"(?<=<!-- performance -->\n).*?(?=<!-- /performance -->)", re.DOTALL)

Row = Mapping[str, Any]


class Suite(NamedTuple):
    """How a suite is shown: its title, the contender that the ratios are to, and what to know about it."""

    title: str
    base: str
    note: str


SUITES = {
    "bodies": Suite(
        "Bodies",
        BASE,
        "`first sight`: no text of the request was ever seen. `next turn`: all but the newest message were. Both have "
        "new objects in each round. `seen`: the same body over and over, so the processor's caches are warm, too.",
    ),
    "decision": Suite(
        "A whole decision",
        "analyze + policy",
        "Each round has new objects, as a server has just parsed them. `analyze + policy` is what the budgets are for; "
        "`Gateway.decide` adds names and the record of the decision; `hook` is what LiteLLM awaits; "
        "`no-op hook` is LiteLLM's own base class.",
    ),
    "learned": Suite(
        "A learned score",
        "static, first sight",
        "Strategy `ml` with the shipped prior against `static`. `words`: hashing the ask alone, which both do.",
    ),
    "sizes": Suite("One message of prose, by size", BASE, "Every contender reads all of it. This is what is drawn."),
    "exact tokens": Suite(
        "Tokens counted and estimated", "the default", "First sight, with other values of `exact_token_bytes`."
    ),
    "hostile": Suite(
        "Hostile bodies",
        "native",
        "Each round has a new memo. LiteLLM's routers find nothing to classify in `nested_100k`, and classify one "
        "character of `spaces_1m` and `tools_10k`.",
    ),
    "tokens": Suite("Token counts of one text", "native, exact", "tiktoken's o200k_base, and our estimate of it."),
    "globs": Suite("Patterns of model names", "native", "The first of so many patterns that matches a name."),
}


class Results(NamedTuple):
    """What was measured, and on what; `proxy` is None until `make bench-proxy` has run, `estimator` until `make
    estimator` has, `log` until `make bench-log` has."""

    rows: Sequence[Row]
    setup: Mapping[str, Any]
    proxy: Mapping[str, Any] | None
    estimator: Mapping[str, Any] | None
    log: Mapping[str, Any] | None

    def median(self, suite: str, subject: str, contender: str) -> float | None:
        """Median in microseconds; None if it was not measured."""
        for row in self.rows:
            if (row["suite"], row["subject"], row["contender"]) == (suite, subject, contender):
                return float(row["median_us"])
        return None

    def subjects(self, suite: str) -> dict[str, int | None]:
        """Subjects of a suite with their size in bytes, in the order they were measured."""
        found: dict[str, int | None] = {}
        for row in self.rows:
            if row["suite"] == suite:
                found.setdefault(row["subject"], row["bytes"])
        return found

    def contenders(self, suite: str) -> list[str]:
        """Contenders of a suite, the one that the ratios are to first."""
        found = dict.fromkeys(row["contender"] for row in self.rows if row["suite"] == suite)
        return sorted(found, key=lambda name: name != SUITES[suite].base)


def load(directory: Path = RESULTS) -> Results:
    """The results in a directory. Raises FileNotFoundError when `make bench` never ran."""
    analyze = json.loads((directory / "analyze.json").read_text(encoding="utf-8"))
    others = (other(name, directory) for name in ("proxy", "estimator", "log"))
    return Results(analyze["rows"], analyze["setup"], *others)


def other(name: str, directory: Path = RESULTS) -> dict[str, Any] | None:
    """What `make bench-proxy`, `make estimator` or `make bench-log` wrote, or None."""
    path = directory / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def duration(us: float) -> str:
    """Microseconds as people read them, with three digits."""
    for unit, size in (("s", 1e6), ("ms", 1e3), ("µs", 1.0)):
        if us >= size or unit == "µs":
            value = us / size
            return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"
    raise AssertionError


def ratio(value: float) -> str:
    """How many times as much."""
    return f"{value:,.0f}×" if value >= 10 else f"{value:.1f}×" if value >= 0.1 else f"{value:.1g}×"


def size(number: int | None) -> str:
    """Bytes as people read them."""
    if number is None:
        return ""
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.{0 if number >= 1e4 else 1}f} KB"


def suite_cells(results: Results, suite: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a suite's table: a subject a row, a contender a column, times and ratios in the cells."""
    contenders = results.contenders(suite)
    rows = []
    for subject, number in results.subjects(suite).items():
        base = results.median(suite, subject, SUITES[suite].base)
        medians = [results.median(suite, subject, name) for name in contenders]
        rows.append([subject, size(number), *(_cell(us, base) for us in medians)])
    return ["", "size", *contenders], rows


def _cell(us: float | None, base: float | None) -> str:
    if us is None:
        return "–"
    return duration(us) if base is None or us is base or us == base else f"{duration(us)} ({ratio(us / base)})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def machine(setup: Mapping[str, Any]) -> str:
    """Where, with what and when."""
    versions = ", ".join(f"{name} {setup[name]}" for name in ("python", "rustc", "litellm", "tiktoken") if setup[name])
    commit = f", commit {setup['commit']}{' with changes' if setup['dirty'] else ''}" if setup["commit"] else ""
    return f"{setup['cpu']}, {setup['cores']} cores, {setup['system']}; {versions}. {setup['date']}{commit}."


def analyze_page(results: Results) -> str:
    """`results/analyze.md`: every suite."""
    parts = ["# Benchmarks", CAVEAT, "Cells are medians; in brackets, how many times the first column's.", _plot("")]
    for name, suite in SUITES.items():
        if results.subjects(name):
            parts += [f"## {suite.title}", suite.note, table(*suite_cells(results, name))]
    return "\n\n".join([*parts, machine(results.setup)]) + "\n"


def _plot(folder: str) -> str:
    return f"![Cost of one analysis against the size of the message]({folder}analyze.svg)"


def budgets_page(results: Results) -> str:
    """`results/budgets.md`: the budgets and whether they are met."""
    return "\n\n".join(["# Budgets", CAVEAT, budgets_table(results), machine(results.setup)]) + "\n"


def budgets_table(results: Results) -> str:
    """The budgets as a Markdown table."""
    return table(BUDGET_HEAD, budget_cells(results))


BUDGET_HEAD = ("budget", "at most", "measured", "met")


def budget_cells(results: Results) -> list[list[str]]:
    """Rows of the table of budgets."""
    return [[found.name, found.limit, found.measured, found.met] for found in verdicts(results, BUDGETS)]


README_COLUMNS: dict[str, Callable[[str], str]] = {
    "native, first sight": lambda _: "first sight",
    "native, seen": lambda _: "seen before",
    "twin, first sight": lambda _: "pure-Python twin",
    "LiteLLM v1": str,
    "LiteLLM v2": str,
    "tiktoken": str,
}


def performance(results: Results) -> str:
    """The section of README.md between its marks."""
    return "\n\n".join(_wrapped(part) for part in _performance(results) if part) + "\n"


def _wrapped(part: str) -> str:
    """A paragraph in lines, commands in one; tables and pictures as they are."""
    if part[0] in "|!":
        return part
    whole = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", "\0"), part)
    return fill(whole, 120, break_long_words=False, break_on_hyphens=False).replace("\0", " ")


def _performance(results: Results) -> list[str]:
    rows = []
    for subject, number in results.subjects("bodies").items():
        base = results.median("bodies", subject, BASE)
        cells = [_cell(results.median("bodies", subject, name), base) for name in README_COLUMNS]
        rows.append([f"`{subject}`, {size(number)}", *cells])
    turn = results.median("decision", "history_200k, next turn", "analyze + policy")
    next_turn = f"With the policy, the next turn of `history_200k` takes {duration(turn)}. " if turn else ""
    return [
        "Median time to analyse one request, and how many times that of the native core at first sight. "
        f"{next_turn}{CAVEAT}",
        table(["request", *(title(name) for name, title in README_COLUMNS.items())], rows),
        _plot("benches/results/"),
        _proxy(results),
        _budget_line(verdicts(results, BUDGETS)),
        f"{machine(results.setup)} {_proxy_setup(results)}`make bench` and `make bench-proxy` measure anew, "
        "`make performance` writes this section.",
    ]


def _proxy_setup(results: Results) -> str:
    """When the proxy was measured, which need not be when the rest was."""
    if results.proxy is None:
        return ""
    setup = results.proxy["setup"]
    date, commit = setup["date"][:16].replace("T", " "), setup["commit"]
    return f"In the proxy: {setup['rounds']} rounds, {date} UTC, commit {commit[:12]}. " if commit else ""


def _proxy(results: Results) -> str:
    if results.proxy is None:
        return ""
    head = ["in the proxy", "request", "CPU per request", "of the no-op hook", "p50", "p99", "requests/s", "memory"]
    rows = [
        [
            row["variant"],
            row["body"],
            f"{row['cpu_ms']:.2f} ms",
            f"{row['ratio_cpu']:.3f}×",
            f"{row['p50_ms']:.1f} ms",
            f"{row['p99_ms']:.1f} ms",
            f"{row['rps']:.0f}",
            f"{row['rss_mb']:.0f} MB",
        ]
        for row in results.proxy["rows"]
    ]
    return table(head, rows)


def _budget_line(found: Sequence[Verdict]) -> str:
    measured = [one for one in found if one.met != "not measured"]
    met = sum(one.met == "yes" for one in measured)
    missed = [f"{one.name} ({one.measured}; budget: {one.limit})" for one in measured if one.met == "no"]
    line = f"[Budgets](benches/results/budgets.md): {met} of {len(measured)} measured ones met"
    left = "[Where the time goes](benches/results/profile.md)."
    return f"{line}. Not met: {'; '.join(missed)}. {left}" if missed else f"{line}. {left}"


def with_section(page: str, section: str) -> str:
    """README.md with its section replaced."""
    new, number = _SECTION.subn(lambda _: section, page)
    if number != 1:
        raise ValueError("README.md needs one pair of <!-- performance --> and <!-- /performance -->")
    return new


def write_pages(directory: Path = RESULTS) -> None:
    """Write `analyze.md` and `budgets.md`."""
    results = load(directory)
    (directory / "analyze.md").write_text(analyze_page(results), encoding="utf-8")
    (directory / "budgets.md").write_text(budgets_page(results), encoding="utf-8")


def write_readme() -> None:
    """Write the section of README.md anew."""
    readme = ROOT / "README.md"
    readme.write_text(with_section(readme.read_text(encoding="utf-8"), performance(load())), encoding="utf-8")


if __name__ == "__main__":
    write_pages()
    write_readme()
