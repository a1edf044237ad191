"""`ollama_server.py` against a server that answers as Ollama does, or in any other way."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import math
import ssl
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest

from bsgateway.ollama_server import ChatAnswer, OllamaServer, ServerError, TokenProbs, _is_loopback
from builders import until
from sockets import serving

WORDS = "my secret words"
ASKED = [{"role": "user", "content": WORDS}]
SAID = {"model": "tiny", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "easy"}}


@pytest.fixture(scope="module")
def certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


@pytest.fixture(autouse=True)
def _quick(certificates: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are read once, and not for each of hundreds of servers: none of them uses TLS."""
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: certificates)


class Call(NamedTuple):
    """A request as it came in."""

    target: str
    headers: dict[str, str]
    body: Any


Behaviour = Callable[[Call, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A server on a real socket. `behave` writes the answer; a connection ends when it has closed the writer."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.calls: list[Call] = []
        self.url = ""
        self.open = self.most_open = self.closed = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while not writer.is_closing():
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))))
                self.calls.append(Call(lines[0], headers, body))
                await self.behave(self.calls[-1], reader, writer)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # the client has hung up
        finally:
            self.open -= 1
            self.closed += 1


@asynccontextmanager
async def scripted(behave: Behaviour) -> AsyncIterator[Scripted]:
    server = Scripted(behave)
    async with serving(server.serve) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


@asynccontextmanager
async def client(
    api_base: str | None, *, timeout: float = 20.0, connections: int = 2, **more: Any
) -> AsyncIterator[OllamaServer]:
    server = OllamaServer(api_base, timeout=timeout, connections=connections, **more)
    try:
        yield server
    finally:
        await server.close()


def raw(status: int, body: bytes, headers: str = "") -> Behaviour:
    async def write(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body)

    return write


def says(answer: Any, status: int = 200) -> Behaviour:
    return raw(status, json.dumps(answer).encode())


def bytes_then_close(sent: bytes) -> Behaviour:
    async def write(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        writer.close()

    return write


async def hang(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing until the client hangs up."""
    await reader.read()


async def trickle(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte now and then: each pause is shorter than any time-out."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


def endless(status: int, sent: list[int]) -> Behaviour:
    """A body without an end, for as long as the client takes it. `sent` gets the size of each part."""
    part = b" " * 65_536

    async def write(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        while not writer.is_closing():
            writer.write(b"10000\r\n" + part + b"\r\n")
            await writer.drain()
            sent.append(len(part))

    return write


async def failure(server: OllamaServer) -> tuple[str, int | None]:
    with pytest.raises(ServerError) as caught:
        await server.chat("tiny", ASKED)
    return caught.value.kind, caught.value.status


# What is asked, and what is read


async def test_a_question_is_sent_as_agreed_and_its_answer_read() -> None:
    token = {
        "token": "easy",
        "logprob": -0.25,
        "bytes": [101],
        "top_logprobs": [{"token": "easy", "logprob": -0.25}, {"token": "hard", "logprob": -1.5}],
    }
    schema = {"type": "string", "enum": ["easy", "hard"]}
    said = {**SAID, "logprobs": [token, {"token": "!", "logprob": 0}]}
    async with scripted(says(said)) as ollama, client(ollama.url + "/") as server:
        answer = await server.chat(
            "tiny",
            ASKED,
            format=schema,
            options={"num_predict": 4, "temperature": 0},
            keep_alive="30m",
            think=False,
            top_logprobs=5,
        )
    assert answer == ChatAnswer(
        "easy", (TokenProbs("easy", -0.25, {"easy": -0.25, "hard": -1.5}), TokenProbs("!", 0.0, {}))
    )
    (call,) = ollama.calls
    assert call.target == "POST /api/chat HTTP/1.1"
    assert call.headers["accept-encoding"] == "identity"
    assert call.body == {
        "model": "tiny",
        "messages": ASKED,
        "tools": [],
        "stream": False,
        "think": False,
        "logprobs": True,
        "top_logprobs": 5,
        "format": schema,
        "options": {"num_predict": 4, "temperature": 0},
        "keep_alive": "30m",
    }


async def test_what_is_not_asked_for_is_not_sent() -> None:
    async with scripted(says(SAID)) as ollama, client(ollama.url) as server:
        assert await server.chat("tiny", ASKED) == ChatAnswer("easy")
    assert set(ollama.calls[0].body) == {"model", "messages", "tools", "stream"}


@pytest.mark.parametrize("number", [math.nan, -math.inf])
async def test_probabilities_that_are_none_are_left_out(number: float) -> None:
    tokens = [{"token": "ea", "logprob": -0.1}, {"token": "sy", "logprob": -0.1, "top_logprobs": []}]
    tokens[1]["top_logprobs"] = [{"token": "x", "logprob": number}]
    async with scripted(says({**SAID, "logprobs": tokens})) as ollama, client(ollama.url) as server:
        assert await server.chat("tiny", ASKED) == ChatAnswer("easy")


async def test_a_model_is_loaded_without_a_question() -> None:
    said = {**SAID, "message": {"role": "assistant"}}
    # However short the time for an answer is.
    async with scripted(says(said)) as ollama, client(ollama.url, timeout=1e-9) as server:
        await server.load("tiny", "30m", options={"num_ctx": 4096})
        assert await failure(server) == ("timeout", None)
    assert ollama.calls[0].body == {
        "model": "tiny",
        "messages": [],
        "tools": [],
        "stream": False,
        "options": {"num_ctx": 4096},
        "keep_alive": "30m",
    }


@pytest.mark.parametrize(
    ("capabilities", "thinks"),
    [(["completion", "thinking"], True), (["completion"], False), ([], False), (None, False)],
)
async def test_whether_a_model_thinks(capabilities: list[str] | None, thinks: bool) -> None:
    said = {"model_info": {}, "capabilities": capabilities}
    async with scripted(says(said)) as ollama, client(ollama.url) as server:
        assert await server.thinks("tiny") is thinks
        assert await server.capabilities("tiny") == frozenset(capabilities or ())
    assert (ollama.calls[0].target, ollama.calls[0].body) == ("POST /api/show HTTP/1.1", {"model": "tiny"})


async def test_embeddings() -> None:
    said = {"model": "tiny", "embeddings": [[1, 2.5], [3, 4]]}
    async with scripted(says(said)) as ollama, client(ollama.url) as server:
        assert await server.embed("tiny", ["a", "b"]) == [[1.0, 2.5], [3.0, 4.0]]
    assert ollama.calls[0].body == {"model": "tiny", "input": ["a", "b"]}


async def test_one_connection_serves_many_calls() -> None:
    async with scripted(says(SAID)) as ollama:
        async with client(ollama.url) as server:
            for _ in range(5):
                await server.chat("tiny", ASKED)
            assert (len(ollama.calls), ollama.most_open, ollama.closed) == (5, 1, 0)
        await until(lambda: ollama.open == 0)


# Failures


STATUSES = {
    status: "no_model" if status == 404 else "error" for status in (204, 301, 304, 400, 401, 404, 429, 500, 503)
}
STATUSES[204] = "bad_answer"


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
async def test_statuses(status: int, kind: str) -> None:
    bodies = [b""] if status in (204, 304) else [b'{"error": "no"}', b"<html>", b"", b"[]", b"[" * 100_000]
    async with scripted(hang) as ollama, client(ollama.url) as server:
        for body in bodies:
            ollama.behave = raw(status, body)
            assert await failure(server) == (kind, None if status == 204 else status)


BAD_ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"<html>",
    "half of it": json.dumps(SAID)[:-9].encode(),
    "a list": b"[1]",
    "null": b"null",
    "nothing in it": b"{}",
    "no message": json.dumps({**SAID, "message": None}).encode(),
    "a message that is a list": json.dumps({**SAID, "message": ["easy"]}).encode(),
    "content that is a number": json.dumps({**SAID, "message": {"role": "assistant", "content": 1}}).encode(),
    "tokens without numbers": json.dumps({**SAID, "logprobs": [{"token": "x", "logprob": "high"}]}).encode(),
    "very deep": b"[" * 200_000,
    "no UTF-8": b'{"message": "\xff\xfe"}',
    "a number without an end": b"1" * 100_000,
}


@pytest.mark.parametrize("body", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
async def test_answers_that_are_none(body: bytes) -> None:
    async with scripted(raw(200, body)) as ollama, client(ollama.url) as server:
        assert await failure(server) == ("bad_answer", None)
        for call in (server.load("tiny"), server.capabilities("tiny"), server.embed("tiny", ["x"])):
            with pytest.raises(ServerError, match="bad_answer"):
                await call
        ollama.behave = says(SAID)
        assert (await server.chat("tiny", ASKED)).text == "easy"


CUT_OFF = {
    "at once": b"",
    "in the head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "in the body": b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{",
    "in a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
}


@pytest.mark.parametrize("sent", CUT_OFF.values(), ids=CUT_OFF)
async def test_a_connection_that_breaks_off(sent: bytes) -> None:
    async with scripted(bytes_then_close(sent)) as ollama, client(ollama.url) as server:
        assert await failure(server) == ("disconnected", None)


@pytest.mark.parametrize("behave", [hang, trickle])
async def test_an_answer_that_takes_too_long(behave: Behaviour) -> None:
    async with scripted(behave) as ollama, client(ollama.url, timeout=0.2) as server:
        assert await failure(server) == ("timeout", None)
        await until(lambda: ollama.open == 0)  # Ollama stops when its client hangs up
        ollama.behave = says(SAID)
        assert (await server.chat("tiny", ASKED)).text == "easy"


async def test_nothing_listens(closed_port: int) -> None:
    async with client(f"http://127.0.0.1:{closed_port}") as server:
        assert await failure(server) == ("unreachable", None)


@pytest.mark.parametrize(
    "address",
    ["ftp://127.0.0.1", "http://127.0.0.1:port", "http://127.0.0.1:99999", "http://[::1", "http://a b", "://"],
)
async def test_an_address_that_is_none(address: str) -> None:
    async with client(address) as server:
        assert await failure(server) == ("unreachable", None)


async def test_redirects_are_not_followed() -> None:
    async with scripted(says(SAID)) as elsewhere:
        location = f"location: {elsewhere.url}/api/chat\r\n"
        async with scripted(raw(307, b"", location)) as ollama, client(ollama.url) as server:
            assert await failure(server) == ("error", 307)
        assert elsewhere.calls == []


async def test_errors_have_no_words() -> None:
    async def repeat(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers[call.body["model"]](call, reader, writer)

    answers = {
        "status": says({"error": f"cannot answer {WORDS}"}, 500),
        "missing": says({"error": WORDS}, 404),
        "shape": says({"message": WORDS}),
        "no JSON": raw(200, WORDS.encode()),
        "no HTTP": bytes_then_close(WORDS.encode() + b"\r\n\r\n"),
    }
    async with scripted(repeat) as ollama, client(ollama.url) as server:
        for model in answers:
            with pytest.raises(ServerError) as caught:
                await server.chat(model, ASKED)
            said = "".join(traceback.format_exception(caught.value))
            assert "secret" not in said + repr(caught.value) + str(caught.value)
    answer = ChatAnswer(WORDS, (TokenProbs(WORDS, -1.0, {WORDS: -1.0}),))
    assert "secret" not in repr(answer) + repr(answer.tokens)


# Too much


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """Bytes that were taken at most since the beginning of the test."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    yield lambda: tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_an_end_is_not_read_to_its_end(status: int, peak: Callable[[], int]) -> None:
    sent: list[int] = []
    async with scripted(endless(status, sent)) as ollama, client(ollama.url, max_answer_bytes=2_000_000) as server:
        assert await failure(server) == (("bad_answer", None) if status == 200 else ("error", 500))
        await until(lambda: ollama.open == 0)
    assert sum(sent) < 30_000_000  # what the buffers of sockets take beside
    assert peak() < 8_000_000


async def test_an_answer_may_be_as_long_as_agreed() -> None:
    body = json.dumps(SAID).encode()
    async with scripted(raw(200, body)) as ollama:
        async with client(ollama.url, max_answer_bytes=len(body)) as server:
            assert (await server.chat("tiny", ASKED)).text == "easy"
        async with client(ollama.url, max_answer_bytes=len(body) - 1) as server:
            assert await failure(server) == ("bad_answer", None)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "gzip, identity"])
async def test_packed_answers_are_not_unpacked(encoding: str, peak: Callable[[], int]) -> None:
    bomb = gzip.compress(b" " * 30_000_000)
    assert len(bomb) < 100_000
    tracemalloc.reset_peak()
    async with scripted(raw(200, bomb, f"content-encoding: {encoding}\r\n")) as ollama, client(ollama.url) as server:
        assert await failure(server) == ("bad_answer", None)
    assert peak() < 4_000_000


async def test_an_answer_may_say_that_it_is_not_packed() -> None:
    body = json.dumps(SAID).encode()
    async with scripted(raw(200, body, "content-encoding: identity\r\n")) as ollama, client(ollama.url) as server:
        assert (await server.chat("tiny", ASKED)).text == "easy"


# Connections


async def test_cancelling_a_call_closes_its_connection() -> None:
    async with scripted(hang) as ollama, client(ollama.url) as server:
        task = asyncio.create_task(server.chat("tiny", ASKED))
        await until(lambda: len(ollama.calls) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: ollama.open == 0)


@pytest.mark.parametrize("known", [False, True], ids=["new connection", "kept connection"])
async def test_a_call_may_be_cancelled_at_any_moment(known: bool) -> None:
    async with scripted(says(SAID)) as ollama:
        steps = 0
        ended = False
        while not ended:
            async with client(ollama.url, connections=1) as server:
                if known:
                    await server.chat("tiny", ASKED)
                call = asyncio.create_task(server.chat("tiny", ASKED))
                for _ in range(steps):
                    await asyncio.sleep(0)
                ended = call.done()
                call.cancel()
                await asyncio.wait([call])
                # The one connection is to be had, and serves again.
                assert [(await server.chat("tiny", ASKED)).text for _ in range(2)] == ["easy", "easy"]
            steps += 1
        assert steps > 10
        await until(lambda: ollama.open == 0)


async def test_no_more_connections_than_agreed() -> None:
    gate = asyncio.Event()

    async def wait(call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        await says(SAID)(call, reader, writer)

    async with scripted(wait) as ollama, client(ollama.url, connections=3) as server:
        calls = [asyncio.create_task(server.chat("tiny", ASKED)) for _ in range(10)]
        await until(lambda: len(ollama.calls) == 3)
        await asyncio.sleep(0.05)
        assert (len(ollama.calls), ollama.open) == (3, 3)
        gate.set()
        assert {answer.text for answer in await asyncio.gather(*calls)} == {"easy"}
    assert (len(ollama.calls), ollama.most_open) == (10, 3)


async def test_waiting_for_a_connection_counts() -> None:
    async with scripted(hang) as ollama, client(ollama.url, timeout=0.3, connections=1) as server:
        found = await asyncio.gather(*(failure(server) for _ in range(5)))
    assert found == [("timeout", None)] * 5
    assert len(ollama.calls) <= 2  # a second one may have begun in the moment in which the first was given up


async def test_a_server_that_is_closed() -> None:
    async with scripted(hang) as ollama:
        server = OllamaServer(ollama.url, timeout=20, connections=1)
        task = asyncio.create_task(failure(server))
        await until(lambda: len(ollama.calls) == 1)
        await server.close()
        await until(lambda: ollama.open == 0)
        assert await task == ("disconnected", None)
        assert await failure(server) == ("unreachable", None)
        await server.close()


async def test_nothing_is_left_of_hundreds_of_failures() -> None:
    behaviours = [
        hang, trickle, endless(200, []), endless(500, []), bytes_then_close(b""), says({"error": WORDS}, 500),
        bytes_then_close(CUT_OFF["in the body"]), raw(200, b"<html>"), raw(200, b"x", "content-encoding: gzip\r\n"),
    ]  # fmt: skip
    async with scripted(hang) as ollama:
        server = OllamaServer(ollama.url, timeout=0.05, connections=4, max_answer_bytes=100_000)

        async def once(turn: int) -> None:
            call = asyncio.create_task(failure(server))
            if turn % 5 == 0:  # hung up on at some moment
                await asyncio.sleep(turn % 7 * 0.002)
                call.cancel()
            await asyncio.wait([call])

        for turn in range(0, 360, 4):
            ollama.behave = behaviours[turn // 4 % len(behaviours)]
            await asyncio.gather(*map(once, range(turn, turn + 4)))
        await server.close()
        await until(lambda: ollama.open == 0)
    gc.collect()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Where it goes


async def test_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with scripted(says(SAID)) as proxy, scripted(says(SAID)) as ollama:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with client(ollama.url) as server:
            await server.chat("tiny", ASKED)
        assert (len(proxy.calls), len(ollama.calls)) == (0, 1)
        async with client("http://ollama.example") as server:
            await server.chat("tiny", ASKED)
        assert [call.target for call in proxy.calls] == ["POST http://ollama.example/api/chat HTTP/1.1"]
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "gopher://nowhere")
        async with client("http://ollama.example") as server:
            assert await failure(server) == ("unreachable", None)
        async with client(ollama.url) as server:
            await server.chat("tiny", ASKED)


async def test_the_address_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(says(SAID)) as ollama:
        monkeypatch.setenv("OLLAMA_HOST", ollama.url.removeprefix("http://"))
        async with client(None) as server:
            await server.chat("tiny", ASKED)
    assert len(ollama.calls) == 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True), ("http://127.8.9.1:80/x", True), ("http://[::1]:11434", True), ("localhost:11434", True),
        ("https://LOCALHOST", True), ("ollama.localhost", True), ("0.0.0.0", True), (":11434", True),
        ("10.0.0.1", False), ("http://192.168.1.2", False), ("http://localhost.example", False), ("ollama", False),
        ("http://[fe80::1]", False),
    ],
)  # fmt: skip
def test_loopback_addresses(address: str, expected: bool) -> None:
    assert _is_loopback(address) is expected
