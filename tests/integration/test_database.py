"""`web/database.py`: the pages' connections, to a real server, to one that is silent, and to none."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from bsgateway.config import Collector
from bsgateway.web import database as module
from bsgateway.web.database import Database
from bsgateway.web.problems import AWAY, RequestError
from e2e.gateways import free_port


@pytest.fixture
async def database(postgres_dsn: str) -> AsyncIterator[Database]:
    """Of an empty database."""
    opened = Database(Collector(database_url=postgres_dsn))
    yield opened
    await opened.close()


async def problem(database: Database, statement: str = "SELECT 1") -> RequestError:
    """How a statement fails."""
    with pytest.raises(RequestError) as caught:
        async with database.reading() as connection:
            await connection.execute(statement)
    assert caught.value.status == 503
    return caught.value


async def test_reading_changes_nothing_and_writing_is_safe(database: Database) -> None:
    async with database.writing() as connection:
        await connection.execute("CREATE TABLE kept (number int)")
    with contextlib.suppress(KeyError):
        async with database.writing() as connection:
            await connection.execute("INSERT INTO kept VALUES (1)")
            raise KeyError("not this one")
    await problem(database, "INSERT INTO kept VALUES (2)")
    async with database.reading() as connection:
        assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    assert await database.state() == "on"


async def test_a_statement_that_takes_too_long_is_ended(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STATEMENT_SECONDS", 0.1)
    assert "choose a shorter period" in (await problem(database, "SELECT pg_sleep(60)")).problem.remedy
    async with database.reading() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_schema_of_another_version_is_said(database: Database) -> None:
    assert (await problem(database, "SELECT * FROM routing_rollups")).problem.remedy == "run `bsgateway migrate`"


async def test_who_finds_all_connections_in_use_does_not_wait_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
    async with database.connection(), database.connection():
        assert (await problem(database)).problem.error == AWAY
        assert await database.state() == "on"
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_it_connects_again_after_the_server_was_away(database: Database, postgres_dsn: str) -> None:
    async with database.connection() as connection:
        await connection.execute("SELECT 1")
    other = await asyncpg.connect(postgres_dsn)
    name = urlsplit(postgres_dsn).path[1:]
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
    await other.execute(cut, name)
    await other.close()

    deadline = time.monotonic() + 20
    while await database.state() != "on":
        assert time.monotonic() < deadline
    async with database.reading() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and says nothing."""
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(module, "PING_SECONDS", 0.1)
    held = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = Database(Collector(database_url=f"postgresql://user:secret@127.0.0.1:{port}/log"))
    began = time.monotonic()
    found = await asyncio.gather(*(problem(database) for _ in range(4)))
    assert {each.problem.error for each in found} == {AWAY}
    assert await database.state() == "down"
    assert time.monotonic() - began < 10
    await database.close()
    for writer in held:
        writer.close()
    server.close()
    await server.wait_closed()


async def test_a_server_that_falls_silent_is_given_up(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does whose network is cut: what was asked gets no answer, and neither does ROLLBACK."""
    monkeypatch.setattr(module, "TOTAL_SECONDS", 0.5)
    flowing = asyncio.Event()
    flowing.set()
    tasks: list[asyncio.Task[None]] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        socket = urlsplit(postgres_dsn).query.removeprefix("host=") + "/.s.PGSQL.5432"
        to_reader, to_writer = await asyncio.open_unix_connection(socket)
        tasks.extend(map(asyncio.create_task, (pump(reader, to_writer), pump(to_reader, writer))))

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    name = urlsplit(postgres_dsn).path[1:]
    database = Database(Collector(database_url=f"postgresql://postgres@127.0.0.1:{port}/{name}?sslmode=disable"))
    try:
        async with database.reading() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        flowing.clear()
        began = time.monotonic()
        assert (await problem(database)).problem.error == AWAY
        assert time.monotonic() - began < 10
        flowing.set()
        async with database.reading() as connection:
            assert await connection.fetchval("SELECT 1") == 1
    finally:
        await database.close()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_nobody_there(caplog: pytest.LogCaptureFixture) -> None:
    database = Database(Collector(database_url=f"postgresql://user:secret@127.0.0.1:{free_port()}/log"))
    assert (await problem(database)).problem.error == AWAY
    assert await database.state() == "down"
    assert "secret" not in caplog.text
    await database.close()


@pytest.mark.parametrize(
    ("collector", "remedy"),
    [
        (Collector(enabled=False), "routing.collector.enabled"),
        (Collector(database_url=None), "COLLECTOR_DATABASE_URL"),
        (Collector(database_url="no url:secret@x"), "COLLECTOR_DATABASE_URL"),
    ],
)
async def test_no_log_says_how_to_have_one(collector: Collector, remedy: str) -> None:
    found = (await problem(Database(collector))).problem
    assert remedy in found.remedy
    assert "secret" not in found.error + found.remedy
