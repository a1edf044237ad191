"""The child's half of the contract with `supervisor.ChildServer`.

A child server takes ``--port``, ``--port-file`` and ``--watch-parent``.  It listens on 127.0.0.1, then writes its port
number to the port file, and answers ``GET /health`` with 200.  It ends on SIGTERM, and with its parent.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path
from typing import Final, NoReturn

_PARENT_POLL_SECONDS: Final = 1.0


def argument_parser(module: str, description: str) -> argparse.ArgumentParser:
    """The command line that every child server shares; `module` is its dotted name."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 takes a free one (default)")
    parser.add_argument("--port-file", type=Path, help="file to write the port number to, once it is open")
    parser.add_argument("--watch-parent", action="store_true", help="exit as soon as the parent process is gone")
    return parser


def announce(port_file: Path | None, port: int) -> None:
    """Write `port` to `port_file` in one step, so that a reader never sees half a number.

    Call it when the port accepts connections. Raises OSError when the file cannot be written.
    """
    if port_file is None:
        return
    unfinished = port_file.with_name(f"{port_file.name}.{os.getpid()}")
    unfinished.write_text(f"{port}\n", encoding="ascii")
    unfinished.replace(port_file)


def exit_with_parent() -> None:
    """End this process at once when its parent ends, even when the parent was killed.

    The parent holds the other end of our standard input and writes nothing to it, so end of file means that it is
    gone, on every platform.  Polling the parent's id covers the one hole: a process forked from the parent keeps that
    end open.  PR_SET_PDEATHSIG is not used because it follows the *thread* that started us, which may be a short-lived
    pool thread.
    """
    for watch in (_wait_for_end_of_input, _wait_for_new_parent):
        threading.Thread(target=watch, name=watch.__name__, daemon=True).start()


def _wait_for_end_of_input() -> NoReturn:
    while os.read(0, 4096):
        pass
    os._exit(0)


def _wait_for_new_parent() -> NoReturn:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os._exit(0)
