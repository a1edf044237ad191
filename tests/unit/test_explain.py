"""`explain.py`, `logs.py`, `terminal.py`: what people see of decisions, and what clients can do to their terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from rich.console import Console

from bsgateway.decision import Contribution, Decision, Method, Outcome, Reason, Skipped
from bsgateway.explain import MAX_FILE, print_decision, read_request
from bsgateway.gateway import FORMATS, Gateway
from bsgateway.logs import money, table
from bsgateway.rows import LogRow
from bsgateway.terminal import PIPE_WIDTH, printable, wide_console
from bsgateway.trials import guess_call_type
from builders import make_decision, make_failure, make_outcome

HARD = "Prove the theorem, derive the bound, analyze the algorithm."


def asks(text: str, model: str = "auto") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "model": model}


# What is explained


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("hello", asks("hello")),
        ("", asks("")),
        ('{"messages": []}', {"messages": [], "model": "auto"}),
        ('{"model": "x", "prompt": "p"}', {"model": "x", "prompt": "p"}),
        ("[1, 2]", asks("[1, 2]")),  # JSON, and no body
        ('"text"', asks('"text"')),
        ("{broken", asks("{broken")),
        ("[" * 100_000, asks("[" * 100_000)),
        ("/no/such/file", asks("/no/such/file")),
        ("x\0y", asks("x\0y")),
        ("long " * 10_000, asks("long " * 10_000)),
        ('{"model": "a\\ud800"}', {"model": "a\ufffd"}),
        ('{"model": 5}', {"model": 5}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_a_source_stands_for(source: str, body: dict[str, Any]) -> None:
    assert read_request(source, "auto")[0] == body


def test_a_file_of_a_body_or_of_text(tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{"input": "hi"}')
    assert read_request(str(tmp_path / "body.json"), "m") == ({"input": "hi", "model": "m"}, "aresponses")
    (tmp_path / "text.txt").write_bytes(b"caf\xe9")
    assert read_request(str(tmp_path / "text.txt"), "m") == (asks("caf\ufffd", "m"), "acompletion")
    assert read_request(str(tmp_path), "m")[0] == asks(str(tmp_path), "m")  # a directory is no file


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe"))
    assert read_request("-", "m") == (asks("from a pipe", "m"), "acompletion")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(click.UsageError, match="is larger than 32000000 bytes"):
        read_request(str(tmp_path / "large"), "m")


@pytest.mark.parametrize(
    ("body", "call_type"),
    [
        ({"messages": []}, "acompletion"),
        ({}, "acompletion"),
        ({"messages": [], "system": "x"}, "anthropic_messages"),
        ({"input": "x"}, "aresponses"),
        ({"prompt": "x"}, "atext_completion"),
        ({"contents": []}, "agenerate_content"),
    ],
)
def test_call_types_are_guessed(body: dict[str, Any], call_type: str) -> None:
    assert guess_call_type(body) == call_type
    assert call_type in FORMATS


def shown(decision: Decision, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The lines of the explanation, as their words."""
    capsys.readouterr()
    print_decision(decision)
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_an_explanation(capsys: pytest.CaptureFixture[str]) -> None:
    decision = make_decision(
        original_model="claude-sonnet",
        resolved_model="local/small",
        tier="simple",
        complexity_score=17,
        confidence=0.4375,
        method=Method.PATTERN,
        reason=Reason.PATTERN_SCORE,
        raw_score=21.3,
        bias=-4,
        contributions=(
            Contribution("token_count", 10.0, 0.25, 2.5),
            Contribution("floor:keywords", 50.0, 0.0, 18.8),
        ),
        needs=("tools", "vision"),
        ask_tokens=12,
        context_tokens=5_600,
        tokens_exact=False,
        decision_us=41.5,
    )
    lines = shown(decision, capsys)
    for line in (
        "asked for claude-sonnet",
        "goes to local/small",
        "tier simple",
        "score 17 (confidence 0.44)",
        "method pattern",
        f"reason pattern_score: {Reason.PATTERN_SCORE.doc}",
        "tokens 12 in the ask, 5600 in all, partly estimated",
        "needs tools, vision",
        "decided in 42 us",
    ):
        assert line.split() in lines
    text = "\n".join(" ".join(line) for line in lines)
    assert "token_count │ 10.0 │ 0.25 │ 2.5" in text
    assert "floor:keywords │ 50.0 │ │ 18.8" in text
    assert "bias │ │ │ -4" in text
    assert "score (0-100, rounded) │ │ │ 17" in text


def test_an_explanation_of_what_was_not_scored(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(gateway.decide(asks(HARD, "frontier")), capsys)
    assert [line[0] for line in lines] == ["asked", "goes", "method", "reason", "decided"]


def test_an_explanation_of_what_was_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    decision = make_decision(
        reason=Reason.OVER_BUDGET,
        skipped=(Skipped("cheap [b]", Reason.OVER_BUDGET), Skipped("blind", Reason.NEEDS)),
        expected_cost=0.00123456,
        applied=False,
        ignored=("x-bsgateway-tier", "bsgateway_bias"),
    )
    lines = shown(decision, capsys)
    for line in (
        f"reason over_budget: {Reason.OVER_BUDGET.doc}",
        "passed over cheap [b] (over_budget)",
        "passed over blind (needs)",
        "expected cost $0.001235",
        "rewritten no",
        "ignored x-bsgateway-tier, bsgateway_bias",
    ):
        assert line.split() in lines
    plain = shown(make_decision(skipped=(), expected_cost=None, applied=True, ignored=()), capsys)
    assert not {"passed", "expected", "rewritten", "ignored"} & {line[0] for line in plain if line}


def test_an_explanation_of_what_nothing_can_serve(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    body = asks(HARD) | {"tools": [{"type": "function", "function": {"name": "f"}}]}
    lines = shown(gateway.decide(body), capsys)
    for line in (
        "asked for auto",
        "goes to auto",
        "score 68 (confidence 0.58)",
        f"reason no_candidate: {Reason.NO_CANDIDATE.doc}",
        "passed over large (needs)",
        "passed over middle (needs)",
        "passed over small (needs)",
        "rewritten no",
        "needs tools",
    ):
        assert line.split() in lines
    assert "tier" not in {line[0] for line in lines if line}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained(reason: Reason, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(make_decision(reason=reason), capsys)
    assert f"reason {reason.value}: {reason.doc}".split() in lines


def test_the_points_of_an_explanation_add_up_to_its_score(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(gateway.decide(asks("Why? " + "words " * 50)), capsys)
    points = [float(line[-2]) for line in lines if len(line) > 7 and line[1] in "token_count keyword_patterns"]
    assert len(points) == 2
    total = next(float(line[-2]) for line in lines if "rounded)" in line)
    assert sum(points) == pytest.approx(total, abs=0.6)


# What clients can do to a terminal

HOSTILE = {
    "[bold]x[/bold]": "[bold]x[/bold]",
    "[/]": "[/]",
    "[link=file:///etc/passwd]x": "[link=file:///etc/passwd]x",
    ":smile:": ":smile:",
    "a\x1b[31mb": "a\\x1b[31mb",
    "a\x9b31mb": "a\\x9b31mb",
    "a\r\nb": "a\\r\\nb",
    "a\x07\x08b": "a\\x07\\x08b",
    "a\u202eb": "a\\u202eb",
    "\ud800": "\\ud800",
    "é中😀": "é中😀",
}


CONTROLS = "\x1b\x9b\r\x07\x08\u202e\ud800"


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_clients_are_only_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printable(name) == HOSTILE[name]
    decision = make_decision(original_model=name, resolved_model=name)
    print_decision(decision)
    out = " ".join(capsys.readouterr().out.split())
    assert f"asked for {HOSTILE[name]} goes to {HOSTILE[name]} tier" in out
    assert not any(char in out for char in CONTROLS)
    wide_console().print(table([LogRow(decision, None)]))
    out = capsys.readouterr().out
    assert out.count(HOSTILE[name]) == 2
    assert out.count("\n") == 2  # the head and one row
    assert not any(char in out for char in CONTROLS)


@pytest.mark.parametrize("text", ["", "plain", "a b", "中文"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert printable(text) is text


def test_a_pipe_is_wide_enough_for_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert wide_console().width == PIPE_WIDTH
    wide_console(stderr=True).print("x")
    assert capsys.readouterr() == ("", "x\n")


# The log as people read it


def cells(decision: Decision, outcome: Outcome | None) -> list[str]:
    console = Console(file=io.StringIO(), width=400, markup=False)
    console.print(table([LogRow(decision, outcome)], header=False))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [cell.strip() for cell in text.split("  ") if cell.strip()]


def test_a_row_of_the_log() -> None:
    decision = make_decision()
    moment = decision.created_at.astimezone().strftime("%H:%M:%S")
    asked = [moment, "claude-sonnet", "pattern", "17", "simple"]
    assert cells(decision, None) == [*asked, "local/small", "pattern_score"]
    outcome = make_outcome(decision, served_group="large", latency_ms=812.5, cost=0.0125, baseline_cost=0.25)
    assert cells(decision, outcome) == [*asked, "large", "pattern_score", "success", "812", "0.012500", "0.250000"]
    assert cells(decision, make_failure(decision))[6:] == ["pattern_score", "failure"]


def test_a_row_that_was_not_scored() -> None:
    decision = make_decision(tier=None, complexity_score=None)
    assert cells(decision, None)[1:] == ["claude-sonnet", "pattern", "local/small", "pattern_score"]


def test_the_head_of_the_log() -> None:
    names = [str(column.header) for column in table([]).columns]
    assert names == [
        "time", "asked for", "method", "score", "tier", "model", "reason", "status", "ms", "cost $", "top tier $"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [(None, ""), (0.0, "0.000000"), (0.0000004, "0.000000"), (1.5, "1.500000"), (1234.0, "1234.000000")],
)
def test_money(dollars: float | None, shown: str) -> None:
    assert money(dollars) == shown


def test_a_row_for_machines() -> None:
    decision = make_decision()
    row = LogRow(decision, make_outcome(decision))
    assert msgspec.json.decode(msgspec.json.encode(row), type=LogRow) == row
    plain = json.loads(msgspec.json.encode(row))
    assert (plain["decision"]["tier"], plain["outcome"]["status"]) == ("simple", "success")
