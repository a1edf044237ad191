"""Ollama's API where a test sets what becomes of each call.

    async with ScriptedOllama() as server:
        server.behave = says("complex", {"complex": 0.9, "medium": 0.1})
        ...
        server.behave = hangs()
        ...
        assert (server.in_flight, server.connections) == (0, 0)

A test that is not async has it in a thread: `with ScriptedOllama().in_thread() as server`. What is set from outside is
heeded by the next call. Connection refused: `stop()`, and `start()` again on the same port; from outside the thread
`refuse()` and `accept()`.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .server import ApiServer, Behaviour, Exchange

MODEL = "scripted:1b"
"""What the server has unless a test says otherwise."""
CREATED = "2026-01-01T00:00:00.000000Z"
NEVER = 3600.0


# Behaviours of a chat


def says(
    word: str,
    probabilities: Mapping[str, float] | None = None,
    *,
    tokens: Sequence[Mapping[str, Any]] | None = None,
    delay: float = 0.0,
) -> Behaviour:
    """A verdict, after `delay` seconds, in the form that the call's `format` asks for.

    Asked for log-probabilities, the server gives those of `probabilities` (word -> 0-1) in the place of the word, or
    just `tokens` as they are; it has none if neither is given, like an Ollama before 0.12.11.
    """

    async def answer(exchange: Exchange) -> None:
        await asyncio.sleep(delay)
        body = exchange.call.body
        before, after = _around(body.get("format"))
        said: dict[str, Any] = {
            "model": body["model"],
            "created_at": CREATED,
            "message": {"role": "assistant", "content": before + word + after},
            "done": True,
            "done_reason": "stop",
            "total_duration": 1_000_000,
            "load_duration": 0,
            "prompt_eval_count": 100,
            "prompt_eval_duration": 500_000,
            "eval_count": 3,
            "eval_duration": 500_000,
        }
        if body.get("logprobs"):
            if tokens is not None:
                said["logprobs"] = [*tokens]
            elif probabilities is not None:
                places = [{before: 1.0}] * bool(before) + [{word: 1.0, **probabilities}] + [{after: 1.0}] * bool(after)
                said["logprobs"] = [_token(place, body.get("top_logprobs") or 0) for place in places]
        if body.get("stream", True):
            first = {**said, "done": False}
            last = {**said, "message": {"role": "assistant", "content": ""}}
            last.pop("logprobs", None)
            await exchange.send_lines([first, last])
        else:
            await exchange.send_json(200, said)

    return answer


def _around(schema: Any) -> tuple[str, str]:
    """What comes before and after a word so that it fits a JSON schema: of a string, or an object of one string."""
    if not isinstance(schema, dict):
        return "", ""
    if "properties" in schema:
        return '{"' + next(iter(schema["properties"])) + '": "', '"}'
    return '"', '"'


def _token(place: Mapping[str, float], top: int) -> dict[str, Any]:
    """The first of `place` (text -> probability) as Ollama writes a token, with the likeliest `top` of all of them."""

    def written(text: str) -> dict[str, Any]:
        # A float has no logarithm of zero; Ollama gives such tokens a very low number.
        return {"token": text, "logprob": math.log(max(place[text], 1e-12)), "bytes": list(text.encode())}

    likeliest = sorted(place, key=place.__getitem__, reverse=True)[:top]
    return {**written(next(iter(place))), "top_logprobs": [written(text) for text in likeliest]}


# Behaviours of any call


def fails(status: int, error: str = "it failed") -> Behaviour:
    """Ollama's error. It repeats what it was sent, so that a test sees whether that comes out anywhere."""

    async def answer(exchange: Exchange) -> None:
        await exchange.send_json(status, {"error": f"{error}: {json.dumps(exchange.call.body)}"})

    return answer


def lacks_model() -> Behaviour:
    """404, as Ollama answers for a model that was not pulled."""

    async def answer(exchange: Exchange) -> None:
        await exchange.send_json(404, {"error": f"model '{exchange.call.body['model']}' not found"})

    return answer


def refuses(name: str, then: Behaviour) -> Behaviour:
    """400 for calls with the field `name` (`think`, `logprobs`), `then` for all others."""

    async def answer(exchange: Exchange) -> None:
        if name in exchange.call.body:
            await exchange.send_json(400, {"error": f'"{exchange.call.body["model"]}" does not support {name}'})
        else:
            await then(exchange)

    return answer


def gives(data: bytes, status: int = 200, **headers: str) -> Behaviour:
    """Just these bytes: garbage, as far as a client is concerned."""

    async def answer(exchange: Exchange) -> None:
        await exchange.send(status, data, **headers)

    return answer


def redirects(location: str, status: int = 307) -> Behaviour:
    """Sends the client elsewhere."""
    return gives(b"", status, location=location)


def hangs() -> Behaviour:
    """Takes the call and never answers."""

    async def answer(exchange: Exchange) -> None:
        await asyncio.sleep(NEVER)

    return answer


def trickles(pause: float = 0.02) -> Behaviour:
    """Answers, a space every `pause` seconds, and comes to no end."""

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        while True:
            await exchange.write(b" ")
            await asyncio.sleep(pause)

    return answer


def floods(size: int = 300_000_000) -> Behaviour:
    """One JSON text of `size` bytes. How many were really sent is added to `server.flooded`."""

    async def answer(exchange: Exchange) -> None:
        part = b"x" * 65_536
        await exchange.begin()
        await exchange.write(b'{"message": {"role": "assistant", "content": "')
        for _ in range(size // len(part)):
            await exchange.write(part)
            if isinstance(exchange.server, ScriptedOllama):
                exchange.server.flooded += len(part)
        await exchange.write(b'"}, "done": true}')
        await exchange.end()

    return answer


def disconnects(data: bytes | None = b'{"message": {"role"') -> Behaviour:
    """Cuts the connection: after a part of the answer, or, with None, before any of it."""

    async def answer(exchange: Exchange) -> None:
        if data is not None:
            await exchange.begin(content_length="1000")
            await exchange.write(data)
            await asyncio.sleep(0.01)  # a reset overtakes what the client has not read yet
        exchange.disconnect()

    return answer


def late(seconds: float, then: Behaviour) -> Behaviour:
    """`then`, after so many seconds."""

    async def answer(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await then(exchange)

    return answer


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other, and the last one from then on."""
    left = list(behaviours)

    async def answer(exchange: Exchange) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(exchange)

    return answer


# The other calls of a server that works


async def loads(exchange: Exchange) -> None:
    """A model that is loaded in no time."""
    message = {"role": "assistant", "content": ""}
    model = exchange.call.body["model"]
    await exchange.send_json(
        200, {"model": model, "created_at": CREATED, "message": message, "done": True, "done_reason": "load"}
    )


def shows(*capabilities: str) -> Behaviour:
    """A model that can do this: "completion", "tools", "thinking", "embedding"."""

    async def answer(exchange: Exchange) -> None:
        details = {"format": "gguf", "family": "scripted", "parameter_size": "1B", "quantization_level": "Q4_K_M"}
        await exchange.send_json(200, {"details": details, "model_info": {}, "capabilities": [*capabilities]})

    return answer


async def embeds(exchange: Exchange) -> None:
    """Eight numbers for each text, the same for the same length."""
    given = exchange.call.body["input"]
    texts = [given] if isinstance(given, str) else given
    await exchange.send_json(
        200, {"model": exchange.call.body["model"], "embeddings": [[1.0, *[len(text) / 1e6] * 7] for text in texts]}
    )


def lists(*models: str) -> Behaviour:
    """The server has, or has loaded, these models."""

    async def answer(exchange: Exchange) -> None:
        found = [{"name": model, "model": model, "modified_at": CREATED, "size": 1, "digest": "0"} for model in models]
        await exchange.send_json(200, {"models": found})

    return answer


async def tells_version(exchange: Exchange) -> None:
    """As new as it needs to be for all that it does."""
    await exchange.send_json(200, {"version": "0.12.11"})


class ScriptedOllama(ApiServer):
    """The server. `behave` answers chats with messages, `at` has the behaviour of each kind of call. `flooded` counts
    bytes sent by `floods`."""

    def __init__(self, behave: Behaviour | None = None) -> None:
        super().__init__(
            {
                "chat": behave or says("medium"),
                "load": loads,
                "show": shows("completion"),
                "embed": embeds,
                "tags": lists(MODEL),
                "ps": lists(MODEL),
                "version": tells_version,
            }
        )
        self.flooded = 0

    @property
    def behave(self) -> Behaviour:
        """What becomes of a chat with messages."""
        return self.at["chat"]

    @behave.setter
    def behave(self, behave: Behaviour) -> None:
        self.at["chat"] = behave

    def behave_always(self, behave: Behaviour) -> None:
        """The same for every call: a server that is down altogether."""
        self.at = dict.fromkeys(self.at, behave)
