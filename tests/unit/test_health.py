"""`/bsgateway/live` and `/bsgateway/ready`: what they say of a real log's thread with a sink made for the purpose."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from bsgateway.config import Collector
from bsgateway.config import Spool as SpoolSettings
from bsgateway.errors import StoreError
from bsgateway.lifecycle import Lifecycle
from bsgateway.log import intake as intake_module
from bsgateway.log import pipeline as pipeline_module
from bsgateway.log import watch as watch_module
from bsgateway.log import writer as writer_module
from bsgateway.log.pipeline import Pipeline
from bsgateway.log.thread import LogThread
from bsgateway.log.watch import Watch
from bsgateway.web.health import LIVE, READY, ROUTES, STATUSES, health_routes, readiness
from builders import make_decision, until
from sinks import ListSink

SPOOL_ROWS = 5
QUEUE_ROWS = 10
FULL_SECONDS = 0.001
"""A bound against waiting, some fifty times what an answer of `readiness` costs."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(writer_module, "LAST_RETRY", 0.01)
    monkeypatch.setattr(intake_module, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(intake_module, "LAST_RETRY", 0.02)
    monkeypatch.setattr(intake_module, "FULL_RETRY", 0.01)
    monkeypatch.setattr(pipeline_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(pipeline_module, "AWAY_GRACE", 0.05)
    monkeypatch.setattr(watch_module, "PAUSE", 0.01)


async def nothing() -> None:
    """In the place of what the proxy does at start and before the end."""


class Worker:
    """A process's lifecycle with a sink that is there or away, and the app that a load balancer asks."""

    def __init__(self, directory: Path | None, **collector: Any) -> None:
        self.sink = ListSink()
        settings = Collector(
            database_url="unused", flush_seconds=0.01, batch_rows=2, queue_rows=QUEUE_ROWS, **collector
        )
        self.lifecycle = Lifecycle(Collector(enabled=False), nothing, nothing)
        self.recorder = self.lifecycle.recorder = type(self.lifecycle.recorder)(QUEUE_ROWS)
        self.lifecycle.thread = LogThread(
            lambda: Pipeline(settings, directory, self.recorder, self.sink, list, watch=Watch(self._connect))
        )
        self.app = Starlette(routes=health_routes(SimpleNamespace(lifecycle=self.lifecycle)))

    async def _connect(self) -> Any:
        """A store that answers, or not. That of a real server is asked in tests/integration/test_watch.py."""
        if self.sink.away:
            raise StoreError("away")
        return _Answers()

    def record(self, rows: int) -> None:
        for _ in range(rows):
            self.lifecycle.record(make_decision())

    async def ask(self, path: str = READY, method: str = "GET") -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://gateway") as client:
            return await client.request(method, path)

    async def says(self, code: int, status: str, database: str, spool: str) -> None:
        """Wait until it does."""
        wanted = (code, {"status": status, "log": {"database": database, "spool": spool}, "routing": "loaded"})
        found: Any = None
        deadline = time.monotonic() + 10
        while found != wanted:
            assert time.monotonic() < deadline, f"{found}, not {wanted}"
            answer = await self.ask()
            found = (answer.status_code, answer.json())
            await asyncio.sleep(0.01)


class _Answers:
    def acquire(self, _: str) -> _Answers:
        return self

    async def __aenter__(self) -> _Answers:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def fetchval(self, *_: object, **__: object) -> int:
        return 1


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Callable[..., Worker]]:
    """Makes a worker, which ends with the test."""
    workers: list[Worker] = []

    def make(*, has_spool: bool = True, **collector: Any) -> Worker:
        workers.append(Worker(tmp_path / "spool" if has_spool else None, **collector))
        return workers[-1]

    yield make
    for worker in workers:
        await worker.lifecycle.stop()


async def test_it_is_ready_while_the_spool_takes_rows_and_again_once_it_has_room(made: Callable[..., Worker]) -> None:
    worker = made(spool=SpoolSettings(max_rows=SPOOL_ROWS))
    await worker.says(200, "ready", "reachable", "accepting")  # the question began what no request had begun
    worker.sink.away = True
    await worker.says(200, "ready", "away", "accepting")  # as it looks, though no row has come
    worker.record(SPOOL_ROWS + 2)
    await worker.says(503, "log_full", "away", "full")
    excluded = await worker.ask(f"{READY}?exclude=log")
    assert (excluded.status_code, excluded.json()["status"]) == (200, "ready")
    assert excluded.json()["log"] == {"database": "away", "spool": "full"}
    worker.sink.away = False
    await worker.says(200, "ready", "reachable", "accepting")
    await until(lambda: len(worker.sink.rows) == SPOOL_ROWS + 2)


async def test_a_spool_that_has_failed_is_found_to_work_again_without_a_row(
    made: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = made()
    await worker.says(200, "ready", "reachable", "accepting")
    with monkeypatch.context() as disk:
        disk.setattr("bsgateway.log.spool.RESERVE_BYTES", 1 << 62)
        disk.setattr("bsgateway.log.spool.min", max, raising=False)  # not the twentieth of the disk
        worker.record(1)
        await worker.says(200, "ready", "reachable", "failed")
        await until(lambda: len(worker.sink.rows) == 1)
        worker.sink.away = True
        await worker.says(503, "log_full", "away", "failed")
    await worker.says(200, "ready", "away", "accepting")


async def test_without_a_spool_the_queue_takes_rows(made: Callable[..., Worker]) -> None:
    worker = made(has_spool=False)
    worker.sink.away = True
    await worker.says(200, "ready", "away", "off")
    worker.record(QUEUE_ROWS * 2)
    await worker.says(503, "log_full", "away", "off")
    worker.sink.away = False
    await worker.says(200, "ready", "reachable", "off")


async def test_without_a_log_it_is_ready() -> None:
    worker = Worker(None)
    worker.lifecycle.thread = None
    await worker.says(200, "ready", "off", "off")
    await worker.lifecycle.stop()


async def test_it_is_not_ready_before_the_start_is_over_nor_once_it_is_told_to_stop() -> None:
    announced = asyncio.Event()

    async def announce() -> None:
        await announced.wait()

    lifecycle = Lifecycle(Collector(enabled=False), announce, nothing)
    app = Starlette(routes=health_routes(SimpleNamespace(lifecycle=lifecycle)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        answer = await client.get(READY)
        assert (answer.status_code, answer.json()["status"], answer.json()["routing"]) == (503, "starting", "loading")
        announced.set()
        await until(lambda: lifecycle.has_begun)
        assert (await client.get(READY)).status_code == 200
        lifecycle.drain()
        answer = await client.get(READY)
        assert (answer.status_code, answer.json()["status"], answer.json()["routing"]) == (503, "draining", "loaded")
        assert (await client.get(LIVE)).json() == {"status": "alive"}
        await lifecycle.stop()
        assert (await client.get(f"{READY}?exclude=log")).json()["status"] == "draining"


async def test_a_log_that_could_not_be_made_takes_no_rows_and_nobody_waits_for_it(made: Callable[..., Worker]) -> None:
    worker = made()

    def broken() -> Pipeline:
        raise ImportError("its parts are not installed")

    worker.lifecycle.thread = LogThread(broken)
    await worker.says(503, "log_full", "away", "failed")
    assert (await worker.ask(f"{READY}?exclude=log")).status_code == 200


async def test_a_log_whose_thread_has_ended_takes_no_rows(made: Callable[..., Worker]) -> None:
    worker = made()
    await worker.says(200, "ready", "reachable", "accepting")
    assert worker.lifecycle.thread is not None
    await worker.lifecycle.thread.stop(1)
    await worker.says(503, "log_full", "away", "failed")


async def test_answers_may_not_be_kept_and_have_no_body_after_head(made: Callable[..., Worker]) -> None:
    worker = made()
    await worker.says(200, "ready", "reachable", "accepting")
    for path in (LIVE, READY):
        answer = await worker.ask(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert answer.headers["content-type"] == "application/json"
        head = await worker.ask(path, "HEAD")
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(answer.content)))
        assert (await worker.ask(path, "POST")).status_code == 405
    assert (await worker.ask(f"{READY}?exclude=database")).status_code == 400


async def test_it_waits_for_nothing(made: Callable[..., Worker]) -> None:
    worker = made()
    await worker.says(200, "ready", "reachable", "accepting")
    took = []
    for _ in range(200):
        began = time.perf_counter()
        readiness(worker.lifecycle)
        took.append(time.perf_counter() - began)
    assert sorted(took)[len(took) // 2] < FULL_SECONDS


def test_the_reference_lists_what_there_is() -> None:
    assert set(ROUTES) == {LIVE, READY}
    assert set(STATUSES) == {"ready", "starting", "draining", "log_full"}
