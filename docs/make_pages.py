"""Write the parts of docs/*.md that stand between `<!-- made: NAME -->` and `<!-- /made -->`: `make reference`.

What scoring.md says comes from the code, what performance.md and quality.md say from benches/results. No number of
theirs is typed by hand; a test fails when a committed part differs.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benches"))
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # prices do not matter here, and no start waits for them

import bsgateway
from bsgateway.config import Static
from bsgateway.core import core
from bsgateway.policy import BOUNDARY_SPAN
from bsgateway.reference.features import KEYWORD_WINDOW
from quality_section import section

DOCS = Path(__file__).parent
ROOT = DOCS.parent
RESULTS = ROOT / "benches" / "results"
EXAMPLE = "Why does this fail? Compare the two queries and optimize the slow one step by step."

_PART = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- /made -->)", re.DOTALL)

SIGNALS = {
    "token_count": ("tokens of the ask", None),
    "system_prompt": ("tokens of all system texts", "system_prompt"),
    "keyword_patterns": ("keywords, lists and questions of the ask", None),
    "conversation_length": ("asks of the user so far, from the second on", "conversation_length"),
    "code_complexity": ("lines of code in the ask", "code_complexity"),
    "tool_usage": ("tools declared", "tool_usage.tools"),
}
FLOORS = {
    "net_keywords": "complex less simple keywords",
    "ask_tokens": "tokens of the ask",
    "ask_code_lines": "lines of code in the ask",
    "ask_stack_lines": "lines of a stack trace in the ask",
    "results_since_ask": "results of tools since the ask",
    "errors_since_ask": "failed results of tools since the ask",
}


def made(text: str) -> str:
    """A page with its parts written anew. Raises KeyError for a part that nobody makes."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", text)


def signals() -> str:
    """Signals, their default weights, and where their curves reach what."""
    static, curves = Static(), core.score_table()["curves"]
    marks = {**curves, "token_count": static.token_thresholds}
    rows = []
    for name, (of, curve) in SIGNALS.items():
        where = marks.get(curve or name, ())
        rows.append((f"`{name}`", f"{getattr(static.weights, name):.2f}", of, *(map(str, where) if where else "-----")))
    results = curves["tool_usage.results"]
    rows.append(("", "", "results since the ask, the other half of `tool_usage`", *map(str, results)))
    return _table(("signal", "weight", "of", "20 at", "40 at", "60 at", "80 at", "100 at"), rows)


def constants() -> str:
    """How keywords and code are counted."""
    c = {name: f"{value:g}" for name, value in core.score_table()["constants"].items()}
    return "\n".join(
        (
            f"- `keyword_patterns` starts at {c['keyword_neutral']}. Each different complex keyword adds "
            f"{c['keyword_step']}, each simple one takes {c['keyword_step']} away. Each item of a list beyond "
            f"{c['list_item_free']} adds {c['list_item_step']}, up to {c['list_item_most']}; each question mark beyond "
            f"{c['question_free']} adds {c['question_step']}, up to {c['question_most']}. Keywords are looked for in "
            f"the first and the last {KEYWORD_WINDOW:,} characters of the ask, outside code.",
            f"- `code_complexity` gets {c['inline_code_step']} for each `inline code`, up to {c['inline_code_most']}, "
            f"and {c['stack_trace_bonus']} for a stack trace.",
            f"- `tool_usage` is {c['tools_share']} of what is declared, and the rest of how far the agent has gone.",
            f"- The confidence of a score is 0.5 on a border between tiers, and 1 from {BOUNDARY_SPAN:g} points on.",
        )
    )


def floors() -> str:
    """Floors, lowest first."""
    rows = sorted(core.score_table()["floors"], key=lambda row: (row[3], row[0]))
    return _table(
        ("the score is at least", "where there are at least", "of"),
        ((f"{floor:g}", f"{least:g}", FLOORS[feature]) for _, feature, least, floor in rows),
    )


def example() -> str:
    """The score of one ask, part by part, as `bsgateway explain` shows it."""
    gateway = bsgateway.load(ROOT / "gateway.yaml")
    decision = gateway.decide({"model": "auto", "messages": [{"role": "user", "content": EXAMPLE}]})
    rows = (
        (f"`{part.signal}`", f"{part.value:.1f}", f"{part.weight:.2f}" if part.weight else "", f"{part.points:.1f}")
        for part in decision.contributions
    )
    table = _table(("signal", "value", "weight", "points"), rows, right=3)
    return f"{table}\n\nScore {decision.complexity_score}, tier `{decision.tier}`."


def performance() -> str:
    """The figures one asks for first, each with the command that measures it."""
    proxy = _read("proxy")["rows"]
    log, faults, dead = _read("log"), _read("faults")["faults"], (RESULTS / "dead_model.md").read_text(encoding="utf-8")
    first = {row["subject"]: row for row in _read("analyze")["rows"] if row["contender"] == "native, first sight"}
    ways = {row["way"]: row for row in log["ways"]}
    slowest = max(log["record"][:3], key=lambda row: row["median"])
    left_alone = re.findall(r"^\| (?:\S.*?) \| \S+ ms \| \S+ ms \| (\S+) ms \|", dead, re.MULTILINE)
    rows = [
        (
            "Analyse a request of 0.5 KB; of 1 MB",
            f"{first['chat_500b']['median_us']:.1f} µs; {first['log_1m']['median_us'] / 1000:.1f} ms",
            "`make bench`",
            "analyze",
        ),
        *(
            (
                f"CPU of a request through the proxy, of one with a hook that does nothing (`{row['body']}`)",
                f"{row['ratio_cpu']:.3f}× ({row['ratio_cpu_low']:.3f} to {row['ratio_cpu_high']:.3f})",
                "`make bench-proxy`",
                "proxy",
            )
            for row in proxy
            if row["variant"] == "BSGateway"
        ),
        (
            f"Give the log a row, on the request's thread (slowest kind: {slowest['kind']})",
            f"{slowest['median']:.2f} µs",
            "`make bench-log`",
            "log",
        ),
        (
            "Rows of the log into PostgreSQL, through the spool; by COPY alone",
            f"{ways['the log']['rows_per_second']:,.0f}/s; {ways['COPY of 1000']['rows_per_second']:,.0f}/s",
            "`make bench-log`",
            "log",
        ),
        (
            f"Empty a backlog of {log['recovery']['rows']:,} rows",
            f"{log['recovery']['seconds']:.0f} s",
            "`make bench-log`",
            "log",
        ),
        (
            f"Rows lost or doubled in {len(faults)} injected faults, of {sum(f['decisions'] for f in faults):,}",
            f"{sum(f['lost'] for f in faults)} lost, {sum(f['duplicates'] for f in faults)} doubled",
            "`make faults`",
            "faults",
        ),
        (
            "Requests meant for a local model that is dead, once it is left alone",
            f"at most {max(map(float, left_alone)):+.0f} ms",
            "`make bench-alive`",
            "dead_model",
        ),
    ]
    return _table(
        ("what", "measured", "by", "all of it"),
        ((what, value, command, f"[{page}](../benches/results/{page}.md)") for what, value, command, page in rows),
    )


def quality() -> str:
    """Pool by pool, without the intervals that the page of results has."""
    lines = (RESULTS / "quality.md").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| APGR |"))
    table: list[list[str]] = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([re.sub(r" \(.*\)", "", cell.strip()) for cell in line.strip("|").split("|")])
    shown = ("random", "length", "static", "LiteLLM v1", "LiteLLM v2", "prior", "300 labels")
    routers = {row[0]: row for row in table[2:]}
    columns = zip(table[0][1:], *(routers[name][1:] for name in shown), strict=True)
    said = [line for line in section("\n".join(lines)).splitlines() if line.startswith("- ")]
    best = {name: sum(map(float.__gt__, *(_floats(routers[each]) for each in (name, "length")))) for name in shown[2:]}
    above = ", ".join(f"{name} {number}" for name, number in best.items())
    said.append(f"- Pools, of {len(table[0]) - 2}, on which it is above prompt length: {above}.")
    return _table(("pool", *shown), columns, right=len(shown)) + "\n\n" + "\n".join(said)


def _floats(row: list[str]) -> list[float]:
    return [float(cell) for cell in row[1:-1]]


PARTS: dict[str, Callable[[], str]] = {
    make.__name__: make for make in (signals, constants, floors, example, performance, quality)
}


def _read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _table(head: tuple[str, ...], rows: Iterable[Iterable[str]], right: int = 0) -> str:
    rule = ["---"] * (len(head) - right) + ["---:"] * right
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def main() -> None:
    """Write every page that has such parts."""
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (new := made(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} written", file=sys.stderr)


if __name__ == "__main__":
    main()
