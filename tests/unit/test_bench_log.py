"""The parts of `benches/log` that make what is measured, and that say what was found."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benches.budgets import LOG, verdicts
from benches.log import report, spooling
from benches.log.records import Records
from benches.log.recovery import CHUNK_ROWS, leave_backlog
from benches.log.stats import summary

from bsgateway.decision import Decision, Outcome
from bsgateway.log import chunk
from bsgateway.log.spool import Spool, survey


@pytest.fixture(scope="module")
def records() -> Records:
    return Records()


def test_records_are_as_many_different_ones_as_a_gateway_makes(records: Records) -> None:
    rows = records.rows(60)
    decisions = [row for row in rows if isinstance(row, Decision)]
    outcomes = [row for row in rows if isinstance(row, Outcome)]
    assert len(decisions) == len(outcomes) == 30
    assert len({decision.decision_id for decision in decisions}) == 30
    assert len({decision.caller.call_id for decision in decisions}) == 30
    assert 2 <= len({decision.caller.session_id for decision in decisions}) <= 3
    assert [outcome.decision_id for outcome in outcomes] == [decision.decision_id for decision in decisions]
    assert all(decision.features and decision.contributions for decision in decisions)
    assert len({decision.context_tokens for decision in decisions}) > 2, "of several bodies"
    assert len(records.rows(7)) == 7


def test_summary() -> None:
    """Nearest ranks of 1 to 1,000 milliseconds, in milliseconds."""
    found = summary([number / 1e3 for number in range(1_000, 0, -1)], 1e-3)
    assert found == pytest.approx({"median": 500.5, "p99": 990.0, "p999": 999.0, "max": 1_000.0})


def test_a_backlog_is_what_a_process_that_died_leaves(records: Records, tmp_path: Path) -> None:
    left = leave_backlog(tmp_path, records, 2 * CHUNK_ROWS + 5)
    (backlog,) = survey(tmp_path)
    assert (backlog.rows, backlog.size, backlog.in_use) == (2 * CHUNK_ROWS + 5, left["backlog_bytes"], False)
    spool = Spool.claim(tmp_path)
    stored = spool.read(0, 1_000)
    spool.close()
    assert [part.rows for part in stored] == [CHUNK_ROWS, CHUNK_ROWS, 5]
    assert [len(chunk.decode(part.payload).records) for part in stored] == [CHUNK_ROWS, CHUNK_ROWS, 5]


def test_the_spool_is_measured_by_size_of_chunk(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "CHUNKS", {1: 4, 6: 2})
    small, large = spooling.measure(tmp_path, records, 2)
    assert (small["chunk_rows"], small["rows"], large["chunk_rows"], large["rows"]) == (1, 4, 6, 12)
    assert 200 < large["bytes_per_row"] < 5_000
    assert large["append_mb_per_second"] == pytest.approx(
        large["append_rows_per_second"] * large["bytes_per_row"] / 1e6
    )
    assert [backlog.rows for backlog in survey(tmp_path / "1-0")] == [0]


def results() -> dict[str, Any]:
    """Results of every part, with a value of its own in each place."""
    times = {"median": 0.25, "p99": 1.5, "p999": 7.0, "max": 90.0}
    ways = {
        name: {
            "way": name,
            "rows": 10_000,
            "rounds": 5,
            "rows_per_second": rate,
            "rows_per_second_least": 0.9 * rate,
            "rows_per_second_most": 1.1 * rate,
            "cpu_us_per_row": 12.5,
        }
        for name, rate in (("single INSERT", 2_000.0), ("COPY of 1000", 31_000.0), ("the log", 24_000.0))
    }
    probe = {"late_ms": times, "work_ms": times, "rss_mb": 44.4}
    return {
        "record": [
            {"kind": kind, "calls": 5_000, **times, "median": us}
            for kind, us in (("Decision", 0.5), ("Texts", 2.75), ("Outcome", 0.25), ("the first after a pause", 50.0))
        ],
        "ways": list(ways.values()),
        "spool": [
            {
                "chunk_rows": 100,
                "rows": 20_000,
                "rounds": 5,
                "bytes_per_row": 932.0,
                "append_rows_per_second": 120_000.0,
                "append_mb_per_second": 111.8,
                "append_cpu_us_per_row": 4.0,
                "deliver_rows_per_second": 80_000.0,
                "deliver_cpu_us_per_row": 7.5,
            }
        ],
        "paced": [{"log": "spool", "rows": 2_000, "rounds": 5, "rows_per_second": 1_000, "cpu_us_per_row": 35.5}],
        "recovery": {
            "rows": 1_000_000,
            "backlog_bytes": 932_000_000,
            "backlog_seconds": 9.0,
            "seconds": 33.5,
            "rows_per_second": 29_850.7,
            "cpu_seconds": 21.5,
            "calm": probe,
            "busy": {**probe, "rss_mb": 55.5},
        },
        "setup": {
            "cpu": "A processor",
            "cores": 2,
            "system": "Linux x86_64",
            **dict.fromkeys(("python", "postgresql", "sqlite", "asyncpg", "msgspec"), "1.2"),
            "date": "2026-01-01 00:00 UTC",
            "commit": "abc",
            "dirty": True,
        },
    }


def test_the_page_says_what_was_measured() -> None:
    page = report.page(results())
    for line in (
        "| record() of the log, the slowest kind of record | 3 µs | 2.75 µs, Texts | yes |",
        "| rows of the log by COPY | at least 25,000 rows/s | 31,000 rows/s | yes |",
        "| COPY of 1000 | 5 | 31,000 | 27,900 | 34,100 | 15.5× | 12.5 |",
        "| 100 | 932 | 120,000 | 111.8 | 4.0 | 80,000 | 7.5 |",
        "| 1,000,000 rows | 932 MB | 33.5 | 29,851 | 21.5 | 44 MB | 56 MB |",
        "| late, recovering | 0.25 | 1.50 | 7.00 | 90.00 |",
        "commit abc with changes.",
    ):
        assert line in page


def test_the_budgets_are_of_the_kinds_of_records_and_of_copy() -> None:
    found = results()
    found["record"][1]["median"] = 3.5
    found["ways"][1]["rows_per_second"] = 24_999.0
    assert [verdict.met for verdict in verdicts(SimpleNamespace(log=found), LOG)] == ["no", "no"]
    assert [verdict.met for verdict in verdicts(SimpleNamespace(log=None), LOG)] == ["not measured"] * 2
