"""Start and stop a child server process: the parent's half of the contract in `child`."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from bsgateway.errors import LocalServerError

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.02
_HEALTH_TIMEOUT_SECONDS: Final = 2.0
_LOG_TAIL_BYTES: Final = 2000


class ChildServer:
    """One child server: ``python -m MODULE`` on a free port of 127.0.0.1.

    The child gets a session of its own, so Ctrl-C in the terminal reaches only the gateway, which then stops it; it
    ends by itself when this process ends in any other way.  Its output goes to ``<state_dir>/logs/<name>.log``, which
    only the owner can read and which starts empty; the log of the run before is kept as ``<name>.log.1``.

    Use it as a context manager, or call `start` and `stop`. The methods block and are not thread-safe; several
    servers may be started at once from different threads.
    """

    def __init__(
        self,
        module: str,
        args: Sequence[str],
        name: str,
        *,
        state_dir: Path,
        ready_timeout: float = 60.0,
        stop_grace: float = 5.0,
    ) -> None:
        """`ready_timeout` and `stop_grace` are seconds: to wait for readiness, and from SIGTERM to SIGKILL."""
        self.module = module
        self.args = tuple(args)
        self.name = name
        self.log_path = state_dir.absolute() / "logs" / f"{name}.log"
        self._ready_timeout = ready_timeout
        self._stop_grace = stop_grace
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    @property
    def base_url(self) -> str:
        """The address of the server, without a slash at the end. Raises LocalServerError when it was not started."""
        if self._port is None:
            raise LocalServerError(f"{self.name} has no address: it was not started, or was stopped")
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs, else None."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def start(self) -> str:
        """Start the child and wait until it is healthy; returns `base_url`.

        Raises LocalServerError when it exits first or is not healthy in time; it is then gone, and the end of its log
        is in the message.
        """
        if self._process is not None:
            raise LocalServerError(f"{self.name} was already started; stop it first")
        with tempfile.TemporaryDirectory(prefix="bsgateway-") as directory:
            port_file = Path(directory) / "port"
            try:
                self._process = self._spawn(port_file)
                self._port = self._wait_until_healthy(self._process, port_file)
            except OSError as error:
                self.stop()
                raise LocalServerError(f"{self.name} could not be started: {error}") from error
            except BaseException:
                self.stop()
                raise
        log.info("%s serves on 127.0.0.1:%d (pid %d, log %s)", self.name, self._port, self._process.pid, self.log_path)
        return self.base_url

    def stop(self) -> None:
        """End the child: SIGTERM, and SIGKILL after the grace period. Does nothing when it does not run."""
        process, self._process, self._port = self._process, None, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(self._stop_grace)
        except subprocess.TimeoutExpired:
            log.warning("%s did not stop within %g s and is killed", self.name, self._stop_grace)
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def __enter__(self) -> ChildServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, port_file: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", self.module, "--port-file", str(port_file), "--watch-parent", *self.args]
        # The child imports what this process can import, and nothing from the directory the operator happens to be in.
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        with self._open_log() as output:
            return subprocess.Popen(  # noqa: S603 -- our own interpreter and module, no shell
                command,
                stdin=subprocess.PIPE,  # held open and never written to: its end tells the child that we are gone
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.log_path.parent,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )

    def _open_log(self) -> IO[bytes]:
        self.log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.log_path.replace(self.log_path.with_name(f"{self.log_path.name}.1"))
        return open(self.log_path, "xb", opener=lambda path, flags: os.open(path, flags, 0o600))

    def _wait_until_healthy(self, process: subprocess.Popen[bytes], port_file: Path) -> int:
        deadline = time.monotonic() + self._ready_timeout
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise LocalServerError(
                    f"{self.name} ended before it was ready ({_describe_exit(process.returncode)}); {self._log_tail()}"
                )
            if port_file.exists() and _is_healthy(port := int(port_file.read_text(encoding="ascii"))):
                return port
            time.sleep(_POLL_SECONDS)
        raise LocalServerError(f"{self.name} was not ready after {self._ready_timeout:g} s; {self._log_tail()}")

    def _log_tail(self) -> str:
        data = self.log_path.read_bytes()[-_LOG_TAIL_BYTES:]
        tail = data.decode("utf-8", "replace").strip() or "(empty)"
        return f"the end of {self.log_path}:\n{tail}"


def _is_healthy(port: int) -> bool:
    # http.client takes no notice of the proxy variables in the environment, unlike urllib.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_HEALTH_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _describe_exit(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
