"""What the twin makes of what it has read: the needs of a request, the limit on its answer, the newest ask."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.reference.extract import HARNESS_TAGS, Ask, extract, newest_ask, strip_harness
from bsgateway.reference.needs import max_output_tokens, needs

# Needs

IMAGE = {"messages": [{"content": [{"type": "image_url"}]}]}
TOOLS = {"tools": [{"name": "f"}]}


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, ()),
        (IMAGE, ("vision",)),
        ({"messages": [{"content": [{"type": "input_audio"}, {"type": "file"}]}]}, ("audio", "file")),
        (TOOLS, ("tools",)),
        ({**TOOLS, "tool_choice": "none"}, ()),
        ({**TOOLS, "tool_choice": {"type": "none"}}, ()),
        ({**TOOLS, "tool_choice": "auto"}, ("tools",)),
        ({**TOOLS, "parallel_tool_calls": True}, ("tools", "parallel_tools")),
        ({**TOOLS, "parallel_tool_calls": "yes"}, ("tools",)),
        ({"parallel_tool_calls": True}, ()),
        ({"response_format": {"type": "json_schema"}}, ("json_schema",)),
        ({"response_format": {"type": "json_object"}}, ("json_schema",)),
        ({"response_format": {"type": "text"}}, ()),
        ({"text": {"format": {"type": "json_schema"}}}, ("json_schema",)),
        ({"output_format": {"type": "json_schema"}}, ("json_schema",)),
        ({"output_config": {"format": {"type": "json_schema"}}}, ("json_schema",)),
        ({"generationConfig": {"responseMimeType": "application/json"}}, ("json_schema",)),
        ({"generationConfig": {"responseSchema": {}}}, ("json_schema",)),
        ({"generationConfig": {"responseMimeType": "text/plain"}}, ()),
        ({"thinking": {"type": "enabled"}}, ("reasoning",)),
        ({"thinking": {"type": "adaptive"}}, ("reasoning",)),
        ({"thinking": {"type": "disabled"}}, ()),
        ({"reasoning_effort": "high"}, ("reasoning",)),
        ({"reasoning_effort": "none"}, ()),
        ({"reasoning": {"effort": "low"}}, ("reasoning",)),
        ({"reasoning": {"effort": None}}, ()),
        ({"generationConfig": {"thinkingConfig": {}}}, ("reasoning",)),
        ({"cache_control": {"type": "ephemeral"}}, ("prompt_cache",)),
        ({"tools": [{"cache_control": {}}]}, ("tools", "prompt_cache")),
        ({"messages": [{"content": [{"type": "text", "text": "x", "cache_control": {}}]}]}, ("prompt_cache",)),
        ({"messages": [{"content": [{"type": "text", "text": "x", "cache_control": None}]}]}, ()),
        ({"web_search_options": {}}, ("web_search",)),
        ({"web_search_options": True}, ()),
        (
            {"cache_control": {}, "web_search_options": {}, "tools": [{"type": "custom"}]},
            ("tools", "prompt_cache", "web_search", "server_tools"),
        ),
        (
            {**IMAGE, **TOOLS, "reasoning_effort": "low", "response_format": {"type": "json_object"}},
            ("vision", "tools", "json_schema", "reasoning"),
        ),
    ],
)
def test_needs(body: dict[str, Any], wanted: tuple[str, ...]) -> None:
    assert needs(body, extract(body, "chat")) == wanted


@pytest.mark.parametrize(
    ("format", "tool", "of_provider"),
    [
        ("chat", {"type": "function", "function": {}}, False), ("chat", {"function": {}}, False),
        ("chat", {"type": "custom", "custom": {}}, True), ("chat", {"type": "web_search_20250305", "name": "w"}, True),
        ("chat", {"googleSearch": {}}, True), ("chat", {"code_execution": {}}, True), ("chat", {"name": "f"}, False),
        ("messages", {"name": "f", "input_schema": {}}, False), ("messages", {"type": "custom", "name": "f"}, False),
        ("messages", {"type": None, "name": "f"}, False), ("messages", {"type": "computer_20250124"}, True),
        ("messages", {"type": "mcp_toolset"}, True), ("messages", {"googleSearch": {}}, False),
        ("responses", {"type": "function", "name": "f"}, False), ("responses", {"type": "custom", "name": "f"}, False),
        ("responses", {"type": "namespace", "tools": []}, False), ("responses", {"type": "code_interpreter"}, True),
        ("responses", {"type": "local_shell"}, True), ("responses", {"type": "image_generation"}, True),
        ("generate_content", {"functionDeclarations": [{}]}, False), ("generate_content", {}, False),
        ("generate_content", {"function_declarations": [{}], "googleMaps": {}}, True),
        ("generate_content", {"urlContext": {}}, True),
    ],
)  # fmt: skip
def test_tools_of_the_provider(format: str, tool: dict[str, Any], of_provider: bool) -> None:
    body = {"tools": [tool]}
    assert needs(body, extract(body, format)) == (("tools", "server_tools") if of_provider else ("tools",))
    refused = {**body, "tool_choice": {"type": "none"}}
    assert needs(refused, extract(refused, format)) == ()


@pytest.mark.parametrize(
    ("format", "type", "wanted"),
    [
        ("messages", "web_search_20250305", ("tools", "web_search")),
        ("responses", "web_search", ("tools", "web_search")),
        ("responses", "web_search_preview", ("tools", "web_search")),
        ("chat", "web_search_20250305", ("tools", "server_tools")),
    ],
)
def test_searches_of_the_web(format: str, type: str, wanted: tuple[str, ...]) -> None:
    body = {"tools": [{"type": type, "name": "web_search"}]}
    assert needs(body, extract(body, format)) == wanted
    refused = {**body, "tool_choice": "none"}
    assert needs(refused, extract(refused, format)) == ()


def test_mcp_servers_are_tools_of_the_provider() -> None:
    body = {"mcp_servers": [{"type": "url", "url": "https://example.com"}]}
    assert needs(body, extract(body, "messages")) == ("server_tools",)
    assert needs(body, extract(body, "chat")) == ()
    assert needs({}, extract({"mcp_servers": []}, "messages")) == ()


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({}, None), ({"max_tokens": 5}, 5), ({"max_completion_tokens": 6, "max_tokens": 5}, 6),
        ({"max_output_tokens": 7}, 7), ({"generationConfig": {"maxOutputTokens": 8}}, 8),
        ({"max_completion_tokens": 0, "max_tokens": 5}, 5), ({"max_tokens": -1}, None), ({"max_tokens": True}, None),
        ({"max_tokens": "5"}, None), ({"max_tokens": 5.0}, None), ({"max_tokens": 10**9}, 10**9),
        ({"max_tokens": 10**9 + 1}, None), ({"max_tokens": 10**400}, None), ({"generationConfig": 5}, None),
    ],
)  # fmt: skip
def test_max_output_tokens(body: dict[str, Any], limit: int | None) -> None:
    assert max_output_tokens(body) == limit


# The newest ask, and what a harness puts around it

REMINDER = "<system-reminder>\nBe good.\n</system-reminder>"


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("plain", "plain"),
        (REMINDER, ""),
        (f"before {REMINDER} after", "before  after"),
        (f"{REMINDER}mine{REMINDER}", "mine"),
        ("<system-reminder x='1'>a</system-reminder>b", "b"),
        ("<system-reminder\n>a</system-reminder>b", "b"),
        ("<system-reminder>a", "<system-reminder>a"),  # never closed: text
        ("a</system-reminder>", "a</system-reminder>"),
        ("<system-reminderx>a</system-reminderx>", "<system-reminderx>a</system-reminderx>"),
        ("<System-Reminder>a</System-Reminder>", "<System-Reminder>a</System-Reminder>"),
        ("< system-reminder>a</system-reminder>", "< system-reminder>a</system-reminder>"),
        ("<system-reminder>a<system-reminder>b</system-reminder>c", "c"),  # to the next closing tag
        ("<reminder>a</system-reminder>b</reminder>c", "c"),
        ("<reminder>a<system-reminder>b</system-reminder>c", "<reminder>ac"),
        ("<task>mine</task>", "<task>mine</task>"),
        ("<command-name>x</command-name><command-args>mine</command-args>", "<command-args>mine</command-args>"),
        ("<<system-reminder>a</system-reminder>", "<"),
        ("<system-reminder/>a</system-reminder>", "<system-reminder/>a</system-reminder>"),
    ],
)
def test_harness_blocks(text: str, own: str) -> None:
    assert strip_harness(text) == own


@pytest.mark.parametrize("tag", sorted(HARNESS_TAGS))
def test_every_harness_tag(tag: str) -> None:
    assert strip_harness(f"a<{tag}>x</{tag}>b") == "ab"


def ask(*messages: dict[str, Any]) -> Ask:
    return newest_ask(extract({"messages": list(messages)}, "chat").parts)


def user(value: Any) -> dict[str, Any]:
    return {"role": "user", "content": value}


def test_the_newest_ask() -> None:
    assert ask(user("one"), {"role": "assistant", "content": "two"}, user(" three \n")) == Ask("three", 2, 2, 0)
    assert ask(user("one"), user([{"type": "text", "text": "two"}, {"type": "text", "text": "three"}])) == Ask(
        "two\nthree", 1, 2, 0
    )
    assert ask() == Ask("", -1, 0, 0)
    assert ask({"role": "system", "content": "x"}, {"role": "assistant", "content": "y"}) == Ask("", -1, 0, 0)


def test_a_harness_block_is_not_the_ask() -> None:
    assert ask(user("mine"), user(REMINDER)) == Ask("mine", 0, 1, len(REMINDER))
    assert ask(user(f"{REMINDER}\n  mine {REMINDER}")) == Ask("mine", 0, 1, 2 * len(REMINDER))
    assert ask(user([{"type": "text", "text": REMINDER}, {"type": "text", "text": "mine"}])) == Ask(
        "mine", 0, 1, len(REMINDER)
    )


def test_a_tool_result_is_not_the_ask() -> None:
    result = user([{"type": "tool_result", "content": "output"}])
    assert ask(user("mine"), {"role": "assistant", "content": "x"}, result) == Ask("mine", 0, 1, 0)


def test_bytes_of_the_harness_are_bytes() -> None:
    block = "<reminder>é中</reminder>"
    assert ask(user(f"a{block}")).harness_bytes == len(block.encode())


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(["a", "<", "</", ">", " ", "reminder", "<reminder>", "</reminder>", "<task>", "é"])))
def test_stripping_only_takes_away(pieces: list[str]) -> None:
    text = "".join(pieces)
    own = strip_harness(text)
    remaining = iter(text)
    assert all(char in remaining for char in own)  # a subsequence
    if "</reminder>" not in text:
        assert own == text
