"""What loading the hook adds to a process that has loaded LiteLLM's proxy: time and memory, each in a new process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROUNDS = 3
SCRIPT = """
import json, sys, time
import psutil
from litellm.proxy import proxy_server

def step(name, run):
    memory, began = psutil.Process().memory_info().rss, time.perf_counter()
    run()
    found[name + "_ms"] = (time.perf_counter() - began) * 1e3
    found[name + "_mb"] = (psutil.Process().memory_info().rss - memory) / 1e6

found = {}
step("import", lambda: __import__("bsgateway.hook"))
step("handler", lambda: sys.modules["bsgateway.hook"].handler)
print(json.dumps(found))
"""


def test_import(benchmark: Any) -> None:
    environment = {**os.environ, "BSGATEWAY_CONFIG": str(ROOT / "gateway.yaml"), "COLLECTOR_DATABASE_URL": ""}
    found: list[dict[str, float]] = []

    def run() -> None:
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))

    benchmark.pedantic(run, rounds=ROUNDS)
    benchmark.extra_info.update({name: round(statistics.median(one[name] for one in found), 1) for name in found[0]})
