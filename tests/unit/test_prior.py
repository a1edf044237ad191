"""The model that comes with the package: a start that makes sense, on requests that it was not trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bsgateway.config import Analysis, Static, analyzer_of
from bsgateway.core import core
from bsgateway.errors import LearningError
from bsgateway.learn.model_file import shipped_prior
from bsgateway.learn.prior import MAX_BYTES, read_judged
from bsgateway.model_header import ModelHeader
from bsgateway.models import OUTCOMES, prior_bytes

JUDGED = Path(__file__).parents[2] / "benches" / "prior" / "judged.tsv"


def score(ask: str) -> float:
    analyzer = analyzer_of(Static(), Analysis(memo_bytes=0), capture_chars=0)
    analyzer.set_model(core.LearnedModel(prior_bytes()))
    learned = analyzer.analyze({"messages": [{"role": "user", "content": ask}]}, "chat").learned
    assert learned is not None
    return 100.0 * learned[1]


@pytest.mark.parametrize(
    "ask",
    [
        "hello there",
        "Thanks!",
        "What is the capital of Spain?",
        "Translate to German: good evening",
        "Write an email to my boss asking for two days off next week.",
    ],
)
def test_what_any_model_can_do_goes_to_the_lowest_tier(ask: str) -> None:
    assert ask not in JUDGED.read_text("utf-8")
    assert score(ask) < 31.0


@pytest.mark.parametrize(
    "ask",
    [
        "Prove that there are infinitely many primes of the form 4k+3.",
        "Design a rate limiter for an API in several regions. Discuss trade-offs and failure modes.",
        "Diagnose the root cause of a deadlock between two services that share a connection pool.",
    ],
)
def test_what_is_hard_goes_to_the_highest_tier(ask: str) -> None:
    assert ask not in JUDGED.read_text("utf-8")
    assert score(ask) > 65.0


def test_it_says_where_it_comes_from() -> None:
    data = prior_bytes()
    header = ModelHeader.of(core.LearnedModel(data))
    assert len(data) + len(prior_bytes(OUTCOMES)) <= MAX_BYTES
    assert header.kind == "prior"
    assert all({"name", "rows", "sha256"} <= set(source) for source in header.provenance)
    assert header.held_out["apgr"]
    assert header.held_out["judged"]["auc"] > 0.9


def test_beside_it_is_the_same_without_judged_requests() -> None:
    prior, outcomes = shipped_prior(), shipped_prior().outcomes
    assert outcomes is not None
    assert [each for each in prior.header.provenance if not each.get("judged")] == outcomes.header.provenance
    assert prior.header.rows - outcomes.header.rows == read_judged(JUDGED).about["rows"]


def test_judged_requests_are_read() -> None:
    judged = read_judged(JUDGED)
    assert (
        len(judged.rows) == judged.about["rows"] == int((judged.rows.weak == 1).sum() + (judged.rows.weak == 0).sum())
    )


@pytest.mark.parametrize("line", ["easy hello", "medium\thello", "hard\t ", "hello"])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "judged.tsv"
    path.write_text(f"# a comment\neasy\thi\n{line}\n")
    with pytest.raises(LearningError, match=r"judged\.tsv:3: a line is `easy` or `hard`, a tab, and the request"):
        read_judged(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LearningError, match=r"none\.tsv cannot be read: No such file"):
        read_judged(tmp_path / "none.tsv")
