"""What came of an evaluation, as a table and as a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from ..errors import LearningError
from .evaluate import Curve, Evaluation
from .protocol import SHARES

NAMES = {"ml": "learned", "static": "static score", "length": "prompt length", "random": "random"}
COLOURS = {"ml": "#0b6e8f", "static": "#b4521e", "length": "#7a6aa8", "random": "#747a85"}
OTHER_COLOURS = ("#d99a2b", "#3a7d44", "#6b7280")


def table(evaluation: Evaluation) -> Table:
    """The routers, the learned one first."""
    found = Table(caption=caption(evaluation), caption_justify="left")
    found.add_column("router")
    for title in ("APGR", "95 % interval", "CPT50", "CPT80"):
        found.add_column(title, justify="right")
    for name, score in evaluation.routers.items():
        bounds = f"{score.low:.3f} to {score.high:.3f}"
        found.add_row(
            NAMES.get(name, name), f"{score.apgr:.3f}", bounds, f"{score.cpt50:.0f} %", f"{score.cpt80:.0f} %"
        )
    return found


def caption(evaluation: Evaluation) -> str:
    """What the figures are of."""
    return (
        f"{evaluation.rows:,} rows, {evaluation.tested:,} tested; weak {evaluation.weak:.3f}, strong "
        f"{evaluation.strong:.3f}. Learned: {evaluation.trained_on}. Prior: {evaluation.prior}. CPT: share of calls to "
        "the strong model that recovers 50 % or 80 % of the gap."
    )


def plot(curves: Mapping[str, Curve], title: str, path: Path) -> None:
    """Draw PGR over the share of calls to the strong model, as SVG, PNG or PDF by the ending of `path`.

    Raises LearningError where matplotlib is missing, or the file cannot be written.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LearningError("--plot needs matplotlib: run `pip install 'bsgateway[plot]'`") from error
    with mpl.rc_context({"font.size": 10.5, "svg.fonttype": "path", "svg.hashsalt": "bsgateway"}):
        figure = Figure(figsize=(7.0, 5.2), layout="constrained")
        axes = figure.subplots()
        draw(axes, curves)
        axes.set_title(title, loc="left", fontsize=11)
        axes.legend(frameon=False, loc="lower right")
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        except (OSError, ValueError) as error:
            raise LearningError(f"cannot draw {path}: {error}: name a file that ends in .svg, .png or .pdf") from error


def draw(axes: Any, curves: Mapping[str, Curve]) -> None:
    """The curves of some routers with their intervals, into axes of matplotlib."""
    more = iter(OTHER_COLOURS * (1 + len(curves) // len(OTHER_COLOURS)))
    for name, curve in curves.items():
        colour = COLOURS.get(name) or next(more)
        width, opacity = (2.2, 0.18) if name == "ml" else (1.3, 0.09)
        axes.fill_between(100 * SHARES, curve.low, curve.high, color=colour, alpha=opacity, linewidth=0)
        style = "--" if name == "random" else "-"
        axes.plot(100 * SHARES, curve.pgr, style, color=colour, linewidth=width, label=NAMES.get(name, name))
    axes.set_xlim(0, 100)
    axes.set_ylim(min(0.0, min(float(curve.pgr.min()) for curve in curves.values())), 1.0)
    axes.set_xlabel("% of calls to the strong model")
    axes.set_ylabel("share of the gap recovered (PGR)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
