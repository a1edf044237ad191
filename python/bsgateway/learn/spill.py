"""Rows that may be more than fit in memory: once they are, the large arrays lie in files that are mapped into it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ..core import core
from .dataset import concat
from .rows import Rows

SMALL = tuple(field.name for field in fields(Rows) if field.name not in ("inputs", "words"))
"""Fields that are never spilled: some 80 bytes a row."""
CHUNK = 4_096
"""Rows that are copied at once."""
_FILES = {"inputs": np.float64, "values": np.float32, "indices": np.int32}


class Scratch:
    """A place in the directory `parent` for files that are gone at the end of the block. Only their owner can read
    them; nothing is made before it is needed. Raises OSError."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._directory: Path | None = None

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory)

    def directory(self) -> Path:
        """A new directory."""
        if self._directory is None:
            self._parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory = Path(tempfile.mkdtemp(prefix="train-", dir=self._parent))
        return Path(tempfile.mkdtemp(dir=self._directory))


class Spill:
    """Takes rows and gives them back as one `Rows`, in the order in which they came.

    While inputs and words are at most `budget` bytes they stay in memory; beyond it they go to files in `scratch`,
    which must stay for as long as the rows are used. Raises OSError when those cannot be written.
    """

    def __init__(self, scratch: Scratch, budget: int) -> None:
        self._scratch = scratch
        self._budget = budget
        self._bytes = 0
        self._parts: list[Rows] = []
        self._files: dict[str, IO[bytes]] = {}
        self._small: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in SMALL}
        self._counts: list[npt.NDArray[np.int64]] = [np.zeros(1, np.int64)]

    @property
    def spilled(self) -> bool:
        """Whether the rows lie in files."""
        return bool(self._files)

    def add(self, rows: Rows) -> None:
        """Add rows behind those that are there."""
        self._parts.append(rows)
        self._bytes += size(rows)
        if self._bytes > self._budget:
            if not self._files:
                place = self._scratch.directory()
                self._files = {name: (place / name).open("wb") for name in _FILES}
            while self._parts:
                self._write(self._parts.pop(0))

    def rows(self) -> Rows:
        """All rows that were added; nothing can be added afterwards."""
        if not self._files:
            return concat(self._parts)
        large = {name: self._mapped(name) for name in _FILES}
        starts = np.cumsum(np.concatenate(self._counts))
        return Rows(
            inputs=large["inputs"].reshape(len(starts) - 1, -1),
            words=sp.csr_matrix((large["values"], large["indices"], starts), (len(starts) - 1, core.WORD_BUCKETS)),
            **{name: np.concatenate(parts) for name, parts in self._small.items()},
        )

    def _write(self, rows: Rows) -> None:
        columns = {"inputs": rows.inputs, "values": rows.words.data, "indices": rows.words.indices}
        for name, dtype in _FILES.items():
            self._files[name].write(np.ascontiguousarray(columns[name], dtype).data)
        self._counts.append(np.diff(rows.words.indptr).astype(np.int64))
        for name, parts in self._small.items():
            parts.append(getattr(rows, name))

    def _mapped(self, name: str) -> npt.NDArray[Any]:
        file, dtype = self._files[name], _FILES[name]
        file.close()
        empty = Path(file.name).stat().st_size == 0  # which cannot be mapped
        return np.zeros(0, dtype) if empty else np.memmap(file.name, dtype, "r")


def size(rows: Rows) -> int:
    """Bytes of the inputs and words."""
    return int(rows.inputs.nbytes + rows.words.data.nbytes + rows.words.indices.nbytes)


def take(rows: Rows, index: npt.NDArray[np.intp], scratch: Scratch, budget: int) -> Rows:
    """The rows at positions `index`, in its order, without ever holding more than `budget` bytes of them."""
    spill = Spill(scratch, budget)
    for start in range(0, len(index), CHUNK):
        spill.add(rows[index[start : start + CHUNK]])
    return spill.rows()
