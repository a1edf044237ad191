"""SIGTERM and Ctrl-C while clients ask: what was answered is logged, nothing is left running, a new start goes on."""

from __future__ import annotations

import signal
import stat
import time
from pathlib import Path

from e2e.clients import PROMPTS, send
from e2e.gateways import clean_environment, start_serve, write_config
from e2e.load import NEVER_BY_ITSELF, answers_until_stopped, assert_complete, log_of
from e2e.upstream import Upstream

SECOND_START_SECONDS = 60.0


async def test_what_was_answered_is_logged_and_a_second_start_goes_on(tmp_path: Path, upstream: Upstream) -> None:
    state, config = tmp_path / "state", write_config(tmp_path, upstream, **NEVER_BY_ITSELF)
    first = start_serve(config, state, upstream, environment=clean_environment())
    try:
        key_file = state / "master_key"
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        first.key = key_file.read_text().strip()
        assert f"key {first.key} " in first.said()
        replies = await answers_until_stopped(first, first.stop)
        assert "memo: " in first.said()
        (started,), (ready,), (stopped,) = map(first.events, ("started", "ready", "stopped"))
        assert (started["strategy"], started["log"], ready["workers"]) == ("static", True, 1)
        assert started["tiers"] == ["broken", "simple", "medium", "complex"]
        assert stopped["memo_misses"] > 0
        assert len(first.events("migration_applied")) > 5
    finally:
        first.kill()
    async with log_of(state) as log:
        await assert_complete(log, replies)
        rows = await log.ids("routing_logs")

    began = time.monotonic()
    second = start_serve(config, state, upstream, environment=clean_environment(), key=first.key)
    try:
        assert time.monotonic() - began < SECOND_START_SECONDS
        await send(second, "chat", "auto", PROMPTS["simple"])  # the same key is good
        more = await answers_until_stopped(second, lambda: second.stop(signal.SIGINT, to_group=True))
    finally:
        second.kill()
    async with log_of(state) as log:
        await assert_complete(log, [*replies, *more])
        assert set(rows) < set(await log.ids("routing_logs"))
