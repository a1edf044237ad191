"""Token counts within a budget, keyword windows and the feature vector of the twin."""

from __future__ import annotations

from typing import Any

import pytest

from bsgateway.reference.extract import extract, newest_ask
from bsgateway.reference.features import (
    FEATURE_NAMES,
    FEATURE_VERSION,
    KEYWORD_WINDOW,
    TokenCounts,
    count_all,
    keyword_counts,
    vector,
)
from bsgateway.reference.lexicon import Lexicon
from bsgateway.reference.memo import Memo
from bsgateway.reference.structure import measure
from bsgateway.reference.tokens import count_tokens, estimate_tokens
from bsgateway.reference.words import words

# The features of version 1, which stand in logs.
VERSION_1 = (
    "ask_bytes", "ask_tokens", "ask_words", "ask_lines", "ask_digits", "ask_commas", "ask_questions",
    "ask_list_items", "ask_fences", "ask_code_lines", "ask_inline_code", "ask_stack_lines", "ask_non_ascii",
    "complex_keywords", "simple_keywords", "system_tokens", "context_tokens", "tools", "tool_tokens", "turns",
    "messages", "results_since_ask", "errors_since_ask", "images", "harness_bytes",
)  # fmt: skip


def tokens(body: dict[str, Any], budget: int = 10**6, format: str = "chat") -> TokenCounts:
    found = extract(body, format)
    return count_all(found, newest_ask(found.parts), "o200k_base", budget, Memo(0))


# Texts whose exact count and estimate differ by far, so that a test sees which one was used.
ASK, SYSTEM, OLD = "a" * 38, "e" * 33, "a" * 20
BODY = {
    "messages": [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": OLD},
        {"role": "assistant", "content": "fine"},
        {"role": "user", "content": ASK},
    ]
}


def test_the_texts_of_these_tests_tell_counts_from_estimates() -> None:
    for text in (ASK, SYSTEM, OLD):
        assert count_tokens(text) != estimate_tokens(text)
    assert count_tokens("fine") == estimate_tokens("fine") == 1


def test_everything_is_exact_within_the_budget() -> None:
    ask, system, old = count_tokens(ASK), count_tokens(SYSTEM), count_tokens(OLD)
    assert tokens(BODY) == TokenCounts(ask, system, ask + system + old + 1, 0, True)


@pytest.mark.parametrize(
    ("budget", "exact"),
    [
        (0, set()),
        (len(ASK) - 1, {SYSTEM}),  # the ask is too long; the next text that fits is still exact
        (len(ASK), {ASK}),
        (len(ASK) + len(SYSTEM), {ASK, SYSTEM}),
        (len(ASK) + len(SYSTEM) + 4, {ASK, SYSTEM}),
        (len(ASK) + len(SYSTEM) + 4 + len(OLD), {ASK, SYSTEM, OLD}),
        (len(ASK) + len(OLD) + 4, {ASK, OLD}),  # the system prompt would be next, and is too long
    ],
)
def test_the_budget_is_spent_on_the_ask_then_the_system_prompt_then_the_newest(budget: int, exact: set[str]) -> None:
    def size(text: str) -> int:
        return count_tokens(text) if text in exact else estimate_tokens(text)

    found = tokens(BODY, budget)
    assert (found.ask, found.system) == (size(ASK), size(SYSTEM))
    assert found.context == size(ASK) + size(SYSTEM) + size(OLD) + 1
    assert found.exact is (exact == {ASK, SYSTEM, OLD})


def test_an_ask_of_several_parts_is_counted_whole_and_each_part_in_the_context() -> None:
    found = tokens({"messages": [{"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]})
    assert found.ask == count_tokens("one\ntwo") == 3
    assert found.context == 2


def test_harness_blocks_are_in_the_context_and_not_in_the_ask() -> None:
    text = "<reminder>be good</reminder>mine"
    found = tokens({"messages": [{"content": text}]})
    assert (found.ask, found.context) == (1, count_tokens(text))


def test_tools_and_calls_count_four_bytes_a_token() -> None:
    tool = {"name": "f"}  # 2 + 8 + 3 = 13 bytes: 4 tokens
    call = {"role": "assistant", "content": [{"type": "tool_use", "input": {"q": "x"}}]}  # 10 bytes: 3 tokens
    found = tokens({"messages": [call, {"content": "hi"}], "tools": [tool]})
    assert found == TokenCounts(1, 0, 1 + 4 + 3, 4, True)


def test_token_ids_count_as_they_are() -> None:
    assert tokens({"prompt": [[1, 2, 3], [4]]}, format="completions") == TokenCounts(0, 0, 4, 0, True)


def keywords(prose: str) -> tuple[int, int]:
    return keyword_counts(prose, Lexicon(["alpha", "beta gamma"]), Lexicon(["alpha*", "delta"]))


def test_keywords_of_both_sides() -> None:
    assert keywords("Alpha, beta\ngamma. alphabet") == (2, 1)
    assert keywords("") == (0, 0)


def test_keywords_are_looked_for_at_both_ends_of_a_long_text() -> None:
    window, filler = KEYWORD_WINDOW, "x "
    assert keywords("alpha " + filler * window) == (1, 1)
    assert keywords(filler * window + " alpha") == (1, 1)
    assert keywords(filler * window + " alpha " + filler * window) == (0, 0)
    # Up to twice the window the text is looked at as a whole.
    assert keywords((filler * window)[: window - 3] + " alpha" + " " * (window - 3)) == (1, 1)


def test_a_keyword_is_not_made_of_two_halves() -> None:
    head = "x" * (KEYWORD_WINDOW - 6) + " alpha"[:6]
    assert len(head) == KEYWORD_WINDOW
    cut = "x" * (KEYWORD_WINDOW - 3) + " al" + "-" * 100 + "pha" + " " * (KEYWORD_WINDOW - 3)
    assert keywords(cut) == (0, 0)
    assert keywords(head + "bet" + "-" * 5000) == (1, 1)  # cut at the window, the word ends there


def test_a_newer_version_only_adds_features() -> None:
    assert FEATURE_VERSION == 2
    assert FEATURE_NAMES[: len(VERSION_1)] == VERSION_1
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) > len(VERSION_1)


def test_the_vector() -> None:
    text = "Why? See:\n- `a`\n- b\n1, 2\n```\nx = 1\n```\nalpha é"
    body = {
        "messages": [
            {"role": "system", "content": "You help."},
            {"role": "user", "content": "first"},
            {"role": "user", "content": [{"type": "text", "text": f"<reminder>r</reminder>{text}"}, {"type": "image"}]},
            {"role": "user", "content": [{"type": "tool_result", "content": "t", "is_error": True}]},
            {"role": "tool", "content": "u"},
        ],
        "tools": [{"name": "f"}],
    }
    found = extract(body, "chat")
    ask = newest_ask(found.parts)
    counts = TokenCounts(11, 22, 33, 44, True)
    features = vector(found, ask, measure(ask.text), counts, (5, 6), words(ask.text))
    assert list(features) == list(FEATURE_NAMES)
    assert all(type(value) is float for value in features.values())
    assert features == {
        "ask_bytes": len(text.encode()),
        "ask_tokens": 11,
        "ask_words": 15,
        "ask_lines": 8,
        "ask_digits": 3,
        "ask_commas": 1,
        "ask_questions": 1,
        "ask_list_items": 2,
        "ask_fences": 1,
        "ask_code_lines": 1,
        "ask_inline_code": 1,
        "ask_stack_lines": 0,
        "ask_non_ascii": 1,
        "complex_keywords": 5,
        "simple_keywords": 6,
        "system_tokens": 22,
        "context_tokens": 33,
        "tools": 1,
        "tool_tokens": 44,
        "turns": 2,
        "messages": 5,
        "results_since_ask": 2,
        "errors_since_ask": 1,
        "images": 1,
        "harness_bytes": len("<reminder>r</reminder>"),
        "ask_terms": 27,
        "ask_distinct": len(words(text).buckets),
        "ask_numbers": 3,
        "ask_names": 0,
        "ask_long_words": 0,
        "ask_uppercase": 2,
        "ask_symbols": 1,
        "ask_quotes": 0,
        "ask_brackets": 0,
        "ask_options": 0,
        "words_math": 0,
        "words_science": 0,
        "words_law": 0,
        "words_story": 0,
        "words_code": 0,
        "words_reasoning": 1,
        "words_negation": 0,
        "words_everyday": 0,
    }


def test_results_before_the_ask_are_history() -> None:
    result = {"role": "user", "content": [{"type": "tool_result", "content": "t", "is_error": True}]}
    body = {"messages": [result, {"role": "user", "content": "ask"}, result, result]}
    found = extract(body, "chat")
    ask, counts = newest_ask(found.parts), TokenCounts(0, 0, 0, 0, True)
    features = vector(found, ask, measure("ask"), counts, (0, 0), words("ask"))
    assert (features["results_since_ask"], features["errors_since_ask"]) == (2, 2)
