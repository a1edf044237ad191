"""`models.py`: where the model file is, how it gets there, and how a process follows it."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bsgateway import models
from bsgateway.check import check_file, load_config
from bsgateway.config import Config
from bsgateway.core import core
from bsgateway.doctor import OK, WARN, examine
from bsgateway.errors import ModelError
from bsgateway.gateway import Gateway
from bsgateway.models import ModelFile, in_force, install, model_path, previous_path, read, watch
from builders import until
from model_files import model

PRIOR = model(kind="prior", bias=-1.0).to_bytes()
ONE, OTHER = model(bias=1.0, held_out={"apgr": 0.61}).to_bytes(), model(bias=2.0).to_bytes()
BODY = {"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}


def id_of(data: bytes) -> str:
    return core.LearnedModel(data).id


@pytest.fixture(autouse=True)
def _prior(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prior of which the tests know what it says."""
    monkeypatch.setattr(models, "prior_bytes", lambda: PRIOR)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What `models` logs."""
    messages: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(f"{record.levelname} {record.getMessage()}")

    handler = Handler()
    models.log.addHandler(handler)
    with caplog.at_level(logging.INFO, models.log.name):
        yield messages
    models.log.removeHandler(handler)


def config(tmp_path: Path, name: str = "gateway.yaml", **ml: Any) -> Config:
    file = tmp_path / name
    text = {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": f"openai/{name}"}} for name in ("gpt-5-nano", "gpt-5")
        ],
        "routing": {
            "tiers": {
                "easy": {"score_range": [0, 50], "model": "gpt-5-nano"},
                "hard": {"score_range": [51, 100], "model": "gpt-5"},
            },
            "fallback_tier": "hard",
            "aliases": {"auto": "auto_route"},
            "classifier": {"strategy": "ml", "ml": ml},
            "collector": {"enabled": False},
        },
    }
    file.write_text(yaml.safe_dump(text), encoding="utf-8")
    return load_config(file)


class Followed:
    """A `ModelFile`, and the ids of what it has put in force."""

    def __init__(self, path: Path) -> None:
        self.used: list[str] = []
        self.file = ModelFile(path, lambda model: self.used.append(model.id))


def test_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    unset = config(tmp_path)
    assert model_path(unset, Path("state")) == tmp_path / "state" / "model.safetensors"
    monkeypatch.setenv("BSGATEWAY_STATE", "elsewhere")
    assert model_path(unset) == tmp_path / "elsewhere" / "model.safetensors"
    monkeypatch.delenv("BSGATEWAY_STATE")
    assert model_path(unset) == tmp_path / ".bsgateway" / "model.safetensors"
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("MODEL", "from-environment.bin")
    for given, expected in (
        ("models/m.safetensors", tmp_path / "models" / "m.safetensors"),
        ("~/m.safetensors", Path("/home/somebody/m.safetensors")),
        ("os.environ/MODEL", tmp_path / "from-environment.bin"),
    ):
        assert model_path(config(tmp_path, model=given), Path("state")) == expected
    assert previous_path(Path("/a/model.safetensors")) == Path("/a/model.previous.safetensors")


def test_install(path: Path) -> None:
    install(ONE, path)
    assert path.read_bytes() == ONE
    assert not previous_path(path).exists()
    install(OTHER, path)
    assert (path.read_bytes(), previous_path(path).read_bytes()) == (OTHER, ONE)
    install(OTHER, path)
    assert previous_path(path).read_bytes() == ONE, "the same model again is no other one"
    assert sorted(file.name for file in path.parent.iterdir()) == [previous_path(path).name, path.name]


def test_install_refuses_what_the_gateway_would(path: Path) -> None:
    install(ONE, path)
    with pytest.raises(ModelError, match="would be refused: the file is cut short"):
        install(OTHER[:-1], path)
    assert path.read_bytes() == ONE


def test_a_damaged_file_does_not_replace_the_last_good_one(path: Path) -> None:
    install(ONE, path)
    install(OTHER, path)
    path.write_bytes(OTHER[:-1])
    install(PRIOR, path)
    assert (path.read_bytes(), previous_path(path).read_bytes()) == (PRIOR, ONE)


def test_who_may_read_a_model(path: Path) -> None:
    path.parent.chmod(0o755)
    install(ONE, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o600)
    install(OTHER, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    private = path.parent / "private"
    private.mkdir(mode=0o700)
    install(ONE, private / path.name)
    assert stat.S_IMODE((private / path.name).stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_installs_belongs_to_whose_directory_it_is(path: Path) -> None:
    os.chown(path.parent, 65534, 65534)
    install(ONE, path)
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_only_root_may_read_is_not_given_away(path: Path, tmp_path: Path) -> None:
    """Whose directory it is may have put a link there."""
    directory, secret = tmp_path / "theirs", tmp_path / "secret"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    secret.write_bytes(OTHER)
    secret.chmod(0o600)
    there = directory / path.name
    there.symlink_to(secret)
    install(ONE, there)
    kept = previous_path(there).stat()
    assert (kept.st_uid, stat.S_IMODE(kept.st_mode)) == (0, 0o600)
    assert (secret.read_bytes(), there.is_symlink()) == (OTHER, False)
    assert (there.read_bytes(), there.stat().st_uid) == (ONE, 65534)


def test_what_is_no_file_is_closed_again(path: Path) -> None:
    path.mkdir()
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        with pytest.raises(OSError, match="directory"):
            read(path)
    assert len(os.listdir("/dev/fd")) == before


def test_a_write_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(ONE, path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        install(OTHER, path)
    assert path.read_bytes() == ONE
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_read(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(path)
    path.write_bytes(ONE)
    assert read(path).id == id_of(ONE)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ModelError, match="refused: it is no file"):
        read(path)
    with pytest.raises(IsADirectoryError):
        read(path.parent)


def test_in_force(tmp_path: Path) -> None:
    made = config(tmp_path)
    prior, none = in_force(made, tmp_path)
    assert (prior.id, none) == (id_of(PRIOR), None)
    install(ONE, tmp_path / "model.safetensors")
    found, where = in_force(made, tmp_path)
    assert (found.id, where) == (id_of(ONE), tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").symlink_to("model.safetensors")  # root can read whatever its mode is
    with pytest.raises(ModelError, match=r"model.safetensors cannot be read: Too many levels"):
        in_force(made, tmp_path)


def test_it_starts_with_the_file_or_the_prior(path: Path, said: list[str]) -> None:
    assert Followed(path).used == [id_of(PRIOR)]
    assert said == []
    path.write_bytes(ONE)
    followed = Followed(path)
    assert (followed.used, followed.file.taken_up, followed.file.refused) == ([id_of(ONE)], 1, 0)
    assert said == [
        f"INFO model {id_of(ONE)} of {path} scores now: trained, of 1000 rows, 2026-11-22T00:00:00Z, "
        "held-out APGR 0.610"
    ]
    path.write_bytes(ONE[:100])
    assert Followed(path).used == [id_of(PRIOR)]
    assert said[1:] == [
        f"WARNING model file {path} refused: the file is cut short: its header is not all there; the prior of the "
        "package scores"
    ]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "trained, of 1000 rows, 2026-11-22T00:00:00Z"),
        (
            {"held_out": {"apgr": {"value": 0.61, "low": 0.58, "high": 0.64}}},
            "trained, of 1000 rows, 2026-11-22T00:00:00Z, held-out APGR 0.610 (0.580 to 0.640)",
        ),
        (
            {"held_out": {"apgr": "\x1b[31m"}, "created": "now\n" + 100 * "!"},
            rf"trained, of 1000 rows, now\n{36 * '!'}",
        ),
    ],
)
def test_a_line_about_a_model(fields: dict[str, Any], line: str) -> None:
    assert models.described(core.LearnedModel(model(**fields).to_bytes())) == line


def test_without_even_a_prior_the_static_score_remains(
    path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> bytes:
        raise ModelError("the prior is gone")

    monkeypatch.setattr(models, "prior_bytes", gone)
    followed = Followed(path)
    assert (followed.used, followed.file.model) == ([], None)
    assert said == ["ERROR strategy ml has no model, and the static score takes its place: the prior is gone"]


def test_it_follows_the_file(path: Path, said: list[str]) -> None:
    followed = Followed(path)
    install(ONE, path)
    assert followed.file.look()
    assert not followed.file.look()
    install(OTHER, path)
    assert followed.file.look()
    assert followed.used == [id_of(PRIOR), id_of(ONE), id_of(OTHER)]
    os.utime(path)
    followed.file.look()
    assert followed.used[3:] == [], "the same model again"
    path.with_name("copy").write_bytes(ONE)
    path.with_name("copy").replace(path)
    followed.file.look()
    assert followed.used[3:] == [id_of(ONE)]
    assert (followed.file.taken_up, followed.file.refused) == (3, 0)
    assert [line.split()[0] for line in said] == ["INFO"] * 3


def test_a_refused_file_is_said_once_and_leaves_the_model(path: Path, said: list[str]) -> None:
    install(ONE, path)
    followed = Followed(path)
    for data in (OTHER[:-1], PRIOR[:5]):
        path.write_bytes(data)
        before = len(said)
        for _ in range(3):
            assert not followed.file.look()
        assert len(said) == before + 1
        assert said[-1].startswith(f"WARNING model file {path} refused: the file is cut short: ")
        assert said[-1].endswith(f"; model {id_of(ONE)} stays")
    assert (followed.used, followed.file.refused) == ([id_of(ONE)], 2)
    path.unlink()
    install(OTHER, path)
    assert followed.file.look()
    assert followed.used == [id_of(ONE), id_of(OTHER)]


def test_a_file_that_is_written_slowly_is_taken_up_in_the_end(path: Path) -> None:
    followed = Followed(path)
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(ONE), 100_000):
            file.write(ONE[start : start + 100_000])
            followed.file.look()
    followed.file.look()
    assert followed.used == [id_of(PRIOR), id_of(ONE)]
    assert followed.file.refused >= 1


def test_without_its_file_the_model_stays(path: Path, said: list[str]) -> None:
    install(ONE, path)
    followed = Followed(path)
    path.unlink()
    for _ in range(3):
        followed.file.look()
    assert said[1:] == [f"WARNING model file {path} is gone; model {id_of(ONE)} stays until the next start"]
    assert followed.used == [id_of(ONE)]
    install(OTHER, path)
    followed.file.look()
    assert followed.used == [id_of(ONE), id_of(OTHER)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(path: Path, said: list[str]) -> None:
    install(ONE, path)
    path.chmod(0)
    followed = Followed(path)
    followed.file.look()
    assert said == [f"WARNING {path} cannot be read: Permission denied; the prior of the package scores"]
    path.chmod(0o600)
    followed.file.look()
    assert followed.used == [id_of(PRIOR), id_of(ONE)]


def test_a_directory_that_is_none(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "state").write_text("")
    followed = Followed(tmp_path / "state" / "model.safetensors")
    followed.file.look()
    followed.file.look()
    assert len(said) == 1
    assert said[0].endswith("cannot be read: Not a directory; the prior of the package scores")
    assert followed.used == [id_of(PRIOR)]


async def test_watch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "LOOK_SECONDS", 0.01)
    running: list[Followed] = []
    task = asyncio.create_task(watch(lambda: running[-1].file if running else None))
    await asyncio.sleep(0.03)
    running.append(Followed(path))
    install(ONE, path)
    await until(lambda: running[0].used == [id_of(PRIOR), id_of(ONE)])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_watch_outlives_trouble(path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "LOOK_SECONDS", 0.001)
    asked = 0

    def running() -> ModelFile | None:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise RuntimeError("a secret")
        return None

    task = asyncio.create_task(watch(running))
    await until(lambda: asked >= 6)
    task.cancel()
    assert said == ["ERROR looking for another model failed: RuntimeError"]


def test_a_gateway_scores_with_it_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BSGATEWAY_STATE", str(tmp_path))
    gateway = Gateway(config(tmp_path))
    first = gateway.decide(BODY)
    assert (first.strategy, first.scorer_id, first.complexity_score) == ("ml", id_of(PRIOR), 40)
    assert gateway.model_file is not None
    install(OTHER, tmp_path / "model.safetensors")
    assert gateway.decide(BODY).scorer_id == id_of(PRIOR), "nobody has looked"
    gateway.model_file.look()
    second = gateway.decide(BODY)
    assert (second.scorer_id, second.raw_score, second.tier) == (id_of(OTHER), pytest.approx(70), "hard")
    assert [share.signal for share in second.contributions] == ["base"]


def test_a_reload_is_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setenv("BSGATEWAY_STATE", str(tmp_path))
    path = tmp_path / "model.safetensors"
    install(ONE, path)
    former = Gateway(config(tmp_path))
    for damage in (lambda: path.write_bytes(OTHER[:-1]), path.unlink):
        damage()
        gateway = Gateway(config(tmp_path))
        gateway.succeed(former)
        assert gateway.decide(BODY).scorer_id == id_of(ONE)
        former = gateway
    assert former.model_file is not None
    assert (former.model_file.taken_up, former.model_file.refused) == (1, 1)
    install(OTHER, path)
    gateway = Gateway(config(tmp_path))
    gateway.succeed(former)
    assert gateway.decide(BODY).scorer_id == id_of(OTHER)
    elsewhere = Gateway(config(tmp_path, model=str(tmp_path / "other.safetensors")))
    elsewhere.succeed(gateway)
    assert elsewhere.decide(BODY).scorer_id == id_of(PRIOR), "another file is another matter"


def test_check_and_doctor_speak_of_a_refused_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BSGATEWAY_STATE", str(tmp_path))
    file = config(tmp_path).path

    def said() -> tuple[list[str], list[tuple[str, str]]]:
        problems = [problem.render("g") for problem in check_file(file, advised=True)[1] if ".ml" in problem.path]
        return problems, [(f.status, f.found) for f in examine(file, tmp_path, 1) if f.name == "score"]

    path = tmp_path / "model.safetensors"
    problems, [(status, found)] = said()
    assert (problems, status) == ([], OK)
    assert found.startswith(
        f"model {id_of(PRIOR)} (prior, of 1000 rows, 2026-11-22T00:00:00Z): the prior of the package"
    )
    shutil.copy(file, path)
    [problem], [(status, found)] = said()
    refused = f"model file {path} refused: the file is no safetensors file"
    assert "warning: routing.classifier.ml" in problem
    assert refused in problem
    assert (status, found[: len(refused)]) == (WARN, refused)
    path.unlink()
    install(ONE, path)
    problems, [(status, found)] = said()
    assert (problems, status) == ([], OK)
    assert found == f"model {id_of(ONE)} (trained, of 1000 rows, 2026-11-22T00:00:00Z, held-out APGR 0.610): {path}"
