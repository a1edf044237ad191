"""The client: sends bodies one after another or several at once, times each answer and checks it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from .processes import BenchError
from .variants import KEY, Variant

PATH = "/v1/chat/completions"
TIMEOUT = aiohttp.ClientTimeout(total=120)
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


@dataclass(frozen=True)
class Run:
    """What a client saw: seconds from request to the end of each answer, and seconds for all."""

    latencies: tuple[float, ...]
    seconds: float


async def send(variant: Variant, url: str, bodies: Sequence[bytes], concurrency: int) -> Run:
    """Send `bodies` in order over `concurrency` connections. Raises BenchError at the first answer that is wrong."""
    latencies: list[float] = []
    waiting = iter(bodies)
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, headers=HEADERS) as session:

        async def client() -> None:
            for body in waiting:
                began = time.perf_counter()
                async with session.post(url + PATH, data=body) as answer:
                    text = await answer.read()
                latencies.append(time.perf_counter() - began)
                if complaint := variant.complaint(answer.status, answer.headers):
                    raise BenchError(f"`{variant.name}` answered wrongly: {complaint}: {text[:500].decode()}")

        began = time.perf_counter()
        try:
            await asyncio.gather(*(client() for _ in range(concurrency)))
        except aiohttp.ClientError as error:
            raise BenchError(f"`{variant.name}` does not answer: {error}") from error
        return Run(tuple(latencies), time.perf_counter() - began)
