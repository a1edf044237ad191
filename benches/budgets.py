"""The budgets, and what the results say of each.

They are medians of one core in one process, except those of the proxy and of the log. A gate that fails on
deterministic counts is another thing: `make gate`. These are times, and tell what a user gets on a machine like the one
that measured them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

LINEAR = 2
"""Cost of a byte of a hostile body over that of a byte of its quarter that still counts as linear: a megabyte falls out
of the caches, and what is quadratic has 4."""


class Budget(NamedTuple):
    """A limit in `unit`, and where the results have the value: a number, and what to add about it; None if nowhere."""

    name: str
    limit: float
    unit: str
    find: Callable[[Any], tuple[float, str] | None]
    at_least: bool = False


class Verdict(NamedTuple):
    """A row of the table; `met` is yes, no or not measured."""

    name: str
    limit: str
    measured: str
    met: str


def _decision(subject: str, sight: str, scale: float = 1.0) -> Callable[[Any], tuple[float, str] | None]:
    def find(results: Any) -> tuple[float, str] | None:
        us = results.median("decision", f"{subject}, {sight}", "analyze + policy")
        return None if us is None else (us / scale, "")

    return find


def _hostile(results: Any) -> tuple[float, str] | None:
    """The most milliseconds per megabyte of all hostile bodies."""
    found = [(row["median_us"] / row["bytes"] * 1e3, row["subject"]) for row in _rows(results, "native")]
    return max(found, default=None)


def _growth(results: Any) -> tuple[float, str] | None:
    """The most that a byte of a whole hostile body costs, over a byte of its quarter."""
    quarters = {row["subject"]: row["min_us"] / row["bytes"] for row in _rows(results, "native, a quarter of it")}
    found = [(row["min_us"] / row["bytes"], row["subject"]) for row in _rows(results, "native")]
    return max(((cost / quarters[name], name) for cost, name in found if name in quarters), default=None)


def _rows(results: Any, contender: str) -> list[Any]:
    return [row for row in results.rows if (row["suite"], row["contender"]) == ("hostile", contender)]


def _learned(size: str) -> Callable[[Any], tuple[float, str] | None]:
    """Microseconds that a learned score takes at first sight: hashing the words, and what the model adds."""

    def find(results: Any) -> tuple[float, str] | None:
        with_model, without, words = (
            results.median("learned", size, contender)
            for contender in ("ml, first sight", "static, first sight", "words")
        )
        return None if None in (with_model, without, words) else (with_model - without + words, "")

    return find


def _noted(subject: str, name: str) -> Callable[[Any], tuple[float, str] | None]:
    """A number that a bench noted beside its times."""

    def find(results: Any) -> tuple[float, str] | None:
        found = [row["more"][name] for row in results.rows if row["subject"] == subject and name in row["more"]]
        return (found[0], "") if found else None

    return find


def _in_proxy(results: Any) -> tuple[float, str] | None:
    """The highest ratio of CPU to the no-op hook among the bodies, with logging on."""
    rows = results.proxy["rows"] if results.proxy else []
    found = [(row["ratio_cpu"], f"{row['variant']}, {row['body']}") for row in rows if row["variant"] == "BSGateway"]
    return max(found, default=None)


def _estimate(error: str) -> Callable[[Any], tuple[float, str] | None]:
    """The worst error, in percent, of what the core makes of a text over the exact budget, among `KINDS`."""

    def find(results: Any) -> tuple[float, str] | None:
        rows = results.estimator["rows"] if results.estimator else []
        found = [
            (100 * row["sampled"][error], f"{row['kind']}, {row['encoding']}")
            for row in rows
            if row["kind"] in KINDS and row["sampled"]
        ]
        return max(found, default=None)

    return find


def _record(results: Any) -> tuple[float, str] | None:
    """The highest median of `record()`, in microseconds, among the kinds of records."""
    rows = results.log["record"] if results.log else []
    return max(((row["median"], row["kind"]) for row in rows if row["kind"] in RECORDS), default=None)


def _copy(results: Any) -> tuple[float, str] | None:
    """Rows per second by COPY alone."""
    rows = results.log["ways"] if results.log else []
    return next(((row["rows_per_second"], "") for row in rows if row["way"].startswith("COPY")), None)


KINDS = ("code", "prose", "CJK", "JSON", "logs")
RECORDS = ("Decision", "Texts", "Outcome")

LOG = (
    Budget("record() of the log, the slowest kind of record", 3, "µs", _record),
    Budget("rows of the log by COPY", 25_000, "rows/s", _copy, at_least=True),
)

BUDGETS = (
    Budget("0.5 KB chat at first sight, exact tokens", 40, "µs", _decision("chat_500b", "first sight")),
    Budget("0.5 KB chat in the memo", 8, "µs", _decision("chat_500b", "seen")),
    Budget("200 KB history, newest message new", 60, "µs", _decision("history_200k", "next turn")),
    Budget("200 KB never seen", 1, "ms", _decision("history_200k", "first sight", 1e3)),
    Budget("learned score of a 0.5 KB chat at first sight", 6, "µs", _learned("0.5 KB")),
    Budget("learned score of an 8 KB chat at first sight", 40, "µs", _learned("8 KB")),
    Budget("hostile bodies, per MB, the worst", 10, "ms", _hostile),
    Budget("hostile bodies, a byte of 1 MB over a byte of its quarter, the worst", LINEAR, "×", _growth),
    Budget("token estimate of texts of 16 KB, median error, the worst kind", 5, "%", _estimate("median")),
    Budget("token estimate of texts of 16 KB, 95th percentile, the worst kind", 15, "%", _estimate("p95")),
    *LOG,
    Budget("import of the hook beyond LiteLLM", 150, "ms", _noted("test_import", "import_ms")),
    Budget("memory of that import", 40, "MB", _noted("test_import", "import_mb")),
    Budget("CPU per request in the proxy, of a no-op hook's, the worst body", 1.02, "×", _in_proxy),
)


def verdicts(results: Any, budgets: Sequence[Budget]) -> list[Verdict]:
    """What the results say of the budgets, in their order."""
    return [_verdict(budget, budget.find(results)) for budget in budgets]


def _verdict(budget: Budget, found: tuple[float, str] | None) -> Verdict:
    limit = _tight(f"{'at least ' if budget.at_least else ''}{budget.limit:,g} {budget.unit}")
    if found is None:
        return Verdict(budget.name, limit, "–", "not measured")
    value, about = found
    shown = _tight(f"{value:,.{_places(value)}f} {budget.unit}") + (f", {about}" if about else "")
    met = value >= budget.limit if budget.at_least else value <= budget.limit
    return Verdict(budget.name, limit, shown, "yes" if met else "no")


def _tight(quantity: str) -> str:
    return quantity.replace(" ×", "×")


def _places(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 3 if value < 2 else 2
