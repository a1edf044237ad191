"""Embeddings after the fact: with a real PostgreSQL, a real model, and a server that fails in every way it can."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from bsgateway.config import Embedding
from bsgateway.errors import StoreError
from bsgateway.log import embedder as module
from bsgateway.log.embedder import Embedder, EmbedderStats
from bsgateway.log.embeddings import CANARY, probe
from bsgateway.store import Store
from bsgateway.upstreams import local_model
from builders import make_decision, make_texts, until
from integration.ollama_server import (
    Answer,
    Behaviour,
    OllamaServer,
    embeddings,
    engine,
    hashed,
    modelled,
    refusal,
    vector,
)
from sockets import serving

POISON = "the poisoned text"
MODEL = "nomic-embed-text"
Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

needs_model = pytest.mark.skipif(not local_model.is_available(), reason=local_model.INSTALL_HINT)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds where an operator's take seconds."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(module, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(module, "LAST_RETRY", 0.05)


@pytest.fixture(scope="module")
def real_engine() -> Iterator[Any]:
    running = engine()
    yield running
    del running


@pytest.fixture
async def server() -> AsyncIterator[OllamaServer]:
    async with OllamaServer() as running:
        yield running


@pytest.fixture(params=["vector", "real[]"])
def column(request: pytest.FixtureRequest) -> str:
    """The type of the column: pgvector's, or the one without pgvector."""
    return str(request.param)


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[Store]:
    async with await Store.connect(postgres_dsn) as connected:
        await connected.migrate()
        yield connected


@pytest.fixture
async def sql(store: Store, postgres_dsn: str) -> AsyncIterator[Sql]:
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


async def add(store: Store, *asks: str, redacted: bool = True) -> list[UUID]:
    """Store texts as the log's writer does; their ids."""
    decisions = [make_decision() for _ in asks]
    await store.copy(
        [make_texts(decision, ask=ask, redacted=redacted) for decision, ask in zip(decisions, asks, strict=True)]
    )
    return [decision.decision_id for decision in decisions]


async def state(sql: Sql) -> dict[str, tuple[list[float] | None, str | None, str | None]]:
    """What became of each ask: embedding, model, error."""
    rows = await sql.fetch("SELECT ask, embedding::real[], embedding_model, embedding_error FROM routing_texts")
    return {row["ask"]: (row["embedding"], row["embedding_model"], row["embedding_error"]) for row in rows}


def errors(found: dict[str, tuple[Any, Any, str | None]]) -> dict[str, str]:
    return {ask: error for ask, (_, _, error) in found.items() if error is not None}


async def waiting(sql: Sql) -> int:
    count: int = await sql.fetchval(
        "SELECT count(*) FROM routing_texts WHERE embedding_model IS NULL AND embedding_error IS NULL"
    )
    return count


async def until_true(condition: Callable[[], Awaitable[bool]]) -> None:
    async def poll() -> None:
        while not await condition():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.01)

    await asyncio.wait_for(poll(), 30)


async def done(sql: Sql) -> None:
    """Until every text has an embedding or an error."""

    async def none_waits() -> bool:
        return await waiting(sql) == 0

    await until_true(none_waits)


def make(server: OllamaServer, store: Store, *, redacted_only: bool = True, **settings: Any) -> Embedder:
    async def connect() -> Store:
        return store

    chosen = Embedding(**{"model": MODEL, "api_base": server.url, "timeout_seconds": 5.0, **settings})
    return Embedder(chosen, connect, redacted_only=redacted_only)


@asynccontextmanager
async def running(*embedders: Embedder) -> AsyncIterator[None]:
    """Run them until the end of the block."""
    tasks = [asyncio.create_task(embedder.run()) for embedder in embedders]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


async def embed_all(server: OllamaServer, store: Store, sql: Sql, **settings: Any) -> EmbedderStats:
    """Run one embedder until nothing is left to do."""
    embedder = make(server, store, **settings)
    todo = await waiting(sql)
    async with running(embedder):
        await done(sql)
        # The table is written a moment before that is counted.
        await until(lambda: (stats := embedder.stats()).embedded + stats.failed == todo and stats.circuit == "closed")
    return embedder.stats()


# All is well


@needs_model
async def test_asks_get_the_embeddings_of_a_real_model(real_engine: Any, store: Store, sql: Sql, column: str) -> None:
    await set_column(sql, column)
    asks = [
        "What is the capital of France?",
        "Write a sort in Rust. \U0001f980",
        "Was ist die Hauptstadt? äß",
        "x" * 200,
    ]
    await add(store, *asks)
    async with OllamaServer(modelled(real_engine)) as server:
        assert await embed_all(server, store, sql) == EmbedderStats(4, 0, "closed", None)
    found = await state(sql)
    assert set(found) == set(asks)
    for ask, (embedding, model, error) in found.items():
        assert (model, error) == (MODEL, None)
        expected = real_engine.handle_embeddings({"input": [ask]})["data"][0]["embedding"]
        assert embedding is not None
        assert len(embedding) == len(expected) == 576
        assert math.sqrt(math.fsum(number**2 for number in embedding)) == pytest.approx(1, abs=1e-4)
        assert math.fsum(a * b for a, b in zip(embedding, expected, strict=True)) == pytest.approx(1, abs=1e-3)


@needs_model
async def test_a_text_that_a_real_model_cannot_take_blocks_no_other(real_engine: Any, store: Store, sql: Sql) -> None:
    long = "word " * 2_500
    await add(store, "one", long, "two")
    async with OllamaServer(modelled(real_engine)) as server:
        assert await embed_all(server, store, sql) == EmbedderStats(2, 1, "closed", None)
    assert errors(await state(sql)) == {long: "status_500"}


async def set_column(sql: Sql, column: str) -> None:
    """Make the column what it is with or without pgvector."""
    found = await sql.fetchval(
        "SELECT atttypid::regtype::text FROM pg_attribute "
        "WHERE attrelid = 'routing_texts'::regclass AND attname = 'embedding'"
    )
    if found == column:
        return
    if column == "vector":
        pytest.skip("this PostgreSQL has no pgvector")
    await sql.execute(
        "DROP VIEW routing_training; ALTER TABLE routing_texts ALTER embedding TYPE real[] USING embedding::real[]"
    )
    await sql.execute("DROP EXTENSION vector")


async def test_batches_of_both_columns_are_stored_exactly(
    server: OllamaServer, store: Store, sql: Sql, column: str
) -> None:
    await set_column(sql, column)
    asks = [f"ask {n}" for n in range(25)]
    await add(store, *asks)
    assert await embed_all(server, store, sql, batch_rows=10) == EmbedderStats(25, 0, "closed", None)
    assert await state(sql) == {ask: (vector(ask), MODEL, None) for ask in asks}
    assert server.calls == [[CANARY], asks[:10], asks[10:20], asks[20:]]  # oldest first


async def test_the_characters_of_a_call_are_bounded(
    server: OllamaServer, store: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BATCH_CHARS", 10)
    await add(store, "a" * 4, "b" * 6, "c" * 30, "d", "e" * 9, "f")
    await embed_all(server, store, sql)
    assert [[len(text) for text in call] for call in server.calls[1:]] == [[4, 6], [30], [1, 9], [1]]


async def test_the_numbers_of_an_answer_are_bounded(
    server: OllamaServer, store: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BATCH_NUMBERS", 20)
    await add(store, *"abcde")
    await embed_all(server, store, sql)
    assert server.calls == [[CANARY], ["a", "b"], ["c", "d"], ["e"]]


async def test_what_shall_not_be_embedded_is_not_sent(server: OllamaServer, store: Store, sql: Sql) -> None:
    await add(store, "", "said", " \n\t")
    await add(store, "a secret of before", redacted=False)
    assert await embed_all(server, store, sql) == EmbedderStats(1, 3, "closed", None)
    assert server.sent == ["said"]
    assert errors(await state(sql)) == {"": "empty", " \n\t": "empty", "a secret of before": "not_redacted"}


async def test_texts_that_are_kept_in_full_are_sent_in_full(server: OllamaServer, store: Store, sql: Sql) -> None:
    await add(store, "said", redacted=False)
    async with running(make(server, store, redacted_only=False)):
        await done(sql)
    assert server.sent == ["said"]


async def test_it_wakes_when_it_is_poked(
    server: OllamaServer, store: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 3600.0)
    embedder = make(server, store)
    async with running(embedder):
        for ask in ("first", "second"):
            await asyncio.sleep(0.1)  # it has looked, and found nothing
            await add(store, ask)
            embedder.poke()
            await done(sql)
    assert server.sent == ["first", "second"]


async def test_nothing_is_written_while_there_is_nothing_to_do(server: OllamaServer, store: Store, sql: Sql) -> None:
    async with running(make(server, store)):
        await asyncio.sleep(0.3)
        assert await sql.fetchval("SELECT pg_stat_get_xact_tuples_inserted('routing_leases'::regclass)") == 0
        assert await sql.fetchval("SELECT count(*) FROM routing_leases") == 0
    assert server.calls == []


async def test_no_connection_is_held_while_the_model_computes_or_there_is_nothing_to_do(
    server: OllamaServer, store: Store, sql: Sql
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(texts: list[str]) -> Answer:
        asked.set()
        await go.wait()
        return await hashed(texts)

    server.behave = slow
    await add(store, "said")
    embedder = make(server, store)
    async with running(embedder):
        await asyncio.wait_for(asked.wait(), 10)
        assert store._pool.get_idle_size() == store._pool.get_size()
        assert (
            await sql.fetchval("SELECT count(*) FROM pg_stat_activity WHERE xact_start < now() - interval '0.1s'") == 0
        )
        go.set()
        await done(sql)
        await until(lambda: store._pool.get_idle_size() == store._pool.get_size())


# Several workers


async def test_of_several_embedders_none_does_what_another_does(
    server: OllamaServer, store: Store, sql: Sql, postgres_dsn: str
) -> None:
    async def slow(texts: list[str]) -> Answer:
        await asyncio.sleep(0.005)
        return await hashed(texts)

    server.behave = slow
    stores = [await Store.connect(postgres_dsn) for _ in range(4)]
    try:
        asks = [f"ask {n}" for n in range(200)]
        embedders = [make(server, other, batch_rows=7) for other in stores]
        async with running(*embedders):
            for start in range(0, 200, 20):
                await add(store, *asks[start : start + 20])
                await asyncio.sleep(0.01)
            await done(sql)
            await until(lambda: sum(embedder.stats().embedded for embedder in embedders) == 200)
        assert sorted(server.sent) == sorted(asks)  # each once
        assert all((stats := embedder.stats()).failed == 0 and stats.circuit == "closed" for embedder in embedders)
    finally:
        for other in stores:
            await other.close()


async def test_the_work_of_a_dead_worker_is_taken_over_when_its_lease_ends(
    server: OllamaServer, store: Store, sql: Sql
) -> None:
    await add(store, "said")
    await sql.execute(
        "INSERT INTO routing_leases VALUES ('embedding', gen_random_uuid(), now() + interval '0.5 seconds')"
    )
    async with running(make(server, store)):
        await done(sql)
    assert await sql.fetchval("SELECT count(*) FROM routing_leases") == 0
    assert server.sent == ["said"]


async def test_a_worker_that_does_not_reach_the_model_leaves_the_work_to_one_that_does(
    server: OllamaServer, store: Store, sql: Sql
) -> None:
    lost = make(server, store, api_base="http://127.0.0.1:1")
    await add(store, "said")
    async with running(lost):
        await until(lambda: lost.stats().circuit == "open")
        async with running(make(server, store)):
            await done(sql)
    assert server.sent == ["said"]


async def test_a_worker_with_nothing_to_do_holds_no_lease(server: OllamaServer, store: Store, sql: Sql) -> None:
    async def free() -> bool:
        return bool(await sql.fetchval("SELECT count(*) = 0 FROM routing_leases"))

    await add(store, "said")
    async with running(make(server, store)):
        await done(sql)
        await until_true(free)


async def test_an_embedder_can_run_again(server: OllamaServer, store: Store, sql: Sql) -> None:
    embedder = make(server, store)
    for ask in ("one", "two"):
        await add(store, ask)
        async with running(embedder):
            await done(sql)
    assert server.sent == ["one", "two"]


async def test_a_lease_of_another_is_respected(server: OllamaServer, store: Store, sql: Sql) -> None:
    await add(store, "said")
    await sql.execute("INSERT INTO routing_leases VALUES ('embedding', gen_random_uuid(), now() + interval '1 hour')")
    embedder = make(server, store)
    async with running(embedder):
        await asyncio.sleep(0.3)
    assert (server.calls, await waiting(sql)) == ([], 1)
    assert embedder.stats() == EmbedderStats(0, 0, "closed", None)
    assert await sql.fetchval("SELECT count(*) FROM routing_leases") == 1


async def test_a_worker_that_was_paused_stops_when_another_has_taken_over(
    server: OllamaServer, store: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.0)  # it looks before every call
    await add(store, "one", POISON, "two")

    async def steal(texts: list[str]) -> Answer:
        if texts == [CANARY]:
            return await hashed(texts)
        await sql.execute("UPDATE routing_leases SET holder = gen_random_uuid()")
        return refusal(400, texts)

    server.behave = steal
    embedder = make(server, store)
    async with running(embedder):
        await until(lambda: len(server.calls) >= 2)
        await asyncio.sleep(0.2)
    assert server.calls == [[CANARY], ["one", POISON, "two"]]
    assert (await waiting(sql), embedder.stats()) == (3, EmbedderStats(0, 0, "closed", None))


async def test_cancelling_in_the_middle_of_a_call_loses_nothing(server: OllamaServer, store: Store, sql: Sql) -> None:
    async def hang(texts: list[str]) -> Answer:
        await asyncio.sleep(3600)
        raise AssertionError

    await add(store, "one", "two")
    server.behave = hang
    async with running(make(server, store)):
        await until(lambda: bool(server.calls))
        assert await sql.fetchval("SELECT count(*) FROM routing_leases") == 1
    assert await waiting(sql) == 2
    assert await sql.fetchval("SELECT count(*) FROM routing_leases") == 0  # the next one need not wait
    server.behave = hashed
    assert (await embed_all(server, store, sql)).embedded == 2


# One text is at fault


async def cut(texts: list[str]) -> Answer:
    return (await hashed(texts))._replace(cut=20)


async def hang(texts: list[str]) -> Answer:
    await asyncio.sleep(3600)
    raise AssertionError


def fixed(answer: Answer) -> Behaviour:
    async def behave(texts: list[str]) -> Answer:
        return answer

    return behave


def refused(status: int) -> Behaviour:
    async def behave(texts: list[str]) -> Answer:
        return refusal(status, texts)

    return behave


def numbers(value: Any) -> Behaviour:
    """One number of each embedding is another."""

    async def behave(texts: list[str]) -> Answer:
        return embeddings([[*vector(text)[:-1], value] for text in texts])

    return behave


def as_many(difference: int) -> Behaviour:
    async def behave(texts: list[str]) -> Answer:
        return embeddings([vector(text) for text in [*texts, *texts][: len(texts) + difference]])

    return behave


def as_long(dimensions: int) -> Behaviour:
    async def behave(texts: list[str]) -> Answer:
        return embeddings([(vector(text) * 4000)[:dimensions] for text in texts])

    return behave


FAULTS: dict[str, tuple[Behaviour, str]] = {
    "400": (refused(400), "status_400"),
    "413": (refused(413), "status_413"),
    "500": (refused(500), "status_500"),
    "cut": (cut, "connection_lost"),
    "hang": (hang, "timeout"),
    "too few": (as_many(-1), "wrong_count"),
    "too many": (as_many(1), "wrong_count"),
    "shorter": (as_long(7), "wrong_length"),
    "longer": (as_long(9), "wrong_length"),
    "empty": (as_long(0), "wrong_length"),
    "NaN": (numbers(math.nan), "not_finite"),
    "infinite": (numbers(math.inf), "not_finite"),
    "more than 32 bits": (numbers(1e300), "not_finite"),
    "null": (numbers(None), "malformed_answer"),
    "text": (numbers("x"), "malformed_answer"),
    "no JSON": (fixed(Answer(200, b"<html>")), "malformed_answer"),
    "no bytes": (fixed(Answer(200, b"")), "malformed_answer"),
    "a list": (fixed(Answer(200, b"[1]")), "malformed_answer"),
    "nothing in it": (fixed(Answer(200, b"{}")), "malformed_answer"),
    "very deep": (fixed(Answer(200, b"[" * 200_000)), "malformed_answer"),
    "an error that is a list": (fixed(Answer(500, b"[]")), "status_500"),
}


async def test_bad_texts_block_no_others(
    server: OllamaServer, store: Store, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    async def behave(texts: list[str]) -> Answer:
        bad = next((text for text in texts if text.startswith(POISON)), None)
        return await (hashed if bad is None else FAULTS[bad.removeprefix(POISON)][0])(texts)

    server.behave = behave
    good = [f"ask {n}" for n in range(len(FAULTS))]
    await add(store, *(text for pair in zip(good, (POISON + fault for fault in FAULTS), strict=True) for text in pair))
    with caplog.at_level(logging.DEBUG, "bsgateway"):
        stats = await embed_all(server, store, sql, batch_rows=4, timeout_seconds=1.0)
    assert stats == EmbedderStats(len(good), len(FAULTS), "closed", None)
    found = await state(sql)
    assert errors(found) == {POISON + fault: kind for fault, (_, kind) in FAULTS.items()}
    assert {ask: found[ask] for ask in good} == {ask: (vector(ask), MODEL, None) for ask in good}
    assert caplog.text == ""  # not even in debug messages of the client


async def test_a_text_that_brings_the_server_down_is_given_up_after_some_times(
    server: OllamaServer, store: Store, sql: Sql
) -> None:
    falls = 0

    async def behave(texts: list[str]) -> Answer:
        nonlocal falls
        if POISON in texts:
            falls = 3  # calls until it is up again
        if falls:
            falls -= 1
            return await cut(texts)
        return await hashed(texts)

    server.behave = behave
    await add(store, "one", POISON, "two")
    stats = await embed_all(server, store, sql)
    assert (stats.embedded, stats.failed) == (2, 1)
    assert errors(await state(sql)) == {POISON: "connection_lost"}


async def test_texts_that_are_too_much_together_go_in_smaller_batches(
    server: OllamaServer, store: Store, sql: Sql
) -> None:
    async def behave(texts: list[str]) -> Answer:
        return await (hashed if len(texts) <= 4 else refused(500))(texts)

    server.behave = behave
    await add(store, *(f"ask {n}" for n in range(40)))
    assert await embed_all(server, store, sql, batch_rows=8) == EmbedderStats(40, 0, "closed", None)
    assert max(map(len, server.calls[10:])) <= 5  # it tries one more now and then


# The server is at fault


AWAY: dict[str, tuple[Behaviour, str]] = {
    **{str(status): (refused(status), f"status_{status}") for status in (401, 403, 404, 429, 500, 501, 502, 503)},
    "cannot embed": (refused(400), "status_400"),
    "moved": (fixed(Answer(301, b"", headers="location: /elsewhere\r\n")), "status_301"),
    **{name: FAULTS[name] for name in ("cut", "hang", "too few", "NaN", "no JSON", "empty")},
}


async def test_while_the_server_is_at_fault_texts_wait_and_nothing_is_lost(
    server: OllamaServer, store: Store, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    async def come_and_go(fault: str, at_fault: Behaviour, kind: str) -> None:
        server.calls.clear()
        server.behave = at_fault
        await add(store, f"{POISON} {fault} one", f"{POISON} {fault} two")
        embedder = make(server, store, timeout_seconds=0.3 if fault == "hang" else 5.0)
        async with running(embedder):
            await until(lambda: len(server.calls) >= 5)
            assert embedder.stats() == EmbedderStats(0, 0, "open", kind), fault
            assert await waiting(sql) == 2
            server.behave = hashed
            await done(sql)
            await until(lambda: embedder.stats() == EmbedderStats(2, 0, "closed", kind))

    for fault, (at_fault, kind) in AWAY.items():
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "bsgateway"):
            await come_and_go(fault, at_fault, kind)
        down, up = caplog.messages
        assert down == f"embeddings: none are made by {MODEL} now, texts wait: {kind}"
        assert up.startswith(f"embeddings: made by {MODEL} again after ")
    assert errors(await state(sql)) == {}


async def test_a_server_that_goes_away_and_comes_back(
    server: OllamaServer, store: Store, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    embedder = make(server, store)
    async with running(embedder):
        await add(store, "one")
        await done(sql)
        await server.stop()
        await add(store, "two")
        await until(lambda: embedder.stats().circuit == "open")
        await asyncio.sleep(0.3)
        assert await waiting(sql) == 1
        await server.start()
        await done(sql)
        await until(lambda: embedder.stats().circuit == "closed")
    assert (embedder.stats().embedded, embedder.stats().failed) == (2, 0)
    assert len(caplog.records) == 2


async def test_the_time_between_attempts_grows(
    server: OllamaServer, store: Store, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_RETRY", 3600.0)
    server.behave = refused(503)
    await add(store, "one")
    embedder = make(server, store)
    async with running(embedder):
        for _ in range(20):
            await asyncio.sleep(0.05)
            embedder.poke()  # which an open circuit does not hear
    # 10 ms, doubled: within 1 s at most 9 attempts if each comes after half its time, each of one call.
    assert 4 <= len(server.calls) <= 9


async def test_an_answer_that_never_ends_is_given_up(server: OllamaServer, store: Store, sql: Sql) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)

    await add(store, "one")
    async with serving(drip) as port:
        embedder = make(server, store, api_base=f"http://127.0.0.1:{port}", timeout_seconds=0.3)
        async with running(embedder):
            await until(lambda: embedder.stats().last_error == "timeout")
    assert await waiting(sql) == 1


async def test_words_do_not_follow_a_redirect(server: OllamaServer, store: Store, sql: Sql) -> None:
    async with OllamaServer() as other:
        server.behave = fixed(Answer(307, b"", headers=f"location: {other.url}/api/embed\r\n"))
        await add(store, "one")
        embedder = make(server, store)
        async with running(embedder):
            await until(lambda: embedder.stats().last_error == "status_307")
        assert other.calls == []


async def test_another_model_under_the_same_name_is_not_mixed_in(server: OllamaServer, store: Store, sql: Sql) -> None:
    await add(store, "one")
    await embed_all(server, store, sql)
    server.behave = as_long(4)
    await add(store, "two")
    embedder = make(server, store)
    async with running(embedder):
        await until(lambda: embedder.stats().last_error == "wrong_length")
        await asyncio.sleep(0.2)
        assert await waiting(sql) == 1
        # The operator makes room for the new one.
        await sql.execute("UPDATE routing_texts SET embedding = NULL, embedding_model = NULL")
        await done(sql)
    assert {len(embedding or ()) for embedding, _, _ in (await state(sql)).values()} == {4}


async def test_an_address_that_is_none(store: Store, sql: Sql, server: OllamaServer) -> None:
    await add(store, "one")
    embedder = make(server, store, api_base="http://127.0.0.1:port")
    async with running(embedder):
        await until(lambda: embedder.stats().circuit == "open")
    assert (embedder.stats().last_error, await waiting(sql)) == ("unreachable", 1)


# The database is at fault


async def test_a_database_that_breaks_off_while_embeddings_are_stored(
    server: OllamaServer, store: Store, sql: Sql, postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    admin = await asyncpg.connect(postgres_dsn)
    lock = admin.transaction()

    async def behave(texts: list[str]) -> Answer:
        if texts != [CANARY] and not admin.is_in_transaction():
            await lock.start()
            await admin.execute("LOCK routing_texts IN SHARE MODE")
        return await hashed(texts)

    async def cut_off() -> bool:
        return bool(
            await sql.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'bsgateway' AND wait_event_type = 'Lock' AND datname = current_database()"
            )
        )

    server.behave = behave
    await add(store, "one", "two")
    embedder = make(server, store)
    async with running(embedder):
        for _ in range(3):
            await until_true(cut_off)
            await until(lambda: embedder.stats().circuit == "open")
        server.behave = hashed
        await lock.rollback()
        await done(sql)
        await until(lambda: embedder.stats() == EmbedderStats(2, 0, "closed", "StoreError"))
    await admin.close()
    # Embeddings that were not stored are made again.
    assert server.sent == ["one", "two"] * (len(server.sent) // 2) != ["one", "two"]
    assert [message.split(":")[0] for message in caplog.messages] == ["embeddings", "embeddings"]


async def test_a_database_that_is_not_there_yet(server: OllamaServer, store: Store, sql: Sql) -> None:
    there = False

    async def connect() -> Store:
        if not there:
            raise StoreError("cannot connect to PostgreSQL at nowhere")
        return store

    await add(store, "one")
    embedder = Embedder(Embedding(model=MODEL, api_base=server.url), connect, redacted_only=True)
    async with running(embedder):
        await until(lambda: embedder.stats().circuit == "open")
        assert embedder.stats().last_error == "StoreError"
        there = True
        await done(sql)
        await until(lambda: embedder.stats().circuit == "closed")
    assert server.sent == ["one"]


# Doctor


async def test_probe(server: OllamaServer) -> None:
    async def said(**settings: Any) -> str | None:
        return await probe(Embedding(**{"model": MODEL, "api_base": server.url, **settings}))

    assert await said() is None
    server.behave = refused(404)
    assert await said() == f"Ollama at {server.url} lacks {MODEL}: run `ollama pull {MODEL}`"
    server.behave = refused(400)
    assert await said() == f"{MODEL} at {server.url} makes no embeddings (status_400): name an embedding model"
    server.behave = hang
    found = await said(timeout_seconds=0.2)
    assert found is not None
    assert "gave no embedding within 0 s" not in found
    assert "it may be loading" in found
    await server.stop()
    found = await said()
    assert found is not None
    assert found.startswith(f"no Ollama answers at {server.url} (unreachable): start it")
    assert "correct routing.collector.embedding.api_base" in str(await said(api_base="http://127.0.0.1:port"))
