"""Pass the end-to-end suite with installed wheels: the pure one, and the compiled one for this machine.

    .venv/release/bin/python packaging/suite.py         `make wheels-e2e`, after `make wheels`

Each wheel is installed in an environment of its own with all that the tests need; the tests are those of the checkout,
the package is that of the wheel, which packaging/installed.py makes sure of. Some ten minutes for each wheel.

Exit code 0: both pass. 1: one does not. 2: there are no such wheels.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import environments
from running import ROOT, BuildError

REQUIREMENTS = ROOT / "requirements" / "test.txt"


def wheels(folder: Path) -> dict[str, Path]:
    """The core that a wheel brings -> the wheel: the pure one and the compiled one for this machine.

    Raises BuildError if one is missing.
    """
    arch = sysconfig.get_platform().rpartition("-")[2]
    found = {}
    for core, pattern in (
        ("twin", "bsgateway-*-py3-none-any.whl"),
        ("native", f"bsgateway-*-abi3-manylinux*{arch}.whl"),
    ):
        made = list(folder.glob(pattern))
        if len(made) != 1:
            raise BuildError(f"{folder}: {len(made)} files {pattern}, expected one: run `make wheels`")
        found[core] = made[0]
    return found


def suite(core: str, wheel: Path, python: str, arguments: list[str]) -> int:
    """Run the tests with `wheel`; pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="bsgateway-e2e-") as name:
        Path(name).chmod(0o755)  # a test serves as a user without rights
        interpreter = environments.create(Path(name) / "env", python)
        environments.install_listed(interpreter, REQUIREMENTS, wheel)
        env = {name: value for name, value in environments.without_cargo().items() if name != "BSGATEWAY_PURE"}
        env |= {"PYTHONPATH": str(Path(__file__).parent), "BSGATEWAY_EXPECTED_CORE": core}
        command = [str(interpreter), "-m", "pytest", "-p", "installed", "-p", "no:cacheprovider", "-q", *arguments]
        return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


def main(argv: list[str] | None = None) -> int:
    """Run the suite for the wheels that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where the wheels are [default: dist]")
    parser.add_argument("--core", choices=["native", "twin"], action="append", help="only the wheel with this core")
    parser.add_argument("--python", default=sys.executable, help="the interpreter [default: this one]")
    parser.add_argument("arguments", nargs="*", metavar="ARG", help="for pytest [default: tests/e2e]")
    options = parser.parse_args(argv)
    try:
        found = wheels(options.dist)
        codes = {}
        for core in options.core or ["twin", "native"]:
            print(f"{found[core].name}:", flush=True)
            codes[core] = suite(core, found[core], options.python, options.arguments or ["tests/e2e"])
    except BuildError as error:
        print(f"suite: {error}", file=sys.stderr)
        return 2
    for core, code in codes.items():
        print(f"{found[core].name}: {'passed' if code == os.EX_OK else f'pytest ended with {code}'}")
    return int(any(codes.values()))


if __name__ == "__main__":
    sys.exit(main())
