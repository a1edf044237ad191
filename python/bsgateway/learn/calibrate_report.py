"""What came of a calibration, for people."""

from __future__ import annotations

import click
from rich.table import Table

from ..terminal import printable, wide_console
from .calibrate import Measure, Setting
from .calibrate_run import Result
from .offpolicy_log import lines
from .rescored import about_scores


def print_result(result: Result) -> None:
    """The tables, what they mean, and the lines of the configuration, ready to paste."""
    console, found = wide_console(), result.calibration
    scorer = result.strategy + (f" ({result.scorer_id})" if result.scorer_id else "")
    time = f"{found.days:.1f} days" if found.days >= 1 else f"{24 * found.days:.1f} hours"
    console.print(f"{found.scored:,} requests with a score of {scorer}, {time}.")
    console.print()
    console.print(_tiers(result))
    console.print()
    for name, setting in (("now", found.now), ("proposed", found.proposed)):
        console.print(f"{name}: {_total(setting)}")
    console.print("In brackets: 95 % intervals, by conversation.")
    for line in remarks(result):
        console.print(f"- {line}")
    console.print()
    if result.written is not None:
        console.print(f"written to {printable(result.written)}:")
    click.echo(result.tiers, nl=False)


def remarks(result: Result) -> list[str]:
    """What is not in the numbers, and where else to look."""
    found, counts, beside = result.calibration, result.scored, result.beside
    text = list(found.remarks)
    if found.quality_from is not None:
        known = found.labels[found.quality_from]
        text.append(
            f"quality from {found.quality_from}s: " + ", ".join(f"{n:,} of {tier}" for tier, n in known.items())
        )
    text += about_scores(counts)
    if beside.verdicts:
        text.append(
            f"the local LLM named the tier of {beside.verdicts:,} requests: they are not in it, as they stay in that "
            "tier wherever its borders are; the others were scored by the fallback"
        )
    if beside.requests:
        text.append(
            f"{beside.requests:,} requests are not in it, as no border moves them (names, tiers asked for, side "
            f"requests, verdicts of the local LLM); they cost ${beside.cost:,.4f} in that time, as far as it is known"
        )
    text += ["off-policy, from explored requests: " + line for line in lines(result.off_policy)]
    text.append(
        "conversations keep their tier, which is not in these shares: `bsgateway replay` with the new file tells"
    )
    return text


def _tiers(result: Result) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("tier", "", "scores", "share", "$ a request", "$ a month", "quality"):
        table.add_column(name, no_wrap=True)
    found = result.calibration
    for old, new in zip(found.now.tiers, found.proposed.tiers, strict=True):
        for name, line in (("now", old), ("proposed", new)):
            first, last = line.score_range
            table.add_row(
                printable(line.tier) if name == "now" else "",
                name,
                f"{first}-{last}",
                _percent(line.share),
                _dollars(line.cost, 6),
                _dollars(line.monthly, 2),
                _percent(line.quality) if line.quality is not None else "",
            )
    return table


def _total(setting: Setting) -> str:
    kept = "" if setting.kept is None else f", {_percent(setting.kept)} of the top tier's quality"
    return f"${_dollars(setting.cost, 6)} a request, ${_dollars(setting.monthly, 2)} a month{kept}"


def _percent(found: Measure) -> str:
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _dollars(found: Measure | None, digits: int) -> str:
    if found is None:
        return "unknown"
    return f"{found.value:,.{digits}f} ({found.low:,.{digits}f} to {found.high:,.{digits}f})"
