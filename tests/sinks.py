"""A sink for tests, which does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bsgateway.log.chunk import Unreadable
from bsgateway.log.sink import RowRefused, SinkUnavailable
from bsgateway.rows import Item


class ListSink:
    """Keeps what it gets. Is unavailable while `away`; refuses a batch that holds one of `poison`."""

    def __init__(self, poison: Sequence[Item] = ()) -> None:
        self.batches: list[list[Item]] = []
        self.buried: list[tuple[Item | Unreadable, str]] = []
        self.poison = poison
        self.refuses_letters = False
        self.away = False
        self.attempts = 0
        self.maintained = 0
        self.closed = False

    @property
    def rows(self) -> list[Item]:
        return [item for batch in self.batches for item in batch]

    async def write(self, batch: Sequence[Item]) -> None:
        await self._answer()
        if any(item == bad for item in batch for bad in self.poison):
            raise RowRefused("DataError (22000)")
        self.batches.append(list(batch))

    async def bury(self, item: Item | Unreadable, reason: str) -> None:
        await self._answer()
        if self.refuses_letters:
            raise RowRefused("DataError (22000)")
        self.buried.append((item, reason))

    async def maintain(self) -> bool:
        self.maintained += 1
        return True

    async def close(self) -> None:
        self.closed = True

    async def _answer(self) -> None:
        self.attempts += 1
        await asyncio.sleep(0)
        if self.away:
            raise SinkUnavailable("away")
