"""Keeps the model of the strategy llm ready, whichever configuration is in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .classifier import LlmClassifier

LOOK_SECONDS = 1.0
"""How often it is looked whether there is another configuration."""


async def keep_ready(current: Callable[[], LlmClassifier | None]) -> None:
    """Run the classifier of the configuration in force. Until it is cancelled."""
    running: tuple[LlmClassifier, asyncio.Task[None]] | None = None
    try:
        while True:
            classifier = current()
            if running is not None and running[0] is not classifier:
                await _stopped(running[1])
                running = None
            if classifier is not None and running is None:
                running = classifier, asyncio.create_task(classifier.run(), name="bsgateway-llm")
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        if running is not None:
            await _stopped(running[1])


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
