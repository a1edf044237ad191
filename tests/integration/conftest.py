"""The database of the log for a test: without a schema, ready, and as it really is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from bsgateway.store import Store

CONFIG = Path(__file__).parents[2] / "gateway.yaml"


@pytest.fixture
async def empty(postgres_dsn: str) -> AsyncIterator[Store]:
    """A store without a schema."""
    async with await Store.connect(postgres_dsn) as store:
        yield store


@pytest.fixture
async def store(empty: Store) -> Store:
    """A store that is ready."""
    await empty.migrate()
    return empty


@pytest.fixture
async def sql(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A plain connection, to see what is really there."""
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def dsn(store: Store, postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that is ready, which the commands take; they run in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BSGATEWAY_CONFIG", str(CONFIG))
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", postgres_dsn)
    return postgres_dsn
