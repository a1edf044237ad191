"""Money that may be spent a day: reserved before a call by its expected price, settled after it by the real one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

import msgspec

from .decision import now

UNPRICED_PER_DAY = 500
"""Calls a day whose price nobody knows. They count as 0 dollars, so that something else has to bound them."""


class Reservation(msgspec.Struct, frozen=True):
    """What is set aside: US dollars; what has no known price counts for nothing."""

    usd: float


class DailyBudget:
    """The budget of one process and of one day, in UTC. Not for several threads.

    What is reserved before midnight and settled after it counts for the new day.
    """

    def __init__(self, clock: Callable[[], datetime] = now) -> None:
        self._clock = clock
        self._day: date | None = None
        self._spent = self._reserved = 0.0
        self._unpriced = 0

    @property
    def spent(self) -> float:
        """US dollars spent today."""
        self._turn()
        return self._spent

    def reserve(self, usd: float, limit: float, priced: bool = True) -> Reservation | None:
        """Set `usd` aside, if `limit` dollars a day allow it; None if they do not. Unless all of it is `priced`, the
        number of calls is limited as well, to none if the limit is 0."""
        self._turn()
        if usd and self._spent + self._reserved + usd > limit:
            return None
        if not priced:
            if not limit or self._unpriced >= UNPRICED_PER_DAY:
                return None
            self._unpriced += 1
        self._reserved += usd
        return Reservation(usd)

    def settle(self, reservation: Reservation, usd: float) -> None:
        """What was reserved has cost `usd`."""
        self._turn()
        self._reserved = max(self._reserved - reservation.usd, 0.0)
        self._spent += usd

    def _turn(self) -> None:
        today = self._clock().date()
        if today != self._day:
            self._day, self._spent, self._unpriced = today, 0.0, 0
