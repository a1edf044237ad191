"""`Analyzer.analyze` over generated bodies, and over fixed ones that are large, deep or hostile."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway import _core, reference

from .analyses import WEIGHTS, arguments, as_dict
from .strategies import bodies, examples, junk, texts

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "estimates only": {"exact_token_bytes": 0, "capture_chars": 0},
    "small budget": {"exact_token_bytes": 60, "capture_chars": 7},
    "head and tail": {"capture_chars": 5, "tail_chars": 3},
    "tail beyond the head": {"capture_chars": 3, "tail_chars": 20},
    "tail alone": {"capture_chars": 0, "tail_chars": 4},
    "odd weights": {
        "weights": dict(zip(reversed(reference.SIGNALS), (1e-300, 3, 0.0, 0.1, 1e12, 0.7), strict=True)),
        "token_thresholds": (1, 2, 3, 4, 2**53 + 1),
    },
    "own keywords": {
        "complex_keywords": ["a", "b*", "é*", "?", "中", "a b", "()", "ΣΊΣΥΦΟΣ", "\ud800", "iſ", "it*", "```"],
        "simple_keywords": [],
    },
}
PAIRS = {
    name: (_core.Analyzer(**arguments(**settings)), reference.Analyzer(**arguments(**settings)))
    for name, settings in SETTINGS.items()
}


def assert_same(body: Any, format: str, settings: str = "default") -> dict[str, Any]:
    native, twin = PAIRS[settings]
    expected = as_dict(twin.analyze(body, format))
    # repr: equal doubles have equal digits, and -0.0 is not 0.0.
    assert repr(as_dict(native.analyze(body, format))) == repr(expected)
    return expected


@pytest.mark.parametrize("format", list(bodies))
def test_bodies_of_each_format(format: str) -> None:
    @examples
    @given(bodies[format](), st.sampled_from(list(SETTINGS)))
    def check(body: Any, settings: str) -> None:
        assert_same(body, format, settings)

    check()


@examples
@given(st.sampled_from(list(bodies)).flatmap(lambda format: bodies[format]()), st.sampled_from(list(bodies)))
def test_bodies_read_in_another_format(body: Any, format: str) -> None:
    assert_same(body, format)


@examples
@given(junk, st.sampled_from(list(bodies)))
def test_anything_is_a_body(body: Any, format: str) -> None:
    assert_same(body, format)


@examples
@given(st.lists(texts, min_size=1, max_size=4), st.sampled_from(list(SETTINGS)))
def test_texts_of_one_ask(asks: list[str], settings: str) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": text} for text in asks]}
    assert_same({"messages": [message]}, "chat", settings)


@pytest.mark.parametrize("format", ["", "Chat", "chat ", "gemini", "\ud800"])
def test_unknown_formats(format: str) -> None:
    for analyzer in PAIRS["default"]:
        with pytest.raises(ValueError, match="unknown request format"):
            analyzer.analyze({}, format)


def _nested(depth: int) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": "deep", "cache_control": {}}
    for _ in range(depth):
        block = {"type": "tool_result", "is_error": True, "content": [block, "shallow"]}
    return {"messages": [{"role": "user", "content": [block]}]}


@pytest.mark.parametrize("depth", [0, 1, 7, 8, 9, 10, 400])
def test_nested_blocks_are_read_to_one_depth(depth: int) -> None:
    found = assert_same(_nested(depth), "messages")
    assert ("prompt_cache" in found["needs"]) == (depth <= 8)


def test_values_nested_beyond_any_stack() -> None:
    schema: Any = 1
    for index in range(100_000):
        schema = {"x": schema} if index % 2 else [schema]
    assert_same({"messages": [], "tools": [{"parameters": schema}]}, "chat")
    while isinstance(schema, (dict, list)):  # freed level by level: the interpreter would recurse
        schema = schema.popitem()[1] if isinstance(schema, dict) else schema.pop()


HOSTILE = {
    "one letter": "a" * 300_000,
    "spaces": " " * 100_000 + "x",
    "backticks": "`" * 300_000,
    "fences": "```\n" * 75_000,
    "open tags": "<system-reminder>" * 20_000 + "</",
    "closed tags": "<system-reminder></system-reminder>" * 10_000,
    "crossed tags": "<reminder><permissions></reminder></permissions>" * 6_000,
    "angles": "<" * 150_000 + "</",
    "surrogates": "\ud800\udc00x" * 100_000,
    "combining": "e" + "\u0301" * 100_000,
    "keywords": "prove design analysis 证明 " * 12_000,
    "questions": "?" * 300_000,
    "lines": "- x\n" * 75_000,
}


@pytest.mark.parametrize("name", list(HOSTILE))
@pytest.mark.parametrize("settings", ["default", "estimates only"])
def test_large_hostile_asks(name: str, settings: str) -> None:
    assert_same({"messages": [{"role": "user", "content": HOSTILE[name]}]}, "chat", settings)


def test_many_messages_and_parts() -> None:
    turn = [{"role": "user", "content": "why?"}, {"role": "tool", "content": [{"type": "text", "text": "so"}]}]
    found = assert_same({"messages": turn * 3000}, "chat")
    assert found["features"][reference.FEATURE_NAMES.index("turns")] == 3000.0
    one = {"role": "user", "content": [{"type": "text", "text": f"{i}?"} for i in range(20_000)]}
    assert_same({"messages": [one]}, "messages")


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": {}},
        {"weights": WEIGHTS | {"extra": 1.0}},
        {"weights": {f"{name}x": 1.0 for name in WEIGHTS}},
        {"weights": dict.fromkeys(WEIGHTS, 0.0)},
        {"weights": WEIGHTS | {"tool_usage": -0.1}},
        {"weights": WEIGHTS | {"tool_usage": float("nan")}},
        {"weights": WEIGHTS | {"tool_usage": float("inf")}},
        {"token_thresholds": [1, 2, 3, 4]},
        {"token_thresholds": [1, 2, 3, 4, 5, 6]},
        {"token_thresholds": [0, 2, 3, 4, 5]},
        {"token_thresholds": [1, 2, 2, 4, 5]},
        {"token_thresholds": [5, 4, 3, 2, 1]},
        {"exact_token_bytes": -1},
        {"capture_chars": -1},
        {"tail_chars": -1},
        {"memo_bytes": -1},
        {"complex_keywords": [""]},
        {"complex_keywords": ["ok", " bad"]},
        {"simple_keywords": ["*"]},
        {"simple_keywords": ["x" * 129]},
        {"simple_keywords": ["a\u3000"]},
    ],
    ids=repr,
)
def test_wrong_settings_are_refused_in_the_same_words(wrong: dict[str, Any]) -> None:
    said = []
    for analyzer in (_core.Analyzer, reference.Analyzer):
        with pytest.raises(ValueError, match=r"\w") as error:
            analyzer(**arguments(**wrong))
        said.append(str(error.value))
    assert said[0] == said[1]
