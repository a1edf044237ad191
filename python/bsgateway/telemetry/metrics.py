"""`Telemetry`: the metrics of one process, for Prometheus.

hook ── a queue ── once a second, and when somebody asks: Tally, readings ── Registry ── text

A request pays for an append. Nothing here raises into it, and what goes wrong is counted.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bsgateway.decision import Decision, Outcome
from bsgateway.errors import TelemetryError
from bsgateway.stamps import RoutingDecision

from . import readings
from .directory import DIRECTORY_VARIABLE
from .families import Family
from .readings import Reading
from .registry import Labels, Registry
from .tally import Ended, Tally

if TYPE_CHECKING:
    from bsgateway.hook import GatewayCallback

log = logging.getLogger(__name__)

PUBLISH_SECONDS = 1.0
QUEUED = 1024
"""Records that wait at most; the next one has them added up at once."""


class Telemetry:
    """The metrics of the process whose hook is `callback`. Belongs to its event loop. `errors` counts what could not be
    counted."""

    def __init__(self, callback: GatewayCallback) -> None:
        self.errors = 0
        self._callback = callback
        self._queue: deque[Decision | Ended] = deque()
        self._registry: Registry | None = None
        self._tally: Tally | None = None
        self._of_classifiers = readings.OfClassifiers()
        self._gateway = callback.gateway
        self._counted: dict[tuple[str, Labels], tuple[Any, float]] = {}
        self._lit: set[tuple[Family, Labels]] = set()
        self._seen: set[tuple[Family, Labels]] = set()
        self._said: set[str] = set()

    def decided(self, decision: Decision) -> None:
        """A request was decided. Never raises."""
        self._queue.append(decision)
        if len(self._queue) >= QUEUED:
            self.publish()

    def ended(self, routing: RoutingDecision, outcome: Outcome | None) -> None:
        """LiteLLM reports an attempt; without an outcome: that the request has failed for good. Never raises."""
        self._queue.append((routing, outcome))
        if len(self._queue) >= QUEUED:
            self.publish()

    async def run(self) -> None:
        """Keep the numbers up to date, for whichever worker is asked. Until it is cancelled."""
        self._warn_of_other_workers()
        while True:
            self.publish()
            await asyncio.sleep(PUBLISH_SECONDS)

    def publish(self) -> None:
        """Bring the numbers up to date. Never raises."""
        try:
            registry, tally = self._begun()
            self._fold(tally)
            self._flush(tally)
            taken = [self._take(registry, read) for read in self._readings()]
            if all(taken):
                self._put_out(registry)
        except Exception as error:
            self._failed(error)
            if self._registry is None:  # there is nowhere to put them
                self._queue.clear()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics as text, and its content type; OpenMetrics where the header `accept` asks for it. Raises
        TelemetryError when several workers cannot share their numbers as they were told to."""
        registry, _ = self._begun()
        self.publish()
        return registry.exposition(accept)

    def _begun(self) -> tuple[Registry, Tally]:
        if self._registry is None or self._tally is None:
            registry = Registry()  # not at import: prometheus_client takes its time, and looks at the environment
            self._registry, self._tally = registry, Tally(registry)
        return self._registry, self._tally

    def _fold(self, tally: Tally) -> None:
        gateway = self._callback.gateway
        tally.models, tally.tiers = gateway.models, gateway.config.routing.tiers
        queue = self._queue
        while queue:
            item = queue.popleft()
            try:
                if isinstance(item, Decision):
                    tally.decided(item)
                else:
                    tally.ended(item)
            except Exception as error:
                self._failed(error)

    def _flush(self, tally: Tally) -> None:
        try:
            tally.flush()
        except Exception as error:
            self._failed(error)

    def _readings(self) -> Iterator[Iterator[Reading]]:
        callback = self._callback
        if (former := self._gateway) is not callback.gateway:
            self._gateway = callback.gateway
            yield readings.of_memo(former)  # what it has come to
        yield readings.of_memo(self._gateway)
        yield readings.of_hook(callback)
        yield readings.of_log(callback)
        yield readings.of_dual_runs(callback)
        yield self._of_classifiers(callback)

    def _take(self, registry: Registry, read: Iterator[Reading]) -> bool:
        """Whether all could be read."""
        try:
            for family, value, labels, source in list(read):
                if family.kind == "counter":
                    self._rise(registry, family, labels, value, source)
                else:
                    registry.set(family, labels, value)
                    self._seen.add((family, labels))
        except Exception as error:
            self._failed(error)
            return False
        return True

    def _put_out(self, registry: Registry) -> None:
        """Set gauges to zero of which there was nothing to read any more."""
        for family, labels in self._lit - self._seen:
            registry.set(family, labels, 0)
        self._lit, self._seen = self._seen, set()

    def _rise(self, registry: Registry, family: Family, labels: Labels, value: float, source: Any) -> None:
        """Raise a counter by what `source` has counted since the last time."""
        key = family.name, labels
        counter, before = self._counted.get(key, (None, 0.0))
        if counter != source or value < before:
            before = 0.0
        if value > before or key not in self._counted:  # at zero, too: the first rise is to be seen as one
            registry.add(family, labels, value - before)
        self._counted[key] = source, value

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        kind = str(error) if isinstance(error, TelemetryError) else type(error).__name__
        if kind not in self._said:
            self._said.add(kind)
            log.error("some metrics are missing: %s", kind)

    def _warn_of_other_workers(self) -> None:
        several = multiprocessing.parent_process() is not None or "gunicorn" in os.environ.get("SERVER_SOFTWARE", "")
        off = self._callback.gateway.config.routing.telemetry.metrics == "off"
        if several and not off and not os.environ.get(DIRECTORY_VARIABLE):
            log.warning(
                "/bsgateway/metrics tells of ONE worker only, whichever is asked: set %s to an empty directory before "
                "the start, or start with `bsgateway serve --workers N`",
                DIRECTORY_VARIABLE,
            )
