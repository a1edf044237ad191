"""One fault: load before it, while it lasts and until everything has arrived; then the count, and the verdict."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import psutil
import pytest

from e2e.gateways import Gateway
from faults.load import Load, percentile, warm_up
from faults.rig import Rig

LONG = bool(os.environ.get("BSGATEWAY_FAULTS_LONG"))
"""Whether this is `make faults`, which takes its time."""
only_long = pytest.mark.skipif(not LONG, reason="takes long: `make faults` runs it")
BEFORE_SECONDS = 1.5
AFTER_SECONDS = 1.0
RECOVERY_SECONDS = 45.0
"""A bound against hangs: the longest wait of the writer between two attempts, and time to write."""
HANDED_OVER_SECONDS = 0.05
"""What was handed over longer before a SIGKILL must survive it."""
OUTCOME_SECONDS = 1.0
ABOUT_THE_LOG = ("log", "spool", "lost", "rows", "next gateway", "Error", "Cancel", "bsgateway")
TABLES = ("routing_logs", "routing_texts", "routing_outcomes")
P99_FACTOR, P99_MARGIN_MS = 3.0, 1_000.0
"""Latency may rise so much while there is a fault. Whatever waited for the database would wait for seconds."""
BUSY_IDLE = 0.2
"""Latency is not judged where less of the processors was idle: this load leaves far more of them."""


@dataclass
class Result:
    """What `make faults` prints of a fault. Times in seconds, latencies in milliseconds; None: not measured.

    `decisions` were answered, `written` of them are in routing_logs. `duplicates` are rows of the three tables over one
    for each decision, and rows of decisions that nobody was answered; `excused` decisions are missing and may be, for
    the reason that `note` names. `idle` is the share of all processors that was idle from the begin to the recovery.
    """

    fault: str
    passed: bool = False
    why: str = ""
    decisions: int = 0
    written: int = 0
    lost: int = 0
    duplicates: int = 0
    outcomes_missing: int = 0
    texts_missing: int = 0
    excused: int = 0
    failed_requests: int = 0
    recovery: float | None = None
    p50_before: float | None = None
    p50_during: float | None = None
    p99_before: float | None = None
    p99_during: float | None = None
    idle: float = 1.0
    note: str = ""


RESULTS: list[Result] = []
"""Of this run, in order."""


@dataclass
class Run:
    """A fault while it is tried. A test says when it `begins` and `ends`, and what is to be forgiven."""

    rig: Rig
    load: Load
    result: Result
    started_at: float = field(default_factory=time.time)
    began: float = math.nan
    ended: float = math.nan
    killed_at: float = math.inf
    refused: set[UUID] = field(default_factory=set)
    """Decisions that need no row: their table refused them."""
    said_before: int = 0
    _times: Any = field(default_factory=psutil.cpu_times)
    _idle: float = 1.0
    wrong: list[str] = field(default_factory=list)
    unanswered: bool = False
    """Whether there may be rows of requests whose answers never came, and requests that fail: the gateway was ended."""

    def begins(self) -> None:
        """The fault is about to be there."""
        self.began = time.monotonic()

    def ends(self) -> None:
        """The fault is gone."""
        self.ended = time.monotonic()

    def said(self) -> str:
        """What the gateway wrote to its log since the load began."""
        return self.load.gateway.said()[self.said_before :]

    def check(self, holds: bool, otherwise: str) -> None:
        """Fail at the end, when the fault is over and all is counted, unless this holds."""
        if not holds:
            self.wrong.append(otherwise)

    def note(self, text: str) -> None:
        """Say something about this run in its row of the table."""
        self.result.note = f"{self.result.note}; {text}".removeprefix("; ")

    def killed(self) -> None:
        """The gateway was killed right now: what it was handed last may be lost, and is counted apart."""
        self.killed_at = time.monotonic()

    def may_lack(self, table: str) -> set[UUID]:
        """Decisions of which this table need not have a row."""
        if table == "routing_outcomes":  # LiteLLM tells of one some time after the client has its answer
            return self._killed_within(OUTCOME_SECONDS)
        last = self._killed_within(HANDED_OVER_SECONDS)
        return last | self.refused if table == "routing_logs" else last

    def _killed_within(self, seconds: float) -> set[UUID]:
        """Decisions whose gateway was killed within so many seconds; their answers may still have been on their way."""
        first, last = self.killed_at - seconds, self.killed_at + HANDED_OVER_SECONDS
        return {answer.decision_id for answer in self.load.answers if first < answer.arrived < last}

    def look_at_processors(self) -> None:
        """Note how idle they were since the load began. Starting a new gateway is work of ours, and keeps them busy."""
        times = psutil.cpu_times()
        spent = sum(times) - sum(self._times)
        idle, before = (t.idle + getattr(t, "iowait", 0.0) for t in (times, self._times))
        self._idle = (idle - before) / spent if spent else 1.0

    def made(self) -> set[UUID]:
        """The decisions that were answered so far."""
        return {answer.decision_id for answer in self.load.answers}

    async def recovered(self) -> None:
        """Wait until all that was decided before the fault ended is in the database, and note how long that took."""
        if self.result.recovery is not None:
            return  # a test has waited for it
        wanted = {a.decision_id for a in self.load.answers if a.arrived <= self.ended}
        wanted -= self.may_lack("routing_logs")
        deadline = time.monotonic() + RECOVERY_SECONDS
        while time.monotonic() < deadline:
            if wanted <= set(await self._ids("routing_logs")):
                self.result.recovery = round(time.monotonic() - self.ended, 2)
                return
            await asyncio.sleep(0.1)

    async def settled(self) -> None:
        """Wait until all of it is there and the spool is empty, or there is no more hope."""
        made = self.made()
        deadline = time.monotonic() + (RECOVERY_SECONDS if self.result.recovery is not None else 1.0)
        while time.monotonic() < deadline:
            missing = [made - self.may_lack(table) - set(await self._ids(table)) for table in TABLES]
            if not any(missing) and self.rig.spooled() == 0:
                return
            await asyncio.sleep(0.1)

    async def count(self) -> None:
        """Fill in the result."""
        result, made = self.result, self.made()
        found = {table: await self._ids(table) for table in TABLES}
        lacking = {table: made - set(ids) for table, ids in found.items()}
        result.decisions, result.written = len(made), len(made) - len(lacking["routing_logs"])
        result.lost, result.texts_missing, result.outcomes_missing = (
            len(lacking[table] - self.may_lack(table)) for table in TABLES
        )
        result.excused = len(lacking["routing_logs"]) - result.lost
        result.duplicates = sum(len(ids) - len(set(ids)) for ids in found.values())
        if not self.unanswered:
            result.duplicates += sum(len(set(ids) - made) for ids in found.values())
        result.failed_requests = len(self.load.failed)
        result.idle = round(self._idle, 2)
        if self.killed_at < math.inf:
            last = [f"{len(lacking[table] & self.may_lack(table))} of {len(self.may_lack(table))}" for table in TABLES]
            self.note(
                f"lost of the decisions of the last {1000 * HANDED_OVER_SECONDS:.0f} ms: {last[0]}; "
                f"of the outcomes of the last second: {last[2]}"
            )
        self._measure()

    def _measure(self) -> None:
        over = self.ended + (self.result.recovery or 0.0)
        before = [a.seconds for a in self.load.answers if a.due < self.began]
        during = [a.seconds for a in self.load.answers if self.began <= a.due <= over]
        for name, seconds in (("before", before), ("during", during)):
            for share in (50, 99):
                value = percentile(seconds, share / 100)
                setattr(self.result, f"p{share}_{name}", None if math.isnan(value) else round(value, 1))

    def judge(self, left: int) -> None:
        """Say in the result what is wrong. `left`: rows that are still in the spool."""
        result, wrong = self.result, self.wrong
        for name in ("lost", "duplicates", "outcomes_missing", "texts_missing"):
            if count := getattr(result, name):
                wrong.append(f"{name}: {count}")
        if result.failed_requests and not self.unanswered:
            wrong.append(f"failed requests: {result.failed_requests}, such as {self.load.failed[0][1]}")
        if result.recovery is None:
            wrong.append(f"not recovered within {RECOVERY_SECONDS:.0f} s")
        if left:
            wrong.append(f"{left} rows are still in the spool")
        if result.decisions == 0:
            wrong.append("no decision was made")
        if result.idle < BUSY_IDLE:
            self.note(f"latency not judged: processors {100 * result.idle:.0f} % idle")
        elif result.p99_before and result.p99_during:
            bound = P99_FACTOR * result.p99_before + P99_MARGIN_MS
            if result.p99_during > bound:
                wrong.append(f"p99 {result.p99_during} ms, over the bound of {bound:.0f} ms")
        result.why = "; ".join(wrong)
        result.passed = not wrong

    async def _ids(self, table: str) -> list[UUID]:
        try:
            return await self.rig.ids(table, self.started_at)
        except (OSError, asyncpg.PostgresError, asyncio.TimeoutError):
            return []  # asked again, or found missing


@asynccontextmanager
async def fault(rig: Rig, name: str, **fields: Any) -> AsyncIterator[Run]:
    """Load on the gateway that runs, or a new one; in the block the test injects the fault. Then all must be there."""
    gateway = await running(rig)
    run = Run(rig, Load(gateway), Result(name), said_before=len(gateway.said()), **fields)
    RESULTS.append(run.result)
    run.load.start()
    try:
        await asyncio.sleep(BEFORE_SECONDS)
        yield run
        await asyncio.gather(run.recovered(), asyncio.sleep(AFTER_SECONDS))
        run.look_at_processors()
    except BaseException as error:
        run.result.why = f"{type(error).__name__}: {error}"
        await asyncio.to_thread(rig.heal)
        raise
    finally:
        await run.load.stop()
    await run.settled()
    await run.count()
    run.judge(rig.spooled())
    assert run.result.passed, f"{name}: {run.result.why}\n{said_of_log(run)}"


async def running(rig: Rig) -> Gateway:
    """The gateway that runs, or a new one; its first, slow answers are over."""
    gateway = await asyncio.to_thread(rig.gateway)
    if rig.warm is not gateway:
        await warm_up(gateway)
        rig.warm = gateway
    return gateway


def said_of_log(run: Run, most: int = 40) -> str:
    """What the gateway of this run wrote about its log meanwhile, and the one that followed it, if one did."""
    said = run.said().splitlines()
    if run.rig.running not in (None, run.load.gateway):
        said += ["the next gateway:", *run.rig.running.said().splitlines()]
    return "\n".join([line for line in said if any(word in line for word in ABOUT_THE_LOG)][-most:])


def as_rows(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Results as JSON holds them."""
    return [asdict(result) for result in results]
