"""Rows per second by each way, as bars: `log.svg` and `log.png`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OURS, OTHERS, GREY = "#0b6e8f", "#b9bec6", "#747a85"
BUDGET = 25_000


def draw(ways: Sequence[Mapping[str, Any]], directory: Path) -> None:
    """A bar for each way, with the range of its rounds."""
    import matplotlib as mpl  # of the group `bench`, which only this needs

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    style: Any = {"font.size": 10.5, "font.family": "DejaVu Sans", "svg.fonttype": "path", "svg.hashsalt": "bsgateway"}
    with mpl.rc_context(style):
        figure, axes = plt.subplots(figsize=(9.2, 3.4), facecolor="white")
        for place, way in enumerate(ways):
            rate, least, most = (way[f"rows_per_second{part}"] for part in ("", "_least", "_most"))
            axes.barh(place, rate, color=OURS if way["way"].startswith("the log") else OTHERS, height=0.62)
            axes.plot((least, most), (place, place), color=GREY, linewidth=1.2)
            axes.annotate(f"{rate:,.0f}", (most, place), xytext=(6, 0), textcoords="offset points", va="center")
        axes.axvline(BUDGET, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.annotate("budget of COPY", (BUDGET, -0.6), color=GREY, fontsize=9, ha="center", annotation_clip=False)
        axes.set_yticks(range(len(ways)), [way["way"] for way in ways])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.15 * max(way["rows_per_second_most"] for way in ways))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.tick_params(axis="both", length=0)
        axes.grid(visible=True, axis="x", color="#e6e8eb", linewidth=0.7)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_title("Rows per second into PostgreSQL, median and range", loc="left", fontsize=12, pad=16)
        figure.tight_layout()
        figure.savefig(directory / "log.svg", metadata={"Date": None})
        figure.savefig(directory / "log.png", dpi=144, metadata={"Software": None})
        plt.close(figure)
