"""How far a long command has come, on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} rows/s")


@contextmanager
def row_progress(total: int | None = None, visible: bool = True) -> Iterator[Callable[[int], None]]:
    """Show rows done so far, of `total` if that is known, and rows a second; gives what to call with more rows.

    On stderr, if that is a terminal and `visible`; gone at the end of the block.
    """
    console = Console(stderr=True)
    if not (visible and console.is_terminal):
        yield lambda _: None
        return
    of_total = "" if total is None else " of {task.total:,.0f}"
    with Progress(
        SpinnerColumn() if total is None else BarColumn(),
        TextColumn("{task.completed:,.0f}" + of_total + " rows"),
        _Rate(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda rows: progress.advance(task, rows)


@contextmanager
def hour_progress() -> Iterator[Callable[[int, int], None]]:
    """Show how many hours of the log are added up, and how many are left; gives what to call with both numbers. On
    stderr, if that is a terminal; gone at the end of the block."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, left: None
        return
    columns = (BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f} hours of the log added up"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=None, visible=False)
        yield lambda done, left: progress.update(task, completed=done, total=done + left, visible=left > 0)
