"""The parts of `benches/llm` that make what is measured, and that say what was found."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benches.llm import asked, faults, labels, report, timing
from benches.llm.gateways import chat, routed, running, until_ready
from benches.llm.peer import VERDICT, Peer
from benches.llm.servers import REFUSES, faulty
from benches.proxy.processes import BenchError
from litellm.proxy import proxy_server

RESULTS = Path(__file__).parents[2] / "benches" / "results"
NUM_CTX = 4096


def test_the_page_is_what_was_measured() -> None:
    results = json.loads((RESULTS / "llm.json").read_text(encoding="utf-8"))
    assert (RESULTS / "llm.md").read_text(encoding="utf-8") == report.page(results)


def test_summary() -> None:
    """Nearest ranks of 1 to 100 milliseconds."""
    found = timing.summary([number / 1e3 for number in range(100, 0, -1)])
    assert found == pytest.approx({"requests": 100, "p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0, "max_ms": 100.0})


def test_some_asks_are_of_every_tier_alike() -> None:
    labelled = labels.tiers_of_asks()
    assert Counter(labelled[ask] for ask in labels.some(labelled, 9)) == {"simple": 3, "medium": 3, "complex": 3}
    assert labels.some(labelled, 1_000) == list(labelled)


async def test_a_request_goes_through_the_hook_to_the_server(tmp_path: Path) -> None:
    with faulty() as server:
        llm = {"model": server.model, "api_base": server.url}
        async with running(tmp_path, {"strategy": "llm", "llm": llm}) as callback:
            await until_ready(callback)
            first, again = [await routed(callback, chat("hello")) for _ in range(2)]
        assert (first.tier, first.llm, again.llm) == ("medium", "asked", "known")
        assert len(server.prompts()) == 2, "one of them to wake the model"
        assert server.context_tokens() >= 1024
    assert proxy_server.llm_router is None


async def test_a_model_that_does_not_wake_is_said(tmp_path: Path) -> None:
    with faulty() as server:
        server.begin(REFUSES)
        async with running(
            tmp_path, {"strategy": "llm", "llm": {"model": server.model, "api_base": server.url}}
        ) as callback:
            with pytest.raises(BenchError, match="is not ready: unreachable"):
                await until_ready(callback)


@pytest.mark.parametrize("own_tiers", [True, False])
async def test_litellms_router_asks_the_same_server(own_tiers: bool) -> None:
    tiers = None if own_tiers else labels.descriptions()
    with faulty() as server:
        placed = await Peer(server.model, server.url, 30.0, NUM_CTX, tiers).place("hello")
        assert (placed.tier, placed.cause, placed.failure) == ("medium", VERDICT, None)
        assert len(server.prompts()) == 1
        assert server.context_tokens() == NUM_CTX


async def test_the_phases_of_a_fault(tmp_path: Path) -> None:
    with faulty() as server:
        firsts, after = await faults._ours(tmp_path, server, REFUSES)
    assert [status for _, status in firsts] == ["unreachable"] * faults.FIRSTS
    assert {status for _, status in after} == {"open"}


async def test_more_margin_asks_more(tmp_path: Path) -> None:
    rows = await asked.measure(tmp_path, list(labels.tiers_of_asks()), margins=(1.0, 15.0), fallbacks=("static",))
    by_part: dict[str, list[int]] = {}
    for row in rows:
        assert 0 <= row["asked"] <= row["scored"] <= row["requests"]
        by_part.setdefault(row["part"], []).append(row["asked"])
    assert len(by_part) == 3
    assert all(few < many for few, many in by_part.values())
