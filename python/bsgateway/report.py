"""`bsgateway report`: what was spent and saved, for people to read or for spreadsheets, from the sums of the log.

The numbers are those of the dashboard (`figures_log.savings`). Here they are read, named and written as CSV or JSON;
`report_table` shows them on a terminal, `report_html` makes a page to mail.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import msgspec

from . import figures_log
from .errors import StoreError
from .figures import By, Group, Period, Savings, Sums
from .periods import find_zone
from .rollups import refresh_all
from .store import Store
from .terminal import printable, printable_json

UNNAMED: dict[By, str] = {
    "tier": "not routed by score",
    "model": "unknown model",
    "key": "no key",
    "team": "no team",
    "day": "unknown day",
}
"""What stands for a group without a name."""
HASH_DIGITS = 12
"""Of the hash of a key without an alias that are shown."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula."""


class Line(NamedTuple):
    """One row of the report: what the requests of one name add up to."""

    name: str
    sums: Sums

    @property
    def saved_percent(self) -> float | None:
        """Of what the top tier would have cost; None where that is nothing."""
        return 100 * self.sums.saved / self.sums.baseline_cost if self.sums.baseline_cost else None


class Reading(NamedTuple):
    """The numbers; and whether all that was logged is in them, as sums may take longer than one wants to wait."""

    savings: Savings
    complete: bool


async def read(
    url: str,
    period: Period,
    by: By,
    retention_days: int | None,
    advance: Callable[[int, int], None] = lambda done, left: None,
) -> Reading:
    """The savings of a period, after what waits has been added up: `advance` is told the hours done and those left.

    Raises StoreError, also for a database of an earlier version, and FiguresError.
    """
    async with await Store.connect(url) as store:
        if await store.pending():
            raise StoreError(
                f"the log in PostgreSQL at {store.address} is of an earlier version: run `bsgateway migrate`"
            )
        complete = await refresh_all(store, retention_days, advance)
        async with store.acquire("cannot read the log in") as connection:
            return Reading(await figures_log.savings(connection, period, by), complete)


def lines(savings: Savings) -> list[Line]:
    """The groups, with names to show."""
    return [Line(_name(group, savings.by), group.sums) for group in savings.groups]


def over_time(savings: Savings) -> list[tuple[datetime, Sums]]:
    """What all requests add up to in each step of the period, in order."""
    steps: dict[datetime, Sums] = {}
    for point in savings.points:
        steps[point.at] = added(steps.get(point.at, Sums()), point.sums)
    return sorted(steps.items())


def added(one: Sums, other: Sums) -> Sums:
    """Both together."""
    return Sums(**{name: getattr(one, name) + getattr(other, name) for name in Sums.__struct_fields__})


def _name(group: Group, by: By) -> str:
    name = group.label or (group.name and group.name[:HASH_DIGITS] if by == "key" else group.name)
    return printable(name) if name else UNNAMED[by]


def local(moment: datetime, period: Period) -> str:
    """A moment as clocks of the period's time zone show it, to the minute."""
    return moment.astimezone(find_zone(period.timezone)).strftime("%Y-%m-%d %H:%M")


def step_name(at: datetime, period: Period) -> str:
    """A step of the period, by when it begins."""
    return local(at, period)[: 16 if period.step in ("quarter", "hour") else 10]


def dollars(savings: Savings) -> Callable[[float], str]:
    """How amounts of this report are written: all with the same number of decimals, cents or as many as it takes."""
    most = max(abs(savings.total.spent), abs(savings.total.baseline_cost))
    places = 2 if most >= 1 or not most else 4 if most >= 0.01 else 6

    def write(amount: float) -> str:
        rounded = round(amount, places) + 0.0  # no -0.00
        return f"{'-' if rounded < 0 else ''}${abs(rounded):,.{places}f}"

    return write


def percent(value: float | None) -> str:
    """A percentage, empty where there is none."""
    return "" if value is None else f"{value:.1f}%"


def summary(savings: Savings) -> list[str]:
    """What the numbers are of, in sentences."""
    total = savings.total
    said = [
        f"{total.requests:,} requests, {total.failed:,} failed, {total.fell_back:,} answered by another model than the "
        "chosen one.",
        f"{total.routed:,} were routed by score, {total.priced:,} of them at known prices"
        + (
            f", compared with {', '.join(map(printable, savings.baseline_models))}." if savings.baseline_models else "."
        ),
    ]
    if total.learning_cost:
        said.append(f"Answering twice to learn cost {dollars(savings)(total.learning_cost)} more.")
    return said


def as_json(savings: Savings) -> bytes:
    """The struct as it is, as a terminal may be shown it."""
    return printable_json(msgspec.json.encode(savings).decode()).encode() + b"\n"


def as_csv(savings: Savings) -> bytes:
    """One row for each group, amounts in US dollars and in full, UTF-8. There is no row of totals to add by mistake."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    sums = Sums.__struct_fields__
    writer.writerow([savings.by, "name", *sums, "saved_percent"])
    for group, line in zip(savings.groups, lines(savings), strict=True):
        known = printable(group.name) if group.name else ""
        numbers = [getattr(line.sums, name) for name in sums]
        share = "" if line.saved_percent is None else round(line.saved_percent, 4)
        writer.writerow([no_formula(known), no_formula(line.name), *numbers, share])
    return file.getvalue().encode("utf-8", "backslashreplace")


def no_formula(text: str) -> str:
    """`text` as a spreadsheet shows it, never as it computes it: names are anybody's words."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
