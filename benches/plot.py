"""Cost against size of the message, both logarithmic: `results/analyze.svg` and `.png`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter

LINES = {
    "LiteLLM v1": ("#b4521e", "-", "LiteLLM v1"),
    "twin, first sight": ("#7a6aa8", "-", "pure-Python twin, first sight"),
    "LiteLLM v2": ("#d99a2b", "-", "LiteLLM v2"),
    "tiktoken": ("#6b7280", "-", "tiktoken, all tokens exact"),
    "native, first sight": ("#0b6e8f", "-", "native, first sight"),
    "native, seen": ("#0b6e8f", "--", "native, seen before"),
}
"""Contender -> colour, line style and label."""
Points = Sequence[tuple[float, float]]

FIRST_SIGHT: Points = ((500, 40), (200e3, 1e3), (1e6, 1e4))
SEEN: Points = ((500, 8), (200e3, 60))
"""Bytes and microseconds of the budgets; the last of `SEEN` is a conversation's next turn."""
GREY = "#747a85"
RIGHT = 1.15e6
"""Bytes where the plot ends and the labels begin."""
LABEL_GAP = 1.75
"""Least ratio between the heights of two labels."""
HALO = [withStroke(linewidth=3, foreground="white")]


def draw(results: Any, directory: Path) -> None:
    """Draw what `results` has of the suite `sizes`."""
    style: Any = {"font.size": 10.5, "font.family": "DejaVu Sans", "svg.fonttype": "path", "svg.hashsalt": "bsgateway"}
    with mpl.rc_context(style):
        figure, axes = plt.subplots(figsize=(9.2, 5.8), facecolor="white")
        _axes(axes)
        _lines(axes, results)
        _turn(axes, results)
        figure.tight_layout()
        figure.savefig(directory / "analyze.svg", metadata={"Date": None})
        figure.savefig(directory / "analyze.png", dpi=144, metadata={"Software": None})
        plt.close(figure)


def _axes(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(380, 2.6e7)  # room for the labels at the right ends
    axes.set_ylim(0.4, 1e7)
    axes.set_xticks([1e3, 1e4, 1e5, 1e6])
    axes.xaxis.set_major_formatter(FuncFormatter(_bytes))
    axes.yaxis.set_major_formatter(FuncFormatter(_time))
    axes.tick_params(axis="both", which="minor", length=0)
    axes.tick_params(axis="both", which="major", length=3, color=GREY)
    axes.grid(visible=True, which="major", axis="x", color="#e6e8eb", linewidth=0.7)
    axes.hlines([10**power for power in range(8)], 380, RIGHT, color="#e6e8eb", linewidth=0.7, zorder=0)
    axes.spines["bottom"].set_bounds(380, RIGHT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.set_xlabel("size of the request: one message of prose", loc="left")
    axes.set_title("Median time to analyse one request", loc="left", fontsize=12, pad=12)


def _bytes(value: float, _: int) -> str:
    return f"{value / 1e6:g} MB" if value >= 1e6 else f"{value / 1e3:g} KB"


def _time(us: float, _: int) -> str:
    return f"{us / 1e6:g} s" if us >= 1e6 else f"{us / 1e3:g} ms" if us >= 1e3 else f"{us:g} µs"


def _lines(axes: Axes, results: Any) -> None:
    """The contenders and the budgets, each with its label at the right."""
    drawn: dict[str, tuple[Points, str]] = {"budget, first sight": (FIRST_SIGHT, GREY)}
    for contender, (color, style, label) in LINES.items():
        points = [
            (number, us)
            for subject, number in results.subjects("sizes").items()
            if (us := results.median("sizes", subject, contender)) is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), color=color, linestyle=style, linewidth=1.8, marker="o", markersize=4)
            drawn[label] = (points, color)
    for budget in (FIRST_SIGHT, SEEN):
        axes.plot(*zip(*budget, strict=True), color=GREY, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    axes.annotate("budget, seen before", (14e3, 38), color=GREY, fontsize=9, ha="center", path_effects=HALO)
    heights = _apart({label: line[-1][1] for label, (line, _) in drawn.items()})
    for label, (line, color) in drawn.items():
        x, y = line[-1]
        axes.annotate(
            f"{label}: {_short(y)}",
            (x, y),
            xytext=(x * 1.45, heights[label]),
            color=color,
            va="center",
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3},
        )


def _short(us: float) -> str:
    value, unit = (us / 1e6, "s") if us >= 1e6 else (us / 1e3, "ms") if us >= 1e3 else (us, "µs")
    return f"{value:.{0 if value >= 9.95 else 1}f} {unit}"


def _apart(heights: dict[str, float]) -> dict[str, float]:
    """Heights of labels, the lowest first, moved up where two would overlap."""
    names = sorted(heights, key=heights.__getitem__)
    placed: dict[str, float] = {}
    lowest = 0.0
    for name in names:
        placed[name] = max(heights[name], lowest)
        lowest = placed[name] * LABEL_GAP
    return placed


def _turn(axes: Axes, results: Any) -> None:
    """A conversation's next turn: a point of its own, as its body is of another shape."""
    us = results.median("bodies", "history_200k", "native, next turn")
    number = results.subjects("bodies").get("history_200k")
    if us is None or number is None:
        return
    color = LINES["native, seen"][0]
    axes.plot(
        [number], [us], marker="D", markersize=7, color=color, markerfacecolor="white", linestyle="none", zorder=5
    )
    axes.annotate(
        f"agent history of 200 KB,\nnewest message new: {_short(us)}",
        (number, us),
        xytext=(2.6e5, 1.8),
        ha="center",
        va="center",
        color=color,
        fontsize=9.5,
        path_effects=HALO,
        arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkB": 6},
    )
