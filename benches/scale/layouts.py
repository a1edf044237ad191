"""One layout: so many gateways with so many workers each, started at once, asked by many clients, and counted."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import httpx
import psutil

from e2e.clients import PROMPTS
from e2e.gateways import KEY, Gateway, clean_environment, start_serve, write_config
from e2e.upstream import Upstream

from .report import Line

PATH = "/v1/chat/completions"
WARM_UP = 40
"""Requests to each worker, about: the first ones load much of LiteLLM."""
START_SECONDS = 300.0
WRITTEN_SECONDS = 60.0

Answer = tuple[UUID, float]
"""The decision that it named, and the seconds it took."""


def measure(
    server: str, home: Path, upstream: Upstream, gateways: int, workers: int, requests: int, clients: int
) -> Line:
    """Start a layout on a database of its own, measure it, count its rows, stop it."""
    dsn = urlunsplit(urlsplit(server)._replace(path=f"/scale_{gateways}_{workers}"))
    asyncio.run(_execute(server, f'CREATE DATABASE "{urlsplit(dsn).path[1:]}"'))
    running: list[Gateway] = []
    try:
        with ThreadPoolExecutor(gateways) as pool:
            starts = [
                pool.submit(lambda at: running.append(_start(at, upstream, dsn, workers)), home / str(number))
                for number in range(gateways)
            ]
        for start in starts:
            start.result()
        for gateway in running:
            gateway.wait_for_workers(workers, START_SECONDS)
        return asyncio.run(_measured(dsn, running, workers, requests, clients))
    finally:
        for gateway in running:
            gateway.kill()


async def _measured(dsn: str, running: Sequence[Gateway], workers: int, requests: int, clients: int) -> Line:
    warm = await _load(running, WARM_UP * workers * len(running), clients)
    processes = [each for gateway in running for each in _family(gateway)]
    cpu, began = _cpu(processes), time.perf_counter()
    answers = await _load(running, requests, clients)
    seconds, cpu = time.perf_counter() - began, _cpu(processes) - cpu
    took = sorted(each for _, each in answers)
    lost, duplicates = await _counted(dsn, [decision for decision, _ in (*warm, *answers)])
    return Line(
        gateways=len(running),
        workers=workers,
        per_second=requests / seconds,
        median_ms=statistics.median(took) * 1000,
        p95_ms=took[int(len(took) * 0.95)] * 1000,
        cpu_ms=cpu / requests * 1000,
        lost=lost,
        duplicates=duplicates,
    )


async def _load(running: Sequence[Gateway], requests: int, clients: int) -> list[Answer]:
    """So many requests, so many at once; gateways take turns. Each is made on a connection of its own, as any worker
    may take that, and kept ones would stay with a few of them."""
    answers: list[Answer] = []
    numbers = iter(range(requests))
    body = {"model": "auto", "messages": [{"role": "user", "content": PROMPTS["simple"]}]}
    headers = {"Authorization": f"Bearer {KEY}", "Connection": "close"}

    async def client() -> None:
        async with httpx.AsyncClient(headers=headers, timeout=120, verify=False) as asking:
            for number in numbers:
                began = time.perf_counter()
                answer = await asking.post(running[number % len(running)].url + PATH, json=body)
                answer.raise_for_status()
                took = time.perf_counter() - began
                answers.append((UUID(answer.headers["x-bsgateway-decision-id"]), took))

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


async def _counted(dsn: str, wanted: Sequence[UUID]) -> tuple[int, int]:
    """Decisions without a row or an outcome, once all that will come has come; and rows over one for each."""
    connection = await asyncpg.connect(dsn)
    deadline = time.monotonic() + WRITTEN_SECONDS
    try:
        while True:
            rows, outcomes = [
                Counter(row["decision_id"] for row in await connection.fetch(f"SELECT decision_id FROM {table}"))
                for table in ("routing_logs", "routing_outcomes")
            ]
            lost = len(set(wanted) - (set(rows) & set(outcomes)))
            if not lost or time.monotonic() > deadline:
                extra = sum(rows.values()) + sum(outcomes.values()) - 2 * len(set(wanted))
                return lost, max(extra, 0) + len(wanted) - len(set(wanted))
            await asyncio.sleep(0.2)
    finally:
        await connection.close()


def _start(home: Path, upstream: Upstream, dsn: str, workers: int) -> Gateway:
    return start_serve(
        write_config(home, upstream),
        home / "state",
        upstream,
        *("--workers", str(workers)),
        environment=clean_environment(LITELLM_MASTER_KEY=KEY, COLLECTOR_DATABASE_URL=dsn),
        database=dsn,
        seconds=START_SECONDS,
    )


def _family(gateway: Gateway) -> list[psutil.Process]:
    process = psutil.Process(gateway.process.pid)
    return [process, *process.children(recursive=True)]


def _cpu(processes: Sequence[psutil.Process]) -> float:
    """Seconds of processor that they have used together."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()
