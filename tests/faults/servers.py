"""PostgreSQL under the control of a test: a data directory and a port of its own, stopped as an operator would do it.

The programs are those of the embedded PostgreSQL. `pg_ctl` refuses to run as root, so the postmaster gets the signals
that `pg_ctl stop -m` sends: SIGQUIT is immediate, SIGINT is fast.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from bsgateway.embedded import binaries
from bsgateway.embedded.account import Account, run_as
from bsgateway.embedded.processes import PidFile
from e2e.gateways import free_port

START_SECONDS = 30.0
STOP_SECONDS = 30.0
ROLE = "gateway"
DATABASE = "gateway"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "30",
    "shared_buffers": "16MB",
    "max_wal_senders": "4",
    "wal_keep_size": "16MB",
    "min_wal_size": "2MB",
    "max_wal_size": "16MB",
    "deadlock_timeout": "1s",
}


class Postgres:
    """One server in `home`. `wal`: where its write-ahead log lies, if not there."""

    def __init__(self, home: Path, wal: Path | None = None) -> None:
        self.home = home
        self.data = home / "data"
        self.wal = wal
        self.port = free_port()
        self.account = Account.choose(self.data, home)
        self._programs = binaries.find(self.account)
        self._process: subprocess.Popen[bytes] | None = None

    def dsn(self, user: str = "postgres", database: str = "postgres") -> str:
        """How a client reaches it directly, past any proxy."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def give(self, directory: Path) -> None:
        """Make the server's user the owner of a directory."""
        directory.mkdir(parents=True, exist_ok=True)
        if self.account:
            self.account.take(directory)

    def init(self) -> None:
        """Make the data directory."""
        self.give(self.data)
        command = [self._programs["initdb"], "-D", str(self.data), "--username=postgres", "--auth=trust", "--no-sync"]
        command += ["--encoding=UTF8", "--locale=C", "--wal-segsize=1", "--no-instructions"]
        if self.wal is not None:
            self.give(self.wal)
            command.append(f"--waldir={self.wal / 'pg_wal'}")
        named = self.account.with_name() if self.account else None
        if named:  # initdb insists on a user with a name
            for directory in filter(None, (self.data, self.wal)):
                named.take(directory)
        self._run(command, **run_as(named))
        for directory in filter(None, (self.data, self.wal)):
            self.give(directory)

    def copy_to(self, home: Path, tablespaces: dict[Path, Path]) -> Postgres:
        """A standby of this server in `home`, not started. `tablespaces`: where its copies of them lie."""
        standby = Postgres(home)
        standby.give(home)
        command = [str(binaries.packaged() / "bin" / "pg_basebackup"), "-d", self.dsn(), "-D", str(standby.data)]
        command += ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
        command += [f"--tablespace-mapping={old}={new}" for old, new in tablespaces.items()]
        self._run(command)
        for directory in (standby.data, *tablespaces.values()):
            standby.give(directory)
        return standby

    def start(self) -> None:
        """Start, and wait until it takes connections (a standby: for reading)."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # the one of a server that we know to be dead
        command = [self._programs["postgres"], "-D", str(self.data), "-p", str(self.port)]
        command += [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with (self.home / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self.data,
                env=binaries.ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **run_as(self.account),
            )
        until = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self._process.poll() is None, f"PostgreSQL did not start:\n{self.said()}"
            assert time.monotonic() < until, f"PostgreSQL is not ready:\n{self.said()}"
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """`pg_ctl stop`: SIGINT is `-m fast`, SIGQUIT is `-m immediate`. Does nothing when it has ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(STOP_SECONDS)

    def running(self) -> bool:
        """Whether its postmaster lives."""
        return self._process is not None and self._process.poll() is None

    def freeze(self, on: bool) -> None:
        """Stop its backends where they stand, with their connections open, or let them go on."""
        assert self._process is not None
        for child in psutil.Process(self._process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                if f"{ROLE} {DATABASE}" in " ".join(child.cmdline()):  # the title of a backend
                    child.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each in a transaction of its own."""
        connection = await self.connect(database)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def connect(self, database: str = "postgres") -> asyncpg.Connection[asyncpg.Record]:
        """A connection as the superuser, past any proxy, which may write whatever the server's default is."""
        settings = {"default_transaction_read_only": "off", "application_name": "test"}
        return await asyncpg.connect(self.dsn(database=database), timeout=10, server_settings=settings)

    def said(self) -> str:
        """The end of its log."""
        return (self.home / "server.log").read_text(errors="replace")[-3000:]

    def remove(self) -> None:
        """End it, whatever its state, and delete what it wrote."""
        if self.running():
            self.freeze(False)
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.home, ignore_errors=True)

    def _ready(self) -> bool:
        found = PidFile.read(self.data)
        assert self._process is not None
        return found is not None and found.pid == self._process.pid and found.ready

    @staticmethod
    def _run(command: list[str], **options: Any) -> None:
        done = subprocess.run(
            command, cwd="/", env=binaries.ENVIRONMENT, capture_output=True, check=False, timeout=120, **options
        )
        assert done.returncode == 0, f"{os.path.basename(command[0])} failed: {done.stderr.decode(errors='replace')}"
