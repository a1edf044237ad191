"""The report of `bsgateway replay`, for people: as tables on a terminal and as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeElapsedColumn, TransferSpeedColumn
from rich.table import Table

from .gateway import load
from .replay import Report, Summary, Way, read, replay
from .terminal import printable, wide_console

_COLUMNS = (
    "session",
    "requests",
    "conversations",
    "switches kept",
    "switches alone",
    "in tool loops kept",
    "in tool loops alone",
    "cost kept $",
    "cost alone $",
    "cost top tier $",
)


def run(files: Sequence[Path], config: Path) -> Report:
    """Replay `files` under a gateway.yaml. Raises ReplayError, ConfigError."""
    gateway = load(config)
    with _progress(sum(path.stat().st_size for path in files)) as advance:
        return replay(gateway, read(files, advance))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda size: progress.advance(task, size)


def print_report(report: Report) -> None:
    """Tables and what they mean."""
    console = wide_console()
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "session" else "right")
    for summary in report.sessions:
        table.add_row(*_row(summary))
    table.add_section()
    table.add_row(*_row(report.total))
    console.print(table)
    for line in remarks(report):
        console.print(line)


def markdown(report: Report) -> str:
    """The same as a page's section."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" + "|---:" * (len(_COLUMNS) - 1) + "|"]
    lines += ["| " + " | ".join(_row(summary)) + " |" for summary in (*report.sessions, report.total)]
    return "\n".join([*lines, "", *(f"- {line}" for line in remarks(report))]) + "\n"


def remarks(report: Report) -> list[str]:
    """What the columns mean, and what is not in them."""
    total = report.total
    lines = [
        "kept: conversations keep their tier. alone: every request is decided by itself. Switches of the model: "
        "up, down, to another model of the tier.",
        f"top tier: all of it at {printable(report.top_model)}. Kept costs "
        f"{_change(total.sticky.cost, total.single.cost)} alone, and {_change(total.sticky.cost, total.top_cost)} "
        "the top tier.",
        _side(total),
    ]
    for name, way in (("kept", total.sticky), ("alone", total.single)):
        if way.forced:
            lines.append(f"{name}: {way.forced} of the switches had to be, as the model could not serve the request.")
        if way.unpriced or way.unserved:
            lines.append(f"{name}: {way.unpriced} requests without a price, {way.unserved} that no model can serve.")
    if report.fallback is not None:
        lines.append(f"strategy llm: the local LLM is not asked here; its fallback, {report.fallback}, has scored all.")
    return lines


def _row(summary: Summary) -> tuple[str, ...]:
    return (
        printable(summary.session),
        str(summary.requests),
        str(summary.conversations),
        _switches(summary.sticky),
        _switches(summary.single),
        str(summary.sticky.in_tool_loop),
        str(summary.single.in_tool_loop),
        f"{summary.sticky.cost:.4f}",
        f"{summary.single.cost:.4f}",
        f"{summary.top_cost:.4f}",
    )


def _switches(way: Way) -> str:
    return f"{way.switches} (+{way.up} -{way.down} ={way.aside})"


def _change(cost: float, other: float) -> str:
    if not other:
        return "as much as"
    share = 100 * (cost - other) / other
    return f"{abs(share):.0f} % {'less' if share < 0 else 'more'} than"


def _side(total: Summary) -> str:
    text = f"side requests: {total.side} recognised"
    if total.recall is not None:
        text += f", {total.side_right} of {total.side_labelled} that are some (recall {total.recall:.2f}"
        text += f", precision {total.precision:.2f})" if total.precision is not None else ")"
    return text + "."
