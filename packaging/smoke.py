"""A smoke test of an installed package: the real proxy, an embedded PostgreSQL, stand-ins for the providers.

    ENVIRONMENT/bin/python packaging/smoke.py native   (or: twin)

Needs nothing of the repository but its gateway.yaml. Runs as long as a start of LiteLLM, some 20 s. Exit code 1 and a
message if something is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

CONFIG = Path(__file__).parents[1] / "gateway.yaml"
KEY = "sk-smoke-7b1d40f2c9"
START_SECONDS = 240.0
STOP_SECONDS = 60.0
PRIVATE = (
    "_API_KEY",
    "_API_BASE",
    "LITELLM_",
    "OPENAI_",
    "ANTHROPIC_",
    "COLLECTOR_",
    "BSGATEWAY_",
    "REDIS_",
    "PYTHONPATH",
)
HARD = "Design a distributed rate limiter. Analyze consistency and race conditions, and prove that it is correct."


class SmokeError(Exception):
    """The package does not work. The message says what was seen."""


def expect(seen: object, wanted: object, what: str) -> None:
    """Raise SmokeError unless both are equal."""
    if seen != wanted:
        raise SmokeError(f"{what}: {seen!r}, expected {wanted!r}")


def installed(core: str) -> str:
    """The version of the package, which must be that of this environment, with the core that is expected."""
    import bsgateway
    from bsgateway.core import NATIVE

    home = Path(bsgateway.__file__).parents[1]
    expect(home.resolve(), Path(sysconfig.get_path("purelib")).resolve(), "the package is imported from")
    expect("native" if NATIVE else "twin", core, "the core")
    expect(shutil.which("cargo"), None, "cargo")
    version: str = bsgateway.__version__
    return version


def environment() -> dict[str, str]:
    """That of the gateway: no keys of providers, and a port where no Ollama is."""
    kept = {name: value for name, value in os.environ.items() if not any(part in name for part in PRIVATE)}
    return {
        **kept,
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LOCAL_LLM_API_BASE": f"http://127.0.0.1:{free_port()}",
    }


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(process: subprocess.Popen[bytes], output: Path) -> None:
    """Until the gateway says that it serves."""
    until = time.monotonic() + START_SECONDS
    while not re.search(r"^ready:", output.read_text(errors="replace"), re.MULTILINE):
        if process.poll() is not None:
            raise SmokeError(f"the gateway ended with {process.returncode}")
        if time.monotonic() > until:
            raise SmokeError(f"the gateway was not ready within {START_SECONDS:.0f} s")
        time.sleep(0.1)


def ask(client: httpx.Client, path: str, body: Mapping[str, Any], tier: str) -> None:
    """Send a request; it must be answered, by a model of `tier`, and its headers must say so."""
    answer = client.post(path, json=body)
    expect(answer.status_code, 200, f"{path} answered {answer.text[:500]}")
    expect(answer.headers.get("x-bsgateway-tier"), tier, f"{path}: header x-bsgateway-tier")
    for name in ("decision-id", "model", "score", "method", "reason"):
        if not answer.headers.get(f"x-bsgateway-{name}"):
            raise SmokeError(f"{path}: no header x-bsgateway-{name}")


def exercise(url: str) -> int:
    """Requests of both formats, easy and hard, and the pages; the number of requests that were routed."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client:
        easy = [{"role": "user", "content": "What is the capital of France?"}]
        hard = [{"role": "user", "content": HARD}]
        ask(client, "/v1/chat/completions", {"model": "auto", "messages": easy}, "simple")
        ask(client, "/v1/chat/completions", {"model": "auto", "messages": hard}, "complex")
        ask(client, "/v1/messages", {"model": "auto", "max_tokens": 50, "messages": easy}, "simple")
        ask(client, "/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": hard}, "complex")
        streamed = {"model": "auto", "messages": easy, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=streamed) as answer:
            expect(answer.read().rstrip().endswith(b"data: [DONE]"), True, "a stream ends with [DONE]")
        page = client.get("/bsgateway/")
        expect(page.status_code, 200, "the page of the dashboard")
        scripts = re.findall(r'(?:src|href)="(assets/[^"]+\.(?:js|css))"', page.text)
        expect(len(scripts) >= 3, True, f"scripts and styles of the page, {scripts}: at least three")
        for name in scripts:
            expect(client.get(f"/bsgateway/{name}").status_code, 200, name)
    return 5


def report(command: str, config: Path, state: Path, requests: int) -> None:
    """`bsgateway report` counts the requests, once their outcomes are written."""
    until = time.monotonic() + 20
    while True:
        asked = [command, "report", "-c", str(config), "--state", str(state), "--format", "json", "--tz", "UTC"]
        ran = subprocess.run(asked, capture_output=True, text=True, env=environment(), check=False)
        expect(ran.returncode, 0, f"bsgateway report: {ran.stderr[-2000:]}")
        counted = json.loads(ran.stdout)["total"]["requests"]
        if counted == requests:
            return
        if time.monotonic() > until:
            raise SmokeError(f"bsgateway report counts {counted} requests of {requests}")
        time.sleep(0.5)


def smoke(core: str, config: Path) -> None:
    """The whole test. Raises SmokeError; prints what the gateway said then."""
    version = installed(core)
    command = str(Path(sysconfig.get_path("scripts")) / "bsgateway")
    said = subprocess.run([command, "version"], capture_output=True, text=True, check=True).stdout
    expect(version in said, True, f"`bsgateway version` says {said!r}, which names {version}")
    with tempfile.TemporaryDirectory(prefix="bsgateway-smoke-") as name:
        state, output, port = Path(name) / "state", Path(name) / "output.log", free_port()
        serve = [command, "serve", "-c", str(config), "--state", str(state), "--port", str(port)]
        with output.open("wb") as file:
            process = subprocess.Popen(
                serve, cwd=name, env=environment(), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            wait_until_ready(process, output)
            requests = exercise(f"http://127.0.0.1:{port}")
            report(command, config, state, requests)
            process.send_signal(signal.SIGTERM)
            expect(process.wait(STOP_SECONDS), 0, "exit code after SIGTERM")
        except BaseException:
            print(output.read_text(errors="replace")[-5000:], file=sys.stderr)
            raise
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def main(argv: list[str] | None = None) -> int:
    """Run the test for the core that is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("core", choices=["native", "twin"], help="which core the package must use")
    parser.add_argument("--config", type=Path, default=CONFIG, help="the gateway.yaml [default: the repository's]")
    options = parser.parse_args(argv)
    started = time.monotonic()
    try:
        smoke(options.core, options.config.resolve())
    except SmokeError as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 1
    seconds, python = time.monotonic() - started, sysconfig.get_python_version()
    print(f"smoke: {options.core} core, CPython {python}: 5 requests, pages, report, stop: {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
