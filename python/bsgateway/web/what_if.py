"""What other borders between tiers, or another bias, would have made of the last days: shares and costs.

The log is summed by score in a process of its own (see `what_if_process`), by the same code as `bsgateway calibrate`.
What is summed answers for all borders and biases, so the page adds up by itself while something is dragged;
`applied` is the same in Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import msgspec

from .. import errors
from ..catalog import Model
from ..config import DEFAULT_STATE, STATE_VARIABLE, Config, resolve_env
from ..config_edit import setting_lines
from ..errors import GatewayError, LearningError
from ..gateway import Gateway
from .problems import RequestError
from .views import SettingLines, SettingRequest, WhatIf
from .what_if_process import Answer, Order

log = logging.getLogger(__name__)

MODULE = "bsgateway.web.what_if_process"
MOST_ROWS = 20_000
"""Rows that are read at most, the newest: some seconds."""
SECONDS = 60.0
"""Longest time for them."""
FRESH_SECONDS = 60.0
"""How long an answer is given again."""
SCORES = 101
_OTHER_DAYS = "choose fewer days, or try again when the machine is less busy"


class AppliedTier(msgspec.Struct, frozen=True):
    """What a tier has: requests, their share (0-1) of those that borders move, and their cost in US dollars, None where
    it is not known."""

    tier: str
    requests: int
    share: float
    cost: float | None


class Applied(msgspec.Struct, frozen=True):
    """What all tiers have under a setting. `moved` requests are in another tier than under the setting in force."""

    tiers: tuple[AppliedTier, ...]
    cost: float | None
    moved: int


def applied(what_if: WhatIf, borders: Sequence[int], bias: int) -> Applied:
    """What becomes of the requests with these borders and this bias of the configuration.

    `borders`: first scores of all tiers but the lowest, ascending. Raises ValueError for others.
    """
    if len(borders) != len(what_if.tiers) - 1 or list(borders) != sorted({*borders} - {0}):
        raise ValueError("borders must be ascending, one for each tier but the lowest")
    shift = bias - what_if.bias
    requests = [0] * len(what_if.tiers)
    costs = [0.0] * len(what_if.tiers)
    moved = 0
    for at, count in enumerate(what_if.requests):
        score = what_if.lowest + at
        tier = _tier(score + shift, borders)
        requests[tier] += count
        prices = what_if.costs[tier]
        costs[tier] += 0.0 if prices is None else prices[at]
        moved += count if tier != _tier(score, what_if.borders) else 0
    total = sum(requests)
    tiers = tuple(
        AppliedTier(
            name,
            requests[place],
            requests[place] / total if total else 0.0,
            costs[place] if what_if.costs[place] is not None or not requests[place] else None,
        )
        for place, name in enumerate(what_if.tiers)
    )
    known = [tier.cost for tier in tiers if tier.cost is not None]
    return Applied(tiers, sum(known) if len(known) == len(tiers) else None, moved)


def _tier(score: int, borders: Sequence[int]) -> int:
    """The place of the tier of a score that is not yet bounded."""
    score = min(max(score, 0), SCORES - 1)
    return sum(score >= border for border in borders)


def lines(config: Config, setting: SettingRequest) -> SettingLines:
    """The lines of gateway.yaml that say these borders and this bias. Raises RequestError (422)."""
    borders = (0, *setting.borders, SCORES)
    if len(setting.borders) != len(config.routing.tiers) - 1 or any(one >= other for one, other in pairwise(borders)):
        raise RequestError(
            422, "borders: not one for each tier but the lowest, from 1 to 100 and ascending", field="borders"
        )
    if not -100 <= setting.bias <= 100:
        raise RequestError(422, "bias: not from -100 to 100", field="bias")
    ordered = sorted(config.routing.tiers, key=lambda name: config.routing.tiers[name].score_range)
    ranges = {name: (borders[place], borders[place + 1] - 1) for place, name in enumerate(ordered)}
    # What the operator wrote in the file, and not what defaults add to it.
    bias = setting.bias if setting.bias or "bias" in config.host["routing"] else None
    return SettingLines(setting_lines(config.host["routing"]["tiers"], ranges, bias))


class WhatIfs:
    """Sums for the gateway in force, which `running` tells: one process at a time, and each answer for a minute.
    Belongs to the event loop; `close` it there."""

    def __init__(self, running: Callable[[], Gateway], most: int = MOST_ROWS) -> None:
        self._running = running
        self._most = most
        self._of: weakref.ref[Gateway] | None = None
        self._answers: dict[float, tuple[float, WhatIf]] = {}
        self._tasks: dict[float, asyncio.Task[WhatIf]] = {}
        self._turn = asyncio.Lock()

    async def last(self, days: float) -> WhatIf:
        """Of the last `days`. Raises RequestError (503) where there is no log or no time, LearningError without numpy,
        and as `what_if` does."""
        gateway = self._running()
        if self._of is None or self._of() is not gateway:
            self._of, self._answers = weakref.ref(gateway), {}
            for task in self._tasks.values():
                task.cancel()
            self._tasks = {}
        now = time.monotonic()
        self._answers = {key: known for key, known in self._answers.items() if now - known[0] < FRESH_SECONDS}
        if (known := self._answers.get(days)) is not None:
            return known[1]
        if days not in self._tasks:
            task = asyncio.create_task(self._summed(gateway, days), name="bsgateway-what-if")
            task.add_done_callback(_heard)
            self._tasks[days] = task
        task = self._tasks[days]
        # Others may wait for it, too: one of them who goes does not end it.
        await asyncio.wait([task])
        if task.cancelled():
            raise RequestError(503, "the gateway has another configuration now, or stops", "try again", retry_after=1)
        return task.result()

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _summed(self, gateway: Gateway, days: float) -> WhatIf:
        task = asyncio.current_task()
        try:
            collector = gateway.config.routing.collector
            dsn = resolve_env(collector.database_url) if collector.enabled else None
            if dsn is None:
                raise RequestError(503, "the log is off: there is nothing to sum up", "turn routing.collector on")
            async with self._turn:
                found = await what_if(gateway.config, gateway.models, None, dsn, days, self._most)
            if self._of is not None and self._of() is gateway:
                self._answers[days] = time.monotonic(), found
            return found
        finally:
            if self._tasks.get(days) is task:
                del self._tasks[days]


def _heard(task: asyncio.Task[WhatIf]) -> None:
    """Asyncio logs errors that nobody has asked for: here whoever waits has gone."""
    if not task.cancelled():
        task.exception()


async def what_if(
    config: Config, known: dict[str, Model], state: Path | None, dsn: str, days: float, most: int = MOST_ROWS
) -> WhatIf:
    """Sum up the last `days` of the log at `dsn`, at most the newest `most` rows, in a process of its own. `known` are
    the models of `config`; `state` as for `models.model_path`.

    Raises LearningError without numpy and where most rows cannot be scored; StoreError, ReplayError, ModelError; and
    RequestError (503) where it takes too long or the process ends.
    """
    if find_spec("numpy") is None:
        raise LearningError("this needs numpy: run `pip install 'bsgateway[train]'`")
    order = Order(
        path=str(config.path),
        routing=config.routing,
        model_list=config.host["model_list"],
        known=known,
        directory=os.getcwd(),
        state=str((state or Path(os.environ.get(STATE_VARIABLE) or DEFAULT_STATE)).absolute()),
        dsn=dsn,
        days=days,
        most=most,
    )
    answer = await _ordered(msgspec.json.encode(order) + b"\n")
    if answer.what_if is not None:
        return answer.what_if
    if answer.failed:
        log.error("what-if: the log could not be summed up: %s", answer.failed)
        raise RequestError(500, "the log could not be summed up", "the gateway's log says where it failed")
    kind = getattr(errors, answer.kind, GatewayError)
    raise kind(answer.error)


async def _ordered(line: bytes) -> Answer:
    """What a process makes of an order. It is gone when this returns or raises."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULE,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        cwd=os.sep, start_new_session=True, env=_environment(),
    )  # fmt: skip
    try:
        said = await asyncio.wait_for(_said(process, line), SECONDS)
    except asyncio.TimeoutError:
        raise RequestError(
            503, f"it took longer than {SECONDS:g} s to sum up the log", _OTHER_DAYS, retry_after=60
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        code = await process.wait()
        if process.stdin is not None:
            process.stdin.close()
    try:
        return msgspec.json.decode(said, type=Answer)
    except msgspec.DecodeError:
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        log.error("what-if: the process that sums up the log has ended without an answer: %s", ended)
        raise RequestError(
            503,
            f"the process that sums up the log has ended without an answer ({ended})",
            "try fewer days; has the machine enough memory?",
        ) from None


def _environment() -> dict[str, str]:
    # It imports what this process can import, and nothing from the directory that the operator happens to be in.
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}


async def _said(process: asyncio.subprocess.Process, line: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a process without pipes")
    # Where it has ended already, its silence says so. Its input stays open: the end of it would end the process.
    with contextlib.suppress(ConnectionError):
        process.stdin.write(line)
        await process.stdin.drain()
    said = await process.stdout.read()
    await process.wait()
    return said
