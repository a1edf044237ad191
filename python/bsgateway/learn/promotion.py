"""Which versions of the learned model there are, and putting one of them in force."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from .. import models
from ..config import Config
from ..core import core
from ..decision import now
from ..errors import ModelError, NotBetterError, UnknownModelError
from ..models import install, model_path, previous_path
from ..telemetry.events import event
from ..terminal import printable
from ..web.views import ModelVersion, Promoted
from .version_header import Described
from .versions import Record, changing, keep, kept, look, prune, read, versions_path, write_record

log = logging.getLogger(__name__)

PREVIOUS, PRIOR = "previous", "prior"
"""What `promote` takes besides ids: what was in force before, and the model of the package."""

MAX_AGAINST = 1_000
"""Characters of what a model was held against: there may be a path in it."""

State = Literal["in_force", "previous", "candidate", "older", "prior"]

_ID = re.compile(r"[0-9a-f]{12}")
_ORDER: dict[State, int] = {"in_force": 0, "previous": 1, "candidate": 2, "older": 2, "prior": 3}


class _Chosen(NamedTuple):
    id: str
    data: bytes
    proven: bool
    """Whether it takes no force: it was certain to be better, or is what one can always go back to."""
    against: str | None = None


class _Places(NamedTuple):
    """Ids: of the model in force, None if its file would be refused; of what `previous` leads to, None if there is
    nothing; of the prior."""

    in_force: str | None
    previous: str | None
    prior: str

    @classmethod
    def of(cls, path: Path) -> _Places:
        prior = _prior().id
        current, before = look(path), look(previous_path(path))
        in_force = current.id if current is not None else None if path.exists() else prior
        if before is not None:
            return cls(in_force, before.id, prior)
        return cls(in_force, None if in_force == prior else prior, prior)


@lru_cache(maxsize=1)
def _prior() -> Described:
    return Described.of(models.prior_bytes())


def list_versions(config: Config, state: Path | None = None) -> tuple[ModelVersion, ...]:
    """The model in force, the one before, all that are kept, newest first, and the prior; each once. Reads files: not
    on the event loop. Files that would be refused are left out. Raises ModelError without a prior, OSError."""
    path = model_path(config, state)
    places = _Places.of(path)
    found: dict[str, tuple[Described, Record]] = {}
    for described in (look(path), look(previous_path(path)), _prior()):
        if described is not None:
            found[described.id] = described, Record(promoted="")
    for version in kept(versions_path(path)):
        found.setdefault(version.id, (version.described, version.record))
    versions = [
        ModelVersion(state=_state(described.id, places, record), **msgspec.structs.asdict(described))
        for described, record in found.values()
    ]
    versions.sort(key=lambda version: version.created, reverse=True)
    return tuple(sorted(versions, key=lambda version: _ORDER[version.state]))


def _state(of_id: str, places: _Places, record: Record) -> State:
    if of_id == places.in_force:
        return "in_force"
    if of_id == places.previous:
        return "previous"
    if of_id == places.prior:
        return "prior"
    return "candidate" if record.promoted is None else "older"


def promote(config: Config, state: Path | None, wanted: str, force: bool = False) -> Promoted:
    """Put a version in force: one of the ids of `list_versions`, `previous` or `prior`. All workers follow the file.

    A version that was not certain to be better than what ran when it was trained takes `force`, unless it is the one
    before, or the prior. Reads and writes files: not on the event loop. Raises UnknownModelError, NotBetterError, and
    ModelError if it cannot be done.
    """
    path = model_path(config, state)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with changing(path) as directory:
            chosen = _choose(path, directory, wanted)
            if not (chosen.proven or force):
                ran = f" than {printable(chosen.against)}, which ran then" if chosen.against else ""
                raise NotBetterError(
                    f"model {chosen.id} was not certain to be better{ran}: it takes force "
                    f"(`bsgateway models promote {chosen.id} --force`)"
                )
            before = _put_in_force(path, directory, chosen.data)
            if before != chosen.id:
                _show_report(path, directory, chosen.id)
            prune(directory, set(filter(None, _Places.of(path))))
    except OSError as error:
        raise ModelError(f"cannot put another model in force in {path}: {error.strerror or error}") from error
    return Promoted(chosen.id, before)


def accept(path: Path, data: bytes, against: str, promoted: bool, report: str = "") -> None:
    """Keep a model that was trained for the file `path`, and put it in force there if it is `promoted`. `against`: what
    it was held against, in words; `report`: the page about its training. Raises ModelError for a model that would be
    refused, OSError."""
    with changing(path) as directory:
        version = keep(directory, data, Record(against=against[:MAX_AGAINST]))
        if report:
            models.write_whole(version.with_suffix(".md"), report.encode(), version.stat())
        if promoted:
            _put_in_force(path, directory, data)
        prune(directory, {core.LearnedModel(data).id, *filter(None, _Places.of(path))})


def _put_in_force(path: Path, directory: Path, data: bytes) -> str | None:
    """Install a model in `path`, and keep what was there; its id, that of the prior without a file, None if it would be
    refused."""
    moment = now().isoformat(timespec="seconds")
    new, places = core.LearnedModel(data).id, _Places.of(path)
    if new == places.in_force and path.exists():
        return new
    if path.exists() and places.in_force not in (None, places.prior):
        # So that it is still there after two more promotions, wherever it came from.
        _, former = read(path)
        keep(directory, former, Record(promoted=moment))
    install(data, path)
    for version in kept(directory):
        if version.id == new:
            write_record(version.path, msgspec.structs.replace(version.record, promoted=moment))
    log.info(
        "model %s put in force in place of %s",
        new,
        places.in_force or "one that was refused",
        extra=event("model_promoted", model=new, before=places.in_force),
    )
    return places.in_force


def _show_report(path: Path, directory: Path, of_id: str) -> None:
    """Make the page beside the model in force that of the version `of_id`: it is about that model, and no other."""
    page = path.with_suffix(".md")
    for version in kept(directory):
        report = version.path.with_suffix(".md")
        if version.id == of_id and report.is_file() and not report.is_symlink():
            moment = now().isoformat(timespec="seconds")
            said = f"Put in force by hand, {moment}. What follows was said when it was trained.\n\n".encode()
            models.write_whole(page, said + report.read_bytes(), path.stat())
            return
    page.unlink(missing_ok=True)


def _choose(path: Path, directory: Path, wanted: str) -> _Chosen:
    places = _Places.of(path)
    if wanted == PREVIOUS:
        if places.previous is None:
            raise UnknownModelError("there is nothing to go back to: no model was in force before this one")
        wanted = places.previous
    if wanted in (PRIOR, places.prior):
        return _Chosen(places.prior, models.prior_bytes(), proven=True)
    if _ID.fullmatch(wanted):
        for version in kept(directory):
            if version.id == wanted:
                data = _whole(version.path, wanted, follow=False)
                proven = version.described.better is True or wanted in (places.previous, places.in_force)
                return _Chosen(wanted, data, proven, version.record.against)
        for at, of_id in ((previous_path(path), places.previous), (path, places.in_force)):
            if of_id == wanted:
                return _Chosen(wanted, _whole(at, wanted), proven=True)
    raise UnknownModelError(f"no model {printable(wanted[:40])} is kept: `bsgateway models` lists those that are")


def _whole(path: Path, wanted: str, *, follow: bool = True) -> bytes:
    """The model `wanted`, which was in `path` a moment ago. Raises ModelError if it is another one now, OSError."""
    found, data = read(path, follow=follow)
    if found != wanted:
        raise ModelError(f"{path} was changed: it holds model {found} now, not {wanted}")
    return data
