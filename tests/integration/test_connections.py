"""Reaching PostgreSQL: addresses, several hosts, servers that are silent, locked or read-only."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
import pytest

from bsgateway import connections, migrations
from bsgateway import store as store_module
from bsgateway.connections import Host, describe, hosts
from bsgateway.embedded import EmbeddedPostgres
from bsgateway.errors import StoreError
from bsgateway.store import Store
from builders import make_decision, make_outcome, make_texts
from sockets import cut, serving

HANG = 30.0  # seconds: a bound against hangs, not a measurement


class Relay:
    """A TCP port in front of a PostgreSQL that forwards until it is told to be silent; then connections stay open."""

    def __init__(self, target: Host) -> None:
        self.target = target
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.seen = 0  # bytes that came from clients
        self.silent_after: int | None = None
        self.answers = bytearray()

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await cut(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name, port = self.target.name or "localhost", self.target.port or 5432
        if name.startswith("/"):
            behind = await asyncio.open_unix_connection(f"{name}/.s.PGSQL.{port}")
        else:
            behind = await asyncio.open_connection(name, port)
        for source, sink in ((reader, behind[1]), (behind[0], writer)):
            task = asyncio.create_task(self._forward(source, sink, source is reader))
            self._tasks.add(task)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, upwards: bool) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                while data := await source.read(4096):
                    if upwards:
                        self.seen += len(data)
                        if self.silent_after is not None and self.seen > self.silent_after:
                            self.flowing.clear()
                    else:
                        self.answers += data
                    await self.flowing.wait()
                    sink.write(data)
                    await sink.drain()
        finally:
            sink.close()


def through(dsn: str, *others: Host | None) -> str:
    """`dsn` with these hosts; None stands for its own."""
    (own,) = hosts(dsn)
    found = [host or own for host in others]
    url = urlsplit(dsn)
    query = dict(parse_qsl(url.query))
    query["host"] = ",".join(host.name or "localhost" for host in found)
    query["port"] = ",".join(str(host.port or 5432) for host in found)
    user = url.netloc.rpartition("@")[0]
    return urlunsplit(url._replace(netloc=f"{user}@" if user else "", query=urlencode(query)))


@pytest.fixture
async def relay(postgres_dsn: str) -> AsyncIterator[Relay]:
    """A relay in front of the server of this run."""
    async with Relay(hosts(postgres_dsn)[0]) as relay:
        yield relay


@pytest.fixture
async def silent() -> AsyncIterator[Host]:
    """A host that takes connections and never says a word."""

    async def say_nothing(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(say_nothing) as port:
        yield Host("127.0.0.1", port)


# Addresses


@pytest.mark.parametrize(
    ("dsn", "address"),
    [
        ("postgresql://me:pa55word@db.example:6543/log", "db.example:6543/log"),
        ("postgres://me:pa55word@db.example/log?sslmode=require", "db.example/log"),
        ("postgresql://me:pa55word@/log?host=/run/pg", "/run/pg/log"),
        ("postgresql://", "localhost/"),
        ("postgresql://me:pa55word@one:5432,two:5433/log", "one:5432,two:5433/log"),
        ("postgresql://me:pa55word@/log?host=one,/run/pg&port=1,2", "one:1,/run/pg:2/log"),
        ("postgresql://me:pa55word@[::1]:5432/log", "[::1]:5432/log"),
        ("postgresql://me:55/pa55word@db.example/log", "an address that is not a URL"),
        ("postgresql://me:pa@55/word@db.example/log", "an address that is not a URL"),
        ("postgresql://me:pa55/word@db.example/log", "an address that is not a URL"),
        ("host=db password=pa55word", "an address that is not a URL"),
    ],
)
def test_describe_names_the_address_and_no_secret(dsn: str, address: str) -> None:
    assert describe(dsn) == address


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:pa55word@127.0.0.1:1/log",
        "postgresql://me:pa55/word@127.0.0.1/log",
        "postgresql://me:pa55word@127.0.0.1:port/log",
        "mysql://me:pa55word@127.0.0.1/log",
        "host=127.0.0.1 password=pa55word",
    ],
)
async def test_an_error_of_connecting_never_shows_the_password(dsn: str) -> None:
    with pytest.raises(StoreError, match=r"cannot connect to PostgreSQL at .*COLLECTOR_DATABASE_URL") as caught:
        await Store.connect(dsn)
    error: BaseException | None = caught.value
    assert "pa55" not in str(error)
    assert error is not None
    assert error.__cause__ is None
    assert error.__suppress_context__


async def test_a_missing_database_is_named(postgres_dsn: str) -> None:
    dsn = urlunsplit(urlsplit(postgres_dsn)._replace(path="/nowhere"))
    with pytest.raises(StoreError, match='nowhere: database "nowhere" does not exist'):
        await Store.connect(dsn)


@pytest.mark.parametrize(
    ("dsn", "found"),
    [
        ("postgresql://u:p@h1:5432,h2:5433/db", [Host("h1", 5432), Host("h2", 5433)]),
        ("postgresql://u:p@h1,h2:5433/db", [Host("h1", None), Host("h2", 5433)]),
        ("postgresql://h1", [Host("h1", None)]),
        ("postgresql://u@/db?host=h1,/run/pg&port=1,2", [Host("h1", 1), Host("/run/pg", 2)]),
        ("postgresql://u@/db?host=h1,h2&port=1", [Host("h1", 1), Host("h2", 1)]),
        ("postgresql://u@%2Frun%2Fpg/db", [Host("/run/pg", None)]),
        ("postgresql://u@[::1]:5432/db", [Host("::1", 5432)]),
        ("postgresql://u:p@h1/a@b", [Host("h1", None)]),
        ("postgresql:///db", [Host(None, None)]),
    ],
)
def test_hosts_are_those_that_asyncpg_finds(dsn: str, found: list[Host], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPORT"):
        monkeypatch.delenv(name, raising=False)
    assert list(hosts(dsn)) == found
    if found[0].name is None:
        return
    parse = asyncpg.connect_utils._parse_connect_dsn_and_args
    addresses, _ = parse(**{**dict.fromkeys(inspect.signature(parse).parameters), "dsn": dsn})
    assert addresses == [
        f"{host.name}/.s.PGSQL.{host.port or 5432}" if host.name[0] == "/" else (host.name, host.port or 5432)
        for host in found
        if host.name
    ]


# Several hosts


async def test_a_silent_first_host_does_not_use_up_the_time_of_the_second(
    postgres_dsn: str, silent: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT", 2.0)
    refusing = Host("127.0.0.1", 1)
    async with await Store.connect(through(postgres_dsn, silent, refusing, None)) as store:
        assert len(await store.migrate()) == len(migrations.available())


async def test_when_no_host_is_to_be_had_each_is_named(
    postgres_dsn: str, silent: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT", 0.4)
    with pytest.raises(
        StoreError, match=rf"127\.0\.0\.1:1: .*Connect call failed.*; {silent}: no answer in time: check"
    ):
        await Store.connect(through(postgres_dsn, Host("127.0.0.1", 1), silent))


async def test_writes_follow_the_server_that_takes_them(
    store: Store, postgres_dsn: str, sql: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    name = urlsplit(postgres_dsn).path[1:]
    with await asyncio.to_thread(EmbeddedPostgres(tmp_path).__enter__) as other:
        theirs = urlunsplit(urlsplit(other.dsn)._replace(path=f"/{name}"))
        admin = await asyncpg.connect(other.dsn)
        await admin.execute(f"CREATE DATABASE {name}")
        async with await Store.connect(theirs) as second:
            await second.migrate()
            await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            async with await Store.connect(through(postgres_dsn, hosts(theirs)[0], None)) as both:
                first = make_decision()
                await both.copy([first])
                assert await sql.fetchval("SELECT decision_id FROM routing_logs") == first.decision_id
                # The other one is promoted; this one, whose connections stay open, takes no more writes.
                await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
                await sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
                await sql.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                next_ = make_decision()
                with contextlib.suppress(
                    asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError
                ):
                    await both.copy([next_])
                await both.copy([next_])
            rows = await second.recent()
        await admin.close()
    assert [row.decision for row in rows] == [next_]


async def test_a_server_that_takes_no_writes_for_a_while_is_tried_again(
    store: Store, sql: asyncpg.Connection[asyncpg.Record], postgres_dsn: str
) -> None:
    name = urlsplit(postgres_dsn).path[1:]
    await sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with await Store.connect(postgres_dsn) as late:  # a gateway that starts now
        assert await late.migrate() == ()
        decision = make_decision()
        for _ in range(2):
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await late.copy([decision])
        with pytest.raises(StoreError, match="read-only transaction"):
            await late.maintain("month", 1, 1)
        await sql.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await late.copy([decision])
        assert (await late.maintain("month", 1, 1)).finished
        assert (await late.counts()).logs == 1


# Servers that do not answer


@pytest.mark.parametrize("point", ["before", "begin", "copy"])
async def test_a_server_that_goes_silent_is_given_up(
    store: Store, relay: Relay, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr(store_module, "WRITE_TIMEOUT", 0.5)
    decisions = [make_decision() for _ in range(400)]
    async with await Store.connect(through(postgres_dsn, Host("127.0.0.1", relay.port))) as behind:
        await behind.copy([make_decision()])
        relay.silent_after = relay.seen + {"before": -1, "begin": 300, "copy": 100_000}[point]
        began = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await behind.copy(decisions)
        assert time.monotonic() - began < HANG
        assert not relay.flowing.is_set()
        relay.silent_after = None
        relay.flowing.set()
        await behind.copy(decisions)
    assert (await store.counts()).logs == 401


async def test_a_locked_table_is_given_up_by_the_server_itself(
    store: Store, sql: asyncpg.Connection[asyncpg.Record], postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BEGIN", store_module.BEGIN.replace("lock_timeout = 5000", "lock_timeout = 200"))
    decision = make_decision()
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
    async with sql.transaction():
        await sql.execute("LOCK TABLE routing_logs")
        for _ in range(4):
            with pytest.raises(asyncpg.LockNotAvailableError):
                await store.copy([decision, make_texts(decision), make_outcome(decision)])
        assert await sql.fetchval(waiting) == 0
    await store.copy([decision, make_texts(decision), make_outcome(decision)])
    assert (await store.counts()).logs == 1


async def test_the_limits_cost_no_round_trip(store: Store, relay: Relay, postgres_dsn: str) -> None:
    async with await Store.connect(through(postgres_dsn, Host("127.0.0.1", relay.port))) as behind:
        for batch in range(2):
            decision = make_decision()
            relay.answers.clear()
            await behind.copy([decision, make_texts(decision), make_outcome(decision)])
            if batch:  # the first one prepares statements
                ready = re.findall(rb"Z\x00\x00\x00\x05[ITE]", relay.answers)  # ReadyForQuery
                assert len(ready) == 6, "BEGIN and limits, three COPY, COMMIT, and the pool's reset"


async def test_the_limits_hold_for_the_transaction_of_a_write_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    limits = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]

    async def look(connection: asyncpg.Connection[asyncpg.Record], *_: object, **__: object) -> None:
        seen.append({name: await connection.fetchval(f"SHOW {name}") for name in limits})

    monkeypatch.setattr(store_module, "_copy", look)
    await store.copy([make_decision()] * 5_000)
    async with store.acquire() as connection:
        await look(connection)
    assert seen == [dict(zip(limits, ["5s", "20s", "20s"], strict=True)), dict.fromkeys(limits, "0")]


async def test_what_fails_in_a_borrowed_connection_is_explained(store: Store) -> None:
    with pytest.raises(StoreError, match=r"cannot count sheep in PostgreSQL at .*division by zero: run `bsgateway doc"):
        async with store.acquire("cannot count sheep in") as connection:
            await connection.execute("SELECT 1 / 0")
    async with store.acquire() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_prepared_statements_can_be_turned_off_in_the_dsn(postgres_dsn: str) -> None:
    """For a pooler that gives each transaction another session: tests/integration/test_pgbouncer.py."""
    url = urlsplit(postgres_dsn)
    for said, kept in (("", True), ("statement_cache_size=100", True), ("statement_cache_size=0", False)):
        query = "&".join(filter(None, (url.query, "application_name=ours", said)))
        async with await Store.connect(url._replace(query=query).geturl()) as store, store.acquire() as connection:
            await connection.fetchval("SELECT 41 + $1::int", 1)
            names = [row["name"] for row in await connection.fetch("SELECT name FROM pg_prepared_statements")]
            assert any(name.startswith("__asyncpg_stmt") for name in names) == kept
    with pytest.raises(StoreError, match="COLLECTOR_DATABASE_URL"):
        await Store.connect(url._replace(query=f"{url.query}&statement_cache_size=none").geturl())
