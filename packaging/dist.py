"""The archives in dist/, as they would be uploaded: sums, metadata, version. Builds nothing; `make wheels` does.

Exit codes: 0 they are as they should be. 1 something is not. 2 a program is missing. 3 there is no dist/.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import parse_sdist_filename, parse_wheel_filename
from packaging.version import Version
from version import ROOT, tomllib
from workflows import MissingToolError, program

DIST = ROOT / "dist"
LARGEST = 12_000_000
"""Bytes of a wheel."""


def archives(folder: Path) -> list[Path]:
    """The sdist and the wheels in a directory."""
    return sorted(path for path in folder.glob("*") if path.name.endswith((".whl", ".tar.gz")))


def faults(paths: list[Path], sums: str, version: Version) -> Iterator[str]:
    """What is wrong with archives; `sums`: the text of SHA256SUMS."""
    listed = {found[2]: found[1] for found in re.finditer(r"^([0-9a-f]{64})  (\S+)$", sums, re.M)}
    if listed.keys() != {path.name for path in paths}:
        yield f"SHA256SUMS lists other files: {', '.join(sorted(listed)) or 'none'}"
    kinds = set()
    for path in paths:
        is_wheel = path.suffix == ".whl"
        found = parse_wheel_filename(path.name)[1] if is_wheel else parse_sdist_filename(path.name)[1]
        kinds.add("pure" if path.name.endswith("-none-any.whl") else "compiled" if is_wheel else "sdist")
        if found != version:
            yield f"{path.name}: the version in Cargo.toml is {version}; remove dist/ and run `make wheels`"
        if is_wheel and path.stat().st_size > LARGEST:
            yield f"{path.name} has {path.stat().st_size} bytes, more than {LARGEST}"
        if hashlib.sha256(path.read_bytes()).hexdigest() != listed.get(path.name):
            yield f"{path.name} is not what SHA256SUMS says"
    yield from (f"there is no {kind}" for kind in sorted({"pure", "compiled", "sdist"} - kinds))


def main() -> int:
    """Look at all archives of dist/."""
    paths = archives(DIST)
    if not paths:
        print("there is no archive in dist/: `make wheels` builds them")
        return 3
    version = Version(tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]["version"])
    sums = DIST / "SHA256SUMS"
    wrong = list(faults(paths, sums.read_text(encoding="utf-8") if sums.exists() else "", version))
    try:
        command = [program("twine"), "check", "--strict", *map(str, paths)]
        twine = subprocess.run(command, capture_output=True, text=True, check=False)
    except MissingToolError as missing:
        print(missing, file=sys.stderr)
        return 2
    if twine.returncode:
        wrong.append(f"{twine.stdout}{twine.stderr}".strip())
    for line in wrong:
        print(line)
    if not wrong:
        print(f"{len(paths)} archives of {version}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
