"""A gateway in an application of one's own, without a proxy: routed requests with a memory of conversations and a log.

gateway = bsgateway.load("gateway.yaml")
async with bsgateway.Running(gateway) as running:
    async with running.route(body, caller=bsgateway.Caller(user_id="u7")) as routed:
        answer = await client.chat.completions.create(**routed.body)
        routed.answered(answer)

With `Running(gateway, router)` a Router of LiteLLM's own may serve them: its cooldowns, fallbacks and Redis are heeded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import msgspec

from . import models
from .classifiers.llm.ready import Keeper
from .config import resolve_env
from .conversations import begins
from .cooldowns import Cooldowns
from .decision import Caller, Decision, Outcome, Reason, now
from .effective import effective_config
from .errors import GatewayError
from .gateway import FORMATS, Asker, Gateway, Pending
from .host import fallbacks, group_of, serves
from .lifecycle import Lifecycle
from .log.metrics import Metrics
from .memory import left, recalled
from .outcome import error_of, priced, text
from .policy import Choice
from .sessions import Session, Sessions
from .translate import translate
from .usage import Reading

log = logging.getLogger(__name__)

_NOBODY = Caller()


def router_arguments(gateway: Gateway) -> dict[str, Any]:
    """Arguments for `litellm.Router` that give it the models of gateway.yaml and the fallbacks, retries and cooldowns
    that `bsgateway serve` gives to the proxy's: `litellm.Router(**bsgateway.router_arguments(gateway))`.

    They are `model_list`, all of `router_settings`, and what of `litellm_settings` is about fallbacks.
    """
    host = effective_config(gateway.config)
    kept = ("fallbacks", "default_fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
    settings = {name: value for name, value in host["litellm_settings"].items() if name in kept}
    arguments = {**settings, **host["router_settings"]}
    resolved = {name: resolve_env(value) if isinstance(value, str) else value for name, value in arguments.items()}
    return {"model_list": host["model_list"], **resolved}


class Routed:
    """A request that was routed: `body` is to be sent, `decision` says to whom and why.

    Made by `Running.route`. What came of it goes into the log at the end of that block: an answer that `answered` or
    `streamed` was given, else the error that ended the stream or the block. Nothing here raises.
    """

    def __init__(self, running: Running, body: dict[str, Any], decision: Decision, thread: str | None) -> None:
        self.body = body
        """The request with the model and, for its sake, with what `decision.changes` names. A copy: the original body
        is unchanged. `model` is a name of `model_list`."""
        self.decision = decision
        """Why, and the log row: `resolved_model`, `tier`, `complexity_score`, `reason` ..."""
        self.cost: float | None = None
        """US dollars of the answer, once the block has ended; None where tokens or prices are unknown."""
        self._running = running
        self._thread = thread
        self._began = time.perf_counter()
        self._ended: float | None = None
        self._first: float | None = None
        self._broken: Exception | None = None
        self._read = Reading()
        self._served: str | None = None
        self._model: str | None = None

    def answered(self, answer: Any, served: str | None = None) -> None:
        """Take note of an answer: an object of the OpenAI or Anthropic SDK or of LiteLLM, or the parsed JSON. Of a
        stream, the whole that its client puts together (`get_final_message()`), or see `streamed`.

        `served` is the model of `model_list` that gave it, where that is another one than was chosen. Of answers of
        LiteLLM's Router it is known.
        """
        try:
            self._note(answer, served)
        except Exception as error:  # the client has its answer, whatever it is made of
            log.error("an answer could not be read: %s", type(error).__name__)

    async def streamed(self, events: Any, served: str | None = None) -> AsyncIterator[Any]:
        """`events`, an asynchronous stream of an answer, one by one as they are; and take note of them.

        OpenAI's chat completions tell tokens, and with them costs, only where `stream_options: {include_usage: true}`
        is in the body.
        """
        try:
            async for event in events:
                if self._first is None:
                    self._first = time.perf_counter()
                self.answered(event, served)
                yield event
        except Exception as error:  # of the stream: whoever reads it raises none in here
            self._broken = error
            raise

    def _note(self, answer: Any, served: str | None) -> None:
        self._ended, self._broken = time.perf_counter(), None
        self._read.see(answer)
        self._model = self._read.model or self._model
        self._served = served or self._running.served_by(answer) or self._served

    def _outcome(self, error: BaseException | None) -> Outcome | None:
        """What is to be logged at the end of the block; None if nothing was said of it."""
        decision, read = self.decision, self._read
        failed = self._broken or (error if self._ended is None else None)
        if failed is None and self._ended is None:
            return None
        if failed is not None:
            return Outcome(
                decision_id=decision.decision_id,
                completed_at=now(),
                status="failure",
                call_id=decision.caller.call_id,
                served_group=decision.resolved_model,
                latency_ms=(time.perf_counter() - self._began) * 1000,
                **error_of(failed),
            )
        return Outcome(
            decision_id=decision.decision_id,
            completed_at=now(),
            status="success",
            call_id=decision.caller.call_id,
            served_group=self._served or self.body["model"],
            served_model=text(self._model),
            prompt_tokens=read.prompt,
            completion_tokens=read.completion,
            cache_read_tokens=read.cache_read,
            cache_write_tokens=read.cache_write,
            latency_ms=None if self._ended is None else (self._ended - self._began) * 1000,
            first_token_ms=None if self._first is None else (self._first - self._began) * 1000,
            finish_reason=read.finish_reason,
        )


class Running:
    """A gateway at work in one event loop of an application: its memory of conversations, its log and its model.

    `router` is the application's LiteLLM Router, if it has one: models that cool down there are passed over, its
    fallbacks are narrowed to models that can serve the request, and its Redis holds the memory of conversations for
    all processes. Without one, the memory is that of this process.

    The log is the one of `routing.collector`: decisions, words as `collector.text` says, and outcomes go to
    `collector.database_url` (`COLLECTOR_DATABASE_URL`), by a thread of their own and a spool in the state directory
    (`BSGATEWAY_STATE`, else `.bsgateway`). Without a URL nothing is logged, and a warning says so. The tables are made
    and migrated by themselves. Entering does not wait for the database; leaving waits until all is written, 20 s at
    most, and what is in the spool then is written at the next start.

    What only the proxy has: keys, their permissions and budgets (see `without`), dual runs, `collector.opt_out`,
    metrics, spans and pages, and following gateway.yaml. A learned model's file is followed.
    """

    def __init__(self, gateway: Gateway, router: Any | None = None) -> None:
        self.gateway = gateway
        self._router = router
        self._sessions = Sessions(gateway.config.routing.session.ttl_seconds)
        self._cooldowns = Cooldowns(lambda: router, gateway.candidates)
        self._keeper = Keeper(lambda: gateway.llm)
        self._lifecycle = Lifecycle(gateway.config.routing.collector, _nothing, self._sessions.settle, self._meanwhile)
        self._state = "new"

    async def __aenter__(self) -> Running:
        """Begin. Raises GatewayError if it has begun before."""
        if self._state != "new":
            raise GatewayError("a Running is entered once: make another one")
        self._state = "open"
        self._lifecycle.ensure_running()
        if self._router is not None:
            self._cooldowns.ensure_running()
        await asyncio.sleep(0)  # a task that is cancelled before its first step never runs: nothing would be written
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left of the log."""
        self._state = "closed"
        await self._cooldowns.stop()
        await self._lifecycle.stop()

    def log_metrics(self) -> Metrics | None:
        """What the log did so far; None without one, or before it has begun."""
        return self._lifecycle.metrics()

    @asynccontextmanager
    async def route(
        self,
        body: Mapping[str, Any],
        call_type: str = "acompletion",
        *,
        caller: Caller = _NOBODY,
        without: Collection[str] = (),
        logged: bool = True,
    ) -> AsyncIterator[Routed]:
        """Decide on a request for the length of a block, in which it is sent.

        `body` is its JSON object; `call_type` says in which API's format: acompletion (chat completions),
        anthropic_messages, aresponses, atext_completion or agenerate_content. `caller` says who asks, for the log and
        so that no two users share a conversation; with a `session_id`, that is the conversation. `without` are models
        that are not to be chosen: not those that `body` names itself, nor, where none is left, that of the fallback
        tier, for the reason `no_candidate`. `logged`: whether anything of it goes into the log.

        Raises ValueError for another call type and for a body without a model, TypeError for what is no body, caller or
        collection of names, GatewayError outside of the block of this object. Whatever else goes wrong inside, the
        request goes on, to the fallback tier.
        """
        _check_kinds(body, caller, without)
        if self._state != "open":
            raise GatewayError("route() belongs into the block of `async with Running(...)`")
        routed = await self._routed(dict(body), call_type, caller, without, logged)
        try:
            yield routed
        except BaseException as error:
            self._end(routed, error, logged)
            raise
        self._end(routed, None, logged)

    def served_by(self, answer: Any) -> str | None:
        """The model that an answer of the Router's says it is from; None where it does not say."""
        hidden = getattr(answer, "_hidden_params", None)
        if self._router is None or not isinstance(hidden, Mapping):
            return None
        return group_of(self._router, hidden.get("model_id"))

    async def _routed(
        self, body: dict[str, Any], call_type: str, caller: Caller, without: Collection[str], logged: bool
    ) -> Routed:
        gateway = self.gateway
        gateway.expected = self._lifecycle.expectations.tokens
        pending = gateway.begin(body, call_type, Asker(caller), self._is_served)
        if pending.target is not None:
            body["model"] = pending.target
            return self._record(pending, gateway.choose(pending), None, body, None, (), logged)
        try:
            return await self._by_score(pending, body, without, logged)
        except Exception as error:  # ours; its message may quote the body
            gateway.failed_open += 1
            failed = msgspec.structs.replace(pending, analysis=None, scored=None, failed=type(error).__name__)
            choice = gateway.choose(failed, excluded=dict.fromkeys(without, Reason.NOT_ALLOWED))
            body["model"] = choice.model or gateway.marker
            return self._record(failed, choice, None, body, None, (), logged)

    async def _by_score(self, pending: Pending, body: dict[str, Any], without: Collection[str], logged: bool) -> Routed:
        gateway = self.gateway
        redis = None if self._router is None else self._router.cache.redis_cache
        thread, session = await recalled(self._sessions, redis, gateway, pending, body)
        pending = await gateway.judged(pending, session, body)
        choice = await self._chosen(pending, session, body, without)
        changes: tuple[str, ...] = ()
        if choice.model is None or not gateway.is_applied(pending):
            body["model"] = self._as_it_is(pending)
        else:
            body["model"] = choice.model
            changes = self._translated(pending, choice.model, session, body)
            self._spare_fallbacks(pending, session, body)
        kept = left(gateway, pending, choice, session, thread, changes)
        if kept is not None:
            self._sessions.put(redis, thread, kept)
        return self._record(pending, choice, session, body, thread if kept is not None else None, changes, logged)

    async def _chosen(
        self, pending: Pending, session: Session | None, body: dict[str, Any], without: Collection[str]
    ) -> Choice:
        """The policy's choice; chance may have its share in it (`learning.explore`)."""
        gateway, at = self.gateway, time.time()
        excluded = {**self._cooldowns.cooling(), **dict.fromkeys(without, Reason.NOT_ALLOWED)}
        choice = gateway.choose(pending, session, excluded, at)
        tiers = gateway.explorable(pending, session, choice, excluded)
        if not tiers or not (begins(body, pending.call_type) or not gateway.config.routing.session.enabled):
            return choice

        async def drawn(tier: str) -> Choice:
            return gateway.choose(pending, session, excluded, at, tier)

        return await gateway.explorer.settle(choice, tiers, drawn)

    def _as_it_is(self, pending: Pending) -> str:
        """The model for a request that is not rewritten: what LiteLLM takes such names for under `bsgateway serve`."""
        gateway, name = self.gateway, pending.name
        return gateway.markers.get(name) or gateway.stand_in(pending, self._is_served) or name

    def _is_served(self, name: str) -> bool:
        return self._router is not None and serves(self._router, name)

    def _translated(
        self, pending: Pending, chosen: str, session: Session | None, body: dict[str, Any]
    ) -> tuple[str, ...]:
        model = self.gateway.models[chosen]
        families = session.families if session is not None else ()
        same = session is not None and session.model == model.name
        was_there = "drop_params" in body
        try:
            return translate(body, FORMATS[pending.call_type], model, families=families, same_model=same)
        except Exception as error:  # ours; as it is, the model may take it yet
            log.error("a body could not be made to fit its model, and goes on as it is: %s", type(error).__name__)
            return ()
        finally:
            if self._router is None and not was_there:
                body.pop("drop_params", None)  # LiteLLM's own word: an API would refuse it

    def _spare_fallbacks(self, pending: Pending, session: Session | None, body: dict[str, Any]) -> None:
        """Have the Router fall back, for this request, only to models that can serve it."""
        if self._router is None:
            return
        model, suits = body["model"], self.gateway.suits
        for setting, listed in fallbacks(model, self._router).items():
            suitable = [
                other
                for other in listed
                if not isinstance(other, str) or suits(other, pending.demand, pending.wishes, session)
            ]
            if len(suitable) < len(listed):
                body.setdefault(setting, [{model: suitable}])

    def _record(
        self,
        pending: Pending,
        choice: Choice,
        session: Session | None,
        body: dict[str, Any],
        thread: str | None,
        changes: tuple[str, ...],
        logged: bool,
    ) -> Routed:
        gateway = self.gateway
        decision = gateway.decision(pending, choice, session, gateway.is_applied(pending), changes)
        if logged:
            self._lifecycle.record(decision)
            if (texts := gateway.texts(pending, decision)) is not None:
                self._lifecycle.record(texts)
        return Routed(self, body, decision, thread)

    def _end(self, routed: Routed, error: BaseException | None, logged: bool) -> None:
        try:
            outcome = routed._outcome(error)
            if outcome is not None:
                self._note_outcome(routed, outcome, logged)
        except Exception as trouble:
            log.error("an outcome could not be recorded: %s", type(trouble).__name__)

    def _note_outcome(self, routed: Routed, outcome: Outcome, logged: bool) -> None:
        gateway = self.gateway
        outcome = priced(outcome, gateway.models, gateway.policy.baseline)
        routed.cost = outcome.cost
        if logged:
            self._lifecycle.record(outcome)
        if outcome.status != "success":
            self._cooldowns.failed()
            return
        group, thread = outcome.served_group, routed._thread
        if thread is not None and group != routed.decision.resolved_model and group in gateway.models:
            redis = None if self._router is None else self._router.cache.redis_cache
            tier, family = gateway.policy.tier_of(group), gateway.models[group].family
            self._sessions.note_served(redis, thread, tier, group, family)

    async def _meanwhile(self) -> None:
        """Follow the model file and keep the local LLM ready. Until it is cancelled."""
        await asyncio.gather(models.watch(lambda: self.gateway.model_file), self._keeper.run())


def _check_kinds(body: object, caller: object, without: object) -> None:
    """Raises TypeError. Said before anything is decided: later, each would pass for trouble of our own."""
    for name, value, kind, wanted in (
        ("body", body, Mapping, "a mapping, the JSON object of the request"),
        ("caller", caller, Caller, 'a bsgateway.Caller, such as Caller(user_id="u7")'),
        ("without", without, Collection, 'names of models, such as ["large"]'),
    ):
        if not isinstance(value, kind) or (name == "without" and isinstance(value, str)):
            raise TypeError(f"route(): {name} has to be {wanted}, and is a {type(value).__name__}")


async def _nothing() -> None:
    """Nothing is to be done at the start: there is no proxy to tell."""
