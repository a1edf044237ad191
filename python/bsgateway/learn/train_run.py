"""`bsgateway train`: where the rows come from, what runs now, and where the model goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..check import load_config
from ..cli_options import database
from ..config import Config
from ..core import core
from ..decision import now
from ..errors import GatewayError, LearningError, ModelError
from ..models import install, model_path, prior_bytes
from ..private import write_private
from ..store import Store
from .dataset import read_outcomes
from .labelling import Counts
from .labels import tiers_of
from .log_rows import LogRows, read_log
from .model_file import Model, shipped_prior
from .promotion import accept
from .rows import Rows
from .spill import Scratch, Spill
from .train import Incumbent, Trained, budget, train
from .train_report import Report, markdown

Advance = Callable[[int], None]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to train on, and what to do with the model.

    The rows: the log of the last `days`, or the files `jsonl` with outcomes of `weak` and `strong`: training takes
    about `memory` bytes, and keeps further rows in files. Or `parquet`, exports of the log, which this process, or
    `workers` of the Ray cluster at the address `ray`, keep in memory as a whole. `output`: the file to write instead of
    the model in force. `force`: take the model although it is not certain that it is better. `dry_run`: write nothing.
    """

    config: Path
    state: Path
    days: float
    jsonl: tuple[Path, ...] = ()
    weak: str = ""
    strong: str = ""
    memory: int = 2**30
    parquet: tuple[Path, ...] = ()
    ray: str | None = None
    workers: int = 1
    output: Path | None = None
    force: bool = False
    dry_run: bool = False


class Source(NamedTuple):
    """Where rows come from, for people and for the model's header, and what became of the others in the log."""

    name: str
    provenance: dict[str, Any]
    log: Counts | None = None


def run(order: Order, advance: Advance = lambda _: None) -> Report:
    """Train, compare, and promote the model if it is better. Raises GatewayError."""
    started = time.monotonic()
    config = load_config(order.config)
    prior = shipped_prior()
    runs_now = incumbent(config, order.state, prior)
    if order.parquet:
        source, trained = _parquet(order, config, runs_now, prior, advance)
        return finish(order, config, source, trained, time.monotonic() - started)
    try:
        with Scratch(order.state) as scratch:
            rows, source = _files(order, advance) if order.jsonl else _log(order, config, scratch, advance)
            by_time = not order.jsonl
            trained = train(rows, by_time, runs_now, prior, source.provenance, scratch, order.memory)
    except OSError as error:
        raise LearningError(f"cannot keep rows in {order.state}: {error.strerror or error}") from error
    return finish(order, config, source, trained, time.monotonic() - started)


def incumbent(config: Config, state: Path, prior: Model) -> Incumbent:
    """What scores requests now: by the strategy, and by whether a model has been promoted before.

    Under the strategy llm that is its fallback: it is what a new model would take the place of. The local LLM answers
    first whatever is promoted, and where its verdicts are the labels, nothing could ever agree with them better.
    """
    if config.routing.classifier.scorer == "static":
        return Incumbent("the static score", None, "static")
    path = model_path(config, state)
    try:
        data = path.read_bytes()
        if data == prior_bytes():  # somebody went back to it
            return Incumbent("the shipped prior", prior, "prior")
        return Incumbent(f"the model in {path}", Model.from_bytes(data))
    except FileNotFoundError:
        return Incumbent("the shipped prior", prior, "prior")
    except OSError as error:
        raise LearningError(f"the model in {path} cannot be read: {error.strerror or error}") from error
    except ModelError as error:  # so a gateway that starts now has the prior
        return Incumbent(f"the shipped prior, as the model in {path} is refused ({error})", prior, "prior")


def _parquet(
    order: Order, config: Config, runs_now: Incumbent, prior: Model, advance: Advance
) -> tuple[Source, Trained]:
    from . import labelled
    from .scale import shards
    from .train_parts import train_parts

    plan = labelled.plan(order.parquet, tiers_of(config), config.routing.classifier.static)
    about = {"files": sorted({Path(group.path).name for group in plan.groups})}
    with shards(plan, order.ray, order.workers) as parts:
        counts = labelled.counts(parts)
        advance(plan.rows)
        trained = train_parts(parts, runs_now, prior, about)
    return Source(", ".join(map(str, order.parquet)), about, counts), trained


def _files(order: Order, advance: Advance) -> tuple[Rows, Source]:
    from .dataset import concat

    rows = concat([read_outcomes(path, order.weak, order.strong, advance=advance) for path in order.jsonl])
    names = ", ".join(path.name for path in order.jsonl)
    about = {"files": [path.name for path in order.jsonl], "weak": order.weak, "strong": order.strong}
    return rows, Source(names, about)


def _log(order: Order, config: Config, scratch: Scratch, advance: Advance) -> tuple[Rows, Source]:
    until = now()
    since = until - timedelta(days=order.days)
    into = LogRows(tiers_of(config), config.routing.classifier.static)
    spill = Spill(scratch, budget(order.memory))
    with database(order.config, order.state) as url:
        asyncio.run(_read(url, since, into, spill, advance))
    about = {"log_since": since.isoformat(timespec="seconds"), "log_until": until.isoformat(timespec="seconds")}
    return spill.rows(), Source(f"the log of the last {order.days:g} days", about, into.counts)


async def _read(url: str, since: datetime, into: LogRows, spill: Spill, advance: Advance) -> None:
    async with await Store.connect(url) as store:
        await read_log(store, since, None, into, spill.add, advance)


def finish(order: Order, config: Config, source: Source, trained: Trained, seconds: float) -> Report:
    """Promote the model if it is better or that is forced, and write the report next to where it is, or would be. It is
    kept among the versions in any case, unless it is for a file of its own."""
    model, verdict = trained
    data = model.to_bytes()
    promoted = verdict.better or order.force
    path = order.output.absolute() if order.output else model_path(config, order.state)
    # The page beside the model in force is about that model, and no other.
    page = path.with_suffix(".md" if promoted else ".not-promoted.md")
    report = Report(
        created=model.header.created,
        source=source.name,
        promoted=promoted,
        forced=promoted and not verdict.better,
        dry_run=order.dry_run,
        scorer_id=core.LearnedModel(data).id,
        file=str(path) if promoted and not order.dry_run else None,
        report=None if order.dry_run else str(page),
        verdict=verdict,
        strategy=config.routing.classifier.strategy,
        scorer=config.routing.classifier.scorer,
        log=source.log,
        seconds=seconds,
    )
    if not order.dry_run:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if order.output is None:
                accept(path, data, verdict.now, promoted, markdown(report))
            elif promoted:
                install(data, path)
            write_private(page, markdown(report))
        except OSError as error:
            raise GatewayError(f"cannot write {path}: {error.strerror or error}") from error
    return report
