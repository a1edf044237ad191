"""An Ollama server, through its official client: what it is asked, and what its failures mean.

The one place that makes an `ollama.AsyncClient`, for verdicts and for embeddings. The official client reads answers of
any size, follows redirects, and takes its time-out for the longest pause; here an answer has a greatest size and a
call a last moment, and the words go to the server that the operator named and nowhere else.

A proxy of the environment (HTTP_PROXY and its kin) is passed by for loopback addresses, which it could not reach. For
all others it holds, with NO_PROXY, as it does for LiteLLM's own requests to the same server.

Nothing that is raised here quotes what was sent, nor what came back: servers repeat in their errors what they are sent.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

import anyio
import httpx
import msgspec
import ollama

from .errors import GatewayError

MAX_ANSWER_BYTES = 1_000_000
"""Bytes of an answer at most, unless a server is made for more. What is longer is not read to its end."""
CONNECT_SECONDS = 5.0
"""A server that takes no connection for so long is not there, however long an answer may take."""
LOAD_SECONDS = 300.0
"""Longest time for loading a model: Ollama's own."""
LOOK_SECONDS = 10.0
"""Longest time for what a server knows of a model."""
DEFAULT_ADDRESS = "http://127.0.0.1:11434"
"""Where Ollama listens unless it is told otherwise."""

Failure = Literal["timeout", "unreachable", "disconnected", "no_model", "error", "bad_answer"]
"""timeout: no answer in time. unreachable: nothing takes connections there, or the address is none. disconnected: the
connection broke off, or what is there speaks no HTTP. no_model: status 404. error: any other status that is no success,
redirects too. bad_answer: not the JSON that was expected, or too much of it."""

_Answer = TypeVar("_Answer")


class ServerError(GatewayError):
    """A call that failed. The message is its `kind`, with the `status` where the server gave one that says so."""

    def __init__(self, kind: Failure, status: int | None = None) -> None:
        super().__init__(kind if status is None else f"{kind} (status {status})")
        self.kind: Failure = kind
        self.status = status


class TokenProbs(msgspec.Struct, frozen=True):
    """A token of an answer: its text, its natural log-probability, and those of the likeliest tokens in its place,
    which the text itself may be among. All of them finite."""

    text: str
    logprob: float
    alternatives: Mapping[str, float] = {}

    def __repr__(self) -> str:
        # Without the words: a repr ends up in logs.
        return f"TokenProbs({self.logprob:.3f}, {len(self.alternatives)} alternatives)"


class ChatAnswer(msgspec.Struct, frozen=True):
    """What the model said, and its `tokens` in order; none where the server tells no probabilities."""

    text: str
    tokens: tuple[TokenProbs, ...] = ()

    def __repr__(self) -> str:
        return f"ChatAnswer({len(self.text)} characters, {len(self.tokens)} tokens)"


class OllamaServer:
    """A server and a pool of `connections` to it at most. Bound to the event loop of its first call; close it there.

    All calls raise ServerError, and end `timeout` seconds after they began at the latest: the time in which they wait
    for a connection counts. Cancelling a call closes its connection, by which Ollama notices and stops.
    """

    def __init__(
        self,
        api_base: str | None,
        *,
        timeout: float,
        connections: int,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        """`api_base` is a URL, or None for OLLAMA_HOST or else Ollama's own default. Never raises: an address that is
        none is `unreachable` to each call."""
        self._address = api_base or os.environ.get("OLLAMA_HOST") or DEFAULT_ADDRESS
        self._timeout = timeout
        self._connections = connections
        self._max_bytes = max_answer_bytes
        self._turns = anyio.Semaphore(connections)
        self._pool: _Pool | None = None
        self._tls: ssl.SSLContext | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        *,
        format: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        keep_alive: str | None = None,
        think: bool | None = None,
        top_logprobs: int | None = None,
    ) -> ChatAnswer:
        """What the model says to `messages`, each with `role` and `content`.

        `format` is a JSON schema. What is None is not sent: a model that can think does so unless `think` is False (see
        `thinks`), and servers refuse True for one that cannot. Servers before 0.12.11 leave `top_logprobs` (1-20)
        unheeded.
        """
        answer = await self._answer(
            lambda client: client.chat(
                model,
                messages,
                format=None if format is None else dict(format),
                options=options,
                keep_alive=keep_alive,
                think=think,
                logprobs=None if top_logprobs is None else True,
                top_logprobs=top_logprobs,
            )
        )
        return ChatAnswer(answer.message.content or "", _tokens(answer.logprobs or ()))

    async def load(
        self, model: str, keep_alive: str | None = None, *, options: Mapping[str, Any] | None = None
    ) -> None:
        """Have the model loaded, and kept for `keep_alive` from now. Returns when it is loaded, after LOAD_SECONDS
        instead of `timeout` seconds at the latest: a model whose loading is broken off is not loaded.

        Ollama loads it anew for a question with other `options` of the kind that need it, such as `num_ctx`.
        """
        await self._answer(lambda client: client.chat(model, [], options=options, keep_alive=keep_alive), LOAD_SECONDS)

    async def capabilities(self, model: str) -> frozenset[str]:
        """What Ollama says the model can do, such as completion, embedding, thinking; nothing from servers before
        0.6.4. It needs not be loaded for that, so LOOK_SECONDS are enough if `timeout` is longer."""
        found = await self._answer(lambda client: client.show(model), min(LOOK_SECONDS, self._timeout))
        return frozenset(found.capabilities or ())

    async def thinks(self, model: str) -> bool:
        """Whether the model thinks before it answers unless it is told not to; as far as the server knows."""
        return "thinking" in await self.capabilities(model)

    async def embed(self, model: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """The embeddings as the server gives them: as many, and as long, as it likes."""
        answer = await self._answer(lambda client: client.embed(model, texts))
        return answer.embeddings

    async def close(self) -> None:
        """Close the connections. Calls that are under way, or that come later, fail."""
        self._closed = True
        if self._pool is not None:
            self._retire(self._pool)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _answer(
        self, ask: Callable[[ollama.AsyncClient], Awaitable[_Answer]], seconds: float | None = None
    ) -> _Answer:
        """What asking brings, in time."""
        try:
            # Not asyncio.wait_for, which before Python 3.12 can lose a cancellation that comes together with the
            # answer.
            with anyio.fail_after(self._timeout if seconds is None else seconds):
                async with self._turns, self._lent() as client:
                    return await ask(client)
        except (ConnectionError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.ProxyError):
            raise ServerError("unreachable") from None
        except (TimeoutError, httpx.TimeoutException):
            raise ServerError("timeout") from None
        except httpx.HTTPError:
            raise ServerError("disconnected") from None
        except (ValueError, TypeError, AttributeError, RecursionError):  # not the JSON that was expected
            raise ServerError("bad_answer") from None

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[ollama.AsyncClient]:
        """The client for one call.

        A call that is cancelled at the wrong moment leaves its connection in the pool as one that is never free again
        (https://github.com/encode/httpcore/issues/1093). So its pool gets no further calls, and is closed after those
        that it has.
        """
        if self._pool is None:
            self._pool = _Pool(self._made())
        pool = self._pool
        pool.calls += 1
        try:
            yield pool.client
        except asyncio.CancelledError:  # of the time-out, too
            if self._pool is pool:
                self._pool = None
            raise
        finally:
            pool.calls -= 1
            if not pool.calls and self._pool is not pool:
                self._retire(pool)

    def _retire(self, pool: _Pool) -> None:
        """Close a pool. In a task of its own: a call that ends may be cancelled, and must not wait."""
        if self._pool is pool:
            self._pool = None
        task = asyncio.create_task(pool.close(), name="bsgateway-ollama-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _made(self) -> ollama.AsyncClient:
        if self._closed:
            raise ServerError("unreachable")
        try:
            if self._tls is None:
                self._tls = httpx.create_ssl_context()  # takes milliseconds
            return ollama.AsyncClient(
                host=self._address,
                # An answer that is packed may be small on the way and huge in memory.
                headers={"accept-encoding": "identity"},
                follow_redirects=False,
                timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
                limits=httpx.Limits(max_connections=self._connections, max_keepalive_connections=self._connections),
                verify=self._tls,
                trust_env=not _is_loopback(self._address),
                event_hooks={"response": [self._look_at]},
            )
        except (ValueError, httpx.InvalidURL, OSError, ImportError):
            # OSError: certificates that cannot be read. ImportError: a proxy of a kind that httpx lacks a part for.
            raise ServerError("unreachable") from None

    async def _look_at(self, response: httpx.Response) -> None:
        """Look at the head of an answer before its body is read; what is refused here closes its connection."""
        if response.status_code == httpx.codes.NOT_FOUND:
            raise ServerError("no_model", response.status_code)
        if not response.is_success:
            raise ServerError("error", response.status_code)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise ServerError("bad_answer")
        response.stream = _Bounded(cast(httpx.AsyncByteStream, response.stream), self._max_bytes)


class _Pool:
    """A client, whose connections are a pool, and the number of `calls` under way with it."""

    def __init__(self, client: ollama.AsyncClient) -> None:
        self.client = client
        self.calls = 0

    async def close(self) -> None:
        await self.client.close()  # type: ignore[no-untyped-call]


class _Bounded(httpx.AsyncByteStream):
    """The body of an answer, up to a number of bytes."""

    def __init__(self, stream: httpx.AsyncByteStream, max_bytes: int) -> None:
        self._stream = stream
        self._left = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._left -= len(part)
            if self._left < 0:
                raise ServerError("bad_answer")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _tokens(given: Sequence[Any]) -> tuple[TokenProbs, ...]:
    """None at all if one of the numbers is no log-probability: they make sense together only."""
    tokens = tuple(
        TokenProbs(each.token, each.logprob, {other.token: other.logprob for other in each.top_logprobs or ()})
        for each in given
    )
    numbers = (number for token in tokens for number in (token.logprob, *token.alternatives.values()))
    return tokens if all(map(math.isfinite, numbers)) else ()


def _is_loopback(address: str) -> bool:
    """Whether `address`, written as Ollama's client takes it, is this machine. Raises ValueError where it is none."""
    host = urlsplit(address if "://" in address else f"http://{address}").hostname or "127.0.0.1"
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return ip.is_loopback or ip.is_unspecified
