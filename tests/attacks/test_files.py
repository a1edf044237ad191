"""Whoever shares the machine: links and files that wait where the gateway will write, names that are paths, and who may
read what it has written."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner

from bsgateway.cli import main
from bsgateway.config import Config
from bsgateway.errors import ExportError, GatewayError, ModelError
from bsgateway.export_files import destination
from bsgateway.learn.promotion import promote
from bsgateway.log.spool import Spool, SpoolForbidden
from bsgateway.private import write_private
from bsgateway.server import Options, Site, prepared, ready_line

from .conftest import REFERENCE

PRECIOUS = "precious"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file that nobody may touch."""
    path = tmp_path / "precious"
    path.write_text(PRECIOUS)
    return path


@pytest.fixture(autouse=True)
def unharmed(precious: Path) -> object:
    """After each attack it is as it was."""
    yield
    assert precious.read_text() == PRECIOUS


@pytest.mark.parametrize("name", ["spool-0.sqlite", "spool-0.sqlite-wal"])
def test_the_spool_follows_no_link(tmp_path: Path, precious: Path, name: str) -> None:
    directory = tmp_path / "spool"
    directory.mkdir()
    (directory / name).symlink_to(precious)
    spool = Spool.claim(directory)
    try:
        spool.append(1, b"words", 10, 1_000)
        assert not spool.path.is_symlink()
        assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    finally:
        spool.close()


def test_a_lock_that_is_a_link_empties_no_file(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    directory.mkdir()
    (directory / "spool-0.lock").symlink_to(tmp_path / "precious")  # `unharmed` looks at it
    with pytest.raises(SpoolForbidden, match="symbolic links"):
        Spool.claim(directory)


def test_the_spool_makes_and_changes_nothing_elsewhere(tmp_path: Path) -> None:
    """A link to nothing would have it make a file; one to another program's database would add tables to that."""
    directory, other = tmp_path / "spool", tmp_path / "other.sqlite"
    directory.mkdir()
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    before = other.read_bytes()
    (directory / "spool-0.sqlite").symlink_to(other)
    (directory / "spool-1.sqlite").symlink_to(tmp_path / "new")
    for number in range(2):
        with pytest.raises(SpoolForbidden):
            Spool.try_open(directory / f"spool-{number}.sqlite")
    Spool.claim(directory).close()
    assert other.read_bytes() == before
    assert not (tmp_path / "new").exists()


def test_a_private_file_is_never_one_that_was_there(tmp_path: Path, precious: Path) -> None:
    """Neither through a link, nor into a file of somebody else whose name could be guessed."""
    target = tmp_path / "master_key"
    target.symlink_to(precious)
    waiting = tmp_path / f".master_key.{os.getpid()}"
    waiting.write_text("")
    waiting.chmod(0o666)
    write_private(target, "sk-secret")
    assert not target.is_symlink()
    assert target.read_text() == "sk-secret"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert waiting.read_text() == ""
    assert target.stat().st_ino != waiting.stat().st_ino


def test_a_private_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    directory.mkdir()
    (directory / "name").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_private(directory / "name", "sk-secret")
    assert [path.name for path in directory.iterdir()] == ["name"]


def test_an_export_replaces_nothing_unasked(tmp_path: Path, precious: Path) -> None:
    link = tmp_path / "export.jsonl"
    link.symlink_to(precious)
    for path in (precious, link, tmp_path / "sub" / ".." / "precious"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        with pytest.raises(ExportError, match="there already"), destination(path, force=False):
            raise AssertionError("it was opened")
    with destination(tmp_path / "new.jsonl", force=False) as file:
        file.write(b"words")
    assert stat.S_IMODE((tmp_path / "new.jsonl").stat().st_mode) == 0o600
    for path in (Path("/dev/null"), tmp_path):
        with pytest.raises(ExportError, match="not a file"), destination(path, force=True):
            raise AssertionError("it was opened")


TRAVERSALS = (
    "../../precious",
    "/etc/passwd",
    "..",
    ".",
    "",
    "%2e%2e%2fprecious",
    "..\\precious",
    "\x00",
    "a\nb",
    "*",
    "\x1b[2J",
)


@pytest.mark.parametrize("wanted", TRAVERSALS, ids=ascii)
def test_a_version_is_no_path(tmp_path: Path, wanted: str) -> None:
    from bsgateway.check import load_config

    config: Config = load_config(REFERENCE)
    with pytest.raises(ModelError) as caught:
        promote(config, tmp_path, wanted, force=True)
    assert str(caught.value).isprintable()
    result = CliRunner().invoke(
        main, ["models", "promote", "--force", "-c", str(REFERENCE), "--state", str(tmp_path), "--", wanted]
    )
    assert result.exit_code != 0
    assert "\x1b" not in result.output
    assert not (tmp_path / "model.safetensors").exists()


def test_a_state_directory_that_everybody_may_write_to_is_told(tmp_path: Path) -> None:
    state, said = tmp_path / "state", list[str]()
    state.mkdir()
    state.chmod(0o777)
    config = tmp_path / "gateway.yaml"
    config.write_text(
        "model_list: [{model_name: m, litellm_params: {model: openai/x, api_key: none, api_base: 'http://127.0.0.1:9'}}]\n"
        "routing: {tiers: {only: {score_range: [0, 100], model: m}}, fallback_tier: only, collector: {enabled: false}}\n"
    )
    with mock.patch.dict(os.environ), prepared(Options(config, state, port=49_999), said.append):
        assert [line for line in said if "everybody on this machine may write to" in line]
        for name in ("litellm.yaml", "started.yaml", "master_key"):
            assert stat.S_IMODE((state / name).stat().st_mode) == 0o600


def test_a_key_that_the_operator_gave_is_not_printed(tmp_path: Path) -> None:
    from bsgateway.check import load_config

    config, key = load_config(REFERENCE), "sk-given-1f3a"
    for given in (True, False):
        line = ready_line(Site(Options(REFERENCE, tmp_path), config, (), key, tmp_path, given))
        assert (key in line) is not given
        assert ("$LITELLM_MASTER_KEY" in line) is given


def test_a_state_directory_that_is_none_is_said(tmp_path: Path, precious: Path) -> None:
    with pytest.raises(GatewayError), prepared(Options(REFERENCE, precious, port=49_999), lambda _: None):
        raise AssertionError("it was prepared")
