"""`make replay`: write the sessions to a file and have `bsgateway replay` report on them."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bsgateway.replay_report import markdown, run

from . import aider, claude_code, codex, opencode
from .script import Json

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "benches" / "results" / "replay.md"
CONFIGS = {
    "The reference configuration: a local model, gpt-5-mini, claude-opus": ROOT / "gateway.yaml",
    "One provider: three models of Anthropic": Path(__file__).with_name("anthropic.yaml"),
}
INTRODUCTION = """\
# Replayed sessions of agents

Written by `make replay ARGS=--write`. {lines} requests in the shapes of Claude Code, Codex, opencode and aider, with
words of our own (`tests/sessions`): tool loops, sub-agents, thinking, side requests, compaction. Each is decided by the
gateway's own steps. Costs are estimates: tokens as the gateway counts them, LiteLLM's prices, prompt caches that last
five minutes after their last use. The local model is free.
"""


def write(path: Path) -> int:
    """All sessions, one line a request. Returns how many."""
    lines: list[Json] = [line for module in (claude_code, codex, opencode, aider) for line in module.requests()]
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
    return len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sessions", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    # The price map of LiteLLM's package, as the command has it: no start waits for a download.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "sessions.jsonl")
        count = write(file)
        if arguments.write:
            sections = [f"## {title}\n\n{markdown(run([file], config))}" for title, config in CONFIGS.items()]
            PAGE.write_text("\n".join([INTRODUCTION.format(lines=count), *sections]), encoding="utf-8")
            return
        for title, config in CONFIGS.items():
            print(f"\n{title}\n", flush=True)
            command = [sys.executable, "-m", "bsgateway", "replay", str(file), "--config", str(config)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
