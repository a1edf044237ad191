"""What a wheel and the sdist must hold, and what they must not."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Collection, Iterable
from email.message import Message
from email.parser import Parser
from pathlib import Path

from pure import COMPILED, TAG, fingerprint

MAX_BYTES = 12_000_000
REQUIRED = (
    r"bsgateway/py\.typed",
    r"bsgateway/_core\.pyi",
    r"bsgateway/gateway\.schema\.json",
    r"bsgateway/data/prior\.safetensors",
    r"bsgateway/data/prior_outcomes\.safetensors",
    r"bsgateway/sql/migrations/0001_routing_tables\.sql",
    r"bsgateway/sql/queries/write\.sql",
    r"bsgateway/web/report\.html\.jinja",
    r"bsgateway/web/assets/index\.html",
    r"bsgateway/web/assets/app-[0-9A-Z]+\.js",
    r"bsgateway/web/assets/app-[0-9A-Z]+\.css",
    r"bsgateway/web/assets/report\.js",
    r"bsgateway/web/assets/LICENSES\.txt",
    r"[^/]+\.dist-info/licenses/LICENSE",
    r"[^/]+\.dist-info/licenses/rust/LICENSES-crates\.txt",
    r"[^/]+\.dist-info/licenses/rust/data/LICENSE-tiktoken",
    r"[^/]+\.dist-info/entry_points\.txt",
)
"""Patterns of paths in a wheel; each must be there. SQL and assets are also held against the sources, file by file."""
FORBIDDEN = re.compile(
    r"(^|/)(tests?|ui|node_modules|target|vendor|__pycache__|\.[a-z][^/]*)(/|$)|\.(py[co]|rs|tsx?|map)$|(^|/)conftest\.py$"
)
"""Paths that no wheel has: tests, sources of the pages and of the core, caches, hidden files such as .env."""
FORBIDDEN_IN_SDIST = re.compile(r"(^|/)(node_modules|target|__pycache__|\.env|\.git|\.venv)(/|$)|\.(pyc|so|pyd)$")
SDIST_REQUIRED = (
    "Cargo.lock",
    "PKG-INFO",
    "pyproject.toml",
    "LICENSE",
    ".cargo/config.toml",
    "rust/lib.rs",
    "rust/LICENSES-crates.txt",
    "rust/data/o200k_base.ranks",
    "python/bsgateway/py.typed",
    "python/bsgateway/web/assets/index.html",
    "python/bsgateway/web/ui/package-lock.json",
)


def metadata(wheel: Path) -> str:
    """The METADATA of a wheel."""
    with zipfile.ZipFile(wheel) as opened:
        return opened.read(_only(opened, ".dist-info/METADATA")).decode()


def check_wheel(wheel: Path, tree: Path, crates: Collection[str], private: Iterable[str] = ()) -> list[str]:
    """What is wrong with a wheel; empty if nothing is.

    `tree` is the unpacked sdist it was built from, `crates` are the package URLs of what is linked into the module,
    `private` are strings that no file may hold, such as directories of the machine that built it.
    """
    faults = []
    if (size := wheel.stat().st_size) > MAX_BYTES:
        faults.append(f"{size / 1e6:.1f} MB; at most {MAX_BYTES / 1e6:.0f}")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        faults += missing(names, REQUIRED)
        faults += [f"holds {name}" for name in sorted(names) if forbidden(name)]
        faults += [f"lacks {name}" for name in sorted(_sources(tree) - names)]
        faults += _record(opened)
        faults += _licences(opened)
        faults += _kind(opened)
        faults += _bills(opened, tree, set() if wheel.name.endswith(f"-{TAG}.whl") else set(crates))
        for name in sorted(names):
            content = opened.read(name)
            faults += [f"{name} names {word}" for word in private if word.encode() in content]
    return faults


def check_sdist(archive: Path) -> list[str]:
    """What is wrong with an sdist; empty if nothing is."""
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    faults = [f"lacks {name}" for name in SDIST_REQUIRED if name not in names]
    ours = {name for name in names if not name.startswith("vendor/")}
    return faults + [f"holds {name}" for name in sorted(ours) if FORBIDDEN_IN_SDIST.search(name)]


def missing(names: Collection[str], patterns: Iterable[str]) -> list[str]:
    """The patterns that none of `names` matches, as faults."""
    return [f"lacks {pattern}" for pattern in patterns if not any(re.fullmatch(pattern, name) for name in names)]


def forbidden(name: str) -> bool:
    """Whether no wheel may have a file of this path."""
    return bool(FORBIDDEN.search(name))


def _sources(tree: Path) -> set[str]:
    """The files of `tree` that every wheel has: Python, SQL, data and pages."""
    package = tree / "python"
    files = {file.relative_to(package).as_posix() for file in package.rglob("*") if file.is_file()}
    return {name for name in files if not name.startswith("bsgateway/web/ui/") and not name.endswith(".pyc")}


def _record(opened: zipfile.ZipFile) -> list[str]:
    """Where RECORD and the files differ."""
    name = _only(opened, ".dist-info/RECORD")
    rows = {path: (digest, size) for path, digest, size in csv.reader(io.StringIO(opened.read(name).decode()))}
    names = {member for member in opened.namelist() if not member.endswith("/")}
    faults = [f"RECORD and the files differ in {path}" for path in sorted(set(rows) ^ names)]
    for path in sorted((set(rows) & names) - {name}):
        if rows[path] != fingerprint(opened.read(path)):
            faults.append(f"RECORD has another hash of {path}")
    return faults


def _licences(opened: zipfile.ZipFile) -> list[str]:
    """Licence files that METADATA names and that are not there, or that are empty."""
    name = _only(opened, ".dist-info/METADATA")
    named = Parser().parsestr(opened.read(name).decode()).get_all("License-File") or []
    folder = name.replace("/METADATA", "/licenses")
    found = {path: opened.getinfo(path).file_size for path in opened.namelist()}
    faults = [f"lacks the licence {path}" for path in named if not found.get(f"{folder}/{path}")]
    return faults if named else ["METADATA names no licence file"]


def _kind(opened: zipfile.ZipFile) -> list[str]:
    """Whether the tags, the compiled module and the command are as the kind of the wheel wants them."""
    wheel: Message = Parser().parsestr(opened.read(_only(opened, ".dist-info/WHEEL")).decode())
    tags = wheel.get_all("Tag") or []
    compiled = [name for name in opened.namelist() if COMPILED.match(name)]
    faults = []
    if TAG in tags:
        if tags != [TAG] or wheel["Root-Is-Purelib"] != "true":
            faults.append(f"a pure wheel has the tags {tags}, Root-Is-Purelib: {wheel['Root-Is-Purelib']}")
        if compiled:
            faults.append(f"a pure wheel holds {compiled}")
    else:
        if compiled != ["bsgateway/_core.abi3.so"]:
            faults.append(f"a compiled wheel for Linux holds bsgateway/_core.abi3.so; this one {compiled}")
        if not tags or not all(tag.startswith("cp310-abi3-") for tag in tags):
            faults.append(f"not for CPython 3.10 and later: {tags}")
    commands = opened.read(_only(opened, ".dist-info/entry_points.txt")).decode()
    if "bsgateway=bsgateway.cli:main" not in commands.replace(" ", ""):
        faults.append("has no command `bsgateway`")
    return faults


def _bills(opened: zipfile.ZipFile, tree: Path, crates: set[str]) -> list[str]:
    """What the bills of materials leave out: crates of the compiled module, packages of the pages."""
    found: set[str] = set()
    for name in opened.namelist():
        if ".dist-info/sboms/" in name and not name.endswith("/"):
            found |= _components(json.loads(opened.read(name)))
    pages = json.loads((tree / "python/bsgateway/web/ui/package.json").read_text(encoding="utf-8"))["dependencies"]
    expected = crates | {f"pkg:npm/{name.replace('@', '%40')}@{version}" for name, version in pages.items()}
    return [f"no bill of materials names {purl}" for purl in sorted(expected - found)]


def _components(bill: dict[str, object]) -> set[str]:
    """The package URLs of a CycloneDX file, without qualifiers."""
    components = bill.get("components")
    if not isinstance(components, list):
        return set()
    return {str(component.get("purl", "")).partition("?")[0] for component in components}


def _only(opened: zipfile.ZipFile, ending: str) -> str:
    """The one path with this ending."""
    (name,) = [name for name in opened.namelist() if name.endswith(ending)]
    return name
