"""`bsgateway demo` with the reference configuration, as a newcomer without any key runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil

from e2e.gateways import clean_environment

REFERENCE = Path(__file__).parents[2] / "gateway.yaml"
SECONDS = 300.0


def processes_of(state: Path) -> list[psutil.Process]:
    """Processes that run on a state directory: it stands in their arguments, or they work in it."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(state) in " ".join([process.cwd(), *process.cmdline()]):
                found.append(process)
        except psutil.Error:  # another user's, or it ended a moment ago
            continue
    return found


def test_the_demo_answers_twenty_requests_and_shows_their_rows(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = subprocess.run(
        [sys.executable, "-m", "bsgateway", "demo", "--json", "-c", str(REFERENCE), "--state", str(state)],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout)
    assert len(rows) == len({row["decision"]["decision_id"] for row in rows}) == 20
    assert {row["outcome"]["status"] for row in rows} == {"success"}
    assert {row["decision"]["method"] for row in rows} == {"passthrough", "alias", "pattern", "auto"}
    assert {row["decision"]["tier"] for row in rows} == {"simple", "medium", "complex", None}
    for row in rows:
        assert row["outcome"]["served_group"] == row["decision"]["resolved_model"]
    assert "notice: gpt-5-mini is served by a local stand-in: OPENAI_API_KEY is not set" in done.stderr
    assert processes_of(state) == []
