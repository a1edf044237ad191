"""`LlmClassifier`: asks a local model, and sees to it that nobody waits for it longer than is agreed.

request ── memo ── circuit ── the same ask under way? ── turnstile ── model ── verdict
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

import anyio

from ...config import Llm, Tier
from ...decision import LlmStatus
from ...ollama_server import ServerError
from . import Request, Verdict
from .calls import Call, Calls
from .circuit import Circuit
from .memo import VerdictMemo, request_key
from .model import Model
from .stats import LlmStats, Tally
from .target import Target
from .turnstile import Turn, Turnstile

log = logging.getLogger(__name__)

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class LlmClassifier:
    """Belongs to the event loop that runs it. Nobody is asked before `run` has had an answer, nor after its end."""

    def __init__(self, settings: Llm, target: Target, tiers: Mapping[str, Tier]) -> None:
        self.settings = settings
        self.target = target
        self._model = Model(settings, target, tiers)
        self._scope = self._model.scope
        self._memo = VerdictMemo(settings.memo_entries, settings.memo_seconds)
        self._circuit = Circuit(target.model, settings.open_after)
        self._turnstile = Turnstile(settings.max_concurrent, settings.max_waiting)
        self._calls = Calls(self._abandoned)
        self._trials = Calls(lambda _: None)
        self._tally = Tally()
        self._warm = False
        self._tried = asyncio.Event()
        self._opened = asyncio.Event()

    def follow(self, former: LlmClassifier) -> None:
        """Go on with what `former`, of another configuration of the same process, knows."""
        self._tally = former._tally
        if self.target != former.target:
            return
        self._circuit.follow(former._circuit)
        if self._scope != former._scope:
            return
        self._warm = former._warm
        self._model.follow(former._model)
        bounds = self.settings.memo_entries, self.settings.memo_seconds
        if bounds == (former.settings.memo_entries, former.settings.memo_seconds):
            self._memo = former._memo

    async def verdict(self, request: Request, deadline: float) -> Verdict:
        """The verdict, at the time `deadline` of `time.perf_counter` at the latest. Raises nothing but
        CancelledError."""
        try:
            verdict = await self._verdict(request, deadline)
        except Exception as error:
            verdict = _failed(error)
        self._tally.statuses[verdict.status] += 1
        return verdict

    async def try_out(self, request: Request, deadline: float) -> Verdict:
        """As `verdict`, for somebody who only wants to see: no request waits for it. It is asked while nobody else is,
        and broken off (BUSY) as soon as a request comes. Nothing is counted and, but for latency, nothing remembered.
        """
        key = request_key(request, self._scope)
        if (known := self._memo.get(key)) is not None:
            return known
        if not self._warm:
            return Verdict(LlmStatus.COLD)
        if not self._circuit.is_closed:
            return Verdict(LlmStatus.OPEN)
        if self._turnstile.inside or self._trials.under_way:
            return Verdict(LlmStatus.BUSY)
        self._trials.start(key, lambda _: self._tried_out(request), lambda: None)
        verdict = await self._trials.answer(key, deadline)
        if verdict is None:
            return Verdict(LlmStatus.TIMEOUT if time.perf_counter() >= deadline else LlmStatus.BUSY)
        return verdict

    async def _tried_out(self, request: Request) -> Verdict:
        try:
            return await self._model.ask(request)
        except ServerError as error:
            return Verdict(LlmStatus[error.kind.upper()])
        except Exception as error:
            return _failed(error)

    def unasked(self, status: LlmStatus) -> Verdict:
        """Count a request that the model is not asked about."""
        self._tally.statuses[status] += 1
        return Verdict(status)

    async def tried(self) -> LlmStatus | None:
        """Wait until `run` has tried to wake the model: None if it is awake, else what is wrong with it."""
        await self._tried.wait()
        return None if self._warm else self._tally.last_failure or LlmStatus.COLD

    def stats(self) -> LlmStats:
        """What happened so far, and how things stand."""
        tally = self._tally
        return LlmStats(
            statuses={status.value: count for status, count in tally.statuses.items()},
            circuit=self._circuit.state.value,
            warm=self._warm,
            in_flight=self._turnstile.inside,
            waiting=self._turnstile.waiting,
            memo_entries=len(self._memo),
            asked=tally.asked,
            seconds=tally.seconds,
            last_seconds=tally.last_seconds,
            last_failure=None if tally.last_failure is None else tally.last_failure.value,
        )

    async def _verdict(self, request: Request, deadline: float) -> Verdict:
        key = request_key(request, self._scope)
        if (known := self._memo.get(key)) is not None:
            return known
        if not self._warm:
            return Verdict(LlmStatus.COLD)
        if not self._circuit.is_closed:
            return Verdict(LlmStatus.OPEN)
        if time.perf_counter() >= deadline:
            return Verdict(LlmStatus.TIMEOUT)
        if key not in self._calls:
            turn = self._turnstile.enter()
            if turn is None:
                return Verdict(LlmStatus.BUSY)
            self._trials.cancel()
            self._calls.start(
                key, lambda call: self._ask(key, request, call, turn), lambda: self._turnstile.leave(turn)
            )
        return await self._calls.answer(key, deadline) or Verdict(LlmStatus.TIMEOUT)

    async def _ask(self, key: bytes, request: Request, call: Call, turn: Turn) -> Verdict:
        """Ask when it is the call's turn. Raises nothing but CancelledError."""
        try:
            await turn.come()
            now = time.perf_counter()
            if turn.had_to_wait and call.deadline - now < self._model.usual_seconds:
                # To ask in vain would cost those behind it the time that they still have.
                return Verdict(LlmStatus.TIMEOUT)
            call.asked_at = now
            verdict = await self._model.ask(request)
        except ServerError as error:
            verdict = Verdict(LlmStatus[error.kind.upper()])
        except Exception as error:
            return _failed(error)
        if verdict.status is LlmStatus.ASKED:
            self._tally.answered(time.perf_counter() - now)
            self._circuit.succeeded()
            self._memo.put(key, verdict)
        else:
            self._count_failure(verdict.status)
        return verdict

    def _abandoned(self, call: Call) -> None:
        # That clients hang up says nothing of the model, and neither does a call that it never saw, or, as the event
        # loop was busy, had less time for than it usually takes.
        if not call.missed or call.asked_at is None:
            return
        if time.perf_counter() - call.asked_at >= self._model.usual_seconds:
            self._count_failure(LlmStatus.TIMEOUT)

    def _count_failure(self, kind: LlmStatus) -> None:
        self._tally.last_failure = kind
        self._circuit.failed(kind)
        if not self._circuit.is_closed:
            self._opened.set()

    async def run(self) -> None:
        """Warm the model, keep it loaded, and probe it while it fails. Until it is cancelled; then the connections are
        closed, when the last request that waits has its answer."""
        try:
            while True:
                if not self._warm or not self._circuit.is_closed:
                    await self._wake()
                elif self._load_at() <= time.perf_counter():
                    await self._keep_loaded()
                else:
                    await self._idle()
        finally:
            self._warm = False
            self._trials.cancel()
            try:
                await self._calls.ended()
                await self._trials.ended()
            finally:
                await self._model.close()

    async def _wake(self) -> None:
        """Wake the model, for the first time or to see whether it answers again."""
        try:
            if self._circuit.is_closed:
                await self._model.wake()
                log.info("the local LLM %s is loaded and answers", self.target.model)
            else:
                await asyncio.sleep(self._circuit.pause())
                with self._circuit.probe():
                    await self._model.wake()
            self._warm = True
        except Exception as error:
            self._out_of_order(error)
        self._tried.set()

    async def _keep_loaded(self) -> None:
        try:
            await self._model.load()
        except Exception as error:
            self._out_of_order(error)

    def _out_of_order(self, error: Exception) -> None:
        kind = LlmStatus[error.kind.upper()] if isinstance(error, ServerError) else _failed(error).status
        self._tally.last_failure = kind
        self._circuit.trip(kind)

    async def _idle(self) -> None:
        """Until the circuit opens, or the model may have to be loaded again."""
        self._opened.clear()
        with anyio.move_on_after(self._load_at() - time.perf_counter()):
            await self._opened.wait()

    def _load_at(self) -> float:
        keep_alive = self.settings.keep_alive
        return self._model.asked_at + float(keep_alive[:-1]) * _UNITS[keep_alive[-1]] / 2


def _failed(error: Exception) -> Verdict:
    """The verdict where something of ours went wrong. The message may quote the request, so only its kind is logged."""
    log.error("the local LLM could not be asked: %s", type(error).__name__)
    return Verdict(LlmStatus.FAILED)
