"""A log of some months, in which requests come in a few hours around moments that sums could go wrong at."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from bsgateway.decision import Caller, Comparison, Decision, Method, Outcome, Reason, Strategy
from bsgateway.rollups import refresh_all
from bsgateway.store import Store
from builders import id_at, make_comparison, make_decision, make_failure, make_outcome, make_texts

NOW = datetime(2026, 4, 12, 10, 20, tzinfo=timezone.utc)
# New York puts its clocks forward on 8 March, Chatham puts its own back on 5 April; and months end.
MOMENTS = tuple(
    datetime(2026, *each, tzinfo=timezone.utc)
    for each in ((2, 1), (2, 17), (2, 28, 22), (3, 8, 4), (3, 9, 3), (3, 31, 17), (4, 4, 9), (4, 5, 10), (4, 12, 6))
)
KEYS = tuple(Caller(key_hash=f"hash-{n}", key_alias=f"key {n}", team_id=("a", "b", None)[n % 3]) for n in range(5))
CALLERS = (*KEYS, Caller())
RENAMED = Caller(key_hash="hash-0", key_alias="key 0, once", team_id="a")

Row = tuple[Decision, Outcome | None, Comparison | None]


def make_row(draw: random.Random, at: datetime) -> Row:
    tier = draw.choice((None, "simple", "simple", "complex"))
    score = None if tier is None else draw.randrange(101)
    decision = make_decision(
        decision_id=id_at(at, draw.getrandbits(60)),
        created_at=at,
        tier=tier,
        complexity_score=score,
        method=draw.choice((Method.AUTO, Method.PATTERN)) if tier else Method.PASSTHROUGH,
        reason=draw.choice((Reason.SCORE, Reason.SCORE, Reason.SESSION_KEPT, Reason.NEEDS))
        if tier
        else Reason.MODEL_LIST,
        strategy=draw.choice((Strategy.STATIC, Strategy.ML)) if tier else None,
        original_model=draw.choice(("auto", "large")),
        resolved_model=draw.choice(("small", "large")),
        applied=draw.random() < 0.85,
        conversation_id=draw.choice((None, "talk-1", "talk-2", f"talk-{draw.getrandbits(40)}")),
        caller=RENAMED if at < MOMENTS[1] and draw.random() < 0.2 else draw.choice(CALLERS),
        decision_us=draw.lognormvariate(4, 1),
    )
    outcome = None
    chance = draw.random()
    if chance < 0.15:
        outcome = make_failure(decision, served_group=draw.choice((None, "small")), latency_ms=draw.uniform(1, 1_000))
    elif chance < 0.9:
        outcome = make_outcome(
            decision,
            served_group=decision.resolved_model if draw.random() < 0.8 else draw.choice((None, "other")),
            cost=draw.choice((None, draw.uniform(0, 0.3), draw.uniform(0, 0.3))),
            baseline_model=draw.choice((None, "large", "largest")),
            baseline_cost=draw.choice((None, draw.uniform(0, 3), draw.uniform(0, 3))),
            prompt_tokens=draw.choice((None, draw.randrange(10_000))),
            latency_ms=draw.lognormvariate(6, 1),
            first_token_ms=draw.choice((None, draw.lognormvariate(5, 1))),
        )
    compared = draw.random() < 0.1
    return decision, outcome, make_comparison(decision, cost=draw.choice((None, 0.01))) if compared else None


def make_rows(draw: random.Random, count: int) -> list[Row]:
    """Rows in a few hours around each of the moments, some of them exactly on a quarter of an hour."""
    moments = (
        draw.choice(MOMENTS) + timedelta(minutes=draw.choice((0, 15, draw.uniform(0, 420)))) for _ in range(count)
    )
    return [make_row(draw, moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)) for moment in moments]


ROWS = make_rows(random.Random(8), 1_500)


def fell_back(decision: Decision, outcome: Outcome) -> bool:
    other = outcome.served_group not in (None, decision.resolved_model)
    return outcome.status == "success" and decision.applied and other


def model_of(row: Row) -> str:
    decision, outcome, _ = row
    served = None if outcome is None else outcome.served_group
    return served or (decision.resolved_model if decision.applied else decision.original_model)


@contextmanager
def database(server: str) -> Iterator[str]:
    """DSN of a database with all rows and the texts of their requests, which are added up."""
    name = f"test_{uuid4().hex}"

    async def fill(dsn: str) -> None:
        async with await Store.connect(dsn) as store:
            await store.migrate()
            await store.make_partitions(MOMENTS[0], MOMENTS[-1])
            await store.copy([each for row in ROWS for each in (*row, make_texts(row[0])) if each is not None])
            assert await refresh_all(store, None)

    async def execute(command: str) -> None:
        connection = await asyncpg.connect(server)
        await connection.execute(command)
        await connection.close()

    asyncio.run(execute(f"CREATE DATABASE {name}"))
    try:
        dsn = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        asyncio.run(fill(dsn))
        yield dsn
    finally:
        asyncio.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))
