"""`bsgateway serve`: gateway.yaml -> a running LiteLLM proxy, its database, and what stands in for what is missing.

The parent process owns the database and the child servers; the proxy runs in it (one worker) or below it (several).
Stopping runs backwards: the proxy drains its requests, the log is flushed, then children and database stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import secrets
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from uvicorn.supervisors import Multiprocess

from . import shutdown, substitutes
from .catalog import models
from .check import load_config
from .config import STATE_VARIABLE, Config, resolve_env
from .connections import NOT_A_URL, describe
from .effective import effective_config
from .embedded import EmbeddedPostgres
from .errors import GatewayError, StoreError
from .hangup import Hangup
from .maintenance import Period
from .migrations import Migration
from .private import write_private
from .reload import SOURCE_VARIABLE, Files
from .store import Store
from .substitutes import Served
from .telemetry import directory as metrics_directory
from .telemetry import logs
from .telemetry.events import event
from .upstreams import local_model
from .upstreams.supervisor import ChildServer

log = logging.getLogger(__name__)

WORKER_ANSWER_SECONDS = 30
READY_SECONDS = 180.0
"""Longest wait for the proxy to answer: importing LiteLLM alone takes seconds on a small machine."""
DRAIN_SECONDS = 25
"""Longest wait for requests in flight at shutdown."""


@dataclass(frozen=True)
class Options:
    """Options of `bsgateway serve`. `strict`: a missing key or local model is an error, never a stand-in.
    `shutdown_delay`: seconds between SIGTERM and the end of taking requests, for which it is not ready."""

    config: Path
    state: Path
    host: str = "127.0.0.1"
    port: int = 4000
    workers: int = 1
    strict: bool = False
    shutdown_delay: float = 0.0


@dataclass(frozen=True)
class Site:
    """A prepared gateway: everything it needs is up, the proxy is not yet started."""

    options: Options
    config: Config
    served: tuple[Served, ...]
    master_key: str
    effective: Path
    key_is_given: bool = False
    """By the operator, who knows it: the gateway says it nowhere. One that it made itself stands in the ready line."""

    @property
    def url(self) -> str:
        """Where clients reach it from this machine."""
        host = self.options.host
        shown = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::", "::1") else host  # noqa: S104
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.options.port}"


def serve(options: Options, say: Callable[[str], None]) -> None:
    """Run until SIGINT or SIGTERM, then drain and stop everything. `say` gets notices and the ready line.

    SIGHUP has the workers reload `options.config`. Raises GatewayError when it cannot start.
    """
    # uvicorn raises the signal again after its own shutdown: this turns it into unwinding, so that children stop too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    _reload_on_hangup(Files.of_serve(options.config, options.state))
    _let_go_of_sockets()
    with prepared(options, say) as site:
        threading.Thread(target=_announce, args=(site, say), daemon=True, name="announce").start()
        _run_proxy(site)


def _reload_on_hangup(files: Files) -> None:
    """Hand SIGHUP on to whichever worker sees the wish first: a worker that still starts would die of the signal."""
    if not hasattr(signal, "SIGHUP"):
        return

    def ask() -> None:
        try:
            files.ask()
        except OSError as error:  # raised in a signal handler, it would end the event loop
            log.error("no reload after SIGHUP: %s: %s", files.asked, error.strerror)

    hangup = Hangup(ask)
    signal.signal(signal.SIGHUP, hangup)
    # The supervisor of several workers, which uvicorn makes by itself, would take over and start them all anew.
    setattr(Multiprocess, "handle_hup", hangup)  # noqa: B010  # mypy knows that it is a method


def _let_go_of_sockets() -> None:
    """Have uvicorn's supervisor not listen any longer than its workers do: who connected then would wait in vain."""
    terminate_all = Multiprocess.terminate_all

    def terminate_and_close(self: Multiprocess) -> None:
        terminate_all(self)
        for sock in self.sockets:
            sock.close()

    setattr(Multiprocess, "terminate_all", terminate_and_close)  # noqa: B010


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(0)


@contextlib.contextmanager
def prepared(options: Options, say: Callable[[str], None]) -> Iterator[Site]:
    """Check the config, start database and children, write LiteLLM's configuration and this process's environment."""
    files = Files.of_serve(options.config, options.state)
    try:
        files.asked.unlink(missing_ok=True)  # the file is read now
    except OSError as error:
        raise GatewayError(f"{files.asked}: {error.strerror}; choose another directory with --state") from error
    os.environ[STATE_VARIABLE] = str(options.state.absolute())  # the model file may lie there
    config = load_config(options.config, lambda warning: say(f"notice: {warning}"))
    logs.configure(config.routing.telemetry)
    _refuse_taken_port(options)
    state = _state_dir(options.state)
    if state.stat().st_mode & stat.S_IWOTH:
        say(f"notice: everybody on this machine may write to {state}, and so read the keys: chmod 700 {state}")
    metrics_directory.prepare(state, options.workers)
    with contextlib.ExitStack() as stack:
        os.environ.setdefault("GRACEFUL_SHUTDOWN_TIMEOUT", str(DRAIN_SECONDS))
        os.environ[shutdown.VARIABLE] = str(options.shutdown_delay)
        _bypass_proxy_on_loopback()
        host = effective_config(config)
        served = substitutes.plan(config, local_model.is_available())
        _notices(served, options, say)
        _substitute(stack, host, served, config, state)
        _database(stack, host, config, state, say, options.strict)
        key_is_given = _given_key(host) is not None
        key = _master_key(host, state)
        for path, content in ((files.started, config.host), (files.current, host)):
            write_private(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        os.environ[SOURCE_VARIABLE] = str(files.source)
        os.environ["CONFIG_FILE_PATH"] = os.environ["BSGATEWAY_CONFIG"] = str(files.current)
        # Modules the operator keeps beside gateway.yaml (other callbacks) stay importable for LiteLLM.
        sys.path.append(str(config.path.resolve().parent))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), sys.path[-1])))
        yield Site(options, config, tuple(served), key, files.current, key_is_given)


def _notices(served: list[Served], options: Options, say: Callable[[str], None]) -> None:
    missing = [item for item in served if item.kind != "real"]
    if missing and options.strict:
        raise GatewayError("not everything can be reached:\n" + "\n".join(f"{m.name}: {m.note}" for m in missing))
    for item in missing:
        by = f"the small local model {local_model.MODEL_NAME}" if item.kind == "local" else "a local stand-in"
        say(f"notice: {item.name} is served by {by}: {item.note}")


def _substitute(
    stack: contextlib.ExitStack, host: dict[str, Any], served: list[Served], config: Config, state: Path
) -> None:
    """Start the children that are needed and point deployments to them."""
    kinds = {item.kind for item in served}
    local = None
    if "local" in kinds:
        local = substitutes.local_deployment(_child(stack, "local_model", state))
    stand_in_base = _child(stack, "stand_in", state) if "stand_in" in kinds else ""

    def stand_in(style: str, variable: str) -> dict[str, Any]:
        path = f"{stand_in_base}/missing/{variable}"
        return {"api_base": f"{path}/v1" if style == "openai" else path, "api_key": "stand-in"}

    substitutes.apply(host, served, models(config.host["model_list"]), local, stand_in)


def _child(stack: contextlib.ExitStack, module: str, state: Path) -> str:
    """Start a child server, to be stopped with the stack; its base URL."""
    server = ChildServer(f"bsgateway.upstreams.{module}", [], module.replace("_", "-"), state_dir=state)
    return stack.enter_context(server).base_url


def _database(
    stack: contextlib.ExitStack,
    host: dict[str, Any],
    config: Config,
    state: Path,
    say: Callable[[str], None],
    strict: bool,
) -> None:
    """Start the embedded database, or take the operator's own, and bring its schema up to date.

    One's own may be away: the log's thread looks for it, and migrates it, for as long as it takes.
    """
    collector = config.routing.collector
    if not collector.enabled:
        return
    url = resolve_env(collector.database_url)
    if url is None:
        embedded = EmbeddedPostgres(state)
        url = stack.enter_context(embedded).dsn
        host["routing"].setdefault("collector", {})["database_url"] = url
        applied = asyncio.run(_migrate(url, collector.partition))
    else:
        try:
            applied = asyncio.run(_migrate(url, collector.partition))
        except StoreError as error:
            if strict or describe(url) == NOT_A_URL:
                raise
            where = "the spool" if collector.spool.enabled else "memory"
            say(f"notice: the log waits in {where}: {error}")
            return
    if applied:
        say(f"notice: database migrated: {', '.join(migration.name for migration in applied)}")


async def _migrate(url: str, partition: Period) -> tuple[Migration, ...]:
    async with await Store.connect(url) as store:
        return await store.migrate(partition)


def _bypass_proxy_on_loopback() -> None:
    """A proxy for the outside world must not be asked for our own children."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys((*hosts, "127.0.0.1", "localhost")))


def known_master_key(host: dict[str, Any], state: Path) -> str | None:
    """The key clients send: of gateway.yaml, of the environment, or the one an earlier start made; None before that."""
    kept = state / "master_key"
    return _given_key(host) or (kept.read_text(encoding="utf-8").strip() if kept.exists() else None)


def _given_key(host: dict[str, Any]) -> str | None:
    general = host.get("general_settings")
    configured = general.get("master_key") if isinstance(general, dict) else None
    return resolve_env(configured) or os.environ.get("LITELLM_MASTER_KEY") or None


def _master_key(host: dict[str, Any], state: Path) -> str:
    """The operator's key, or one made once and kept in the state directory; LiteLLM gets it by the environment."""
    given = known_master_key(host, state)
    if given is None:
        given = f"sk-{secrets.token_urlsafe(24)}"
        write_private(state / "master_key", given + "\n")
    general = host.get("general_settings")
    general = host["general_settings"] = general if isinstance(general, dict) else {}
    general["master_key"] = "os.environ/LITELLM_MASTER_KEY"
    os.environ["LITELLM_MASTER_KEY"] = given
    return given


def _state_dir(path: Path) -> Path:
    path = path.absolute()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _refuse_taken_port(options: Options) -> None:
    """Say so before anything is started, rather than after half a minute."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as error:
            raise GatewayError(
                f"cannot listen on {options.host}:{options.port}: {error.strerror}; choose another with --port"
            ) from error


def _run_proxy(site: Site) -> None:
    options = site.options
    uvicorn.run(
        "bsgateway.server:create_app",
        factory=True,
        host=options.host,
        port=options.port,
        workers=options.workers,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        # A worker that imports LiteLLM answers the supervisor's ping later than uvicorn allows. But for one that dies
        # while it is asked, the supervisor waits that long too, and hears no signal meanwhile.
        timeout_worker_healthcheck=WORKER_ANSWER_SECONDS,
    )


def create_app() -> Any:
    """LiteLLM's app, with the gateway started when its own start is done. Called once in each worker."""
    from litellm.proxy.proxy_server import app

    from . import host

    is_one_of_several = multiprocessing.parent_process() is not None
    if is_one_of_several and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is for the parent, whose terminal may be this one's too
    logs.configure(load_config(host.config_path()).routing.telemetry)
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(application: Any) -> AsyncIterator[Any]:
        async with inner(application) as state:
            from .hook import handler

            handler.lifecycle.ensure_running()
            seconds = shutdown.delay_from_environment()
            shutdown.announce_first(handler.lifecycle.drain, seconds, hurries=not is_one_of_several)
            await _warm_up()
            _spare_the_collector()
            yield state

    app.router.lifespan_context = lifespan
    return app


def _spare_the_collector() -> None:
    """Have Python's cycle collector leave alone what is there now, which stays: all of LiteLLM. Each full collection
    walks through it, and every request waits meanwhile."""
    gc.collect()
    gc.freeze()


async def _warm_up() -> None:
    """LiteLLM loads much of itself at the first call, for seconds: do it before a client waits for it."""
    import litellm

    await litellm.acompletion(
        model="openai/warm-up", messages=[{"role": "user", "content": "hi"}], mock_response="hi", api_key="none"
    )


def _announce(site: Site, say: Callable[[str], None]) -> None:
    """Print the ready line once the proxy answers."""
    until, waited = time.monotonic() + READY_SECONDS, False
    while time.monotonic() < until:
        try:
            if httpx.get(f"{site.url}/health/liveliness", timeout=5).status_code == 200:
                log.info("%s answers", site.url, extra=event("ready", url=site.url, workers=site.options.workers))
                say(ready_line(site))
                return
        except httpx.HTTPError:
            if not waited:
                log.debug("the proxy does not answer yet")
            waited = True
        time.sleep(0.2)
    say(f"error: the proxy does not answer on {site.url} after {READY_SECONDS:.0f} s; see its messages above")


def ready_line(site: Site) -> str:
    """One line: URL, models per tier, key, dashboard, and a curl to try."""
    how = {
        item.name: {"real": "", "local": " (small local model)", "stand_in": " (stand-in)"}[item.kind]
        for item in site.served
    }
    tiers = ", ".join(
        f"{name} = {' or '.join(model + how.get(model, '') for model in tier.candidates)}"
        for name, tier in site.config.routing.tiers.items()
    )
    name = next(iter(site.config.routing.aliases), "auto")
    key = "$LITELLM_MASTER_KEY" if site.key_is_given else site.master_key
    curl = (
        f'curl {site.url}/v1/chat/completions -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' "
        f"""-d '{{"model":"{name}","messages":[{{"role":"user","content":"What is the capital of France?"}}]}}'"""
    )
    pages = f" | dashboard {site.url}/bsgateway/" if site.config.routing.dashboard.enabled else ""
    return f"ready: {site.url} | {tiers} | key {key}{pages} | try: {curl}"
