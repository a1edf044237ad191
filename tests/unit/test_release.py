"""What checks a release: packaging/release_check.py and the scripts that it runs."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[2]
NAMES = ("audit", "dist", "lock", "release_check", "tree", "version", "workflows")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """Scripts of packaging/ as modules, by name."""
    sys.path.insert(0, str(ROOT / "packaging"))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(ROOT / "packaging"))
        for name in NAMES:
            sys.modules.pop(name, None)


# Workflows


def test_every_action_of_others_is_named_by_commit_and_version(scripts: dict[str, ModuleType]) -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / ".github").rglob("*.yml")}
    assert {"ci.yml", "wheels.yml", "release.yml"} <= texts.keys()
    assert list(scripts["workflows"].unpinned(texts)) == []


@pytest.mark.parametrize(
    "line",
    [
        "uses: a/b@v1",
        "uses: a/b@main # v1.2.3",
        f"uses: a/b@{COMMIT}",
        f"uses: a/b@{COMMIT} # v1",
        f"- uses: a/b@{COMMIT[:39]} # v1.2.3",
        "uses: a/b",
    ],
)
def test_an_action_named_otherwise_is_found(scripts: dict[str, ModuleType], line: str) -> None:
    assert len(list(scripts["workflows"].unpinned({"x.yml": f"      {line}\n"}))) == 1


def test_two_commits_of_one_action_are_found(scripts: dict[str, ModuleType]) -> None:
    other = COMMIT[::-1]
    texts = {"x.yml": f"  uses: a/b@{COMMIT} # v1.2.3\n", "y.yml": f"  - uses: a/b@{other} # v1.2.3\n  - uses: ./c\n"}
    assert list(scripts["workflows"].unpinned(texts)) == [
        f"y.yml: a/b@{other} # v1.2.3, but {COMMIT} # v1.2.3 elsewhere"
    ]


# Hosts of registries


def test_no_file_names_the_host_of_a_registry(scripts: dict[str, ModuleType]) -> None:
    tree = scripts["tree"]
    if subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("no git repository: it is not known which files belong to it")
    named = {}
    for path in tree.files():
        try:
            found = list(tree.hosts(path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
        if found:
            named[path.relative_to(ROOT).as_posix()] = found
    assert named.keys() == tree.ALLOWED.keys()


def test_hosts_are_found_and_what_only_looks_like_one_is_not(scripts: dict[str, ModuleType]) -> None:
    hosts = scripts["tree"].HOSTS
    named = [f"see https://{hosts[0]}/simple", f"FROM {hosts[9]}/postgres:18", f"registry.{hosts[2]}"]
    text = "\n".join([*named, f"my{hosts[0]} {hosts[5]}-index"])
    assert [number for number, _ in scripts["tree"].hosts(text)] == [1, 2, 3]


# Version


CARGO = '[package]\nversion = "1.2.3"\n'
CHANGELOG = "# Changelog\n\n## 1.2.3 (2026-01-31)\n\n- One.\n- Two.\n\n## 1.2.2 (2026-01-01)\n\n- Zero.\n"


def test_the_versions_of_the_repository_agree(scripts: dict[str, ModuleType]) -> None:
    cargo, changelog = ((ROOT / name).read_text(encoding="utf-8") for name in ("Cargo.toml", "CHANGELOG.md"))
    assert list(scripts["version"].disagreements(cargo, changelog, None, None)) == []


def test_a_release_has_its_version_everywhere_and_a_date(scripts: dict[str, ModuleType]) -> None:
    version = scripts["version"]
    assert list(version.disagreements(CARGO, CHANGELOG, "version: 1.2.3\nappVersion: 1.2.3\n", "v1.2.3")) == []
    assert version.sections(CHANGELOG)["1.2.3"] == ("2026-01-31", "- One.\n- Two.")
    unreleased = CHANGELOG.replace("2026-01-31", "unreleased")
    assert list(version.disagreements(CARGO, unreleased, None, None)) == []
    (undated,) = version.disagreements(CARGO, unreleased, None, "v1.2.3")
    assert "has no date" in undated
    (other,) = version.disagreements(CARGO, CHANGELOG, None, "v1.2.4")
    assert "the tag is v1.2.4" in other
    chart = list(version.disagreements(CARGO, CHANGELOG, 'version: 1.2.1\nappVersion: "1.2.2"\n', None))
    assert ["version is 1.2.1" in chart[0], "appVersion is 1.2.2" in chart[1], len(chart)] == [True, True, 2]
    (missing,) = version.disagreements(CARGO.replace("1.2.3", "2.0.0"), CHANGELOG, None, None)
    assert "no section `## 2.0.0" in missing


# Archives


def archives(folder: Path, *names: str) -> tuple[list[Path], str]:
    """Files of these names, and their SHA256SUMS."""
    for name in names:
        (folder / name).write_text(name, encoding="utf-8")
    paths = [folder / name for name in names]
    return paths, "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)


def test_archives_are_complete_of_one_version_and_as_their_sums_say(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    faults = scripts["dist"].faults
    pure, sdist = "bsgateway-1.2.3-py3-none-any.whl", "bsgateway-1.2.3.tar.gz"
    paths, sums = archives(tmp_path, "bsgateway-1.2.3-cp310-abi3-manylinux_2_17_x86_64.whl", pure, sdist)
    assert list(faults(paths, sums, Version("1.2.3"))) == []
    assert [line for line in faults(paths[1:], sums, Version("1.2.3")) if "compiled" in line] == [
        "there is no compiled"
    ]
    assert len(list(faults(paths, sums, Version("1.2.4")))) == 3
    assert "SHA256SUMS lists other files: none" in list(faults(paths, "", Version("1.2.3")))
    paths[1].write_text("other", encoding="utf-8")
    assert list(faults(paths, sums, Version("1.2.3"))) == [f"{pure} is not what SHA256SUMS says"]


# Audit


def test_every_release_of_every_pin_is_asked_about_once(scripts: dict[str, ModuleType]) -> None:
    pin = scripts["lock"].Pin
    pins = {pin("a", "1", ""), pin("b", "1", "x < '2'"), pin("b", "2", "x >= '2'"), pin("b", "2", "y")}
    lists = list(scripts["audit"].generations(pins))
    assert sorted(entry for listed in lists for entry in listed) == ["a==1", "b==1", "b==2"]
    assert all(len({entry.partition("==")[0] for entry in listed}) == len(listed) for listed in lists)


def test_what_was_not_checked_is_not_clean(scripts: dict[str, ModuleType]) -> None:
    audit = scripts["audit"]
    assert audit.Outcome("all of it").code == audit.CLEAN
    assert audit.Outcome("a part", unchecked="no network").code == audit.NOT_CHECKED
    assert audit.Outcome("a part", ["one"], "no network").code == audit.FOUND


# All of it


def test_every_step_runs_a_file_that_is_there(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    steps = scripts["release_check"].steps(tmp_path, "v1.2.3")
    named = [part for step in steps for part in step.command if part.startswith(("packaging/", "tests/"))]
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).is_file()] == []
    assert len({step.name for step in steps}) == len(steps)


@pytest.mark.parametrize(("code", "result"), [(0, "passed"), (1, "FAILED"), (2, "FAILED"), (3, "not checked")])
def test_the_exit_code_of_a_step_is_its_result(scripts: dict[str, ModuleType], code: int, result: str) -> None:
    release_check = scripts["release_check"]
    step = release_check.Step("x", "y", [sys.executable, "-c", f"print('said'); raise SystemExit({code})"])
    outcome = release_check.take(step)
    assert (outcome.result, outcome.said) == (result, "said")


def test_a_step_whose_program_is_missing_fails(scripts: dict[str, ModuleType]) -> None:
    outcome = scripts["release_check"].take(scripts["release_check"].Step("x", "y", ["/nowhere/program"]))
    assert outcome.result == "FAILED"
    assert "/nowhere/program is missing" in outcome.said
