"""Versions of the learned model: every model that `bsgateway train` made, kept beside the one in force to choose from.

    models/                                        beside the model file
        20261122T101500Z-73d0a7b2902a.safetensors  a model: when it was made, and its id
        20261122T101500Z-73d0a7b2902a.json         what became of it here, a `Record`; not there: nothing yet
        20261122T101500Z-73d0a7b2902a.md           the report of its training, if there is one
        .lock                                      whoever changes anything holds it

An id is the beginning of the checksum of all that is in the file: one that was changed since is not that version any
more, and is left out. What a file says about itself may be anybody's word, so only its numbers and short names are
passed on. Nothing here needs the packages of the `train` extra.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import filelock
import msgspec

from .. import models
from ..core import core
from ..decision import now
from ..errors import ModelError
from ..moments import parse_moment
from .version_header import Described

log = logging.getLogger(__name__)

KEPT = 20
"""Versions that are kept at most."""
DIRECTORY, LOCK = "models", ".lock"
LOCK_SECONDS = 10.0
MAX_RECORD = 4_096
"""Bytes of a record at most."""

_NAME = re.compile(r"([0-9]{8}T[0-9]{6}Z-([0-9a-f]{12}))\.safetensors")
_STAMP = "%Y%m%dT%H%M%SZ"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a version on this machine. `against`: what ran when it was trained, in words; None if unknown.
    `promoted`: when it was last put in force, or was found to be, RFC 3339; None: never."""

    against: str | None = None
    promoted: str | None = None


class Version(NamedTuple):
    """A kept version whose file is whole. `path` is that of the file."""

    id: str
    path: Path
    described: Described
    record: Record


def versions_path(path: Path) -> Path:
    """The directory of the versions of the model file `path`."""
    return path.parent / DIRECTORY


@contextlib.contextmanager
def changing(path: Path) -> Iterator[Path]:
    """The directory of the versions of `path`, made if it is not there, while nobody else changes it or the model in
    force. Raises ModelError if somebody does for too long, OSError."""
    directory = versions_path(path)
    try:
        directory.mkdir(mode=0o700)
        _hand_over(directory, path.parent.stat())
    except FileExistsError:
        pass
    lock = directory / LOCK
    with contextlib.suppress(FileExistsError):
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _hand_over(lock, directory.stat())
    held = filelock.FileLock(lock, timeout=LOCK_SECONDS, mode=0o600)
    try:
        held.acquire()
    except filelock.Timeout as error:
        raise ModelError(f"another process has been changing {directory} for {LOCK_SECONDS:g} s: try again") from error
    try:
        yield directory
    finally:
        held.release()


def kept(directory: Path) -> Iterator[Version]:
    """The versions in `directory`, the newest first. A file that is none is left out, and logged once."""
    for stem, of_id in _stems(directory)[:KEPT]:
        path = directory / f"{stem}.safetensors"
        if (described := look(path, follow=False)) is None:
            continue
        if described.id != of_id:
            _log_once(path, f"it holds model {described.id}")
            continue
        yield Version(of_id, path, described, _record(path))


def look(path: Path, *, follow: bool = True) -> Described | None:
    """What the model in `path` says about itself; None for no file, or one that would be refused, which is logged once.
    `follow`: symbolic links."""
    try:
        found = path.stat() if follow else path.lstat()
        return _described(path, (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino), follow)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log_once(path, error.strerror or type(error).__name__)
        return None


def read(path: Path, *, follow: bool = True) -> tuple[str, bytes]:
    """Id and bytes of the model in `path`, from one look at it. Raises ModelError for a file that is none, OSError."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ModelError(f"model file {path} refused: it is no file")
        data = file.read(models.MAX_BYTES + 1)
    try:
        return core.LearnedModel(data).id, data
    except ValueError as error:
        raise ModelError(f"model file {path} refused: {error}") from error


def keep(directory: Path, data: bytes, record: Record) -> Path:
    """Keep the model `data`, whose record is `record`, unless it is kept already; its file. Only while `changing`.

    Raises ModelError for a model that would be refused, OSError.
    """
    described = Described.of(data)
    for stem, of_id in _stems(directory):
        if of_id == described.id and look(path := directory / f"{stem}.safetensors", follow=False) == described:
            return path
    path = directory / f"{_stamp(described.created)}-{described.id}.safetensors"
    models.write_whole(path, data, directory.stat())
    write_record(path, record)
    return path


def write_record(path: Path, record: Record) -> None:
    """Put down what became of the version in the file `path`. Raises OSError."""
    models.write_whole(path.with_suffix(".json"), msgspec.json.encode(record), path.stat())


def prune(directory: Path, spared: set[str]) -> None:
    """Remove the oldest versions above `KEPT`, but none of the ids `spared`. Only while `changing`. Raises OSError."""
    stems = _stems(directory)
    surplus = len(stems) - KEPT
    for stem, of_id in reversed(stems):
        if surplus <= 0:
            return
        if of_id not in spared:
            for suffix in (".safetensors", ".json", ".md"):
                (directory / f"{stem}{suffix}").unlink(missing_ok=True)
            surplus -= 1


def _stems(directory: Path) -> list[tuple[str, str]]:
    """Name without suffix, and id, of each file that is called as a version is, the newest first."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(((found[1], found[2]) for name in names if (found := _NAME.fullmatch(name))), reverse=True)


@lru_cache(maxsize=4 * KEPT)
def _described(path: Path, identity: models.Identity, follow: bool) -> Described | None:
    """What the model says that was in `path` when it looked like `identity`."""
    try:
        return Described.of(read(path, follow=follow)[1])
    except ModelError as error:
        log.warning("left out of the versions: %s", error)
        return None


@lru_cache(maxsize=4 * KEPT)
def _log_once(path: Path, trouble: str) -> None:
    log.warning("left out of the versions: %s: %s", path, trouble)


def _record(path: Path) -> Record:
    """That of the version in the file `path`. One that cannot be read says nothing."""
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(path.with_suffix(".json"), flags), "rb") as file:
            return msgspec.json.decode(file.read(MAX_RECORD), type=Record)
    except FileNotFoundError:
        return Record()
    except (OSError, msgspec.DecodeError, UnicodeError) as error:
        _log_once(path.with_suffix(".json"), type(error).__name__)
        return Record()


def _stamp(created: str) -> str:
    try:
        return parse_moment(created, now()).strftime(_STAMP)
    except ValueError:
        return now().strftime(_STAMP)


def _hand_over(path: Path, to: os.stat_result) -> None:
    """Root may train for a gateway that runs as somebody else, who has to get in as well."""
    if os.geteuid() == 0:
        os.chown(path, to.st_uid, to.st_gid, follow_symlinks=False)
