"""Ollama's API over HTTP on 127.0.0.1, where a function answers each kind of call.

Written on plain streams, so that a function may also cut the connection, or send half an answer. A function whose
client hangs up is cancelled, as Ollama then stops generating.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h11

from sockets import cut

if TYPE_CHECKING:
    from typing_extensions import Self

START_SECONDS = 10.0


@dataclass(frozen=True)
class Call:
    """A request that came in. `kind`: what it asks for (see `kind_of`); `body` is None where it had none."""

    kind: str
    path: str
    body: Any = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class Exchange:
    """A call, and the means to answer it: all at once with `send`, or `begin`, `write` and `end`."""

    def __init__(self, call: Call, http: h11.Connection, writer: asyncio.StreamWriter, server: ApiServer) -> None:
        self.call = call
        self.server = server
        self._http = http
        self._writer = writer

    async def begin(self, status: int = 200, **headers: str) -> None:
        """The head of an answer. Without a content_length its body goes in chunks."""
        fields = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        await self._put(h11.Response(status_code=status, headers=list(fields.items())))

    async def write(self, data: bytes) -> None:
        """More of the body."""
        await self._put(h11.Data(data=data))

    async def end(self) -> None:
        """Nothing more."""
        await self._put(h11.EndOfMessage())

    async def send(self, status: int, data: bytes, **headers: str) -> None:
        """A whole answer."""
        await self.begin(status, content_length=str(len(data)), **headers)
        await self.write(data)
        await self.end()

    async def send_json(self, status: int, value: Any) -> None:
        """A whole answer; NaN as some servers write it."""
        await self.send(status, json.dumps(value).encode())

    async def send_lines(self, values: Sequence[Any]) -> None:
        """A streamed answer: one JSON value a line."""
        await self.begin(200, content_type="application/x-ndjson")
        for value in values:
            await self.write(json.dumps(value).encode() + b"\n")
        await self.end()

    def disconnect(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()

    async def _put(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()


Behaviour = Callable[[Exchange], Awaitable[None]]

KINDS = {
    ("POST", "/api/chat"): "chat",
    ("POST", "/api/show"): "show",
    ("POST", "/api/embed"): "embed",
    ("GET", "/api/tags"): "tags",
    ("GET", "/api/ps"): "ps",
    ("GET", "/api/version"): "version",
    ("GET", "/health"): "health",
}


def kind_of(method: str, path: str, body: Any) -> str:
    """chat, load (a chat without messages), show, embed, tags, ps or version; health, which Ollama has not; "" for
    anything else."""
    kind = KINDS.get((method, path), "")
    return "load" if kind == "chat" and isinstance(body, dict) and not body.get("messages") else kind


class ApiServer:
    """The server. `at` has the function for each kind of call.

    `calls` lists what came in, `given_up` those whose client hung up before their answer was whole. `in_flight` are
    calls under way, `connections` those that are open, `opened` those there ever were.
    """

    def __init__(self, at: Mapping[str, Behaviour], port: int = 0) -> None:
        self.at = dict(at)
        self.calls: list[Call] = []
        self.given_up: list[Call] = []
        self.in_flight = 0
        self.connections = 0
        self.opened = 0
        self.url = ""
        self._port = port
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def asked(self, kind: str = "chat") -> list[Any]:
        """The bodies of the calls of this kind, in order."""
        return [call.body for call in self.calls if call.kind == kind]

    async def start(self) -> None:
        """Listen; after `stop` on the same port as before."""
        # However many come at once: who is left waiting in a full backlog would take it for a slow server.
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Close the port and cut all connections: whoever comes now is refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await cut(self._serving)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # In a thread

    @contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Serve from a thread until the end of the block."""
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="ollama", daemon=True)
        thread.start()
        try:
            self.accept()
            yield self
        finally:
            self.refuse()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(START_SECONDS)
            self._loop.close()

    def accept(self) -> None:
        """`start`, from outside the thread."""
        self._run(self.start())

    def refuse(self) -> None:
        """`stop`, from outside the thread."""
        self._run(self.stop())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None, "not in a thread"
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    # HTTP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        self.opened += 1
        try:
            with suppress(ConnectionError, asyncio.CancelledError, h11.RemoteProtocolError):
                http = h11.Connection(h11.SERVER)
                async for call in _calls(http, reader):
                    self.calls.append(call)
                    await self._answer(Exchange(call, http, writer, self), http, reader)
                    if http.our_state is not h11.DONE:
                        break
                    http.start_next_cycle()
        finally:
            self.connections -= 1
            self._serving.discard(task)
            writer.transport.abort()

    async def _answer(self, exchange: Exchange, http: h11.Connection, reader: asyncio.StreamReader) -> None:
        """Answer a call, unless its client hangs up first."""
        behave = self.at.get(exchange.call.kind, _no_page)
        answering = asyncio.ensure_future(behave(exchange))
        # What comes before the answer is whole is the end of the connection; what comes after it, the next request.
        listening = asyncio.ensure_future(reader.read(65_536))
        self.in_flight += 1
        try:
            await asyncio.wait([answering, listening], return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ConnectionResetError
            answering.result()
        except ConnectionError:
            self.given_up.append(exchange.call)
            raise
        finally:
            self.in_flight -= 1
            answering.cancel()
            listening.cancel()
            await asyncio.wait([answering, listening])
            if not answering.cancelled():
                answering.exception()  # looked at
        if not listening.cancelled() and (data := listening.result()):
            http.receive_data(data)


async def _no_page(exchange: Exchange) -> None:
    await exchange.send(404, b"404 page not found", content_type="text/plain")


async def _calls(http: h11.Connection, reader: asyncio.StreamReader) -> AsyncIterator[Call]:
    """The requests of a connection, each as soon as it is there as a whole; until the client closes it."""
    request: h11.Request | None = None
    data = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65_536))
        elif isinstance(event, h11.Request):
            request = event
            data.clear()
        elif isinstance(event, h11.Data):
            data += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            method, path = request.method.decode(), request.target.decode()
            body = _parsed(data)
            headers = {name.decode(): value.decode() for name, value in request.headers}
            yield Call(kind_of(method, path, body), path, body, headers)
        else:  # ConnectionClosed, PAUSED
            return


def _parsed(data: bytes | bytearray) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
