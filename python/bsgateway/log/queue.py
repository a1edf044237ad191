"""The queue between the requests and the log's thread: bounded, counted, and never in the way."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence

from bsgateway.decision import Texts
from bsgateway.rows import Item
from bsgateway.telemetry.events import event

log = logging.getLogger(__name__)

MAX_ROWS = 100_000
MAX_BYTES = 402_653_184
ROW_BYTES = 1_800
"""Memory of a decision or an outcome with all that belongs to it, about: tests/unit/test_queue.py measures it."""
QUIET = 10.0
"""Seconds between two log lines that say the same."""


class Recorder:
    """Takes records from requests, on any thread, and hands them to the one thread that stores them, in order.

    At most `max_rows` wait, in at most `max_bytes` of memory, half of which is for the words of requests: they are the
    first to go. Whatever is dropped is counted in `dropped` by cause, which `metrics.CAUSES` lists; `full_cause` is the
    one that says why rows wait at all.

    May be made before a fork and outside of any event loop.
    """

    def __init__(self, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> None:
        self.max_rows = min(max_rows, max(1, max_bytes // 2 // ROW_BYTES))
        self.max_text_bytes = max_bytes // 2
        self.dropped: Counter[str] = Counter()
        self.full_cause = "queue_full"
        self._rows: deque[Item] = deque()
        self._text_bytes_in = 0  # ever taken; under the lock, as many threads record
        self._text_bytes_out = 0  # ever given away; by one thread only, so that no request waits for it
        self._lock = threading.Lock()  # the deque needs none
        self._closed = False
        self._quiet_until: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def record(self, item: Item) -> None:
        """Take a record, or drop and count it. Does not wait, does not raise, costs about a microsecond."""
        try:
            rows = self._rows
            if self._closed:
                self.drop("stopped")
            elif len(rows) >= self.max_rows:
                self.drop(self.full_cause)
            elif type(item) is Texts and not self._reserve(item):
                self.drop("text_full")
            else:
                rows.append(item)
        except Exception as error:
            # A request is more than its row: whatever a wrong value does here must not reach it.
            self.drop("error", 1, type(error).__name__)

    def drop(self, cause: str, count: int = 1, detail: str = "") -> None:
        """Count rows that are lost, and say so in the log, but not more often than every `QUIET` seconds a cause."""
        with self._lock:
            self.dropped[cause] += count
            total, now = self.dropped[cause], time.monotonic()
            quiet = now < self._quiet_until.get(cause, 0.0)
            if not quiet:
                self._quiet_until[cause] = now + QUIET
        if not quiet:
            log.error(
                "routing log: %d rows dropped so far, cause %s%s", total, cause, f": {detail}" if detail else "",
                extra=event("rows_dropped", cause=cause, dropped=total),
            )  # fmt: skip

    def take(self, limit: int) -> list[Item]:
        """Remove and return the oldest rows, at most `limit`. Called on the thread that stores them only."""
        rows = self._rows
        taken = [rows.popleft() for _ in range(min(limit, len(rows)))]
        self._text_bytes_out += _text_bytes(taken)
        return taken

    def put_back(self, taken: Sequence[Item]) -> None:
        """Undo `take`: these rows are the oldest again."""
        self._rows.extendleft(reversed(taken))
        self._text_bytes_out -= _text_bytes(taken)

    def close(self) -> None:
        """Drop what comes from now on."""
        self._closed = True

    def _reserve(self, texts: Texts) -> bool:
        size = _size(texts)
        with self._lock:
            if self._text_bytes_in - self._text_bytes_out + size > self.max_text_bytes:
                return False
            self._text_bytes_in += size
            return True


def _text_bytes(items: Sequence[Item]) -> int:
    return sum(_size(item) for item in items if type(item) is Texts)


def _size(texts: Texts) -> int:
    return sys.getsizeof(texts.ask) + sys.getsizeof(texts.system)
