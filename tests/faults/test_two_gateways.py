"""Two gateways with two workers each over one PostgreSQL and one Redis: nothing is lost, nothing is there twice.

`make faults` sends more, and kills one of them in the middle.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import asyncpg
import httpx
import psutil
import pytest

from bsgateway.migrations import available
from bsgateway.web.health import LIVE, READY
from e2e.clients import PROMPTS, http, new_request_id
from e2e.gateways import STOP_SECONDS, Gateway
from e2e.records import until
from e2e.upstream import Plan, Upstream
from faults.experiment import LONG, only_long
from faults.pair import FULL_PATH, SHUTDOWN_DELAY, Pair, Talk, Traffic, as_rows, slow_requests
from redis_server import RedisServer, program

REQUESTS = 600 if LONG else 240
TURNS = 3
CONVERSATIONS = 40
KEPT = 3
WRITTEN_SECONDS = 0.05
"""Redis is written to while the answer is already on its way."""
IN_FLIGHT = 4
SETTLED_SECONDS = 1.5
"""LiteLLM reports an answer some time after it was given. What is killed before that has a decision and no outcome."""
PROBES = 16
TIMEOUT = 60.0
"""A bound against hangs."""
WORDS = 30_000
"""Characters of an ask of which some dozens fill a spool."""

Said = tuple[int, str, str | None, str | None]
WRITING: Said = (200, "ready", "reachable", "accepting")
KEEPING: Said = (200, "ready", "away", "accepting")
FULL: Said = (503, "log_full", "away", "full")
DRAINING: Said = (503, "draining", "reachable", "accepting")

Connection = asyncpg.Connection
needs_redis = pytest.mark.skipif(program() is None, reason="there is no redis-server here")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer | None]:
    """What both remember conversations in, where there is one to run."""
    path = program()
    if path is None:
        yield None
        return
    server = RedisServer(path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, postgres_server: str, redis: RedisServer | None) -> Iterator[Pair]:
    """Both, started at once on an empty database."""
    with Upstream().running() as upstream:
        pair = Pair(tmp_path_factory.mktemp("pair"), upstream, postgres_server, redis)
        try:
            pair.open()
            yield pair
        finally:
            pair.close()


@pytest.fixture(scope="module")
def traffic(pair: Pair) -> Traffic:
    """All that was asked."""
    return Traffic(pair)


@pytest.fixture
async def sql(pair: Pair) -> AsyncIterator[Connection[asyncpg.Record]]:
    """The database of both. A test that turns connections away has to do without."""
    connection = await asyncpg.connect(pair.dsn)
    yield connection
    await connection.close()


async def test_migrations_of_two_that_start_at_once_are_applied_once(
    pair: Pair, sql: Connection[asyncpg.Record]
) -> None:
    rows = await sql.fetch("SELECT version FROM bsgateway_migrations ORDER BY version")
    assert [row["version"] for row in rows] == [migration.version for migration in available()]
    said = [event["version"] for gateway in pair.both for event in gateway.events("migration_applied")]
    assert sorted(said) == [migration.version for migration in available()]


@needs_redis
async def test_a_conversation_keeps_its_tier_on_the_other_gateway(traffic: Traffic) -> None:
    """No request waits for Redis longer than `sessions.REDIS_SECONDS`, and where all processors are busy it often does
    not answer by then. So some conversations are given up here. What shows that Redis is what keeps the others is the
    next test: without it none is kept."""
    kept = 0
    for number in range(CONVERSATIONS):
        talk = Talk()
        assert (await traffic.ask(number, PROMPTS["complex"], talk))["x-bsgateway-model"] == "large"
        await asyncio.sleep(WRITTEN_SECONDS)
        for turn in range(1, TURNS):
            if (await traffic.ask(number + turn, PROMPTS["simple"], talk))["x-bsgateway-model"] != "large":
                await asyncio.sleep(1)  # the gateway leaves a Redis alone for a while that was late three times
                break
        else:
            kept += 1
        if kept == KEPT:
            return
    raise AssertionError(f"{kept} of {CONVERSATIONS} conversations kept their tier; {await misses(traffic.pair)}")


@needs_redis
async def test_without_redis_the_other_gateway_knows_nothing_of_a_conversation(
    pair: Pair, redis: RedisServer, traffic: Traffic
) -> None:
    """So it is Redis that keeps the tier. Requests are answered all the same."""
    redis.kill()
    try:
        talk = Talk()
        assert (await traffic.ask(0, PROMPTS["complex"], talk))["x-bsgateway-model"] == "large"
        assert (await traffic.ask(1, PROMPTS["simple"], talk))["x-bsgateway-model"] == "small"
    finally:
        redis.start()


async def test_under_load_each_answer_has_one_decision_and_one_outcome(
    pair: Pair, traffic: Traffic, sql: Connection[asyncpg.Record]
) -> None:
    await traffic.run(REQUESTS)
    assert traffic.retried == 0
    await assert_each_once(sql, traffic, unanswered=0)
    await assert_sums(sql)
    workers = {process for gateway in pair.both for process in gateway.workers()}
    assert len(workers) == 4
    assert min(traffic.by.values()) > REQUESTS / 3


@only_long
async def test_a_gateway_is_killed_with_the_database_away_and_started_again(pair: Pair, traffic: Traffic) -> None:
    requests = {}
    for _ in range(IN_FLIGHT):
        request_id = new_request_id()
        pair.upstream.plan(request_id, Plan(delay=60), "small")
        requests[request_id] = f"{PROMPTS['simple']} {request_id}"
    await pair.let_in(False)
    await traffic.run(REQUESTS // 3)
    slow = await slow_requests(pair.second, requests)
    await asyncio.sleep(SETTLED_SECONDS)
    await pair.kill_second()
    for ended in await asyncio.gather(*slow, return_exceptions=True):
        assert isinstance(ended, httpx.TransportError)
    await traffic.run(REQUESTS // 3)  # the first one answers for both
    assert traffic.retried >= REQUESTS // 8
    await pair.let_in(True)
    await asyncio.to_thread(pair.restart_second)
    before = traffic.by[1]
    await traffic.run(REQUESTS // 3)
    assert traffic.by[1] > before
    connection = await asyncpg.connect(pair.dsn)
    try:
        await assert_each_once(connection, traffic, unanswered=IN_FLIGHT)
        await assert_sums(connection)
    finally:
        await connection.close()


async def test_what_a_load_balancer_is_told(pair: Pair, traffic: Traffic) -> None:
    """The last one: the first gateway has ended afterwards."""
    for gateway in pair.both:
        await all_say(gateway, WRITING)
    await pair.let_in(False)
    await all_say(pair.first, KEEPING)
    before = sum(traffic.answered.values())
    deadline = time.monotonic() + 60
    while set(await probe(pair.first)) != {FULL}:
        assert time.monotonic() < deadline, await probe(pair.first)
        words = "What is the capital of France? " * (WORDS // 31)
        await asyncio.gather(*(traffic.ask(0, f"{words}{number}") for number in range(PROBES)))
    assert sum(traffic.answered.values()) > before, "it goes on answering"
    await all_say(pair.second, KEEPING)  # it looks for the database every few seconds
    async with httpx.AsyncClient(base_url=pair.first.url, timeout=TIMEOUT) as nobody:
        assert (await nobody.get(f"{READY}?exclude=log")).status_code == 200
    await pair.let_in(True)
    for gateway in pair.both:
        await all_say(gateway, WRITING)
    await assert_it_ends_by_the_book(pair.first)
    assert set(await probe(pair.second)) == {WRITING}
    connection = await asyncpg.connect(pair.dsn)
    try:
        await assert_each_once(connection, traffic, unanswered=None, besides=2)
    finally:
        await connection.close()


async def misses(pair: Pair) -> list[str]:
    """How often Redis was not asked, or did not answer in time."""
    found = []
    for gateway in pair.both:
        async with http(gateway) as client:
            lines = (await client.get("/bsgateway/metrics")).text.splitlines()
        found += [line for line in lines if line.startswith("bsgateway_session_misses_total")]
    return found


async def assert_each_once(
    sql: Connection[asyncpg.Record], traffic: Traffic, unanswered: int | None, besides: int = 0
) -> None:
    """Each answer named a decision of its own, which has one row and one outcome; and there is nothing else, but for
    decisions that were never answered, and `besides` answers that were not counted."""
    wanted = set(traffic.answered)
    assert set(traffic.answered.values()) == {1}

    async def written() -> bool:
        outcomes = await sql.fetch("SELECT decision_id FROM routing_outcomes WHERE status = 'success'")
        return len(outcomes) >= len(wanted) + besides

    await until("the outcomes of all answers", written, 60)
    rows = as_rows(await sql.fetch("SELECT decision_id FROM routing_logs"))
    outcomes = as_rows(await sql.fetch("SELECT decision_id FROM routing_outcomes WHERE status = 'success'"))
    assert wanted - set(rows) == set(), "answered, but no decision"
    assert wanted - set(outcomes) == set(), "answered, but no outcome"
    assert set((rows | outcomes).values()) == {1}
    assert len(outcomes) == len(wanted) + besides
    if unanswered is not None:
        assert len(rows) == len(wanted) + besides + unanswered


async def assert_sums(sql: Connection[asyncpg.Record]) -> None:
    """The sums that pages and reports read are those of the rows, once they are added up."""
    found: list[asyncpg.Record] = []

    async def added_up() -> bool:
        found[:] = await sql.fetch(
            "SELECT sum(requests), sum(prompt_tokens), sum(completion_tokens), round(sum(spent)::numeric, 9) "
            "FROM routing_rollups WHERE span = 900 UNION ALL "
            "SELECT count(*), sum(prompt_tokens), sum(completion_tokens), round(sum(cost)::numeric, 9) "
            "FROM routing_logs LEFT JOIN routing_outcomes USING (decision_id)"
        )
        return found[0] == found[1]

    await until(f"equal sums: {found}", added_up, 30)


async def probe(gateway: Gateway) -> list[Said]:
    """What workers say to who has no key, each time on a connection of its own."""

    async def one() -> Said:
        async with httpx.AsyncClient(base_url=gateway.url, verify=False, timeout=TIMEOUT) as nobody:
            answer = await nobody.get(READY)
        assert answer.headers["cache-control"] == "no-store"
        said = answer.json()
        log = said["log"] or {}
        return answer.status_code, said["status"], log.get("database"), log.get("spool")

    return await asyncio.gather(*(one() for _ in range(PROBES)))


async def all_say(gateway: Gateway, wanted: Said) -> None:
    """Wait until every probe is answered so."""
    found: list[Said] = []

    async def agreed() -> bool:
        found[:] = await probe(gateway)
        return set(found) == {wanted}

    try:
        await until(f"{wanted}", agreed, TIMEOUT)
    except AssertionError as error:
        raise AssertionError(f"{error}; the last answers were {Counter(found)}") from None


async def assert_it_ends_by_the_book(gateway: Gateway) -> None:
    """SIGTERM: not ready at once, answering all the same; some time later nobody listens, while what is in flight is
    answered; then it ends well."""
    family = psutil.Process(gateway.process.pid).children(recursive=True)
    request_id = new_request_id()
    gateway.upstream.plan(request_id, Plan(delay=SHUTDOWN_DELAY + 4), "small")
    (slow,) = await slow_requests(gateway, {request_id: f"{PROMPTS['simple']} {request_id}"})
    began = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    await all_say(gateway, DRAINING)
    async with http(gateway) as client:
        assert (await client.get(LIVE)).status_code == 200
        body = {"model": "auto", "messages": [{"role": "user", "content": PROMPTS["simple"]}]}
        assert (await client.post(FULL_PATH, json=body)).status_code == 200
    assert time.monotonic() - began < SHUTDOWN_DELAY, "this machine is too slow for the test"

    async def refused() -> bool:
        try:
            async with httpx.AsyncClient(base_url=gateway.url, timeout=1) as nobody:
                await nobody.get(LIVE)
        except httpx.ConnectError:
            return True
        except httpx.HTTPError:
            return False
        return False

    await until("nobody listens", refused, SHUTDOWN_DELAY + 10)
    assert time.monotonic() - began >= SHUTDOWN_DELAY
    assert not slow.done()
    await slow
    assert await asyncio.to_thread(gateway.process.wait, STOP_SECONDS) == 0
    _, left = psutil.wait_procs(family, timeout=2)
    assert not left, f"processes outlive the gateway: {left}"
