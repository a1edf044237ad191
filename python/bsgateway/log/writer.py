"""Writing batches to a sink: again and again until every row of them is written, or lies with the dead letters."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from bsgateway.decision import now
from bsgateway.log import backoff
from bsgateway.log.chunk import Unreadable
from bsgateway.log.queue import QUIET
from bsgateway.log.sink import RowRefused, Sink, SinkTimeout, SinkUnavailable
from bsgateway.rows import Item
from bsgateway.telemetry.events import event

log = logging.getLogger(__name__)

FIRST_RETRY = 0.1  # seconds; doubles with each failure
LAST_RETRY = 15.0
PATIENCE = 3  # so many time-outs in a row, and a batch is halved
HURRIED_RETRY = 0.25  # while the process waits for its end


class Writer:
    """Settles batches, one at a time.

    While the sink is unavailable, `write` waits, with jitter and ever longer, and tries again: one circuit for all
    batches, open until one of them succeeds. A row that the sink refuses is found by halving its batch, and buried; the
    others are written. What not even the dead letters take is given to `drop`.
    """

    def __init__(self, sink: Sink, drop: Callable[[str, int, str], None]) -> None:
        self._sink = sink
        self._drop = drop
        self._hurried = False
        self._awake = asyncio.Event()
        self._failures = 0
        self._failing_since = 0.0
        self._quiet_until = 0.0
        self._letters_quiet_until = 0.0
        self.written = self.dead_lettered = self.batches = self.retries = 0
        self.flush_seconds = 0.0
        self.last_flush_seconds: float | None = None
        self.last_flush_at: datetime | None = None
        self.last_error: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the circuit is: the sink is unavailable, as far as is known."""
        return self._failures > 0

    async def write(
        self,
        records: Sequence[Item],
        unreadable: Sequence[Unreadable] = (),
        give_up: Callable[[], bool] = lambda: False,
    ) -> list[Item]:
        """Return when every one of them is settled, or after a failure when `give_up()`; the records that are left.

        Nothing is lost when it is cancelled: the same may come again.
        """
        parts = [list(records)] if records else []  # of one batch, the next one last
        timeouts = 0
        while parts:
            part = parts[-1]
            began = time.monotonic()
            try:
                await self._sink.write(part)
            except RowRefused as error:
                self._succeeded()  # the server answers
                if len(part) > 1:
                    _halve(parts)
                else:
                    await self._bury(part[0], str(error))
                    parts.pop()
            except Exception as error:
                # SinkUnavailable, or a fault of the sink itself: it must neither lose rows nor end this task.
                await self._wait_after(error)
                if give_up():
                    return [record for part in reversed(parts) for record in part]
                timeouts = timeouts + 1 if isinstance(error, SinkTimeout) else 0
                if timeouts >= PATIENCE and len(part) > 1:  # or it would be too much for ever
                    _halve(parts)
                    timeouts = 0
            else:
                parts.pop()
                self._count(len(part), time.monotonic() - began)
                self._succeeded()
        for record in unreadable:
            await self._bury(record, "this version cannot read it")
        return []

    def hurry(self) -> None:
        """From now on wait but shortly between two tries."""
        self._hurried = True
        self._awake.set()

    async def _bury(self, item: Item | Unreadable, reason: str) -> None:
        self.last_error = reason
        kind = item.kind if isinstance(item, Unreadable) else type(item).__name__
        while True:
            try:
                await self._sink.bury(item, reason)
            except RowRefused as error:
                self._succeeded()
                self._drop("refused", 1, f"a {kind}: {error}")
                return
            except Exception as error:
                await self._wait_after(error)
            else:
                self._succeeded()
                self.dead_lettered += 1
                self._report_letter(kind, getattr(item, "decision_id", None), reason)
                return

    def _report_letter(self, kind: str, decision_id: object, reason: str) -> None:
        if time.monotonic() >= self._letters_quiet_until:
            self._letters_quiet_until = time.monotonic() + QUIET
            log.error(
                "routing log: the %s of decision %s is refused and lies in routing_dead_letters, as %d rows so far: %s",
                kind, decision_id, self.dead_lettered, reason,
            )  # fmt: skip

    async def _wait_after(self, error: Exception) -> None:
        self.retries += 1
        self.last_error = str(error) if isinstance(error, SinkUnavailable) else type(error).__name__
        opened = not self._failures
        if opened:
            self._failing_since = time.monotonic()
        if opened or time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + QUIET
            told = event("circuit_opened", circuit="log", cause=self.last_error) if opened else None
            log.warning("routing log: cannot write, rows wait: %s", self.last_error, extra=told)
        seconds = backoff.delay(self._failures, FIRST_RETRY, LAST_RETRY)
        self._failures += 1
        await self._sleep(seconds)

    async def _sleep(self, seconds: float) -> None:
        """Wait, but shortly once it is hurried."""
        # Not asyncio.wait_for: until Python 3.12 it can swallow the cancellation that ends this task.
        self._awake.clear()
        seconds = min(seconds, HURRIED_RETRY) if self._hurried else seconds
        timer = asyncio.get_running_loop().call_later(seconds, self._awake.set)
        try:
            await self._awake.wait()
        finally:
            timer.cancel()

    def _count(self, rows: int, seconds: float) -> None:
        self.written += rows
        self.batches += 1
        self.flush_seconds += seconds
        self.last_flush_seconds = seconds
        self.last_flush_at = now()

    def _succeeded(self) -> None:
        if self._failures:
            seconds = time.monotonic() - self._failing_since
            told = event("circuit_closed", circuit="log", seconds=round(seconds, 3))
            log.warning("routing log: writing again after %.1f s", seconds, extra=told)
            self._failures = 0
            self._quiet_until = 0.0


def _halve(parts: list[list[Item]]) -> None:
    part = parts.pop()
    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
