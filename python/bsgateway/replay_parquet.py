"""`bsgateway replay --parquet`: the replay of the log, from exports, in parts that are decided side by side.

Each part has whole conversations, in the order of time; what came of the parts adds up to what comes of all. The time
that is replayed is that of the exports, and a log in files does not say which answers to expect: costs of requests
without an answer that is known are those of a gateway that has just begun.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .check import load_config
from .config import Config
from .core import core
from .decision import Strategy
from .errors import ModelError, ReplayError
from .gateway import Gateway
from .log_scores import LogScorer, without_asking
from .models import model_path, prior_bytes
from .past import Past
from .replay_log import Findings, LogReplay, LogReport

if TYPE_CHECKING:
    from .replay_log_report import Question

BEGINNING = datetime(1970, 1, 1, tzinfo=timezone.utc)
BATCH_ROWS = 500
COLUMNS = {name: name for name in Past.__struct_fields__}
OPTIONAL = frozenset(("ask", "llm_status", "llm_model", "llm_prompt"))
"""The words are there if they were asked for; exports of a version before lack the others."""


class Task(NamedTuple):
    """What to decide by. `model`: the file of the learned score, which the strategy ml needs, also as a fallback. See
    `LogReplay`."""

    config: Config
    logged_by: Config
    strategy: Strategy
    model: bytes | None
    most: int
    texts: bool

    def replay(self, since: datetime = BEGINNING) -> LogReplay:
        """Nothing is decided yet. Raises ModelError."""
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # prices from its package, on any machine
        gateway = Gateway(self.config)
        logged_by = gateway if self.logged_by == self.config else Gateway(self.logged_by)
        try:
            model = None if self.model is None else core.LearnedModel(self.model)
        except ValueError as error:
            raise ModelError(f"the model would be refused: {error}") from error
        scorer = LogScorer(self.config, self.logged_by, self.strategy, model)
        return LogReplay(gateway, logged_by, scorer, since, self.most, self.texts)


class Replayed(NamedTuple):
    """What came of a part, and the time of its first and last row."""

    findings: Findings
    since: datetime | None
    until: datetime | None


def task_of(question: Question) -> Task:
    """The same question, as it can be sent to workers. Raises ConfigError and ModelError."""
    config = load_config(question.config)
    same = question.logged_by.resolve() == question.config.resolve()
    strategy = question.strategy or Strategy(
        config.routing.classifier.strategy if question.model is None else Strategy.ML.value
    )
    learned = without_asking(strategy, config) is Strategy.ML
    model = model_bytes(config, question.state, question.model) if learned else None
    logged_by = config if same else load_config(question.logged_by)
    return Task(config, logged_by, strategy, model, question.most, question.texts)


def model_bytes(config: Config, state: Path, path: Path | None) -> bytes:
    """The file at `path`, or that of the model that a gateway with `config` scores by. Raises ModelError."""
    found = path or model_path(config, state)
    try:
        return found.read_bytes()
    except FileNotFoundError:
        if path is None:
            return prior_bytes()
        raise ModelError(f"there is no model {path}") from None
    except OSError as error:
        raise ModelError(f"{found} cannot be read: {error.strerror}") from error


def run(paths: tuple[Path, ...], task: Task, ray: str | None, workers: int) -> LogReport:
    """Replay exports, in this process or on the workers of the cluster at the address `ray`.

    Raises ReplayError, LearningError and ModelError.
    """
    from .learn.parquet import Plan, row_groups
    from .learn.scale import shards

    groups = row_groups(paths, COLUMNS.keys() - OPTIONAL)
    plan = Plan(groups, COLUMNS, OPTIONAL, False, partial(_replayed, task=task))
    with shards(plan, ray, workers) as parts:
        found = parts.map(_itself)
    since = min((each.since for each in found if each.since is not None), default=BEGINNING)
    until = max((each.until for each in found if each.until is not None), default=BEGINNING)
    total = task.replay(since)
    for each in found:
        total.add(each.findings)
    return total.report(until)


def _replayed(rows: Iterator[Mapping[str, Any]], task: Task) -> Replayed:
    replay = task.replay()
    since = until = None
    while batch := list(islice(rows, BATCH_ROWS)):
        try:
            pasts = [msgspec.convert(row, Past) for row in batch]
        except msgspec.ValidationError as error:
            raise ReplayError(f"the export has a row of another version: {error}: export it anew") from None
        replay.take(pasts)
        since = since or pasts[0].created_at
        until = pasts[-1].created_at
    return Replayed(replay.findings(), since, until)


def _itself(part: Replayed) -> Replayed:
    return part
