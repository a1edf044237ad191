"""A real proxy to attack, with all that a client may be given: overrides, sessions, dual runs, keys that may use little,
and a model whose address its clients may choose."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml

from attacks.listener import Listener
from e2e.clients import PROMPTS, new_request_id
from e2e.gateways import FLUSH_SECONDS, PROVIDER_KEY, Gateway, serving, write_config
from e2e.upstream import Upstream

OPENED = "medium"
"""The model that may be called at an address of the client's. It is also what `auto` is without a decision."""
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
ALIASES: dict[str, Any] = {
    "auto": "auto_route",
    "auto-hard": {"route": "auto_route", "bias": 100},
    "frontier": "large",
}
TIERS = {
    "simple": {"score_range": [0, 30], "model": "small"},
    "medium": {"score_range": [31, 65], "model": "medium"},
    "complex": {"score_range": [66, 100], "model": "large"},
}
OVERRIDES = ["tier", "min_tier", "max_tier", "bias", "dry_run"]


class Proxy(NamedTuple):
    """A running gateway, its providers, and a host of the attacker's."""

    gateway: Gateway
    listener: Listener

    def key_of(self, group: str) -> str:
        """The provider's key of a model."""
        return f"{PROVIDER_KEY}-{group}"


def write(directory: Path, upstream: Upstream) -> Path:
    """Its gateway.yaml."""
    path = write_config(
        directory,
        upstream,
        tiers=TIERS,
        aliases=ALIASES,
        session={"horizon_turns": 0},  # a conversation stays where it is
        client_overrides=OVERRIDES,
        learning={"dual_run": "100%", "dual_run_usd_per_day": 100.0, "judge": {"method": "llm", "model": "referee"}},
        collector={"flush_seconds": FLUSH_SECONDS},
        telemetry={"log_format": "json", "log_level": "debug"},
    )
    shutil.copy(Path(__file__).parents[1] / "e2e" / "custom_keys.py", directory)
    config = yaml.safe_load(path.read_text())
    referee = {"model": "openai/gpt-5-nano", "api_base": f"{upstream.base_url}/referee/v1"}
    config["model_list"].append({"model_name": "referee", "litellm_params": referee})
    for entry in config["model_list"]:
        entry["litellm_params"]["api_key"] = f"{PROVIDER_KEY}-{entry['model_name']}"
        if entry["model_name"] == OPENED:
            entry["litellm_params"]["configurable_clientside_auth_params"] = ["api_base"]
    config["general_settings"].update(custom_auth="custom_keys.authenticate", custom_auth_run_common_checks=True)
    config["litellm_settings"]["enable_post_custom_auth_checks"] = True
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@contextmanager
def proxied(directory: Path, upstream: Upstream) -> Iterator[Proxy]:
    """It runs until the end of the block."""
    with Listener().running() as listener, serving(write(directory, upstream), upstream) as gateway:
        yield Proxy(gateway, listener)


def body(endpoint: str, model: Any, words: str, **extra: Any) -> dict[str, Any]:
    """A request of this format."""
    asked = {"input": words} if endpoint == "responses" else {"messages": [{"role": "user", "content": words}]}
    return {"model": model, **asked, **({"max_tokens": 99} if endpoint == "messages" else {}), **extra}


async def post(
    proxy: Proxy,
    path: str,
    key: str = "free-for-all",
    headers: dict[str, str] | None = None,
    method: str = "POST",
    **sent: Any,
) -> httpx.Response:
    """Ask with the key of this name."""
    own = {"Authorization": f"Bearer sk-key-{key}", **(headers or {})}
    async with httpx.AsyncClient(base_url=proxy.gateway.url, timeout=60, verify=False) as client:
        answer = await client.request(method, path, headers=own, **sent)
    proxy.gateway.note(answer.headers)
    return answer


async def ask(
    proxy: Proxy,
    model: Any = "auto",
    endpoint: str = "chat",
    key: str = "free-for-all",
    prompt: str = "simple",
    headers: dict[str, str] | None = None,
    **extra: Any,
) -> tuple[httpx.Response, str]:
    """The answer to a request, and the id by which the providers know its calls."""
    request_id = new_request_id()
    sent = body(endpoint, model, f"{PROMPTS[prompt]} {request_id}", **extra)
    return await post(proxy, PATHS[endpoint], key, headers, json=sent), request_id


def reached(proxy: Proxy, request_id: str) -> list[str]:
    """The models whose providers were called, in order; a second answer and its judge among them."""
    return [call.group for call in proxy.gateway.upstream.calls(request_id)]
