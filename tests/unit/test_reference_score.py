"""The static score of the twin: curves, signals, floors."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.config import Static
from bsgateway.reference.features import FEATURE_NAMES
from bsgateway.reference.score import FLOORS, SIGNALS, curve, highest_floor, score_table, signal_values

MARKS = (10, 20, 40, 80, 160)
THRESHOLDS = Static().token_thresholds


def features(**values: float) -> dict[str, float]:
    """All features 0, but for those given."""
    assert set(values) <= set(FEATURE_NAMES)
    return dict.fromkeys(FEATURE_NAMES, 0.0) | values


def signals(**values: float) -> dict[str, float]:
    return dict(zip(SIGNALS, signal_values(features(**values), THRESHOLDS), strict=True))


@pytest.mark.parametrize(
    ("value", "height"),
    [
        (0, 0), (5, 10), (10, 20), (15, 30), (20, 40), (30, 50), (40, 60), (60, 70), (80, 80), (120, 90), (159, 99.75),
        (160, 100), (161, 100), (10**12, 100),
    ],
)  # fmt: skip
def test_curve(value: float, height: float) -> None:
    assert curve(value, MARKS) == height


@settings(deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.integers(1, 10**6), min_size=5, max_size=5, unique=True).map(sorted),
    st.floats(0, 2e6),
    st.floats(0, 2e6),
)
def test_curves_rise_from_0_to_100(marks: list[int], one: float, two: float) -> None:
    low, high = sorted((one, two))
    assert 0 <= curve(low, marks) <= curve(high, marks) <= 100
    assert [curve(mark, marks) for mark in (0, *marks)] == [0, 20, 40, 60, 80, 100]


def test_nothing_has_only_the_neutral_keyword_signal() -> None:
    assert signals() == dict.fromkeys(SIGNALS, 0.0) | {"keyword_patterns": 25.0}


@pytest.mark.parametrize(
    ("tokens", "value"),
    [(10, 10), (20, 20), (60, 30), (100, 40), (250, 50), (400, 60), (1500, 80), (6000, 100), (9e9, 100)],
)
def test_token_count(tokens: float, value: float) -> None:
    assert signals(ask_tokens=tokens)["token_count"] == value


@pytest.mark.parametrize(("tokens", "value"), [(50, 10), (100, 20), (400, 40), (1500, 60), (5000, 80), (15000, 100)])
def test_system_prompt(tokens: float, value: float) -> None:
    assert signals(system_tokens=tokens)["system_prompt"] == value


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ({"complex_keywords": 1}, 50),
        ({"complex_keywords": 3}, 100),
        ({"complex_keywords": 9}, 100),
        ({"simple_keywords": 1}, 0),
        ({"simple_keywords": 5}, 0),
        ({"complex_keywords": 2, "simple_keywords": 1}, 50),
        ({"ask_list_items": 2}, 25),  # two items are free
        ({"ask_list_items": 3}, 29),
        ({"ask_list_items": 7}, 45),
        ({"ask_list_items": 50}, 45),  # at most 20
        ({"ask_questions": 1}, 25),  # one question is free
        ({"ask_questions": 2}, 30),
        ({"ask_questions": 4}, 40),
        ({"ask_questions": 50}, 40),  # at most 15
        ({"simple_keywords": 1, "ask_list_items": 4, "ask_questions": 2}, 13),
        ({"simple_keywords": 9, "ask_list_items": 99, "ask_questions": 99}, 0),
    ],
)
def test_keyword_patterns(values: dict[str, float], value: float) -> None:
    assert signals(**values)["keyword_patterns"] == value


@pytest.mark.parametrize(
    ("turns", "value"), [(0, 0), (1, 0), (2, 20), (3, 30), (4, 40), (8, 60), (16, 80), (32, 100), (100, 100)]
)
def test_conversation_length(turns: float, value: float) -> None:
    assert signals(turns=turns)["conversation_length"] == value


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ({"ask_code_lines": 1}, 20),
        ({"ask_code_lines": 10}, 40),
        ({"ask_code_lines": 40}, 60),
        ({"ask_code_lines": 120}, 80),
        ({"ask_code_lines": 400}, 100),
        ({"ask_inline_code": 1}, 4),
        ({"ask_inline_code": 5}, 20),
        ({"ask_inline_code": 50}, 20),
        ({"ask_stack_lines": 1}, 0),
        ({"ask_stack_lines": 2}, 30),
        ({"ask_stack_lines": 200}, 30),
        ({"ask_code_lines": 10, "ask_inline_code": 2, "ask_stack_lines": 3}, 78),
        ({"ask_code_lines": 400, "ask_stack_lines": 3}, 100),
        ({"ask_fences": 5}, 0),
    ],
)
def test_code_complexity(values: dict[str, float], value: float) -> None:
    assert signals(**values)["code_complexity"] == value


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ({"tools": 1}, 10), ({"tools": 5}, 20), ({"tools": 15}, 30), ({"tools": 40}, 40), ({"tools": 1000}, 50),
        ({"results_since_ask": 1}, 10), ({"results_since_ask": 4}, 20), ({"results_since_ask": 60}, 50),
        ({"tools": 100, "results_since_ask": 60}, 100), ({"tools": 5, "results_since_ask": 4}, 40),
        ({"errors_since_ask": 9, "tool_tokens": 9e9}, 0),
    ],
)  # fmt: skip
def test_tool_usage(values: dict[str, float], value: float) -> None:
    assert signals(**values)["tool_usage"] == value


@pytest.mark.parametrize(
    ("values", "name", "height"),
    [
        ({}, "", 0),
        ({"complex_keywords": 1}, "keywords", 35),
        ({"complex_keywords": 2}, "keywords", 50),
        ({"complex_keywords": 3}, "keywords", 68),
        ({"complex_keywords": 3, "simple_keywords": 1}, "keywords", 50),
        ({"complex_keywords": 1, "simple_keywords": 1}, "", 0),
        ({"ask_tokens": 1999}, "", 0),
        ({"ask_tokens": 2000}, "long_ask", 40),
        ({"ask_tokens": 8000}, "long_ask", 66),
        ({"ask_code_lines": 19}, "", 0),
        ({"ask_code_lines": 20}, "code", 35),
        ({"ask_code_lines": 150}, "code", 66),
        ({"ask_stack_lines": 1}, "", 0),
        ({"ask_stack_lines": 2}, "stack_trace", 35),
        ({"results_since_ask": 11}, "", 0),
        ({"results_since_ask": 12}, "agent_steps", 40),
        ({"errors_since_ask": 3}, "agent_errors", 66),
        ({"complex_keywords": 1, "ask_code_lines": 20}, "keywords", 35),  # the first of equals
        ({"complex_keywords": 3, "ask_tokens": 9000}, "keywords", 68),
        ({"complex_keywords": 2, "errors_since_ask": 3}, "agent_errors", 66),
    ],
)
def test_floors(values: dict[str, float], name: str, height: float) -> None:
    assert highest_floor(features(**values)) == (name, height)


_features = st.fixed_dictionaries({name: st.floats(0, 1e6) for name in FEATURE_NAMES})


@settings(deadline=None, derandomize=True, database=None)
@given(_features)
def test_every_signal_is_within_0_and_100(values: dict[str, float]) -> None:
    assert all(0 <= value <= 100 for value in signal_values(values, THRESHOLDS))
    assert 0 <= highest_floor(values)[1] <= 100


@settings(deadline=None, derandomize=True, database=None)
@given(_features, st.sampled_from([name for name in FEATURE_NAMES if name != "simple_keywords"]), st.floats(0, 1e6))
def test_more_of_anything_but_easy_words_never_lowers_the_score(
    values: dict[str, float], name: str, more: float
) -> None:
    higher = values | {name: values[name] + more}
    pairs = zip(signal_values(values, THRESHOLDS), signal_values(higher, THRESHOLDS), strict=True)
    assert all(before <= after for before, after in pairs)
    assert highest_floor(values)[1] <= highest_floor(higher)[1]


def test_the_table_for_the_reference_page() -> None:
    table = score_table()
    assert set(table) == {"curves", "constants", "floors"}
    for marks in table["curves"].values():
        assert len(marks) == 5
        assert all(low < high for low, high in itertools.pairwise(marks))
    assert table["floors"] == [list(floor) for floor in FLOORS]
    assert {feature for _, feature, _, _ in FLOORS} <= {*FEATURE_NAMES, "net_keywords"}
    # A floor reaches a tier of the reference configuration, or it would be for nothing.
    assert all(floor >= 31 for _, _, _, floor in FLOORS)
