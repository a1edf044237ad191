"""A TCP proxy between a gateway and PostgreSQL that stalls, delays, refuses and cuts, at the byte we choose.

It reads the frames of PostgreSQL's protocol that the client sends (a type byte and a length; the first messages of a
connection have no type), so that it can cut in the middle of a COPY, or on either side of a COMMIT.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any

CHUNK = 65536
UNTYPED = (80877103, 80877104)  # SSLRequest and GSSENCRequest, after which the client begins anew


class Cut(Enum):
    """Where to cut a connection, once."""

    IN_COPY = "in the data of a COPY"
    BEFORE_COMMIT = "the COMMIT is not forwarded"
    AFTER_COMMIT = "the COMMIT is forwarded, its answer is not"


class Proxy:
    """Listens on `port` of 127.0.0.1 and forwards to `target`, in a thread of its own.

    `cuts` counts the connections that a planned `Cut` has ended. All methods are for other threads.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.port = 0
        self.cuts = 0
        self._delay = 0.0
        self._refusing = False
        self._cut: Cut | None = None
        self._copy_bytes = 0
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._started = threading.Event()

    def open(self) -> None:
        """Begin to listen."""
        self._thread.start()
        assert self._started.wait(10), "the proxy did not start"

    def close(self) -> None:
        """Cut all connections and end, if it ever began."""
        if self._started.is_set():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def stall(self) -> None:
        """Keep every connection open, take new ones, forward nothing."""
        self._soon(self._flowing.clear)

    def resume(self) -> None:
        """Forward again, what was held back first."""
        self._soon(self._flowing.set)

    def abandon(self) -> None:
        """Never forward anything again on the connections there are; new ones work."""
        self._soon(lambda: [link.abandon() for link in self._links])

    def delay(self, seconds: float) -> None:
        """Hold each packet back for so long, in both directions."""
        self._delay = seconds

    def refuse(self, on: bool) -> None:
        """Reset all connections and every new one, or stop doing so."""
        self._refusing = on
        if on:
            self.cut_all()

    def cut_all(self) -> None:
        """Reset all connections."""
        self._soon(lambda: [link.cut() for link in list(self._links)])

    def heal(self) -> None:
        """Forward everything as it comes."""
        self._delay, self._refusing, self._cut = 0.0, False, None
        self.resume()

    def plan(self, cut: Cut, copy_bytes: int = 0) -> None:
        """Cut the next connection that comes to this point; IN_COPY after so many bytes of data of one COPY."""
        self._cut, self._copy_bytes = cut, copy_bytes

    def take(self, point: Cut, copied: int = 0) -> bool:
        """Whether a connection that is at `point` is the one to cut. Asked by the connections."""
        if self._cut is not point or copied < self._copy_bytes:
            return False
        self._cut = None
        self.cuts += 1
        return True

    async def hold(self) -> None:
        """Wait as long as packets are held back. Awaited by the connections."""
        if self._delay:
            await asyncio.sleep(self._delay)
        await self._flowing.wait()

    def _soon(self, call: Callable[[], Any]) -> None:
        self._loop.call_soon_threadsafe(call)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        for link in list(self._links):
            link.cut()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # by the end of the proxy, which asyncio would report as an error
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        await self._flowing.wait()
        try:
            behind = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, (reader, writer), behind)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One client and its connection to the server."""

    def __init__(self, proxy: Proxy, client: Pair, server: Pair) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self._abandoned = asyncio.Event()
        self._mute = False

    async def run(self) -> None:
        """Forward until either side ends."""
        halves = [asyncio.ensure_future(self._upwards()), asyncio.ensure_future(self._downwards())]
        try:
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
            if self._abandoned.is_set():
                await asyncio.wait(halves)
        finally:
            self.cut()
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)

    def cut(self) -> None:
        """Reset both sides."""
        for _, writer in (self._client, self._server):
            writer.transport.abort()

    def abandon(self) -> None:
        """Forward nothing any more, close nothing."""
        self._abandoned.set()

    async def _upwards(self) -> None:
        """Frame by frame, from the client to the server."""
        reader, _ = self._client
        typed, copied = False, 0
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind = await reader.readexactly(1) if typed else b""
                size = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(size, "big") - 4)
                typed = typed or int.from_bytes(body[:4], "big") not in UNTYPED
                frame = kind + size + body
                if kind == b"d":
                    copied += len(body)
                    if self._proxy.take(Cut.IN_COPY, copied):
                        await self._forward(self._server[1], frame[: len(frame) // 2])
                        return
                elif kind == b"c":
                    copied = 0
                elif kind == b"Q" and body.upper().startswith(b"COMMIT"):
                    if self._proxy.take(Cut.BEFORE_COMMIT):
                        return
                    self._mute = self._proxy.take(Cut.AFTER_COMMIT)
                await self._forward(self._server[1], frame)

    async def _downwards(self) -> None:
        reader, _ = self._server
        with suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                if self._mute:
                    return  # this is the answer to the COMMIT: the server is done with it
                await self._forward(self._client[1], data)

    async def _forward(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        await self._proxy.hold()
        if self._abandoned.is_set():
            await asyncio.Event().wait()
        writer.write(data)
        await writer.drain()
