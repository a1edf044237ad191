"""`sessions.py`: what is remembered of conversations in memory, and when Redis is left alone."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from bsgateway.sessions import (
    FAILURES,
    MAX_FAMILIES,
    PAUSE_SECONDS,
    STRANGER,
    Session,
    Sessions,
    _Breaker,
    after,
    as_scored_by,
    with_stranger,
)


def session(**fields: Any) -> Session:
    return Session(**{"tier": "medium", "model": "middle", "score": 50, "context_tokens": 900, "at": 0.0} | fields)


class TestAfter:
    def test_the_first_request(self) -> None:
        left = after(None, "medium", "middle", "openai", 50, 900, 12.0)
        assert left == session(at=12.0, families=("openai",))

    def test_families_gather_the_newest_last(self) -> None:
        known = None
        for family in ("anthropic", "openai", "anthropic", "google"):
            known = after(known, "medium", "middle", family, 50, 900, 0.0)
        assert known is not None
        assert known.families == ("openai", "anthropic", "google")

    def test_families_are_bounded(self) -> None:
        known = None
        for number in range(20):
            known = after(known, "medium", "middle", f"family {number}", 50, 900, 0.0)
        assert known is not None
        assert known.families == tuple(f"family {number}" for number in range(20 - MAX_FAMILIES, 20))

    def test_who_has_answered_before_the_gateway_knew_is_a_stranger(self) -> None:
        known = with_stranger(after(None, "medium", "middle", "anthropic", 50, 900, 0.0))
        assert known.families == (STRANGER, "anthropic")
        assert with_stranger(known) == known
        assert after(known, "medium", "middle", "anthropic", 50, 900, 0.0).families == (STRANGER, "anthropic")


class TestAsScoredBy:
    def test_a_score_of_another_scorer_is_no_measure(self) -> None:
        known = after(None, "simple", "small", "openai", 15, 900, 0.0, scorer="llm")
        assert as_scored_by(known, "llm") is known
        other = as_scored_by(known, "static")
        assert other is not None
        assert other.score == 100

    def test_what_was_remembered_before_scorers_were_counts_as_it_did(self) -> None:
        assert as_scored_by(session(), "static") == session()
        assert as_scored_by(None, "static") is None


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TestMemory:
    def make(self, **options: Any) -> tuple[Sessions, Clock]:
        clock = Clock()
        return Sessions(ttl=60, clock=clock, **options), clock

    async def test_what_was_put_is_there(self) -> None:
        sessions, _ = self.make()
        sessions.put(None, "a", session())
        assert await sessions.get(None, "a") == session()
        assert await sessions.get(None, "b") is None

    def test_memory_answers_without_the_event_loop(self) -> None:
        sessions, _ = self.make()
        sessions.put(None, "a", session())
        lookup = sessions.get(None, "a")
        with pytest.raises(StopIteration) as ended:
            lookup.send(None)  # the first step is the last
        assert ended.value.value == session()

    async def test_no_conversation_no_session(self) -> None:
        sessions, _ = self.make()
        sessions.put(None, None, session())
        sessions.note_served(None, None, "complex", "large", "openai")
        assert await sessions.get(None, None) is None
        assert len(sessions) == 0

    def test_its_time_begins_anew_with_each_request(self) -> None:
        sessions, clock = self.make()
        for clock.now in (0.0, 50.0, 100.0):
            sessions.put(None, "a", session(at=clock.now))
        clock.now = 160.0
        assert sessions.recall("a") is not None
        clock.now = 160.1
        assert sessions.recall("a") is None
        assert len(sessions) == 0

    def test_thousands_are_remembered_and_the_unused_go_first(self) -> None:
        sessions, _ = self.make(size=1000)
        for number in range(1000):
            sessions.put(None, str(number), session())
        sessions.put(None, "0", session())
        sessions.put(None, "more", session())
        assert len(sessions) == 1000
        assert sessions.recall("0") is not None
        assert sessions.recall("1") is None
        assert sessions.recall("2") is not None

    def test_a_fallback_is_noted(self) -> None:
        sessions, _ = self.make()
        sessions.put(None, "a", session(families=("anthropic",)))
        sessions.note_served(None, "a", "complex", "large", "openai")
        assert sessions.recall("a") == session(tier="complex", model="large", families=("anthropic", "openai"))

    def test_who_served_as_chosen_is_no_news(self) -> None:
        sessions, _ = self.make()
        known = session(families=("anthropic",))
        sessions.put(None, "a", known)
        sessions.note_served(None, "a", "medium", "middle", "openai")
        sessions.note_served(None, "b", "complex", "large", "openai")
        assert sessions.recall("a") is known
        assert len(sessions) == 1


class Broken:
    """A Redis whose client fails at once, or never answers: no network is needed to see what follows."""

    def __init__(self, fails: Callable[[], Exception] | None) -> None:
        self.fails = fails
        self.calls = 0

    def init_async_client(self) -> Any:
        self.calls += 1
        if self.fails is not None:
            raise self.fails()
        return self

    def check_and_fix_namespace(self, key: str) -> str:
        return key

    async def get(self, key: str) -> None:
        await asyncio.Event().wait()

    async def set(self, key: str, value: bytes, ex: int) -> None:
        await asyncio.Event().wait()


class TestBrokenRedis:
    @pytest.mark.parametrize("fails", [lambda: OSError("no"), lambda: ValueError("bad url"), None])
    async def test_memory_answers_and_redis_is_left_alone(
        self, fails: Callable[[], Exception] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bsgateway.sessions.REDIS_SECONDS", 0.001)
        pause = Clock()
        redis, sessions = Broken(fails), Sessions(ttl=60, clock=Clock(), monotonic=pause)
        sessions.remember("a", session())
        for _ in range(10):
            assert await sessions.get(redis, "a") == session()
        assert redis.calls == FAILURES
        assert sessions.misses == 10
        pause.now += PAUSE_SECONDS
        for _ in range(10):
            assert await sessions.get(redis, "a") == session()
        assert redis.calls == FAILURES + 1  # one attempt a pause

    async def test_a_request_that_is_given_up_is_no_failure_of_redis(self) -> None:
        sessions = Sessions(ttl=60)
        lookup = asyncio.ensure_future(sessions.get(Broken(None), "a"))
        await asyncio.sleep(0)
        lookup.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lookup
        assert sessions.misses == 0


class TestBreaker:
    def test_failures_must_come_in_a_row(self) -> None:
        breaker = _Breaker(Clock())
        for _ in range(5):
            for _ in range(FAILURES - 1):
                breaker.failed()
            assert breaker.closed()
            breaker.succeeded()
        assert breaker.closed()

    def test_a_success_after_the_pause_ends_it(self) -> None:
        clock = Clock()
        breaker = _Breaker(clock)
        assert [breaker.failed() for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
        assert not breaker.closed()
        clock.now = math.nextafter(PAUSE_SECONDS, 0)
        assert not breaker.closed()
        clock.now = PAUSE_SECONDS
        assert breaker.closed()
        assert not breaker.closed()  # that attempt alone
        breaker.succeeded()
        assert breaker.closed()
