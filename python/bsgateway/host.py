"""What the gateway asks of the running LiteLLM proxy besides its callback: names, configuration, log queue."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from .config import Config
from .errors import ConfigError

log = logging.getLogger(__name__)

FLUSH_SECONDS = 10.0
"""Longest wait for LiteLLM's own queue of logging callbacks at shutdown."""


def config_path() -> str:
    """The configuration of this process: `BSGATEWAY_CONFIG`, or the file LiteLLM was started with.

    Raises ConfigError when there is none.
    """
    if path := os.environ.get("BSGATEWAY_CONFIG") or os.environ.get("CONFIG_FILE_PATH"):
        return path
    worker = os.environ.get("WORKER_CONFIG", "")  # how the `litellm` command hands its options to its workers
    path = json.loads(worker).get("config") if worker.startswith("{") else worker
    path = path or _proxy().user_config_file_path
    if not path:
        raise ConfigError("no configuration: start LiteLLM with --config gateway.yaml, or set BSGATEWAY_CONFIG")
    return str(path)


def knows(name: str) -> bool:
    """Whether the proxy serves `name` although gateway.yaml does not mention it: a model kept in its database, an
    alias of its router, a deployment id."""
    router = _proxy().llm_router
    return router is not None and serves(router, name)


def serves(router: Any, name: str) -> bool:
    """Whether a router of LiteLLM's takes `name`: a group, an alias of its own, a deployment id."""
    return name in router.model_names or name in router.model_group_alias or router.has_model_id(name)


def router() -> Any | None:
    """LiteLLM's router; None until the proxy has made it. Another one may take its place at any time."""
    return _proxy().llm_router


def ask_for_usage(data: dict[str, Any], call_type: str) -> None:
    """Have a streamed chat completion end with its token counts, which a client that did not ask for them is not shown.

    LiteLLM does so by itself before the hook, unless the operator forbids it, but only for a name it knows: not for one
    that a pattern or `unknown_models` catches. Without the counts nobody knows what the answer cost.
    """
    options = data.get("stream_options")
    asked = isinstance(options, dict) and options.get("include_usage") is True
    if asked or call_type != "acompletion" or data.get("stream") is not True:
        return
    proxy = _proxy()
    if (proxy.general_settings or {}).get("always_include_stream_usage") is not None:
        return
    models = proxy.llm_router.resolved_litellm_models(data["model"]) if proxy.llm_router else ()
    if models and all(map(_reports_usage, models)):
        data["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        data["_litellm_strip_stream_usage"] = True


@lru_cache(maxsize=512)
def _reports_usage(model: str) -> bool:
    """Whether LiteLLM can ask this model for the counts of a stream."""
    import litellm

    return "stream_options" in (litellm.get_supported_openai_params(model=model) or ())


def answered_by(response_id: str) -> str | None:
    """The model group that gave an answer of the Responses API which LiteLLM handed out under this id; None if it does
    not say. LiteLLM writes the deployment into the id, and encrypts it against other keys."""
    from litellm.proxy.hooks.responses_id_security import ResponsesIDSecurity
    from litellm.responses.utils import ResponsesAPIRequestUtils

    router = _proxy().llm_router
    if router is None:
        return None
    plain, *_ = ResponsesIDSecurity()._decrypt_response_id(response_id)
    deployment = ResponsesAPIRequestUtils.get_model_id_from_response_id(plain)
    return group_of(router, deployment)


def group_of(router: Any, deployment: Any) -> str | None:
    """The model group that a deployment id of a router of LiteLLM's belongs to; None for what is none."""
    index = router.model_id_to_deployment_index_map.get(deployment)
    return None if index is None else str(router.model_list[index]["model_name"])


def fallbacks(model: str, router: Any | None = None) -> dict[str, list[Any]]:
    """What `router` (unset: that of the proxy) falls back to from `model`: router setting -> groups, in order. Settings
    without any are left out, and so is what is meant for all models."""
    router = _proxy().llm_router if router is None else router
    found = {}
    for setting in ("fallbacks", "context_window_fallbacks"):
        for entry in getattr(router, setting, None) or ():
            if isinstance(entry, dict) and isinstance(entry.get(model), list):
                found[setting] = entry[model]
    return found


def redis(cache: Any) -> Any:
    """The Redis of LiteLLM's configuration, as its `RedisCache`; None if there is none.

    Hooks are given the cache of keys, which has it only with `enable_redis_auth_cache`. Any other that is configured
    (`litellm_settings.cache`, `general_settings.coordination_redis`, REDIS_HOST and the like, `router_settings`) is
    found at the proxy or at its router.
    """
    proxy = _proxy()
    found = getattr(cache, "redis_cache", None) or proxy.redis_usage_cache
    return found if found is not None or proxy.llm_router is None else proxy.llm_router.cache.redis_cache


async def announce(config: Config) -> None:
    """Make the routed names known to the proxy's router once it exists, so that /v1/models lists them.

    `bsgateway serve` writes them into LiteLLM's configuration before the start; under plain `litellm` this does it.
    """
    while _proxy().llm_router is None:  # noqa: ASYNC110  # LiteLLM signals nowhere that its router is there
        await asyncio.sleep(0.2)
    aliases = _proxy().llm_router.model_group_alias
    for name, target in marker_names(config).items():
        aliases.setdefault(name, target)


def marker_names(config: Config) -> dict[str, str]:
    """Alias -> the model LiteLLM should take it for wherever the hook does not run (count_tokens, /v1/models)."""
    from .names import Names

    names, routed = Names(config), marker(config)
    return {alias: names.resolve(alias, lambda _: False).target or routed for alias in config.routing.aliases}


def marker(config: Config) -> str:
    """The first model of the fallback tier; or, if that costs nothing, the next one that does: LiteLLM leaves out every
    budget of a request whose name stands for a free model."""
    tiers = sorted(config.routing.tiers, key=lambda name: config.routing.tiers[name].score_range)
    home = tiers.index(config.routing.fallback_tier)
    nearest = (*tiers[home:], *reversed(tiers[:home]))
    order = [name for tier in nearest for name in config.routing.tiers[tier].candidates]
    return next((name for name in order if not _is_free(config, name)), order[0])


def _is_free(config: Config, name: str) -> bool:
    """Whether LiteLLM takes a model for free: all its deployments say that they cost nothing."""
    costs = ("input_cost_per_token", "output_cost_per_token")
    entries = [entry for entry in config.host["model_list"] if entry["model_name"] == name]
    told = [{**(entry.get("litellm_params") or {}), **(entry.get("model_info") or {})} for entry in entries]
    return bool(told) and all(entry.get(cost) == 0 for entry in told for cost in costs)


def at_shutdown(stop: Callable[[], Awaitable[None]]) -> None:
    """Have the proxy await `stop` when it shuts down, after its last request and before its own clean-up.

    LiteLLM tells a callback nothing of its shutdown. The end of the event loop would be too late: uvicorn, once it has
    shut down, raises the signal it was stopped by again, and SIGTERM then ends the process.
    """
    proxy = _proxy()
    clean_up = proxy.proxy_shutdown_event

    async def shut_down(*args: Any, **kwargs: Any) -> None:
        await stop()
        await clean_up(*args, **kwargs)

    proxy.proxy_shutdown_event = shut_down


async def flush_log() -> None:
    """Let LiteLLM run the logging callbacks it has queued: outcomes of requests that were just answered."""
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

    try:
        await asyncio.wait_for(GLOBAL_LOGGING_WORKER.flush(), FLUSH_SECONDS)
    except asyncio.TimeoutError:
        log.warning("LiteLLM's logging queue did not empty within %.0f s: some outcomes may be missing", FLUSH_SECONDS)


def _proxy() -> Any:
    # The proxy's module globals are its public state; it exists only inside a running proxy.
    from litellm.proxy import proxy_server

    return proxy_server
