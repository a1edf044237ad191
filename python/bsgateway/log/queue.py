"""The queue between the requests and the writer: bounded, counted, and never in the way."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections import Counter, deque

from bsgateway.decision import Texts
from bsgateway.rows import Item

log = logging.getLogger(__name__)

MAX_ROWS = 100_000
MAX_TEXT_CHARS = 64_000_000
# Seconds between two log lines that say the same.
QUIET = 10.0
_NEVER = sys.maxsize


class Recorder:
    """Takes records from requests, on any thread, and hands them to the one writer, in order.

    At most `max_rows` wait; the writer holds one batch more. The words of requests are the first to go: with
    `max_text_chars` characters of them waiting, further `Texts` are dropped while decisions and outcomes are still
    taken. Whatever is dropped is counted in `dropped` by cause: full, text_full, refused, stopped, error.

    May be made before a fork and outside of any event loop. Works with the event loop that called `bind`.
    """

    def __init__(self, max_rows: int = MAX_ROWS, max_text_chars: int = MAX_TEXT_CHARS) -> None:
        self.max_rows = max_rows
        self.max_text_chars = max_text_chars
        self.dropped: Counter[str] = Counter()
        self._rows: deque[Item] = deque()
        self._text_chars = 0
        self._lock = threading.Lock()  # of the counters; the deque needs none
        self._closed = False
        self._hurried = False
        self._quiet_until: dict[str, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._wake = asyncio.Event()
        self._wake_at = _NEVER  # the writer wants to be woken when so many rows wait

    def __len__(self) -> int:
        return len(self._rows)

    def record(self, item: Item) -> None:
        """Take a record, or drop and count it. Does not wait, does not raise, costs about a microsecond."""
        try:
            rows = self._rows
            if self._closed:
                self.drop("stopped")
            elif len(rows) >= self.max_rows:
                self.drop("full")
            elif type(item) is Texts and not self._reserve(item):
                self.drop("text_full")
            else:
                rows.append(item)
                if len(rows) >= self._wake_at:
                    self._wake_writer()
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
            log.error("routing log: %d rows dropped so far, cause %s%s", total, cause, f": {detail}" if detail else "")

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work with this event loop, on whose thread this is called."""
        self._loop = loop
        self._thread = threading.get_ident()

    async def wait(self, rows: int, timeout: float | None = None) -> None:
        """Until so many rows wait, or `timeout` seconds have passed, or there are any and `hurry` was called."""
        while len(self._rows) < (wanted := 1 if self._hurried else rows):
            self._wake.clear()
            self._wake_at = wanted
            # In this order: a thread that records from now on sees _wake_at, and what it recorded before is seen here.
            if len(self._rows) >= wanted:
                break
            try:
                await asyncio.wait_for(self._wake.wait(), timeout)
            except asyncio.TimeoutError:
                break
        self._wake_at = _NEVER

    def hurry(self, on: bool) -> None:
        """Whether `wait` is content with a single row. Called on the event loop's thread."""
        self._hurried = on
        self._wake.set()

    def take(self, limit: int) -> list[Item]:
        """Remove and return the oldest rows, at most `limit`. Called on the event loop's thread."""
        rows = self._rows
        taken = [rows.popleft() for _ in range(min(limit, len(rows)))]
        if chars := sum(_chars(item) for item in taken if type(item) is Texts):
            with self._lock:
                self._text_chars -= chars
        return taken

    def close(self) -> None:
        """Drop what comes from now on."""
        self._closed = True

    def _reserve(self, texts: Texts) -> bool:
        chars = _chars(texts)
        with self._lock:
            if self._text_chars + chars > self.max_text_chars:
                return False
            self._text_chars += chars
            return True

    def _wake_writer(self) -> None:
        self._wake_at = _NEVER
        if threading.get_ident() == self._thread:
            self._wake.set()
        elif self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)


def _chars(texts: Texts) -> int:
    return len(texts.ask) + len(texts.system)
