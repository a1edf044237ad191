"""`host.py` and `lifecycle.py`: what the gateway asks of the proxy around it, and the life of its log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from litellm import Router
from litellm.proxy import proxy_server

from bsgateway import host
from bsgateway.config import Collector, Spool
from bsgateway.decision import Decision, Outcome, Texts, new_id, now
from bsgateway.errors import ConfigError
from bsgateway.lifecycle import Lifecycle
from builders import until

HANG = 20.0  # seconds: a bound against hangs, not a measurement


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"BSGATEWAY_CONFIG": "a", "CONFIG_FILE_PATH": "b", "WORKER_CONFIG": "c"}, "a"),
        ({"CONFIG_FILE_PATH": "b", "WORKER_CONFIG": "c"}, "b"),
        ({"WORKER_CONFIG": "c"}, "c"),
        ({"WORKER_CONFIG": json.dumps({"config": "d", "model": None})}, "d"),
        ({"BSGATEWAY_CONFIG": "", "CONFIG_FILE_PATH": "b"}, "b"),
    ],
)
def test_where_the_configuration_is(environment: dict[str, str], path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert host.config_path() == path


def test_the_configuration_litellm_was_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_server, "user_config_file_path", "e")
    assert host.config_path() == "e"
    monkeypatch.setenv("WORKER_CONFIG", '{"config": null}')
    assert host.config_path() == "e"
    monkeypatch.setattr(proxy_server, "user_config_file_path", None)
    with pytest.raises(ConfigError, match=r"start LiteLLM with --config gateway\.yaml, or set BSGATEWAY_CONFIG"):
        host.config_path()


def router(**settings: Any) -> Router:
    info = {"id": "deployment-7"}
    entry = {"model_name": "known", "litellm_params": {"model": "openai/x", "api_key": "none"}, "model_info": info}
    return Router(model_list=[entry], **settings)


def test_names_that_the_proxy_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_server, "llm_router", None)
    assert host.knows("known") is False
    monkeypatch.setattr(proxy_server, "llm_router", router(model_group_alias={"alias": "known"}))
    found = {name: host.knows(name) for name in ("known", "alias", "deployment-7", "other", "", "openai/x")}
    assert [name for name, known in found.items() if known] == ["known", "alias", "deployment-7"]


def test_what_routed_names_stand_for_elsewhere(make_config: Callable[..., Any]) -> None:
    aliases = {"auto": "auto_route", "lean": {"route": "auto_route", "bias": -5}, "big": "large", "bigger": "big"}
    assert host.marker_names(make_config(aliases=aliases)) == {
        "auto": "middle", "lean": "middle", "big": "large", "bigger": "large"
    }  # fmt: skip


async def test_routed_names_are_announced_once_there_is_a_router(
    make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_server, "llm_router", None)
    announcing = asyncio.create_task(host.announce(make_config()))
    await asyncio.sleep(0.01)
    assert not announcing.done()
    known = router(model_group_alias={"auto": "the operator's choice"})
    monkeypatch.setattr(proxy_server, "llm_router", known)
    await asyncio.wait_for(announcing, HANG)
    assert known.model_group_alias == {
        "auto": "the operator's choice", "cheap": "middle", "best": "middle", "frontier": "large"
    }  # fmt: skip


def an_outcome() -> Outcome:
    return Outcome(decision_id=new_id(), completed_at=now(), status="success")


class Life:
    """A lifecycle, and in which order its parts were called."""

    def __init__(self, collector: Collector, start: Callable[[], Any] | None = None) -> None:
        self.calls: list[str] = []
        self._start = start
        self.lifecycle = Lifecycle(collector, self._on_start, self._before_drain)

    async def _on_start(self) -> None:
        self.calls.append("start")
        if self._start is not None:
            await self._start()

    async def _before_drain(self) -> None:
        self.calls.append("drain")


OFF = Collector(enabled=False)
UNREACHABLE = Collector(database_url="postgresql://nobody@127.0.0.1:1/none")


async def test_it_starts_once_and_drains_at_the_end() -> None:
    life = Life(OFF)
    for _ in range(3):
        life.lifecycle.ensure_running()
    await asyncio.sleep(0)
    assert life.calls == ["start"]
    await asyncio.wait_for(life.lifecycle.stop(), HANG)
    assert life.calls == ["start", "drain"]


async def test_stopping_what_never_started() -> None:
    await Life(OFF).lifecycle.stop()


async def test_rows_without_a_log_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    life = Life(OFF)
    for _ in range(3):
        life.lifecycle.record(an_outcome())
    assert (life.lifecycle.unlogged, life.lifecycle.metrics(), caplog.messages) == (3, None, [])


async def test_a_log_that_is_wanted_and_has_no_database_is_said(caplog: pytest.LogCaptureFixture) -> None:
    life = Life(Collector())
    life.lifecycle.record(an_outcome())
    assert (life.lifecycle.unlogged, life.lifecycle.metrics()) == (1, None)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("no decision is logged: routing.collector.database_url is unset; ")


async def test_rows_are_queued_in_bounds() -> None:
    life = Life(Collector(database_url="postgresql://nobody@127.0.0.1:1/none", queue_rows=2))
    items: list[Decision | Outcome] = [an_outcome() for _ in range(3)]
    for item in items:
        life.lifecycle.record(item)
    assert life.lifecycle.unlogged == 0
    assert life.lifecycle.recorder.dropped == {"queue_full": 1}
    assert life.lifecycle.recorder.take(10) == items[:2]


async def test_rows_that_cannot_be_written_before_the_end_are_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bsgateway.lifecycle.DRAIN_SECONDS", 0.3)
    life = Life(msgspec.structs.replace(UNREACHABLE, spool=Spool(enabled=False)))
    life.lifecycle.ensure_running()
    life.lifecycle.record(an_outcome())
    await asyncio.sleep(0)
    await asyncio.wait_for(life.lifecycle.stop(), HANG)
    assert "1 rows of the routing log could not be written before the end and are lost" in caplog.messages


async def test_rows_that_are_in_the_spool_at_the_end_are_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    life = Life(UNREACHABLE)
    life.lifecycle.ensure_running()
    life.lifecycle.record(an_outcome())
    await asyncio.sleep(0)
    await asyncio.wait_for(life.lifecycle.stop(), HANG)
    metrics = life.lifecycle.metrics()
    assert metrics is not None
    assert (metrics.spooled_rows, metrics.dropped) == (1, {})
    assert not [message for message in caplog.messages if "lost" in message]


async def test_words_that_cannot_be_redacted_are_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a secret")

    monkeypatch.setattr("bsgateway.lifecycle.redacted", fail)
    life = Life(UNREACHABLE)
    life.lifecycle.record(Texts(decision_id=new_id(), created_at=now(), ask="words", system=""))
    life.lifecycle.record(an_outcome())
    life.lifecycle.ensure_running()
    await asyncio.sleep(0)
    await asyncio.wait_for(life.lifecycle.stop(), HANG)
    metrics = life.lifecycle.metrics()
    assert metrics is not None
    assert (metrics.spooled_rows, metrics.dropped) == (1, {"redaction_failed": 1})


async def test_a_start_that_fails_is_no_reason_to_go_without_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("a secret")

    life = Life(UNREACHABLE, fail)
    life.lifecycle.ensure_running()
    await asyncio.sleep(0.01)
    assert caplog.messages[0] == "the routed names are not listed in /v1/models: ValueError"
    await until(life.lifecycle.metrics)
    await asyncio.wait_for(life.lifecycle.stop(), HANG)
    assert life.calls == ["start", "drain"]


async def test_a_start_that_hangs_does_not_hold_up_the_end() -> None:
    life = Life(OFF, asyncio.Event().wait)
    life.lifecycle.ensure_running()
    await asyncio.sleep(0)
    await asyncio.wait_for(life.lifecycle.stop(), HANG)
    assert life.calls == ["start", "drain"]


async def test_the_end_of_the_event_loop_stops_it_too() -> None:
    life = Life(OFF)

    async def main() -> None:
        life.lifecycle.ensure_running()
        await asyncio.sleep(0)

    # As `asyncio.run` does at its end: what still runs is cancelled.
    await asyncio.to_thread(asyncio.run, main())
    assert life.calls == ["start", "drain"]
