"""`bsgateway serve` as a user without any rights, when the tests themselves run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.clients import PROMPTS, send
from e2e.gateways import KEY, clean_environment, start_serve, write_config
from e2e.records import Log
from e2e.upstream import Upstream

NOBODY = 65534
NEEDED = "import asyncpg, litellm, bsgateway.embedded"


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that NOBODY owns and can reach; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="bsgateway-e2e-", dir="/tmp") as name:
        os.chown(name, NOBODY, NOBODY)
        yield Path(name)


def run(python: str, environment: dict[str, str], home: Path) -> str:
    """Why NOBODY cannot run what the gateway needs under this interpreter; empty if it can."""
    try:
        tried = subprocess.run(
            [python, "-c", NEEDED],
            cwd=home,
            env=environment,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        return str(error)
    return "" if tried.returncode == 0 else tried.stderr.strip().splitlines()[-1]


def python_for_all(environment: dict[str, str], home: Path) -> str:
    """This interpreter if NOBODY can run it, else a copy in `home` (root's own is often below root's closed home); it
    finds its packages where this one has them. Skips the test where that is closed too."""
    environment["PYTHONPATH"] += os.pathsep + sysconfig.get_path("purelib")
    if not run(sys.executable, environment, home):
        return sys.executable
    version, copy = f"python{sys.version_info.major}.{sys.version_info.minor}", home / "python"
    left_out = shutil.ignore_patterns("site-packages", "test", "idlelib", "__pycache__", "config-*", "*.a", "pkgconfig")
    shutil.copytree(Path(sysconfig.get_path("stdlib")), copy / "lib" / version, ignore=left_out)
    for library in Path(sys.base_prefix, "lib").glob(f"lib{version}*.so*"):
        shutil.copy(library, copy / "lib")
    (copy / "bin").mkdir()
    python = shutil.copy(os.path.realpath(sys.executable), copy / "bin" / version)
    environment |= {"PYTHONHOME": str(copy), "LD_LIBRARY_PATH": str(copy / "lib")}
    if problem := run(str(python), environment, home):
        pytest.skip(f"no interpreter that an ordinary user can run: {problem}")
    return str(python)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="the other tests run as an ordinary user already")
async def test_an_ordinary_user_can_run_it(home: Path, upstream: Upstream) -> None:
    environment = clean_environment(LITELLM_MASTER_KEY=KEY, HOME=str(home))
    python = python_for_all(environment, home)
    config = write_config(home, upstream)
    gateway = start_serve(
        config, home / "state", upstream, python=python, environment=environment, user=NOBODY, key=KEY
    )
    try:
        reply = await send(gateway, "chat", "auto", PROMPTS["simple"])
        async with await Log.open(gateway.dsn) as log:  # the socket is its owner's, but root may use it
            row, outcome = await log.complete(reply.call_id)
        assert (row["tier"], outcome["status"]) == ("simple", "success")
        assert {path.stat().st_uid for path in (home / "state").rglob("*")} == {NOBODY}
        gateway.stop()
    finally:
        gateway.kill()
