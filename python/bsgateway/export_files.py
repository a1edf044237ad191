"""The files of `bsgateway logs export`: JSON lines and Parquet, and a file that is there only when it is whole."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from .decision import Contribution, Skipped
from .errors import ExportError
from .export import Kind

if TYPE_CHECKING:
    from .export import Row, Writer

# A row group is what Parquet's writer keeps in memory, and what its readers read at once.
GROUP_ROWS = 50_000
GROUP_BYTES = 64_000_000


class JsonLines:
    """One JSON object a line, in UTF-8. A float that JSON has no word for (NaN, Infinity) is null."""

    def __init__(self, file: IO[bytes], columns: Mapping[str, Kind]) -> None:
        self._file = file
        self._names = tuple(columns)
        self._encoder = msgspec.json.Encoder()
        self._bytes = 0

    def write(self, rows: Sequence[Row]) -> None:
        """See `Writer.write`."""
        lines = self._encoder.encode_lines([dict(zip(self._names, row, strict=False)) for row in rows])
        self._file.write(lines)
        self._bytes += len(lines)

    def finish(self) -> int:
        """See `Writer.finish`."""
        return self._bytes

    def abandon(self) -> None:
        """See `Writer.abandon`."""


class Parquet:
    """Parquet with zstd. Ids are strings, moments timestamps in microseconds (UTC), contributions a list of structs.

    Raises ExportError when pyarrow is missing.
    """

    def __init__(self, file: IO[bytes], columns: Mapping[str, Kind]) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise ExportError(
                "Parquet needs pyarrow: run `pip install 'bsgateway[export]'`, or use --format jsonl"
            ) from None
        self._arrow = pyarrow
        types = _arrow_types(pyarrow)
        self._schema = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
        self._convert: list[Callable[[Any], Any] | None] = [_CONVERT.get(kind) for kind in columns.values()]
        self._file = file
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._waiting: list[Any] = []

    def write(self, rows: Sequence[Row]) -> None:
        """See `Writer.write`."""
        arrays = []
        for values, convert, field in zip(zip(*rows, strict=True), self._convert, self._schema, strict=False):
            arrays.append(self._arrow.array(map(convert, values) if convert else values, type=field.type))
        self._waiting.append(self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        if (
            sum(batch.num_rows for batch in self._waiting) >= GROUP_ROWS
            or sum(batch.nbytes for batch in self._waiting) >= GROUP_BYTES
        ):
            self._write_group()

    def finish(self) -> int:
        """See `Writer.finish`."""
        if self._waiting:
            self._write_group()
        self._writer.close()
        return self._file.tell()

    def abandon(self) -> None:
        """See `Writer.abandon`."""
        self._writer.is_open = False  # or it writes the end of the file when it is collected

    def _write_group(self) -> None:
        self._writer.write_table(self._arrow.Table.from_batches(self._waiting))
        self._waiting.clear()


FORMATS: Mapping[str, Callable[[IO[bytes], Mapping[str, Kind]], Writer]] = {"jsonl": JsonLines, "parquet": Parquet}


@contextlib.contextmanager
def formatted(file: IO[bytes], format_: str, columns: Mapping[str, Kind]) -> Iterator[Writer]:
    """A writer of one of FORMATS, abandoned if the block fails."""
    writer = FORMATS[format_](file, columns)
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise


def _arrow_types(arrow: Any) -> dict[Kind, Any]:
    return {
        Kind.ID: arrow.string(),
        Kind.MOMENT: arrow.timestamp("us", tz="UTC"),
        Kind.TEXT: arrow.string(),
        Kind.SMALL: arrow.int16(),
        Kind.INTEGER: arrow.int32(),
        Kind.BIG: arrow.int64(),
        Kind.NUMBER: arrow.float64(),
        Kind.FLAG: arrow.bool_(),
        Kind.TEXTS: arrow.list_(arrow.string()),
        Kind.NUMBERS: arrow.list_(arrow.float32()),
        Kind.CONTRIBUTIONS: arrow.list_(
            arrow.struct(
                [
                    ("signal", arrow.string()),
                    ("value", arrow.float64()),
                    ("weight", arrow.float64()),
                    ("points", arrow.float64()),
                ]
            )
        ),
        Kind.SKIPPED: arrow.list_(arrow.struct([("model", arrow.string()), ("reason", arrow.string())])),
    }


def _all_of(record: type[Contribution | Skipped], noun: str) -> Callable[[Any], Any]:
    """A check that each of a list has the fields of `record`: pyarrow would leave out any other without a word."""
    fields = set(record.__struct_fields__)

    def check(found: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        if found is not None and any(each.keys() != fields for each in found):
            raise ExportError(f"the log holds {noun} of another version: upgrade bsgateway, or use --format jsonl")
        return found

    return check


_CONVERT: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.ID: str,
    Kind.CONTRIBUTIONS: _all_of(Contribution, "contributions"),
    Kind.SKIPPED: _all_of(Skipped, "skipped candidates"),
}


@contextlib.contextmanager
def destination(path: Path | None, force: bool) -> Iterator[IO[bytes]]:
    """The file to write, that none but its owner can read; None: the standard output.

    It is written under another name in the same directory and has its own only once it is whole and on the disk. Raises
    ExportError when it is there already and not `force`, and when it cannot be written. BrokenPipeError comes as it is.
    """
    try:
        if path is None:
            file = sys.stdout.buffer
            yield file
            file.flush()
        else:
            with _whole_file(path.resolve(), force) as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ExportError(f"cannot write {path or 'the standard output'}: {error.strerror or error}") from error


@contextlib.contextmanager
def _whole_file(path: Path, force: bool) -> Iterator[IO[bytes]]:
    _refuse_to_replace(path, force)
    handle, name = tempfile.mkstemp(prefix=".bsgateway-", suffix=".part", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _refuse_to_replace(path, force)  # an export may take hours
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _refuse_to_replace(path: Path, force: bool) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):  # a directory, or a device such as /dev/null
        raise ExportError(f"{path} is not a file: choose another with -o")
    if not force:
        raise ExportError(f"{path} is there already: choose another file with -o, or replace it with --force")
