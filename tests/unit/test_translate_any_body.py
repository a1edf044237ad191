"""What holds for every body, every model and every history: no word is lost, and nothing makes `translate` fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bsgateway.catalog import Model
from bsgateway.translate import CHANGES, FOREIGN
from shapes import bodies
from shapes.targets import BY_CLAUDE, ENCRYPTED, MODELS, SIGNED, edit

FORCED = {"type": "tool", "name": "web_search"}
ENABLED = {"type": "enabled", "budget_tokens": 8_000}

THOUGHTS = (
    (), (bodies.thinking(signature=SIGNED),), (bodies.thinking(signature=""), bodies.thinking(signature=SIGNED)),
    (bodies.thinking(signature=None),), (bodies.thinking(signature=ENCRYPTED),), (bodies.redacted(SIGNED),),
)  # fmt: skip


def shapes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Bodies of all clients, in the middle of conversations that others have taken part in."""
    for thoughts in THOUGHTS:
        for turns in (bodies.claude_code_turns(*thoughts), bodies.claude_code_loop(*thoughts)):
            yield "messages", bodies.claude_code(turns)
            yield "messages", bodies.claude_code(turns, thinking=ENABLED, max_tokens=9_000)
            tools = [*bodies.SERVER_TOOLS, *bodies.claude_code_tools()]
            yield "messages", bodies.claude_code(turns, tools=tools, tool_choice=FORCED, service_tier="auto")
        fields = {"thinking_blocks": list(thoughts), "reasoning_content": "Look.", "cache_control": bodies.EPHEMERAL}
        yield "chat", bodies.opencode(bodies.chat_turns(**fields), max_tokens=300_000)
        yield "chat", bodies.opencode(bodies.chat_loop(**fields), parallel_tool_calls=False)
    for encrypted in ("gAAAAABo", BY_CLAUDE, None):
        item = bodies.reasoning(encrypted)
        yield "responses", bodies.codex(bodies.codex_turns(item, item), tools=bodies.codex_tools())
        yield "responses", bodies.codex(bodies.codex_loop(item), max_output_tokens=1_000)
    yield "messages", bodies.claude_code(bodies.claude_code_searched())
    yield "messages", bodies.claude_code_title()
    yield "chat", bodies.openai_sdk(web_search_options={})
    yield "chat", bodies.aider()
    yield "completions", bodies.text_completion()
    yield "generate_content", bodies.gemini_cli("E")


SHAPES = tuple(shapes())


def words(value: Any) -> list[Any]:
    """What must never be lost: texts of users and assistants, calls of functions and their results, function tools."""
    found: list[Any] = []
    if isinstance(value, list):
        for item in value:
            found += words(item)
    elif isinstance(value, dict):
        kind = value.get("type")
        if kind in ("thinking", "redacted_thinking", "reasoning"):
            return []
        if kind in ("text", "input_text", "output_text"):
            return [value["text"]]
        if kind in ("tool_use", "tool_result", "function_call", "function_call_output", "function", "custom_tool_call"):
            return [{name: inner for name, inner in value.items() if name not in ("provider_specific_fields", "id")}]
        if "input_schema" in value or "functionDeclarations" in value:
            return [value]
        for name in ("messages", "input", "contents", "parts", "content", "tool_calls", "tools", "text", "prompt"):
            inner = value.get(name)
            found += [inner] if isinstance(inner, str) else words(inner)
    return found


@given(
    shape=st.sampled_from(SHAPES),
    model=st.sampled_from(MODELS),
    families=st.lists(st.sampled_from(("anthropic", "openai", "google", "other")), max_size=3),
    same=st.booleans(),
)
def test_no_word_no_call_and_no_function_is_ever_lost(
    shape: tuple[str, dict[str, Any]], model: Model, families: list[str], same: bool
) -> None:
    format, body = shape
    data, changes = edit(format, body, model, *families, same=same)
    assert words(data) == words(body)
    assert set(changes) <= set(CHANGES)
    assert set(FOREIGN) <= set(CHANGES)
    assert list(changes) == [name for name in CHANGES if name in changes]
    assert (data != body) == bool(changes)
    # Done once, it is done: LiteLLM may run the hook again.
    assert edit(format, data, model, *families, same=same) == (data, ())


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("type", "role", "content", "messages", "input", "tools", "thinking", "text", "edits")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
FIELDS = (
    "messages", "input", "tools", "tool_choice", "thinking", "output_config", "context_management", "include", "text",
    "reasoning", "reasoning_effort", "max_tokens", "max_output_tokens", "generationConfig", "provider_specific_header",
    "parallel_tool_calls", "container",
)  # fmt: skip


@given(
    format=st.sampled_from(("messages", "chat", "responses", "completions", "generate_content")),
    body=st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=8),
    model=st.sampled_from(MODELS),
    same=st.booleans(),
)
def test_a_body_may_hold_anything(format: str, body: dict[str, Any], model: Model, same: bool) -> None:
    edit(format, body, model, "anthropic", same=same)
