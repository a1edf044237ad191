"""The side of prometheus_client: holds the numbers, alone or together with other workers, and writes them out.

Several workers share a directory (`PROMETHEUS_MULTIPROC_DIR`): each writes its numbers to files there, and whichever is
asked adds them up. prometheus_client looks for the variable when it is imported, so nothing here imports it before a
`Registry` is made.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bsgateway.errors import TelemetryError

from .directory import DIRECTORY_VARIABLE
from .families import FAMILIES, Family

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.samples import Sample

Labels = tuple[str, ...]

_LIVE_GAUGES = re.compile(r"gauge_live[a-z]*_(\d+)\.db")
_SUFFIXES = ("_bucket", "_count", "_sum")
_READS = 3
MIN_FREE = 1_000_000
"""Bytes that are free where workers share numbers, before a new one is put there."""


class Registry:
    """The families of one process, in no registry that others use. Raises TelemetryError where the directory of several
    workers cannot be used."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, values

        self.is_shared = values.ValueClass is not values.MutexValue
        """Whether other workers' numbers are seen."""
        self._directory = directory = _made_directory() if self.is_shared else None
        own = CollectorRegistry()
        self._read: Callable[[], Iterable[Metric]] = own.collect
        if directory is not None:
            _check_room(directory)
            self._read = lambda: _of_all_workers(directory)
        self._metrics: dict[str, Any] = {}
        self._children: dict[tuple[str, Labels], Any] = {}
        try:
            for family in FAMILIES:
                self._metrics[family.name] = _made(family, own)
        except OSError as error:
            raise TelemetryError(f"no metrics: {DIRECTORY_VARIABLE}: {directory}: {error.strerror}") from error

    def add(self, family: Family, labels: Labels, amount: float) -> None:
        """Raise a counter, or a gauge. Raises ValueError for a counter that would fall, and TelemetryError as all that
        changes numbers does for labels that are new when the disk is full."""
        self._child(family, labels).inc(amount)

    def set(self, family: Family, labels: Labels, value: float) -> None:
        """Set a gauge."""
        self._child(family, labels).set(value)

    def observe(self, family: Family, labels: Labels, value: float) -> None:
        """Put a value into a histogram."""
        self._child(family, labels).observe(value)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All numbers as text, and its content type: the format that the header `accept` asks for. Raises
        TelemetryError where the workers' files cannot be read."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self), content_type

    def collect(self) -> Iterator[Metric]:
        """All families, in order, the same in both modes. What prometheus_client calls."""
        from prometheus_client import Metric

        found = {metric.name: metric.samples for metric in self._read()}
        for family in FAMILIES:
            metric = Metric(family.base, family.help, family.kind)
            samples = [sample for sample in found.get(family.base, ()) if not sample.name.endswith("_created")]
            if family.is_info:
                samples = [sample for sample in samples if sample.value]
            metric.samples = sorted(samples, key=_order)
            yield metric

    def _child(self, family: Family, labels: Labels) -> Any:
        key = family.name, labels
        if (child := self._children.get(key)) is None:
            if self._directory is not None and family.labels:
                _check_room(self._directory)
            metric = self._metrics[family.name]
            child = self._children[key] = metric.labels(*labels) if family.labels else metric
        return child


def _made(family: Family, registry: CollectorRegistry) -> Any:
    from prometheus_client import Counter, Gauge, Histogram

    name, help, labels = family.name, family.help, family.labels
    if family.kind == "counter":
        return Counter(name, help, labels, registry=registry)
    if family.kind == "gauge":
        return Gauge(name, help, labels, registry=registry, multiprocess_mode=family.across)
    return Histogram(name, help, labels, registry=registry, buckets=family.buckets)


def _order(sample: Sample) -> tuple[list[tuple[str, str]], int, float]:
    """By labels; the buckets of a histogram in order, its count and its sum behind them."""
    labels = sorted(item for item in sample.labels.items() if item[0] != "le")
    place = next((place for place, suffix in enumerate(_SUFFIXES) if sample.name.endswith(suffix)), 0)
    return labels, place, float(sample.labels.get("le", 0))


def _made_directory() -> Path:
    path = os.environ.get(DIRECTORY_VARIABLE)
    if not path:
        raise TelemetryError(f"no metrics: {DIRECTORY_VARIABLE} is empty; unset it, or name a directory")
    try:
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TelemetryError(f"no metrics: {DIRECTORY_VARIABLE}: {path}: {error.strerror}") from error
    return Path(path)


def _check_room(directory: Path) -> None:
    """The files of the workers are mapped into memory, with holes: what is put into a hole when the disk is full ends
    the process (SIGBUS). Numbers that are there already stay safe to change."""
    try:
        free = shutil.disk_usage(directory).free
    except OSError:  # whoever opens a file there will say so; those that are open are there all the same
        return
    if free < MIN_FREE:
        raise TelemetryError(f"no new metrics: the disk of {directory} is full: make room")


def _of_all_workers(directory: Path) -> Iterable[Metric]:
    """What all workers have counted, those that have ended included; of the gauges only what still holds."""
    from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

    for left in reversed(range(_READS)):
        try:
            for pid in {int(found[1]) for file in directory.iterdir() if (found := _LIVE_GAUGES.fullmatch(file.name))}:
                if not _runs(pid):
                    mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
            # Other callbacks of this process may keep their numbers in the same files.
            read = MultiProcessCollector(None, str(directory)).collect()  # type: ignore[no-untyped-call]
            return [metric for metric in read if metric.name.startswith("bsgateway_")]
        except (OSError, struct.error) as error:
            # The file of a worker that just starts is empty for a moment; other workers remove those of dead ones, too.
            if not left:
                raise TelemetryError(f"no metrics: {directory} cannot be read: {error}") from error
    raise AssertionError("unreachable")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended and its parent does not know yet: the supervisor of the workers takes its time."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # not on Linux, or gone by now
        return False
    return stat.rpartition(b") ")[2].startswith(b"Z")
