"""Child processes of the benchmark: started, watched, measured and stopped."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil

ROOT = Path(__file__).parents[2]
START_SECONDS = 180.0
"""Longest wait for a proxy to answer: six that import LiteLLM at once take a while on two cores."""
STOP_SECONDS = 30.0
TAIL_BYTES = 4_000

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never ask a proxy for 127.0.0.1


class BenchError(Exception):
    """The benchmark cannot go on; the message says why."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(url: str) -> bytes | None:
    """The body of a 200 answer, else None."""
    with contextlib.suppress(OSError, urllib.error.URLError), _OPENER.open(url, timeout=5) as answer:
        body: bytes = answer.read()
        return body if answer.status == 200 else None
    return None


class Child:
    """`python -m MODULE ARGS` with a port of 127.0.0.1, its output in `<directory>/<name>.log`.

    It has a session of its own, so that Ctrl-C reaches only the benchmark, which then stops it; and it is expected to
    end when its standard input does, so that it also goes when the benchmark is killed.
    """

    def __init__(
        self,
        name: str,
        module: str,
        args: Sequence[str],
        *,
        directory: Path,
        ready_path: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready_path = ready_path
        self._log = directory / f"{name.replace(' ', '-').replace(',', '')}.log"
        self._environment = dict(environment or {})
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "--port", str(self.port), *args],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=_environment(self._environment),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Until it answers. Raises BenchError with the end of its output when it ends first or takes too long."""
        until = time.monotonic() + START_SECONDS
        while get(self.url + self._ready_path) is None:
            if (code := self._process.poll()) is not None:
                raise BenchError(
                    f"`{self.name}` ended with {code} before it was ready; its output ends:\n{self.tail()}"
                )
            if time.monotonic() > until:
                raise BenchError(
                    f"`{self.name}` was not ready after {START_SECONDS:.0f} s; its output ends:\n{self.tail()}"
                )
            time.sleep(0.1)

    def tail(self) -> str:
        """The end of its output, the values of its environment (keys, addresses of databases) masked."""
        text = self._log.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace").strip() or "(nothing)"
        for name, value in self._environment.items():
            if len(value) > 5:
                text = text.replace(value, f"<{name}>")
        return text

    def cpu_seconds(self) -> float:
        """User and system time of all its threads, ended ones too."""
        return cpu_seconds(self.pid)

    def rss_mb(self) -> float:
        """Its resident memory in MB of 10^6 bytes."""
        return float(psutil.Process(self.pid).memory_info().rss) / 1e6

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not end it. Does nothing when it has ended."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process.

    On Linux from the process' CPU-time clock, in nanoseconds (the id is made as clock_getcpuclockid(3) does);
    elsewhere from psutil, which the system may round to hundredths of a second.
    """
    if sys.platform == "linux":
        return time.clock_gettime_ns((~pid << 3) | 2) / 1e9
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def family_cpu_seconds(pid: int) -> float:
    """User and system time of a process and of all below it that still run."""
    process = psutil.Process(pid)
    return sum(cpu_seconds(member.pid) for member in (process, *process.children(recursive=True)))


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """A short list, so that no setting or key of this shell reaches LiteLLM; and what Python may import here."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    path = os.pathsep.join(dict.fromkeys([str(ROOT), *(os.path.abspath(entry) for entry in sys.path if entry)]))
    return {**kept, "PYTHONPATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **extra}
