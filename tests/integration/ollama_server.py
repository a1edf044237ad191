"""Ollama's `/api/embed` on a real socket, in front of a real model or of a simple function, with faults on demand.

No Ollama can be installed from a package registry. `engine` is llama.cpp with the weights of the local model, which
makes embeddings as Ollama does: with the same engine inside.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from bsgateway.log.embeddings import CANARY
from bsgateway.upstreams import local_model
from sockets import cut

DIMENSIONS = 8


class Answer(NamedTuple):
    """An HTTP answer. With `cut` the connection breaks after so many bytes of the body."""

    status: int
    body: bytes
    cut: int | None = None
    headers: str = ""


Behaviour = Callable[[list[str]], Awaitable[Answer]]


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Numbers that tell texts apart, and that 32 bits hold exactly."""
    return [byte / 256 for byte in hashlib.sha256(text.encode()).digest()[:dimensions]]


def embeddings(vectors: list[Any]) -> Answer:
    """What Ollama answers; NaN as some servers write it."""
    return Answer(200, json.dumps({"model": "tests", "embeddings": vectors}).encode())


def refusal(status: int, texts: list[str]) -> Answer:
    """An error that repeats what it was sent."""
    return Answer(status, json.dumps({"error": f"cannot embed {texts}"}).encode())


async def hashed(texts: list[str]) -> Answer:
    """The simple function."""
    return embeddings([vector(text) for text in texts])


def engine() -> Any:
    """llama.cpp for embeddings, running in this process until it is dropped."""
    xllamacpp = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(local_model.weights_path())
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_parallel, params.n_ctx = 1, 2048
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.ui, params.cache_ram_mib, params.verbosity = False, 0, -1
    return xllamacpp.Server(params)


def modelled(running: Any) -> Behaviour:
    """Embeddings by a running `engine`."""

    async def embed(texts: list[str]) -> Answer:
        found = await asyncio.to_thread(running.handle_embeddings, {"input": texts})
        if "error" in found:
            return Answer(found["error"]["code"], json.dumps({"error": found["error"]["message"]}).encode())
        return embeddings([item["embedding"] for item in found["data"]])

    return embed


class OllamaServer:
    """The server, in the event loop of the test. `behave` answers a call; `calls` lists the texts of each."""

    def __init__(self, behave: Behaviour = hashed) -> None:
        self.behave = behave
        self.calls: list[list[str]] = []
        self.url = ""
        self._port = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[Any]] = set()

    @property
    def sent(self) -> list[str]:
        """All texts that came in, in order, without those that only ask whether the server works."""
        return [text for call in self.calls for text in call if text != CANARY]

    async def start(self) -> None:
        """Listen; after `stop` on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Close the port and cut all connections."""
        assert self._server is not None
        self._server.close()
        await cut(self._serving)

    async def __aenter__(self) -> OllamaServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        request = json.loads(await reader.readexactly(int(lines.get("content-length", 0))))
        assert (method, path) == ("POST", "/api/embed"), head
        self.calls.append(request["input"])
        answer = await self.behave(request["input"])
        writer.write(
            f"HTTP/1.1 {answer.status} X\r\ncontent-type: application/json\r\n{answer.headers}"
            f"content-length: {len(answer.body)}\r\n\r\n".encode()
        )
        writer.write(answer.body[: answer.cut])
        await writer.drain()
        return answer.cut is None
