"""Start, watch and stop a gateway as an operator would: a process of its own, a gateway.yaml, a state directory."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import yaml

import bsgateway
from bsgateway.embedded import running_dsn
from e2e.upstream import Upstream

START_SECONDS = 120.0
STOP_SECONDS = 60.0
FLUSH_SECONDS = 0.1

KEY = "sk-e2e-master-5d0c9f1e7a"
"""The key of the tests' gateways. Nothing that a gateway writes may hold it."""
PROVIDER_KEY = "sk-e2e-provider-83b1c6d2f4"
"""The key of the tests' providers. Likewise."""

COMPLAINTS = ("hook failed", "failed open", "routing log:", "are lost", "some outcomes may be missing", "never awaited")
"""Words of log lines of the gateway about faults of its own. No test makes one."""

PACKAGES = Path(bsgateway.__file__).parents[1]
PRIVATE_VARIABLES = (
    "_API_KEY",
    "_API_BASE",
    "LITELLM_",
    "OPENAI_",
    "ANTHROPIC_",
    "COLLECTOR_",
    "BSGATEWAY_",
    "CONFIG_",
)


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without anything that LiteLLM or the gateway would read, and with `extra`.

    Python may keep compiled modules: without, every start would compile all of LiteLLM, for many seconds.
    """
    kept = {name: value for name, value in os.environ.items() if not any(part in name for part in PRIVATE_VARIABLES)}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "PYTHONPATH": str(PACKAGES), "LITELLM_LOCAL_MODEL_COST_MAP": "True", **extra}


def free_port() -> int:
    """One that the system gives to nobody by itself: servers take theirs seconds later, under load."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def write_config(directory: Path, upstream: Upstream, **routing: Any) -> Path:
    """A gateway.yaml whose models are all served by `upstream`, and the probe callback beside it.

    `small`, `medium` and `large` serve the tiers. Below them is the tier `broken`, which only a strong bias reaches:
    `closed` is a port where nothing listens, `slow` has a time-out of a second.
    """
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("probe_callback.py"), directory)

    def deployment(name: str, model: str, base: str, **params: Any) -> dict[str, Any]:
        return {
            "model_name": name,
            "litellm_params": {"model": model, "api_base": base, "api_key": PROVIDER_KEY, **params},
        }

    base = upstream.base_url
    small_price = {"input_cost_per_token": 1e-8, "output_cost_per_token": 2e-8}
    config = {
        "model_list": [
            deployment("closed", "openai/closed-1", f"http://127.0.0.1:{free_port()}/v1"),
            deployment("slow", "openai/slow-1", f"{base}/slow/v1", timeout=1),
            {**deployment("small", "openai/small-1", f"{base}/small/v1"), "model_info": small_price},
            deployment("medium", "openai/gpt-5-mini", f"{base}/medium/v1"),
            deployment("large", "anthropic/claude-opus-4-5", f"{base}/large"),
            deployment("embedder", "openai/text-embedding-3-small", f"{base}/embedder/v1"),
        ],
        "litellm_settings": {"callbacks": ["bsgateway.hook.handler", "probe_callback.probe"], "drop_params": True},
        # Providers fail here one request at a time, as each test asks them to.
        "router_settings": {"disable_cooldowns": True},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
        "routing": {
            "tiers": {
                "broken": {"score_range": [0, 0], "models": ["closed", "slow"]},
                "simple": {"score_range": [1, 30], "model": "small"},
                "medium": {"score_range": [31, 65], "model": "medium"},
                "complex": {"score_range": [66, 100], "model": "large"},
            },
            "fallback_tier": "medium",
            "aliases": {
                "auto": "auto_route",
                "auto-cheapest": {"route": "auto_route", "bias": -100},
                "frontier": "large",
            },
            "auto_route_patterns": ["claude-*"],
            "collector": {"flush_seconds": FLUSH_SECONDS},
            **routing,
        },
    }
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@dataclass
class Gateway:
    """A running gateway. `asked` collects the call ids of its answers, `answered` the decision ids they named."""

    url: str
    process: subprocess.Popen[bytes]
    output: Path
    upstream: Upstream
    config: Path
    key: str = KEY
    good_ends: tuple[int, ...] = (0,)
    state: Path | None = None
    database: str | None = None
    asked: set[str] = field(default_factory=set)
    answered: set[UUID] = field(default_factory=set)

    def note(self, headers: Mapping[str, str]) -> None:
        """Remember an answer by its headers."""
        if "x-litellm-call-id" in headers:
            self.asked.add(headers["x-litellm-call-id"])
        if "x-bsgateway-decision-id" in headers:
            self.answered.add(UUID(headers["x-bsgateway-decision-id"]))

    @property
    def dsn(self) -> str:
        """Its database: the one given to it, or the embedded one it runs."""
        found = self.database or (self.state and running_dsn(self.state))
        assert found, "the gateway runs no database"
        return found

    def said(self) -> str:
        """All it wrote to stdout and stderr."""
        return self.output.read_text(errors="replace")

    def events(self, word: str) -> list[dict[str, Any]]:
        """What it logged under this word."""
        lines = [json.loads(line) for line in self.said().splitlines() if line.startswith('{"timestamp": ')]
        return [line for line in lines if line["event"] == word]

    def workers(self) -> set[int]:
        """The processes that have run a callback: each does once in its own start."""
        seen = self.config.with_name("probe.jsonl")
        return {json.loads(line)["pid"] for line in seen.read_text().splitlines()} if seen.exists() else set()

    def wait_for_workers(self, count: int, seconds: float = START_SECONDS) -> None:
        """Until so many serve: it is ready when the first one is."""
        until = time.monotonic() + seconds
        while len(self.workers()) < count:
            assert time.monotonic() < until, self.said()
            time.sleep(0.1)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, to_group: bool = False) -> None:
        """Send a signal, to it alone or as a terminal does to its process group; it must end well and leave no
        process behind."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        if to_group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        self.wait(family)

    def wait(self, family: Sequence[psutil.Process]) -> None:
        """Until it has ended. `family`: the processes below it, which must have ended too."""
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the gateway did not stop within {STOP_SECONDS} s:\n{self.said()[-3000:]}") from None
        _, left = psutil.wait_procs(family, timeout=2)
        assert not left, f"processes outlive the gateway: {left}"
        complaints = [line for line in self.said().splitlines() if any(words in line for words in COMPLAINTS)]
        assert not complaints, f"the gateway complains: {complaints}"
        assert code in self.good_ends, f"the gateway ended with {code}:\n{self.said()[-3000:]}"

    def kill(self) -> None:
        """End it and all below it, whatever its state. Only for a test that has failed."""
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
            self.process.kill()
            self.process.wait()


def start(
    command: Sequence[str],
    directory: Path,
    upstream: Upstream,
    *,
    port: int,
    ready: Callable[[str], bool],
    **fields: Any,
) -> Gateway:
    """Run `command` in `directory`, in a session of its own, until `ready` says of its output that it serves."""
    output = directory / f"output-{port}.log"
    environment = fields.pop("environment", None) or clean_environment(LITELLM_MASTER_KEY=KEY)
    user = fields.pop("user", None)
    seconds = fields.pop("seconds", START_SECONDS)
    with output.open("xb") as file:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **({"user": user, "group": user, "extra_groups": []} if user is not None else {}),
        )
    gateway = Gateway(f"http://127.0.0.1:{port}", process, output, upstream, **fields)
    until = time.monotonic() + seconds
    while not ready(gateway.said()):
        if process.poll() is not None or time.monotonic() > until:
            gateway.kill()
            raise AssertionError(f"the gateway did not start (exit code {process.poll()}):\n{gateway.said()[-5000:]}")
        time.sleep(0.05)
    return gateway


def start_litellm(config: Path, upstream: Upstream, database: str, *options: str) -> Gateway:
    """Plain `litellm --config`, as whoever runs LiteLLM already has it, ready to answer."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("litellm")), "--config", str(config), "--host", "127.0.0.1"]

    def ready(_: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{port}/health/readiness", timeout=5).status_code == 200
        return False

    return start(
        [*command, "--port", str(port), *options],
        config.parent,
        upstream,
        port=port,
        ready=ready,
        database=database,
        config=config,
        environment=clean_environment(LITELLM_MASTER_KEY=KEY, COLLECTOR_DATABASE_URL=database),
        good_ends=(0, -signal.SIGTERM),  # uvicorn ends its process by the signal it got
    )


def start_serve(config: Path, state: Path, upstream: Upstream, *options: str, **fields: Any) -> Gateway:
    """`bsgateway serve`, ready to answer."""
    port = free_port()
    command = [
        fields.pop("python", sys.executable),
        "-m",
        "bsgateway",
        "serve",
        "-c",
        str(config),
        "--state",
        str(state),
    ]
    return start(
        [*command, "--port", str(port), *options],
        config.parent,
        upstream,
        port=port,
        ready=lambda said: any(line.startswith("ready:") for line in said.splitlines()),
        state=state,
        config=config,
        **fields,
    )


@contextlib.contextmanager
def serving(config: Path, upstream: Upstream, *options: str, **fields: Any) -> Iterator[Gateway]:
    """`start_serve` for a block, with its state beside its config. If the block succeeds, it must end well, too."""
    running = start_serve(config, config.parent / "state", upstream, *options, **fields)
    try:
        yield running
        running.stop()
    finally:
        running.kill()
