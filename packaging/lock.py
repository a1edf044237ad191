"""The lists of requirements/: what is installed, every pin with its hashes, made from pyproject.toml.

    lock.py lock           resolve anew, newest releases within the bounds, and write the lists
    lock.py lock --keep    the same, with the releases that the lists have now
    lock.py check          tell whether the lists are what pyproject.toml asks for

`check` has two parts. The first needs nothing: each list names the digest of the dependencies that it was made from.
The second resolves again with the committed pins as constraints, so that a newer release of anything changes nothing,
and compares the outcome with the lists. It needs the metadata of all pins: from uv's cache, or else from the index.
A file that was added to a release after the lists were written is no drift; one that is gone from the index is.

Exit codes: 0 no drift. 1 drift. 3 the first part found none and the second could not be made (no network, cold cache).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # in the list `tools`

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
RUN = ["--all-extras", "--no-extra", "dev", "--no-extra", "export", "--no-extra", "plot", "--no-extra", "scale"]
LISTS = {
    "tools": ["--only-group", "tools"],
    "run": [*RUN, "--group", "weights"],
    "image": ["--extra", "train"],
    "test": ["--all-extras", "--group", "weights", "--group", "web"],
    "release": ["--only-group", "release"],
}
"""The lists, and what of pyproject.toml is in each, as options of `uv export`."""

CHECKED, DRIFT, NOT_CHECKED = 0, 1, 3

HEADER = "# Made by `make lock` from the dependencies in pyproject.toml, sha256 {}."
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?: ; (?P<marker>[^\\\n]+?))?(?: \\)?$", re.M)
HASH = re.compile(r"^ +--hash=(?P<hash>sha256:[0-9a-f]{64})(?: \\)?$", re.M)


class LockError(Exception):
    """Something stands in the way of the check, or of the lists."""


class Unresolvable(LockError):
    """pyproject.toml cannot be satisfied with the committed pins."""


class Unreachable(LockError):
    """Metadata is missing: neither uv's cache nor the package index had it."""


@dataclass(frozen=True)
class Pin:
    """One line of a list: a release of a package, and on which machines it is installed."""

    name: str
    version: str
    marker: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")


def read_pins(text: str) -> dict[Pin, set[str]]:
    """The pins of a list with the hashes of each.

    Raises:
        LockError: A line is neither a pin, a hash nor a comment.
    """
    pins: dict[Pin, set[str]] = {}
    hashes: set[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if found := PIN.match(line):
            hashes = pins.setdefault(Pin(found["name"], found["version"], found["marker"] or ""), set())
        elif (found := HASH.match(line)) and hashes is not None:
            hashes.add(found["hash"])
        else:
            raise LockError(f"line {number} is no pin, hash or comment: {line.strip()!r}; run `make lock`")
    return pins


def digest(project: Mapping[str, Any]) -> str:
    """The sha256 of all that the lists are made from, as hexadecimal digits; the order of entries does not matter."""
    told = project["project"]
    of_all = {
        "requires-python": told["requires-python"],
        "dependencies": sorted(told["dependencies"]),
        "extras": {name: sorted(entries) for name, entries in told["optional-dependencies"].items()},
        "groups": {name: sorted(map(json.dumps, entries)) for name, entries in project["dependency-groups"].items()},
        "uv": project["tool"]["uv"],
        "lists": LISTS,
    }
    return hashlib.sha256(json.dumps(of_all, sort_keys=True).encode()).hexdigest()


def export(project: Path) -> dict[str, str]:
    """The lists, by name, made from the lock file in the directory `project`."""
    return {name: uv(project, "export", "--frozen", "--no-header", "--no-emit-project", *LISTS[name]) for name in LISTS}


def uv(project: Path, *arguments: str) -> str:
    """What a command of uv prints.

    Raises:
        Unresolvable: There is no resolution.
        Unreachable: uv failed otherwise, or may only have no resolution because it could ask nobody.
    """
    beside = os.pathsep.join((str(Path(sys.executable).parent), str(ROOT / ".venv/bin")))
    program = shutil.which("uv", path=beside) or shutil.which("uv")
    if program is None:
        raise LockError("uv is missing: run this by `make lock` or `make lock-check`, which install it")
    command = [program, *arguments, "--project", str(project)]
    # Where there is no network, one try tells as much as four.
    environment = {"UV_HTTP_RETRIES": "1", **os.environ, "NO_COLOR": "1"}
    ended = subprocess.run(command, env=environment, cwd=project, capture_output=True, text=True)
    if ended.returncode == 0:
        return ended.stdout
    said = ended.stderr.strip()
    if ended.returncode == 1 and "No solution found" in said and "network was disabled" not in said:
        raise Unresolvable(said)
    raise Unreachable(said)


def constrained(project: str, pins: set[Pin]) -> str:
    """pyproject.toml with every pin as a constraint, and with a version, which otherwise comes from Cargo.toml.

    A package with one version everywhere is held to it on all machines, others as their markers say.
    """
    versions: dict[str, set[str]] = {}
    for pin in pins:
        versions.setdefault(pin.name, set()).add(pin.version)
    constraints = sorted({str(pin) if len(versions[pin.name]) > 1 else f"{pin.name}=={pin.version}" for pin in pins})
    for old, new in (
        ('dynamic = ["version"]\n', 'version = "0"\n'),
        ("[tool.uv]\n", f"[tool.uv]\nconstraint-dependencies = {json.dumps(constraints)}\n"),
    ):
        if project.count(old) != 1:
            raise LockError(f"pyproject.toml has no single line {old.strip()!r}, which {Path(__file__).name} changes")
        project = project.replace(old, new)
    return project


def resolve(project: str, pins: set[Pin], *, offline: bool) -> dict[str, str]:
    """The lists as pyproject.toml asks for them now, with the pins given preferred over newer releases."""
    with tempfile.TemporaryDirectory() as directory:
        there = Path(directory)
        (there / "pyproject.toml").write_text(constrained(project, pins), encoding="utf-8")
        try:
            uv(there, "lock", "--offline")
        except LockError:
            if offline:
                raise
            uv(there, "lock")  # what the cache knows of an index may be older than a pin
        return export(there)


def differences(committed: Mapping[Pin, set[str]], resolved: Mapping[Pin, set[str]]) -> list[str]:
    """What is wrong with the pins of a list, one line each."""
    wrong = [f"{pin} is not asked for" for pin in committed if pin not in resolved]
    wrong += [f"{pin} is missing" for pin in resolved if pin not in committed]
    for pin, hashes in committed.items():
        if not hashes:
            wrong.append(f"{pin} has no hash")
        elif pin in resolved and (unknown := hashes - resolved[pin]):
            wrong.append(f"{pin}: the index has no file with {', '.join(sorted(unknown))}")
    return sorted(wrong)


def read_lists() -> dict[str, str]:
    """The committed lists, by name; empty where there is none."""
    paths = {name: REQUIREMENTS / f"{name}.txt" for name in LISTS}
    return {name: path.read_text(encoding="utf-8") if path.exists() else "" for name, path in paths.items()}


def all_pins(texts: Mapping[str, str]) -> set[Pin]:
    """The pins of all lists."""
    return {pin for text in texts.values() for pin in read_pins(text)}


def lock(*, keep: bool) -> int:
    """Resolve anew and write the lists, with the releases they have now if these are to be kept."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    if keep:
        resolved = resolve(project, all_pins(read_lists()), offline=False)
    else:
        uv(ROOT, "lock", "--upgrade")
        resolved = export(ROOT)
    head = HEADER.format(digest(tomllib.loads(project)))
    for name, text in resolved.items():
        path = REQUIREMENTS / f"{name}.txt"
        path.write_text(f"{head}\n{text}", encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(read_pins(text))} pins")
    return CHECKED


def check(*, offline: bool) -> int:
    """Compare the lists with pyproject.toml; the outcome is an exit code."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    texts = read_lists()
    head = HEADER.format(digest(tomllib.loads(project)))
    stale = [name for name, text in texts.items() if not text.startswith(f"{head}\n")]
    for name in stale:
        print(f"requirements/{name}.txt was made from other dependencies than pyproject.toml has: run `make lock`")
    if stale:
        return DRIFT
    committed = {name: read_pins(text) for name, text in texts.items()}
    try:
        resolved = resolve(project, all_pins(texts), offline=offline)
    except Unresolvable as trouble:
        print(f"pyproject.toml cannot be satisfied with the committed pins: run `make lock`\n{trouble}")
        return DRIFT
    except Unreachable as trouble:
        print("the lists name the digest of pyproject.toml; what it resolves to was NOT CHECKED: metadata is missing")
        print(trouble)
        return NOT_CHECKED
    wrong = {name: differences(committed[name], read_pins(resolved[name])) for name in LISTS}
    for name, lines in wrong.items():
        for line in lines:
            print(f"requirements/{name}.txt: {line}")
    if any(wrong.values()):
        print("run `make lock`")
        return DRIFT
    print(", ".join(f"{name}.txt {len(in_list)} pins" for name, in_list in committed.items()) + ": no drift")
    return CHECKED


def main() -> int:
    parser = argparse.ArgumentParser(description="The lists of requirements/.")
    commands = parser.add_subparsers(dest="command", required=True)
    locking = commands.add_parser("lock", help="resolve anew, and write the lists")
    locking.add_argument("--keep", action="store_true", help="keep the releases that the lists have now")
    checking = commands.add_parser("check", help="fail if the lists are not what pyproject.toml asks for")
    checking.add_argument("--offline", action="store_true", help="ask uv's cache only")
    arguments = parser.parse_args()
    try:
        return lock(keep=arguments.keep) if arguments.command == "lock" else check(offline=arguments.offline)
    except LockError as trouble:
        print(trouble, file=sys.stderr)
        return DRIFT


if __name__ == "__main__":
    sys.exit(main())
