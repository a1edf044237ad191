"""Requests that are small on the way and large in memory, or deeper than a stack, to a real proxy. It refuses them or
serves them, soon, and serves the next one."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from attacks.proxied import PATHS, Proxy, ask, post

LIMIT = 30.0
"""Seconds: a bound against what does not end, on a machine with other work to do."""
MOST_BYTES = 300 << 20
"""That a bomb of a gibibyte may make the proxy grow by."""
ZEROS = gzip.compress(bytes(1 << 24), 9)
"""16 MiB, in 16 KiB."""
BOMBS: dict[str, bytes] = {
    "gzip": ZEROS * 64,  # a gibibyte
    "gzip, gzip": gzip.compress(ZEROS * 64),
    "deflate": zlib.compress(bytes(1 << 26), 9),
    "br": b"\x5b\xff\xff\xff" * 1_000,  # whatever it would be: nobody may try
    "zstd": b"\x28\xb5\x2f\xfd" + b"\x00" * 1_000,
}


@pytest.fixture(autouse=True)
def in_time_and_in_memory(proxy: Proxy) -> Iterator[None]:
    """Each attack takes little of both."""
    process = psutil.Process(proxy.gateway.process.pid)
    began, before = time.monotonic(), process.memory_info().rss
    yield
    assert process.memory_info().rss - before < MOST_BYTES
    assert time.monotonic() - began < LIMIT


async def still_serves(proxy: Proxy) -> bool:
    answer, _ = await ask(proxy, "auto")
    return answer.status_code == 200


@pytest.mark.parametrize("coding", BOMBS)
async def test_a_packed_body_is_not_unpacked(proxy: Proxy, coding: str) -> None:
    headers = {"content-encoding": coding, "content-type": "application/json"}
    for path in (PATHS["chat"], "/bsgateway/feedback", "/bsgateway/api/explain"):
        answer = await post(proxy, path, headers=headers, content=BOMBS[coding])
        assert 400 <= answer.status_code < 500, (path, answer.text[:300])
    assert await still_serves(proxy)


DEPTH = 100_000
DEEP: dict[str, bytes] = {
    "lists": b"[" * DEPTH,
    "lists that end": b"[" * DEPTH + b"]" * DEPTH,
    "objects": b'{"a":' * DEPTH,
    "a deep message": b'{"model": "auto", "messages": ' + b"[" * DEPTH + b"]" * DEPTH + b"}",
    "a deep schema": b'{"model": "auto", "messages": [], "tools": ' + b'[{"a":' * DEPTH + b"1" + b"}]" * DEPTH + b"}",
    "deep metadata": b'{"model": "auto", "messages": [], "metadata": ' + b'{"a":' * DEPTH + b"1" + b"}" * DEPTH + b"}",
}


@pytest.mark.parametrize("name", DEEP)
async def test_what_is_deeper_than_a_stack_is_refused(proxy: Proxy, name: str) -> None:
    for path in (*PATHS.values(), "/bsgateway/feedback", "/bsgateway/api/explain"):
        answer = await post(proxy, path, headers={"content-type": "application/json"}, content=DEEP[name])
        assert 400 <= answer.status_code < 500, (path, answer.text[:300])
        assert len(answer.content) < 10_000
    assert await still_serves(proxy)


def nested(depth: int) -> Any:
    """A JSON schema of objects in objects."""
    schema: Any = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize("depth", [50, 400])
async def test_what_is_as_deep_as_json_may_be_ends(proxy: Proxy, depth: int) -> None:
    schema = nested(depth)
    tools: list[dict[str, Any]] = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    fallbacks: Any = ["large"]
    for _ in range(depth):
        fallbacks = [{"model": "small", "fallbacks": fallbacks}]
    for extra in ({"tools": tools}, {"response_format": {"type": "json_schema", "json_schema": schema}},
                  {"metadata": schema}, {"fallbacks": fallbacks}):  # fmt: skip
        answer, _ = await ask(proxy, "auto", key="small-only", **extra)
        assert answer.status_code in (200, 400, 401, 403, 500), answer.text[:300]
    assert await still_serves(proxy)
