"""A running proxy takes up a changed `routing` section of its gateway.yaml: checked first, then all of it or nothing.

Asked by SIGHUP or by `POST /bsgateway/reload`. Only `routing` without its `collector` is taken up: the log keeps its
queue and its database, and LiteLLM its models and settings, until the next start. So the new routing is checked against
the models that the proxy has, not against those that the file may list by now.

Several workers agree by files (`Files`). Whoever is asked checks the operator's file and writes what it accepts into
the file `current`; the others see that it is another one, and follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock
import msgspec
import yaml

from . import reload_router
from .check import Problem, check_against, check_file
from .config import DEFAULT_STATE, STATE_VARIABLE, Config, Routing
from .core import core
from .effective import effective_config
from .errors import ConfigError, GatewayError
from .gateway import Gateway
from .hangup import Hangup
from .private import write_private
from .telemetry.events import event

log = logging.getLogger(__name__)

SOURCE_VARIABLE = "BSGATEWAY_SOURCE"
"""Names the operator's own gateway.yaml, to workers that `serve` starts with a complete one."""
PATH = "/bsgateway/reload"
"""The admin route."""
LOOK_SECONDS = 1.0
"""How often a worker looks whether it is to reload, or whether another one has."""
LOCK_SECONDS = 30.0
"""Longest wait for another worker that is reloading."""
MAX_NAMED = 20
"""Changes that one line of the log names."""


class RefusedError(ConfigError):
    """The new gateway.yaml, `source`, has mistakes: `found` are all of them. The old configuration stays."""

    def __init__(self, source: Path, found: Sequence[Problem]) -> None:
        lines = tuple(problem.render(str(source)) for problem in found)
        super().__init__(f"{source} has {len(lines)} mistake(s):\n" + "\n".join(lines), lines)
        self.source = source
        self.found = tuple(found)


class Report(msgspec.Struct, frozen=True):
    """What a reload did: paths that changed and are in force, what changed and waits for the next start, warnings."""

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Files:
    """By what the workers of one gateway agree.

    `source` is the operator's gateway.yaml, `current` what all workers run, and `asked` is there while somebody wants a
    reload. `started` is the source as `serve` found it. Plain `litellm` reads the source itself: there is no such file,
    and `current` is there after a reload only.
    """

    source: Path
    current: Path
    asked: Path
    started: Path
    served: bool

    @classmethod
    def of_serve(cls, source: Path, state: Path) -> Files:
        """Those of a `serve` with this state directory."""
        source, state = source.absolute(), state.absolute()
        return cls(source, state / "litellm.yaml", state / "reload.asked", state / "started.yaml", True)

    @classmethod
    def of_worker(cls, config: Path) -> Files:
        """Those of this process, which was started with `config`."""
        if source := os.environ.get(SOURCE_VARIABLE):
            return cls.of_serve(Path(source), config.parent)
        # Workers of plain LiteLLM know of each other only that they were started with the same file.
        source_path = config.absolute()
        name = f"reload-{hashlib.sha256(os.fsencode(source_path)).hexdigest()[:16]}"
        state = Path(os.environ.get(STATE_VARIABLE) or DEFAULT_STATE).absolute()
        return cls(source_path, state / f"{name}.yaml", state / f"{name}.asked", state / f"{name}.started", False)

    def ask(self) -> None:
        """Have one of the workers reload. Raises OSError."""
        self.asked.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.asked.touch()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One worker at a time. Raises OSError, if only because another one takes too long."""
        self.current.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with filelock.FileLock(self.current.with_suffix(".lock"), timeout=LOCK_SECONDS):
            yield


@dataclass(frozen=True)
class _Accepted:
    """A checked configuration, ready to decide if it is another one than before; `stamp` is that of its file, `before`
    what was in that file, if it was there."""

    report: Report
    gateway: Gateway | None = None
    stamp: tuple[int, ...] | None = None
    before: str | None = None


class Reloader:
    """Reloads one process. `running` says what it runs, `adopt` makes it run another one, between two requests.

    `reloads` counts those that were accepted, by this worker or by another one; `reloads_refused` those that were not.
    """

    def __init__(self, running: Callable[[], Gateway], adopt: Callable[[Gateway], None]) -> None:
        self.reloads = 0
        self.reloads_refused = 0
        self._running = running
        self._adopt = adopt
        config = running().config
        self._files = Files.of_worker(config.path)
        self._found = config.host  # the operator's sections, as this process found them
        # Under `serve` another worker may have reloaded since the config was read: then the first look tells.
        self._seen = None if self._files.served else _stamp(self._files.current)
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Reload when this process or another worker is asked to. Until it is cancelled."""
        self._listen()
        trouble = ""
        while True:
            try:
                await self._look()
                trouble = ""
            except Exception as error:
                if trouble != _kind(error):  # said once, not every second
                    trouble = _kind(error)
                    log.error("looking for another configuration failed: %s", trouble)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), LOOK_SECONDS)

    async def reload(self, by: str) -> Report:
        """Take up the operator's file. `by` says who wants it, for the log.

        Raises RefusedError for a file with mistakes and GatewayError when it cannot be done: the old one stays.
        """
        async with self._lock:
            try:
                accepted = await asyncio.to_thread(self._accept)
                try:
                    self._take(accepted)
                except Exception:
                    await asyncio.to_thread(self._withdraw, accepted)
                    raise
            except RefusedError as error:
                self.reloads_refused += 1
                log.warning(
                    "reload by %s refused, the old configuration stays: %s", by, error,
                    extra=event("reload_refused", by=by, mistakes=len(error.found)),
                )  # fmt: skip
                raise
            except Exception as error:
                self.reloads_refused += 1
                log.error(
                    "reload by %s failed, the old configuration stays: %s", by, _kind(error),
                    extra=event("reload_failed", by=by),
                )  # fmt: skip
                raise GatewayError(f"the reload failed, the old configuration stays: {_kind(error)}") from error
            self.reloads += 1
            _say(by, accepted.report)
            return accepted.report

    def _listen(self) -> None:
        """Answer SIGHUP where nobody else does: `serve` listens for all its workers, and so do other supervisors."""
        main = threading.current_thread() is threading.main_thread()
        if hasattr(signal, "SIGHUP") and main and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, Hangup(self._wanted.set))

    async def _look(self) -> None:
        if self._wanted.is_set() or _take_away(self._files.asked):
            self._wanted.clear()
            with contextlib.suppress(GatewayError):  # the log says it
                await self.reload("SIGHUP")
        stamp = _stamp(self._files.current)
        if stamp is None or stamp == self._seen:
            return
        async with self._lock:
            self._seen = stamp
            try:
                accepted = await asyncio.to_thread(self._follow)
                self._take(accepted)
            except Exception as error:
                self.reloads_refused += 1
                log.error(
                    "the reload of another worker failed here, the old configuration stays: %s", _kind(error),
                    extra=event("reload_failed", by="another worker"),
                )  # fmt: skip
                return
            if accepted.gateway is not None:
                self.reloads += 1
                _say("another worker", accepted.report)

    def _take(self, accepted: _Accepted) -> None:
        """From here on, for every request that comes. Those in flight keep what they have begun with."""
        if accepted.gateway is not None:
            reload_router.follow(self._running().config, accepted.gateway.config, self._files.served)
            self._adopt(accepted.gateway)
        if accepted.stamp is not None:
            self._seen = accepted.stamp

    def _accept(self) -> _Accepted:
        """Check the operator's file and, if it says something new, write it down for all workers. On a thread."""
        with self._files.locked():
            running = self._running().config
            own, problems = check_file(self._files.source, advised=True)
            if own is None:
                raise RefusedError(self._files.source, [each for each in problems if each.severity == "error"])
            if wrong := check_against(own, running.model_names):
                raise RefusedError(self._files.source, wrong)
            config, needs_restart = self._succeeding(running, own)
            warnings = tuple(problem.render(str(self._files.source)) for problem in problems)
            report = Report(tuple(_differences(running.routing, config.routing)), needs_restart, warnings)
            if not report.changed:
                return _Accepted(report)
            gateway = _made(config)
            whole = config.host if self._files.served else {"routing": config.host["routing"]}
            before = self._files.current.read_text(encoding="utf-8") if self._files.current.exists() else None
            written = write_private(self._files.current, yaml.safe_dump(whole, sort_keys=False, allow_unicode=True))
            return _Accepted(report, gateway, _identity(written), before)

    def _withdraw(self, accepted: _Accepted) -> None:
        """Put back what `_accept` has replaced: otherwise the next look, here or in another worker, would take up what
        could not be. On a thread."""
        with self._files.locked():
            if accepted.stamp is None or _stamp(self._files.current) != accepted.stamp:
                return
            if accepted.before is None:
                self._files.current.unlink()
            else:
                self._seen = _identity(write_private(self._files.current, accepted.before))

    def _follow(self) -> _Accepted:
        """What another worker accepted. On a thread."""
        running = self._running().config
        data = yaml.safe_load(self._files.current.read_text(encoding="utf-8"))
        routing = msgspec.convert(data["routing"], Routing)
        routing = msgspec.structs.replace(routing, collector=running.routing.collector)
        report = Report(tuple(_differences(running.routing, routing)), (), ())
        if not report.changed:
            return _Accepted(report)
        parts = {name: data[name] for name in ("routing", "router_settings", "model_list") if name in data}
        return _Accepted(report, _made(replace(running, routing=routing, host={**running.host, **parts})))

    def _succeeding(self, running: Config, own: Config) -> tuple[Config, tuple[str, ...]]:
        """The operator's routing on what else runs, and what of the operator's file has to wait for the next start."""
        if self._files.served:
            self._found = yaml.safe_load(self._files.started.read_text(encoding="utf-8"))
        found = msgspec.convert(self._found["routing"], Routing)
        sections = dict.fromkeys((*self._found, *own.host))
        needs = [name for name in sections if name != "routing" and self._found.get(name) != own.host.get(name)]
        if found.collector != own.routing.collector:
            needs.append("routing.collector")
        written = {name: value for name, value in own.host["routing"].items() if name != "collector"}
        if "collector" in running.host["routing"]:
            written["collector"] = running.host["routing"]["collector"]
        host = {**running.host, "routing": written}
        if self._files.served:
            before = effective_config(Config(own.path, found, self._found))
            after = effective_config(Config(own.path, own.routing, self._found))
            host["router_settings"] = after["router_settings"]
            host["model_list"] = list(map(reload_router.with_cooldown, running.host["model_list"], after["model_list"]))
            needs += reload_router.not_live(before["router_settings"], after["router_settings"])
        routing = msgspec.structs.replace(own.routing, collector=running.routing.collector)
        return Config(running.path, routing, host), tuple(needs)


def _differences(old: Routing, new: Routing) -> Iterator[str]:
    """Dotted paths of what is not the same in both. Lists are compared as a whole."""

    def walk(path: str, one: Any, other: Any) -> Iterator[str]:
        if isinstance(one, dict) and isinstance(other, dict):
            for key in dict.fromkeys((*one, *other)):
                yield from walk(f"{path}.{key}", one.get(key), other.get(key))
        elif one != other:
            yield path

    return walk("routing", msgspec.to_builtins(old), msgspec.to_builtins(new))


def _made(config: Config) -> Gateway:
    core.warm(config.routing.analysis.encoding)  # now, not at the first request
    return Gateway(config)


def _say(by: str, report: Report) -> None:
    """One line for what changed, one for each thing to know."""
    named = ", ".join(report.changed[:MAX_NAMED])
    more = f" and {len(report.changed) - MAX_NAMED} more" if len(report.changed) > MAX_NAMED else ""
    log.info(
        "reloaded by %s: %s", by, f"{named}{more} changed" if named else "nothing has changed",
        extra=event(
            "reloaded", by=by, changed=report.changed[:MAX_NAMED], needs_restart=report.needs_restart[:MAX_NAMED]
        ),
    )  # fmt: skip
    if report.needs_restart:
        log.warning("changed, and takes effect at the next start: %s", ", ".join(report.needs_restart))
    for warning in report.warnings:
        log.warning("%s", warning)


def _kind(error: Exception) -> str:
    """What went wrong, without quoting a configuration: it may hold keys."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) if isinstance(error, GatewayError) else type(error).__name__


def _identity(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes when `path` is written anew; None while there is no such file."""
    try:
        return _identity(path.stat())
    except FileNotFoundError:
        return None


def _take_away(path: Path) -> bool:
    """Whether `path` was there. Of all who try, one is told so."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
