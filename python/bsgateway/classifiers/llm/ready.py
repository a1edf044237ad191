"""Keeps the model of the strategy llm ready, whichever configuration is in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .classifier import LlmClassifier


class Keeper:
    """Runs the classifier of the configuration in force, which `current` tells. Belongs to one event loop."""

    def __init__(self, current: Callable[[], LlmClassifier | None]) -> None:
        self._current = current
        self._running: tuple[LlmClassifier, asyncio.Task[None]] | None = None
        self._tasks: set[asyncio.Task[None]] | None = None

    def look(self) -> None:
        """See whether there is another one. To be called whenever there may be: a classifier that is overlooked, as it
        is soon replaced, may yet be asked meanwhile, and only its run closes its connections."""
        if self._tasks is None:  # `run` has not begun, and will see
            return
        classifier = self._current()
        if self._running is not None and self._running[0] is not classifier:
            self._running[1].cancel()  # it ends with the last request that waits for it
            self._running = None
        if classifier is not None and self._running is None:
            task = asyncio.create_task(classifier.run(), name="bsgateway-llm")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._running = classifier, task

    async def run(self) -> None:
        """Until it is cancelled."""
        self._tasks = set()
        try:
            self.look()
            await asyncio.Event().wait()
        finally:
            tasks, self._tasks, self._running = self._tasks, None, None
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
