"""What must not be in the code of a program that reads other people's files, and what its dependencies are pinned to."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "bsgateway"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "node_modules" not in path.parts)
EXECUTES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "runpy", "code", "ctypes", "imp"}
"""Modules that run what they read, or reach around Python."""
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp", "yaml.unsafe_load", "yaml.full_load",
    "yaml.unsafe_load_all", "ssl._create_unverified_context", "random.choices", "hashlib.md5", "hashlib.sha1", "pty.spawn",
    "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell", "pandas.read_pickle",
}  # fmt: skip
UNVERIFIED = {"cooldowns.py"}
"""Asks servers of the operator's own whether they are there, and sends nothing else."""


@cache
def tree(path: Path) -> ast.Module:
    """A module as Python reads it."""
    return ast.parse(path.read_text(encoding="utf-8"))


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    """Every call in the package, with what is called as it is written."""
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                yield path, node, ast.unparse(node.func)


def said(call: ast.Call, name: str) -> str | None:
    """The value of a keyword."""
    return next((ast.unparse(each.value) for each in call.keywords if each.arg == name), None)


def test_nothing_that_is_read_is_executed() -> None:
    assert len(SOURCES) > 150
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {name.partition(".")[0] for name in names} & EXECUTES, path


def test_no_call_takes_a_shell_or_goes_without_certificates() -> None:
    unverified = set()
    for path, call, name in calls():
        where = f"{path}:{call.lineno}"
        assert name not in FORBIDDEN, where
        assert said(call, "shell") in (None, "False"), where
        assert said(call, "allow_pickle") in (None, "False"), where
        assert said(call, "trust_remote_code") in (None, "False"), where
        if name == "yaml.load":
            assert said(call, "Loader") == "_Loader", where
        if said(call, "verify") == "False":
            unverified.add(path.name)
    assert unverified == UNVERIFIED


def test_yaml_is_read_by_a_safe_loader() -> None:
    import yaml

    from bsgateway import document

    assert issubclass(document._Loader, yaml.SafeLoader)
    for attack in ("!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!!python/module:os"):
        with pytest.raises(document.NotYaml):
            document.Document(attack).data  # noqa: B018


def test_pages_put_no_words_into_markup() -> None:
    sources = sorted(path for path in (PACKAGE / "web" / "ui" / "src").rglob("*.ts*"))
    assert sources
    for path in sources:
        text = path.read_text(encoding="utf-8")
        for sink in ("innerHTML", "outerHTML", "dangerouslySetInnerHTML", "insertAdjacentHTML", "document.write", "eval(",
                     "new Function", "srcdoc"):  # fmt: skip
            assert sink not in text, f"{path}: {sink}"


# Dependencies

if sys.version_info >= (3, 11):
    import tomllib

    PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
else:
    PROJECT = None
BAD = {
    "litellm": (
        "1.82.7",
        "1.82.8",
        "1.107.0",
        "1.83.14",
    ),  # a stealer of credentials; removed; a bypass of authentication
    "pyarrow": ("14.0.0",),  # CVE-2023-47248: runs what it reads
    "filelock": ("3.20.0",),  # CVE-2025-68146: truncates what a link names
}
"""Releases that the bounds must leave out."""


@pytest.mark.skipif(PROJECT is None, reason="tomllib is new in Python 3.11")
def test_no_bound_lets_a_bad_release_in() -> None:
    assert PROJECT is not None
    extras = PROJECT["optional-dependencies"].values()
    found: dict[str, list[Requirement]] = {name: [] for name in BAD}
    listed = [*PROJECT["dependencies"], *(each for extra in extras for each in extra)]
    for requirement in map(Requirement, listed):
        assert requirement.url is None, f"{requirement} is not from an index"
        if requirement.name in found:
            found[requirement.name].append(requirement)
    for name, versions in BAD.items():
        assert found[name], name
        for requirement in found[name]:
            for version in versions:
                assert not requirement.specifier.contains(Version(version), prereleases=True), (
                    f"{requirement}: {version}"
                )


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_each_locked_package_is_named_by_its_hash(path: Path) -> None:
    """And by no address: who looks for a name finds it in one index, as the hash says which file is meant."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*--(?!hash)|://|@ file", text, re.MULTILINE)
    entries = re.split(r"\n(?=[a-zA-Z0-9])", re.sub(r"^\s*#.*\n?", "", text, flags=re.MULTILINE).strip())
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]
        assert canonicalize_name(entry.partition("==")[0].partition("[")[0]) != "bsgateway", (
            "our own name from an index"
        )


def test_the_other_locks_have_checksums_too() -> None:
    crates = (ROOT / "Cargo.lock").read_text(encoding="utf-8").split("[[package]]")[1:]
    for crate in crates:
        assert "checksum = " in crate or 'name = "bsgateway-core"' in crate, crate
        assert "git+" not in crate
    packages = json.loads((PACKAGE / "web" / "ui" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for name, package in packages.items():
        assert not name or "integrity" in package, name
