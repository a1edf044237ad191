"""Time of the hook by strategy, and with a server that fails: `llm.svg` and `llm.png`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .latency import ALWAYS

OURS, OTHERS, GREY = "#0b6e8f", "#b4521e", "#747a85"


def draw(results: Mapping[str, Any], directory: Path) -> None:
    """For each way a line from its median to its 99th percentile, milliseconds, logarithmic."""
    import matplotlib as mpl  # of the group `bench`, which only this needs

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter

    rows = _rows(results)
    style: Any = {"font.size": 10.5, "font.family": "DejaVu Sans", "svg.fonttype": "path", "svg.hashsalt": "bsgateway"}
    with mpl.rc_context(style):
        figure, axes = plt.subplots(figsize=(9.2, 0.42 * len(rows) + 1.3), facecolor="white")
        axes.set_xscale("log")
        for place, (_, color, row) in enumerate(rows):
            axes.plot((row["p50_ms"], row["p99_ms"]), (place, place), color=color, linewidth=2.4, alpha=0.55)
            axes.plot(row["p50_ms"], place, marker="o", markersize=6, color=color)
            axes.plot(row["p99_ms"], place, marker="|", markersize=9, color=color)
            axes.annotate(
                _time(row["p50_ms"]), (row["p50_ms"], place), xytext=(0, 7), textcoords="offset points",
                ha="center", fontsize=8.5, color=color,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.8)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _time(value)))
        axes.tick_params(axis="both", which="both", length=0)
        axes.grid(visible=True, axis="x", color="#e6e8eb", linewidth=0.7)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_title("Time of the routing hook: median (dot) to 99th percentile", loc="left", fontsize=12, pad=14)
        figure.tight_layout()
        figure.savefig(directory / "llm.svg", metadata={"Date": None})
        figure.savefig(directory / "llm.png", dpi=144, metadata={"Software": None})
        plt.close(figure)


def _rows(results: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(label, colour, row), from above to below."""
    # Of the model's answers those that were measured in turn with LiteLLM's.
    rows = [(row["way"], OURS, row) for row in results["latency"] if row["way"] != ALWAYS]
    rows += [
        (f"{'llm' if row['who'] == 'bsgateway' else row['who']}, model answers", _color(row), row)
        for row in results["side_by_side"]
        if row["level"] == 1
    ]
    for row in results["faults"]:
        who = "llm" if row["who"] == "bsgateway" else "LiteLLM"
        rows.append((f"{who}, server {row['fault']}, {row['phase']}", _color(row), row))
    return rows


def _color(row: Mapping[str, Any]) -> str:
    return OURS if row["who"] == "bsgateway" else OTHERS


def _time(ms: float) -> str:
    return f"{ms / 1e3:.3g} s" if ms >= 1e3 else f"{ms:.3g} ms" if ms >= 1 else f"{ms * 1e3:.3g} µs"
