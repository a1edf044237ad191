"""The log behind PgBouncer: each transaction gets another session of the server, and all of it works all the same.

Runs where there is a `pgbouncer`, on the search path or named by BSGATEWAY_TEST_PGBOUNCER.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from bsgateway.connections import STATEMENT_CACHE
from bsgateway.errors import StoreError
from bsgateway.migrations import available
from bsgateway.rollups import refresh_all
from bsgateway.rows import Item
from bsgateway.store import Store
from builders import make_decision, make_outcome, make_texts
from e2e.gateways import free_port
from faults.servers import Postgres

PROGRAM = os.environ.get("BSGATEWAY_TEST_PGBOUNCER") or shutil.which("pgbouncer")
START_SECONDS = 10.0
WORKERS, ROUNDS, ROWS = 3, 4, 30
SESSIONS = 2
"""Of the server: fewer than there are workers, so that they get each other's."""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer here")


@pytest.fixture(scope="module")
def pooled() -> Iterator[str]:
    """DSN of an empty database behind a PgBouncer in transaction mode."""
    home = Path(tempfile.mkdtemp(prefix="bsgateway-pgbouncer-", dir="/tmp"))
    home.chmod(0o755)
    server = Postgres(home / "server")
    try:
        server.give(server.home)
        server.init()
        server.start()
        asyncio.run(server.execute("CREATE DATABASE log"))
        yield from _bouncing(home, server)
    finally:
        server.remove()
        shutil.rmtree(home, ignore_errors=True)


def _bouncing(home: Path, server: Postgres) -> Iterator[str]:
    port = free_port()
    (home / "users.txt").write_text('"postgres" ""\n')
    config = home / "pgbouncer.ini"
    config.write_text(
        f"[databases]\nlog = host=127.0.0.1 port={server.port} dbname=log user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {home / 'users.txt'}\n"
        f"pool_mode = transaction\ndefault_pool_size = {SESSIONS}\n"
    )
    assert PROGRAM is not None
    user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to be root
    process = subprocess.Popen([PROGRAM, *user, str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    dsn = f"postgresql://postgres@127.0.0.1:{port}/log"
    try:
        asyncio.run(_answers(dsn))
        yield dsn
    finally:
        process.terminate()
        process.wait()


async def _answers(dsn: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(OSError):
            connection = await asyncpg.connect(dsn, statement_cache_size=0)
            return await connection.close()
        assert time.monotonic() < deadline, "pgbouncer does not answer"
        await asyncio.sleep(0.05)


async def test_workers_share_sessions_without_prepared_statements(pooled: str) -> None:
    stores = [await Store.connect(f"{pooled}?{STATEMENT_CACHE}=0") for _ in range(WORKERS)]
    try:
        applied = await asyncio.gather(*(store.migrate() for store in stores))
        assert sum(map(len, applied)) == len(available())

        async def work(store: Store) -> None:
            for _ in range(ROUNDS):
                rows: list[Item] = []
                for _ in range(ROWS):
                    decision = make_decision()
                    rows += [decision, make_texts(decision), make_outcome(decision)]
                await store.copy(rows)
                await store.copy(rows)  # again: by way of the staging tables
                assert await store.recent(10)
                await store.maintain("month", 30, 10)
                assert await refresh_all(store, None, seconds=20)

        await asyncio.gather(*map(work, stores))
        counts = await stores[0].counts()
        assert (counts.logs, counts.outcomes, counts.dead_letters) == (WORKERS * ROUNDS * ROWS,) * 2 + (0,)
    finally:
        for store in stores:
            await store.close()


@pytest.fixture
def version() -> tuple[int, ...]:
    """Of the program."""
    assert PROGRAM is not None
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, said.split()[1].split(".")[:2]))


async def test_with_prepared_statements_an_old_pgbouncer_does_not_work(pooled: str, version: tuple[int, ...]) -> None:
    """What the docs warn of. From PgBouncer 1.21 on `max_prepared_statements` can make them work."""
    if version >= (1, 21):
        pytest.skip(f"PgBouncer {version} may know prepared statements")
    stores = [await Store.connect(pooled) for _ in range(WORKERS)]

    async def work() -> None:
        for _ in range(ROUNDS):
            await asyncio.gather(*(store.migrate() for store in stores))

    try:
        with pytest.raises(StoreError, match="prepared statement"):
            await work()
    finally:
        for store in stores:
            await store.close()
