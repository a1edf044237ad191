"""What is installed: the bounds of pyproject.toml, the lists of requirements/, and what the code really imports."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "python"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CORE = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
EXTRAS = {
    name: [Requirement(text) for text in texts] for name, texts in PROJECT["project"]["optional-dependencies"].items()
}
GROUPS = {name: [Requirement(text) for text in texts] for name, texts in PROJECT["dependency-groups"].items()}
LISTS = sorted((ROOT / "requirements").glob("*.txt"))

COMPROMISED = ["1.82.7", "1.82.8"]
"""Releases of LiteLLM that carried a credential stealer."""
REFUSED = [*COMPROMISED, "1.107.0", "1.107.1", "1.107.3", "1.83.14", "1.84.0rc1"]
"""Also the removed 1.107.*, and what came before 1.84.0, which mended CVE-2026-49468."""

NOT_IMPORTED = {
    "prisma": "LiteLLM imports it when a key is missing, and answers 500 without it",
    "tzdata": "the time zones, for zoneinfo",
    "uvloop": "uvicorn imports it, told by its name",
}
"""Dependencies of the core that no line of it imports."""
COMES_WITH = {
    "fastapi": "litellm",
    "httpx": "litellm",
    "markupsafe": "jinja2",
    "openai": "litellm",
    "starlette": "fastapi",
    "uvicorn": "litellm",
}
"""What the core imports and does not declare, because which release it is must be another package's choice."""


def script(name: str) -> ModuleType:
    """A script of packaging/ as a module."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", ROOT / "packaging" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lock() -> Iterator[ModuleType]:
    module = script("lock")
    yield module
    del sys.modules[module.__name__]


def every_requirement() -> Iterator[Requirement]:
    yield from CORE
    for requirements in (*EXTRAS.values(), *GROUPS.values()):
        yield from requirements


# Bounds


def test_no_bound_lets_a_refused_litellm_in() -> None:
    bounds = [requirement.specifier for requirement in every_requirement() if requirement.name == "litellm"]
    assert len(bounds) == 1
    assert not list(bounds[0].filter(REFUSED, prereleases=True))
    assert bounds[0].contains("1.106.2")


def test_an_open_bound_would_let_them_in() -> None:
    """What the test above looks for can happen."""
    assert list(Requirement("litellm[proxy]>=1.80").specifier.filter(COMPROMISED)) == COMPROMISED


def test_every_dependency_of_a_user_has_a_floor() -> None:
    extras = [requirement for name in EXTRAS if name != "dev" for requirement in EXTRAS[name]]
    bare = [str(requirement) for requirement in [*CORE, *extras] if not requirement.specifier]
    assert bare == ["tzdata", "bsgateway[export,train]"]


def test_dev_has_all_that_the_extras_have() -> None:
    asked = {extra for requirement in EXTRAS["dev"] if requirement.name == "bsgateway" for extra in requirement.extras}
    for extra in list(asked):
        asked |= {
            more for requirement in EXTRAS[extra] if requirement.name == "bsgateway" for more in requirement.extras
        }
    assert asked == EXTRAS.keys() - {"dev"}


# Lists


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_pin_has_hashes_and_none_is_a_compromised_release(path: Path, lock: ModuleType) -> None:
    pins = lock.read_pins(path.read_text(encoding="utf-8"))
    assert pins
    assert [str(pin) for pin, hashes in pins.items() if not hashes] == []
    assert [str(pin) for pin in pins if pin.name == "litellm" and pin.version in COMPROMISED] == []


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_no_list_says_where_packages_come_from(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"\w+://\S+|^--?(?:i|f|index|extra|find|trusted)\b.*", text, re.M) == []


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("tools", GROUPS["tools"]),
        ("run", [*CORE, *EXTRAS["embedded"], *EXTRAS["local"], *EXTRAS["demo"], *EXTRAS["train"], *GROUPS["weights"]]),
        ("image", [*CORE, *EXTRAS["train"]]),
        ("test", [*CORE, *(entry for name in EXTRAS for entry in EXTRAS[name]), *GROUPS["weights"], *GROUPS["web"]]),
        ("release", GROUPS["release"]),
    ],
)
def test_pins_are_within_the_bounds_of_pyproject(name: str, asked: list[Requirement], lock: ModuleType) -> None:
    versions: dict[str, list[str]] = {}
    for pin in lock.read_pins((ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")):
        versions.setdefault(canonicalize_name(pin.name), []).append(pin.version)
    for requirement in asked:
        if requirement.name != "bsgateway":
            pinned = versions.get(canonicalize_name(requirement.name), [])
            assert pinned, f"{requirement} is not in the list {name}"
            assert list(requirement.specifier.filter(pinned, prereleases=True)) == pinned, str(requirement)


def test_the_list_of_what_runs_is_complete_and_has_nothing_else(lock: ModuleType) -> None:
    """Here, that is: what is installed on this machine says what it needs of others."""
    listed = {
        canonicalize_name(pin.name): pin.version
        for pin in lock.read_pins((ROOT / "requirements" / "run.txt").read_text(encoding="utf-8"))
        if not pin.marker or Requirement(f"x ; {pin.marker}").marker.evaluate()  # type: ignore[union-attr]
    }
    without = {"dev", "export", "plot", "scale"}
    todo = [*CORE, *(entry for name in EXTRAS if name not in without for entry in EXTRAS[name]), *GROUPS["weights"]]
    seen: set[tuple[str, str]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": "", **default_environment()}):
            continue
        assert requirement.specifier.contains(listed[name], prereleases=True), f"{requirement}, not {listed[name]}"
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                todo += needs(name, extra, listed[name])
    assert {name for name, _ in seen} == listed.keys()


def needs(name: str, extra: str, version: str) -> Iterator[Requirement]:
    """What an installed package needs for an extra, or without one."""
    if name in {entry["name"] for entry in PROJECT["tool"]["uv"]["dependency-metadata"]}:
        return  # what its own metadata asks for is left out on purpose
    assert importlib.metadata.version(name) == version, f"{name} is not installed as listed: run `make setup`"
    for text in importlib.metadata.requires(name) or []:
        requirement = Requirement(text)
        marker, requirement.marker = requirement.marker, None
        if marker is None or marker.evaluate({"extra": extra}):
            yield requirement


# Imports


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The modules that a file imports, and whether that happens while it is imported itself."""

    def walk(node: ast.AST, now: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, now) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
                above = package.rsplit(".", child.level - 1)[0] if child.level else ""
                base = ".".join(part for part in (above, child.module) if part)
                yield base, now
                yield from ((f"{base}.{alias.name}", now) for alias in child.names)
            yield from walk(child, now and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    return walk(ast.parse(path.read_text(encoding="utf-8")), True)


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in (SOURCES / "bsgateway").rglob("*.py") if "ui" not in path.parts}
IMPORTS = {name: list(imports(path)) for name, path in FILES.items()}


DISTRIBUTIONS = {
    module: {canonicalize_name(name) for name in names}
    for module, names in importlib.metadata.packages_distributions().items()
}


def distributions(module: str) -> set[str]:
    """The distributions that a top-level module is installed by."""
    return DISTRIBUTIONS.get(module, set())


def foreign(name: str) -> str | None:
    """The top-level module of an import, if it is neither ours nor Python's."""
    top = name.partition(".")[0]
    return None if top in {"bsgateway", "__future__"} or top in sys.stdlib_module_names else top


def test_every_dependency_of_the_core_is_imported_by_it() -> None:
    imported = {
        name
        for found in IMPORTS.values()
        for module, _ in found
        if (top := foreign(module))
        for name in distributions(top)
    }
    unused = {canonicalize_name(requirement.name) for requirement in CORE} - imported
    assert unused == NOT_IMPORTED.keys()


def test_what_is_imported_is_declared_or_comes_with_what_is() -> None:
    declared = {canonicalize_name(requirement.name) for requirement in every_requirement()}
    undeclared = {top for found in IMPORTS.values() for module, _ in found if (top := foreign(module))}
    undeclared = {top for top in undeclared if not distributions(top) & declared or top in COMES_WITH}
    assert undeclared == COMES_WITH.keys()
    for module, package in COMES_WITH.items():
        needed = {canonicalize_name(Requirement(text).name) for text in importlib.metadata.requires(package) or []}
        assert distributions(module) & needed, f"{package} no longer needs {module}: declare it"


def core_modules() -> dict[str, str]:
    """The modules that are loaded with the command line or the gateway, each with the one that imports it first."""
    found = {"bsgateway": "", "bsgateway.cli": "", "bsgateway.hook": "", "bsgateway.server": ""}
    todo = list(found)
    while todo:
        name = todo.pop()
        parents = [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]
        for module in [*parents, *(module for module, now in IMPORTS[name] if now)]:
            if module in FILES and module not in found:
                found[module] = name
                todo.append(module)
    return found


def test_what_the_core_loads_needs_no_extra() -> None:
    extra_only = {canonicalize_name(requirement.name) for name in EXTRAS for requirement in EXTRAS[name]}
    extra_only -= {canonicalize_name(requirement.name) for requirement in CORE}
    loaded = core_modules()
    assert len(loaded) > 100
    early = {
        f"{name} (by {loaded[name]}): {module}"
        for name in loaded
        for module, now in IMPORTS[name]
        if now and (top := foreign(module)) and top not in COMES_WITH and distributions(top) & extra_only
    }
    assert early == set()


def test_the_command_line_starts_without_any_extra() -> None:
    modules = [
        "numpy",
        "scipy",
        "sklearn",
        "safetensors",
        "pyarrow",
        "psutil",
        "ray",
        "matplotlib",
        "anthropic",
        "xllamacpp",
    ]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({modules}))\n"
        "import bsgateway.cli; bsgateway.cli.main(['--help'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "serve" in ended.stdout


# packaging/lock.py


def test_the_lists_are_what_pyproject_asks_for(lock: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = lock.check(offline=True)
    said = capsys.readouterr().out
    assert outcome != lock.DRIFT, said
    if outcome == lock.NOT_CHECKED:
        pytest.skip("uv's cache lacks metadata of other platforms: `make lock-check` with a network tells more")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("pyproject.toml", '"msgspec>=0.19,<1"', '"msgspec>=0.20,<1"', "was made from other dependencies"),
        ("requirements/run.txt", "msgspec==", "msgspec-python==", "msgspec-python=="),
        ("requirements/run.txt", "--hash=sha256:0", "--hash=sha256:f", "the index has no file with"),
        ("requirements/tools.txt", "maturin==1", "maturin==0", "cannot be satisfied with the committed pins"),
    ],
)
def test_drift_is_found(
    lock: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    old: str,
    new: str,
    said: str,
) -> None:
    if lock.check(offline=True) == lock.NOT_CHECKED:
        pytest.skip("uv's cache lacks metadata of other platforms")
    (tmp_path / "requirements").mkdir()
    for path in [ROOT / "pyproject.toml", *LISTS]:
        text = path.read_text(encoding="utf-8")
        if path == ROOT / name:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / path.relative_to(ROOT)).write_text(text, encoding="utf-8")
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    monkeypatch.setattr(lock, "REQUIREMENTS", tmp_path / "requirements")
    assert lock.check(offline=True) == lock.DRIFT
    assert said in capsys.readouterr().out


def test_the_digest_tells_another_bound_and_not_another_order(lock: ModuleType) -> None:
    def changed(dependencies: list[str]) -> dict[str, Any]:
        return {**PROJECT, "project": {**PROJECT["project"], "dependencies": dependencies}}

    dependencies: list[str] = PROJECT["project"]["dependencies"]
    assert lock.digest(changed(dependencies[::-1])) == lock.digest(PROJECT)
    assert lock.digest(changed([*dependencies[:-1], "uvloop>=0.22"])) != lock.digest(PROJECT)
    assert lock.digest(changed(dependencies[:-1])) != lock.digest(PROJECT)


def list_of(pins: dict[str, list[str]]) -> str:
    """A list as uv writes it."""
    return "".join(" \\\n    --hash=".join([pin, *hashes]) + "\n" for pin, hashes in pins.items())


def test_differences_between_a_list_and_what_it_should_be(lock: ModuleType) -> None:
    one, two, three = (f"sha256:{digit * 64}" for digit in "123")
    gone = "gone==2 ; a == 'b'"
    committed = lock.read_pins(list_of({"kept==1": [one], "old==1": [one], gone: [two]}))
    resolved = lock.read_pins(list_of({"kept==1": [one, two], "old==2": [two], gone: [three]}))
    assert lock.differences(committed, resolved) == [
        f"{gone}: the index has no file with {two}",
        "old==1 is not asked for",
        "old==2 is missing",
    ]
    assert lock.differences(committed, committed) == []


def test_a_pin_without_hash_and_a_line_of_another_kind_are_told(lock: ModuleType) -> None:
    bare = lock.read_pins("bare==1\n")
    assert lock.differences(bare, bare) == ["bare==1 has no hash"]
    with pytest.raises(lock.LockError, match=r"line 2 is no pin"):
        lock.read_pins("# a comment\nnot-pinned>=1\n")


def test_constraints_hold_a_package_everywhere_unless_it_has_several_versions(lock: ModuleType) -> None:
    pins = {lock.Pin("one", "1", "a == 'b'"), lock.Pin("two", "1", "c < '3'"), lock.Pin("two", "2", "c >= '3'")}
    text = lock.constrained('dynamic = ["version"]\n[tool.uv]\n', pins)
    assert tomllib.loads(text)["tool"]["uv"]["constraint-dependencies"] == [
        "one==1",
        "two==1 ; c < '3'",
        "two==2 ; c >= '3'",
    ]
    with pytest.raises(lock.LockError, match=r"no single line '\[tool.uv\]'"):
        lock.constrained('dynamic = ["version"]\n', pins)
