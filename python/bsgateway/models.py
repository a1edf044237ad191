"""The file of the learned model: where it is, how it gets there, and how each worker follows it.

A file is taken up whole or not at all. One that is refused (missing numbers, another checksum, another version) is
logged once and counted, and the model in force stays. So it does when the file disappears: what scores changes when
somebody puts another model there, or at the next start, when the prior that comes with the package takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import stat
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from .config import DEFAULT_STATE, STATE_VARIABLE, Config, resolve_env
from .core import core
from .errors import ModelError
from .model_header import ModelHeader
from .telemetry.events import event
from .terminal import printable

log = logging.getLogger(__name__)

MODEL = "model.safetensors"
"""The model in force, in the state directory unless the config names another file."""
PRIOR, OUTCOMES = "prior.safetensors", "prior_outcomes.safetensors"
"""The files of the package: the prior, and the prior without the requests that were judged, for training."""
MAX_BYTES = 8 << 20
"""Larger files are not read: the core would refuse them."""
MAX_CREATED = 40
"""Characters of the date in a model file that are shown."""
LOOK_SECONDS = 2.0
"""How often a worker looks whether there is another file."""

Identity = tuple[int, ...]


def model_path(config: Config, state: Path | None = None) -> Path:
    """The model file of a gateway whose state directory is `state` (unset: the one that this process was told): an
    absolute path, where a relative one is meant from the working directory."""
    if (given := resolve_env(config.routing.classifier.ml.model)) is not None:
        return Path(os.path.expanduser(given)).absolute()
    return ((state or Path(os.environ.get(STATE_VARIABLE) or DEFAULT_STATE)) / MODEL).absolute()


def prior_bytes(name: str = PRIOR) -> bytes:
    """The file of the prior, the model that comes with the package, or another of its files. Raises ModelError if it
    is not there."""
    try:
        return files("bsgateway").joinpath("data").joinpath(name).read_bytes()
    except OSError as error:
        raise ModelError(
            f"the prior that belongs to BSGateway cannot be read ({error.strerror}): install it again"
        ) from error


def read(path: Path) -> core.LearnedModel:
    """The model in `path`. Raises ModelError with the reason for a file that cannot be used; FileNotFoundError without
    one."""
    return _read(path)[0]


def install(data: bytes, path: Path) -> None:
    """Put a model in force: all workers that follow `path` take it up. The one before is kept beside it, as
    `previous_path` says, unless it would be refused: then the last good one stays there.

    Whoever reads `path` meanwhile finds the old file or the new one, and so does the next start after a crash. Raises
    ModelError for a model that would be refused, OSError if it cannot be written.
    """
    try:
        core.LearnedModel(data)
    except ValueError as error:
        raise ModelError(f"this model would be refused: {error}") from error
    if path.exists():
        with open(path, "rb", opener=_without_waiting) as file:
            former, whose = file.read(), os.fstat(file.fileno())
        if former == data:
            return
        if _can_serve(former):
            # As it was: whoever may not read what `path` leads to may not read it from here either.
            write_whole(previous_path(path), former, whose)
    write_whole(path, data, _like(path))


def _can_serve(data: bytes) -> bool:
    try:
        core.LearnedModel(data)
    except ValueError:
        return False
    return True


def previous_path(path: Path) -> Path:
    """Where `install` keeps what was in `path`: beside `model.safetensors` it is `model.previous.safetensors`."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def in_force(config: Config, state: Path | None = None) -> tuple[core.LearnedModel, Path | None]:
    """The model that a gateway with this config would start with, and its file; None: it is the prior. Raises
    ModelError for a file that would be refused or cannot be read."""
    path = model_path(config, state)
    try:
        return read(path), path
    except FileNotFoundError:
        return core.LearnedModel(prior_bytes()), None
    except OSError as error:
        raise ModelError(f"model file {path} cannot be read: {error.strerror or error}") from error


class ModelFile:
    """Follows the file `path` for one process. `model` is in force: None only if even the prior cannot be read.

    `taken_up` counts the models that came from the file, `refused` files that could not be used. `use` is called with
    each model before it counts as the one in force; `look` on any one thread.
    """

    def __init__(self, path: Path, use: Callable[[core.LearnedModel], None]) -> None:
        self.path = path
        self.model: core.LearnedModel | None = None
        self.taken_up = 0
        self.refused = 0
        self._use = use
        self._seen: Identity | None = None
        self._trouble = ""
        if not self.look():
            self._start_with_prior()

    def follow(self, former: ModelFile) -> None:
        """Take over what `former` has come to. A reload is no start: where the file is refused or gone, what has been
        in force stays."""
        if former.path != self.path:
            return
        if not self.taken_up and former.model is not None:
            self._take(former.model)
        self.taken_up += former.taken_up
        self.refused += former.refused

    def look(self) -> bool:
        """Take up the file if it is another one than at the last look; whether it was taken up. Reads files: not on
        the event loop. Does not raise."""
        try:
            if (identity := _identity(self.path.stat())) == self._seen:
                return False
            self._seen = identity  # before it is read: what is written meanwhile is seen at the next look
            model, self._seen = _read(self.path)
        except FileNotFoundError:
            if self._seen is not None and self.model is not None:
                log.warning(
                    "model file %s is gone; model %s stays until the next start", self.path, self.model.id,
                    extra=event("model_gone", file=self.path, model=self.model.id),
                )  # fmt: skip
            self._seen, self._trouble = None, ""
            return False
        except (ModelError, OSError) as error:
            self._refuse(error)
            return False
        self._trouble = ""
        if self.model is None or model.id != self.model.id:
            self._take(model)
            self.taken_up += 1
            log.info(
                "model %s of %s scores now: %s", model.id, self.path, described(model),
                extra=event("model_taken_up", model=model.id, kind=model.kind, file=self.path),
            )  # fmt: skip
        return True

    def _take(self, model: core.LearnedModel) -> None:
        self._use(model)
        self.model = model

    def _refuse(self, error: ModelError | OSError) -> None:
        trouble = str(error) if isinstance(error, ModelError) else f"{self.path} cannot be read: {error.strerror}"
        if trouble == self._trouble and isinstance(error, OSError):
            return  # said once, not every two seconds
        self._trouble = trouble
        self.refused += 1
        stays = f"model {self.model.id} stays" if self.model is not None else "the prior of the package scores"
        model = None if self.model is None else self.model.id
        log.warning("%s; %s", trouble, stays, extra=event("model_refused", file=self.path, model=model))

    def _start_with_prior(self) -> None:
        try:
            self._take(core.LearnedModel(prior_bytes()))
        except (ModelError, ValueError) as error:
            log.error("strategy ml has no model, and the static score takes its place: %s", error)


async def watch(running: Callable[[], ModelFile | None]) -> None:
    """Follow the model file of the configuration that runs. Until it is cancelled."""
    trouble = ""
    while True:
        try:
            if (model_file := running()) is not None:
                await asyncio.to_thread(model_file.look)
            trouble = ""
        except Exception as error:
            if trouble != type(error).__name__:
                trouble = type(error).__name__
                log.error("looking for another model failed: %s", trouble)
        await asyncio.sleep(LOOK_SECONDS)


def described(model: core.LearnedModel) -> str:
    """One line about a model."""
    try:
        header = ModelHeader.of(model)
    except ModelError as error:
        return str(error)
    created = printable(header.created[:MAX_CREATED])
    return f"{header.kind}, of {header.rows} rows, {created}{_held_out(header.held_out.get('apgr'))}"


def _held_out(apgr: Any) -> str:
    """An estimate, with its interval if it has one. Nothing but numbers: the file may be anybody's."""
    found = [apgr.get(name) for name in ("value", "low", "high")] if isinstance(apgr, dict) else [apgr]
    if not all(isinstance(number, (int, float)) for number in found):
        return ""
    value, *interval = (f"{number:.3f}" for number in found)
    return f", held-out APGR {value}" + (f" ({' to '.join(interval)})" if interval else "")


def _read(path: Path) -> tuple[core.LearnedModel, Identity]:
    """The model, and what its file looked like before it was read."""
    with open(path, "rb", opener=_without_waiting) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ModelError(f"model file {path} refused: it is no file")
        data = file.read(MAX_BYTES + 1)
    try:
        model = core.LearnedModel(data)
    except ValueError as error:
        raise ModelError(f"model file {path} refused: {error}") from error
    return model, _identity(found)


def _without_waiting(path: str, flags: int) -> int:
    """Opening a pipe would wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _identity(found: os.stat_result) -> Identity:
    """What changes when a file is replaced, written to, or made readable."""
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def write_whole(path: Path, data: bytes, like: os.stat_result) -> None:
    """Whole or not at all, even if the machine stops; as `like` says whose it is and who may read it."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode) & 0o666)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync(path.parent)


def _like(path: Path) -> os.stat_result:
    """Whose the file shall be and who may read it: as the one that it replaces, or the directory. Root may train for a
    gateway that runs as somebody else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return path.parent.stat()
    return path.parent.stat() if stat.S_ISLNK(found.st_mode) else found


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot, and need not
            raise
    finally:
        os.close(descriptor)
