"""The gateways that most tests share; each takes LiteLLM some 15 seconds to start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from e2e.gateways import KEY, PROVIDER_KEY, Gateway, clean_environment, start_serve, write_config
from e2e.records import Log, until
from e2e.upstream import Upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """The providers."""
    with Upstream().running() as running:
        yield running


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """`bsgateway serve` with one worker and an embedded database."""
    directory = tmp_path_factory.mktemp("gateway")
    environment = clean_environment(
        LITELLM_MASTER_KEY=KEY,
        # Where LiteLLM sends what asks for /anthropic/..., past all routing.
        ANTHROPIC_API_KEY=PROVIDER_KEY,
        ANTHROPIC_API_BASE=f"{upstream.base_url}/direct",
    )
    running = start_serve(write_config(directory, upstream), directory / "state", upstream, environment=environment)
    try:
        yield running
        asyncio.run(assert_only(running))
        running.stop()
    finally:
        running.kill()


async def assert_only(gateway: Gateway) -> None:
    """After all tests: each decision has one row and one outcome, and nothing else is in the log."""
    async with await Log.open(gateway.dsn) as log:

        async def written() -> bool:
            return gateway.answered <= set(await log.ids("routing_outcomes"))

        await until("the outcomes of all answers", written)
        await log.assert_only(gateway)


@pytest.fixture
async def log(gateway: Gateway) -> AsyncIterator[Log]:
    """The database of `gateway`."""
    async with await Log.open(gateway.dsn) as opened:
        yield opened
