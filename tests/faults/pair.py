"""Two gateways of two workers each, as two machines would run them: state directories of their own, one PostgreSQL, one
Redis; and the clients of a load balancer between them."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import httpx
import psutil

from e2e.clients import PROMPTS, http
from e2e.gateways import KEY, STOP_SECONDS, Gateway, clean_environment, start_serve, write_config
from e2e.records import until
from e2e.upstream import Upstream
from redis_server import RedisServer

WORKERS = 2
START_SECONDS = 300.0
"""Four workers at once, each of which takes a processor some ten seconds."""
SPOOL_BYTES = 1_000_000
"""The least that the configuration allows: full within seconds."""
SHUTDOWN_DELAY = 5.0
TIERS = {
    "simple": {"score_range": [0, 30], "model": "small"},
    "medium": {"score_range": [31, 65], "model": "medium"},
    "complex": {"score_range": [66, 100], "model": "large"},
}
TURNS = 8
"""Of a conversation."""
FULL_PATH = "/v1/chat/completions"


class Pair:
    """`first` and `second`, which log to the database at `dsn`."""

    def __init__(self, home: Path, upstream: Upstream, server: str, redis: RedisServer | None) -> None:
        self.server = server
        self.upstream = upstream
        self.redis = redis
        self._home = home
        self.dsn = urlunsplit(urlsplit(server)._replace(path=f"/pair_{uuid4().hex}"))
        self.first: Gateway
        self.second: Gateway
        self._starts = 0

    @property
    def both(self) -> tuple[Gateway, Gateway]:
        return self.first, self.second

    def open(self) -> None:
        """Start both at once, on an empty database, and wait for all their workers."""
        asyncio.run(self._execute(f'CREATE DATABASE "{self._name}"'))
        with ThreadPoolExecutor(2) as pool:
            starts = [pool.submit(self._start, name) for name in ("first", "second")]
        for start in starts:
            start.result()
        for gateway in self.both:
            gateway.wait_for_workers(WORKERS, START_SECONDS)

    def close(self) -> None:
        """End what runs."""
        for name in ("first", "second"):
            if hasattr(self, name):
                getattr(self, name).kill()
        asyncio.run(self._execute(f'DROP DATABASE IF EXISTS "{self._name}" WITH (FORCE)'))

    def restart_second(self) -> None:
        """A new `second` with the state directory of the one before, which has ended."""
        self._start("second")
        self.second.wait_for_workers(WORKERS, START_SECONDS)

    async def kill_second(self) -> None:
        """SIGKILL to all its processes, first to the one that would start workers anew."""
        family = psutil.Process(self.second.process.pid).children(recursive=True)
        self.second.process.kill()
        for process in family:
            process.kill()
        await asyncio.to_thread(self.second.process.wait, STOP_SECONDS)

    async def let_in(self, on: bool) -> None:
        """Have the database take connections, or none, and cut those there are."""
        statements = [f'ALTER DATABASE "{self._name}" WITH ALLOW_CONNECTIONS {str(on).lower()}']
        if not on:
            statements.append(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'")
        await self._execute(*statements)

    @property
    def _name(self) -> str:
        return urlsplit(self.dsn).path[1:]

    async def _execute(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.server)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    def _start(self, name: str) -> None:
        self._starts += 1
        spool = {"max_bytes": SPOOL_BYTES} if name == "first" else {}
        config = write_config(
            self._home / f"{name}-{self._starts}",
            self.upstream,
            tiers=TIERS,
            session={"horizon_turns": 0},  # conversations never go down a tier
            collector={"flush_seconds": 0.1, "spool": spool},
            dashboard={"enabled": False},
        )
        redis = {} if self.redis is None else {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.redis.port)}
        started = start_serve(
            config,
            self._home / f"{name}-state",
            self.upstream,
            *("--workers", str(WORKERS), "--shutdown-delay", str(SHUTDOWN_DELAY)),
            environment=clean_environment(LITELLM_MASTER_KEY=KEY, COLLECTOR_DATABASE_URL=self.dsn, **redis),
            database=self.dsn,
            seconds=START_SECONDS,
        )
        setattr(self, name, started)  # at once: `close` ends it, whatever becomes of the other one


@dataclass
class Talk:
    """A conversation: its session, and all that was said in it, which every request brings along."""

    session: str = field(default_factory=lambda: str(uuid4()))
    said: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Traffic:
    """Clients that ask one gateway or the other in turns, and the other one when that does not answer.

    `answered` are the decisions that an answer of status 200 named, each as often as it was named; `retried` counts
    requests that were sent again.
    """

    pair: Pair
    answered: Counter[UUID] = field(default_factory=Counter)
    by: Counter[int] = field(default_factory=Counter)
    retried: int = 0

    async def ask(self, number: int, prompt: str = PROMPTS["simple"], talk: Talk | None = None) -> httpx.Headers:
        """One request, first to the gateway whose turn it is; the next one of `talk`."""
        turn = number % 2
        talk = talk or Talk()
        talk.said.append({"role": "user", "content": prompt})
        for which in (turn, 1 - turn):
            try:
                headers = await _post(self.pair.both[which], talk)
            except httpx.TransportError:
                self.retried += 1
                continue
            talk.said.append({"role": "assistant", "content": "Well."})
            self.answered[UUID(headers["x-bsgateway-decision-id"])] += 1
            self.by[which] += 1
            return headers
        raise AssertionError("neither gateway answers")

    async def run(self, requests: int, clients: int = 16) -> None:
        """So many requests, of so many clients at once; each has a conversation, whose turns alternate."""
        numbers = iter(range(requests))

        async def client(first: int) -> None:
            talk = Talk()
            for turn, _ in enumerate(numbers, first):
                talk = talk if len(talk.said) < 2 * TURNS else Talk()
                await self.ask(turn, talk=talk)

        await asyncio.gather(*map(client, range(clients)))


async def _post(gateway: Gateway, talk: Talk) -> httpx.Headers:
    """Ask, on a connection of its own, which any worker may take."""
    body = {"model": "auto", "messages": talk.said, "max_tokens": 2_000}
    async with http(gateway) as client:
        answer = await client.post(FULL_PATH, json=body, headers={"x-session-id": talk.session})
    assert answer.status_code == 200, answer.text
    return answer.headers


async def slow_requests(gateway: Gateway, requests: dict[str, str]) -> list[asyncio.Task[httpx.Headers]]:
    """Requests by their ids, in flight: they have reached the upstream, which takes its time."""
    talks = [Talk(said=[{"role": "user", "content": prompt}]) for prompt in requests.values()]
    tasks = [asyncio.create_task(_post(gateway, talk)) for talk in talks]

    async def all_there() -> bool:
        return all(gateway.upstream.calls(request_id) for request_id in requests)

    await until("slow requests are in flight", all_there)
    return tasks


def as_rows(rows: list[Any]) -> Counter[UUID]:
    """How often each decision is there."""
    return Counter(row["decision_id"] for row in rows)
