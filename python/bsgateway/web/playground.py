"""The playground: what each strategy would make of a request that nobody sends.

Everything is done by gateways of the playground's own, one for each strategy, which share the configuration, prices
and learned model of the one that runs. So nothing that is tried here is logged, counted or remembered with requests.

The core keeps Python's lock while it analyses a body, so a thread would not help the requests that come meanwhile: what
is tried is bounded instead (`MAX_BYTES`), and they get their turn between two analyses, of whoever tries.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .. import models
from ..classifiers.llm import Request, Verdict
from ..core import core
from ..decision import Decision, LlmStatus
from ..errors import AnalysisError, GatewayError
from ..gateway import FORMATS, Asker, Gateway, Pending, with_verdict
from ..rows import clean
from ..shape import nearest
from ..trials import Word, guess_call_type, remedy_of, with_strategy
from .problems import RequestError
from .views import ExplainAnswer, Explained, ExplainRequest

if TYPE_CHECKING:
    from ..classifiers.llm.classifier import LlmClassifier

MAX_BYTES = 1_000_000
"""Largest body of a request to the playground: it is analysed in some 10 ms for each strategy."""
MEMO_BYTES = 1_000_000
"""Memory of a gateway of the playground for texts it has seen: what is being typed."""
LOOK_SECONDS = models.LOOK_SECONDS
"""How often the model file is read anew where the running gateway does not follow it."""
WAKE_SECONDS = 5.0
"""Longest wait for a local LLM that nobody else uses to be loaded."""
IDLE_SECONDS = 300.0
"""So long after its last use nobody keeps it loaded any more."""
_COMES_AFTER = "requests go first: the local LLM had one to answer; try again"


Ask = Callable[[Request, float], Awaitable[Verdict]]
"""Asks a local LLM, until a time of `time.perf_counter`."""


class _Ready(NamedTuple):
    """A gateway of the playground and, where it scores with one, its learned model."""

    gateway: Gateway
    learned: core.LearnedModel | None


def without_remedies(answer: ExplainAnswer) -> ExplainAnswer:
    """What a key that is no admin's is told: what goes wrong names files and servers of the operator's."""

    def without(told: Explained) -> Explained:
        error = None if told.error is None else "this strategy cannot score here: ask an admin"
        return msgspec.structs.replace(told, advice="", error=error)

    return ExplainAnswer(tuple(map(without, answer.explained)))


class Playground:
    """`running` is the gateway in force, `knows` whether the proxy serves a name that gateway.yaml does not mention,
    `state` the state directory, as for `Gateway`. Belongs to the event loop; `close` it there."""

    def __init__(
        self,
        running: Callable[[], Gateway],
        knows: Callable[[str], bool] = lambda _: False,
        state: Path | None = None,
    ) -> None:
        self._running = running
        self._knows = knows
        self._state = state
        self._of: weakref.ref[Gateway] | None = None
        self._ready: dict[Word, _Ready] = {}
        self._read: tuple[float, core.LearnedModel] | None = None
        self._building = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._awake = _Awake(self._forget_llm)

    async def explain(self, request: ExplainRequest) -> ExplainAnswer:
        """What each strategy decides, in the order asked for. Raises RequestError (422) for what is no request."""
        body, call_type = _asked(request)
        running = self._running()
        explained = []
        for word in request.strategies:
            in_force = word == running.config.routing.classifier.strategy
            try:
                gateway = await self._gateway(running, word)
                decision = await self._decided(gateway, running, body, call_type)
            except GatewayError as error:
                explained.append(Explained(strategy=word, in_force=in_force, decision=None, error=str(error)))
                continue
            explained.append(
                Explained(
                    strategy=word,
                    in_force=in_force,
                    decision=decision,
                    reason_doc=decision.reason.doc,
                    advice=_advice(decision, gateway, running),
                )
            )
        return ExplainAnswer(tuple(explained))

    async def close(self) -> None:
        """Let go of a local LLM."""
        await self._awake.close()

    async def _decided(self, gateway: Gateway, running: Gateway, body: dict[str, Any], call_type: str) -> Decision:
        """Raises AnalysisError."""
        llm = gateway.llm
        if llm is None:
            return self._chosen(gateway, running, await self._begun(gateway, body, call_type))
        if llm is running.llm:
            pending = await self._begun(gateway, body, call_type)
            return self._chosen(gateway, running, await _judged(gateway, pending, body, llm.try_out))
        async with self._awake.using(llm) as trouble:
            pending = await self._begun(gateway, body, call_type)
            return self._chosen(gateway, running, await _judged(gateway, pending, body, llm.verdict, trouble))

    async def _begun(self, gateway: Gateway, body: dict[str, Any], call_type: str) -> Pending:
        async with self._turn:  # however many try at once, requests wait for one of them at most
            await asyncio.sleep(0)
            pending = gateway.begin(_copied(body), call_type, Asker(), self._knows)
        if pending.failed:
            raise AnalysisError(f"the gateway failed inside ({pending.failed}): it would use the fallback tier")
        return pending

    def _chosen(self, gateway: Gateway, running: Gateway, pending: Pending) -> Decision:
        gateway.expected = running.expected
        return gateway.decision(pending, gateway.choose(pending), applied=gateway.is_applied(pending))

    async def _gateway(self, running: Gateway, word: Word) -> Gateway:
        """The gateway of a strategy, built off the event loop when it is first asked for. Raises ConfigError,
        ModelError."""
        async with self._building:
            if self._of is None or self._of() is not running:
                await self._awake.close()
                self._of, self._ready, self._read = weakref.ref(running), {}, None
            classifier = running.config.routing.classifier
            config = running.config if word == classifier.strategy else with_strategy(running.config, word)
            learned = await self._learned(running) if config.routing.classifier.scorer == "ml" else None
            ready = self._ready.get(word)
            if ready is None or ready.learned is not learned:
                llm = None if ready is None else ready.gateway.llm
                if word == classifier.strategy:
                    llm = running.llm
                analysis = config.routing.analysis
                small = msgspec.structs.replace(analysis, memo_bytes=min(analysis.memo_bytes, MEMO_BYTES))
                config = dataclasses.replace(config, routing=msgspec.structs.replace(config.routing, analysis=small))
                gateway = await asyncio.to_thread(
                    Gateway, config, self._state, known=running.models, learned=learned, llm=llm
                )
                ready = self._ready[word] = _Ready(gateway, learned)
            return ready.gateway

    async def _learned(self, running: Gateway) -> core.LearnedModel:
        """The model that scores, or would: that of the running gateway if it has one. Raises ModelError."""
        if running.model_file is not None and running.model_file.model is not None:
            return running.model_file.model
        now = time.monotonic()
        if self._read is not None and now - self._read[0] < LOOK_SECONDS:
            return self._read[1]
        found, _ = await asyncio.to_thread(models.in_force, running.config, self._state)
        if self._read is not None and found.id == self._read[1].id:
            found = self._read[1]
        self._read = now, found
        return found

    def _forget_llm(self) -> None:
        # A classifier that has ended cannot be run again.
        self._ready.pop("llm", None)


class _Awake:
    """Keeps a local LLM loaded that only the playground uses, until nobody has tried it for a while. `ended` is told
    when it no longer is."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._llm: LlmClassifier | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._users = 0

    @asynccontextmanager
    async def using(self, llm: LlmClassifier) -> AsyncIterator[LlmStatus | None]:
        """Have it run: None once it answers, else what is wrong with it, COLD while it is still being loaded."""
        if self._llm is not llm:
            self._end()
            self._llm = llm
            self._task = asyncio.create_task(llm.run(), name="bsgateway-playground-llm")
        self._stay()
        self._users += 1
        try:
            yield await _woken(llm)
        finally:
            self._users -= 1
            if not self._users and self._llm is llm:
                self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._end)

    async def close(self) -> None:
        """End it, and wait until its connections are closed."""
        if (task := self._end()) is not None:
            await asyncio.wait([task])

    def _end(self) -> asyncio.Task[None] | None:
        task, self._task, self._llm = self._task, None, None
        self._stay()
        if task is not None:
            task.cancel()
            self._ended()
        return task

    def _stay(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _woken(llm: LlmClassifier) -> LlmStatus | None:
    try:
        return await asyncio.wait_for(llm.tried(), WAKE_SECONDS)
    except asyncio.TimeoutError:
        return LlmStatus.COLD


async def _judged(
    gateway: Gateway, pending: Pending, body: dict[str, Any], ask: Ask, trouble: LlmStatus | None = None
) -> Pending:
    """A request with the verdict on it, if there is to be one. `trouble` is why nobody can be asked."""
    if pending.scored is None:
        return pending
    question = gateway.question(pending, None, body)
    if isinstance(question, LlmStatus):
        verdict = Verdict(question)
    elif trouble is not None:
        verdict = Verdict(trouble)
    else:
        verdict = await ask(question, gateway.deadline(pending))
    return with_verdict(pending, verdict)


def _asked(request: ExplainRequest) -> tuple[dict[str, Any], str]:
    """The body that is meant, and its call type. Raises RequestError (422)."""
    if not request.strategies:
        raise RequestError(422, "strategies: none is named", "name one, such as static", "strategies")
    if len(set(request.strategies)) < len(request.strategies):
        raise RequestError(422, "strategies: one is named twice", "name each once", "strategies")
    if (request.prompt is None) == (request.body is None):
        raise RequestError(422, "give a prompt or a body", "one of them, and not both", "prompt")
    if request.body is None:
        if request.call_type is not None:
            raise RequestError(422, "call_type is that of a body", "leave it out", "call_type")
        body: dict[str, Any] = {"model": request.model, "messages": [{"role": "user", "content": request.prompt}]}
    else:
        body = {"model": request.model, **request.body}
    if not isinstance(body["model"], str) or not body["model"]:
        raise RequestError(422, "the body's `model` is no name", "write a name such as auto", "body")
    body["model"] = clean(body["model"])
    call_type = request.call_type or guess_call_type(body)
    if call_type not in FORMATS:
        raise RequestError(422, "requests of this call type are not routed", nearest(call_type, FORMATS), "call_type")
    return body, call_type


def _copied(body: dict[str, Any]) -> dict[str, Any]:
    """Of a body that a gateway may take the client's words out of, for the next one to find them, too."""
    metadata = body.get("metadata")
    return {**body, "metadata": dict(metadata)} if isinstance(metadata, dict) else dict(body)


def _advice(decision: Decision, gateway: Gateway, running: Gateway) -> str:
    if decision.llm_status is LlmStatus.BUSY and gateway.llm is running.llm:
        return _COMES_AFTER
    return remedy_of(decision, gateway)
