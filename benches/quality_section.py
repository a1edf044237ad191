"""README's section on routing quality, from the page that `make quality DATA=dir ARGS=--write` wrote.

    python benches/quality_section.py

That command writes the section as well; alone it is for when only the words of the section have changed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).parent / "results" / "quality.md"
README = ROOT / "README.md"
POOL = "mmlu"
"""The pool that others have published figures for, which README shows beside the mean."""
PUBLISHED = "0.603"
"""RouteLLM's best on it: arXiv 2406.18665, similarity-weighted ranking on augmented data."""
SHOWN = {
    "random": "chance",
    "length": "prompt length",
    "static": "the static score",
    "LiteLLM v1": "LiteLLM's complexity router, v1",
    "LiteLLM v2": "LiteLLM's complexity router, v2",
    "prior": "the shipped prior, no labels",
    "200 labels": "200 labels of that traffic",
    "300 labels": "300 labels",
    "1,500 labels": "1,500 labels",
    "5-fold CV": "all labels (5-fold cross-validation)",
}
"""Rows of README, by the routers of the page."""

_SECTION = re.compile(r"(?<=<!-- quality -->\n).*?(?=<!-- /quality -->)", re.DOTALL)


class Figures(NamedTuple):
    """The page's table of APGR: by router, by pool (and `mean`), as it is written there; `-` where there is none."""

    pools: tuple[str, ...]
    apgr: dict[str, dict[str, str]]

    def value(self, router: str, column: str) -> float:
        """An APGR as a number."""
        return float(self.apgr[router][column].split()[0])

    def known(self, router: str) -> list[str]:
        """The pools that have a figure of the router."""
        return [pool for pool in self.pools if self.apgr[router][pool] != "-"]


def read(page: str) -> Figures:
    """The figures of the page. Raises ValueError if its table of APGR is not there."""
    lines = page.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("| APGR |")), None)
    if start is None:
        raise ValueError("quality.md has no table of APGR: run `make quality DATA=dir ARGS=--write`")
    columns = _cells(lines[start])[1:]
    table: dict[str, dict[str, str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = _cells(line)
        table[name] = dict(zip(columns, cells, strict=True))
    return Figures(tuple(columns[:-1]), table)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def section(page: str) -> str:
    """The section of README.md, without its markers. Raises ValueError as `read`."""
    figures = read(page)
    lines = [
        f"| APGR | mean of {len(figures.pools)} pools | MMLU |",
        "| --- | ---: | ---: |",
        *(
            f"| {shown} | {_mean(figures, router)} | {_one(figures, router)} |"
            for router, shown in SHOWN.items()
            if router in figures.apgr
        ),
        f"| [RouteLLM](https://arxiv.org/abs/2406.18665), best published | - | {PUBLISHED} |",
        "",
        *misses(figures),
    ]
    return "\n".join(lines) + "\n"


def _mean(figures: Figures, router: str) -> str:
    known = len(figures.known(router))
    mean = f"{figures.value(router, 'mean'):.3f}"
    return mean if known == len(figures.pools) else f"{mean} (of {known})"


def _one(figures: Figures, router: str) -> str:
    cell = figures.apgr[router].get(POOL, "-")
    return cell.split()[0]


def misses(figures: Figures) -> list[str]:
    """What does not do what one would wish, a line each."""
    lines = []
    static, length = figures.value("static", "mean"), figures.value("length", "mean")
    if static < length:
        lines.append(
            f"- The static score ({static:.3f}) is below prompt length ({length:.3f}): it is there for a start without "
            "any model."
        )
    for router, shown in (("prior", "The prior"), ("300 labels", "A model of 300 labels")):
        below = [
            f"{pool} ({figures.value(router, pool):.3f})"
            for pool in figures.known(router)
            if figures.value(router, pool) < figures.value("length", pool)
        ]
        if below:
            lines.append(f"- {shown} is below prompt length on {len(below)} of the pools: {', '.join(below)}.")
    return lines


def with_section(readme: str, new: str) -> str:
    """README.md with its section replaced. Raises ValueError without exactly one pair of markers."""
    text, number = _SECTION.subn(lambda _: new, readme)
    if number != 1:
        raise ValueError("README.md needs one pair of <!-- quality --> and <!-- /quality -->")
    return text


def write() -> None:
    """Write README's section anew from the page."""
    text = with_section(README.read_text(encoding="utf-8"), section(PAGE.read_text(encoding="utf-8")))
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
