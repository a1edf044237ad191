"""Rounds: every variant gets the same requests in each, in an order that changes, so that noise falls on all alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

import asyncpg

from .load import send
from .processes import BenchError, Child, family_cpu_seconds
from .requests import BODIES, encoded
from .variants import Variant

WARM_UP = 40
"""Requests of each body before the first round: LiteLLM loads much of itself at the first ones."""
SETTLE_SECONDS = 1.3
"""Rest after each visit, before the processor time is read: the log goes to the database every second."""
ROWS_SECONDS = 30.0
SEED = 20_261_122

Key = tuple[str, str]
"""Names of variant and body."""


@dataclass(frozen=True)
class Visit:
    """One variant in one round with one body. Seconds, of processor time as of latency."""

    requests: int
    cpu: float
    postgres_cpu: float
    latencies: tuple[float, ...]
    rps: float


@dataclass(frozen=True)
class Plan:
    """How much to measure. A visit is `requests` requests one after another and as many at `concurrency`."""

    variants: tuple[Variant, ...]
    bodies: tuple[str, ...]
    rounds: int
    requests: int
    concurrency: int


class Bench:
    """Proxies that run, and what was measured on them."""

    def __init__(self, plan: Plan, proxies: dict[str, Child], postgres_pid: int | None) -> None:
        self.plan = plan
        self.visits: dict[Key, list[Visit]] = {}
        self.sent: dict[str, int] = dict.fromkeys(proxies, 0)
        self._proxies = proxies
        self._postgres_pid = postgres_pid
        self._makers = {name: BODIES[name]() for name in plan.bodies}
        self._turn = 1

    async def warm_up(self, progress: Callable[[str], None]) -> None:
        """Send the first requests, which are not measured; the last of them at the concurrency that is."""
        for body in self.plan.bodies:
            turns = self._turns(WARM_UP)
            for variant in self.plan.variants:
                progress(f"warm-up, {body}: {variant.name}")
                bodies = encoded(self._makers[body], variant.model, turns)
                await self._send(variant, bodies[: WARM_UP // 2], 1)
                await self._send(variant, bodies[WARM_UP // 2 :], self.plan.concurrency)
        await asyncio.sleep(SETTLE_SECONDS)

    async def run(self, progress: Callable[[str], None]) -> None:
        """All rounds."""
        random = Random(SEED)
        for number in range(1, self.plan.rounds + 1):
            for body in self.plan.bodies:
                turns = self._turns(2 * self.plan.requests)
                for variant in random.sample(self.plan.variants, len(self.plan.variants)):
                    progress(f"round {number} of {self.plan.rounds}, {body}: {variant.name}")
                    bodies = encoded(self._makers[body], variant.model, turns)
                    self.visits.setdefault((variant.name, body), []).append(await self._visit(variant, bodies))

    async def _visit(self, variant: Variant, bodies: Sequence[bytes]) -> Visit:
        proxy, half = self._proxies[variant.name], self.plan.requests
        cpu, postgres = proxy.cpu_seconds(), self._postgres_cpu()
        single = await self._send(variant, bodies[:half], 1)
        several = await self._send(variant, bodies[half:], self.plan.concurrency)
        await asyncio.sleep(SETTLE_SECONDS)
        return Visit(
            requests=len(bodies),
            cpu=proxy.cpu_seconds() - cpu,
            postgres_cpu=self._postgres_cpu() - postgres,
            latencies=single[0],
            rps=len(several[0]) / several[1],
        )

    async def _send(
        self, variant: Variant, bodies: Sequence[bytes], concurrency: int
    ) -> tuple[tuple[float, ...], float]:
        run = await send(variant, self._proxies[variant.name].url, bodies, concurrency)
        self.sent[variant.name] += len(bodies)
        return run.latencies, run.seconds

    def _turns(self, count: int) -> range:
        """Turns that no request had before."""
        first, self._turn = self._turn, self._turn + count
        return range(first, self._turn)

    def _postgres_cpu(self) -> float:
        return 0.0 if self._postgres_pid is None else family_cpu_seconds(self._postgres_pid)


_COUNTS = (
    "count(*) FROM routing_logs",
    "count(DISTINCT decision_id) FROM routing_logs",
    "count(*) FROM routing_outcomes WHERE status = 'success'",
)


async def assert_all_logged(dsn: str, requests: int) -> None:
    """One row and one successful outcome for each request, no more and no less. Raises BenchError otherwise."""
    connection = await asyncpg.connect(dsn)
    try:
        until = time.monotonic() + ROWS_SECONDS
        counts: tuple[int, ...] = (-1, -1, -1)
        while counts != (requests,) * 3:
            if time.monotonic() > until or max(counts) > requests:
                raise BenchError(
                    f"{requests} requests were answered, and the log has {counts[0]} rows, {counts[1]} decisions "
                    f"and {counts[2]} successful outcomes"
                )
            await asyncio.sleep(0.2)
            counts = tuple([await connection.fetchval(f"SELECT {count}") for count in _COUNTS])
    finally:
        await connection.close()


def assert_all_reached(counts: dict[str, int], sent: Iterable[int]) -> None:
    """Every request reached the upstream once. Raises BenchError otherwise."""
    if sum(counts.values()) != sum(sent):
        raise BenchError(f"the upstream was asked {sum(counts.values())} times for {sum(sent)} requests")
