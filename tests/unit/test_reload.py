"""`reload.py`: what a running gateway takes up of a changed gateway.yaml, what it refuses, and how workers agree."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from litellm import Router
from litellm.proxy import proxy_server
from uvicorn.supervisors import Multiprocess

from bsgateway import reload as reloading
from bsgateway import server
from bsgateway.check import load_config
from bsgateway.config import Collector, Config
from bsgateway.effective import effective_config
from bsgateway.errors import GatewayError
from bsgateway.gateway import Gateway
from bsgateway.lifecycle import Lifecycle
from bsgateway.private import write_private
from bsgateway.reload import SOURCE_VARIABLE, Files, RefusedError, Reloader
from bsgateway.reload_router import not_live, retargeted, router_settings
from builders import until
from unit.conftest import deployment

SECRET = "sk-never-shown"
WriteConfig = Callable[..., Path]


class Worker:
    """One worker process's part: what it runs, and its reloader."""

    def __init__(self, path: Path) -> None:
        self.gateway = Gateway(load_config(path))
        self.reloader = Reloader(lambda: self.gateway, self.adopt)
        self.adopted: list[Gateway] = []

    def adopt(self, gateway: Gateway) -> None:
        self.adopted.append(gateway)
        self.gateway = gateway

    @property
    def config(self) -> Config:
        return self.gateway.config


class Site:
    """The operator's file, and the files that `serve` makes of it."""

    def __init__(self, write: WriteConfig, state: Path) -> None:
        self._write = write
        self.source = write()
        self.files = Files.of_serve(self.source, state)
        state.mkdir(parents=True)
        config = load_config(self.source)
        write_private(self.files.started, yaml.safe_dump(config.host))
        host = effective_config(config)
        host["routing"]["collector"] = {"enabled": False, "database_url": f"postgresql://u:{SECRET}@h/d"}
        host["model_list"][0]["litellm_params"]["api_base"] = "http://127.0.0.1:1/substitute"
        write_private(self.files.current, yaml.safe_dump(host))

    def edit(self, host: dict[str, Any] | None = None, **routing: Any) -> None:
        """Write the operator's file anew: the small configuration with these changes."""
        self._write(host, **routing)

    def worker(self) -> Worker:
        return Worker(self.files.current)


@pytest.fixture
def site(config_file: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(config_file, tmp_path / "state")
    monkeypatch.setenv(SOURCE_VARIABLE, str(made.source))
    return made


@pytest.fixture(autouse=True)
def router(monkeypatch: pytest.MonkeyPatch) -> Router:
    """LiteLLM's router, as the proxy has it."""
    entries = [deployment(name, 1e-6, 8_000) for name in ("small", "middle", "large")]
    made = Router(model_list=entries, model_group_alias={"theirs": "large"})
    monkeypatch.setattr(proxy_server, "llm_router", made)
    return made


@pytest.fixture(autouse=True)
def _default_hangup() -> Iterator[None]:
    """SIGHUP as a process finds it, and afterwards as the test runner has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


TIERS = {
    "simple": {"score_range": [0, 30], "model": "middle"},
    "medium": {"score_range": [31, 65], "model": "middle"},
    "complex": {"score_range": [66, 100], "model": "large"},
}


SHORT = {"score_range": [0, 20], "model": "small"}


async def test_the_new_routing_is_taken_up(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bsgateway.reload")
    worker = site.worker()
    before = worker.gateway
    site.edit(tiers=TIERS, bias=7)
    report = await worker.reloader.reload("SIGHUP")
    assert report.changed == ("routing.tiers.simple.model", "routing.bias")
    assert report.needs_restart == ()
    assert worker.adopted == [worker.gateway] != [before]
    assert worker.config.routing.tiers["simple"].candidates == ("middle",)
    assert (worker.reloader.reloads, worker.reloader.reloads_refused) == (1, 0)
    assert "reloaded by SIGHUP: routing.tiers.simple.model, routing.bias changed" in caplog.text


async def test_a_file_without_a_change_changes_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bsgateway.reload")
    worker, written = site.worker(), site.files.current.read_bytes()
    before = worker.gateway
    assert (await worker.reloader.reload("SIGHUP")).changed == ()
    assert worker.gateway is before
    assert site.files.current.read_bytes() == written
    assert worker.reloader.reloads == 1
    assert "nothing has changed" in caplog.text


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (
            {"tiers": {**TIERS, "simple": {"score_range": [0, 20], "model": "small"}}},
            "routing.tiers.medium.score_range",
        ),
        ({"fallback_tier": "medum"}, "routing.fallback_tier"),
        ({"no_such_option": 1}, "routing.no_such_option"),
        ({"host": {"model_list": "nonsense"}}, "model_list"),
    ],
)
async def test_a_file_with_a_mistake_is_refused(
    site: Site, edit: dict[str, Any], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker, written = site.worker(), site.files.current.read_bytes()
    before = worker.gateway
    site.edit(**edit)
    with pytest.raises(RefusedError) as refused:
        await worker.reloader.reload("SIGHUP")
    assert path in [problem.path for problem in refused.value.found]
    assert all(problem.line for problem in refused.value.found)
    assert worker.gateway is before
    assert site.files.current.read_bytes() == written
    assert (worker.reloader.reloads, worker.reloader.reloads_refused) == (0, 1)
    assert f"the old configuration stays: {site.source} has" in caplog.text
    assert path in caplog.text


async def test_a_file_that_is_gone_is_refused(site: Site) -> None:
    worker = site.worker()
    site.source.unlink()
    with pytest.raises(RefusedError, match="cannot be read"):
        await worker.reloader.reload("SIGHUP")
    site.edit(bias=3)
    await worker.reloader.reload("SIGHUP")
    assert worker.config.routing.bias == 3


async def test_references_are_to_the_models_of_the_running_proxy(site: Site) -> None:
    worker = site.worker()
    more = [*load_config(site.source).host["model_list"], deployment("newest", 1e-6, 8_000)]
    tiers = {**TIERS, "simple": {"score_range": [0, 30], "model": "newest"}}
    site.edit({"model_list": more}, tiers=tiers, aliases={"auto": "auto_route", "fast": "newest"})
    with pytest.raises(RefusedError) as refused:
        await worker.reloader.reload("SIGHUP")
    found = {problem.path: problem for problem in refused.value.found}
    assert set(found) == {"routing.tiers.simple.model", "routing.aliases.fast"}
    problem = found["routing.tiers.simple.model"]
    assert "'newest' is not in model_list: the running proxy keeps the model_list that it started" in problem.message
    assert problem.hint == "restart it"
    assert "newest" in site.source.read_text().splitlines()[problem.line - 1]


async def test_a_model_that_the_file_no_longer_lists_may_serve_no_tier(site: Site) -> None:
    # The proxy has it still, but would not start with this file.
    worker = site.worker()
    site.edit({"model_list": load_config(site.source).host["model_list"][1:]})
    with pytest.raises(RefusedError, match="'small' is not in model_list"):
        await worker.reloader.reload("SIGHUP")


async def test_what_waits_for_the_next_start_is_named(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    worker = site.worker()
    more = [*load_config(site.source).host["model_list"], deployment("newest", 1e-6, 8_000)]
    host = {"model_list": more, "router_settings": {"num_retries": 3}, "litellm_settings": {"drop_params": True}}
    site.edit(host, bias=1, collector={"enabled": False, "text_chars": 99})
    for _ in range(2):  # and as long as it is so
        report = await worker.reloader.reload("SIGHUP")
        assert set(report.needs_restart) == {"model_list", "router_settings", "litellm_settings", "routing.collector"}
    assert "takes effect at the next start: model_list, " in caplog.text
    assert worker.config.routing.bias == 1
    assert worker.config.routing.collector.text_chars != 99
    assert "newest" not in worker.gateway.models


async def test_what_else_runs_stays(site: Site) -> None:
    worker = site.worker()
    old = worker.config
    site.edit(bias=2)
    await worker.reloader.reload("SIGHUP")
    assert worker.config.path == old.path
    assert worker.config.host["model_list"] == old.host["model_list"]
    assert worker.config.host["model_list"][0]["litellm_params"]["api_base"].endswith("/substitute")
    assert worker.config.host["routing"]["collector"] == old.host["routing"]["collector"]
    assert worker.config.routing.collector == old.routing.collector


async def test_models_that_join_the_tiers_cool_down_as_the_others_do(
    config_file: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, router: Router
) -> None:
    def cooling(model_list: list[Any]) -> list[str]:
        return [entry["model_name"] for entry in model_list if "allowed_fails_policy" in entry.get("model_info", {})]

    site = Site(lambda *args, **routing: config_file(*args, **{"tiers": TIERS, **routing}), tmp_path / "state")
    monkeypatch.setenv(SOURCE_VARIABLE, str(site.source))
    worker = site.worker()
    assert cooling(worker.config.host["model_list"]) == ["middle", "large"]
    site.edit(tiers={**TIERS, "simple": {"score_range": [0, 30], "model": "small"}})
    assert (await worker.reloader.reload("SIGHUP")).needs_restart == ()
    assert (
        cooling(router.model_list) == cooling(site.worker().config.host["model_list"]) == ["small", "middle", "large"]
    )


async def test_a_worker_that_starts_later_gets_what_was_accepted(site: Site) -> None:
    worker = site.worker()
    site.edit(tiers=TIERS, aliases={"auto": "auto_route", "fresh": "small"})
    await worker.reloader.reload("SIGHUP")
    assert stat.S_IMODE(site.files.current.stat().st_mode) == 0o600
    later = site.worker()
    assert later.config.routing == worker.config.routing
    assert later.config.host == worker.config.host
    # What LiteLLM itself reads there follows, too.
    settings = later.config.host["router_settings"]
    assert settings["model_group_alias"] == {"auto": "middle", "fresh": "small"}
    assert {"middle": ["large"]} in settings["fallbacks"]


async def test_what_does_not_fit_on_the_disk_is_not_taken_up(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = site.worker()
    before = worker.gateway
    site.edit(bias=5)
    monkeypatch.setattr(reloading, "LOCK_SECONDS", 0.0)
    site.files.current.with_suffix(".lock").mkdir()  # so that it cannot be opened
    with pytest.raises(GatewayError, match="the reload failed, the old configuration stays: Is a directory"):
        await worker.reloader.reload("SIGHUP")
    assert worker.gateway is before
    assert worker.reloader.reloads_refused == 1
    assert "failed, the old configuration stays" in caplog.text


async def test_what_cannot_be_taken_up_is_not_left_for_the_next_look(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, other, written = site.worker(), site.worker(), site.files.current.read_bytes()
    site.edit(bias=7)

    def fail(*_: Any) -> None:
        raise RuntimeError(SECRET)

    with monkeypatch.context() as patched:
        patched.setattr(reloading.reload_router, "follow", fail)
        with pytest.raises(GatewayError, match="the old configuration stays: RuntimeError"):
            await worker.reloader.reload("SIGHUP")
    assert site.files.current.read_bytes() == written
    for each in (worker, other):
        await each.reloader._look()
        assert each.config.routing.bias == 0
    # What can be taken up later is.
    await worker.reloader.reload("SIGHUP")
    assert worker.config.routing.bias == 7


async def test_all_workers_follow_the_one_that_was_asked(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bsgateway.reload")
    asked, other = site.worker(), site.worker()
    async with running(asked, other):
        for bias in (4, 5):
            site.edit(bias=bias)
            await asked.reloader.reload("the admin route")
            await until(lambda bias=bias: other.config.routing.bias == bias)
    assert (asked.reloader.reloads, other.reloader.reloads) == (2, 2)
    assert len(asked.adopted) == 2, "it followed itself"
    assert caplog.text.count("reloaded by another worker: routing.bias changed") == 2


async def test_one_worker_takes_the_wish_of_a_signal(site: Site) -> None:
    workers = [site.worker() for _ in range(3)]
    async with running(*workers):
        site.edit(bias=9)
        site.files.ask()
        await until(lambda: all(worker.config.routing.bias == 9 for worker in workers))
    assert not site.files.asked.exists()
    assert [worker.reloader.reloads for worker in workers] == [1, 1, 1]


def test_serve_writes_the_wish_down(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Multiprocess, "handle_hup", Multiprocess.handle_hup)
    server._reload_on_hangup(site.files)
    os.kill(os.getpid(), signal.SIGHUP)
    assert site.files.asked.exists()
    site.files.asked.unlink()
    supervisor: Any = Multiprocess.__new__(Multiprocess)
    supervisor.signal_queue = [signal.SIGHUP]
    supervisor.handle_signals()
    assert site.files.asked.exists()


def test_serve_goes_on_when_it_cannot(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Multiprocess, "handle_hup", Multiprocess.handle_hup)
    server._reload_on_hangup(Files.of_serve(site.source, site.source))  # where no directory can be
    os.kill(os.getpid(), signal.SIGHUP)
    assert f"no reload after SIGHUP: {site.source}/reload.asked: " in caplog.text


async def test_it_begins_and_ends_with_the_log(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing() -> None: ...

    monkeypatch.setattr(reloading, "LOOK_SECONDS", 0.01)
    worker = site.worker()
    lifecycle = Lifecycle(Collector(enabled=False), nothing, nothing, meanwhile=worker.reloader.run)
    lifecycle.ensure_running()
    site.edit(bias=9)
    site.files.ask()
    await until(lambda: worker.config.routing.bias == 9)
    await lifecycle.stop()
    site.files.ask()
    await asyncio.sleep(0.05)
    assert site.files.asked.exists(), "it still looks"


async def test_a_refused_wish_leaves_the_worker_running(site: Site) -> None:
    worker = site.worker()
    async with running(worker):
        site.edit(fallback_tier="none")
        site.files.ask()
        await until(lambda: worker.reloader.reloads_refused == 1)
        site.edit(bias=9)
        site.files.ask()
        await until(lambda: worker.config.routing.bias == 9)


async def test_what_another_worker_wrote_is_not_trusted_blindly(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    worker = site.worker()
    before = worker.gateway
    async with running(worker):
        await until(lambda: worker.reloader._seen is not None)
        write_private(site.files.current, f"routing: {{tiers: {SECRET}}}")
        await until(lambda: worker.reloader.reloads_refused == 1)
    assert worker.gateway is before
    assert "the reload of another worker failed here, the old configuration stays: ValidationError" in caplog.text
    assert SECRET not in caplog.text


async def test_plain_litellm_reloads_its_own_file(config_file: WriteConfig, router: Router) -> None:
    path = config_file()
    worker, other = Worker(path), Worker(path)
    router.model_group_alias = {"theirs": "large", "auto": "middle", "frontier": "large"}
    source = config_file(bias=6, aliases={"auto": "auto_route", "fresh": "auto"}).read_bytes()
    async with running(worker, other):
        await worker.reloader.reload("the admin route")
        await until(lambda: other.config.routing.bias == 6)
    assert path.read_bytes() == source, "the operator's file is the operator's"
    assert router.model_group_alias == {"theirs": "large", "auto": "middle", "fresh": "middle"}
    assert not router.fallbacks


async def test_plain_litellm_does_not_start_with_an_earlier_reload(config_file: WriteConfig) -> None:
    worker = Worker(config_file())
    config_file(bias=6)
    await worker.reloader.reload("SIGHUP")
    config_file(bias=8)
    restarted = Worker(config_file(bias=8))
    async with running(restarted):
        await asyncio.sleep(0)
        await restarted.reloader._look()
    assert restarted.config.routing.bias == 8


async def test_plain_litellm_listens_for_the_signal_itself(config_file: WriteConfig) -> None:
    worker = Worker(config_file())
    async with running(worker):
        await until(lambda: signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL)
        config_file(bias=6)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: worker.config.routing.bias == 6)


async def test_a_handler_that_is_there_is_left_alone(config_file: WriteConfig) -> None:
    for handler in (signal.SIG_IGN, lambda *_: None):
        signal.signal(signal.SIGHUP, handler)
        async with running(Worker(config_file())):
            await asyncio.sleep(0)
            assert signal.getsignal(signal.SIGHUP) is handler


async def test_the_router_follows(site: Site, router: Router) -> None:
    worker = site.worker()
    untyped: Any = router
    untyped.update_settings(**copy.deepcopy(worker.config.host["router_settings"]))
    router.model_group_alias["theirs"] = "large"
    tiers = {"all": {"score_range": [0, 100], "models": ["small", "large"]}}
    site.edit(tiers=tiers, fallback_tier="all", aliases={"auto": "auto_route", "fresh": "large"})
    await worker.reloader.reload("SIGHUP")
    assert router.model_group_alias == {"theirs": "large", "auto": "small", "fresh": "large"}
    assert router.fallbacks == [{"small": ["large"]}, {"large": ["small"]}]


def test_what_the_operator_has_set_in_the_router_stays(make_config: Callable[..., Config]) -> None:
    theirs = {"model_group_alias": {"auto": "large"}, "fallbacks": [{"small": ["large"]}], "num_retries": 4}
    old = make_config({"router_settings": theirs})
    new = make_config({"router_settings": theirs}, tiers=TIERS, aliases={"other": "auto_route"})
    as_started, as_wanted = (
        router_settings(Config(config.path, config.routing, effective_config(config)), served=True)
        for config in (old, new)
    )
    updates = retargeted(as_started, as_started, as_wanted)
    assert updates["model_group_alias"] == {"auto": "large", "other": "middle"}
    assert "fallbacks" not in updates


ONE, TWO, REST = [{"a": ["b"]}], [{"a": ["c"]}], [{"*": ["d"]}]


@pytest.mark.parametrize(
    ("has", "old", "new", "updates"),
    [
        ({}, {}, {}, {}),
        ({"fallbacks": ONE}, {"fallbacks": ONE}, {"fallbacks": TWO}, {"fallbacks": TWO}),
        ({"fallbacks": None}, {"fallbacks": []}, {"fallbacks": TWO}, {"fallbacks": TWO}),
        ({"fallbacks": ONE}, {"fallbacks": ONE}, {"fallbacks": []}, {"fallbacks": []}),
        ({"fallbacks": ONE + REST}, {"fallbacks": ONE}, {"fallbacks": TWO}, {"fallbacks": TWO + REST}),
        ({"fallbacks": [{"x": ["y"]}]}, {"fallbacks": ONE}, {"fallbacks": TWO}, {}),
        ({"fallbacks": ONE + ONE}, {"fallbacks": ONE}, {"fallbacks": TWO}, {}),
        ({"fallbacks": REST}, {}, {}, {}),
        (
            {"context_window_fallbacks": ONE},
            {"context_window_fallbacks": ONE},
            {"context_window_fallbacks": TWO},
            {"context_window_fallbacks": TWO},
        ),
        ({"model_group_alias": {"n": "a"}}, {"model_group_alias": {"n": "a"}}, {"model_group_alias": {"n": "a"}}, {}),
        (
            {"model_group_alias": {"gone": "a", "kept": "b", "theirs": "c"}},
            {"model_group_alias": {"gone": "a", "kept": "b"}},
            {"model_group_alias": {"kept": "x", "new": "y"}},
            {"model_group_alias": {"kept": "x", "new": "y", "theirs": "c"}},
        ),
        # A database of LiteLLM has given these names another meaning.
        (
            {"model_group_alias": {"gone": "t", "kept": "t"}},
            {"model_group_alias": {"gone": "a", "kept": "b"}},
            {"model_group_alias": {"kept": "x"}},
            {},
        ),
    ],
)
def test_what_a_router_is_given(
    has: dict[str, Any], old: dict[str, Any], new: dict[str, Any], updates: dict[str, Any]
) -> None:
    assert retargeted(has, old, new) == updates


def test_settings_that_a_running_router_cannot_be_given() -> None:
    old = {"fallbacks": [1], "cooldown_time": 30, "num_retries": 0, "model_group_alias": {}}
    new = {"fallbacks": [2], "cooldown_time": 40, "num_retries": 0, "timeout": 3}
    assert not_live(old, new) == ["router_settings.cooldown_time", "router_settings.timeout"]


async def test_trouble_with_looking_is_said_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = site.worker()
    looks = []

    def locked_away(path: Path) -> bool:
        looks.append(path)
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(reloading, "_take_away", locked_away)
    async with running(worker):
        await until(lambda: len(looks) > 3)
    assert caplog.text.count(f"looking for another configuration failed: Permission denied: {site.files.asked}") == 1


class running:
    """Workers that look what there is to do, often."""

    def __init__(self, *workers: Worker) -> None:
        self._workers = workers
        self._tasks: list[asyncio.Task[None]] = []
        self._patch = pytest.MonkeyPatch()

    async def __aenter__(self) -> None:
        self._patch.setattr(reloading, "LOOK_SECONDS", 0.01)
        self._tasks = [asyncio.create_task(worker.reloader.run()) for worker in self._workers]

    async def __aexit__(self, *_: object) -> None:
        self._patch.undo()
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
