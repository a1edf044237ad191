"""`LlmClassifier`: asks a local model, and sees to it that nobody waits for it longer than is agreed."""

from __future__ import annotations

from collections.abc import Mapping

from ...config import Llm, Tier
from ...decision import LlmStatus
from . import Request, Verdict
from .target import Target


class LlmClassifier:
    """Belongs to the event loop that runs it."""

    def __init__(self, settings: Llm, target: Target, tiers: Mapping[str, Tier]) -> None:
        self.settings = settings
        self.target = target

    def follow(self, former: LlmClassifier) -> None:
        """Go on with what `former`, of another configuration of the same process, knows."""

    async def verdict(self, request: Request, deadline: float) -> Verdict:
        """The verdict, at the time `deadline` of `time.perf_counter` at the latest. Raises nothing but
        CancelledError."""
        return Verdict(LlmStatus.COLD)

    def unasked(self, status: LlmStatus) -> Verdict:
        """Count a request that the model is not asked about."""
        return Verdict(status)

    async def run(self) -> None:
        """Warm the model, keep it loaded, and probe it while it fails. Until it is cancelled; then the connections are
        closed."""
