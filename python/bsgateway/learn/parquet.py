"""Parquet exports of the log (`bsgateway logs export --format parquet`), read in any number of parts.

A row group is read at once, by one process. Its rows go to the parts by their conversation, so that each part has whole
conversations; within a part they are in the order of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import LearningError
from .same_ask import hash63

if TYPE_CHECKING:
    from pyarrow import Table

PART_BYTES = 256_000_000
"""A part is made of about so many bytes of row groups, uncompressed."""
BATCH_ROWS = 1_000
"""Rows that are Python objects at once."""
NOT_SCORED = ("side_request", "failed_open")
"""Reasons of decisions that teach nothing, as in the query `training_rows`."""
_KEYS = ("conversation_id", "session_id", "decision_id")


class RowGroup(NamedTuple):
    """What is read at once: the path of a file, which all workers must see by it, the number of a row group in it, and
    how many rows and bytes (uncompressed) that has."""

    path: str
    number: int
    rows: int
    bytes: int


class Plan(NamedTuple):
    """What is read of exports, and what becomes of it; it can be pickled.

    `columns`: those that are read, by their names in the files, and what they are called from then on; those of
    `optional` need not be there. `only_scored`: leave out what training has no use for. `make` makes a part: of the
    mappings that are its rows.
    """

    groups: Sequence[RowGroup]
    columns: Mapping[str, str]
    optional: frozenset[str]
    only_scored: bool
    make: Callable[[Iterator[Mapping[str, Any]]], Any]

    @property
    def rows(self) -> int:
        """How many there are, before any is left out."""
        return sum(group.rows for group in self.groups)

    def parts(self, workers: int = 1) -> int:
        """How many to make: at least one for each worker, and none too large."""
        return max(workers, -(-sum(group.bytes for group in self.groups) // PART_BYTES))

    def made_of(self, tables: Sequence[Table]) -> Any:
        """The part whose tables these are, one of each row group."""
        import pyarrow as pa

        table = pa.concat_tables(tables, promote_options="default").sort_by("decision_id")
        table = table.rename_columns([self.columns[name] for name in table.column_names])
        return self.make(row for batch in table.to_batches(BATCH_ROWS) for row in batch.to_pylist())


def row_groups(paths: Iterable[Path], columns: Iterable[str]) -> list[RowGroup]:
    """The row groups of files, and of the files `*.parquet` in directories, in the order of their names.

    Raises LearningError: nothing there, a file that is no Parquet or lacks one of `columns`, pyarrow is missing.
    """
    parquet = _pyarrow()
    groups: list[RowGroup] = []
    for path in _files(paths):
        try:
            with parquet.ParquetFile(path) as file:
                names, metadata = file.schema_arrow.names, file.metadata
        except (OSError, ValueError) as error:  # pyarrow's own errors are among them
            raise LearningError(f"{path} cannot be read as Parquet: {error}") from error
        if missing := sorted({*columns} - {*names}):
            raise LearningError(f"{path} has no column {', '.join(missing)}: export it with this version of bsgateway")
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            groups.append(RowGroup(str(path.absolute()), number, group.num_rows, group.total_byte_size))
    return groups


def _files(paths: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not found:
            raise LearningError(f"{path} has no *.parquet: write some with `bsgateway logs export --format parquet`")
        files += found
    return files


def split(plan: Plan, place: int, parts: int) -> list[Table]:
    """The rows of one of the plan's row groups, by part, in their order. Raises LearningError."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parquet, group = _pyarrow(), plan.groups[place]
    try:
        with parquet.ParquetFile(group.path) as file:
            there = {*file.schema_arrow.names}
            columns = [name for name in plan.columns if name in there or name not in plan.optional]
            table = file.read_row_group(group.number, columns=list(dict.fromkeys((*columns, *_KEYS))))
    except (OSError, ValueError) as error:
        raise LearningError(f"{group.path} cannot be read: {error}; every worker must see it by this path") from error
    if plan.only_scored:
        scored = pc.invert(pc.is_in(table["reason"], pa.array(NOT_SCORED)))
        table = table.filter(pc.and_(pc.is_valid(table["features"]), scored))
    places = _places(pc.coalesce(*(table[key] for key in _KEYS)), parts)
    table = table.select(columns)
    return [table.filter(pa.array(places == part)) for part in range(parts)]


def _places(keys: Any, parts: int) -> npt.NDArray[np.int64]:
    """The part of each row: int64 [n]."""
    encoded = keys.combine_chunks().dictionary_encode()
    by_key = np.array([hash63(key) % parts for key in encoded.dictionary.to_pylist()], dtype=np.int64)
    places: npt.NDArray[np.int64] = by_key[encoded.indices.to_numpy()]
    return places


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise LearningError("Parquet needs pyarrow: run `pip install 'bsgateway[scale]'`") from None
    return pyarrow.parquet
