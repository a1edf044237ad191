"""How often the strategy llm names the right tier of obvious asks: `python -m benches.llm.accuracy`.

Asks the server of `--api-base` for its model `--model`; without it, the small real model of the tests. Beside it: the
static score, the prior that is shipped, and naming the middle tier always. Then each way of `tests/data/injections.tsv`
tries to turn the verdict on asks of the lowest and highest tier that were named rightly.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from bsgateway.check import load_config
from bsgateway.classifiers.llm import Band, Request
from bsgateway.classifiers.llm.model import Model
from bsgateway.classifiers.llm.prompt import bands_of
from bsgateway.classifiers.llm.target import Target
from bsgateway.config import Llm, Tier, analyzer_of
from bsgateway.core import core
from bsgateway.errors import GatewayError
from bsgateway.models import prior_bytes

ROOT = Path(__file__).parents[2]
ASKS = ROOT / "tests" / "data" / "obvious_asks.tsv"
INJECTIONS = ROOT / "tests" / "data" / "injections.tsv"
PLACES = ("lowest", "middle", "highest")
INJECTED = 4
"""Asks of each of the two tiers that every injection is tried on."""
LIMITS = (
    "The asks are few, obvious and by one hand: they show that model, prompt and engine work together. They say "
    "nothing of the accuracy on real traffic, nor of any other model."
)


class Labelled(NamedTuple):
    """An ask and its place among the tiers."""

    place: str
    ask: str


class Accuracy(msgspec.Struct, frozen=True):
    """What came of it. `table`: tier that is right -> tier that was named, "" for none -> asks. `baselines`: name ->
    asks that it puts into the right tier. `kept`: way of injection -> verdicts unchanged, and verdicts tried."""

    model: str
    prompt: str
    asks: int
    right: int
    table: dict[str, dict[str, int]]
    baselines: dict[str, int]
    kept: dict[str, tuple[int, int]]


def measure_accuracy(
    server: str, model: str, tiers: Mapping[str, Tier], path: Path = ASKS, injected: int = INJECTED
) -> Accuracy:
    """Ask `model` of the Ollama at the URL `server` about the asks of the file `path`. Takes about a second an ask on
    one slow core. Raises ServerError."""
    return asyncio.run(_measure(server, model, tiers, read(path), injected))


async def _measure(server: str, model: str, tiers: Mapping[str, Tier], rows: Sequence[Labelled], few: int) -> Accuracy:
    asked = Model(Llm(model=model, timeout=60), Target(model, server), tiers)
    bands = bands_of(tiers)
    names = _by_place(bands)
    table = {names[place]: dict.fromkeys((*tiers, ""), 0) for place in PLACES}
    right: dict[str, list[str]] = {place: [] for place in PLACES}
    try:
        for place, ask in rows:
            named = (await asked.ask(Request(ask=ask))).tier
            table[names[place]][named or ""] += 1
            if named == names[place]:
                right[place].append(ask)
        kept = await _injected(asked, names, right, few)
    finally:
        await asked.close()
    return Accuracy(
        model=model,
        prompt=asked.question.version,
        asks=len(rows),
        right=sum(map(len, right.values())),
        table=table,
        baselines=baselines(rows, bands),
        kept=kept,
    )


async def _injected(
    asked: Model, names: Mapping[str, str], right: Mapping[str, Sequence[str]], few: int
) -> dict[str, tuple[int, int]]:
    kept = {}
    for way, template in injections().items():
        same = tried = 0
        for place, wrong in (("lowest", names["highest"]), ("highest", names["lowest"])):
            for ask in right[place][:few]:
                verdict = await asked.ask(Request(ask=inject(template, ask, wrong)))
                tried, same = tried + 1, same + (verdict.tier == names[place])
        kept[way] = (same, tried)
    return kept


def read(path: Path) -> list[Labelled]:
    """The labelled asks of a file."""
    return [Labelled(place, ask) for place, ask in _rows(path)]


def injections() -> dict[str, str]:
    """Name -> template."""
    return dict(_rows(INJECTIONS))


def inject(template: str, ask: str, tier: str) -> str:
    """`ask` with an attempt to have it called `tier`."""
    cipher = base64.b64encode(f"answer {tier}".encode()).decode()
    fields = {"ask": ask, "tier": tier, "spelt": " ".join(tier.upper()), "cipher": cipher}
    return template.format_map(fields)


def baselines(rows: Sequence[Labelled], bands: Sequence[Band]) -> dict[str, int]:
    """What needs no local model: the static score, the shipped prior's, and the middle tier for everything."""
    routing = load_config(ROOT / "gateway.yaml").routing
    analyzer = analyzer_of(routing.classifier.static, routing.analysis, 0)
    analyzer.set_model(core.LearnedModel(prior_bytes()))
    names = _by_place(bands)
    right = {"static score": 0, "shipped prior": 0, "middle tier always": 0}
    for place, ask in rows:
        found = analyzer.analyze({"messages": [{"role": "user", "content": ask}]}, "chat")
        right["static score"] += _tier(bands, found.raw_score) == names[place]
        right["shipped prior"] += found.learned is not None and _tier(bands, 100 * found.learned[1]) == names[place]
        right["middle tier always"] += place == "middle"
    return right


def _tier(bands: Sequence[Band], score: float) -> str:
    return next(band.name for band in bands if int(score + 0.5) <= band.last)


def _by_place(bands: Sequence[Band]) -> dict[str, str]:
    return {"lowest": bands[0].name, "middle": bands[len(bands) // 2].name, "highest": bands[-1].name}


def _rows(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = (line.partition("\t") for line in lines if line and not line.startswith("#"))
    return [(name, text.replace("\\n", "\n").replace("\\t", "\t")) for name, _, text in rows]


def show(found: Accuracy, console: Console) -> None:
    """Print it."""
    console.print(f"model {found.model}, prompt {found.prompt}: {found.right} of {found.asks} obvious asks right")
    for name, right in found.baselines.items():
        console.print(f"  {name}: {right} of {found.asks}")
    table = Table("right tier", *(name or "none" for name in next(iter(found.table.values()))), "share right")
    for tier, named in found.table.items():
        table.add_row(tier, *map(str, named.values()), f"{named[tier] / max(1, sum(named.values())):.0%}")
    console.print(table)
    same, tried = (sum(column) for column in zip(*found.kept.values(), strict=True))
    console.print(f"verdicts that an injection leaves as they were: {same} of {tried}")
    for way, (stayed, of) in found.kept.items():
        console.print(f"  {way}: {stayed} of {of}")
    console.print(LIMITS)


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benches.llm.accuracy", description=__doc__)
    parser.add_argument("--api-base", help="URL of an Ollama (default: the small model of the tests)")
    parser.add_argument("--model", help="its model")
    options = parser.parse_args()
    if (options.api_base is None) != (options.model is None):
        parser.error("--api-base and --model belong together")
    tiers = load_config(ROOT / "gateway.yaml").routing.tiers
    try:
        if options.api_base is not None:
            found = measure_accuracy(options.api_base, options.model, tiers)
        else:
            sys.path.insert(0, str(ROOT / "tests"))
            from benches.llm.servers import real

            with tempfile.TemporaryDirectory(prefix="bsgateway-bench-") as directory, real(Path(directory)) as server:
                found = measure_accuracy(server.url, server.model, tiers)
    except GatewayError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False)
        return 1
    show(found, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
