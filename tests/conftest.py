"""One PostgreSQL for the whole run, and a database of its own for each test that asks for one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from xdist.scheduler import LoadFileScheduling

from bsgateway.embedded import EmbeddedPostgres
from bsgateway.upstreams import local_model
from bsgateway.upstreams.supervisor import ChildServer

sys.path.insert(0, str(Path(__file__).parent))  # for `import builders`


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory that all tests of the run share."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No gateway of a test finds the spool of another one, or that of the person who runs the tests."""
    monkeypatch.setenv("BSGATEWAY_STATE", str(tmp_path / ".bsgateway"))


@pytest.fixture(autouse=True)
def own_log_lines() -> Iterator[None]:
    """A test that serves in its own process leaves the log lines of the package to the next one as they were."""
    logger = logging.getLogger("bsgateway")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(scope="session")
def postgres_server(state_dir: Path) -> Iterator[str]:
    """DSN of the PostgreSQL of this run: the embedded one, or BSGATEWAY_TEST_POSTGRES to test another version."""
    if dsn := os.environ.get("BSGATEWAY_TEST_POSTGRES"):
        yield dsn
        return
    with EmbeddedPostgres(state_dir) as server:
        yield server.dsn


@pytest.fixture
async def postgres_dsn(postgres_server: str) -> AsyncIterator[str]:
    """DSN of a fresh, empty database."""
    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(postgres_server)
    await connection.execute(f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture(scope="session")
def real_ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server that speaks Ollama's API and has one small model, `ollama_api.real.MODEL`, on one thread.

    Tests that use it are marked `local_llm`.
    """
    if not local_model.is_available():
        pytest.skip(f"no engine or no weights: {local_model.INSTALL_HINT}")
    with ChildServer("ollama_api.real", [], "ollama", state_dir=tmp_path_factory.mktemp("ollama")) as server:
        yield server.base_url


TOGETHER = ("tests/browser/", "tests/attacks/test_proxy_")
"""Beginnings of tests that share what takes long to start: a gateway and a browser, a gateway to attack."""


class OneBrowser(LoadFileScheduling):
    """Each file to one worker, and all tests of a kind in `TOGETHER` to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        shared = next((start for start in TOGETHER if nodeid.startswith(start)), None)
        return shared or super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneBrowser:
    """Whatever --dist says."""
    return OneBrowser(config, log)
