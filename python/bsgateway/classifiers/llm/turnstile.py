"""So many at once, and so many more that wait for their turn, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum


class _Place(Enum):
    QUEUE = 0
    INSIDE = 1
    GONE = 2


class Turn:
    """A place, inside or in the queue (`had_to_wait`). To be given back, whatever happens: `Turnstile.leave`."""

    def __init__(self, called: asyncio.Future[None] | None) -> None:
        self.had_to_wait = called is not None
        self._called = called
        self._place = _Place.INSIDE if called is None else _Place.QUEUE

    async def come(self) -> None:
        """Wait until it is this one's turn."""
        if self._called is not None:
            await self._called


class Turnstile:
    """At most `places` inside and `queue` waiting. Belongs to one event loop."""

    def __init__(self, places: int, queue: int) -> None:
        self.inside = 0
        self._places = places
        self._longest = queue
        self._queue: deque[Turn] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def enter(self) -> Turn | None:
        """A turn, at once or later; None where too many wait already."""
        if self.inside < self._places:  # then nobody waits
            self.inside += 1
            return Turn(None)
        if len(self._queue) >= self._longest:
            return None
        turn = Turn(asyncio.get_running_loop().create_future())
        self._queue.append(turn)
        return turn

    def leave(self, turn: Turn) -> None:
        """Give a turn back: the next one comes in. Again, it does nothing."""
        place, turn._place = turn._place, _Place.GONE
        if place is _Place.QUEUE:
            self._queue.remove(turn)
        elif place is _Place.INSIDE:
            self.inside -= 1
            self._call_next()

    def _call_next(self) -> None:
        while self._queue and self.inside < self._places:
            turn = self._queue.popleft()
            # The place is theirs from now on, even if they were or are cancelled before they notice: `leave` will come.
            turn._place = _Place.INSIDE
            self.inside += 1
            if turn._called is not None and not turn._called.done():
                turn._called.set_result(None)
