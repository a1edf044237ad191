"""What is compared is equal: runs before anything is measured."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from bodies import BODIES, HOSTILE, Body, code, history_200k, log_lines, prose
from bsgateway import _core, reference
from contenders import ALL_BODIES, native, parsed, renewed, size_of, texts, tiktoken_counter, twin
from variants import quarter


def as_dict(analysis: Any) -> dict[str, Any]:
    """All fields of an `Analysis` of either core."""
    found = {field.name: getattr(analysis, field.name) for field in fields(reference.Analysis)}
    return found | {"contributions": [tuple(share) for share in analysis.contributions]}


def same(one: Any, other: Any) -> None:
    # repr: equal doubles have equal digits, and -0.0 is not 0.0.
    assert repr(as_dict(one)) == repr(as_dict(other))


@pytest.mark.parametrize("exact", [{}, {"exact_token_bytes": 0}], ids=["default", "estimates only"])
@pytest.mark.parametrize("name", ALL_BODIES)
def test_native_and_twin(name: str, exact: dict[str, int]) -> None:
    body = ALL_BODIES[name]()
    analyzer, found = native(**exact), twin(**exact).analyze(body.body, body.format)
    same(analyzer.analyze(body.body, body.format), found)
    same(native(**exact, memo_bytes=0).analyze(body.body, body.format), found)


@pytest.mark.parametrize("name", HOSTILE)
def test_native_and_twin_on_hostile_bodies(name: str) -> None:
    body = quarter(name)
    same(native().analyze(body.body, body.format), twin().analyze(body.body, body.format))


def test_a_conversation_seen_before_has_the_answers_of_one_never_seen() -> None:
    # All tokens exact: what is in the memo does not use up the budget, so with less of it the memo may know more.
    analyzer = native(exact_token_bytes=10_000_000)
    for turn in range(3):
        body = history_200k(turn)
        fresh = native(exact_token_bytes=10_000_000, memo_bytes=0)
        same(analyzer.analyze(body.body, body.format), fresh.analyze(body.body, body.format))


@pytest.mark.parametrize("text", [prose(64_000, 1), code(64_000, 1), log_lines(64_000, 1), "我们需要算法 a" * 5_000])
def test_count_tokens_and_tiktoken(text: str) -> None:
    assert _core.count_tokens(text) == tiktoken_counter()([text])


@pytest.mark.parametrize("name", BODIES)
def test_renewed_bodies_differ_in_every_text_and_in_little_else(name: str) -> None:
    body: Body = BODIES[name]()
    one, other = renewed(body), renewed(body)
    assert not set(texts(one)) & set(texts(other))
    assert abs(size_of(one) - size_of(body)) <= 0.02 * size_of(body)
    assert parsed(body) == body
