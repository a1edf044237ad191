"""Measures the token estimator against the exact counts, on texts that it was not fitted to."""

from __future__ import annotations

import gzip
import json
import math
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from bsgateway.core import NATIVE, core

from .corpora import HELD_OUT, PACKAGES, ROOT, documents

RESULTS = ROOT / "benches" / "results"
ENCODINGS = ("o200k_base", "cl100k_base")
LEAST_SAMPLED = 16_000
"""Characters of a document from which on the samples are a quarter of it or less."""
_BOUNDS = (512, 2048, 8192)


@dataclass(frozen=True)
class Row:
    """Relative errors per document: of the estimator, of the estimator corrected by samples (None where the samples are
    most of a document), of a quarter of the characters, and of counting runs."""

    kind: str
    size: str
    encoding: str
    documents: int
    estimator: Errors
    sampled: Errors | None
    quarter: Errors
    runs: Errors


@dataclass(frozen=True)
class Errors:
    """Shares of the exact count, 0.05 being 5 %; `bias` is the median with its sign."""

    median: float
    p95: float
    worst: float
    bias: float


def measure_corpora() -> None:
    """Print the errors on the held-out documents and write them to benches/results/estimator.{json,md}."""
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for document in documents(HELD_OUT):
        size = f"{document.size // 1024} KB"
        texts[document.kind, size].append(document.text)
        family = document.kind.partition(":")[0]
        if family != document.kind:
            texts[family, size].append(document.text)
    rows = list(_rows(texts))
    _print(rows)
    RESULTS.mkdir(exist_ok=True)
    found = {"setup": _setup(), "rows": [asdict(row) for row in rows]}
    (RESULTS / "estimator.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "estimator.md").write_text(_markdown(rows))


def measure_rows(files: Iterable[Path]) -> None:
    """Print the errors on the prompts of JSON Lines files, plain or gzip. Nothing is written."""
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in files:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
            for line in lines:
                prompt = json.loads(line)["prompt"]
                bound = next((bound for bound in _BOUNDS if len(prompt) <= bound), None)
                texts[file.name.partition(".")[0], f"<= {bound}" if bound else f"> {_BOUNDS[-1]}"].append(prompt)
    _print(list(_rows(texts)))


def _rows(texts: dict[tuple[str, str], list[str]]) -> Iterator[Row]:
    for encoding in ENCODINGS:
        for (kind, size), group in sorted(texts.items(), key=lambda item: (item[0][0], len(item[0][1]), item[0][1])):
            exact = [core.count_tokens(text, encoding) for text in group]
            yield Row(
                kind,
                size,
                encoding,
                len(group),
                _errors(exact, group, lambda text, encoding=encoding: core.estimate_tokens(text, encoding)),
                _errors(exact, group, lambda text, encoding=encoding: core.sample_tokens(text, encoding))
                if all(len(text) >= LEAST_SAMPLED for text in group)
                else None,
                _errors(exact, group, lambda text: math.ceil(len(text) / 4)),
                _errors(exact, group, by_runs),
            )


def _errors(exact: list[int], texts: list[str], estimate: Callable[[str], int]) -> Errors:
    signed = [estimate(text) / tokens - 1 for text, tokens in zip(texts, exact, strict=True) if tokens]
    sizes = sorted(map(abs, signed))
    return Errors(median(sizes), sizes[math.ceil(0.95 * len(sizes)) - 1], sizes[-1], median(signed))


_RUNS = re.compile(
    r"(?P<letter>[A-Za-z]+)|(?P<digit>[0-9]+)|(?P<line>[\r\n]+)|(?P<space>[ \t]+)|(?P<mark>[!-/:-@\[-`{-\x7f]+)"
    r"|(?P<unspaced>[\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u2e80-\ud7af\uf900-\ufaff]+)|(?P<other>.+?)",
    re.DOTALL,
)
_RUN_TOKENS: dict[str, Callable[[int], float]] = {
    "letter": lambda run: math.ceil(run / 7),
    "digit": lambda run: math.ceil(run / 3),
    "line": lambda _: 1,
    "space": lambda run: int(run > 1),
    "mark": lambda run: math.ceil(run / 2),
    "unspaced": lambda run: math.ceil(3 * run / 4),
    "other": lambda run: run / 3,
}


def by_runs(text: str) -> int:
    """The estimate by the lengths of runs of one class, which the fitted table took the place of."""
    return math.ceil(sum(_RUN_TOKENS[run.lastgroup or "other"](len(run.group())) for run in _RUNS.finditer(text)))


_HEADINGS = ("kind", "size", "encoding", "documents", "estimator", "with samples", "characters / 4", "runs")


def _cells(row: Row) -> list[str]:
    errors = (row.estimator, row.sampled, row.quarter, row.runs)
    cells = (f"{e.median:.1%} / {e.p95:.1%} / {e.worst:.0%}" if e else "" for e in errors)
    return [row.kind, row.size, row.encoding, str(row.documents), *cells]


def _print(rows: list[Row]) -> None:
    table = Table(*_HEADINGS, box=box.SIMPLE, title="relative error per document: median / 95th percentile / worst")
    for row in rows:
        table.add_row(*_cells(row))
    Console(width=None if Console().is_terminal else 140).print(table)


def _markdown(rows: list[Row]) -> str:
    setup = _setup()
    lines = [
        "# Error of the token estimator",
        "",
        "Relative error per document on texts that the estimator was not fitted to: median / 95th percentile / worst.",
        "A text over the budget of exact tokens is estimated *with samples*: 8 times 512 bytes of it are counted",
        "exactly, and the estimate is corrected by how far it is off on those. Once the budget is used up, texts are",
        "estimated without.",
        "",
        f"Made by `make estimator` at commit {setup['commit']}, with tiktoken {setup['tiktoken']}; the texts are from",
        "the packages of `requirements/corpora.txt`, the logs are made (`benches/estimator/logs.py`).",
        "",
        "| " + " | ".join(_HEADINGS) + " |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([*lines, *("| " + " | ".join(_cells(row)) + " |" for row in rows), ""])


def _setup() -> dict[str, object]:
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {
        "commit": commit.stdout.strip(),
        "bsgateway": version("bsgateway"),
        "native": NATIVE,
        "tiktoken": version("tiktoken"),
        "corpora": re.findall(r"^[\w.-]+==[\w.]+", PACKAGES.read_text(), re.MULTILINE),
    }
