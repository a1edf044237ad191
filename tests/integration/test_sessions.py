"""`sessions.py` with a real Redis, through LiteLLM's own `RedisCache`: what several workers share, and its loss."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from bsgateway.sessions import KEY_PREFIX, PAUSE_SECONDS, Session, Sessions
from redis_server import RedisServer, program

# Before LiteLLM is imported, which otherwise waits for a download of its price map.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

pytestmark = pytest.mark.skipif(program() is None, reason="there is no redis-server here")

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    path = program()
    assert path is not None
    server = RedisServer(path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not look like a Redis that hangs."""
    monkeypatch.setattr("bsgateway.sessions.REDIS_SECONDS", 10.0)
    monkeypatch.setattr("bsgateway.sessions.WRITE_SECONDS", 10.0)


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Any]:
    """LiteLLM's cache on the server, empty."""
    from litellm.caching.redis_cache import RedisCache

    cache = RedisCache(host="127.0.0.1", port=server.port, namespace="team-a")
    client = cache.init_async_client()
    await client.flushall()
    yield cache
    await client.aclose()
    cache.redis_client.close()


def session(**fields: Any) -> Session:
    return Session(
        **{"tier": "medium", "model": "middle", "score": 50, "context_tokens": 900, "at": time.time()} | fields
    )


class Pause:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_another_worker_finds_what_one_wrote(redis: Any) -> None:
    one, other = Sessions(ttl=3600), Sessions(ttl=3600)
    written = session(families=("anthropic", "openai"))
    one.put(redis, ID, written)
    await one.settle()
    assert await other.get(redis, ID) == written
    assert other.recall(ID) == written  # and keeps it, should Redis go
    assert one.misses == other.misses == 0


async def test_keys_carry_the_namespace_and_expire(redis: Any) -> None:
    sessions = Sessions(ttl=90)
    sessions.put(redis, ID, session())
    await sessions.settle()
    client = redis.init_async_client()
    assert [key.decode() async for key in client.scan_iter()] == [f"team-a:{KEY_PREFIX}{ID}"]
    assert 0 < await client.ttl(f"team-a:{KEY_PREFIX}{ID}") <= 90


async def test_the_newer_of_two_states_counts(redis: Any) -> None:
    one, other = Sessions(ttl=3600), Sessions(ttl=3600)
    old, new = session(at=time.time() - 10), session(tier="complex", model="large")
    one.put(redis, ID, old)
    await one.settle()
    other.remember(ID, new)  # as if its write were still on its way
    assert await other.get(redis, ID) == new
    other.put(redis, ID, new)
    await other.settle()
    assert await one.get(redis, ID) == new


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"tier":"medium"}',
        b'{"tier":1,"model":"middle","score":50,"context_tokens":9,"at":AT}',
        b'{"tier":"medium","model":"middle","score":101,"context_tokens":9,"at":AT}',
        b'{"tier":"medium","model":"middle","score":50,"context_tokens":-9,"at":AT}',
        b'{"tier":"medium","model":"middle","score":50,"context_tokens":9,"at":1.0}',
        b'{"tier":"medium","model":"middle","score":50,"context_tokens":9,"at":1e300}',
        b'{"tier":"medium","model":"middle","score":50,"context_tokens":9,"at":AT,"families":["a","b","c","d","e"]}',
    ],
)
async def test_a_damaged_value_is_no_session(redis: Any, value: bytes) -> None:
    sessions = Sessions(ttl=3600)
    await redis.init_async_client().set(f"team-a:{KEY_PREFIX}{ID}", value.replace(b"AT", str(time.time()).encode()))
    assert await sessions.get(redis, ID) is None
    known = session()
    sessions.remember(ID, known)
    assert await sessions.get(redis, ID) == known


async def test_a_foreign_type_under_the_key_is_no_session(redis: Any) -> None:
    sessions = Sessions(ttl=3600)
    await redis.init_async_client().rpush(f"team-a:{KEY_PREFIX}{ID}", "x")
    assert await sessions.get(redis, ID) is None
    assert sessions.misses == 1


async def test_the_loss_of_redis_is_harmless(server: RedisServer, redis: Any, caplog: pytest.LogCaptureFixture) -> None:
    pause = Pause()
    sessions = Sessions(ttl=3600, monotonic=pause)
    known = session()
    sessions.put(redis, ID, known)
    await sessions.settle()
    server.kill()
    try:
        with caplog.at_level(logging.WARNING, logger="bsgateway.sessions"):
            for _ in range(50):
                assert await sessions.get(redis, ID) == known
        assert len([each for each in caplog.records if "memory alone" in each.getMessage()]) == 1
        assert sessions.misses == 50
        newer = session(tier="complex", model="large")
        sessions.put(redis, ID, newer)  # not even tried
        assert await sessions.get(redis, ID) == newer
    finally:
        server.start()
    assert await sessions.get(redis, ID) == newer  # still left alone, so memory
    pause.now += PAUSE_SECONDS
    assert await sessions.get(redis, ID) == newer  # asked again: it has forgotten all
    sessions.put(redis, ID, newer)
    await sessions.settle()
    assert await Sessions(ttl=3600).get(redis, ID) == newer


async def test_a_redis_that_hangs_holds_up_a_few_requests_shortly(
    server: RedisServer, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(ttl=3600, monotonic=Pause())
    known = session()
    sessions.put(redis, ID, known)
    await sessions.settle()
    monkeypatch.setattr("bsgateway.sessions.REDIS_SECONDS", 0.05)
    server.stall()
    try:
        began = time.monotonic()
        for _ in range(200):
            assert await sessions.get(redis, ID) == known
        assert time.monotonic() - began < 5  # 200 waits would be 10 s
        assert sessions.misses == 200
    finally:
        server.go_on()


async def test_a_write_is_never_waited_for(server: RedisServer, redis: Any) -> None:
    sessions = Sessions(ttl=3600)
    await sessions.get(redis, ID)
    server.stall()
    try:
        before = asyncio.all_tasks()
        sessions.put(redis, ID, session())  # no coroutine: it has returned
        assert sessions.recall(ID) is not None
        writes = asyncio.all_tasks() - before
        assert len(writes) == 1
    finally:
        server.go_on()
    await sessions.settle()
    assert all(task.done() for task in writes)


async def test_many_writes_in_a_row_to_a_hanging_redis_stay_bounded(
    server: RedisServer, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bsgateway.sessions.MAX_WRITES", 10)
    sessions = Sessions(ttl=3600)
    server.stall()
    try:
        for number in range(50):
            sessions.put(redis, f"{number:032x}", session())
        assert len(sessions._writes) == 10
        assert sessions.misses == 40
        assert len(sessions) == 50
    finally:
        server.go_on()
    await sessions.settle()
