"""A month of requests with a known answer, for the tests of the pages and for their screenshots.

What a request's words lead to is decided by a real gateway of the configuration; when it came, from whom and what came
of it is drawn from one seeded generator. The same seed and the same end give the same log.
"""

from __future__ import annotations

import hashlib
import random
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from bsgateway.decision import Caller, Decision, Outcome, Reason, Skipped
from bsgateway.gateway import Gateway
from bsgateway.rollups import refresh_all
from bsgateway.rows import Item
from bsgateway.store import Store
from builders import id_at, make_comparison, make_failure, make_outcome, make_texts

SEED = 8
ROWS = 3_000
DAYS = 30
PRICES = {"small": (0.1, 0.4), "swift": (0.15, 0.6), "medium": (0.4, 3.2), "large": (5.0, 25.0)}
"""US dollars for a million tokens in and out."""
LATENCIES = {"small": 420.0, "swift": 610.0, "medium": 1_700.0, "large": 5_200.0}
"""Milliseconds that half of the answers take."""
MARKUP = "<img src=x onerror=\"document.title='taken'\"></script><script>document.title='taken'</script>"
"""What a page must show as it is."""


def key_hash(name: str) -> str:
    """LiteLLM's hash of the key `sk-key-NAME`."""
    return hashlib.sha256(f"sk-key-{name}".encode()).hexdigest()


ALICE = Caller(key_hash=key_hash("alice"), key_alias="alice's key", team_id="red", user_agent="OpenAI/Python 2.8.0")
BOB = Caller(key_hash=key_hash("bob"), user_id="bob", user_agent="claude-cli/2.0 (external, cli)")
CALLERS = (
    ALICE,
    BOB,
    Caller(key_hash=key_hash("support"), key_alias="support-bot", team_id="blue", end_user="customer-17"),
    Caller(key_hash=key_hash("review"), key_alias="code-review", team_id="red"),
    Caller(key_hash=key_hash("search"), key_alias="docs-search", team_id="green"),
    Caller(),
)
_SHARES = (14, 9, 34, 18, 22, 3)

_EASY = (
    "What is the capital of {thing}?",
    "List the planets of the solar system in order.",
    "Translate 'good morning' into {thing}.",
    "When was {thing} founded?",
    "Fix the spelling of this sentence about {thing}.",
)
_MIDDLING = (
    "Refactor this module about {thing} and write unit tests for it.",
    "Explain the trade-offs of optimistic locking for {thing}, with an example in Python.",
    "Write a Python function that merges two sorted lists of {thing}, with tests, and explain its complexity.",
    "Summarize this report on {thing} and compare it step by step with the one of last year.",
)
_HARD = (
    "Design a distributed rate limiter for {thing}. Analyze consistency, race conditions and failure modes, and "
    "evaluate the trade-offs of three architectures.",
    "Prove that the algorithm for {thing} is correct, derive its complexity step by step, and analyze the race "
    "condition.\n```python\ndef merge(a, b):\n    while a and b:\n        yield (a if a[0] < b[0] else b).pop(0)\n```",
    "Debug this deadlock in {thing}, find the root cause step by step and design a fix:\n```\nTraceback (most recent "
    'call last):\n  File "store.py", line 41, in save\n  File "index.py", line 97, in update\nTimeoutError\n```',
)
_THINGS = ("Peru", "invoices", "Mongolia", "the scheduler", "a ledger", "Finland", "sensor data", "the parser")
_FILLING = "The background is as follows, and every detail of it matters for the answer that is wanted. "
_NAMES = ("auto", "auto", "auto", "auto", "claude-sonnet-4-5", "claude-haiku-4-5", "frontier", "small", "gpt-next")
_TOOL = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}


class Seeded(NamedTuple):
    """What the tests look for in the log. `whole` is a decision of alice's of which everything is known, `foreign` one
    of bob's, `wordless` one without its words, `markup` one whose texts and names are markup, if it was asked for."""

    until: datetime
    whole: UUID
    foreign: UUID
    wordless: UUID
    markup: UUID | None


async def seed(dsn: str, gateway: Gateway, until: datetime, *, markup: bool) -> Seeded:
    """Fill the empty database `dsn` with the month before `until`, and add it up."""
    draw = random.Random(SEED)
    items: list[Item] = []
    for _ in range(ROWS):
        items += _request(gateway, draw, _moment(draw, until))
    whole = _whole(gateway, draw, until - timedelta(hours=2))
    foreign = _row(gateway, draw, until - timedelta(hours=3), _EASY[0], BOB)
    wordless = _row(gateway, draw, until - timedelta(hours=4), _MIDDLING[0], ALICE)[:2]
    strange = _markup(gateway, draw, until - timedelta(hours=5)) if markup else []
    async with await Store.connect(dsn) as store:
        await store.migrate()
        await store.make_partitions(until - timedelta(days=DAYS + 1), until + timedelta(days=1))
        await store.copy([*items, *whole, *foreign, *wordless, *strange])
        await _say(dsn, draw, [each for each in items if isinstance(each, Decision)], whole[0], strange)
        assert await refresh_all(store, None)
    ids = [_id(each[0]) for each in (whole, foreign, wordless)]
    return Seeded(until, ids[0], ids[1], ids[2], _id(strange[0]) if strange else None)


def _id(item: Item) -> UUID:
    return item.decision_id


def _moment(draw: random.Random, until: datetime) -> datetime:
    """More at noon than at night, more on weekdays than at weekends."""
    while True:
        moment = until - timedelta(seconds=draw.uniform(60, DAYS * 86_400))
        busy = (0.25 if moment.weekday() >= 5 else 1.0) * (1.0 if 7 <= moment.hour < 18 else 0.3)
        if draw.random() < busy:
            return moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)


def _words(draw: random.Random) -> str:
    """From one easy question to several hard ones with much to read."""
    kinds = draw.choices((_EASY, _MIDDLING, _HARD), (6, 4, 1), k=draw.choice((1, 1, 2, 3, 4)))
    asks = [draw.choice(kind).format(thing=draw.choice(_THINGS)) for kind in kinds]
    return " ".join(asks) + " " + _FILLING * int(draw.expovariate(1 / draw.choice((1, 20, 150))))


def _decided(gateway: Gateway, draw: random.Random, at: datetime, words: str, name: str, **fields: Any) -> Decision:
    body: dict[str, Any] = {"model": name, "messages": [{"role": "user", "content": words}], "max_tokens": 4_096}
    for _ in range(draw.choice((0, 0, 1, 3, 9))):
        body["messages"][:0] = [
            {"role": "user", "content": draw.choice(_EASY)},
            {"role": "assistant", "content": "Yes."},
        ]
    if draw.random() < 0.4:
        body["tools"] = [_TOOL] * draw.randrange(1, 12)
    if draw.random() < 0.4:
        body["messages"].insert(0, {"role": "system", "content": "You help. " * draw.randrange(1, 900)})
    decision = gateway.decide(body)
    own = {"decision_id": id_at(at, draw.getrandbits(60)), "created_at": at, "decision_us": draw.lognormvariate(4, 0.6)}
    return msgspec.structs.replace(decision, **{**own, **fields})


def _request(gateway: Gateway, draw: random.Random, at: datetime) -> list[Item]:
    words = _words(draw)
    caller = msgspec.structs.replace(
        draw.choices(CALLERS, _SHARES)[0], call_id=f"{draw.getrandbits(128):032x}", session_id=None
    )
    decision = _decided(gateway, draw, at, words, draw.choice(_NAMES), caller=caller, stream=draw.random() < 0.5)
    decision = _fate(draw, decision)
    items: list[Item] = [decision, make_texts(decision, ask=words, system="")]
    outcome = _outcome(draw, decision)
    if outcome is not None:
        items.append(outcome)
    if decision.tier == "simple" and outcome is not None and draw.random() < 0.06:
        items.append(
            make_comparison(
                decision, weak_model="small", strong_model="large", judge_model="medium", share=0.05,
                cost=draw.uniform(0.002, 0.02), weak_score=draw.choice((0.0, 0.5, 1.0)),
                strong_score=draw.choice((0.5, 1.0)),
            )
        )  # fmt: skip
    return items


def _fate(draw: random.Random, decision: Decision) -> Decision:
    """What conversations, limits and chance make of a request that is routed by score."""
    chance = draw.random()
    if decision.tier is None or chance > 0.3:
        return decision
    if chance < 0.12:
        reason = draw.choice((Reason.SESSION_KEPT, Reason.TOOL_RESULT, Reason.SESSION_UP, Reason.SESSION_DOWN))
        talk = f"{draw.randrange(60):032x}"
        return msgspec.structs.replace(
            decision, reason=reason, conversation_id=talk, previous_model=decision.resolved_model
        )
    if chance < 0.2 and decision.resolved_model == "small":
        why = draw.choice((Reason.COOLING_DOWN, Reason.NEEDS, Reason.OVER_BUDGET))
        return msgspec.structs.replace(
            decision, reason=why, resolved_model="swift", skipped=(Skipped("small", why),), needs=("tools",)
        )
    if chance < 0.22:
        return msgspec.structs.replace(decision, reason=Reason.EXPLORED, explored=True, propensity=0.01)
    if chance < 0.25:
        return msgspec.structs.replace(decision, applied=False)
    return decision


def _outcome(draw: random.Random, decision: Decision, served: str | None = None) -> Outcome | None:
    chance = draw.random()
    if served is None and chance < 0.01:
        return None
    if served is None and chance < 0.035:
        kind, status = draw.choice((("RateLimitError", 429), ("Timeout", 408), ("InternalServerError", 500)))
        return make_failure(decision, error_class=kind, error_status=status)
    group = decision.resolved_model if decision.applied else "large"
    if served is not None or (chance < 0.06 and group != "large"):
        group = served or "large"
    tokens = max(20, int((decision.context_tokens or 300) * draw.uniform(1, 12)))
    made = int(draw.lognormvariate(6.2, 0.8))
    cached = int(tokens * draw.uniform(0.2, 0.8)) if draw.random() < 0.4 else 0
    latency = LATENCIES[group] * draw.lognormvariate(0, 0.5)
    return make_outcome(
        decision, served_group=group, served_model=f"{group}-2026", prompt_tokens=tokens, completion_tokens=made,
        cache_read_tokens=cached, cache_write_tokens=0, cost=_worth(group, tokens, made), baseline_model="large",
        baseline_cost=_worth("large", tokens, made), latency_ms=latency,
        first_token_ms=latency * draw.uniform(0.1, 0.4),
        completed_at=decision.created_at + timedelta(milliseconds=latency),
    )  # fmt: skip


def _worth(group: str, tokens: int, made: int) -> float:
    given, price = PRICES[group]
    return (tokens * given + made * price) / 1e6


def _row(
    gateway: Gateway,
    draw: random.Random,
    at: datetime,
    words: str,
    caller: Caller,
    served: str = "small",
    **fields: Any,
) -> list[Item]:
    """One request that was answered: its decision, its outcome and its words."""
    decision = _decided(gateway, draw, at, words, "auto", caller=caller, **fields)
    outcome = _outcome(draw, decision, served)
    assert outcome is not None
    return [decision, outcome, make_texts(decision, ask=words, system="You help.")]


def _whole(gateway: Gateway, draw: random.Random, at: datetime) -> list[Item]:
    """A decision of which everything is known, and the turns before and after it."""
    talk = {"conversation_id": f"{draw.getrandbits(128):032x}", "previous_model": "small"}
    caller = msgspec.structs.replace(ALICE, call_id="call-of-the-whole")
    found = _row(
        gateway, draw, at, _HARD[0].format(thing="invoices"), caller, "large", resolved_model="large",
        reason=Reason.NEEDS, skipped=(Skipped("medium", Reason.NEEDS), Skipped("swift", Reason.NOT_ALLOWED)),
        needs=("tools", "vision"), changes=("thinking",), **talk,
    )  # fmt: skip
    decision = found[0]
    assert isinstance(decision, Decision)
    found.append(make_comparison(decision, judge_model="medium", weak_model="small", strong_model="large", cost=0.01))
    for minutes, reason in ((-9, Reason.SCORE), (-4, Reason.SESSION_KEPT), (3, Reason.TOOL_RESULT)):
        found += _row(gateway, draw, at + timedelta(minutes=minutes), _EASY[1], ALICE, reason=reason, **talk)
    return found


def _markup(gateway: Gateway, draw: random.Random, at: datetime) -> list[Item]:
    """A request with markup wherever somebody else chooses the words."""
    caller = Caller(
        call_id=MARKUP, session_id=MARKUP, key_hash=MARKUP, key_alias=MARKUP, user_id=MARKUP, team_id=MARKUP,
        end_user=MARKUP, user_agent=MARKUP,
    )  # fmt: skip
    decision, outcome, texts = _row(
        gateway, draw, at, MARKUP, caller, original_model=MARKUP, resolved_model=MARKUP, tier=MARKUP,
        skipped=(Skipped(MARKUP, Reason.NEEDS),), needs=(MARKUP,), conversation_id=MARKUP, ignored=(MARKUP,),
    )  # fmt: skip
    return [
        decision,
        msgspec.structs.replace(
            outcome, served_group=MARKUP, served_model=MARKUP, provider=MARKUP, finish_reason=MARKUP
        ),
        msgspec.structs.replace(texts, system=MARKUP),
    ]


async def _say(dsn: str, draw: random.Random, rated: list[Decision], whole: Item, strange: list[Item]) -> None:
    """Feedback: on some requests, on the one of which everything is known, and markup."""
    said: list[tuple[UUID, datetime, str, float | None, str | None, str | None]] = [
        (each.decision_id, each.created_at, "client:support-bot", draw.choice((0.0, 0.5, 1.0)), None, None)
        for each in draw.sample(rated, 90)
    ]
    said += [
        (each.decision_id, each.created_at, "dashboard:alice's key", None, draw.choice(("simple", "complex")), None)
        for each in draw.sample(rated, 25)
    ]
    moment = datetime.fromtimestamp((whole.decision_id.int >> 80) / 1000 + 90, tz=rated[0].created_at.tzinfo)
    said.append((whole.decision_id, moment, "client:alice's key", 0.75, "complex", "A good plan, but long."))
    said += [(each.decision_id, moment, MARKUP, 0.5, MARKUP, MARKUP) for each in strange[:1]]
    connection = await asyncpg.connect(dsn)
    try:
        await connection.executemany(
            "INSERT INTO routing_feedback (decision_id, created_at, source, rating, label, comment) "
            "VALUES ($1, $2, $3, $4, $5, $6)",
            said,
        )
    finally:
        await connection.close()
