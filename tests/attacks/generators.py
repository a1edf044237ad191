"""Bodies that are too large, too deep or too odd for a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

MEGABYTE = 1_000_000
DEEP = 100_000
TAG = "<system-reminder>"

# One megabyte of text each, against every pass the core makes over it.
TEXTS: dict[str, Callable[[], str]] = {
    "no spaces": lambda: "a" * MEGABYTE,
    "backticks": lambda: "`" * MEGABYTE,
    "backticks on lines of their own": lambda: "`\n" * (MEGABYTE // 2),
    "fences that open": lambda: "```x\n" * (MEGABYTE // 5),
    "fences that open and close": lambda: "```\n" * (MEGABYTE // 4),
    "ever longer fences": lambda: "\n".join("`" * length for length in range(3, 1_400)),
    "less-than": lambda: "<" * MEGABYTE,
    "less-than and one closing tag": lambda: "<" * MEGABYTE + "</x>",
    "harness tags that never close": lambda: TAG * DEEP,
    "harness tags that never close, and one that closes nothing": lambda: TAG * DEEP + "</other>",
    "harness tags, the last of which closes": lambda: TAG * DEEP + "</system-reminder>",
    "harness tags of all kinds that never close": lambda: "<reminder ><permissions><INSTRUCTIONS\n>" * 25_000 + "</",
    "harness blocks": lambda: "<reminder>x</reminder>" * 45_000,
    "closing tags": lambda: "</system-reminder>" * 55_000,
    "tag names without an end": lambda: "<system-reminder" * 60_000 + "</",
    "spaces": lambda: " " * MEGABYTE,
    "line ends": lambda: "\n" * MEGABYTE,
    "carriage returns": lambda: "\r" * MEGABYTE,
    "words of one letter": lambda: "a " * (MEGABYTE // 2),
    "digits": lambda: "9" * MEGABYTE,
    "question marks": lambda: "?" * MEGABYTE,
    "list items": lambda: "- x\n" * (MEGABYTE // 4),
    "stack traces": lambda: "at (\n" * (MEGABYTE // 5),
    "keywords": lambda: "prove design " * (MEGABYTE // 13),
    "a keyword that almost is": lambda: "differential equatio" * (MEGABYTE // 20),
    "no spaces in Chinese": lambda: "中" * (MEGABYTE // 3),
    "emoji": lambda: "😀" * (MEGABYTE // 4),
    "combining characters": lambda: "e" + "\u0301" * (MEGABYTE // 2),
    "lone surrogates": lambda: "\ud800" * MEGABYTE,
    "halves of emoji": lambda: "\ud83d\ude00" * (MEGABYTE // 2),
    "NULs": lambda: "\x00" * MEGABYTE,
    "right-to-left marks": lambda: "\u202e" * (MEGABYTE // 3),
    "markers of the tokenizer": lambda: "<|endoftext|>" * (MEGABYTE // 13),
}


def deep_list(depth: int = DEEP) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


def deep_dict(key: str, depth: int = DEEP) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {key: value}
    return value


def deep_results() -> Any:
    """Tool results in tool results."""
    block: Any = {"type": "text", "text": "x"}
    for _ in range(DEEP):
        block = {"type": "tool_result", "content": [block]}
    return [block]


def itself() -> Any:
    """No JSON makes this, but a callback before ours might."""
    loop: dict[str, Any] = {"type": "tool_result", "is_error": True}
    loop["content"] = [loop]
    return [loop]


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, float("nan"), float("inf"), 10**400, "", "x", b"x", [], {}, (), [None], [[]],
    {"x": None}, {1: 2, None: 3, (4,): 5}, {"type": 5}, {"type": "text"}, {"type": "text", "text": {}}, {"role": []},
    object(), {1, 2},
)  # fmt: skip
KEYS = (
    "messages", "system", "input", "instructions", "prompt", "contents", "systemInstruction", "system_instruction",
    "tools", "functions", "tool_choice", "parallel_tool_calls", "response_format", "text", "output_format",
    "output_config", "thinking", "reasoning", "reasoning_effort", "generationConfig", "max_tokens",
    "max_completion_tokens", "max_output_tokens", "cache_control", "stream", "metadata", "litellm_metadata",
    "web_search_options", "mcp_servers", "container", "previous_response_id", "conversation", "cachedContent",
    "litellm_call_id", "litellm_session_id", "proxy_server_request",
)  # fmt: skip
INNER_KEYS = (
    "content", "parts", "role", "type", "text", "tool_calls", "function_call", "output", "summary", "thinking_blocks",
    "provider_specific_fields", "encrypted_content", "id", "thoughtSignature", "source", "file_id", "executableCode",
)  # fmt: skip

# (call type, body without its model)
BODIES: dict[str, Callable[[], tuple[str, dict[Any, Any]]]] = {
    "deep content": lambda: ("acompletion", {"messages": user(deep_list())}),
    "deep messages": lambda: ("acompletion", {"messages": deep_list()}),
    "deep blocks": lambda: ("acompletion", {"messages": user([deep_dict("text")])}),
    "deep tool results": lambda: ("anthropic_messages", {"messages": user(deep_results())}),
    "deep tool input": lambda: (
        "anthropic_messages",
        {"messages": user([{"type": "tool_use", "input": deep_dict("a")}, {"type": "tool_use", "input": deep_list()}])},
    ),
    "deep tools": lambda: ("acompletion", {"messages": user("x"), "tools": [deep_dict("parameters")]}),
    "deep schema": lambda: ("acompletion", {"messages": user("x"), "response_format": deep_dict("type")}),
    "deep input": lambda: ("aresponses", {"input": deep_list()}),
    "deep output": lambda: ("aresponses", {"input": [{"type": "function_call_output", "output": deep_list()}]}),
    "deep prompt": lambda: ("atext_completion", {"prompt": deep_list()}),
    "deep contents": lambda: ("agenerate_content", {"contents": deep_list()}),
    "deep parts": lambda: ("agenerate_content", {"contents": [{"parts": deep_dict("functionResponse")}]}),
    "a block that holds itself": lambda: ("anthropic_messages", {"messages": user(itself())}),
    "50,000 parts": lambda: (
        "acompletion", {"messages": user([{"type": "text", "text": f"part {n}"} for n in range(50_000)])},
    ),
    "50,000 messages": lambda: ("acompletion", {"messages": [m for n in range(50_000) for m in user(f"ask {n}")]}),
    "50,000 images": lambda: ("acompletion", {"messages": user([{"type": "image_url"}] * 50_000)}),
    "50,000 system messages": lambda: ("acompletion", {"messages": [{"role": "system", "content": "x"}] * 50_000}),
    "50,000 failed results": lambda: (
        "anthropic_messages", {"messages": user([{"type": "tool_result", "is_error": True, "content": "x"}] * 50_000)},
    ),
    "50,000 signed thoughts in one message": lambda: (
        "anthropic_messages", {"messages": user([{"type": "thinking", "thinking": "", "signature": "x"}] * 50_000)},
    ),
    "20,000 asks beside results, each after a signed thought": lambda: (
        "anthropic_messages",
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]},
                *user([{"type": "tool_result", "content": "x"}, {"type": "text", "text": "ask"}]),
            ] * 20_000
        },
    ),
    "a megabyte of signature, and of an id": lambda: (
        "acompletion",
        {
            "messages": [
                *user("x"),
                {"role": "assistant", "thinking_blocks": [{"type": "thinking", "signature": "s" * MEGABYTE}]},
                {"role": "assistant", "tool_calls": [{"id": "__thought_" * (MEGABYTE // 10)}]},
            ]
        },
    ),
    "deep signatures": lambda: (
        "acompletion",
        {
            "container": deep_dict("id"), "previous_response_id": deep_list(), "mcp_servers": deep_list(),
            "web_search_options": deep_dict("x"),
            "messages": [{"role": "assistant", "thinking_blocks": deep_list(), "provider_specific_fields": deep_dict("a")}],
            "tools": [{"googleSearch": deep_dict("x")}, {"type": deep_list()}],
        },
    ),
    "50,000 items": lambda: ("aresponses", {"input": [{"type": "function_call", "arguments": "{}"}] * 50_000}),
    "50,000 prompts": lambda: ("atext_completion", {"prompt": ["x"] * 50_000}),
    "200,000 token ids": lambda: ("atext_completion", {"prompt": [list(range(200_000))]}),
    "50,000 contents": lambda: ("agenerate_content", {"contents": ["x"] * 50_000}),
    "10,000 tools": lambda: (
        "acompletion", {"messages": user("x"), "tools": [{"function": {"name": f"f{n}"}} for n in range(10_000)]},
    ),
    "100,000 keys": lambda: ("acompletion", {"messages": user("x"), **{f"key {n}": n for n in range(100_000)}}),
    "keys that are no text": lambda: (
        "acompletion", {1: 2, None: 3, (4, 5): 6, b"messages": 7, "messages": user({1: 2, None: "x"})},
    ),
    "a megabyte in each of the parts": lambda: (
        "anthropic_messages",
        {
            "system": "s " * 500_000,
            "messages": [
                *user([{"type": "tool_result", "content": "r" * MEGABYTE}]),
                {"role": "assistant", "content": [{"type": "tool_use", "input": {"x" * MEGABYTE: "y" * MEGABYTE}}]},
                *user("u" * MEGABYTE),
            ],
            "tools": [{"description": "d" * MEGABYTE}],
        },
    ),
}  # fmt: skip


def wrong_types() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every odd value under every key we read, and inside messages and blocks, in every format."""
    for call_type in ("acompletion", "anthropic_messages", "aresponses", "atext_completion", "agenerate_content"):
        for value in ODD:
            for key in KEYS:
                yield call_type, {key: value}
            for key in ("messages", "input", "contents", "prompt"):
                yield call_type, {key: [value]}
                for inner in INNER_KEYS:
                    yield call_type, {key: [{inner: value}]}
                blocks = [value, {"type": "tool_result", "content": value}]
                yield call_type, {key: [{"content": blocks, "parts": blocks}]}
