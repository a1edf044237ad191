"""How everything here is measured, and what is written down about where."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `import bodies`

from machine import about, said

# Before anything imports LiteLLM, which otherwise waits for a download of its price map.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

SECONDS = float(os.environ.get("BSGATEWAY_BENCH_SECONDS", "0.4"))
"""Time given to one measurement, preparation of its rounds included."""
ROUND_SECONDS = 50e-6
"""What a round lasts at least where calls can be repeated, so that the clock's own cost is no part of the result."""
MAX_ROUNDS = 1_000


class Measure:
    """Measures one call within `SECONDS`, and says in the result what it is: suite, subject (a body or a size),
    contender, and anything more."""

    def __init__(self, benchmark: Any) -> None:
        self._benchmark = benchmark

    def named(self, suite: str, subject: str, contender: str, **more: Any) -> Measure:
        """Set what the result is of; `bytes` is the size of the subject."""
        self._benchmark.group = f"{suite}: {subject}"
        self._benchmark.extra_info.update(suite=suite, subject=subject, contender=contender, **more)
        return self

    def same(self, call: Callable[..., Any], *args: Any) -> None:
        """The same call again and again."""
        call(*args)
        once = _seconds(lambda: call(*args))
        iterations = max(1, round(ROUND_SECONDS / once))
        rounds = _rounds(once * iterations)
        self._benchmark.pedantic(call, args, iterations=iterations, rounds=rounds, warmup_rounds=rounds // 10)

    def fresh(self, call: Callable[..., Any], prepare: Callable[[], tuple[Any, ...]]) -> None:
        """A call with arguments that are made anew each time, by `prepare`, which is not measured."""
        call(*prepare())
        rounds = _rounds(_seconds(lambda: call(*prepare())))
        warm = rounds // 10
        self._benchmark.pedantic(call, setup=lambda: (prepare(), {}), rounds=rounds, warmup_rounds=warm)

    def once(self, call: Callable[..., Any], *args: Any) -> None:
        """A call that takes seconds: one round."""
        self._benchmark.pedantic(call, args, rounds=1)


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _rounds(seconds: float) -> int:
    least = 3 if seconds < 1 else 1
    return int(min(max(SECONDS / seconds, least), MAX_ROUNDS))


@pytest.fixture
def measure(benchmark: Any) -> Measure:
    return Measure(benchmark)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Nothing is measured before it is known to be equal.
    items.sort(key=lambda item: item.path.name != "bench_equal.py")


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    rustc = said("rustc", "--version").removeprefix("rustc ").split(" ")[0]
    machine_info["bsgateway"] = {**about("litellm", "tiktoken", "pytest-benchmark"), "rustc": rustc}
