"""The LiteLLM callback. In gateway.yaml: `litellm_settings: {callbacks: [bsgateway.hook.handler]}`.

`handler` is made when LiteLLM first asks for it, from the configuration file LiteLLM itself was started with (or the
one `BSGATEWAY_CONFIG` names). One instance a process.

Nothing here raises into a request, waits for the log or blocks the event loop.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec
from litellm.integrations.custom_logger import CustomLogger

from . import host, outcome
from .core import core
from .decision import Caller, Outcome, stamp
from .gateway import FORMATS, Gateway, load
from .lifecycle import Lifecycle
from .outcome import mapping, text

log = logging.getLogger(__name__)

STAMP = "routing_decision"
"""Key of the decision in LiteLLM's own metadata, where other callbacks and its spend logs look for it."""
KEPT = "bsgateway_decision"
"""The same under a key of ours: LiteLLM's router clears `routing_decision` at every attempt it makes."""
MODEL_HEADER = "x-bsgateway-model"
HEADERS = {
    "x-bsgateway-decision-id": "decision_id",
    MODEL_HEADER: "resolved_model",
    "x-bsgateway-tier": "tier",
    "x-bsgateway-score": "complexity_score",
    "x-bsgateway-strategy": "strategy",
    "x-bsgateway-method": "method",
    "x-bsgateway-reason": "reason",
}
"""Response header -> field of the stamp. A header whose field is empty is not sent; the model is the one that really
served, which a fallback of LiteLLM may have changed."""

_FIELDS = tuple((name, field) for name, field in HEADERS.items() if name != MODEL_HEADER)
MAX_HEADER = 512
"""Characters of a header's value."""

NO_LOG_HEADER = "x-bsgateway-no-log"
"""Request header by which a client keeps its request out of the log, as far as `collector.opt_out` lets it."""
NO_LOG = "bsgateway_no_log"
"""The same in the metadata of a request's body."""
_YES = frozenset(("true", "1", "yes"))

# Call types whose `metadata` is the client's own: LiteLLM keeps its own in `litellm_metadata` there.
_OWN_METADATA = frozenset(("anthropic_messages", "aresponses", "responses"))
_METADATA = ("metadata", "litellm_metadata")


class RoutingDecision(dict[str, Any]):
    """The stamp in LiteLLM's metadata. A class of its own, so that a `routing_decision` which a client put into its
    metadata can never be taken for ours: JSON makes plain dicts.

    `id` is the decision's. `call_id` is the request's, `group` the model group of LiteLLM's latest attempt. Google's
    format needs them: LiteLLM answers it by a call of its own inside, which has another id and knows of no group.
    `logged` is False for a request that opted out of the log, row and all.
    """

    id: UUID
    call_id: str | None = None
    group: str | None = None
    logged: bool = True


class GatewayCallback(CustomLogger):
    """Routes requests before LiteLLM does, answers with headers that say why, and records what came of it."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self.gateway = gateway
        self.lifecycle = Lifecycle(
            gateway.config.routing.collector,
            on_start=lambda: host.announce(gateway.config),
            before_drain=host.flush_log,
        )
        self.errors = 0
        self.opted_out = 0  # requests that kept their words or their row out of the log
        self._opt_out = gateway.config.routing.collector.opt_out
        self._may_opt_out = self._opt_out != "nothing"
        core.warm(gateway.config.routing.analysis.encoding)  # now, not at the first request

    async def stop(self) -> None:
        """Write what is left of the log. Awaited once, when the proxy shuts down."""
        await self.lifecycle.stop()
        memo = self.gateway.memo_stats()
        log.info(
            "memo: %d texts were known, %d were new, %d made room for others; %d bytes of %d in use",
            memo.hits, memo.misses, memo.evictions, memo.bytes, memo.capacity_bytes,
        )  # fmt: skip

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> None:
        """Rewrite `data["model"]` in place. Whatever goes wrong, the request goes on."""
        call_type = str(getattr(call_type, "value", call_type))  # a word, or a member of LiteLLM's CallTypes
        if call_type not in FORMATS:
            return
        try:
            self.lifecycle.ensure_running()
            self._route(user_api_key_dict, data, call_type)
        except Exception as error:
            self._failed("routing", error)

    def _route(self, key: Any, data: dict[str, Any], call_type: str) -> None:
        metadata = _own_metadata(data, call_type)
        if isinstance(metadata.get(KEPT), RoutingDecision):
            return  # LiteLLM runs the hook again for a fallback: that choice is its own
        if not isinstance(data.get("model"), str) or not data["model"]:
            return  # LiteLLM's own error is the right answer
        decision, texts = self.gateway.route(data, call_type, _caller(key, data, metadata), host.knows)
        data["model"] = decision.resolved_model
        routing = metadata[STAMP] = metadata[KEPT] = RoutingDecision(stamp(decision))
        routing.id, routing.call_id = decision.decision_id, decision.caller.call_id
        if self._may_opt_out and _opts_out(data):
            self.opted_out += 1
            texts = None
            routing.logged = self._opt_out == "text"
        if routing.logged:
            self.lifecycle.record(decision)
        if texts is not None:
            self.lifecycle.record(texts)
        host.ask_for_usage(data, call_type)

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> None:
        """Put `routing_decision` back where LiteLLM's router has just cleared it, so that logging callbacks see it; and
        note which group the router is about to try."""
        places = [place for name in _METADATA if isinstance(place := kwargs.get(name), dict)]
        group = next((found for place in places if (found := text(place.get("model_group")))), None)
        for place in places:
            if isinstance(kept := place.get(KEPT), RoutingDecision):
                place.setdefault(STAMP, kept)
                kept.group = group or kept.group

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
            routing = _stamp_of(data)
            if routing is None:
                return None
            group = _served_group(data, response) or routing.group
            headers = {name: _header(value) for name, field in _FIELDS if (value := routing[field]) is not None}
            headers[MODEL_HEADER] = _header(group or routing["resolved_model"])
            return headers
        except Exception as error:
            self._failed("headers", error)
            return None

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Record the outcome of an answered request."""
        self._record_outcome(kwargs, start_time, end_time, "success")

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
            routing = _stamp_of(request_data)
            if routing is not None and routing.logged:
                self.lifecycle.record(outcome.from_refusal(routing.id, routing.call_id, original_exception))
        except Exception as error:
            self._failed("failure", error)

    def _record_outcome(self, kwargs: dict[str, Any], start: Any, end: Any, status: str) -> None:
        try:
            params = kwargs.get("litellm_params") or {}
            routing = _stamp_of(params) or _stamp_of(kwargs)
            if routing is not None and routing.logged:
                self.lifecycle.ensure_running()
                ended = outcome.from_call(routing.id, routing.call_id, kwargs, start, end, status, routing.group)
                self.lifecycle.record(self._priced(ended, cached=kwargs.get("cache_hit") is True))
        except Exception as error:
            self._failed("outcome", error)

    def _priced(self, ended: Outcome, cached: bool) -> Outcome:
        """`ended` with what the same tokens would have cost at the top tier, and its own cost where LiteLLM found none:
        in Google's format it overlooks the prices of `model_info`. An answer from LiteLLM's cache is free indeed."""
        if ended.prompt_tokens is None or ended.completion_tokens is None:
            return ended
        tokens = (ended.prompt_tokens, ended.completion_tokens, ended.cache_read_tokens or 0)
        baseline = self.gateway.policy.baseline
        cost = ended.cost
        if not cost and not cached and (price := self.gateway.prices.get(ended.served_group or "")):
            cost = price.of(*tokens) if price.input is not None else cost
        return msgspec.structs.replace(
            ended, cost=cost, baseline_model=baseline.model, baseline_cost=baseline.price.of(*tokens)
        )

    def _failed(self, where: str, error: Exception) -> None:
        """Count and say it. Only the kind of the error: its message may quote the request."""
        self.errors += 1
        log.error("%s hook failed, the request goes on: %s", where, type(error).__name__)


def _own_metadata(data: dict[str, Any], call_type: str) -> dict[str, Any]:
    """LiteLLM's own metadata dict of a request, made if it is missing; what the client put there is kept."""
    name = "litellm_metadata" if call_type in _OWN_METADATA else "metadata"
    metadata = data.get(name)
    if not isinstance(metadata, dict):
        metadata = data[name] = {}
    return metadata


def _stamp_of(holder: Mapping[str, Any]) -> RoutingDecision | None:
    for name in _METADATA:
        metadata = holder.get(name)
        if isinstance(metadata, dict) and isinstance(found := metadata.get(KEPT), RoutingDecision):
            return found
    return None


def _opts_out(data: dict[str, Any]) -> bool:
    """Whether the client asks to be left out of the log. Its word is taken out of `metadata`, which is the client's own
    or holds what the client put there: some of it goes to the provider, who may refuse a key that is not text."""
    metadata = data.get("metadata")
    marked = isinstance(metadata, dict) and _is_yes(metadata.pop(NO_LOG, None))
    headers = mapping(mapping(data.get("proxy_server_request")).get("headers"))  # names in lower case, as ASGI has them
    return marked or _is_yes(headers.get(NO_LOG_HEADER))


def _is_yes(value: Any) -> bool:
    return value.strip().lower() in _YES if isinstance(value, str) else isinstance(value, int) and value == 1


def _caller(key: Any, data: dict[str, Any], metadata: dict[str, Any]) -> Caller:
    return Caller(
        call_id=text(data.get("litellm_call_id")),
        session_id=text(data.get("litellm_session_id")),
        key_hash=text(metadata.get("user_api_key_hash")),
        key_alias=text(getattr(key, "key_alias", None)),
        user_id=text(getattr(key, "user_id", None)),
        team_id=text(getattr(key, "team_id", None)),
        end_user=text(getattr(key, "end_user_id", None)),
        user_agent=text(metadata.get("user_agent")),
    )


def _served_group(data: dict[str, Any], response: Any) -> str | None:
    """The model group that answered; None when nobody did, or LiteLLM does not say.

    LiteLLM notes it on the response, but takes the note off plain dicts (an unstreamed /v1/messages) before it asks for
    headers: then its logging object still knows.
    """
    if response is None:
        return None
    headers = mapping(mapping(getattr(response, "_hidden_params", None)).get("additional_headers"))
    if group := text(headers.get("x-litellm-model-group")):
        return group
    details = mapping(getattr(data.get("litellm_logging_obj"), "model_call_details", None))
    return text(mapping(mapping(details.get("litellm_params")).get("metadata")).get("model_group"))


def _header(value: Any) -> str:
    """A header value: `value` as it stands, or escaped if it is not plain."""
    if type(value) is not str:
        return str(value)
    return value if _PLAIN(value) else _escaped(value)


_PLAIN = re.compile(rf"[A-Za-z0-9._/:-]{{1,{MAX_HEADER}}}").fullmatch


def _escaped(value: str) -> str:
    """A client chooses the model name it asks for, so anything but plain printable ASCII is escaped."""
    escaped = quote(value[:MAX_HEADER], safe=" !#$&'()*+,/:;<=>?@[]^_`{|}~.-", errors="replace")
    return escaped[:MAX_HEADER].strip(" ")  # a space at an end makes a header that some servers refuse to send


def __getattr__(name: str) -> Any:
    # Made on demand: importing this module must not need a configuration.
    if name != "handler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    callback = globals()["handler"] = GatewayCallback(load(host.config_path()))
    host.at_shutdown(callback.stop)
    with contextlib.suppress(RuntimeError):  # no event loop yet: the first request starts it
        callback.lifecycle.ensure_running()
    return callback
