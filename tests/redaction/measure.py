"""How well the redactor finds what it should, and how often it takes what it should not: `make redaction`.

Prints recall for each kind of secret, false positives for each kind of look-alike, both for the lines that the rules
were tuned on and for the held-out ones; what it replaces in ordinary text (the sources of Python's library, licences
and descriptions of installed packages); and its speed. Exit code 1 below the floors.
"""

from __future__ import annotations

import importlib.metadata
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from tests.redaction.corpus import lookalikes, positives

from bsgateway import _core, reference

FLOORS = {"tune": (0.99, 0.0), "held": (0.95, 0.02)}
"""For each split: the least recall, and the most look-alikes that may be changed."""
SPLITS = tuple(FLOORS)
ORDINARY_FILES = 600
ORDINARY_CHARS = 60_000


class Share(NamedTuple):
    """`hits` of `all`."""

    hits: int
    all: int

    def __float__(self) -> float:
        return self.hits / self.all if self.all else 0.0

    def __str__(self) -> str:
        return f"{self.hits} of {self.all}"


Figures = dict[tuple[str, str], Share]


def recall(typed: bool = False) -> Figures:
    """By split and kind: secrets that gave way to a placeholder (`typed`: the right one), while all else stayed."""
    hits, count = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for positive in positives():
        place = (positive.split, positive.kind)
        placeholders = (f"[{positive.kind}]",) if typed else _core.REDACTION_PLACEHOLDERS
        wanted = {positive.before + placeholder + positive.after for placeholder in placeholders}
        count[place] += 1
        hits[place] += _core.redact(positive.text) in wanted
    return {place: Share(hits[place], count[place]) for place in count}


def false_positives() -> Figures:
    """By split and kind of look-alike: those that were changed."""
    hits, count = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for lookalike in lookalikes():
        place = (lookalike.split, lookalike.kind)
        count[place] += 1
        hits[place] += _core.redact(lookalike.text) != lookalike.text
    return {place: Share(hits[place], count[place]) for place in count}


def total(figures: Figures, split: str) -> Share:
    """All kinds of one split."""
    shares = [share for (its, _), share in figures.items() if its == split]
    return Share(sum(share.hits for share in shares), sum(share.all for share in shares))


def failures() -> list[str]:
    """The floors that are not held."""
    found, taken, problems = recall(), false_positives(), []
    for split, (least, most) in FLOORS.items():
        if float(total(found, split)) < least:
            problems.append(f"recall on {split}: {total(found, split)}, at least {least:.0%} is asked")
        if float(total(taken, split)) > most:
            problems.append(f"look-alikes changed on {split}: {total(taken, split)}, at most {most:.0%} may be")
    return problems


def ordinary_texts() -> Iterator[str]:
    """Sources of Python's library, licences and descriptions of installed packages: no secrets of anyone."""
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = [*sorted(library.glob("*.py")), *sorted(library.glob("[a-l]*/*.py"))][:ORDINARY_FILES]
    for distribution in importlib.metadata.distributions():
        for file in distribution.files or ():
            if file.name == "METADATA" or "LICENSE" in file.name:
                paths.append(Path(str(file.locate())))
    for path in paths:
        if path.is_file():
            yield path.read_bytes().decode("utf-8", "replace")[:ORDINARY_CHARS]


def speed(redact: Callable[[str], str], texts: list[str]) -> float:
    """Million characters a second of processor time."""
    began = time.thread_time()
    for text in texts:
        redact(text)
    return sum(map(len, texts)) / 1e6 / (time.thread_time() - began)


def _show(console: Console) -> None:
    found, typed, taken = recall(), recall(typed=True), false_positives()
    for title, columns in {"Secrets found": (found, typed), "Look-alikes changed": (taken,)}.items():
        table = Table("kind", title=title, title_justify="left")
        names = ("found", "right kind") if len(columns) > 1 else ("changed",)
        for split in SPLITS:
            for name in names:
                table.add_column(f"{split}: {name}", justify="right")
        for kind in dict.fromkeys(kind for _, kind in columns[0]):
            empty = Share(0, 0)
            table.add_row(kind, *(str(figures.get((split, kind), empty)) for split in SPLITS for figures in columns))
        table.add_section()
        table.add_row("all", *(f"{float(total(figures, split)):.1%}" for split in SPLITS for figures in columns))
        console.print(table)
    texts = list(ordinary_texts())
    millions = sum(map(len, texts)) / 1e6
    counts = Counter[str]()
    for text in texts:
        redacted = _core.redact(text)
        counts.update({one: redacted.count(one) - text.count(one) for one in _core.REDACTION_PLACEHOLDERS})
    table = Table("placeholder", title=f"Ordinary text, {millions:.1f} million characters", title_justify="left")
    table.add_column("in all", justify="right")
    table.add_column("per million", justify="right")
    for placeholder, count in counts.items():
        table.add_row(placeholder.strip("[]"), str(count), f"{count / millions:.1f}")
    console.print(table)
    some = texts[::40]
    native, twin = speed(_core.redact, texts), speed(reference.redact, some)
    console.print(f"Speed on it, million characters a second: {native:.0f} native, {twin:.2f} in Python")


def main() -> int:
    """Print all figures; 1 if a floor is not held."""
    console = Console()
    _show(console)
    problems = failures()
    for problem in problems:
        console.print(problem, style="red")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
