"""Which model groups are left alone for a while: the hook does not pick them.

LiteLLM keeps the state: a deployment that has failed cools down (`effective.py` says when). For a server that is gone
that comes late, as each failure costs time; and LiteLLM exempts what it calls `APIConnectionError`, which is all that
an Ollama which is not running ever causes. So `Cooldowns` also asks the servers of local models every few seconds
whether they are there, and writes those that are not into the same state, where LiteLLM's own choice of deployments
and its fallbacks heed it too. A server that is back is in use again with the next question.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpx

from .catalog import LOCAL_PROVIDERS, provider_of
from .decision import Reason
from .errors import ConfigError

log = logging.getLogger(__name__)

ASK_SECONDS = 3.0
"""Between two questions to a server that is there."""
ASK_AGAIN_SECONDS = 1.0
"""Between two questions while a server is not there, or may not be, or LiteLLM's router is not there yet."""
ANSWER_SECONDS = 2.0
"""Longest wait for an answer."""
HOLD_SECONDS = 30.0
"""How long LiteLLM leaves a deployment alone after the last question that found no server; each one begins it anew."""
SOONEST_SECONDS = 0.5
"""Between two rounds at least, however many requests fail meanwhile."""
STRIKES = 2
"""Questions in a row that must have got no answer in time before a server counts as gone. One may be due to a busy
machine, ours too. A server that refuses or drops the connection is gone at once."""

NOT_THERE = "BSGateway: the server of this deployment does not answer"
"""What LiteLLM's cooldown state says of a deployment that was put there by us."""

_NONE: Mapping[str, Reason] = MappingProxyType({})
_KEY_START, _KEY_END = "deployment:", ":cooldown"
_OLLAMA = frozenset(("ollama", "ollama_chat"))
_OLLAMA_QUESTION = "/api/version"
_PRIVATE_NAMES = (".local", ".internal", ".lan", ".home.arpa")
_DEFAULT_BASES = {"ollama": "http://localhost:11434", "llamafile": "http://127.0.0.1:8080/v1"}
_GATEWAY_ERRORS = frozenset((502, 503, 504))


class Cooldowns:
    """The cooldown state of one process.

    `router` gives LiteLLM's current router, or None before there is one. Only the servers of the groups in `watched`
    are asked; it may be replaced at any time.
    """

    def __init__(self, router: Callable[[], Any | None], watched: Collection[str]) -> None:
        self.watched = watched
        self._router = router
        self._task: asyncio.Task[None] | None = None
        self._early = asyncio.Event()
        self._strikes: dict[str, int] = {}

    def cooling(self) -> Mapping[str, Reason]:
        """The groups all of whose deployments are cooling down, for the policy to pass over. Reads memory only: what
        other processes share through Redis is there once LiteLLM has read it for a request of its own."""
        router = self._router()
        if router is None or not router.cooldown_cache.in_memory_cache.cache_dict:
            return _NONE
        return _cooling(router)

    def failed(self) -> None:
        """A request has failed: ask now instead of at the next turn. Never waits. To be called in the event loop."""
        self._early.set()

    def ensure_running(self) -> None:
        """Start asking, in the running event loop, once. Cheap enough for every request."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="bsgateway-cooldowns")

    async def stop(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        # Nothing is sent but the question, and any answer will do: no key, so no certificate to check.
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(verify=False, limits=limits, timeout=ANSWER_SECONDS) as client:  # noqa: S501
            while True:
                self._early.clear()
                try:
                    await self._round(client)
                except Exception as error:
                    # Without this LiteLLM's own cooldowns go on working.
                    log.error("local servers could not be asked whether they are there: %s", type(error).__name__)
                await asyncio.sleep(SOONEST_SECONDS)
                pause = ASK_AGAIN_SECONDS if self._strikes or self._router() is None else ASK_SECONDS
                # Not asyncio.wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
                timer = asyncio.get_running_loop().call_later(pause - SOONEST_SECONDS, self._early.set)
                try:
                    await self._early.wait()
                finally:
                    timer.cancel()

    async def _round(self, client: httpx.AsyncClient) -> None:
        router = self._router()
        if router is None or router.disable_cooldowns:
            return
        servers = _servers(router, self.watched)
        for url in self._strikes.keys() - servers.keys():
            del self._strikes[url]
        silent = await asyncio.gather(*(_silence(client, url) for url in servers))
        for (url, deployments), strikes in zip(servers.items(), silent, strict=True):
            self._note(router, url, deployments, strikes)

    def _note(self, router: Any, url: str, deployments: Mapping[str, str], strikes: int) -> None:
        """`deployments`: id -> group of what the server at `url` serves."""
        names = ", ".join(sorted(set(deployments.values())))
        if not strikes:
            if self._strikes.pop(url, 0) >= STRIKES:
                log.info("the server of %s answers again", names)
            for deployment in deployments:
                _release(router, deployment)
            return
        before = self._strikes.get(url, 0)
        self._strikes[url] = before + strikes
        if self._strikes[url] < STRIKES:
            return
        if before < STRIKES:
            log.warning("the server of %s does not answer: left alone until it does", names)
        for deployment in deployments:
            _hold(router, deployment)


def _cooling(router: Any) -> Mapping[str, Reason]:
    """Costs some microseconds: only called while something cools down."""
    now = time.time()
    entries = tuple(router.cooldown_cache.in_memory_cache.cache_dict.items())  # a copy: LiteLLM writes in threads too
    down = {
        key[len(_KEY_START) : -len(_KEY_END)]
        for key, entry in entries
        if isinstance(entry, dict) and entry["timestamp"] + entry["cooldown_time"] > now
    }
    groups = {group for deployment in down if (group := _group(router, deployment)) is not None}
    return {group: Reason.COOLING_DOWN for group in groups if down.issuperset(router.get_model_ids(model_name=group))}


def _group(router: Any, deployment: str) -> str | None:
    index = router.model_id_to_deployment_index_map.get(deployment)  # None: removed meanwhile
    return None if index is None else router.model_list[index]["model_name"]


def _hold(router: Any, deployment: str) -> None:
    """Leave a deployment alone from now on. A cooldown of LiteLLM's own that lasts longer stays."""
    memory, key = router.cooldown_cache.in_memory_cache, _KEY_START + deployment + _KEY_END
    now = time.time()
    entry = memory.cache_dict.get(key)
    if isinstance(entry, dict) and entry["timestamp"] + entry["cooldown_time"] > now + HOLD_SECONDS:
        return
    memory.delete_cache(key)  # it keeps the end of an entry that is only written again
    # In memory only: each process asks for itself, and Redis, which LiteLLM would write to, may be slow.
    value = {"exception_received": NOT_THERE, "status_code": "503", "timestamp": now, "cooldown_time": HOLD_SECONDS}
    memory.set_cache(key, value, ttl=HOLD_SECONDS)


def _release(router: Any, deployment: str) -> None:
    """End what `_hold` began. A cooldown of LiteLLM's own goes on: a server that is there may still fail."""
    memory, key = router.cooldown_cache.in_memory_cache, _KEY_START + deployment + _KEY_END
    entry = memory.cache_dict.get(key)
    if isinstance(entry, dict) and entry["exception_received"] == NOT_THERE:
        memory.delete_cache(key)


def _servers(router: Any, watched: Collection[str]) -> dict[str, dict[str, str]]:
    """URL to ask -> id -> group of the deployments it serves."""
    servers: dict[str, dict[str, str]] = {}
    for deployment in router.model_list:
        name, params = deployment["model_name"], deployment["litellm_params"]
        if name in watched and (url := question(params)) is not None:
            servers.setdefault(url, {})[deployment["model_info"]["id"]] = name
    return servers


def question(params: Mapping[str, Any]) -> str | None:
    """The URL to ask whether the server of a deployment with these `litellm_params` is there; None unless it is local:
    of a provider that runs on the operator's own machines, or at an address that only they can have."""
    base = params.get("api_base")
    base = base if isinstance(base, str) else ""
    provider = _provider(params["model"], params.get("custom_llm_provider"), base)
    if not base and provider in LOCAL_PROVIDERS:
        name = provider.removesuffix("_chat")
        base = os.environ.get(f"{name.upper()}_API_BASE") or _DEFAULT_BASES.get(name, "")
    if not base.startswith(("http://", "https://")) or not (provider in LOCAL_PROVIDERS or _is_private(base)):
        return None
    parts = urlsplit(base)  # without a name and password, which are not for the question
    base = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return base.rstrip("/") + (_OLLAMA_QUESTION if provider in _OLLAMA else "/models")


@lru_cache(maxsize=1024)
def _provider(model: str, custom: str | None, base: str) -> str:
    """LiteLLM's name of a provider; empty for what only another source than gateway.yaml can hold."""
    try:
        return provider_of({"model": model, "custom_llm_provider": custom, "api_base": base or None})[0]
    except ConfigError:
        return ""


def _is_private(base: str) -> bool:
    host = urlsplit(base).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:  # a name; one without a dot is of this machine or its network
        return bool(host) and ("." not in host or host.endswith(_PRIVATE_NAMES))


async def _silence(client: httpx.AsyncClient, url: str) -> int:
    """0 if a server answers at `url`, `STRIKES` if there is none, and 1 if that remains open."""
    try:
        async with client.stream("GET", url) as answer:
            return STRIKES if answer.status_code in _GATEWAY_ERRORS else 0
    except httpx.ConnectTimeout:
        return 1
    except httpx.TimeoutException:
        # Ollama answers at once whatever else it does. Others may have no time for questions while they generate.
        return 1 if url.endswith(_OLLAMA_QUESTION) else 0
    except (httpx.ProxyError, httpx.InvalidURL):
        return 0  # says nothing about the server
    except httpx.TransportError as error:
        # It asks for a certificate of ours, or speaks an old TLS: somebody is there.
        return 0 if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)) else STRIKES


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
