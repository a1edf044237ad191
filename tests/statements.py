"""Statements for tests that are not asynchronous, such as those of commands, which run an event loop of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg


def ask(dsn: str, query: str, *arguments: Any) -> list[asyncpg.Record]:
    """Run one statement on a connection of its own; the rows it gives."""

    async def fetch() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetch(query, *arguments, timeout=300)
        finally:
            await connection.close()

    return asyncio.run(fetch())
