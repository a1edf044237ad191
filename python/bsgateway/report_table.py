"""`bsgateway report --format table`."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from .figures import Savings
from .report import Line, dollars, lines, local, percent, summary

NARROW = 110
"""Columns of a terminal below which the table has fewer of its own: a number must never be cut short."""


def render(savings: Savings, width: int) -> RenderableType:
    """The report for a terminal of so many columns."""
    period, total = savings.period, Line("all", savings.total)
    view = Table(box=None, pad_edge=False, show_footer=True, footer_style="bold")
    money = dollars(savings)
    rows = [_cells(line, total, money, width) for line in lines(savings)]
    footers = _cells(total, total, money, width)
    taken = sum(2 + max(len(row[name]) for row in ({name: name}, footers, *rows)) for name in footers)
    view.add_column(savings.by, footer=total.name, overflow="ellipsis", no_wrap=True, max_width=max(width - taken, 8))
    for name, footer in footers.items():
        view.add_column(name, justify="right", no_wrap=True, footer=footer)
    for line, row in zip(lines(savings), rows, strict=True):
        view.add_row(Text(line.name), *map(Text, row.values()))
    return Group(
        Text(f"From {local(period.since, period)} to {local(period.until, period)}, {period.timezone}", style="bold"),
        *map(Text, summary(savings)),
        Text(),
        _amounts(savings),
        Text(),
        view,
        Text(),
        Text(savings.assumption, style="dim"),
    )


def _amounts(savings: Savings) -> Table:
    money, total = dollars(savings), Line("", savings.total)
    view = Table(box=None, pad_edge=False, show_header=False)
    view.add_column()
    view.add_column(justify="right", style="bold")
    view.add_column()
    view.add_row("spent", money(total.sums.spent), "on all requests")
    view.add_row("routed", money(total.sums.cost), "on those that were routed by score, at known prices")
    view.add_row("top tier", money(total.sums.baseline_cost), "what these would have cost there")
    share = percent(total.saved_percent)
    view.add_row("saved", money(total.sums.saved), f"{share} of it" if share else "")
    return view


def _cells(line: Line, total: Line, money: Callable[[float], str], width: int) -> dict[str, str]:
    sums, of = line.sums, total.sums.requests
    cells = {
        "requests": f"{sums.requests:,}",
        "share": percent(100 * sums.requests / of if of else None),
        "spent": money(sums.spent),
        "routed": money(sums.cost),
        "top tier": money(sums.baseline_cost),
        "saved": money(sums.saved),
        "saved %": percent(line.saved_percent),
        "tokens in": f"{sums.prompt_tokens:,}",
        "tokens out": f"{sums.completion_tokens:,}",
    }
    left_out = ("share", "routed", "tokens in", "tokens out") if width < NARROW else ()
    return {name: text for name, text in cells.items() if name not in left_out}


def as_text(savings: Savings, width: int = 140) -> bytes:
    """The same for a file."""
    console = Console(width=width, markup=False, emoji=False, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(render(savings, width))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()).encode()
