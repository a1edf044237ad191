"""A small configuration that needs nothing from outside, and an environment that no test leaves changed."""

from __future__ import annotations

import copy
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from bsgateway.check import load_config
from bsgateway.config import Config
from bsgateway.gateway import Gateway

# Before anything imports LiteLLM, which otherwise waits for a download of its price map.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

OURS = (
    "LITELLM_MASTER_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "LOCAL_LLM_API_BASE", "COLLECTOR_DATABASE_URL",
    "BSGATEWAY_CONFIG", "CONFIG_FILE_PATH", "WORKER_CONFIG",
)  # fmt: skip

MakeConfig = Callable[..., Config]
MakeGateway = Callable[..., Gateway]


def deployment(name: str, dollars: float, window: int) -> dict[str, Any]:
    """A model whose output costs four times its input."""
    return {
        "model_name": name,
        "litellm_params": {"model": f"openai/{name}", "api_key": "none"},
        "model_info": {
            "input_cost_per_token": dollars,
            "output_cost_per_token": 4 * dollars,
            "max_input_tokens": window,
        },
    }


CONFIG: dict[str, Any] = {
    "model_list": [
        deployment("small", 1e-7, 8_000),
        deployment("middle", 1e-6, 100_000),
        deployment("large", 1e-5, 1_000_000),
        {"model_name": "vendor/*", "litellm_params": {"model": "openai/*", "api_key": "none"}},
    ],
    "routing": {
        "tiers": {
            "simple": {"score_range": [0, 30], "model": "small"},
            "medium": {"score_range": [31, 65], "model": "middle"},
            "complex": {"score_range": [66, 100], "model": "large"},
        },
        "fallback_tier": "medium",
        "aliases": {
            "auto": "auto_route",
            "cheap": {"route": "auto_route", "bias": -100},
            "best": {"route": "auto_route", "bias": 100},
            "frontier": "large",
        },
        "auto_route_patterns": ["claude-*"],
        "collector": {"enabled": False},
    },
}


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """The environment without what would change a test's result, and afterwards as it was."""
    with mock.patch.dict(os.environ):
        for name in OURS:
            os.environ.pop(name, None)
        yield


_CALLBACKS = (
    "callbacks", "input_callback", "success_callback", "failure_callback", "_async_success_callback",
    "_async_failure_callback",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _callbacks() -> Iterator[None]:
    """LiteLLM's callbacks and prices as they were: each of its routers adds some, and it takes a hundred at most."""

    def now() -> dict[str, list[Any]]:
        litellm = sys.modules.get("litellm")
        return {} if litellm is None else {name: list(getattr(litellm, name)) for name in _CALLBACKS}

    before = now()
    known = dict(sys.modules["litellm"].model_cost) if before else None
    yield
    for name in now():
        setattr(sys.modules["litellm"], name, before.get(name, []))
    if known is not None:  # a router also enters the prices of its deployments into LiteLLM's map
        model_cost = sys.modules["litellm"].model_cost
        for name in model_cost.keys() - known.keys():
            del model_cost[name]
        model_cost.update(known)


@pytest.fixture
def config_dict() -> dict[str, Any]:
    """The small configuration as a dict of the test's own."""
    return copy.deepcopy(CONFIG)


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the small configuration to a file; keyword arguments replace parts of `routing`, `host` other sections."""

    def write(host: dict[str, Any] | None = None, **routing: Any) -> Path:
        whole = copy.deepcopy(CONFIG) | (host or {})
        whole["routing"] |= routing
        path = tmp_path / "gateway.yaml"
        path.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_config(config_file: Callable[..., Path]) -> MakeConfig:
    """As `config_file`, but read and checked."""
    return lambda *args, **routing: load_config(config_file(*args, **routing))


@pytest.fixture
def make_gateway(make_config: MakeConfig) -> MakeGateway:
    """As `make_config`, but ready to decide."""
    return lambda *args, **routing: Gateway(make_config(*args, **routing))


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Gateway:
    """A gateway with the small configuration."""
    return make_gateway()


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
