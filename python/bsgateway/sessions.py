"""What is remembered of conversations.

It lies in this process, and in the Redis of LiteLLM's configuration where there is one, so that all workers and
machines agree. Redis is never needed: whatever is wrong with it, memory answers.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

log = logging.getLogger(__name__)

MAX_SESSIONS = 50_000
"""Conversations that one process remembers; the one unused for longest goes first."""
MAX_FAMILIES = 4
"""Families of models kept per conversation."""
STRANGER = "unknown"
"""The family of who has answered in a conversation before the gateway knew of it."""
REDIS_SECONDS = 0.02
"""Longest wait of a request for Redis."""
WRITE_SECONDS = 1.0
"""Longest wait for Redis of a write, which no request waits for."""
MAX_WRITES = 1_000
"""Writes on their way to Redis; further ones are left out."""
FAILURES = 3
"""Failures in a row after which Redis is left alone for `PAUSE_SECONDS`."""
PAUSE_SECONDS = 10.0
KEY_PREFIX = "bsgateway:session:"

_CLOCK_SKEW = 300.0


class Session(msgspec.Struct, frozen=True, gc=False):
    """What the last request of a conversation left behind.

    `tier` and `model` are where it went, `score` is its score with all biases, `context_tokens` its size, `at` when it
    was, in seconds since 1970. `families` are those of all models that ever answered in it (see `catalog.Model`),
    the newest last. `easy` counts the last requests in a row, steps of tool loops too, that a lower tier could have
    served, by their score. `scorer` is what made the score: the numbers of two are not alike.
    """

    tier: str
    model: str
    score: int
    context_tokens: int
    at: float
    families: tuple[str, ...] = ()
    easy: int = 0
    scorer: str = ""


def after(
    previous: Session | None,
    tier: str,
    model: str,
    family: str,
    score: int,
    context_tokens: int,
    at: float,
    easy: bool = False,
    scorer: str = "",
) -> Session:
    """What a request that went to `model` of `tier` leaves behind, in a conversation of which `previous` is known.
    `easy`: its score belongs to a lower tier."""
    row = previous.easy + 1 if easy and previous is not None else int(easy)
    return Session(tier, model, score, context_tokens, at, _families(previous, family), row, scorer)


def as_scored_by(session: Session | None, scorer: str) -> Session | None:
    """`session` for a request that `scorer` has scored. A score of another one, such as the local LLM's when it has
    just failed, says nothing of whether the newest ask is harder: only the tier counts then."""
    if session is None or session.scorer in (scorer, ""):
        return session
    return msgspec.structs.replace(session, score=100)


def with_stranger(session: Session) -> Session:
    """`session`, when its history shows that somebody else has answered in it, before the gateway knew of it."""
    others = (family for family in session.families if family != STRANGER)
    return msgspec.structs.replace(session, families=(STRANGER, *others)[-MAX_FAMILIES:])


def _families(previous: Session | None, newest: str) -> tuple[str, ...]:
    known = previous.families if previous is not None else ()
    return (*(family for family in known if family != newest), newest)[-MAX_FAMILIES:]


class RedisCache(Protocol):
    """What is used of LiteLLM's `RedisCache`: its client for the running event loop, and its key prefix."""

    def init_async_client(self) -> Any: ...

    def check_and_fix_namespace(self, key: str) -> str: ...


class Sessions:
    """What is remembered of conversations. For one event loop.

    `ttl` is how long, in seconds after the last request. `misses` counts times that Redis could not be asked or told,
    because it failed, took too long or was left alone after that.
    """

    def __init__(
        self,
        ttl: float,
        size: int = MAX_SESSIONS,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ttl = ttl
        self.misses = 0
        self._size = size
        self._clock = clock
        # Not LiteLLM's InMemoryCache: it forgets after 200 entries, and keeps the first time to live of a key.
        self._memory: OrderedDict[str, Session] = OrderedDict()
        self._breaker = _Breaker(monotonic)
        self._writes: set[asyncio.Task[None]] = set()
        self._decoder = msgspec.json.Decoder(Session)
        self._encoder = msgspec.json.Encoder()

    def __len__(self) -> int:
        return len(self._memory)

    async def get(self, redis: RedisCache | None, conversation: str | None) -> Session | None:
        """What is remembered of a conversation. Without `redis`, this does not yield to the event loop."""
        if conversation is None:
            return None
        known = self.recall(conversation)
        if redis is None or not self._may_ask():
            return known
        try:
            value = await asyncio.wait_for(_get(redis, conversation), REDIS_SECONDS)
        except Exception as error:
            self._failed("read", error)
            return known
        self._breaker.succeeded()
        shared = self._valid(value)
        # Writes are not waited for: what this process knows may be newer.
        if shared is None or (known is not None and known.at >= shared.at):
            return known
        self.remember(conversation, shared)
        return shared

    def put(self, redis: RedisCache | None, conversation: str | None, session: Session) -> None:
        """Remember `session`: in memory at once, in Redis soon."""
        if conversation is None:
            return
        self.remember(conversation, session)
        if redis is None:
            return
        if len(self._writes) >= MAX_WRITES or not self._may_ask():
            self.misses += 1
            return
        task = asyncio.ensure_future(self._write(redis, conversation, self._encoder.encode(session)))
        self._writes.add(task)  # the loop itself keeps weak references only
        task.add_done_callback(self._writes.discard)

    def note_served(
        self, redis: RedisCache | None, conversation: str | None, tier: str | None, group: str, family: str
    ) -> None:
        """A fallback of LiteLLM answered instead of the model that was chosen: the parts that belong to its provider
        are in the conversation from now on, which goes on there. Of a group outside all tiers, the tier stays."""
        known = None if conversation is None else self.recall(conversation)
        if known is not None and known.model != group:
            families = _families(known, family)
            served = msgspec.structs.replace(known, tier=tier or known.tier, model=group, families=families)
            self.put(redis, conversation, served)

    def recall(self, conversation: str) -> Session | None:
        """What memory holds of a conversation."""
        known = self._memory.get(conversation)
        if known is None:
            return None
        if self._clock() - known.at > self.ttl:
            del self._memory[conversation]
            return None
        return known

    def remember(self, conversation: str, session: Session) -> None:
        """Put `session` into memory alone."""
        memory = self._memory
        memory[conversation] = session
        memory.move_to_end(conversation)
        if len(memory) > self._size:
            memory.popitem(last=False)

    async def settle(self) -> None:
        """Wait for the writes that are on their way."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=WRITE_SECONDS)

    def _valid(self, value: Any) -> Session | None:
        """The session that a value of Redis holds: whatever else is there is none."""
        if not isinstance(value, (bytes, str)):
            return None
        try:
            session = self._decoder.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError):
            log.warning("a session in Redis is damaged and left out")
            return None
        age = self._clock() - session.at
        alive = math.isfinite(session.at) and -_CLOCK_SKEW <= age <= self.ttl
        sound = (
            0 <= session.score <= 100
            and session.context_tokens >= 0
            and len(session.families) <= MAX_FAMILIES
            and session.easy >= 0
        )
        return session if alive and sound else None

    def _may_ask(self) -> bool:
        if self._breaker.closed():
            return True
        self.misses += 1
        return False

    async def _write(self, redis: RedisCache, conversation: str, value: bytes) -> None:
        try:
            await asyncio.wait_for(_set(redis, conversation, value, max(1, math.ceil(self.ttl))), WRITE_SECONDS)
        except Exception as error:
            self._failed("write", error)
        else:
            self._breaker.succeeded()

    def _failed(self, what: str, error: Exception) -> None:
        self.misses += 1
        if self._breaker.failed():
            log.warning(
                "sessions: Redis failed %d times in a row (%s: %s); memory alone for %.0f s",
                FAILURES, what, type(error).__name__, PAUSE_SECONDS,
            )  # fmt: skip


class _Breaker:
    """Leaves Redis alone for a while after failures in a row, so that not every request waits for it; after the pause
    one attempt tells whether it is back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._until = -math.inf

    def closed(self) -> bool:
        """Whether Redis may be asked now."""
        if self._failures < FAILURES:
            return True
        now = self._clock()
        if now < self._until:
            return False
        self._until = now + PAUSE_SECONDS  # this attempt alone
        return True

    def failed(self) -> bool:
        """Note a failure; whether a pause begins with it."""
        self._failures += 1
        if self._failures < FAILURES:
            return False
        self._until = self._clock() + PAUSE_SECONDS
        return True

    def succeeded(self) -> None:
        self._failures = 0


# LiteLLM's own methods swallow errors, so that a lost Redis looks like an unknown conversation, and log each of them.
async def _get(redis: RedisCache, conversation: str) -> Any:
    key = redis.check_and_fix_namespace(KEY_PREFIX + conversation)
    answer: Awaitable[Any] = redis.init_async_client().get(key)
    return await answer


async def _set(redis: RedisCache, conversation: str, value: bytes, ttl: int) -> None:
    key = redis.check_and_fix_namespace(KEY_PREFIX + conversation)
    answer: Awaitable[Any] = redis.init_async_client().set(key, value, ex=ttl)
    await answer
