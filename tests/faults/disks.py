"""Small disks that a test can fill: a tmpfs each. Mounting needs root; tests that need one are skipped without it."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

FILLER = "filler"
BLOCK = 4096


class Disk:
    """A tmpfs that is mounted at `path`. `mount` makes one, or returns None where that is not allowed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def mount(cls, path: Path, megabytes: int, *, read_only: bool = False) -> Disk | None:
        """Make `path` a disk of its own, if this user may; an empty one, whatever was there before."""
        path.mkdir(parents=True, exist_ok=True)
        options = f"size={megabytes}m,mode=0700,{'ro' if read_only else 'rw'}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=30)
        except OSError:
            return None
        return cls(path) if done.returncode == 0 else None

    def fill(self) -> None:
        """Take all that is free, to the last block."""
        file = os.open(self.path / FILLER, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (1 << 20, BLOCK, 1):
                while self._append(file, size):
                    pass
        finally:
            os.close(file)

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.path / FILLER).unlink(missing_ok=True)

    def unmount(self) -> None:
        """Lazily: a process that was killed a moment ago may still have a file open."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=True, timeout=30)

    @staticmethod
    def _append(file: int, size: int) -> bool:
        try:
            return os.write(file, bytes(size)) > 0
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False


def needed(disk: Disk | None) -> Disk:
    """The disk; the test is skipped where there is none."""
    if disk is None:
        pytest.skip("a disk of a few megabytes is needed: mounting a tmpfs needs root (or the failover was before)")
    return disk
