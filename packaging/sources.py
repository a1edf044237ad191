"""The sdist: what git has, the built pages, the crates and the packages of the pages, so that nothing else is needed.

Every wheel is built from it, by `native.py`: what can be built from the sdist is what is published.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import bills
import crates
from running import ROOT, BuildError, run, tools

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ASSETS = "python/bsgateway/web/assets"


def prepare(tree: Path) -> None:
    """Make `tree` the directory an sdist is made of: the files that git has or would take, and what goes with them."""
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, tree / name
        if source.is_symlink() or source.is_file():  # else it is removed, and not yet committed
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    if not (ROOT / ASSETS / "index.html").is_file():
        raise BuildError(f"{ASSETS} is empty: run `make web` first")
    shutil.copytree(ROOT / ASSETS, tree / ASSETS)
    bills.write(tree)
    crates.vendor(tree)
    name_additions(tree / "pyproject.toml")


def name_additions(pyproject: Path) -> None:
    """Have maturin take what `prepare` added. The repository has none of it, so its pyproject.toml is silent."""
    text = pyproject.read_text(encoding="utf-8")
    tool: dict[str, Any] = tomllib.loads(text)["tool"]["maturin"]
    if "sbom" in tool or "include" not in tool:
        raise BuildError(f"{pyproject}: [tool.maturin] is not as packaging/sources.py expects it: change both")
    added = """
    { path = "vendor/**/*", format = "sdist" },
    { path = ".cargo/config.toml", format = "sdist" },
    { path = "sboms/*.cdx.json", format = "sdist" },
    """
    head, mark, rest = text.partition("[tool.maturin]\n")
    opening = "include = ["
    before, found, after = rest.partition(opening)
    if not mark or not found:
        raise BuildError(f"{pyproject}: no `{opening}` below [tool.maturin]: change it and packaging/sources.py alike")
    sbom = f"[tool.maturin.sbom]\nrust = false\ninclude = {[bills.CORE, bills.PAGES]}\n"
    text = f"{head}{mark}{before}{opening}{added}{after}\n{sbom}"
    tomllib.loads(text)
    pyproject.write_text(text, encoding="utf-8")


def sdist(tree: Path, out: Path) -> Path:
    """Pack `tree`; the path of the archive in `out`."""
    run(["maturin", "sdist", "--out", str(out)], cwd=tree, env=tools())
    (made,) = out.glob("bsgateway-*.tar.gz")
    return made


def unpack(archive: Path, into: Path) -> Path:
    """Unpack an sdist; its one directory."""
    with tarfile.open(archive) as opened:
        opened.extractall(into, filter="data")
    (folder,) = into.iterdir()
    return folder
