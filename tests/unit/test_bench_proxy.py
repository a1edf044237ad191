"""The parts of `benches/proxy` that calculate: what it measures is only as good as these."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import StatisticsError

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benches.bodies import history_200k
from benches.proxy import report
from benches.proxy.measure import Plan, Visit
from benches.proxy.profile import read_stacks
from benches.proxy.requests import BODIES, as_chat, encoded
from benches.proxy.stats import median_interval, paired_ratios, percentile, spread
from benches.proxy.variants import BASELINE, GATEWAY, GROUPS, VARIANTS


def test_spread() -> None:
    """Median and distance of the quartiles."""
    assert spread([5.0, 1.0, 4.0, 2.0, 3.0]) == (3.0, 2.0)
    assert spread([7.0]) == (7.0, 0.0)
    with pytest.raises(StatisticsError):
        spread([])


def test_paired_ratios_ignore_what_slows_a_whole_round() -> None:
    """A round that is three times as slow for both has the same ratio."""
    assert paired_ratios([11.0, 33.0, 22.0], [10.0, 30.0, 20.0]) == pytest.approx([1.1, 1.1, 1.1])
    with pytest.raises(ValueError, match="shorter"):
        paired_ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("count", "rank"), [(1, 1), (5, 1), (6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (25, 8)]
)
def test_median_interval_has_the_ranks_of_the_tables(count: int, rank: int) -> None:
    """Ranks of the sign test's 95 % interval, as tables of nonparametric statistics list them."""
    values = [float(number) for number in range(count, 0, -1)]
    assert median_interval(values) == (rank, count + 1 - rank)


@pytest.mark.parametrize(
    ("ratios", "word"),
    [
        ([1.00, 1.01, 1.01, 1.01, 1.01, 1.02], "1.02: met"),
        ([1.03, 1.04, 1.05, 1.04, 1.03, 1.04], "1.02: not met"),
        ([1.01, 1.01, 1.01, 1.01, 1.01, 1.03], "cannot tell"),
        ([1.03, 1.03, 1.03, 1.03, 1.03], "cannot tell"),
    ],
)
def test_a_verdict_needs_rounds_that_agree(ratios: list[float], word: str) -> None:
    """Met and not met are said only when the whole interval is on that side."""
    plan = Plan((VARIANTS[BASELINE], VARIANTS[GATEWAY]), ("chat_500b",), len(ratios), 10, 8)
    visits = {
        (BASELINE, "chat_500b"): [_visit(0.25)] * len(ratios),
        (GATEWAY, "chat_500b"): [_visit(0.25 * ratio) for ratio in ratios],
    }
    rows = report.rows(plan, visits, {BASELINE: 300.0, GATEWAY: 320.0})
    assert [row["variant"] for row in rows] == [BASELINE, GATEWAY]
    assert rows[0]["cpu_ms"] == 12.5
    (verdict,) = report.verdicts(rows)
    assert word in verdict
    assert f"| {BASELINE} | 12.50 | 1.000 |" in report.markdown(rows, report.setup(plan))


def _visit(cpu: float) -> Visit:
    return Visit(requests=20, cpu=cpu, postgres_cpu=0.0, latencies=(0.02, 0.03), rps=50.0)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    """Of 1 to 100 the share is the value itself."""
    assert percentile([float(number) for number in range(100, 0, -1)], share) == expected


def test_read_stacks_counts_a_function_once_a_stack() -> None:
    """Recursion, frames of others and the start-up module of ours."""
    samples = read_stacks(
        [
            "<module> (benches/proxy/worker.py:40);decide (bsgateway/gateway.py:80);choose (bsgateway/policy.py:67) 5",
            "decide (bsgateway/gateway.py:81);decide (bsgateway/gateway.py:80);loads (json/__init__.py:7) 2",
            "route (litellm/router.py:10) 12",
            "wait (bsgateway/upstreams/child.py:60) 1",
        ]
    )
    assert (samples.total, samples.ours) == (20, 7)
    assert samples.functions == {"gateway.py decide": 7, "policy.py choose": 5}
    assert samples.lines == {"gateway.py:80 decide": 7, "gateway.py:81 decide": 2, "policy.py:67 choose": 5}


def test_a_conversation_as_chat_keeps_calls_results_and_size() -> None:
    """Each call has its result right after it, and the body is about as long as before."""
    before = history_200k().body
    after = as_chat(before)
    assert 0.9 < len(json.dumps(after)) / len(json.dumps(before)) < 1.1
    called = [call["id"] for message in after["messages"] for call in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in after["messages"] if message["role"] == "tool"]
    assert answered == [*called, "call_x"]
    assert len(after["tools"]) == len(before["tools"])


@pytest.mark.parametrize("name", BODIES)
def test_each_turn_is_another_request(name: str) -> None:
    """No two bodies of a run are the same, and all ask for the model given."""
    bodies = encoded(BODIES[name](), "auto", range(1, 6))
    assert len(set(bodies)) == 5
    assert {json.loads(body)["model"] for body in bodies} == {"auto"}


def test_answers_are_checked() -> None:
    """Served by the group that was asked for; routed by the gateway to where it says."""
    answer = {"x-litellm-model-api-base": "http://127.0.0.1:1/medium/v1/"}
    assert VARIANTS[BASELINE].complaint(200, answer) is None
    assert VARIANTS[BASELINE].complaint(500, answer) == "status 500"
    assert VARIANTS[BASELINE].complaint(200, {"x-litellm-model-api-base": "http://127.0.0.1:1/small/v1/"})
    routed = {**answer, "x-bsgateway-model": "medium", "x-bsgateway-method": "auto", "x-bsgateway-score": "40"}
    assert VARIANTS[GATEWAY].complaint(200, routed) is None
    assert VARIANTS[GATEWAY].complaint(200, answer)
    assert VARIANTS[GATEWAY].complaint(200, {**routed, "x-bsgateway-model": "small"})
    assert VARIANTS[GATEWAY].complaint(200, {**routed, "x-bsgateway-reason": "failed_open"})


def test_variants_differ_in_nothing_else() -> None:
    """The same deployments and settings for all; only callbacks, routing and LiteLLM's router are added."""
    base = VARIANTS["no hook"].config("http://127.0.0.1:1")
    assert [entry["model_name"] for entry in base["model_list"]] == list(GROUPS)
    for variant in VARIANTS.values():
        config = variant.config("http://127.0.0.1:1")
        assert config["model_list"][: len(GROUPS)] == base["model_list"]
        config["litellm_settings"].pop("callbacks", None)
        for section in ("litellm_settings", "router_settings", "general_settings"):
            assert config[section] == base[section]
