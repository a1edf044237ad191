"""What the twin reads of a body, in each format: parts, tool calls and results, media, sizes, needs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.reference.extract import (
    FORMATS,
    MAX_DEPTH,
    Extract,
    extract,
)
from bsgateway.reference.needs import max_output_tokens, needs
from bsgateway.reference.values import weigh


def parts(body: dict[str, Any], format: str) -> list[tuple[str, str, str, int]]:
    return [(part.role, part.kind, part.text, part.message) for part in extract(body, format).parts]


def content(value: Any, role: str = "user") -> Extract:
    """One chat message with this content."""
    return extract({"messages": [{"role": role, "content": value}]}, "chat")


def texts(value: Any) -> list[str]:
    return [part.text for part in content(value).parts]


# Chat and messages

CHAT = {
    "messages": [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "image_url", "image_url": {}}]},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                {"id": "2", "type": "custom", "custom": {"name": "g", "input": "raw"}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "result"},
        {"role": "developer", "content": "be brief"},
        {"role": "assistant", "content": "done", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "old style"},
        {"role": "critic", "content": "unheard of"},
        {"content": "no role"},
    ]
}


def test_chat() -> None:
    assert parts(CHAT, "chat") == [
        ("system", "text", "You help.", 0),
        ("user", "text", "one", 1),
        ("assistant", "thinking", "hm", 2),
        ("assistant", "tool_call", '{"a": 1}', 2),
        ("assistant", "tool_call", "raw", 2),
        ("tool", "tool_result", "result", 3),
        ("system", "text", "be brief", 4),
        ("assistant", "text", "done", 5),
        ("assistant", "tool_call", "{}", 5),
        ("tool", "tool_result", "old style", 6),
        ("other", "text", "unheard of", 7),
        ("user", "text", "no role", 8),
    ]
    found = extract(CHAT, "chat")
    assert (found.messages, found.images, found.audios, found.files) == (9, 1, 0, 0)
    assert found.results == [(3, False), (6, False)]


MESSAGES = {
    "system": [{"type": "text", "text": "You are a coder.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "plain"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "let me see", "signature": "x"},
                {"type": "redacted_thinking", "data": "secret"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t", "name": "ls", "input": {"path": "/"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "is_error": True, "content": "no such file"},
                {
                    "type": "tool_result",
                    "content": [{"type": "text", "text": "nested"}, {"type": "image", "source": {}}],
                },
                {"type": "text", "text": "and now?"},
                {"type": "document", "source": {}},
            ],
        },
        {"role": "system", "content": "in between"},
    ],
}


def test_messages() -> None:
    assert parts(MESSAGES, "messages") == [
        ("system", "text", "You are a coder.", -1),
        ("user", "text", "plain", 0),
        ("assistant", "thinking", "let me see", 1),
        ("assistant", "text", "I look.", 1),
        ("tool", "tool_result", "no such file", 2),
        ("tool", "tool_result", "nested", 2),
        ("user", "text", "and now?", 2),
        ("system", "text", "in between", 3),
    ]
    found = extract(MESSAGES, "messages")
    assert found.results == [(2, True), (2, False)]
    assert (found.images, found.files, found.messages, found.cache_marks) == (1, 1, 4, True)
    # {"path": "/"}: 2, key 4 + 4, text 1 + 2
    assert found.call_bytes == 13


def test_a_system_prompt_of_plain_text() -> None:
    assert parts({"system": "You help.", "messages": []}, "messages") == [("system", "text", "You help.", -1)]


# Responses

RESPONSES = {
    "instructions": "You help.",
    "input": [
        {"role": "developer", "content": "be brief"},
        {"type": "message", "content": [{"type": "input_text", "text": "ask"}, {"type": "input_image"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "name": "f", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "1", "output": "out"},
        {"type": "custom_tool_call", "input": "raw"},
        {"type": "custom_tool_call_output", "output": [{"type": "input_text", "text": "custom out"}]},
        {"type": "local_shell_call", "action": {"command": ["ls"]}},
        {"type": "local_shell_call_output", "output": "files"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "answer"}]},
        {"type": "input_text", "text": "bare block"},
        {"type": "item_reference", "id": "x"},
        {"type": "input_file", "file_id": "y"},
    ],
}


def test_responses() -> None:
    assert parts(RESPONSES, "responses") == [
        ("system", "text", "You help.", -1),
        ("system", "text", "be brief", 0),
        ("user", "text", "ask", 1),
        ("assistant", "thinking", "hm", 2),
        ("assistant", "tool_call", '{"a": 1}', 3),
        ("tool", "tool_result", "out", 4),
        ("assistant", "tool_call", "raw", 5),
        ("tool", "tool_result", "custom out", 6),
        ("tool", "tool_result", "files", 8),
        ("assistant", "text", "answer", 9),
        ("user", "text", "bare block", 10),
    ]
    found = extract(RESPONSES, "responses")
    assert (found.messages, found.images, found.files) == (13, 1, 1)
    assert found.results == [(4, False), (6, False), (8, False)]
    assert found.call_bytes == weigh({"command": ["ls"]}) == 2 + (7 + 4) + (2 + 1) + (2 + 2)


def test_responses_with_plain_input() -> None:
    body = {"instructions": "You help.", "input": "hello"}
    assert parts(body, "responses") == [("system", "text", "You help.", -1), ("user", "text", "hello", 0)]
    assert extract(body, "responses").messages == 1


# Completions


@pytest.mark.parametrize(
    ("prompt", "found", "token_ids"),
    [
        ("hello", ["hello"], 0),
        (["one", "two"], ["one", "two"], 0),
        ([1, 2, 3], [], 3),
        ([[1, 2], [3]], [], 3),
        ([[1, "x", True], 4, False], [], 2),
        (["a", [1]], ["a"], 1),
        ("", [], 0),
        (None, [], 0),
        (7, [], 0),
        ({"text": "block"}, ["block"], 0),
    ],
)  # fmt: skip
def test_completions(prompt: Any, found: list[str], token_ids: int) -> None:
    extracted = extract({"prompt": prompt}, "completions")
    assert [(part.role, part.kind, part.text, part.message) for part in extracted.parts] == [
        ("user", "text", text, 0) for text in found
    ]
    assert (extracted.token_ids, extracted.messages) == (token_ids, 1)


# generateContent

GENERATE = {
    "systemInstruction": {"parts": [{"text": "You help."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "ask"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]},
        {"role": "model", "parts": [{"text": "hm", "thought": True}, {"functionCall": {"args": {"a": 1}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"b": "c"}}}]},
        {"role": "user", "parts": [{"fileData": {"mimeType": "video/mp4"}}, {"file_data": {"mime_type": "audio/mp3"}}]},
        {"parts": [{"inline_data": {"mime_type": "application/pdf"}}, {"text": "and this?"}]},
    ],
    "tools": [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}],
}


def test_generate_content() -> None:
    assert parts(GENERATE, "generate_content") == [
        ("system", "text", "You help.", -1),
        ("user", "text", "ask", 0),
        ("assistant", "thinking", "hm", 1),
        ("user", "text", "and this?", 4),
    ]
    found = extract(GENERATE, "generate_content")
    assert (found.messages, found.images, found.audios, found.files, found.tools) == (5, 2, 1, 1, 2)
    assert found.results == [(2, False)]
    assert found.call_bytes == weigh({"a": 1}) + weigh({"b": "c"}) == (2 + 5 + 4) + (2 + 5 + 3)


@pytest.mark.parametrize(
    ("contents", "found"),
    [
        ("hello", [("user", "text", "hello", 0)]),
        (["a", "b"], [("user", "text", "a", 0), ("user", "text", "b", 1)]),
        ({"parts": "c"}, [("user", "text", "c", 0)]),
        ({"parts": [{"text": "d"}, "e"]}, [("user", "text", "d", 0), ("user", "text", "e", 0)]),
        (None, []),
    ],
)
def test_short_forms_of_contents(contents: Any, found: list[tuple[str, str, str, int]]) -> None:
    assert parts({"contents": contents}, "generate_content") == found


@pytest.mark.parametrize("key", ["systemInstruction", "system_instruction"])
@pytest.mark.parametrize("value", ["be brief", {"parts": "be brief"}, {"parts": [{"text": "be brief"}]}])
def test_short_forms_of_the_system_instruction(key: str, value: Any) -> None:
    assert parts({key: value}, "generate_content") == [("system", "text", "be brief", -1)]


# Blocks


def test_blocks_of_any_dialect_are_read_everywhere() -> None:
    assert texts([{"type": kind, "text": kind} for kind in ("text", "input_text", "output_text", "summary_text")]) == [
        "text", "input_text", "output_text", "summary_text"
    ]  # fmt: skip
    assert texts([{"text": "untyped"}, "bare", {"type": "text", "text": 5}, {"type": "what", "text": "no"}]) == [
        "untyped", "bare"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("block", "counted"),
    [
        ({"type": "image"}, (1, 0, 0)), ({"type": "image_url"}, (1, 0, 0)), ({"type": "input_image"}, (1, 0, 0)),
        ({"type": "audio"}, (0, 1, 0)), ({"type": "input_audio"}, (0, 1, 0)), ({"type": "file"}, (0, 0, 1)),
        ({"type": "input_file"}, (0, 0, 1)), ({"type": "document"}, (0, 0, 1)), ({"type": "Image"}, (0, 0, 0)),
        ({"inlineData": {"mimeType": "image/png"}}, (1, 0, 0)), ({"inlineData": {}}, (0, 0, 1)),
        ({"inlineData": "x"}, (0, 0, 0)),
    ],
)  # fmt: skip
def test_media(block: dict[str, Any], counted: tuple[int, int, int]) -> None:
    found = content([block])
    assert (found.images, found.audios, found.files) == counted


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use"])
def test_tool_calls_are_weighed(kind: str) -> None:
    assert content([{"type": kind, "input": {"q": "x"}}]).call_bytes == 2 + 5 + 3


@pytest.mark.parametrize(
    ("kind", "is_error", "failed"),
    [("tool_result", True, True), ("web_search_tool_result", False, False), ("mcp_tool_result", 1, False)],
)
def test_tool_results(kind: str, is_error: Any, failed: bool) -> None:
    found = content([{"type": kind, "is_error": is_error, "content": "r"}])
    assert found.results == [(0, failed)]
    assert [(part.role, part.kind, part.text) for part in found.parts] == [("tool", "tool_result", "r")]


def nested(depth: int) -> dict[str, Any]:
    """A tool result that holds a tool result, and so on; the innermost holds a text."""
    block: dict[str, Any] = {"type": "text", "text": "deep"}
    for _ in range(depth):
        block = {"type": "tool_result", "content": [block]}
    return block


def test_nesting_is_bounded() -> None:
    assert MAX_DEPTH == 8
    assert texts([nested(MAX_DEPTH)]) == ["deep"]
    assert texts([nested(MAX_DEPTH + 1)]) == []
    assert len(content([nested(MAX_DEPTH + 5)]).results) == MAX_DEPTH + 1


def test_lone_surrogates_are_replaced() -> None:
    assert texts("a\ud800b") == ["a\ufffdb"]


# Wrong types

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
_KEYS = (
    "messages", "input", "prompt", "contents", "system", "instructions", "systemInstruction", "tools", "functions",
    "tool_choice", "response_format", "text", "thinking", "reasoning", "generationConfig", "max_tokens",
    "cache_control",
)  # fmt: skip


@settings(deadline=None, derandomize=True, database=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(_KEYS), _json, max_size=6), st.sampled_from(FORMATS))
def test_a_wrong_type_is_as_good_as_absent(body: dict[str, Any], format: str) -> None:
    found = extract(body, format)
    assert all(isinstance(part.text, str) and part.text for part in found.parts)
    assert all(type(need) is str for need in needs(body, found))
    limit = max_output_tokens(body)
    assert limit is None or limit > 0


@pytest.mark.parametrize("body", [None, [], "text", 5, {}, {"messages": {"role": "user"}}, {"messages": "hi"}])
def test_a_body_that_is_none(body: Any) -> None:
    assert extract(body, "chat") == Extract()


def test_a_wrong_message_keeps_the_place_of_the_others() -> None:
    body = {"messages": [None, "x", {"content": "third"}, 5, {"content": 5}, {"role": 5, "content": "sixth"}]}
    assert parts(body, "chat") == [("user", "text", "third", 2), ("other", "text", "sixth", 5)]
    assert extract(body, "chat").messages == 6


def test_an_unknown_format() -> None:
    known = "chat, messages, responses, completions, generate_content"
    with pytest.raises(ValueError, match=f'^unknown request format "soap"; known: {known}$'):
        extract({}, "soap")


# Tools


def test_tools_are_counted_and_weighed() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    found = extract({"tools": [tool, tool, "no tool"], "functions": [{"name": "old"}]}, "chat")
    assert found.tools == 3
    assert found.tool_bytes == 2 * weigh(tool) + weigh({"name": "old"})


def test_declarations_of_gemini_are_counted_one_by_one() -> None:
    body = {"tools": [{"function_declarations": [{}, {}, {}]}, {"googleSearch": {}}, {"functionDeclarations": "x"}]}
    assert extract(body, "generate_content").tools == 5


@pytest.mark.parametrize(
    ("value", "bytes"),
    [
        ("ab", 4), ("é", 4), ("\ud800", 5), ("", 2), (None, 4), (True, 4), (5, 4), (1.5, 4), (object(), 4), ({}, 2),
        ([], 2), ([1, 2], 2 + 2 + 8), ((1,), 2 + 1 + 4), ({"ab": "c"}, 2 + 6 + 3), ({1: 2}, 2 + 4 + 4),
        ({"a": [{"b": None}]}, 2 + 5 + (2 + 1) + (2 + 5 + 4)),
    ],
)  # fmt: skip
def test_weigh(value: Any, bytes: int) -> None:
    assert weigh(value) == bytes


def test_weighing_does_not_recurse() -> None:
    value: Any = "x"
    for _ in range(100_000):
        value = [value]
    assert weigh(value) == 100_000 * 3 + 3


def test_bodies_read_from_json_are_read_alike() -> None:
    bodies = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES, "generate_content": GENERATE}
    for format, body in bodies.items():
        assert extract(json.loads(json.dumps(body)), format) == extract(body, format)
