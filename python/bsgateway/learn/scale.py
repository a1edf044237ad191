"""More of the log than one machine holds: the parts of Parquet exports on the workers of a Ray cluster.

Each worker holds some parts in memory. What goes over them (`Shards.map`) is the same as in one process, in the same
order, so that the result is the same too. A worker that is lost is started again, elsewhere if need be: it loads its
parts anew, and what it was asked is asked again.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any, TypeVar

import click

from .._version import __version__
from ..errors import GatewayError, LearningError
from .parquet import Plan, split
from .shards import LocalShards, Shards

Result = TypeVar("Result")

LIVES = 3
"""So often a worker is started again."""
START_SECONDS = 300.0
"""So long a cluster may take to find room for the workers."""
STORE_BYTES = 512_000_000
"""Shared memory of a Ray of our own; what is more lies in files."""
LOCAL = "local"
_EXCEPTION = re.compile(r"[\w.]+(Error|Exception): ")


@contextlib.contextmanager
def shards(plan: Plan, address: str | None, workers: int) -> Iterator[Shards]:
    """The parts of exports: with the workers of the cluster at `address`, or without one in this process."""
    if address is None:
        yield LocalShards.of(plan, plan.parts())
    else:
        with on_ray(address, workers, plan, plan.parts(workers)) as found:
            yield found


@contextlib.contextmanager
def on_ray(address: str, workers: int, plan: Plan, parts: int) -> Iterator[RayShards]:
    """Read exports into the memory of `workers` Ray actors, of one processor each, which end with the block.

    `address` is that of a cluster whose nodes have this version of bsgateway and see the files by the same paths, or
    `local` for one on this machine that ends with the block and that nothing but this machine can reach.
    Raises LearningError.
    """
    parts = max(parts, 2)  # of a single one, Ray would give no list
    with _ray(address, workers) as ray:
        shards = RayShards(ray, min(workers, parts), plan, parts)
        try:
            yield shards
        finally:
            shards.close()


class _Worker:
    """Holds parts, each made when it is first asked for: also after it was started again."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._made: dict[int, Any] = {}

    def process(self, version: str) -> int:
        """That it runs in. Raises LearningError where bsgateway has another version."""
        if version != __version__:
            raise LearningError(f"a node of the cluster has bsgateway {__version__}, this one {version}: install one")
        return os.getpid()

    def call(self, place: int, made_of: Sequence[Any], function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function gives for the part at a place. `made_of`: a reference to those to the part's tables."""
        if place not in self._made:
            self._made[place] = self._make(made_of[0])
        return function(self._made[place], *arguments)

    def _make(self, tables: Any) -> Any:
        import ray

        with _translated(ray):
            found = ray.get(ray.get(tables))
        return self._plan.made_of(found)


class RayShards:
    """Parts on the workers of Ray. `processes`: that of each worker, on its node."""

    def __init__(self, ray: Any, workers: int, plan: Plan, parts: int) -> None:
        self._ray = ray
        with _translated(ray):
            self._parts = self._split(plan, parts, workers)
            actor = ray.remote(_Worker).options(num_cpus=1, max_restarts=LIVES, max_task_retries=LIVES)
            self._workers = [actor.remote(plan) for _ in range(workers)]
            self.processes = self._start()

    def _split(self, plan: Plan, parts: int, at_once: int) -> list[Any]:
        """For each part, a reference to references to its tables. Made by tasks, not by the workers: what is lost with
        a node, Ray makes again by itself."""
        task = self._ray.remote(split).options(num_cpus=0, num_returns=parts, max_retries=LIVES)
        shared = self._ray.put(plan)
        running: list[Any] = []
        by_group = []
        for place in range(len(plan.groups)):
            if len(running) >= at_once:
                _, running = self._ray.wait(running)
            by_group.append(task.remote(shared, place, parts))
            running.append(by_group[-1][0])
        self._tables = by_group  # what is referred to only from within what is stored, Ray may forget how to make
        return [self._ray.put(list(part)) for part in zip(*by_group, strict=True)]

    def _start(self) -> list[int]:
        try:
            asked = [worker.process.remote(__version__) for worker in self._workers]
            processes: list[int] = self._ray.get(asked, timeout=START_SECONDS)
        except self._ray.exceptions.GetTimeoutError:
            raise LearningError(
                f"the Ray cluster has found no room for {len(self._workers)} workers of one processor each within "
                f"{START_SECONDS:.0f} s: ask for fewer with --workers"
            ) from None
        return processes

    def __len__(self) -> int:
        return len(self._parts)

    def map(self, function: Callable[..., Result], *common: Any, each: Sequence[Sequence[Any]] = ()) -> list[Result]:
        """See `Shards.map`."""
        shared = [self.put(value) for value in common]
        with _translated(self._ray):
            asked = [
                self._workers[place % len(self._workers)].call.remote(
                    place, [made_of], function, *shared, *(each[place] if each else ())
                )
                for place, made_of in enumerate(self._parts)
            ]
            results: list[Result] = self._ray.get(asked)
        return results

    def put(self, value: Any) -> Any:
        """See `Shards.put`."""
        return value if isinstance(value, self._ray.ObjectRef) else self._ray.put(value)

    def close(self) -> None:
        """End the workers: a cluster goes on without them."""
        for worker in self._workers:
            self._ray.kill(worker)


@contextlib.contextmanager
def _translated(ray: Any) -> Iterator[None]:
    """Raise what a worker raised as it was, and what became of the workers as LearningError."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, GatewayError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise LearningError(
            f"Ray could not do the work: {_reason(error)}. Each node needs the same version of bsgateway[scale], the "
            "files by the same paths, and memory for its share of the log"
        ) from error


def _reason(error: Exception) -> str:
    """The line that says it: that of an exception in a worker comes last, below its traceback."""
    lines = [click.unstyle(line).strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if _EXCEPTION.match(lines[-1]) else lines[0].rstrip(".")


@contextlib.contextmanager
def _ray(address: str, workers: int) -> Iterator[Any]:
    """Ray, connected to a cluster. It is disconnected, and a cluster of our own stopped, at the end."""
    with _environment() if address == LOCAL else contextlib.nullcontext(), contextlib.ExitStack() as stack:
        try:
            import ray
        except ImportError:
            raise LearningError("--ray needs Ray: run `pip install 'bsgateway[scale]'`") from None
        if ray.is_initialized():
            raise LearningError("Ray is in use in this process already: shut it down first")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == LOCAL:
            if not ip_address(_address(ray)).is_loopback:
                raise LearningError("Ray was imported before it was told to listen on 127.0.0.1 only: do not import it")
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bsg-", ignore_cleanup_errors=True))
            options |= {"num_cpus": workers, "include_dashboard": False}
            # One further down: Ray opens its own directory to everyone, and there may be words of requests in it.
            options |= {"object_store_memory": STORE_BYTES, "_temp_dir": os.path.join(folder, "ray")}
        stack.callback(ray.shutdown)
        try:
            ray.init(address=address, **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise LearningError(f"cannot use Ray at {address}: {error}") from error
        yield ray


def _address(ray: Any) -> str:
    found: str = ray.util.get_node_ip_address()
    return found


@functools.cache
def _token() -> str:
    """What our own Ray asks of everyone that connects: Ray's processes read it from the environment, once."""
    return secrets.token_hex(32)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """The environment for a Ray of our own, which it takes its settings from, also while it is imported."""
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _token(),
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on any system: 127.0.0.1 is its address, and all it listens on
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
