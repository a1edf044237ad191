"""SIGHUP of an administrator, and of a terminal that is closed."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SECONDS = 30  # a bound against hangs, not a measurement

PROCESS = """
import os, signal, sys, time
from bsgateway.hangup import Hangup

terminal, how, output = sys.argv[1:]
os.open(terminal, os.O_RDWR)  # the first one that the leader of a session opens becomes its own

def say(line):
    with open(output, "a") as file:
        file.write(line + "\\n")

if how == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
elif how == "background" and (job := os.fork()):  # this one is the shell, then, and waits
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.waitpid(job, 0)
    sys.exit()
elif how == "background":
    os.setpgid(0, 0)
signal.signal(signal.SIGTERM, lambda *_: (say("stopped"), sys.exit(0)))
signal.signal(signal.SIGHUP, Hangup(lambda: say("reload")))
say(str(os.getpid()))
time.sleep(60)
"""


class Process:
    """A process that handles SIGHUP, started in a terminal of its own as a shell does it: in the `foreground`, in the
    `background`, or with `nohup`."""

    def __init__(self, output: Path, how: str) -> None:
        self._output = output
        self._window, terminal = pty.openpty()
        command = [sys.executable, "-c", PROCESS, os.ttyname(terminal), how, str(output)]
        self._leader = subprocess.Popen(command, start_new_session=True)
        self.pid = int(self.said(1)[0])
        os.close(terminal)

    def close_terminal(self) -> None:
        """As closing its window does."""
        os.close(self._window)

    def said(self, lines: int) -> list[str]:
        """All it said, once it has said so many lines."""
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            said = self._output.read_text().splitlines() if self._output.exists() else []
            if len(said) >= lines:
                return said
            time.sleep(0.01)
        raise AssertionError(f"it said no more than {said}")

    def ended(self) -> list[str]:
        """What it said after its pid, once it has ended."""
        assert self._leader.wait(SECONDS) == 0
        return self.said(3)[1:]


def test_an_administrator_wants_a_reload_and_who_closes_the_terminal_an_end(tmp_path: Path) -> None:
    process = Process(tmp_path / "said", "foreground")
    os.kill(process.pid, signal.SIGHUP)
    assert process.said(2)[1] == "reload"
    process.close_terminal()
    assert process.ended() == ["reload", "stopped"]


@pytest.mark.parametrize("how", ["nohup", "background"])
def test_what_is_to_outlive_its_terminal_does(tmp_path: Path, how: str) -> None:
    process = Process(tmp_path / "said", how)
    process.close_terminal()
    if how == "background":
        os.kill(process.pid, signal.SIGHUP)  # the terminal itself sends none to the background
    assert process.said(2)[1] == "reload"
    os.kill(process.pid, signal.SIGTERM)
    assert process.ended() == ["reload", "stopped"]
