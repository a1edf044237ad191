"""The real hook in this process, one for each way to score, and what a request costs there."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml
from benches.proxy.processes import BenchError
from litellm.caching.dual_cache import DualCache
from litellm.proxy import proxy_server
from litellm.proxy._types import UserAPIKeyAuth
from litellm.router import Router

from bsgateway.decision import LlmStatus
from bsgateway.gateway import FORMATS, load
from bsgateway.hook import GatewayCallback
from bsgateway.stamps import STAMP

REFERENCE = Path(__file__).parents[2] / "gateway.yaml"
KEY = UserAPIKeyAuth(api_key="sk-bench", models=[])
READY_SECONDS = 120.0
"""Longest wait for a model to be loaded."""

Json = dict[str, Any]


class Routed(NamedTuple):
    """What the hook did with a request. `llm` is the status of the strategy llm; None under another."""

    seconds: float
    tier: str | None
    reason: str
    llm: str | None


def write_config(directory: Path, classifier: Mapping[str, Any]) -> Path:
    """gateway.yaml with another `routing.classifier`, and without the log."""
    config = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))
    config["routing"] |= {"classifier": dict(classifier), "collector": {"enabled": False}}
    path = directory / "gateway.yaml"
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


@contextlib.asynccontextmanager
async def running(directory: Path, classifier: Mapping[str, Any]) -> AsyncIterator[GatewayCallback]:
    """A callback as the proxy has it, of the reference configuration with another classifier."""
    gateway = load(write_config(directory, classifier), state=directory)
    former = proxy_server.llm_router
    # What the proxy makes at its start, and the hook then asks about models.
    proxy_server.llm_router = former or Router(model_list=copy.deepcopy(gateway.config.host["model_list"]))
    callback = GatewayCallback(gateway)
    callback.lifecycle.ensure_running()
    try:
        yield callback
        if callback.errors or gateway.failed_open:
            raise BenchError("the hook has failed on the way: nothing was measured")
    finally:
        await callback.stop()
        proxy_server.llm_router = former


async def routed(
    callback: GatewayCallback,
    body: Json,
    call_type: str = "acompletion",
    headers: Mapping[str, str] | None = None,
) -> Routed:
    """Have the hook route `body`, in new objects as a server has just read them."""
    headers = {name.lower(): value for name, value in (headers or {}).items()}
    place = "litellm_metadata" if FORMATS[call_type] in ("messages", "responses") else "metadata"
    data = msgspec.json.decode(msgspec.json.encode(body))
    data[place] = {"headers": headers, "user_agent": headers.get("user-agent")}
    data["proxy_server_request"] = {"headers": headers}
    began = time.perf_counter()
    await callback.async_pre_call_hook(KEY, DualCache(), data, call_type)
    took = time.perf_counter() - began
    stamp = data[place].get(STAMP)
    if stamp is None:
        raise BenchError(f"a request of the kind {call_type} was not routed")
    return Routed(took, stamp["tier"], stamp["reason"], stamp["llm"])


def chat(ask: str) -> Json:
    """A request of one ask."""
    return {"model": "auto", "messages": [{"role": "user", "content": ask}]}


async def until_ready(callback: GatewayCallback) -> None:
    """Wait until the model of the strategy llm answers. Raises BenchError if it does not."""
    llm = callback.gateway.llm
    if llm is None:
        return
    try:
        failure = await asyncio.wait_for(llm.tried(), READY_SECONDS)
    except asyncio.TimeoutError:
        failure = LlmStatus.TIMEOUT
    if failure is not None:
        raise BenchError(f"the model {llm.target.model} is not ready: {failure.value}")
