"""`learn/versions.py` and `learn/promotion.py`: which models are kept, and putting one of them in force."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest

from bsgateway.config import Config
from bsgateway.core import core
from bsgateway.errors import ModelError, NotBetterError, UnknownModelError
from bsgateway.learn import promotion, version_header, versions
from bsgateway.learn.promotion import accept, list_versions, promote
from bsgateway.learn.version_header import Described
from bsgateway.learn.versions import KEPT, LOCK, Record, changing, keep, kept, versions_path
from bsgateway.models import ModelFile, install, previous_path, prior_bytes
from model_files import altered, described, model

BETTER = {"apgr": {"value": 0.7, "low": 0.6, "high": 0.8}, "better": True}
WORSE = {"apgr": {"value": 0.5, "low": 0.4, "high": 0.6}, "better": False}
PRIOR = core.LearnedModel(prior_bytes()).id


def made(day: int, **held_out: Any) -> bytes:
    """The model that was trained on a day."""
    return model(bias=day / 10, created=f"2026-10-{day:02}T12:00:00+00:00", held_out=held_out).to_bytes()


def id_of(data: bytes) -> str:
    return core.LearnedModel(data).id


ONE, TWO, BAD = made(1, **BETTER), made(2, **BETTER), made(3, **WORSE)


@pytest.fixture
def config(make_config: Callable[..., Config]) -> Config:
    return make_config(classifier={"strategy": "ml"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What is logged. Nothing is remembered of other tests, which had other files."""
    versions._described.cache_clear()
    versions._log_once.cache_clear()
    messages: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler = Handler()
    for logger in (versions.log, promotion.log):
        logger.addHandler(handler)
    with caplog.at_level(logging.INFO, "bsgateway.learn"):
        yield messages
    for logger in (versions.log, promotion.log):
        logger.removeHandler(handler)


def states(config: Config, state: Path) -> dict[str, str]:
    return {version.id: version.state for version in list_versions(config, state)}


def put_in(directory: Path, data: bytes) -> Path:
    """A kept version, as training leaves it."""
    with changing(directory / "model.safetensors") as into:
        return keep(into, data, Record())


# What is kept


def test_without_any_model_there_is_the_prior(config: Config, tmp_path: Path) -> None:
    (prior,) = list_versions(config, tmp_path)
    assert (prior.id, prior.state, prior.kind, prior.better) == (PRIOR, "in_force", "prior", None)
    assert prior.rows > 10_000
    assert all(0.0 < each.low < each.value < each.high < 1.0 for each in prior.held_out if each.low and each.high)
    assert len(prior.held_out) > 3
    assert not (tmp_path / "models").exists(), "to look changes nothing"


def test_what_was_trained_is_kept_whether_promoted_or_not(config: Config, path: Path) -> None:
    accept(path, ONE, "the shipped prior", promoted=True)
    accept(path, TWO, "the model before", promoted=True)
    accept(path, BAD, "the model before", promoted=False)
    assert path.read_bytes() == TWO
    directory = versions_path(path)
    names = sorted(file.name for file in directory.glob("*.safetensors"))
    assert names == [f"2026100{day}T120000Z-{id_of(data)}.safetensors" for day, data in enumerate((ONE, TWO, BAD), 1)]
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert states(config, path.parent) == {
        id_of(TWO): "in_force", id_of(ONE): "previous", id_of(BAD): "candidate", PRIOR: "prior",
    }  # fmt: skip
    assert [version.record.against for version in kept(directory)] == ["the model before"] * 2 + ["the shipped prior"]
    assert [version.record.promoted is None for version in kept(directory)] == [True, False, False]


def test_a_version_says_what_was_measured(config: Config, tmp_path: Path) -> None:
    curve = [[place / 20, place / 40] for place in range(21)]
    held_out = {
        **BETTER,
        "difference": {"value": 0.1, "low": 0.05, "high": 0.2},
        "others": {"now": {"value": 0.6, "low": 0.5, "high": 0.7}},
        "curve": curve,
        "random_curve": [[0, 0.2], [1, 0.5]],
    }
    data = model(held_out=held_out, labels={"rating": 3}).to_bytes()
    put_in(tmp_path, data)
    (found,) = [version for version in list_versions(config, tmp_path) if version.id == id_of(data)]
    assert {each.name: (each.value, each.low, each.high) for each in found.held_out} == {
        "apgr": (0.7, 0.6, 0.8), "difference": (0.1, 0.05, 0.2), "now": (0.6, 0.5, 0.7),
    }  # fmt: skip
    assert (found.state, found.better, found.rows, found.labels) == ("candidate", True, 1000, {"rating": 3})
    assert [list(point) for point in found.curve] == curve
    assert found.random_curve == ((0.0, 0.2), (1.0, 0.5))


def test_the_oldest_go_but_not_those_that_score(config: Config, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "KEPT", 4)
    accept(path, ONE, "", promoted=True)
    accept(path, TWO, "", promoted=True)
    others = [made(day) for day in range(4, 10)]
    for data in others:
        accept(path, data, "", promoted=False, report="# A report\n")
    left = {version.id for version in kept(versions_path(path))}
    assert left == {id_of(data) for data in (ONE, TWO, *others[-2:])}
    assert len(list(versions_path(path).glob("*.json"))) == 4
    assert len(list(versions_path(path).glob("*.md"))) == 2
    assert KEPT == 20


def test_an_old_model_that_was_just_trained_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "KEPT", 2)
    for data in (made(8), made(9), ONE):  # of a machine whose clock is behind
        accept(path, data, "", promoted=False)
    assert {version.id for version in kept(versions_path(path))} == {id_of(made(9)), id_of(ONE)}


def test_the_same_model_is_kept_once(tmp_path: Path) -> None:
    assert put_in(tmp_path, ONE) == put_in(tmp_path, ONE)
    assert len(list(kept(tmp_path / "models"))) == 1


def test_a_damaged_version_is_kept_anew(tmp_path: Path) -> None:
    put_in(tmp_path, ONE).write_bytes(b"damaged")
    put_in(tmp_path, ONE)
    assert [version.id for version in kept(tmp_path / "models")] == [id_of(ONE)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands files over")
def test_what_root_trains_belongs_to_whom_the_directory_does(path: Path) -> None:
    os.chown(path.parent, 4_321, 4_321)
    accept(path, ONE, "", promoted=True)
    found = [path, versions_path(path), *versions_path(path).iterdir()]
    assert len(found) == 5
    assert {(each.stat().st_uid, each.stat().st_gid) for each in found} == {(4_321, 4_321)}


# Promotion


def test_a_version_is_put_in_force_and_taken_back(config: Config, path: Path, said: list[str]) -> None:
    accept(path, ONE, "", promoted=True)
    accept(path, TWO, "", promoted=False)
    scoring: list[str] = []
    worker = ModelFile(path, lambda model: scoring.append(model.id))
    done = promote(config, path.parent, id_of(TWO))
    assert (done.id, done.before) == (id_of(TWO), id_of(ONE))
    assert worker.look()
    assert states(config, path.parent) == {id_of(TWO): "in_force", id_of(ONE): "previous", PRIOR: "prior"}
    back = promote(config, path.parent, "previous")
    assert (back.id, back.before) == (id_of(ONE), id_of(TWO))
    assert worker.look()
    assert states(config, path.parent) == {id_of(ONE): "in_force", id_of(TWO): "previous", PRIOR: "prior"}
    assert scoring == [id_of(ONE), id_of(TWO), id_of(ONE)]
    assert said == [
        f"model {id_of(ONE)} put in force in place of {PRIOR}",
        f"model {id_of(TWO)} put in force in place of {id_of(ONE)}",
        f"model {id_of(ONE)} put in force in place of {id_of(TWO)}",
    ]


@pytest.mark.parametrize("data", [BAD, made(4), made(4, better="yes"), made(4, better=1)])
def test_what_is_not_better_takes_force(config: Config, path: Path, data: bytes) -> None:
    accept(path, ONE, "the static score", promoted=True)
    accept(path, data, "model `x`\x1b[2J", promoted=False)
    with pytest.raises(NotBetterError, match=r"better than model `x`\\x1b\[2J, which ran then: .* --force"):
        promote(config, path.parent, id_of(data))
    assert path.read_bytes() == ONE
    assert promote(config, path.parent, id_of(data), force=True).before == id_of(ONE)
    assert path.read_bytes() == data


def test_the_page_beside_the_model_in_force_is_about_it(config: Config, path: Path) -> None:
    accept(path, ONE, "", promoted=True, report="# Of one\n")
    path.with_suffix(".md").write_text("# Of one\n")  # as training does
    accept(path, TWO, "", promoted=False, report="# Of two\n")
    promote(config, path.parent, id_of(TWO))
    said, _, page = path.with_suffix(".md").read_text().partition("\n\n")
    assert said.startswith("Put in force by hand, 20")
    assert page == "# Of two\n"
    assert stat.S_IMODE(path.with_suffix(".md").stat().st_mode) == 0o600
    promote(config, path.parent, "prior")
    assert not path.with_suffix(".md").exists(), "there is none of the prior"


def test_a_model_that_was_in_force_once_is_older(config: Config, path: Path) -> None:
    accept(path, ONE, "", promoted=True)
    for data in (TWO, BAD):
        accept(path, data, "", promoted=False)
        promote(config, path.parent, id_of(data), force=True)
    assert states(config, path.parent)[id_of(ONE)] == "older"
    assert promote(config, path.parent, id_of(ONE)).id == id_of(ONE), "it was better than what ran once"


def test_back_to_the_prior(config: Config, path: Path) -> None:
    accept(path, ONE, "", promoted=True)
    assert states(config, path.parent) == {id_of(ONE): "in_force", PRIOR: "previous"}
    assert promote(config, path.parent, "previous").id == PRIOR
    assert path.read_bytes() == prior_bytes()
    assert states(config, path.parent) == {PRIOR: "in_force", id_of(ONE): "previous"}
    assert promote(config, path.parent, "previous").id == id_of(ONE)
    assert promote(config, path.parent, "prior").before == id_of(ONE)
    assert promote(config, path.parent, PRIOR).before == PRIOR


def test_there_may_be_nothing_to_go_back_to(config: Config, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="nothing to go back to"):
        promote(config, tmp_path, "previous")


def test_a_model_that_somebody_copied_there_is_not_lost(config: Config, path: Path) -> None:
    install(BAD, path)
    accept(path, ONE, "", promoted=True)
    accept(path, TWO, "", promoted=True)
    assert states(config, path.parent)[id_of(BAD)] == "older"
    assert promote(config, path.parent, id_of(BAD), force=True).before == id_of(TWO)


def test_the_model_before_needs_no_place_among_the_kept(config: Config, path: Path) -> None:
    install(BAD, path)
    install(ONE, path)
    assert states(config, path.parent) == {id_of(ONE): "in_force", id_of(BAD): "previous", PRIOR: "prior"}
    assert promote(config, path.parent, id_of(BAD)).before == id_of(ONE)


def test_a_file_that_is_refused_is_replaced(config: Config, path: Path) -> None:
    path.write_bytes(b"no model")
    put_in(path.parent, ONE)
    assert states(config, path.parent) == {id_of(ONE): "candidate", PRIOR: "previous"}
    assert promote(config, path.parent, id_of(ONE)).before is None
    assert path.read_bytes() == ONE
    assert not previous_path(path).exists()


def test_a_model_elsewhere_has_its_versions_there(make_config: Callable[..., Config], tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    config = make_config(classifier={"strategy": "ml", "ml": {"model": str(tmp_path / "own" / "mine.safetensors")}})
    accept(tmp_path / "own" / "mine.safetensors", ONE, "", promoted=False)
    assert promote(config, tmp_path / "state", id_of(ONE)).id == id_of(ONE)
    assert (tmp_path / "own" / "mine.safetensors").read_bytes() == ONE
    assert not (tmp_path / "state").exists()


# Attacks


@pytest.mark.parametrize(
    "wanted",
    ["", ".", "..", "../model", "../../etc/passwd", "/etc/passwd", "\0", "a" * 5_000, "73D0A7B2902A", "0" * 12,
     f"20261001T120000Z-{id_of(ONE)}", f"{id_of(ONE)}.safetensors", f"{id_of(ONE)}\n", "*", "\x1b[2J"],
)  # fmt: skip
def test_an_id_is_no_path(config: Config, path: Path, wanted: str) -> None:
    accept(path, ONE, "", promoted=False)
    with pytest.raises(UnknownModelError) as caught:
        promote(config, path.parent, wanted, force=True)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()
    assert not path.exists()


def test_a_link_is_no_version(config: Config, path: Path, tmp_path: Path, said: list[str]) -> None:
    directory = versions_path(path)
    accept(path, ONE, "", promoted=False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(TWO)
    (directory / f"20261002T120000Z-{id_of(TWO)}.safetensors").symlink_to(elsewhere)
    for _ in range(2):
        assert set(states(config, tmp_path)) == {id_of(ONE), PRIOR}
    with pytest.raises(UnknownModelError):
        promote(config, tmp_path, id_of(TWO), force=True)
    assert len(said) == 1, "said once"


def test_nothing_is_written_through_a_link(path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    directory = versions_path(path)
    directory.mkdir()
    name = f"20261001T120000Z-{id_of(ONE)}"
    for file in (f"{name}.safetensors", f"{name}.json"):
        (directory / file).symlink_to(precious)
    accept(path, ONE, "", promoted=True)
    assert precious.read_text() == "precious"
    assert (directory / f"{name}.safetensors").read_bytes() == ONE
    (directory / LOCK).unlink()
    (directory / LOCK).symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        accept(path, TWO, "", promoted=True)
    assert precious.read_text() == "precious"


def too_large(file: Path) -> None:
    with file.open("ab") as grown:
        grown.truncate(1 << 40)


def swapped(file: Path) -> None:
    file.write_bytes(TWO)


def changed(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)


def resealed(file: Path) -> None:
    """By somebody who knows the format: it is another model then."""
    file.write_bytes(described(file.read_bytes(), held_out={"better": True}))


def piped(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def gone(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("tamper", [too_large, swapped, changed, resealed, piped, a_directory, gone])
def test_what_was_tampered_with_is_not_promoted(
    config: Config, path: Path, said: list[str], tamper: Callable[[Path], None]
) -> None:
    accept(path, TWO, "", promoted=False)
    file = put_in(path.parent, BAD)
    assert id_of(BAD) in states(config, path.parent)
    tamper(file)
    with pytest.raises(UnknownModelError):
        promote(config, path.parent, id_of(BAD), force=True)
    assert not path.exists()
    assert set(states(config, path.parent)) == {id_of(TWO), PRIOR}
    assert len(said) == (tamper is not gone)
    if file.is_dir():
        shutil.rmtree(file)


def test_what_is_swapped_after_it_was_found_is_not_promoted(
    config: Config, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the directory and the reading of the bytes that are installed."""
    file = put_in(path.parent, ONE)
    really = promotion.kept

    def then_swapped(directory: Path) -> Iterator[versions.Version]:
        for version in really(directory):
            file.write_bytes(TWO)
            yield version

    monkeypatch.setattr(promotion, "kept", then_swapped)
    with pytest.raises(ModelError, match=f"was changed: it holds model {id_of(TWO)} now, not {id_of(ONE)}"):
        promote(config, path.parent, id_of(ONE), force=True)
    assert not path.exists()


HOSTILE: list[dict[str, Any]] = [
    {"held_out": []},
    {"held_out": {"apgr": "<script>", "difference": [1], "others": "x", "better": [], "curve": "x"}},
    {"held_out": {"apgr": {"value": "0.7"}, "curve": [[0, 2]], "random_curve": [[0, 0, 0]]}},
    {"held_out": {"others": {f"{'<b>' * 100}{place}": 0.5 for place in range(1_000)}, "curve": [[0.5, 0.5]] * 5_000}},
    {"held_out": {"apgr": {"\x1b[31m": 0.5, "a\nb": {"value": True}}}},
    {"labels": {f"{place}\n\x1b" * 30: place for place in range(1_000)}},
    {"labels": {"rating": "many"}},
    {"labels": None, "rows": "all", "created": 7, "surprise": {"html": "<img src=x onerror=alert(1)>"}},
    {"rows": 10**30, "created": "\x1b]0;" + "x" * 10_000},
    {"created": "../../../../tmp/x"},
    {"created": "9999-12-31T23:59:59-23:59"},
]


@pytest.mark.parametrize("fields", HOSTILE)
def test_a_hostile_description_shows_typed_and_short_fields_only(
    config: Config, tmp_path: Path, fields: dict[str, Any]
) -> None:
    data = described(ONE, **fields)
    file = put_in(tmp_path, data)
    assert file.parent == tmp_path / "models"
    assert set(states(config, tmp_path)) == {id_of(data), PRIOR}
    found = Described.of(data)
    texts = [found.created, found.kind, *found.labels, *(each.name for each in found.held_out)]
    assert all(text.isprintable() and len(text) <= 10 * version_header.MAX_NAME for text in texts)
    assert len(found.labels) <= version_header.MAX_NAMES
    assert len(found.held_out) <= version_header.MAX_NAMES
    assert all(type(each.value) is float for each in found.held_out)
    assert all(0.0 <= number <= 1.0 for point in found.curve + found.random_curve for number in point)
    assert len(found.curve) <= version_header.MAX_POINTS
    assert found.better in (True, None)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"promoted": 7}', b"\xff", b" " * 100_000])
def test_a_damaged_record_says_nothing(config: Config, path: Path, text: bytes, said: list[str]) -> None:
    put_in(path.parent, ONE).with_suffix(".json").write_bytes(text)
    for _ in range(2):
        assert states(config, path.parent)[id_of(ONE)] == "candidate"
    assert len(said) == 1
    assert promote(config, path.parent, id_of(ONE)).id == id_of(ONE)


def test_other_files_are_nobodys_versions(config: Config, path: Path) -> None:
    put_in(path.parent, ONE)
    for name in ("notes.txt", "x.safetensors", f"20261001T120000Z-{id_of(ONE)}.safetensors.bak", ".safetensors"):
        (versions_path(path) / name).write_bytes(altered(TWO, lambda head, body: None))
    assert set(states(config, path.parent)) == {id_of(ONE), PRIOR}


# Several at once


def test_one_at_a_time(config: Config, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(path.parent, ONE)
    monkeypatch.setattr(versions, "LOCK_SECONDS", 0.05)
    with (
        filelock.FileLock(versions_path(path) / LOCK),
        pytest.raises(ModelError, match=r"another process .* try again"),
    ):
        promote(config, path.parent, id_of(ONE))
    assert promote(config, path.parent, id_of(ONE)).id == id_of(ONE)


def test_promotions_at_once_leave_one_model_in_force_and_the_one_before(config: Config, path: Path) -> None:
    data = [made(day, **BETTER) for day in range(1, 7)]
    for each in data:
        accept(path, each, "", promoted=False)
    done: list[tuple[str, str | None]] = []

    def run(wanted: str) -> None:
        found = promote(config, path.parent, wanted)
        done.append((found.id, found.before))

    threads = [threading.Thread(target=run, args=(id_of(each),)) for each in data]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == len(data)
    before = {former: now for now, former in done}
    chain = [PRIOR]
    while chain[-1] in before:  # each took the place of the one before it
        chain.append(before[chain[-1]])
    assert len(chain) == 1 + len(data)
    found = states(config, path.parent)
    assert [found[each] for each in chain[-2:]] == ["previous", "in_force"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written(config: Config, path: Path) -> None:
    put_in(path.parent, ONE)
    path.parent.chmod(0o500)
    with pytest.raises(ModelError, match="cannot put another model in force"):
        promote(config, path.parent, id_of(ONE))


def test_to_look_again_reads_no_file_again(config: Config, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 6):
        accept(path, made(day), "", promoted=False)
    first = list_versions(config, path.parent)
    monkeypatch.setattr(versions, "read", lambda *_, **__: pytest.fail("it was read again"))
    started = time.perf_counter()
    assert list_versions(config, path.parent) == first
    assert time.perf_counter() - started < 5
