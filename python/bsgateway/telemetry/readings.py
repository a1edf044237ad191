"""What the parts of the gateway count by themselves, as they stand now: read from time to time, and never changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from bsgateway._version import __version__
from bsgateway.core import NATIVE
from bsgateway.decision import LlmStatus
from bsgateway.log.metrics import CAUSES

from . import families as f
from .registry import Labels

if TYPE_CHECKING:
    from bsgateway.gateway import Gateway
    from bsgateway.hook import GatewayCallback


class Reading(NamedTuple):
    """A number as it stands. A counter's `source` is the one who counts: another one has begun at zero."""

    family: f.Family
    value: float
    labels: Labels = ()
    source: Any = None


def of_memo(gateway: Gateway) -> Iterator[Reading]:
    """The memo of a configuration. The next one has a memo of its own."""
    memo = gateway.memo_stats()
    yield Reading(f.MEMO_HITS, memo.hits, source=gateway)
    yield Reading(f.MEMO_MISSES, memo.misses, source=gateway)
    yield Reading(f.MEMO_EVICTIONS, memo.evictions, source=gateway)
    yield Reading(f.MEMO_BYTES, memo.bytes)
    yield Reading(f.MEMO_CAPACITY, memo.capacity_bytes)


def of_hook(callback: GatewayCallback) -> Iterator[Reading]:
    """The hook itself and what it asks."""
    yield Reading(f.BUILD_INFO, 1, (__version__, "native" if NATIVE else "python"))
    yield Reading(f.HOOK_ERRORS, callback.errors)
    yield Reading(f.TELEMETRY_ERRORS, callback.telemetry.errors)
    yield Reading(f.OPTED_OUT, callback.opted_out)
    yield Reading(f.FAILED_OPEN, callback.gateway.failed_open)
    yield Reading(f.ACCESS_ERRORS, callback.access.errors)
    yield Reading(f.SESSIONS, len(callback.sessions))
    yield Reading(f.SESSION_MISSES, callback.sessions.misses)
    yield Reading(f.RELOADS, callback.reloader.reloads)
    yield Reading(f.RELOADS_REFUSED, callback.reloader.reloads_refused)
    yield Reading(f.EXPECTATION_FAILURES, callback.lifecycle.expectations.failures)
    yield Reading(f.LOG_UNLOGGED, callback.lifecycle.unlogged)
    for model in callback.cooldowns.cooling():
        yield Reading(f.COOLING, 1, (model if model in callback.gateway.models else f.OTHER,))


def of_log(callback: GatewayCallback) -> Iterator[Reading]:
    """The log of this process, if there is one."""
    if (log := callback.lifecycle.metrics()) is None:
        return
    yield Reading(f.LOG_QUEUED, log.queued)
    yield Reading(f.LOG_SPOOLED_ROWS, log.spooled_rows)
    yield Reading(f.LOG_SPOOLED_BYTES, log.spooled_bytes)
    yield Reading(f.LOG_OLDEST, log.oldest_seconds or 0.0)
    yield Reading(f.LOG_WRITTEN, log.written)
    yield Reading(f.LOG_REPLAYED, log.replayed)
    yield Reading(f.LOG_DEAD, log.dead_lettered)
    for cause in CAUSES:
        yield Reading(f.LOG_DROPPED, log.dropped.get(cause, 0), (cause,))
    yield Reading(f.LOG_BATCHES, log.batches)
    yield Reading(f.LOG_FLUSH, log.flush_seconds)
    yield Reading(f.LOG_RETRIES, log.retries)
    yield Reading(f.LOG_CIRCUIT, log.circuit == "open")
    if log.embedding is not None:
        yield Reading(f.EMBEDDED, log.embedding.embedded, ("embedded",))
        yield Reading(f.EMBEDDED, log.embedding.failed, ("failed",))
        yield Reading(f.EMBEDDER_CIRCUIT, log.embedding.circuit == "open")


def of_dual_runs(callback: GatewayCallback) -> Iterator[Reading]:
    """Requests that are answered twice."""
    runs = callback.dual_runs.stats()
    yield Reading(f.DUAL_RUNS_DRAWN, runs.drawn)
    yield Reading(f.DUAL_RUNS_COMPARED, runs.compared)
    for cause, number in runs.dropped.items():
        yield Reading(f.DUAL_RUNS_DROPPED, number, (cause,))
    yield Reading(f.DUAL_RUNS_QUEUED, runs.queued)
    yield Reading(f.DUAL_RUNS_SPENT, runs.spent_usd)


class OfClassifiers:
    """What scores. A part that a reload takes away counts from zero when a later one brings it back."""

    def __init__(self) -> None:
        self._llm, self._file = _Times(), _Times()

    def __call__(self, callback: GatewayCallback) -> Iterator[Reading]:
        """The local LLM and the learned model, where the configuration has them."""
        llm, file = callback.gateway.llm, callback.gateway.model_file
        source = self._llm.seen(llm is not None)
        if llm is not None:
            stats = llm.stats()
            for status in LlmStatus:
                yield Reading(f.LLM_REQUESTS, stats.statuses.get(status.value, 0), (status.value,), source)
            yield Reading(f.LLM_ANSWERS, stats.asked, source=source)
            yield Reading(f.LLM_ANSWER_SECONDS, stats.seconds, source=source)
            yield Reading(f.LLM_CIRCUIT, stats.circuit != "closed")
            yield Reading(f.LLM_READY, stats.warm)
            yield Reading(f.LLM_IN_FLIGHT, stats.in_flight)
            yield Reading(f.LLM_WAITING, stats.waiting)
            yield Reading(f.LLM_MEMO_ENTRIES, stats.memo_entries)
        times = self._file.seen(file is not None)
        if file is not None:
            # Another file begins at zero, too.
            yield Reading(f.MODEL_TAKEN_UP, file.taken_up, source=(times, file.path))
            yield Reading(f.MODEL_REFUSED, file.refused, source=(times, file.path))
            if file.model is not None:
                yield Reading(f.MODEL_INFO, 1, (file.model.id, file.model.kind))


class _Times:
    """How often something has come: its number tells one time from another."""

    def __init__(self) -> None:
        self._number = 0
        self._is_there = False

    def seen(self, is_there: bool) -> int:
        self._number += is_there and not self._is_there
        self._is_there = is_there
        return self._number
