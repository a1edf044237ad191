"""The reference configuration, without a log; an environment that no test leaves changed; a real proxy to attack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import yaml

from attacks.proxied import Proxy, proxied
from bsgateway.check import load_config
from bsgateway.gateway import Gateway
from e2e.upstream import Upstream

# Before anything imports LiteLLM, which otherwise waits for a download of its price map.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

REFERENCE = Path(__file__).parents[2] / "gateway.yaml"


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """A gateway that keeps words, so that capturing them is attacked too, and leaves unknown names as they are."""
    config = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))
    config["routing"] |= {
        "unknown_models": "leave",
        "collector": {"database_url": "postgresql://nobody@127.0.0.1:1/none", "text": "full"},
    }
    path = tmp_path_factory.mktemp("attacks") / "gateway.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return Gateway(load_config(path))


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One for all modules called test_proxy_..., which one worker runs."""
    with Upstream().running() as upstream, proxied(tmp_path_factory.mktemp("proxied"), upstream) as running:
        yield running
