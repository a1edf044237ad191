"""The task that gives the asks in `routing_texts` their embeddings, after the fact and away from all requests.

It works from the database alone: what is to be done is what the table lacks, so nothing is lost with a process, a time
without the model only delays it, and texts that were stored before embeddings were configured get theirs too.

Of all workers one embeds at a time, the one that holds a lease in `routing_leases`. Row locks would need a transaction
as long as a call of the model, which holds back the database's vacuum; an advisory lock of the session would need a
connection of its own, and a pooler between may give it to others. A lease needs neither, ends by itself when its holder
dies, and costs one statement. If two embed at once all the same, after a holder was paused, the first result counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, NamedTuple
from uuid import UUID, uuid4

import anyio

from bsgateway.config import Embedding
from bsgateway.errors import StoreError
from bsgateway.log import backoff
from bsgateway.log.embeddings import CANARY, CallFailed, EmbeddingModel, ModelAway
from bsgateway.log.metrics import EmbedderStats
from bsgateway.sql import queries
from bsgateway.store import Store
from bsgateway.telemetry.events import event

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""Longest time that a new text waits unnoticed. `Embedder.poke` makes it shorter."""
FIRST_RETRY = 1.0  # seconds; doubles with each failure
LAST_RETRY = 60.0
MAX_BATCH_CHARS = 1_000_000
"""Characters after which a call takes no further text."""
MAX_BATCH_NUMBERS = 32_768
"""Numbers that a call may bring back: while their JSON is read all threads stop, that of requests too."""
STRIKES = 3
"""So many times may the server fall over a text, and nothing else, before the text is taken to be the cause."""
LEASE = "embedding"
LEASE_MARGIN = 30.0  # seconds beyond the longest call
RENEW_SECONDS = 10.0
LET_GO_SECONDS = 2.0

EMPTY, NOT_REDACTED = "empty", "not_redacted"


class _Text(NamedTuple):
    decision_id: UUID
    ask: str


class _NotOurs(Exception):
    """Another worker has taken over."""


class Embedder:
    """Embeds what the table lacks, `batch_rows` texts a call. All methods belong to the event loop that runs it."""

    def __init__(self, settings: Embedding, connect: Callable[[], Awaitable[Store]], *, redacted_only: bool) -> None:
        """`connect` gives the store of this event loop, migrated, each time it is needed; it stays the caller's.

        `redacted_only`: no text leaves for the model that was stored without redaction, such as those from before
        `collector.text` was set to redacted.
        """
        self._settings = settings
        self._connect = connect
        self._redacted_only = redacted_only
        self._holder = uuid4()
        self._leased_at: float | None = None  # while the lease is held
        self._model: EmbeddingModel | None = None  # made when there is something to embed
        self._poked = asyncio.Event()
        self._dimensions: int | None = None  # of the embeddings that this model made so far
        self._batch_rows = settings.batch_rows
        self._careful = False  # one of the next texts may be at fault: each is sent by itself
        self._strikes: Counter[UUID] = Counter()
        self._failures = 0
        self._open_since: float | None = None
        self._embedded = self._failed = 0
        self._last_error: str | None = None

    async def run(self) -> None:
        """Embed until cancelled. Texts whose embedding was not stored by then keep waiting in the table."""
        try:
            while True:
                await self._rest(await self._turn())
        finally:
            with anyio.move_on_after(LET_GO_SECONDS):
                await self._let_go()
                model, self._model = self._model, None
                if model is not None:
                    await model.close()

    def poke(self) -> None:
        """Texts were stored: look now. Does nothing while the circuit is open."""
        self._poked.set()

    def stats(self) -> EmbedderStats:
        """A snapshot; may be taken on any thread."""
        circuit: Literal["closed", "open"] = "closed" if self._open_since is None else "open"
        return EmbedderStats(self._embedded, self._failed, circuit, self._last_error)

    async def _turn(self) -> float:
        """Do one batch, if there is one and no other worker is at it; the seconds to rest afterwards."""
        self._poked.clear()
        try:
            texts = await self._claim()
            if self._open_since is not None or (texts and self._dimensions is None):
                await self._check_server()
            await self._embed((texts or ())[: self._fitting()])
        except _NotOurs:
            return POLL_SECONDS
        except Exception as error:
            # Whatever it is, it must not end the task: the texts are still there.
            return await self._failed_because(error)
        self._recovered()
        return POLL_SECONDS if texts is None else 0.0

    def _fitting(self) -> int:
        """Texts of one call at most."""
        return max(1, min(self._batch_rows, MAX_BATCH_NUMBERS // (self._dimensions or 1)))

    async def _rest(self, seconds: float) -> None:
        if self._open_since is not None:
            await asyncio.sleep(seconds)
        elif seconds:
            with anyio.move_on_after(seconds):
                await self._poked.wait()

    # The circuit

    async def _failed_because(self, error: Exception) -> float:
        """Open the circuit; the seconds until the next attempt."""
        # Only these two are known not to quote a text.
        known = isinstance(error, (ModelAway, StoreError))
        self._last_error = str(error) if isinstance(error, ModelAway) else type(error).__name__
        if self._open_since is None:
            self._open_since = time.monotonic()
            said = str(error) if known else self._last_error
            model = self._settings.model
            told = event("circuit_opened", circuit="embedder", model=model, cause=self._last_error)
            log.warning("embeddings: none are made by %s now, texts wait: %s", model, said, extra=told)
        self._dimensions = None  # another model may be served when the server is back
        await self._let_go()  # a worker that reaches the server may go on
        seconds = backoff.delay(self._failures, FIRST_RETRY, LAST_RETRY)
        self._failures += 1
        return seconds

    def _recovered(self) -> None:
        if self._open_since is not None:
            seconds = time.monotonic() - self._open_since
            told = event("circuit_closed", circuit="embedder", model=self._settings.model, seconds=round(seconds, 3))
            log.warning("embeddings: made by %s again after %.1f s", self._settings.model, seconds, extra=told)
        self._open_since = None
        self._failures = 0
        self._strikes.clear()

    # The model

    async def _embed(self, texts: Sequence[_Text]) -> None:
        if texts and not self._careful:
            try:
                vectors = await self._ask([text.ask for text in texts])
            except CallFailed:
                self._careful = True
                await self._check_server()
            else:
                await self._store(texts, vectors)
                self._batch_rows = min(self._settings.batch_rows, self._batch_rows + 1)
                return
        embedded = [await self._embed_alone(text) for text in texts]
        self._careful = False
        if len(embedded) > 1 and all(embedded):  # they were too much together
            self._batch_rows = len(embedded) // 2

    async def _embed_alone(self, text: _Text) -> bool:
        """Embed one text, or mark it as one that cannot be: False. Raises ModelAway when the server is to blame."""
        error = await self._try(text)
        if error is not None and not error.refused:
            error = await self._try(text)  # once more: it may have been bad luck
        if error is not None:
            await self._give_up([text], str(error))
        return error is None

    async def _try(self, text: _Text) -> CallFailed | None:
        """Embed one text; or what it does to a server that embeds others. Raises ModelAway if that is down."""
        try:
            vectors = await self._ask([text.ask])
        except CallFailed as error:
            try:
                await self._check_server()
            except ModelAway:
                # It worked until it was given this text, and now it does not. If that is so every time, it is the text.
                self._strikes[text.decision_id] += 1
                if self._strikes[text.decision_id] < STRIKES:
                    raise
            return error
        await self._store([text], vectors)
        return None

    async def _check_server(self) -> None:
        """Embed a text that has no fault. Raises ModelAway if that fails."""
        try:
            (vector,) = await self._ask([CANARY])
        except CallFailed as error:
            raise ModelAway(str(error)) from None
        self._dimensions = len(vector)

    async def _ask(self, texts: Sequence[str]) -> list[array[float]]:
        """Embeddings as long as those that this model made before. Raises ModelAway, CallFailed or _NotOurs."""
        if self._leased_at is not None and time.monotonic() - self._leased_at > RENEW_SECONDS:
            async with (await self._connect()).acquire() as connection:
                await self._take_lease(connection)
        if self._model is None:
            self._model = EmbeddingModel(self._settings)
        vectors = await self._model.embed(texts)
        if self._dimensions is not None and len(vectors[0]) != self._dimensions:
            raise CallFailed("wrong_length")
        return vectors

    # The database

    async def _claim(self) -> list[_Text] | None:
        """The texts to embed next; None when there are none. Raises _NotOurs when another worker is at it.

        Texts that shall not be embedded are marked here, so the list may be empty.
        """
        async with (await self._connect()).acquire() as connection:
            if not await queries().has_texts_to_embed(connection):
                await self._drop_lease(connection)
                return None
            await self._take_lease(connection)
            found = queries().texts_to_embed(connection, max_rows=self._fitting(), max_chars=MAX_BATCH_CHARS)
            rows = [row async for row in found]
            if rows and self._dimensions is None:
                self._dimensions = await queries().embedding_dimensions(
                    connection, model=self._settings.model, before=rows[0]["decision_id"]
                )
        texts: dict[str, list[_Text]] = {}
        for row in rows:
            texts.setdefault(self._obstacle(row["ask"], row["redacted"]), []).append(
                _Text(row["decision_id"], row["ask"])
            )
        todo = texts.pop("", [])
        for obstacle, excluded in texts.items():
            await self._give_up(excluded, obstacle)
        return todo

    def _obstacle(self, ask: str, redacted: bool | None) -> str:
        """Why an ask is not embedded; empty if it may be."""
        if self._redacted_only and not redacted:
            return NOT_REDACTED
        return "" if ask.strip() else EMPTY

    async def _store(self, texts: Sequence[_Text], vectors: Sequence[array[float]]) -> None:
        numbers = array("f")
        for vector in vectors:
            numbers.extend(vector)
        async with (await self._connect()).acquire() as connection:
            await queries().store_embeddings(
                connection,
                ids=[text.decision_id for text in texts],
                numbers=numbers,
                dimensions=len(vectors[0]),
                model=self._settings.model,
            )
        self._embedded += len(texts)

    async def _give_up(self, texts: Sequence[_Text], error: str) -> None:
        ids = [text.decision_id for text in texts]
        async with (await self._connect()).acquire() as connection:
            await queries().give_up_embedding(connection, ids=ids, error=error)
        self._failed += len(texts)

    async def _take_lease(self, connection: Connection) -> None:
        seconds = self._settings.timeout_seconds + RENEW_SECONDS + LEASE_MARGIN
        taken = await queries().take_lease(connection, name=LEASE, holder=self._holder, seconds=seconds)
        self._leased_at = time.monotonic() if taken else None
        if not taken:
            raise _NotOurs

    async def _drop_lease(self, connection: Connection) -> None:
        if self._leased_at is not None:
            await queries().drop_lease(connection, name=LEASE, holder=self._holder)
            self._leased_at = None

    async def _let_go(self) -> None:
        """Give the lease back. If that fails it ends by itself."""
        if self._leased_at is not None:
            with suppress(Exception), anyio.move_on_after(LET_GO_SECONDS):
                async with (await self._connect()).acquire() as connection:
                    await self._drop_lease(connection)
            self._leased_at = None
