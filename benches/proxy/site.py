"""Everything that runs during the benchmark: the upstream, a PostgreSQL, and one proxy for each variant."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bsgateway.embedded import EmbeddedPostgres
from bsgateway.store import Store

from .processes import BenchError, Child, get
from .variants import KEY, Variant


@dataclass(frozen=True)
class Site:
    """What runs. `dsn` is the database that the variants which log write to."""

    directory: Path
    upstream: Child
    proxies: dict[str, Child]
    dsn: str | None
    postgres_pid: int | None

    def upstream_counts(self) -> dict[str, int]:
        """How often each group was asked at the upstream."""
        answer = get(f"{self.upstream.url}/counts")
        if answer is None:
            raise BenchError(f"the upstream does not answer; its output ends:\n{self.upstream.tail()}")
        counts: dict[str, int] = json.loads(answer)
        return counts


@contextlib.contextmanager
def running(
    variants: Iterable[Variant], progress: Callable[[str], None], hook_times: Path | None = None
) -> Iterator[Site]:
    """Start all of it, the proxies at once, and stop it at the end of the block, whatever happened.

    `hook_times`: have the gateway's proxies time their callback and write the sums there.
    """
    variants = tuple(variants)
    logging = [variant.name for variant in variants if variant.logs]
    if len(logging) > 1:
        raise BenchError(f"one database, and {len(logging)} variants that would write to it: {', '.join(logging)}")
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bsgateway-bench-")))
        upstream = stack.enter_context(
            Child("upstream", "benches.proxy.upstream", [], directory=directory, ready_path="/counts")
        )
        dsn = None
        if logging:
            progress("starting PostgreSQL")
            dsn = stack.enter_context(EmbeddedPostgres(directory / "state")).dsn
            asyncio.run(_migrate(dsn))
        upstream.wait_until_ready()
        proxies = {}
        for variant in variants:
            environment = {"LITELLM_MASTER_KEY": KEY}
            if variant.logs and dsn is not None:
                environment["COLLECTOR_DATABASE_URL"] = dsn
            args = ["--config", str(variant.write(directory, upstream.url))]
            if variant.is_gateway and hook_times is not None:
                args += ["--hook-times", str(hook_times)]
            proxies[variant.name] = stack.enter_context(
                Child(
                    variant.name,
                    "benches.proxy.worker",
                    args,
                    directory=directory,
                    ready_path="/health/readiness",
                    environment=environment,
                )
            )
        for name, proxy in proxies.items():
            progress(f"waiting for LiteLLM: {name}")
            proxy.wait_until_ready()
        yield Site(directory, upstream, proxies, dsn, _postgres_pid(directory / "state") if dsn else None)
        progress("stopping")


async def _migrate(dsn: str) -> None:
    async with await Store.connect(dsn) as store:
        await store.migrate()


def _postgres_pid(state: Path) -> int:
    """The process id of the embedded PostgreSQL that runs below `state`."""
    return int((state / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
