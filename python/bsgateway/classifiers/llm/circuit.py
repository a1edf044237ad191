"""A circuit breaker: whether a server that has failed is asked at all.

closed ── so many failures in a row ──> open ── a probe ──> half open ── it succeeds ──> closed
                                          └────── it fails ──────┘

While it is not closed only the probe asks. All kinds of failure count alike: a refused connection and a missing model
cost a request hardly any time until the circuit opens, a hang costs each its whole time-out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

from ...decision import LlmStatus
from ...log.backoff import delay
from ...telemetry.events import event

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LAST_PAUSE = 30.0
"""Seconds before a probe, at most; half of that at least."""


class CircuitState(Enum):
    """Requests pass (closed), do not (open), and do not while a probe is under way (half_open)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit:
    """The circuit of the model `name`, which opens after `open_after` failures in a row. Belongs to one thread."""

    def __init__(self, name: str, open_after: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.state = CircuitState.CLOSED
        self._name = name
        self._open_after = open_after
        self._clock = clock
        self._failures = 0
        self._probes = 0
        self._since = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether requests may pass."""
        return self.state is CircuitState.CLOSED

    def follow(self, former: Circuit) -> None:
        """Go on from where `former`, of the same server and model, stands."""
        self.state = CircuitState.CLOSED if former.is_closed else CircuitState.OPEN  # its probe ends with it
        # Pauses begin anew: the other configuration may be what mends it.
        self._failures, self._since = former._failures, former._since

    def succeeded(self) -> None:
        """A request was answered. One that was sent before the circuit opened does not close it: a probe will."""
        if self.is_closed:
            self._failures = self._probes = 0

    def failed(self, kind: LlmStatus) -> None:
        """A request was not answered."""
        if self.is_closed:
            self._failures += 1
            if self._failures >= self._open_after:
                self.trip(kind)

    def trip(self, kind: LlmStatus) -> None:
        """Open, whatever was before: the model is known not to answer."""
        if self.is_closed:
            # The pauses go on growing until a request is answered: a model that is quick about the probe alone would
            # cost some requests their whole time-out every second.
            self.state, self._since = CircuitState.OPEN, self._clock()
            log.warning(
                "the local LLM %s is left alone until it answers a probe: %s; `bsgateway doctor` says what to do",
                self._name,
                kind.value,
                extra=event("circuit_opened", circuit="llm", model=self._name, cause=kind.value),
            )

    @contextmanager
    def probe(self) -> Iterator[None]:
        """Around a probe: if the block raises, the circuit is open again, else closed."""
        self.state = CircuitState.HALF_OPEN
        self._probes += 1
        try:
            yield
        except BaseException:
            self.state = CircuitState.OPEN
            raise
        self.state, self._failures = CircuitState.CLOSED, 0
        seconds = self._clock() - self._since
        told = event("circuit_closed", circuit="llm", model=self._name, seconds=round(seconds, 3))
        log.warning("the local LLM %s answers again, after %.1f s", self._name, seconds, extra=told)

    def pause(self) -> float:
        """Seconds to wait before the next probe: longer with each since a request was answered, and not the same in all
        workers."""
        return delay(self._probes, FIRST_PAUSE, LAST_PAUSE)
