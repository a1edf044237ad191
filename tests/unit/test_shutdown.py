"""The time between SIGTERM and stopping."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from bsgateway import shutdown
from builders import until

DELAY = 0.2


@pytest.fixture
def stopped() -> Iterator[list[float]]:
    """When a server's own handler, which is in place meanwhile, was called."""
    moments: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda *_: moments.append(time.monotonic()))
    yield moments
    signal.signal(signal.SIGTERM, before)


async def test_it_says_so_first_and_stops_later(stopped: list[float]) -> None:
    told: list[float] = []
    shutdown.announce_first(lambda: told.append(time.monotonic()), DELAY)
    signal.raise_signal(signal.SIGTERM)
    assert len(told) == 1
    assert stopped == []
    await until(lambda: stopped)
    assert stopped[0] - told[0] >= DELAY


async def test_without_a_delay_it_stops_at_once(stopped: list[float]) -> None:
    told: list[float] = []
    shutdown.announce_first(lambda: told.append(0.0), 0)
    signal.raise_signal(signal.SIGTERM)
    assert (len(told), len(stopped)) == (1, 1)


async def test_a_second_signal_is_not_delayed(stopped: list[float]) -> None:
    shutdown.announce_first(lambda: None, 60)
    signal.raise_signal(signal.SIGTERM)
    assert stopped == []
    signal.raise_signal(signal.SIGTERM)
    assert len(stopped) == 1


async def test_a_worker_that_is_told_twice_keeps_its_delay(stopped: list[float]) -> None:
    told: list[float] = []
    shutdown.announce_first(lambda: told.append(time.monotonic()), DELAY, hurries=False)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert stopped == []
    await until(lambda: stopped)
    assert stopped[0] - told[0] >= DELAY
    await asyncio.sleep(DELAY)
    assert len(stopped) == 1


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
async def test_what_no_server_handles_stays_as_it_is(stopped: list[float], handler: signal.Handlers) -> None:
    signal.signal(signal.SIGTERM, handler)
    shutdown.announce_first(lambda: None, DELAY)
    assert signal.getsignal(signal.SIGTERM) is handler


async def test_elsewhere_than_in_the_main_thread_nothing_is_done(stopped: list[float]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def announce() -> None:
        shutdown.announce_first(lambda: None, DELAY)

    thread = threading.Thread(target=lambda: asyncio.run(announce()))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("given", "seconds"), [(None, 0.0), ("", 0.0), ("2.5", 2.5)])
def test_workers_are_told_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, given: str | None, seconds: float
) -> None:
    if given is None:
        monkeypatch.delenv(shutdown.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(shutdown.VARIABLE, given)
    assert shutdown.delay_from_environment() == seconds
