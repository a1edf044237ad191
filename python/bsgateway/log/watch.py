"""Whether the database of the log answers: asked from time to time by the log's thread, for whoever may not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING

from bsgateway.decision import now
from bsgateway.errors import StoreError
from bsgateway.log import backoff

if TYPE_CHECKING:
    from bsgateway.store import Store

PAUSE = 5.0
"""Seconds between two looks."""
ANSWER_SECONDS = 5.0
"""Longest wait for the answer to one."""


class Watch:
    """What the latest look found. Belongs to one event loop; `answers` and `looked_at` may be read on any thread.

    `answers` is None before the first look is over.
    """

    def __init__(self, connect: Callable[[], Awaitable[Store]]) -> None:
        """`connect` gives the store of this event loop, each time it is needed; it stays the caller's."""
        self._connect = connect
        self.answers: bool | None = None
        self.looked_at: datetime | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(backoff.around(PAUSE))

    async def look(self) -> None:
        """Look once. Never raises for a database that is away or slow."""
        try:
            store = await self._connect()
            async with store.acquire("cannot ask") as connection:
                await connection.fetchval("SELECT 1", timeout=ANSWER_SECONDS)
        except StoreError:  # who writes to it says why
            self.answers = False
        else:
            self.answers = True
        self.looked_at = now()
