"""Calls that several wait for: a question is asked once at a time, as long as anyone waits for its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

from . import Verdict


class Call:
    """One question on its way. Times are those of `time.perf_counter`."""

    def __init__(self) -> None:
        self.deadline = 0.0
        """When the last of those who wait leaves."""
        self.asked_at: float | None = None
        """Since when it is with the server; None: it never was."""
        self.missed = False
        """Whether someone has left because their time was up."""
        self.waiting = 0


class Calls:
    """Calls under way, by key. Each of them runs in a task of its own, so that none belongs to the request that was
    first. Belongs to one event loop.

    `abandoned` is told of a call that is cancelled because its last waiter left.
    """

    def __init__(self, abandoned: Callable[[Call], None]) -> None:
        self._abandoned = abandoned
        self._open: dict[Hashable, tuple[Call, asyncio.Task[Verdict]]] = {}
        self._tasks: set[asyncio.Task[Verdict]] = set()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._open

    @property
    def under_way(self) -> int:
        """Calls that have not ended, those that are being cancelled among them."""
        return len(self._tasks)

    def start(
        self, key: Hashable, work: Callable[[Call], Coroutine[Any, Any, Verdict]], ended: Callable[[], None]
    ) -> None:
        """Begin a call, which `answer` is to be called for before anything else happens. `work` raises nothing but
        CancelledError; after its end, and even if it never got to begin, `ended` is called."""
        call = Call()
        task = asyncio.create_task(work(call), name="bsgateway-llm-call")
        self._open[key] = call, task
        self._tasks.add(task)

        def done(_: asyncio.Task[Verdict]) -> None:
            self._tasks.discard(task)
            self._close(key, call)
            ended()

        task.add_done_callback(done)

    async def answer(self, key: Hashable, deadline: float) -> Verdict | None:
        """What comes of the call under way for `key`; None if that is not known at `deadline`, or it was cancelled from
        elsewhere. Cancels the call if nobody else waits for it."""
        call, task = self._open[key]
        call.waiting += 1
        call.deadline = max(call.deadline, deadline)
        try:
            # Neither `wait_for`, which before Python 3.12 can lose a cancellation that comes together with the answer,
            # nor `shield`, which would not tell whether the call or its waiter was cancelled.
            await asyncio.wait([task], timeout=max(0.0, deadline - time.perf_counter()))
            call.missed = not task.done()
        finally:
            call.waiting -= 1
            if not call.waiting:
                self._close(key, call)
                if task.cancel():
                    self._abandoned(call)
        return task.result() if task.done() and not task.cancelled() else None

    def cancel(self) -> None:
        """Break off all calls under way: who waits for one is answered None."""
        for task in self._tasks:
            task.cancel()

    async def ended(self) -> None:
        """Wait until no call is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _close(self, key: Hashable, call: Call) -> None:
        # Its key may be that of a later call by now.
        if key in self._open and self._open[key][0] is call:
            del self._open[key]
