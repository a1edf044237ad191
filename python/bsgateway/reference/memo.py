"""Bounded memo: hash of a text -> its token count, so that a conversation sent again each turn costs its new part.

No text is kept, only a keyed 128-bit hash of it.  The compiled core uses another hash, remembers more (structure and
keywords of an ask, which are the same whenever they are measured) and forgets in another order; what it answers is the
same until something had to be forgotten.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

LEAST_BYTES = 16
"""A shorter text is measured sooner than looked up."""
MANY_PARTS = 4096
"""With more parts than this in one request, only texts of `LEAST_BYTES_OF_MANY` are looked up."""
LEAST_BYTES_OF_MANY = 1024
ENTRY_BYTES = 300
"""Memory of an entry here: dict slot, key, tuple."""


@dataclass(frozen=True)
class MemoStats:
    """Counts of a memo since it was made, and its size now."""

    hits: int
    misses: int
    evictions: int
    entries: int
    bytes: int
    capacity_bytes: int


class Memo:
    """Of at most `capacity_bytes`; 0 remembers nothing. Shared by all threads."""

    def __init__(self, capacity_bytes: int) -> None:
        self._most = capacity_bytes // ENTRY_BYTES
        self._capacity_bytes = capacity_bytes if self._most else 0
        self._counts: OrderedDict[bytes, tuple[int, bool]] = OrderedDict()
        self._salt = secrets.token_bytes(16)
        self._lock = threading.Lock()
        self._hits = self._misses = self._evictions = 0

    def key(self, text: bytes, parts: int) -> bytes | None:
        """The key of a text in a request of so many `parts`; None if it is not to be looked up."""
        least = LEAST_BYTES_OF_MANY if parts > MANY_PARTS else LEAST_BYTES
        if not self._most or len(text) < least:
            return None
        return hashlib.blake2b(text, digest_size=16, key=self._salt).digest()

    def recall(self, key: bytes | None) -> tuple[int, bool] | None:
        """Tokens of the text with this key, and whether they were counted and not estimated; None if unknown."""
        if key is None:
            return None
        with self._lock:
            found = self._counts.pop(key, None)
            if found is None:
                self._misses += 1
            else:
                self._hits += 1
                self._counts[key] = found  # now the newest
            return found

    def keep(self, key: bytes | None, tokens: int, exact: bool) -> None:
        """Remember the count of the text with this key."""
        if key is None:
            return
        with self._lock:
            self._counts[key] = (tokens, exact)
            if len(self._counts) > self._most:
                self._counts.popitem(last=False)
                self._evictions += 1

    def stats(self) -> MemoStats:
        """What happened so far."""
        with self._lock:
            entries = len(self._counts)
            return MemoStats(
                self._hits, self._misses, self._evictions, entries, entries * ENTRY_BYTES, self._capacity_bytes
            )
