"""The Rust crates of the compiled module: which they are, their licences, and their sources for the sdist.

    python packaging/crates.py           write rust/LICENSES-crates.txt
    python packaging/crates.py --check   exit 1 if that file is not what Cargo.lock asks for

The licences of all crates that are linked, or expanded into, `_core` go into every wheel. Needs cargo.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LICENCES = "rust/LICENSES-crates.txt"
TEXTS = ("licen", "copying", "unlicense", "notice")
"""How the names of files with the text of a licence begin."""
RULE = "-" * 80


class CratesError(Exception):
    """Cargo does not say what is asked. The message says what to do."""


@dataclass(frozen=True, order=True)
class Crate:
    """A crate, as Cargo.lock has it."""

    name: str
    version: str
    licence: str
    folder: Path

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:cargo/{self.name}@{self.version}"


def metadata(tree: Path) -> dict[str, Any]:
    """What cargo says of the package in `tree` with the Python binding, all platforms, by Cargo.lock."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--features", "python"]
    ran = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise CratesError(f"{tree}: {' '.join(command)} failed:\n{ran.stderr.strip()}")
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def graph(found: dict[str, Any], kinds: Collection[str | None]) -> dict[Crate, set[Crate]]:
    """The package itself, first, and the crates that it reaches, each with those that it depends on.

    `found` is what `metadata` returns; `kinds` are the dependencies that count: None (ordinary ones), "build", "dev".
    """
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    known = {
        package["id"]: Crate(
            package["name"], package["version"], package["license"] or "", Path(package["manifest_path"]).parent
        )
        for package in found["packages"]
    }
    edges: dict[Crate, set[Crate]] = {}
    to_do = [found["resolve"]["root"]]
    while to_do:
        here = to_do.pop()
        if known[here] not in edges:
            wanted = [
                edge["pkg"] for edge in nodes[here]["deps"] if any(kind["kind"] in kinds for kind in edge["dep_kinds"])
            ]
            edges[known[here]] = {known[name] for name in wanted}
            to_do += wanted
    return edges


def reached(found: dict[str, Any], kinds: Collection[str | None]) -> set[Crate]:
    """The crates of `graph`, without the package itself."""
    _, *others = graph(found, kinds)
    return set(others)


def licences(crates: Collection[Crate]) -> str:
    """The licences of `crates` as one text; a text that several have appears once.

    Raises CratesError for a crate that states none.
    """
    owners: dict[str, list[str]] = defaultdict(list)
    wordless = []
    for crate in sorted(crates):
        if not crate.licence:
            raise CratesError(f"{crate.name} {crate.version} states no licence: leave it out, or ask its authors")
        label = f"{crate.name} {crate.version} ({crate.licence})"
        files = sorted(
            file for file in crate.folder.iterdir() if file.name.lower().startswith(TEXTS) and file.is_file()
        )
        for file in files:
            owners[_tidy(file.read_text(encoding="utf-8"))].append(label)
        if not files:
            wordless.append(label)
    parts = ["The compiled module holds code of these crates.\n"]
    if wordless:
        parts.append("Without a text of their own, as their packages state:\n\n" + "\n".join(wordless) + "\n")
    by_owner = sorted(owners.items(), key=lambda item: (item[1], item[0]))
    parts += ["\n".join(dict.fromkeys(names)) + f"\n\n{text}\n" for text, names in by_owner]
    return f"\n{RULE}\n\n".join(parts)


def _tidy(text: str) -> str:
    """The text with the line ends and margins that all others have, so that equal ones are seen."""
    return "\n".join(line.rstrip() for line in text.strip("\n\ufeff").splitlines()).strip()


def vendor(tree: Path) -> None:
    """Put the sources of all locked crates into `tree`/vendor, and a .cargo/config.toml that has cargo take them.

    Crates that only tests and benchmarks reach stay as names with empty sources, for Cargo.lock names them: they would
    be nine tenths of the sdist.
    """
    needed = {f"{crate.name}-{crate.version}" for crate in reached(metadata(tree), {None, "build"})}
    command = ["cargo", "vendor", "--locked", "--versioned-dirs", "vendor"]
    ran = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise CratesError(f"{tree}: {' '.join(command)} failed:\n{ran.stderr.strip()}")
    folders = {folder.name: folder for folder in (tree / "vendor").iterdir()}
    if missing := needed - set(folders):
        raise CratesError(f"cargo vendor left out {', '.join(sorted(missing))}")
    for name in set(folders) - needed:
        _empty(folders[name])
    (tree / ".cargo").mkdir(exist_ok=True)
    # What cargo prints is for a directory of this name, too.
    (tree / ".cargo" / "config.toml").write_text(
        '[source.crates-io]\nreplace-with = "vendored-sources"\n\n[source.vendored-sources]\ndirectory = "vendor"\n',
        encoding="utf-8",
    )


def _empty(folder: Path) -> None:
    """Leave of a vendored crate its manifest and empty Rust files, which cargo looks for."""
    for file in sorted(folder.rglob("*"), reverse=True):
        if file.is_dir():
            if not any(file.iterdir()):
                file.rmdir()
        elif file.suffix == ".rs":
            file.write_bytes(b"")
        elif file.name not in ("Cargo.toml", ".cargo-checksum.json"):
            file.unlink()
    sums = folder / ".cargo-checksum.json"
    sums.write_text(json.dumps({"files": {}, "package": json.loads(sums.read_text(encoding="utf-8"))["package"]}))


def main(argv: list[str] | None = None) -> int:
    """Write the licences, or check them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is not up to date")
    options = parser.parse_args(argv)
    try:
        text = licences(reached(metadata(ROOT), {None}))
    except CratesError as error:
        print(f"crates: {error}", file=sys.stderr)
        return 1
    target = ROOT / LICENCES
    if not options.check:
        target.write_text(text, encoding="utf-8")
    elif not target.is_file() or target.read_text(encoding="utf-8") != text:
        print(f"{LICENCES} is not what Cargo.lock asks for: run python packaging/crates.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
