"""TCP servers for tests, which leave nothing open behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[int]:
    """A server on a free port of 127.0.0.1, which is given. At the end all its connections are cut."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await handle(reader, writer)
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await cut(tasks)


async def cut(tasks: set[asyncio.Task[Any]]) -> None:
    """End tasks that abort their connections, and let these close."""
    await asyncio.sleep(0)  # a connection that was just accepted begins its task
    for task in list(tasks):
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for _ in range(3):
        await asyncio.sleep(0)
