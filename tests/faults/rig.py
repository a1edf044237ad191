"""What all faults share: a PostgreSQL behind a proxy, a spool directory, and gateways that are started when needed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sqlite3
import tempfile
from pathlib import Path

import asyncpg
import psutil

from e2e.gateways import KEY, Gateway, clean_environment, free_port, start_serve, write_config
from e2e.upstream import Upstream
from faults.disks import Disk
from faults.proxy import Proxy
from faults.servers import DATABASE, ROLE, Postgres

FLUSH_SECONDS = 0.1
STOP_SECONDS = 30.0
TABLES_MB, WAL_MB, SPOOL_MB = 96, 48, 24


class Rig:
    """One server, one proxy, one spool directory; of gateways the running one, or none.

    Tables, write-ahead log and spool lie on small disks of their own where this user may mount them, else the disks are
    None. A gateway that a test has killed is followed by a new one with the same state and spool directories. The DSN
    of the gateways has a second host, `spare_port`, where at first nothing listens.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        # Below /tmp and open to all: the server runs as another user when root runs the tests.
        self.home = Path(tempfile.mkdtemp(prefix="bsgateway-faults-", dir="/tmp"))
        self.home.chmod(0o755)
        self.spare_port = free_port()
        self.tables_disk = Disk.mount(self.home / "tables", TABLES_MB)
        self.wal_disk = Disk.mount(self.home / "wal", WAL_MB)
        self.spool_disk = Disk.mount(self.home / "spool-disk", SPOOL_MB)
        self.spool = self.home / "spool-disk" / "spool"
        self.state = self.home / "state"
        self.server = Postgres(self.home / "first", self.home / "wal")
        self.proxy = Proxy(("127.0.0.1", self.server.port))
        self.tablespace = self.home / "tables" / "space"
        self.running: Gateway | None = None
        """The newest gateway, which may have ended."""
        self.warm: Gateway | None = None
        """The newest gateway that has answered some requests."""
        self._started = 0

    def open(self) -> None:
        """Start the database and the proxy."""
        for directory in (self.server.home, self.home / "tables", self.home / "wal"):
            self.server.give(directory)
        self.server.init()
        self.server.start()
        self.server.give(self.tablespace)
        asyncio.run(
            self.server.execute(
                f"CREATE ROLE {ROLE} LOGIN",
                f"CREATE TABLESPACE small LOCATION '{self.tablespace}'",
                f"CREATE DATABASE {DATABASE} OWNER {ROLE} TABLESPACE small",
            )
        )
        self.proxy.open()

    def close(self) -> None:
        """End all that was started, and remove all that was written, whatever goes wrong with some of it."""
        with contextlib.ExitStack() as stack:  # backwards
            stack.callback(shutil.rmtree, self.home, ignore_errors=True)
            for disk in filter(None, (self.tables_disk, self.wal_disk, self.spool_disk)):
                stack.callback(disk.unmount)
            stack.callback(self.server.remove)
            stack.callback(self.proxy.close)
            if self.running is not None:
                stack.callback(self.running.kill)

    @property
    def dsn(self) -> str:
        """The gateways' way to the database: through the proxy, then to the spare."""
        hosts = f"127.0.0.1:{self.proxy.port},127.0.0.1:{self.spare_port}"
        return f"postgresql://{ROLE}@{hosts}/{DATABASE}?target_session_attrs=read-write"

    def heal(self) -> None:
        """Undo what a test that has failed may have left."""
        self.proxy.heal()
        for disk in (self.tables_disk, self.wal_disk, self.spool_disk):
            if disk is not None:
                disk.free()
        if self.server.running():
            self.server.freeze(False)
        else:
            self.server.start()

    def fail_over(self, standby: Postgres) -> None:
        """Its standby is the server from now on, reached directly; the old one is gone, and its disks with it."""
        self.server.stop(signal.SIGQUIT)
        for disk in filter(None, (self.tables_disk, self.wal_disk)):
            disk.unmount()
        self.tables_disk = self.wal_disk = None
        self.server.remove()
        self.server = standby
        self.proxy.target = ("127.0.0.1", standby.port)

    def gateway(self, workers: int = 1) -> Gateway:
        """The gateway that runs, or if it has ended a new one, with so many workers."""
        if self.running is None or self.running.process.poll() is not None:
            self.running = self._start(workers)
        return self.running

    def end(self) -> None:
        """Ask the gateway that runs, if one does, to end."""
        if self.running is not None and self.running.process.poll() is None:
            self.running.process.terminate()
            self.running.process.wait(STOP_SECONDS)

    def workers(self) -> list[psutil.Process]:
        """The processes of the running gateway that serve: its children that uvicorn made, or itself."""
        process = psutil.Process(self.gateway().process.pid)
        spawned = [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]
        return spawned or [process]

    def spooled(self) -> int:
        """Rows that lie in the spool directory."""
        return sum(rows_in(path) for path in self.spool.glob("spool-*.sqlite"))

    async def ids(self, table: str, since: float) -> list[str]:
        """Decision ids in a table, of decisions made since a moment of Unix time."""
        connection = await self.server.connect(DATABASE)
        try:
            where = "decision_id >= bsg_uuid7_floor(to_timestamp($1))"
            return [row[0] for row in await connection.fetch(f"SELECT decision_id FROM {table} WHERE {where}", since)]
        finally:
            await connection.close()

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of the gateways' database, read past the proxy."""
        connection = await self.server.connect(DATABASE)
        try:
            found: list[asyncpg.Record] = await connection.fetch(query, *arguments)
            return found
        finally:
            await connection.close()

    def _start(self, workers: int) -> Gateway:
        self._started += 1
        directory = self.home / f"gateway-{self._started}"
        collector = {"flush_seconds": FLUSH_SECONDS, "spool": {"directory": str(self.spool)}}
        config = write_config(directory, self.upstream, collector=collector)
        return start_serve(
            config,
            self.state,
            self.upstream,
            *(("--workers", str(workers)) if workers > 1 else ()),
            environment=clean_environment(LITELLM_MASTER_KEY=KEY, COLLECTOR_DATABASE_URL=self.dsn),
            database=self.server.dsn(database=DATABASE),
        )


def rows_in(path: Path) -> int:
    """Rows in one slot of a spool; 0 if it cannot be read, as before its tables are made."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1.0)) as connection,
    ):
        (rows,) = connection.execute("SELECT coalesce(sum(rows), 0) FROM chunks").fetchone()
        return int(rows)
    return 0
