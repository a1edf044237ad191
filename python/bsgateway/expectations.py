"""How long the answers of a model will be, from what the log knows of earlier ones: what a request will cost depends
on it, before there is an answer.

The thread of the log reads it, which has the database; the proxy's thread looks at the last result. A gateway without a
log, or with a young one, expects of every model what `policy.EXPECTED_OUTPUT_TOKENS` says.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import MappingProxyType

from .decision import now
from .errors import StoreError
from .store import Store

log = logging.getLogger(__name__)

DAYS = 30
"""Age of the oldest decisions that count."""
MOST_DECISIONS = 50_000
"""The newest decisions, so many at most: what is read takes part of a second, however large the log is."""
LEAST_ANSWERS = 20
"""Answers of a model in a tier below which nothing is concluded from them."""


class Expectations:
    """Output tokens to expect, by tier and model group.

    `tokens` is never changed, only replaced as a whole: any thread may read it, at any time. `failures` counts readings
    that failed; what was known before them still holds.
    """

    def __init__(self) -> None:
        self.tokens: Mapping[tuple[str, str], float] = MappingProxyType({})
        self.failures = 0


class ExpectationsReader:
    """Brings `expectations` up to date from the log. Belongs to one event loop."""

    def __init__(self, expectations: Expectations, connect: Callable[[], Awaitable[Store]]) -> None:
        """`connect` gives the store of this event loop, migrated, each time it is needed; it stays the caller's."""
        self._expectations = expectations
        self._connect = connect
        self._failing = False

    async def read(self) -> bool:
        """Read once; whether it worked. Never raises for a database that is away or slow."""
        try:
            store = await self._connect()
            tokens = await store.expected_output(now() - timedelta(days=DAYS), MOST_DECISIONS, LEAST_ANSWERS)
        except StoreError as error:
            self._expectations.failures += 1
            if not self._failing:  # the next time is a minute away, and says the same
                log.warning("the expected length of answers stays as it was: %s", error)
            self._failing = True
            return False
        self._failing = False
        self._expectations.tokens = MappingProxyType(tokens)
        return True
