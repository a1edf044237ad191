"""One analyzer and one set of patterns, used by many threads at once: the answers of one thread."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, TypeVar

import pytest

from bsgateway import _core, reference

from .analyses import arguments

T = TypeVar("T")
THREADS = 8
CORES = pytest.mark.parametrize("core", [_core, reference], ids=["native", "twin"])


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    """Threads take turns every few bytecodes, not every 5 ms."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def on_many_threads(work: Callable[[int], T]) -> list[T]:
    """What `work` returns on each thread; it gets the number of its thread. All begin at the same time."""
    barrier = threading.Barrier(THREADS)
    found: dict[int, T] = {}

    def run(number: int) -> None:
        barrier.wait(timeout=60)
        found[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
        assert not thread.is_alive()
    assert len(found) == THREADS, "a thread raised"
    return [found[number] for number in range(THREADS)]


def _text(random: Random, size: int) -> str:
    words = ("prove", "hello", "é中", "x = f(1);", "\n- item", "why?", "<reminder>a</reminder>", "\ud800", "```\n")
    return " ".join(random.choice(words) for _ in range(size))


def _bodies(count: int) -> list[dict[str, Any]]:
    """Conversations that share texts with each other, so that threads look up what others are just keeping."""
    random = Random(3)
    shared = [_text(random, random.choice([1, 5, 50, 300])) for _ in range(count)]
    roles = ("user", "assistant", "system", "tool")
    return [
        {"messages": [{"role": random.choice(roles), "content": random.choice(shared)} for _ in range(1 + n % 12)]}
        for n in range(count)
    ]


@CORES
@pytest.mark.parametrize("memo_bytes", [0, 4096, 16_777_216], ids=["no memo", "forgets", "large"])
def test_analyses(core: Any, memo_bytes: int) -> None:
    bodies = _bodies(200 if core is _core else 40)
    alone = core.Analyzer(**arguments(memo_bytes=0))
    expected = [alone.analyze(body, "chat") for body in bodies]
    assert all(analysis.tokens_exact for analysis in expected)
    analyzer = core.Analyzer(**arguments(memo_bytes=memo_bytes))

    def work(number: int) -> list[Any]:
        order = Random(number).sample(range(len(bodies)), len(bodies))
        found = {index: analyzer.analyze(bodies[index], "chat") for index in order}
        return [found[index] for index in range(len(bodies))]

    for found in on_many_threads(work):
        assert found == expected
    stats = analyzer.memo_stats()
    looked_up = stats.hits + stats.misses
    assert stats.bytes <= memo_bytes
    assert (looked_up > 0) == (memo_bytes > 0)
    if memo_bytes:
        alone = core.Analyzer(**arguments(memo_bytes=memo_bytes))
        for body in bodies:
            alone.analyze(body, "chat")
        once = alone.memo_stats()
        assert looked_up == THREADS * (once.hits + once.misses), "no look-up is lost"


@CORES
def test_batches(core: Any) -> None:
    random = Random(4)
    texts = [_text(random, random.choice([1, 5, 50])) for _ in range(100 if core is _core else 20)]
    analyzer = core.Analyzer(**arguments())

    def work(_: int) -> list[bytes]:
        batch = analyzer.featurize(texts)
        inputs = core.model_inputs(batch.features, None)
        return [batch.features, batch.static, batch.indptr, batch.indices, *core.word_buckets(texts), inputs]

    expected = work(0)
    for found in on_many_threads(work):
        assert found == expected


@CORES
def test_first_matches(core: Any) -> None:
    patterns = [f"vendor-{n}/*[0-{n % 10}]?" for n in range(100)] + ["*"]
    names = [f"vendor-{n % 120}/model-{n}x" for n in range(500)]
    globs = core.GlobSet(patterns)
    expected = [globs.first_match(name) for name in names]
    assert len(set(expected)) > 50
    for found in on_many_threads(lambda _: [globs.first_match(name) for name in names]):
        assert found == expected


@CORES
def test_a_body_that_another_thread_changes(core: Any) -> None:
    analyzer = core.Analyzer(**arguments(memo_bytes=1_000_000))
    block: dict[str, Any] = {"type": "text", "text": "prove it, if you can"}
    message: dict[str, Any] = {"role": "user", "content": [block]}
    schema: dict[Any, Any] = {"x": {"y": ["z"]}}
    body: dict[str, Any] = {"messages": [message], "tools": [{"parameters": schema}]}
    done = threading.Event()

    def change() -> None:
        random = Random(5)
        while not done.is_set():
            number = random.randrange(50)
            schema[number] = {"type": "string"}
            schema.pop(random.randrange(50), None)
            body[str(number)] = number
            body.pop(str(random.randrange(50)), None)
            message["content"] = random.choice([[block] * number, "text", None, {}])
            body["messages"] = [message] * number
            body["messages"].clear()
            block["text"] = "x" * number
            block.pop("type", None)
            block["type"] = "text"

    changing = threading.Thread(target=change)
    changing.start()
    outcomes = {"answered": 0, "refused": 0}
    try:
        for _ in range(1000):
            try:
                assert 0 <= analyzer.analyze(body, "chat").score <= 100
                outcomes["answered"] += 1
            except RuntimeError:  # a dict that changed while it was read; the gateway answers it with the fallback tier
                outcomes["refused"] += 1
    finally:
        done.set()
        changing.join(timeout=60)
    assert outcomes["answered"] > 0
    quiet = {"messages": [{"role": "user", "content": "prove it"}]}
    assert analyzer.analyze(quiet, "chat") == core.Analyzer(**arguments()).analyze(quiet, "chat")


class Meddler:
    """A key that is found where `name` is looked up, and changes something else while it is compared."""

    def __init__(self, name: str, change: Callable[[], object]) -> None:
        self.name, self.change = name, change

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        if other == self.name:
            self.change()
        return False


@CORES
@pytest.mark.parametrize("name", ["type", "text", "role", "content", "parameters", "cache_control"])
def test_a_body_that_changes_while_it_is_read(core: Any, name: str) -> None:
    """What a thread could do at the worst moment, each time at that moment."""
    for clears in (True, False):
        messages: list[Any] = []
        inner: dict[Any, Any] = {}
        schema: dict[Any, Any] = {"first": inner, "last": {}}
        body: dict[Any, Any] = {"messages": messages, "tools": [{"function": schema}]}

        def change(messages: Any = messages, schema: Any = schema, body: Any = body, clears: bool = clears) -> None:
            for held in (messages, schema, body):
                if clears:
                    held.clear()
                elif held is messages:
                    held.append({})
                else:
                    held[f"key {len(held)}"] = {}

        inner[Meddler(name, change)] = 1
        block = {Meddler(name, change): 1, "type": "text", "text": "a long text to be counted"}
        messages += [{Meddler(name, change): 1, "role": "user", "content": [block, "more"]} for _ in range(10)]
        analyzer = core.Analyzer(**arguments(memo_bytes=1_000_000))
        with contextlib.suppress(RuntimeError):
            assert 0 <= analyzer.analyze(body, "chat").score <= 100
        quiet = {"messages": [{"role": "user", "content": "prove it"}]}
        assert analyzer.analyze(quiet, "chat") == core.Analyzer(**arguments()).analyze(quiet, "chat")


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this interpreter has a GIL that nothing switches off"
)
def test_the_native_core_leaves_the_gil_off() -> None:
    script = "import sys; off = not sys._is_gil_enabled(); import bsgateway._core; print(off, sys._is_gil_enabled())"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHON_GIL"}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True", "False"]
