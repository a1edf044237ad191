"""The report of a training, as a page next to the model and as lines on a terminal. It quotes no words of anybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ..terminal import printable
from .labelling import Counts
from .labels import Label
from .train import Interval, Verdict

NAMES = {
    "new": "the new model",
    "now": "what runs now",
    "static": "static score",
    "prior": "shipped prior",
    "length": "length of the ask",
    "random": "chance",
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a training did. `source` says where the rows come from, `log` what became of those of the log. `promoted`:
    whether the new model is the one in force now, or would be but for `dry_run`; `forced`: although it is not certain
    that it is better. `file` has the model, None if none was written. `strategy` is the one in force, `scorer` the same
    or, for llm, its fallback."""

    created: str
    source: str
    promoted: bool
    forced: bool
    dry_run: bool
    scorer_id: str
    file: str | None
    report: str | None
    verdict: Verdict
    strategy: str
    scorer: str
    log: Counts | None
    seconds: float

    @property
    def said(self) -> str:
        """What came of it, in one sentence."""
        if not self.promoted:
            return f"not promoted, what runs now stays: {self.verdict.why}"
        would = "would be promoted (dry run)" if self.dry_run else f"promoted to {self.file}"
        return f"{would}{', by --force' if self.forced else ''}: {self.verdict.why}"


def lines(report: Report) -> Iterator[str]:
    """The report for a terminal."""
    verdict = report.verdict
    yield (
        f"{verdict.rows:,} rows trained on, {verdict.held_out:,} rows of {verdict.conversations:,} conversations held "
        f"out, target {verdict.target}, {report.seconds:.1f} s"
    )
    yield from (f"  {_name(name, verdict):<22} APGR {_interval(each)}" for name, each in _routers(verdict))
    yield report.said
    yield from _remarks(report)


def markdown(report: Report) -> str:
    """The report as a page."""
    verdict = report.verdict
    parts = [
        "# Training report",
        f"Model {report.scorer_id}, {report.created}. {_sentence(report.said)}",
        f"Trained on {verdict.rows:,} rows of {printable(report.source)}; target: {_TARGETS[verdict.target]}. Held "
        f"out: {verdict.held_out:,} rows of {verdict.conversations:,} conversations. Left out of both, as their ask is "
        f"among what was trained on: {verdict.repeated:,} rows.",
        *_remarks(report),
        "## Held-out rows",
        "APGR: the share of the gap between always cheap and always dear that is recovered, on average over all shares "
        "of dear calls; chance is 0.5. In brackets the 95 % interval of the bootstrap over conversations.",
        _table(
            ("router", "APGR", "low", "high"), [_row(_name(name, verdict), each) for name, each in _routers(verdict)]
        ),
        f"New less now, on the same draws: {_interval(verdict.difference)}.",
        "## Labels",
        _table(("label", "rows", "weight", "what it says"), list(_labels(verdict, report.log))),
        "## Calibration",
        "Held-out rows in order of the probability that the cheap model fails, in bins of as many rows each.",
        _table(
            ("rows", "predicted", "observed"),
            [(f"{each.rows:,}", f"{each.predicted:.3f}", f"{each.observed:.3f}") for each in verdict.calibration],
        ),
        "## Strongest inputs",
        "How much the part of each input in the margin varies over the held-out rows.",
        _table(
            ("input", "deviation", "more of it speaks for"),
            [(each.input, f"{each.deviation:.4f}", _SPEAKS[each.rises]) for each in verdict.strongest],
        ),
    ]
    return "\n\n".join(parts) + "\n"


_TARGETS = {"fail": "the cheap model fails", "gain": "what the dear model is better by"}
_SPEAKS = {None: "", True: "the dear model", False: "the cheap model"}


def _routers(verdict: Verdict) -> list[tuple[str, Interval]]:
    found = [(name, each) for name, each in verdict.apgr.items() if name != verdict.same]
    return sorted(found, key=lambda item: -item[1].value)


def _name(name: str, verdict: Verdict) -> str:
    return f"now: {verdict.now}" if name == "now" else NAMES.get(name, name)


def _interval(each: Interval) -> str:
    return f"{each.value:.3f} ({each.low:.3f} to {each.high:.3f})"


def _row(name: str, each: Interval) -> tuple[str, ...]:
    return printable(name), f"{each.value:.3f}", f"{each.low:.3f}", f"{each.high:.3f}"


def _labels(verdict: Verdict, log: Counts | None) -> Iterator[tuple[str, ...]]:
    known = {label.value: label for label in Label}
    for name, count in (verdict.labels if log is None else dict(log.labels.most_common())).items():
        label = known.get(name)
        weight, doc = (f"{label.weight:g}", label.doc) if label else ("1", "outcomes in a file")
        yield printable(name) or "(no source)", f"{count:,}", weight, doc


def _remarks(report: Report) -> Iterator[str]:
    """What a reader should know of the rows."""
    if report.strategy == "llm":
        yield "The strategy in force is llm: what runs now is its fallback. The local LLM itself is not compared."
    if report.promoted and report.scorer != "ml":
        yield _unused(report)
    yield from _opinions(report.verdict)
    log = report.log
    if log is None:
        return
    yield f"Of {log.read:,} scored requests in the log, {log.labelled:,} have a label."
    if log.without_words:
        yield (
            f"{log.without_words:,} of them are without words, as no text was kept (collector.text: none) or exported: "
            "from these only counts were learned."
        )
    if log.old:
        yield f"{log.old:,} requests of an older version were left out, as their text was not kept."
    if log.other:
        yield f"{log.other:,} requests have features that this version cannot read, and were left out."


def _unused(report: Report) -> str:
    if report.strategy == "llm":
        return "The model is used once routing.classifier.llm.fallback, or routing.classifier.strategy, is ml."
    return f"The strategy in force is {report.strategy}: the model is used once routing.classifier.strategy is ml."


def _opinions(verdict: Verdict) -> Iterator[str]:
    """How much of it all is the opinion of the local LLM."""
    trained, source = verdict.labels.get(Label.VERDICT.value, 0), "verdicts of the local LLM (strategy llm)"
    if trained and trained == verdict.rows:
        yield f"All rows that were trained on are {source} and nothing else: the new model learns to imitate it."
    elif trained:
        yield f"{trained:,} of the rows that were trained on are {source} and nothing else; each counts little."
    if verdict.opinions:
        yield (
            f"{verdict.opinions:,} of the {verdict.held_out:,} held-out rows are such verdicts, too, as there are not "
            "enough others: there, the figures say how well a router agrees with the local LLM, not how good it is."
        )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)
