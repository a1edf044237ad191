"""Parts of Parquet exports -> labelled rows, as those that are read from the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..config import Static
from .dataset import chunks, concat
from .design import Shard
from .labelling import Counts
from .labels import Logged, Tiers
from .log_rows import LogRows
from .parquet import BATCH_ROWS, Plan, row_groups
from .rows import Rows
from .shards import Shards

OUTCOME = frozenset(("served_group", "status", "error_class", "finish_reason"))
"""Columns that have `outcome_` before their names in an export."""
COLUMNS = {(f"outcome_{name}" if name in OUTCOME else name): name for name in Logged.__struct_fields__}
"""The columns that training reads: their names in an export, and in the view `routing_training`."""
OPTIONAL = frozenset(("ask", "llm_status", "llm_tier", "llm_confidence"))
"""The words are there if they were asked for; exports of a version before lack the others."""


class LabelledPart(Shard):
    """Labelled rows, and what became of the others."""

    def __init__(self, rows: Rows, counts: Counts) -> None:
        super().__init__(rows)
        self.counts = counts


def plan(paths: Iterable[Path], tiers: Tiers, static: Static) -> Plan:
    """Read these files or directories for training. Raises LearningError."""
    groups = row_groups(paths, COLUMNS.keys() - OPTIONAL)
    return Plan(groups, COLUMNS, OPTIONAL, True, partial(_make, tiers=tiers, static=static))


def _make(rows: Iterator[Mapping[str, Any]], tiers: Tiers, static: Static) -> LabelledPart:
    into = LogRows(tiers, static)
    found = [part for chunk in chunks(rows, BATCH_ROWS) for part in into.add(chunk)]
    found += into.finish()
    return LabelledPart(concat(found), into.counts)


def counts(shards: Shards) -> Counts:
    """What became of the rows of all parts."""
    total = Counts()
    for each in shards.map(_counts):
        for name in Counts.__struct_fields__:
            setattr(total, name, getattr(total, name) + getattr(each, name))
    return total


def _counts(part: LabelledPart) -> Counts:
    return part.counts
