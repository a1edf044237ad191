"""`Analyzer` of the twin, and of the core in use: what it refuses, and whole analyses worked out by hand."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from bsgateway import reference
from bsgateway.core import core

WEIGHTS = {
    "token_count": 0.20,
    "system_prompt": 0.05,
    "keyword_patterns": 0.40,
    "conversation_length": 0.10,
    "code_complexity": 0.15,
    "tool_usage": 0.10,
}
SETTINGS: dict[str, Any] = {
    "weights": WEIGHTS,
    "token_thresholds": (20, 100, 400, 1500, 6000),
    "complex_keywords": ("prove", "design*"),
    "simple_keywords": ("hello", "what is"),
    "exact_token_bytes": 16_384,
    "capture_chars": 0,
    "memo_bytes": 1_000_000,
    "encoding": "o200k_base",
}


@pytest.fixture(params=[reference, core], ids=["twin", "in use"])
def make(request: pytest.FixtureRequest) -> Any:
    """Makes an analyzer; keyword arguments replace settings."""
    return lambda **changes: request.param.Analyzer(**SETTINGS | changes)


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    asks = [{"role": "user", "content": text} if isinstance(text, str) else text for text in messages]
    return {"messages": asks, **more}


def shares(analysis: Any) -> dict[str, tuple[float, float, float]]:
    return {signal: (value, weight, points) for signal, value, weight, points in analysis.contributions}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {}}, "weights must name exactly: token_count, system_prompt"),
        ({"weights": {**WEIGHTS, "extra": 1}}, "weights must name exactly"),
        ({"weights": {**WEIGHTS, "tool_usage": -0.1}}, "weights must be finite, not negative and not all zero"),
        ({"weights": {**WEIGHTS, "tool_usage": math.nan}}, "weights must be finite"),
        ({"weights": {**WEIGHTS, "tool_usage": math.inf}}, "weights must be finite"),
        ({"weights": dict.fromkeys(WEIGHTS, 0.0)}, "weights must be finite, not negative and not all zero"),
        ({"weights": dict.fromkeys(WEIGHTS, 1e308)}, "weights must be finite"),
        ({"token_thresholds": (1, 2, 3, 4)}, "token_thresholds must be five ascending positive token counts"),
        ({"token_thresholds": (1, 2, 3, 4, 5, 6)}, "token_thresholds must be five"),
        ({"token_thresholds": (0, 1, 2, 3, 4)}, "token_thresholds must be five"),
        ({"token_thresholds": (1, 2, 2, 3, 4)}, "token_thresholds must be five"),
        ({"token_thresholds": (5, 4, 3, 2, 1)}, "token_thresholds must be five"),
        ({"complex_keywords": ("ok", " bad")}, 'keyword " bad": keyword begins or ends with a space'),
        ({"simple_keywords": ("",)}, 'keyword "": empty keyword'),
        ({"exact_token_bytes": -1}, "must not be negative"),
        ({"capture_chars": -1}, "must not be negative"),
        ({"tail_chars": -1}, "must not be negative"),
        ({"memo_bytes": -1}, "must not be negative"),
    ],
)
def test_settings_that_are_refused(make: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", "\\(")):
        make(**changes)


def test_an_unknown_format_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match='unknown request format "soap"'):
        make().analyze({}, "soap")


def test_an_empty_body(make: Any) -> None:
    analysis = make().analyze({}, "chat")
    # 25 of keyword_patterns, of which 40 %; nothing else.
    assert (analysis.score, analysis.raw_score) == (10, 10.0)
    assert (analysis.ask_tokens, analysis.system_tokens, analysis.context_tokens, analysis.tool_tokens) == (0, 0, 0, 0)
    assert (analysis.format, analysis.needs) == ("chat", ())
    assert (analysis.tokens_exact, analysis.max_output_tokens) == (True, None)
    assert (analysis.ask, analysis.system) == ("", "")
    assert len(analysis.features) == len(reference.FEATURE_NAMES)


def test_an_easy_ask(make: Any) -> None:
    analysis = make().analyze(chat("hello"), "chat")
    expected = {
        "token_count": (1.0, 0.2, 0.2),  # one token of the twenty that reach 20
        "system_prompt": (0.0, 0.05, 0.0),
        "keyword_patterns": (0.0, 0.4, 0.0),  # 25 - 25
        "conversation_length": (0.0, 0.1, 0.0),
        "code_complexity": (0.0, 0.15, 0.0),
        "tool_usage": (0.0, 0.1, 0.0),
    }
    assert list(shares(analysis)) == list(expected)
    for signal, share in shares(analysis).items():
        assert share == pytest.approx(expected[signal])
    assert analysis.raw_score == pytest.approx(0.2)
    assert analysis.score == 0


def test_a_hard_ask_is_lifted_to_its_floor(make: Any) -> None:
    analysis = make().analyze(chat("prove it, and design it"), "chat")
    # 6 tokens: 6 / 20 * 20 = 6. Two keywords: 25 + 2 * 25 = 75. Their floor is 50.
    weighted = 0.2 * analysis.ask_tokens + 0.4 * 75
    assert analysis.raw_score == 50.0
    assert shares(analysis)["keyword_patterns"] == pytest.approx((75.0, 0.4, 30.0))
    assert shares(analysis)["floor:keywords"] == pytest.approx((50.0, 0.0, 50.0 - weighted))
    assert analysis.contributions[-1][0] == "floor:keywords"
    assert analysis.score == 50


def test_every_signal_at_once(make: Any) -> None:
    result = {"role": "tool", "content": "ok"}
    body = chat(
        {"role": "system", "content": "word " * 100},
        "first",
        "second",
        "third",
        "Look:\n```\nx = 1\n```\nprove `a` and `b`.",
        *[result] * 4,
        tools=[{"name": "f"}] * 5,
        max_tokens=9,
    )
    analysis = make().analyze(body, "chat")
    values = {signal: value for signal, (value, _, _) in shares(analysis).items()}
    system = analysis.system_tokens
    assert system in (100, 101)
    assert values["system_prompt"] == pytest.approx(20 + 20 * (system - 100) / 300)
    assert values["keyword_patterns"] == 50.0
    assert values["conversation_length"] == 40.0  # four turns
    assert values["code_complexity"] == 28.0  # one line of code, two of inline code
    assert values["tool_usage"] == 0.5 * 40 + 0.5 * 40  # five tools, four results
    total = sum(points for signal, (_, _, points) in shares(analysis).items() if not signal.startswith("floor"))
    assert analysis.raw_score == pytest.approx(max(total, 35.0))  # the floor of one keyword
    assert analysis.max_output_tokens == 9
    assert analysis.needs == ("tools",)


def test_only_the_proportions_of_weights_matter(make: Any) -> None:
    tens = {name: 10 * weight for name, weight in WEIGHTS.items()}
    for body in (chat("hello there"), chat("prove it", tools=[{}])):
        ours, theirs = make().analyze(body, "chat"), make(weights=tens).analyze(body, "chat")
        assert theirs.raw_score == pytest.approx(ours.raw_score)
        assert sum(weight for _, _, weight, _ in theirs.contributions) == pytest.approx(1.0)


@pytest.mark.parametrize(("raw", "score"), [(1, 10), (2, 20), (3, 40)])
def test_a_single_signal(make: Any, raw: int, score: int) -> None:
    weights = dict.fromkeys(WEIGHTS, 0.0) | {"token_count": 1.0}
    analyzer = make(weights=weights, token_thresholds=(2, 3, 4, 5, 6), complex_keywords=(), simple_keywords=())
    analysis = analyzer.analyze(chat(" ".join(["one"] * raw)), "chat")
    assert (analysis.ask_tokens, analysis.score) == (raw, score)


def test_the_score_is_rounded_half_up(make: Any) -> None:
    # One token of 40 that reach 20: half a point.
    weights = dict.fromkeys(WEIGHTS, 0.0) | {"token_count": 1.0}
    analyzer = make(weights=weights, token_thresholds=(40, 50, 60, 70, 80))
    assert [(a.raw_score, a.score) for a in (analyzer.analyze(chat("one"), "chat"),)] == [(0.5, 1)]
    assert analyzer.analyze(chat("one two three"), "chat").score == 2  # 1.5


def test_a_harness_block_changes_the_context_and_not_the_score(make: Any) -> None:
    plain = make().analyze(chat("what is this"), "chat")
    harnessed = make().analyze(chat("<system-reminder>prove, design, prove</system-reminder>what is this"), "chat")
    assert harnessed.raw_score == plain.raw_score
    assert harnessed.context_tokens > plain.context_tokens


def test_the_history_counts_but_does_not_drown_the_ask(make: Any) -> None:
    easy = make().analyze(chat("prove and design this", "design it", "hello"), "chat")
    assert easy.score < 10
    assert make().analyze(chat("hello", "hello", "prove and design this"), "chat").score >= 50


def test_words_are_captured_up_to_a_limit(make: Any) -> None:
    body = chat({"role": "system", "content": "be brief"}, {"role": "developer", "content": "and kind"}, " an ask \n")
    whole = make(capture_chars=100).analyze(body, "chat")
    assert (whole.ask, whole.system) == ("an ask", "be brief\nand kind")
    some = make(capture_chars=4).analyze(body, "chat")
    assert (some.ask, some.system) == ("an a", "be b")
    none = make(capture_chars=0).analyze(body, "chat")
    assert (none.ask, none.system) == ("", "")
    # Characters, not bytes.
    assert make(capture_chars=2).analyze(chat("中文字"), "chat").ask == "中文"


def test_the_end_of_an_ask_that_is_longer_than_what_is_captured(make: Any) -> None:
    def tail(capture_chars: int, tail_chars: int) -> str:
        analysis = make(capture_chars=capture_chars, tail_chars=tail_chars).analyze(chat("héllo 中文字"), "chat")
        assert analysis.ask == "héllo 中文字"[:capture_chars]
        return str(analysis.ask_tail)

    assert (tail(4, 2), tail(8, 2), tail(0, 3)) == ("文字", "文字", "中文字")
    assert tail(9, 2) == ""  # all of it is captured
    assert tail(4, 0) == ""
    assert tail(2, 8) == "éllo 中文字"
    assert tail(2, 100) == "héllo 中文字"
    assert make(capture_chars=2).analyze(chat("hello"), "chat").ask_tail == ""  # none unless asked for


def test_an_analysis_is_frozen(make: Any) -> None:
    analysis = make().analyze(chat("hello"), "chat")
    for record, name in ((analysis, "score"), (analysis.contributions[0], "points")):
        with pytest.raises((AttributeError, TypeError)):
            setattr(record, name, 1)


def test_the_same_body_has_the_same_analysis_on_every_thread(make: Any) -> None:
    analyzer = make()
    bodies = [chat("hello " * count, "prove it") for count in range(20)]
    expected = [analyzer.analyze(body, "chat").raw_score for body in bodies]
    found: list[list[float]] = []
    threads = [
        threading.Thread(target=lambda: found.append([analyzer.analyze(body, "chat").raw_score for body in bodies]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
