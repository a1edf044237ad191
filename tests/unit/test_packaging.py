"""The scripts that build a release (`packaging/`): what they take for right and for wrong. Nothing is built."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
INFO = "bsgateway-1.2.3.dist-info"
CRATES = {"pkg:cargo/pyo3@0.30.1"}
NATIVE = "bsgateway-1.2.3-cp310-abi3-manylinux_2_17_x86_64.whl"

needs_cargo = pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of packaging/, which import each other by their names."""
    monkeypatch.syspath_prepend(ROOT / "packaging")
    import contents
    import crates
    import environments
    import native
    import pure
    import running
    import sources
    import suite

    return SimpleNamespace(
        contents=contents,
        crates=crates,
        environments=environments,
        native=native,
        pure=pure,
        running=running,
        sources=sources,
        suite=suite,
    )


def bill(*purls: str) -> str:
    return json.dumps({"bomFormat": "CycloneDX", "components": [{"purl": f"{purl}?x=y"} for purl in purls]})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What an unpacked sdist has of the package."""
    ui = tmp_path / "tree" / "python" / "bsgateway" / "web" / "ui"
    ui.mkdir(parents=True)
    (ui / "package.json").write_text('{"dependencies": {"@observablehq/plot": "0.6.17"}}')
    (ui.parents[1] / "extra.sql").write_text("SELECT 1")
    return tmp_path / "tree"


@pytest.fixture
def files() -> dict[str, str]:
    """A compiled wheel as it should be, but for RECORD."""
    package = [
        *("py.typed", "_core.pyi", "gateway.schema.json", "extra.sql"),
        *("data/prior.safetensors", "data/prior_outcomes.safetensors"),
        *("sql/migrations/0001_routing_tables.sql", "sql/queries/write.sql"),
        *("web/report.html.jinja", "web/assets/index.html", "web/assets/report.js", "web/assets/LICENSES.txt"),
        *("web/assets/app-6SRGO2L6.css", "web/assets/app-BT5ZSZNM.js"),
    ]
    licences = ("LICENSE", "rust/LICENSES-crates.txt", "rust/data/LICENSE-tiktoken")
    return {
        **{f"bsgateway/{name}": "text" for name in package},
        "bsgateway/_core.abi3.so": "\x7fELF",
        f"{INFO}/METADATA": "Name: bsgateway\nVersion: 1.2.3\n"
        + "".join(f"License-File: {name}\n" for name in licences),
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp310-abi3-manylinux_2_17_x86_64\n",
        f"{INFO}/entry_points.txt": "[console_scripts]\nbsgateway=bsgateway.cli:main\n",
        **{f"{INFO}/licenses/{name}": "text" for name in licences},
        f"{INFO}/sboms/bsgateway-core.cdx.json": bill(*CRATES),
        f"{INFO}/sboms/bsgateway-pages.cdx.json": bill("pkg:npm/%40observablehq/plot@0.6.17"),
    }


@pytest.fixture
def write(tmp_path: Path, scripts: Any) -> Callable[..., Path]:
    """Writes a wheel with a right RECORD; `said` takes the place of a file's content in RECORD."""

    def write(files: dict[str, str], name: str = NATIVE, said: dict[str, str] | None = None) -> Path:
        rows = []
        with zipfile.ZipFile(tmp_path / name, "w") as opened:
            for path, text in files.items():
                opened.writestr(path, text)
                rows.append(",".join((path, *scripts.pure.fingerprint((said or {}).get(path, text).encode()))))
            opened.writestr(f"{INFO}/RECORD", "\n".join([*rows, f"{INFO}/RECORD,,"]) + "\n")
        return tmp_path / name

    return write


def test_a_wheel_as_it_should_be_has_no_faults(scripts: Any, files: Any, write: Any, tree: Path) -> None:
    assert scripts.contents.check_wheel(write(files), tree, CRATES, ["/home/builder"]) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"bsgateway/py.typed": None}, r"lacks bsgateway/py\.typed"),
        ({"bsgateway/extra.sql": None}, "lacks bsgateway/extra.sql"),
        ({"bsgateway/web/assets/app-BT5ZSZNM.js": None}, r"lacks bsgateway/web/assets/app-[0-9A-Z]+\.js"),
        ({f"{INFO}/licenses/rust/LICENSES-crates.txt": None}, "lacks the licence rust/LICENSES-crates.txt"),
        ({f"{INFO}/licenses/LICENSE": ""}, "lacks the licence LICENSE"),
        ({f"{INFO}/sboms/bsgateway-core.cdx.json": bill()}, "no bill of materials names pkg:cargo/pyo3@0.30.1"),
        (
            {f"{INFO}/sboms/bsgateway-pages.cdx.json": None},
            "no bill of materials names pkg:npm/%40observablehq/plot@0.6.17",
        ),
        ({"bsgateway/tests/test_x.py": "x"}, "holds bsgateway/tests/test_x.py"),
        ({"bsgateway/web/ui/src/main.tsx": "x"}, "holds bsgateway/web/ui/src/main.tsx"),
        ({".env": "x"}, "holds .env"),
        ({"bsgateway/__pycache__/x.pyc": "x"}, "holds bsgateway/__pycache__/x.pyc"),
        ({"bsgateway/log.py": "# /home/builder/x"}, "bsgateway/log.py names /home/builder"),
        (
            {"bsgateway/_core.abi3.so": None},
            "a compiled wheel for Linux holds bsgateway/_core.abi3.so; this one []",
        ),
        (
            {f"{INFO}/WHEEL": "Root-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\n"},
            "not for CPython 3.10 and later: ['cp311-cp311-linux_x86_64']",
        ),
        ({f"{INFO}/entry_points.txt": "[console_scripts]\n"}, "has no command `bsgateway`"),
    ],
)
def test_faults_of_a_wheel(
    scripts: Any, files: Any, write: Any, tree: Path, change: dict[str, str | None], fault: str
) -> None:
    changed = {name: text for name, text in (files | change).items() if text is not None}

    assert fault in scripts.contents.check_wheel(write(changed), tree, CRATES, ["/home/builder"])


def test_a_file_that_was_changed_after_its_hash_was_taken(scripts: Any, files: Any, write: Any, tree: Path) -> None:
    wheel = write(files, said={"bsgateway/_core.pyi": "another text"})

    assert scripts.contents.check_wheel(wheel, tree, CRATES) == ["RECORD has another hash of bsgateway/_core.pyi"]


def test_a_wheel_that_is_too_big(
    scripts: Any, files: Any, write: Any, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts.contents, "MAX_BYTES", 1000)

    (fault,) = scripts.contents.check_wheel(write(files), tree, CRATES)
    assert fault.endswith("MB; at most 0")


def test_the_pure_wheel_is_the_compiled_one_without_its_module(
    scripts: Any, files: Any, write: Any, tree: Path, tmp_path: Path
) -> None:
    compiled = write(files)
    (tmp_path / "out").mkdir()

    wheel = scripts.pure.derive(compiled, tmp_path / "out")

    assert wheel.name == "bsgateway-1.2.3-py3-none-any.whl"
    assert scripts.contents.metadata(wheel) == scripts.contents.metadata(compiled)
    assert scripts.contents.check_wheel(wheel, tree, CRATES) == []
    with zipfile.ZipFile(wheel) as opened:
        lost = {"bsgateway/_core.abi3.so", f"{INFO}/sboms/bsgateway-core.cdx.json"}
        assert set(opened.namelist()) == {*files, f"{INFO}/RECORD"} - lost
        assert opened.read(f"{INFO}/WHEEL").decode() == (
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )


def test_a_pure_wheel_with_a_compiled_module(scripts: Any, files: Any, write: Any, tree: Path) -> None:
    tags = {f"{INFO}/WHEEL": "Root-Is-Purelib: false\nTag: py3-none-any\n"}

    faults = scripts.contents.check_wheel(write(files | tags, "bsgateway-1.2.3-py3-none-any.whl"), tree, CRATES)

    assert "a pure wheel holds ['bsgateway/_core.abi3.so']" in faults
    assert "a pure wheel has the tags ['py3-none-any'], Root-Is-Purelib: false" in faults


@needs_cargo
def test_the_licences_of_the_crates_are_those_of_the_lock(scripts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert scripts.crates.main(["--check"]) == 0, capsys.readouterr().err


@needs_cargo
def test_which_crates_are_linked_built_with_and_only_tested_with(scripts: Any) -> None:
    found = scripts.crates.metadata(ROOT)
    linked, built, all_ = (
        {crate.name for crate in scripts.crates.reached(found, kinds)}
        for kinds in ({None}, {None, "build"}, {None, "build", "dev"})
    )

    assert {"pyo3", "serde_json", "regex-automata"} <= linked
    assert "pyo3-build-config" in built - linked
    assert "criterion" in all_ - built
    assert "bsgateway-core" not in all_


def test_licences_name_all_owners_of_a_text_once(scripts: Any, tmp_path: Path) -> None:
    def crate(name: str, **texts: str) -> Any:
        folder = tmp_path / name
        folder.mkdir()
        for file, text in texts.items():
            (folder / file).write_text(text)
        return scripts.crates.Crate(name, "1.0.0", "MIT", folder)

    text = scripts.crates.licences(
        [crate("one", LICENSE="Same words  \r\n"), crate("two", COPYING="Same words\n", README="hello"), crate("three")]
    )

    assert text.count("Same words") == 1
    assert "one 1.0.0 (MIT)\ntwo 1.0.0 (MIT)\n\nSame words\n" in text
    assert "as their packages state:\n\nthree 1.0.0 (MIT)\n" in text
    assert "hello" not in text


def test_a_crate_without_a_licence_is_an_error(scripts: Any, tmp_path: Path) -> None:
    with pytest.raises(scripts.crates.CratesError, match=r"closed 1\.0\.0 states no licence"):
        scripts.crates.licences([scripts.crates.Crate("closed", "1.0.0", "", tmp_path)])


def test_pyproject_of_the_sdist_names_what_the_sdist_adds(scripts: Any, tmp_path: Path) -> None:
    copy = tmp_path / "pyproject.toml"
    shutil.copy(ROOT / "pyproject.toml", copy)
    load = scripts.sources.tomllib.loads

    scripts.sources.name_additions(copy)

    before, after = load((ROOT / "pyproject.toml").read_text()), load(copy.read_text())
    added = [part["path"] for part in after["tool"]["maturin"]["include"][:3]]
    assert added == ["vendor/**/*", ".cargo/config.toml", "sboms/*.cdx.json"]
    bills = ["sboms/bsgateway-core.cdx.json", "sboms/bsgateway-pages.cdx.json"]
    assert after["tool"]["maturin"].pop("sbom") == {"rust": False, "include": bills}
    after["tool"]["maturin"]["include"] = after["tool"]["maturin"]["include"][3:]
    assert after == before
    with pytest.raises(scripts.running.BuildError, match=r"not as packaging/sources\.py expects it"):
        scripts.sources.name_additions(copy)


def test_a_compiler_without_the_standard_library_of_a_platform(scripts: Any, tmp_path: Path) -> None:
    compiler = tmp_path / "rustc"
    compiler.write_text(f"#!/bin/sh\necho {tmp_path}/$4\n")
    compiler.chmod(0o755)
    here, there = scripts.native.TARGETS[:2]
    (tmp_path / here.triple).mkdir()
    (tmp_path / here.triple / "libstd-0123.rlib").touch()
    rust = scripts.native.Rust(str(compiler))

    assert rust.lacks(here) == ""
    assert f"`rustup target add {there.triple}`" in rust.lacks(there)
    assert scripts.native.Rust(str(compiler), build_std=True).lacks(there) == ""


def test_environments_find_no_compiler(scripts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rust", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "rust" / "cargo").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}/rust:{tmp_path}/other")

    assert scripts.environments.without_cargo()["PATH"] == f"{tmp_path}/other"


def test_the_suite_wants_one_wheel_of_each_kind(scripts: Any, tmp_path: Path) -> None:
    with pytest.raises(scripts.running.BuildError, match="expected one: run `make wheels`"):
        scripts.suite.wheels(tmp_path)
