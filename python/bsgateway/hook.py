"""The LiteLLM callback. In gateway.yaml: `litellm_settings: {callbacks: [bsgateway.hook.handler]}`.

`handler` is made when LiteLLM first asks for it, from the configuration file LiteLLM itself was started with (or the
one `BSGATEWAY_CONFIG` names). One instance a process.

Nothing here raises into a request, waits for the log or blocks the event loop; but where the key of a request may use
none of the models it could be sent to, LiteLLM's own refusal is raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from litellm.exceptions import RateLimitError
from litellm.integrations.custom_logger import CustomLogger

from . import host, models, outcome
from .access import Access
from .callers import asker, opts_out
from .check import load_config
from .classifiers.llm.ready import Keeper
from .conversations import begins
from .cooldowns import Cooldowns
from .core import core
from .decision import Decision, Method, Reason, stamp
from .dual_run_tickets import with_words
from .dual_runs import DualRuns
from .gateway import FORMATS, Gateway, Pending
from .headers import headers, served_group
from .lifecycle import Lifecycle
from .memory import left, recalled
from .outcome import text
from .policy import Choice
from .reload import Reloader
from .reload_route import add_route
from .sessions import Session, Sessions
from .stamps import KEPT, METADATA, STAMP, RoutingDecision, own_metadata, stamp_of
from .telemetry import spans, told
from .telemetry.events import event
from .telemetry.metrics import Telemetry
from .translate import translate

if TYPE_CHECKING:
    from .web.api import Site

log = logging.getLogger(__name__)

_DENIED = frozenset((Reason.NOT_ALLOWED, Reason.OVER_BUDGET))


class _Refusal(NamedTuple):
    """The models that a key may not use, best first; none: there is nothing to refuse. `granted`: it may use them, but
    not pay for them."""

    models: tuple[str, ...] = ()
    granted: bool = False


_ROUTING: ContextVar[RoutingDecision | None] = ContextVar("bsgateway_routing", default=None)
"""The decision of the request that the current task works on."""


class GatewayCallback(CustomLogger):
    """Routes requests before LiteLLM does, answers with headers that say why, and records what came of it."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self.gateway = gateway
        self.reloader = Reloader(lambda: self.gateway, self.adopt)
        self.llm_keeper = Keeper(lambda: self.gateway.llm)
        self.lifecycle = Lifecycle(
            gateway.config.routing.collector,
            on_start=lambda: host.announce(self.gateway.config),
            before_drain=host.flush_log,
            meanwhile=self._meanwhile,
        )
        self.sessions = Sessions(gateway.config.routing.session.ttl_seconds)
        self._redis: Any = None  # of LiteLLM's configuration, as the latest request brought it
        self.access = Access()
        self.cooldowns = Cooldowns(host.router, gateway.candidates)
        record = None if self.lifecycle.thread is None else self.lifecycle.record
        self.dual_runs = DualRuns(host.router, self.cooldowns.cooling, record)
        self.site: Site | None = None  # the dashboard and its database, once they are there
        self.errors = 0
        self.opted_out = 0  # requests that kept their words or their row out of the log
        self._opt_out = gateway.config.routing.collector.opt_out
        self._may_opt_out = self._opt_out != "nothing"
        self.telemetry = Telemetry(self)
        core.warm(gateway.config.routing.analysis.encoding)  # now, not at the first request

    def adopt(self, gateway: Gateway) -> None:
        """Go on with another configuration. Requests in flight keep the one they have begun with."""
        gateway.succeed(self.gateway)
        self.sessions.ttl = gateway.config.routing.session.ttl_seconds
        self.cooldowns.watched = gateway.candidates
        if gateway.config.routing.telemetry != self.gateway.config.routing.telemetry:
            from .telemetry import logs

            logs.configure(gateway.config.routing.telemetry, unless_claimed=True)
        self.gateway = gateway
        self.llm_keeper.look()

    async def _meanwhile(self) -> None:
        """Follow gateway.yaml and the model file, and keep the metrics up to date. Until it is cancelled."""
        await asyncio.gather(
            self.reloader.run(),
            models.watch(lambda: self.gateway.model_file),
            self.llm_keeper.run(),
            self.telemetry.run(),
        )

    def add_pages(self) -> None:
        """Put the dashboard, its API, feedback and metrics into LiteLLM's app. Routing does not need them."""
        try:
            from .web.routes import add_routes  # takes LiteLLM's whole proxy with it

            self.site = add_routes(self)
        except Exception as error:
            log.error("no dashboard, feedback or metrics under /bsgateway/: %s: %s", type(error).__name__, error)

    async def stop(self) -> None:
        """Write what is left of the log. Awaited once, when the proxy shuts down."""
        if self.site is not None:
            try:
                await self.site.close()
            except Exception as error:  # the log is to be written all the same
                self._failed("pages", error)
        await self.cooldowns.stop()
        await self.dual_runs.stop()
        await self.sessions.settle()
        await self.lifecycle.stop()
        self.telemetry.publish()  # other workers are still asked for the sums
        memo = self.gateway.memo_stats()
        log.info(
            "memo: %d texts were known, %d were new, %d made room for others; %d bytes of %d in use",
            memo.hits, memo.misses, memo.evictions, memo.bytes, memo.capacity_bytes,
            extra=event("stopped", memo_hits=memo.hits, memo_misses=memo.misses, memo_evictions=memo.evictions,
                        memo_bytes=memo.bytes, memo_capacity_bytes=memo.capacity_bytes),
        )  # fmt: skip

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> None:
        """Rewrite `data["model"]` in place. Whatever goes wrong, the request goes on; unless its key may use no model
        that it could go to: then LiteLLM's own error is raised."""
        call_type = str(getattr(call_type, "value", call_type))  # a word, or a member of LiteLLM's CallTypes
        gateway = self.gateway  # one and the same for all of a request: a reload may replace it
        if isinstance(limited := sys.exc_info()[1], RateLimitError):
            return await self._instead_of(limited, user_api_key_dict, data, call_type)
        if call_type not in FORMATS:
            return await self._refuse(await self._other_call(gateway, user_api_key_dict, data), user_api_key_dict, data)
        try:
            self.lifecycle.ensure_running()
            self.cooldowns.ensure_running()
            refused = await self._route(gateway, user_api_key_dict, cache, data, call_type)
            if (routing := _ROUTING.get()) is not None:
                self._trace(gateway, spans.decided, routing, routing.applied, user_api_key_dict)
        except Exception as error:
            self._failed("routing", error)
            refused = await self._refused_as_it_is(gateway, user_api_key_dict, data)
        return await self._refuse(refused, user_api_key_dict, data)

    def _trace(self, gateway: Gateway, say: Callable[..., None], *what: Any) -> None:
        """Say it on the span of the request, unless the operator wants none of it."""
        try:
            if gateway.config.routing.telemetry.spans:
                say(*what)
        except Exception as error:
            self._failed("spans", error)

    async def _refuse(self, refused: _Refusal, key: Any, data: dict[str, Any]) -> None:
        """Raise LiteLLM's own error, if there is something to refuse."""
        if refused.models:
            first, *others = refused.models
            await self.access.refuse(key, first, data, others, refused.granted)

    async def _other_call(self, gateway: Gateway, key: Any, data: dict[str, Any]) -> _Refusal:
        """A call that is not routed, such as embeddings, may ask for a name of ours, too."""
        if (name := await self.access.refused_by_url(key, data)) is not None:
            return _Refusal((name,))
        target = gateway.aliases.get(name) if isinstance(name := data.get("model"), str) else None
        if target is not None and await self.access.over_budget(key, target, data):
            return _Refusal((target,), granted=True)
        return await self._refused_as_it_is(gateway, key, data)

    async def _instead_of(self, limited: RateLimitError, key: Any, data: dict[str, Any], call_type: str) -> None:
        """LiteLLM's own rate limit has stopped the request at its model, and LiteLLM starts it over with one that takes
        over: callbacks run again while that error is being handled. Nobody has checked this model; raising the error
        once more has LiteLLM go on to the next."""
        earlier = _ROUTING.get()
        asked = {**data, "model": data.get("model") if earlier is None else earlier["original_model"]}
        if await self.access.refusal(key, str(data.get("model")), asked) is not None:
            raise limited
        if earlier is not None:
            metadata = own_metadata(data, call_type)
            metadata[STAMP] = metadata[KEPT] = earlier
            earlier.call_id = text(data.get("litellm_call_id")) or earlier.call_id

    async def _route(self, gateway: Gateway, key: Any, cache: Any, data: dict[str, Any], call_type: str) -> _Refusal:
        """Decide, rewrite and record. Returns the models that the key may not use, best first, if there is no other."""
        _ROUTING.set(None)
        metadata = own_metadata(data, call_type)
        if isinstance(metadata.get(KEPT), RoutingDecision):
            return _Refusal()  # LiteLLM runs the hook again for a fallback: that choice is its own
        if not isinstance(data.get("model"), str) or not data["model"]:
            return _Refusal()  # LiteLLM's own error is the right answer
        if self.access.misdirects(data) or await self.access.refused_by_url(key, data) is not None:
            return _Refusal((data["model"],))
        gateway.expected = self.lifecycle.expectations.tokens
        pending = gateway.begin(data, call_type, asker(key, data, metadata), host.knows)
        if pending.target is not None:
            return await self._by_name(gateway, pending, pending.target, key, data, metadata)
        return await self._by_score(gateway, pending, key, cache, data, metadata)

    async def _by_name(
        self, gateway: Gateway, pending: Pending, target: str, key: Any, data: dict[str, Any], metadata: dict[str, Any]
    ) -> _Refusal:
        """A name that stands for one model. LiteLLM has checked the name; what an alias stands for may have a budget of
        its own."""
        is_alias = pending.route.method is Method.ALIAS
        refused = is_alias and await self.access.over_budget(key, target, data)
        data["model"] = target
        self._spare_fallbacks(gateway, pending, data, pending.call_type)
        choice = gateway.choose(pending)
        if refused:
            choice = msgspec.structs.replace(choice, reason=Reason.OVER_BUDGET)
        self._record(gateway, pending, gateway.decision(pending, choice, applied=not refused), data, metadata)
        return _Refusal((target,) if refused else (), granted=True)

    async def _by_score(
        self, gateway: Gateway, pending: Pending, key: Any, cache: Any, data: dict[str, Any], metadata: dict[str, Any]
    ) -> _Refusal:
        redis = self._redis = host.redis(cache)
        thread, session = await self._session(gateway, pending, redis, data)
        if gateway.llm is not None:
            pending = await gateway.judged(pending, session, data)
        choice = await self._permitted(gateway, pending, session, key, data)
        if choice.model is None or not gateway.is_applied(pending):
            applied = choice.model is None and gateway.is_applied(pending)
            denied = [each for each in choice.skipped if each.reason in _DENIED] if applied else []
            if denied:
                choice = msgspec.structs.replace(choice, reason=denied[0].reason)
            self._record(gateway, pending, gateway.decision(pending, choice, session, False), data, metadata)
            self._remember(gateway, pending, choice, session, thread)
            if denied:
                return _Refusal(tuple(each.model for each in denied))
            return await self._as_it_is(gateway, pending, key, data)
        ticket = None
        if gateway.dual_run_share:
            permitted = partial(self._permitted, gateway, pending, None, key, data)
            ticket = await self.dual_runs.draw(gateway, pending, choice, data, permitted)
        model = gateway.models[choice.model]
        families = session.families if session is not None else ()
        same = session is not None and session.model == model.name
        changes = translate(data, FORMATS[pending.call_type], model, families=families, same_model=same)
        data["model"] = model.name
        self._spare_fallbacks(gateway, pending, data, pending.call_type, session)
        decision = gateway.decision(pending, choice, session, True, changes)
        routing = self._record(gateway, pending, decision, data, metadata)
        routing.conversation = self._remember(gateway, pending, choice, session, thread, changes)
        routing.ticket = None if routing.private else ticket
        return _Refusal()

    async def _session(
        self, gateway: Gateway, pending: Pending, redis: Any, data: dict[str, Any]
    ) -> tuple[str | None, Session | None]:
        """The id under which the conversation of a request is remembered, and what is."""
        thread, session = await recalled(self.sessions, redis, gateway, pending, data)
        return thread, session or self._continued(gateway, pending, data)

    def _continued(self, gateway: Gateway, pending: Pending, data: dict[str, Any]) -> Session | None:
        """What is known of a conversation that only names the answer it goes on from: who gave that."""
        earlier = data.get("previous_response_id")
        if not isinstance(earlier, str) or pending.scored is None:
            return None
        group = host.answered_by(earlier)
        model, tier = gateway.models.get(group or ""), gateway.policy.tier_of(group or "")
        if model is None or tier is None:
            return None
        score = min(max(round(pending.scored.raw_score), 0), 100)
        return Session(tier, model.name, score, 0, time.time(), (model.family,))

    def _remember(
        self,
        gateway: Gateway,
        pending: Pending,
        choice: Choice,
        session: Session | None,
        thread: str | None,
        changes: tuple[str, ...] = (),
    ) -> str | None:
        """Keep what the next turn has to know, under the id `thread`; that id, None if there is nothing to keep."""
        session = left(gateway, pending, choice, session, thread, changes)
        if session is None:
            return None
        self.sessions.put(self._redis, thread, session)
        return thread

    async def _permitted(
        self,
        gateway: Gateway,
        pending: Pending,
        session: Session | None,
        key: Any,
        data: dict[str, Any],
        drawn: str | None = None,
    ) -> Choice:
        """The policy's choice among the models that are alive and that the key may use. Only what is chosen is checked:
        it costs more than the choice itself. Chance may have its share in it, unless the tier is `drawn` already."""
        now = time.time()
        excluded = self.cooldowns.cooling()
        choice = gateway.choose(pending, session, excluded, now, drawn)
        while choice.model is not None and (reason := await self.access.refusal(key, choice.model, data)) is not None:
            excluded = {**excluded, choice.model: reason}
            choice = gateway.choose(pending, session, excluded, now, drawn)
        if drawn is not None or not (tiers := gateway.explorable(pending, session, choice, excluded)):
            return choice
        # What is remembered of a conversation may be lost: then this is not its first request all the same.
        if begins(data, pending.call_type) or not gateway.config.routing.session.enabled:
            return await gateway.explorer.settle(
                choice, tiers, partial(self._permitted, gateway, pending, session, key, data)
            )
        return choice

    async def _as_it_is(self, gateway: Gateway, pending: Pending, key: Any, data: dict[str, Any]) -> _Refusal:
        """Let a request go on under its own name, or, where nobody serves that, to what such names stand for. Returns
        what the key may not use of it."""
        target = gateway.stand_in(pending, host.knows)
        if target is not None:
            refused = await self.access.refusal(key, target, data) is not None
            data["model"] = target
            return _Refusal((target,) if refused else ())
        self._spare_fallbacks(gateway, pending, data, pending.call_type)
        return await self._refused_as_it_is(gateway, key, data)

    async def _refused_as_it_is(self, gateway: Gateway, key: Any, data: dict[str, Any]) -> _Refusal:
        """The model that LiteLLM would serve for a name of ours that was not rewritten, if the key may not use it."""
        try:
            target = await self.access.refused_as_it_is(key, data, gateway.routed)
        except Exception as error:
            self._failed("access", error)
            return _Refusal()
        return _Refusal(() if target is None else (target,))

    def _spare_fallbacks(
        self, gateway: Gateway, pending: Pending, data: dict[str, Any], call_type: str, session: Session | None = None
    ) -> None:
        """Have LiteLLM fall back, for this request, only to models that can serve it: its own lists are the same for
        all requests. Lists that the client sent are the client's."""
        try:
            name = data["model"]
            group = gateway.markers.get(name, name)
            lists = host.fallbacks(group)
            if not lists:
                return
            demand = pending.demand if pending.analysis is not None else gateway.demand(data, call_type)
            for setting, listed in lists.items():
                suitable = [
                    model
                    for model in listed
                    if not isinstance(model, str) or gateway.suits(model, demand, pending.wishes, session)
                ]
                if len(suitable) < len(listed):
                    data.setdefault(setting, [{each: suitable} for each in {name, group}])
        except Exception as error:
            self._failed("fallbacks", error)

    def _record(
        self, gateway: Gateway, pending: Pending, decision: Decision, data: dict[str, Any], metadata: dict[str, Any]
    ) -> RoutingDecision:
        """Leave the decision in LiteLLM's metadata and in the log."""
        texts = gateway.texts(pending, decision)
        routing = RoutingDecision(stamp(decision))
        metadata[STAMP] = metadata[KEPT] = routing
        _ROUTING.set(routing)
        routing.beyond = gateway.policy.beyond(pending.wishes)
        routing.id, routing.call_id = decision.decision_id, decision.caller.call_id
        routing.applied = decision.applied
        self.telemetry.decided(decision)
        if self._may_opt_out and opts_out(data):
            self.opted_out += 1
            texts, routing.private = None, True
            routing.logged = self._opt_out == "text"
        if routing.logged:
            self.lifecycle.record(decision)
            if log.isEnabledFor(logging.DEBUG):
                log.debug("decided", extra=told.decided(decision))
        if texts is not None:
            self.lifecycle.record(texts)
        host.ask_for_usage(data, decision.call_type)
        return routing

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> None:
        """Put `routing_decision` back where LiteLLM's router has just cleared it, so that logging callbacks see it;
        note which group the router is about to try; and make the body acceptable to it, if it is not the chosen one.
        `kwargs` is LiteLLM's copy for this attempt."""
        call_type = str(getattr(call_type, "value", call_type))
        places = [place for name in METADATA if isinstance(place := kwargs.get(name), dict)]
        for place in places:
            if isinstance(kept := place.get(KEPT), RoutingDecision):
                place.setdefault(STAMP, kept)
                # Of LiteLLM's own metadata; only Google's format has it elsewhere. The client's may say anything.
                group = text(place.get("model_group")) or next(
                    (found for each in places if (found := text(each.get("model_group")))), None
                )
                kept.group = group or kept.group
                if group is not None and group != kept["resolved_model"]:
                    self._adapt(kwargs, call_type, kept, group)
                elif kept.ticket is not None:
                    kept.ticket = with_words(kept.ticket, kwargs, call_type)

    def _adapt(self, kwargs: dict[str, Any], call_type: str, routing: RoutingDecision, group: str) -> None:
        """`kwargs` for a model that LiteLLM has fallen back to, if the request was rewritten."""
        model = self.gateway.models.get(group)
        if model is None or call_type not in FORMATS or routing["tier"] is None or routing["would_use"] is not None:
            return
        try:
            translate(kwargs, FORMATS[call_type], model, families=(), same_model=False)
        except Exception as error:
            self._failed("fallback", error)

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,
        response: Any,
        request_headers: dict[str, str] | None = None,
        litellm_call_info: dict[str, Any] | None = None,
    ) -> dict[str, str] | None:
        """The `x-bsgateway-*` headers of a routed request, streamed or not, answered or failed."""
        try:
            routing = stamp_of(data)
            if routing is None:
                return None
            self._trace(self.gateway, spans.answered, self._real(served_group(data, response)), user_api_key_dict)
            return headers(routing, lambda: self._real(served_group(data, response) or routing.group))
        except Exception as error:
            self._failed("headers", error)
            return None

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Record the outcome of an answered request."""
        self._record_outcome(kwargs, start_time, end_time, "success", response_obj)

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Record a failed attempt; if a fallback then answers, its success replaces this."""
        self._record_outcome(kwargs, start_time, end_time, "failure")

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> None:
        """Record a request that failed before it reached a provider (a rate limit, a guardrail): no attempt is logged
        for those."""
        try:
            routing = stamp_of(request_data)
            if routing is not None:
                self.telemetry.ended(routing, None)
            if routing is not None and routing.logged:
                self.lifecycle.record(outcome.from_refusal(routing.id, routing.call_id, original_exception))
        except Exception as error:
            self._failed("failure", error)

    def _record_outcome(self, kwargs: dict[str, Any], start: Any, end: Any, status: str, answer: Any = None) -> None:
        try:
            params = kwargs.get("litellm_params") or {}
            routing = stamp_of(params) or stamp_of(kwargs)
            if routing is None:
                return
            ended = outcome.from_call(routing.id, routing.call_id, kwargs, start, end, status, routing.group, answer)
            if (real := self._real(ended.served_group)) != ended.served_group:
                ended = msgspec.structs.replace(ended, served_group=real)
            priced = outcome.priced(
                ended, self.gateway.models, self.gateway.policy.baseline, kwargs.get("cache_hit") is True
            )
            self.telemetry.ended(routing, priced)
            if routing.logged:
                self.lifecycle.ensure_running()
                self.lifecycle.record(priced)
            if status == "success":
                self._note_served(routing, ended.served_group)
                self.dual_runs.answered(routing, ended, answer)
            else:
                self.cooldowns.failed()
        except Exception as error:
            self._failed("outcome", error)

    def _real(self, group: str | None) -> str | None:
        """The model behind a name of ours that LiteLLM served by itself, as nothing was rewritten."""
        return self.gateway.markers.get(group, group) if group is not None else None

    def _note_served(self, routing: RoutingDecision, group: str | None) -> None:
        """Tell the conversation who really answered, where a fallback of LiteLLM did."""
        if routing.conversation is None or group is None or group == routing["resolved_model"]:
            return
        gateway = self.gateway
        if (model := gateway.models.get(group)) is not None:
            tier = gateway.policy.tier_of(group)
            self.sessions.note_served(self._redis, routing.conversation, tier, group, model.family)

    def _failed(self, where: str, error: Exception) -> None:
        """Count and say it. Only the kind of the error: its message may quote the request."""
        self.errors += 1
        log.error("%s hook failed, the request goes on: %s", where, type(error).__name__)


def __getattr__(name: str) -> Any:
    # Made on demand: importing this module must not need a configuration.
    if name != "handler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .telemetry import logs  # what it needs is not needed before

    config = load_config(host.config_path())
    logs.configure(config.routing.telemetry, unless_claimed=True)
    callback = globals()["handler"] = GatewayCallback(Gateway(config))
    host.at_shutdown(callback.stop)
    add_route(callback.reloader)
    callback.add_pages()
    log.info("started", extra=told.started(callback.gateway, callback.lifecycle.thread is not None))
    with contextlib.suppress(RuntimeError):  # no event loop yet: the first request starts it
        callback.lifecycle.ensure_running()
        callback.cooldowns.ensure_running()
    return callback
