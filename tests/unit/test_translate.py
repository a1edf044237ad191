"""What `translate` takes out of a body for a model, and what it must leave alone.

Whether providers would accept the result is shown by `tests/e2e/test_translate.py`, through LiteLLM.
"""

from __future__ import annotations

from typing import Any

import litellm
import pytest
from litellm.litellm_core_utils.prompt_templates.common_utils import ENCRYPTED_REASONING_SIGNATURE_PREFIX
from litellm.litellm_core_utils.prompt_templates.factory import THOUGHT_SIGNATURE_SEPARATOR
from litellm.responses.litellm_completion_transformation.reasoning_items import encode_thinking_blocks

from bsgateway.catalog import Model
from bsgateway.translate import parts, translate
from shapes import bodies
from shapes.targets import (
    BY_CLAUDE,
    CLAUDE,
    ENCRYPTED,
    GEMINI,
    GOOGLE_ID,
    GPT,
    GPT_4O,
    HAIKU,
    LOCAL,
    OLD_CLAUDE,
    SIGNED,
    THINKING_LOCAL,
    edit,
)

FORCED = {"type": "tool", "name": "web_search"}
EDITS = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}]}


def blocks(data: dict[str, Any]) -> list[str]:
    """Types of the blocks of all answers."""
    answers = [message["content"] for message in data["messages"] if message["role"] == "assistant"]
    return [block["type"] for content in answers for block in content]


# -- Thoughts in the history of messages

WORDS = ["text", "tool_use", "text"]
BOTH = ["thinking", "text", "tool_use", "thinking", "text"]


@pytest.mark.parametrize(
    ("thought", "model", "left"),
    [
        (bodies.thinking(signature=SIGNED), CLAUDE, BOTH),
        (bodies.thinking(signature=""), CLAUDE, WORDS),
        (bodies.thinking(signature=None), HAIKU, WORDS),
        (bodies.thinking(signature=ENCRYPTED), HAIKU, WORDS),
        (bodies.redacted(SIGNED), CLAUDE, [kind.replace("thinking", "redacted_thinking") for kind in BOTH]),
        (bodies.redacted(ENCRYPTED), CLAUDE, WORDS),
        (bodies.thinking(signature=ENCRYPTED), GPT, BOTH),
        (bodies.thinking(signature=SIGNED), GPT, WORDS),
        (bodies.thinking(signature=""), GPT, WORDS),
        (bodies.thinking(signature=ENCRYPTED), GPT_4O, WORDS),
        (bodies.thinking(signature=SIGNED), LOCAL, WORDS),
        (bodies.thinking(signature=""), THINKING_LOCAL, BOTH),
        (bodies.thinking(signature=SIGNED), GEMINI, BOTH),
        (bodies.thinking(signature=SIGNED), OLD_CLAUDE, WORDS),
    ],
)  # fmt: skip
def test_a_thought_stays_with_a_model_that_can_read_it(thought: dict[str, Any], model: Model, left: list[str]) -> None:
    data, changes = edit("messages", bodies.claude_code(bodies.claude_code_turns(thought, thought)), model)
    assert blocks(data) == left
    assert ("thinking_blocks" in changes) == (left == WORDS)


def test_only_the_thoughts_of_others_go() -> None:
    turns = bodies.claude_code_turns(bodies.thinking(signature=""), bodies.thinking(signature=SIGNED))
    data, changes = edit("messages", bodies.claude_code(turns), CLAUDE, "openai", "anthropic", same=True)
    assert blocks(data) == ["text", "tool_use", "thinking", "text"]
    assert changes == ("thinking_blocks",)


def test_an_answer_of_nothing_but_foreign_thoughts_goes() -> None:
    turns = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [bodies.thinking(signature="")]},
        {"role": "user", "content": "And?"},
    ]
    data, _ = edit("messages", bodies.claude_code(turns), CLAUDE)
    assert data["messages"] == [turns[0], turns[2]]


def test_a_history_of_the_models_own_is_not_searched_but_for_its_newest_answer() -> None:
    turns = bodies.claude_code_turns(bodies.thinking(signature=""), bodies.thinking(signature=SIGNED))
    data, changes = edit("messages", bodies.claude_code(turns), CLAUDE, "anthropic", same=True)
    assert data["messages"] is turns
    assert changes == ()
    # LiteLLM fell back to another model for the newest one, and the gateway did not hear of it.
    turns = bodies.claude_code_turns(bodies.thinking(signature=SIGNED), bodies.thinking(signature=""))
    data, changes = edit("messages", bodies.claude_code(turns), CLAUDE, "anthropic", same=True)
    assert blocks(data) == ["thinking", "text", "tool_use", "text"]
    assert changes == ("thinking_blocks",)


# -- The wish to think

ENABLED = {"type": "enabled", "budget_tokens": 8_000}


@pytest.mark.parametrize(
    ("thought", "thinking", "model", "left"),
    [
        (bodies.thinking(signature=SIGNED), ENABLED, HAIKU, True),
        (bodies.thinking(signature=""), ENABLED, HAIKU, False),
        (bodies.thinking(signature=""), {"type": "adaptive"}, HAIKU, False),
        (bodies.thinking(signature=""), {"type": "adaptive"}, CLAUDE, True),
        (bodies.thinking(signature=""), ENABLED, CLAUDE, False),
        (bodies.thinking(signature=""), ENABLED, GPT, True),
        (bodies.thinking(signature=""), ENABLED, LOCAL, False),
    ],
)  # fmt: skip
def test_an_open_tool_loop_goes_on_thinking_only_from_a_thought_of_its_own(
    thought: dict[str, Any], thinking: dict[str, Any], model: Model, left: bool
) -> None:
    body = bodies.claude_code(bodies.claude_code_loop(thought), thinking=thinking, context_management=EDITS)
    data, changes = edit("messages", body, model)
    assert ("thinking" in data) == left
    assert ("effort" in data.get("output_config", {})) == left
    if not left:
        assert {"thinking", "context_edits"} <= set(changes)
        assert data["context_management"] == {"edits": [{"type": "clear_tool_uses_20250919"}]}


def test_a_later_step_of_a_loop_needs_no_thought_of_its_own() -> None:
    turns = bodies.claude_code_loop(bodies.thinking(signature=SIGNED))
    call = {"type": "tool_use", "id": "toolu_02", "name": "Read", "input": {}}
    turns.append({"role": "assistant", "content": [call]})
    turns.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_02", "content": "x"}]})
    data, changes = edit("messages", bodies.claude_code(turns, thinking=ENABLED), HAIKU, "anthropic", same=True)
    assert data["thinking"] == ENABLED
    assert changes == ()


def test_a_model_without_adaptive_thinking_gets_no_edits_of_thoughts() -> None:
    """LiteLLM may leave the thinking out; Anthropic then refuses the edits."""
    data, changes = edit("messages", bodies.claude_code(bodies.claude_code_turns()), HAIKU)
    assert changes == ("context_edits",)
    assert "context_management" not in data
    assert data["thinking"] == {"type": "adaptive"}  # LiteLLM makes a budget of it


@pytest.mark.parametrize(
    ("max_tokens", "budget", "left"),
    [(32_000, 31_999, 31_999), (32_000, 40_000, 31_999), (1_024, 31_999, None), (1_025, 31_999, 1_024)],
)
def test_a_budget_stays_below_the_limit_of_the_answer(max_tokens: int, budget: int, left: int | None) -> None:
    thinking = {"type": "enabled", "budget_tokens": budget}
    body = bodies.claude_code(bodies.claude_code_turns(), max_tokens=max_tokens, thinking=thinking)
    data, changes = edit("messages", body, CLAUDE)
    assert data.get("thinking", {}).get("budget_tokens") == left
    expected = "thinking" if left is None else "thinking_budget"
    assert (expected in changes) == (left != budget)


@pytest.mark.parametrize(
    ("of_answer", "options", "model", "left"),
    [
        ({}, {}, HAIKU, False),
        ({"thinking_blocks": [bodies.thinking(signature=SIGNED)]}, {}, HAIKU, True),
        ({"thinking_blocks": [bodies.thinking(signature="")]}, {}, HAIKU, False),
        ({"content": [bodies.thinking(signature=SIGNED), {"type": "text", "text": "x"}]}, {}, HAIKU, True),
        ({}, {}, CLAUDE, True),
        ({}, {}, GPT, True),
        ({}, {}, GPT_4O, False),
    ],
)  # fmt: skip
def test_an_open_tool_loop_of_chat(
    of_answer: dict[str, Any], options: dict[str, Any], model: Model, left: bool
) -> None:
    body = bodies.opencode([*bodies.chat_turns()[:2], {**bodies.chat_loop()[2], **of_answer}, bodies.chat_loop()[3]])
    data, changes = edit("chat", {**body, **options}, model)
    assert ("reasoning_effort" in data) == left
    assert ("thinking" in changes) != left


@pytest.mark.parametrize(("max_tokens", "effort", "left"), [(2_000, "high", False), (5_000, "high", True)])
def test_an_answer_too_short_for_its_thoughts(max_tokens: int, effort: str, left: bool) -> None:
    data, _ = edit("chat", bodies.opencode(max_tokens=max_tokens, reasoning_effort=effort), HAIKU)
    assert ("reasoning_effort" in data) == left
    body = bodies.codex(max_output_tokens=max_tokens, reasoning={"effort": effort})
    data, _ = edit("responses", body, HAIKU)
    assert ("reasoning" in data) == left


@pytest.mark.parametrize(
    ("encrypted", "model", "left"),
    [("gAAAAABo", HAIKU, False), (None, HAIKU, False), (BY_CLAUDE, HAIKU, True), (None, CLAUDE, True)],
)
def test_an_open_tool_loop_of_responses(encrypted: str | None, model: Model, left: bool) -> None:
    data, changes = edit("responses", bodies.codex(bodies.codex_loop(bodies.reasoning(encrypted))), model)
    assert ("reasoning" in data) == left
    assert ("thinking" in changes) != left


# -- Reasoning items


@pytest.mark.parametrize(
    ("encrypted", "store", "model", "left"),
    [
        ("gAAAAABo", False, GPT, True),
        (BY_CLAUDE, False, GPT, False),
        (None, False, GPT, False),
        (None, True, GPT, True),
        ("gAAAAABo", False, GPT_4O, False),
        ("gAAAAABo", False, THINKING_LOCAL, False),
        (None, False, THINKING_LOCAL, True),
        ("gAAAAABo", False, LOCAL, False),
        ("gAAAAABo", False, CLAUDE, True),  # LiteLLM leaves it out itself
    ],
)  # fmt: skip
def test_reasoning_stays_with_a_model_that_can_read_it(
    encrypted: str | None, store: bool, model: Model, left: bool
) -> None:
    item = bodies.reasoning(encrypted)
    data, changes = edit("responses", bodies.codex(bodies.codex_turns(item, item), store=store), model)
    assert (item in data["input"]) == left
    assert ("reasoning_items" in changes) != left
    if not left:
        assert data["input"] == bodies.codex_turns()


def test_call_ids_of_google_are_cut_to_what_openai_takes() -> None:
    items = [
        {"type": "message", "role": "user", "content": bodies.ASK},
        {
            "type": "function_call",
            "id": f"fc_{GOOGLE_ID}",
            "call_id": GOOGLE_ID,
            "name": "shell",
            "arguments": "{}",
            "provider_specific_fields": {"thought_signature": "E"},
        },
        {"type": "function_call_output", "call_id": GOOGLE_ID, "output": "x"},
    ]
    data, changes = edit("responses", bodies.codex(items), GPT, "google")
    assert changes == ("provider_fields", "call_ids")
    call = {"type": "function_call", "id": "fc_call_7d1", "call_id": "call_7d1", "name": "shell", "arguments": "{}"}
    assert data["input"] == [items[0], call, {"type": "function_call_output", "call_id": "call_7d1", "output": "x"}]


# -- The table of the rest


@pytest.mark.parametrize(
    ("format", "body", "model", "changes", "gone"),
    [
        # Anthropic's own tools
        ("messages", bodies.claude_code(tools=[*bodies.claude_code_tools(), *bodies.SERVER_TOOLS]), LOCAL,
         ("thinking_blocks", "thinking", "context_edits", "server_tools"),
         ("thinking", "output_config", "context_management")),
        ("messages", {**bodies.claude_code_title(), "tools": bodies.SERVER_TOOLS, "tool_choice": FORCED}, LOCAL,
         ("server_tools", "tool_choice"), ("tools", "tool_choice")),
        ("messages", {**bodies.claude_code_title(), "mcp_servers": [{"name": "x"}], "container": "c"}, GEMINI,
         ("server_tools",), ("mcp_servers", "container")),
        ("messages", {**bodies.claude_code_title(), "mcp_servers": [{"name": "x"}], "container": "c"}, HAIKU, (), ()),
        # OpenAI's own tools
        ("responses", bodies.codex(tools=bodies.codex_tools()), GPT, (), ()),
        ("responses", bodies.codex(tools=bodies.codex_tools()), GEMINI, (), ()),
        ("responses", bodies.codex(tools=[{"type": "web_search"}], tool_choice="required"), OLD_CLAUDE,
         ("thinking", "encrypted_reasoning", "verbosity", "server_tools", "tool_choice", "parallel_tools"),
         ("reasoning", "include", "text", "tools", "tool_choice", "parallel_tool_calls")),
        ("responses", bodies.codex(tools=[{"type": "local_shell"}, *bodies.codex_tools()[:1]]), CLAUDE,
         ("server_tools",), ()),
        ("chat", bodies.openai_sdk(tools=[bodies.openai_tool(), {"type": "custom", "custom": {"name": "patch"}}]),
         GPT, (), ()),
        ("chat", bodies.opencode(tools=[bodies.openai_tool(), {"type": "custom", "custom": {"name": "patch"}}],
                                 tool_choice={"type": "custom", "custom": {"name": "patch"}}),
         CLAUDE, ("custom_tools", "tool_choice"), ("tool_choice",)),
        # Parameters
        ("chat", bodies.openai_sdk(), GPT, (), ()),
        ("chat", bodies.openai_sdk(), CLAUDE, ("service_tier",), ("service_tier",)),
        ("chat", bodies.openai_sdk(web_search_options={}), LOCAL, ("web_search", "service_tier"),
         ("web_search_options", "service_tier")),
        ("chat", bodies.openai_sdk(web_search_options={}), GPT, (), ()),
        ("chat", bodies.opencode(bodies.chat_turns(), parallel_tool_calls=True), LOCAL, ("thinking", "parallel_tools"),
         ("reasoning_effort", "parallel_tool_calls")),
        ("chat", bodies.opencode(bodies.chat_turns(), parallel_tool_calls=True), OLD_CLAUDE,
         ("thinking", "max_tokens"), ("reasoning_effort",)),
        ("responses", bodies.codex(), GPT_4O, ("thinking", "encrypted_reasoning", "verbosity"),
         ("reasoning", "include", "text")),
        ("generate_content", bodies.gemini_cli("E"), LOCAL, ("thinking",), ()),
        ("generate_content", bodies.gemini_cli("E"), GEMINI, (), ()),
        # Limits
        ("messages", {**bodies.claude_code_title(), "max_tokens": 64_001}, HAIKU, ("max_tokens",), ()),
        ("messages", {**bodies.claude_code_title(), "max_tokens": 64_000}, HAIKU, (), ()),
        ("chat", bodies.aider(max_tokens=70_000), HAIKU, ("max_tokens",), ()),
        ("chat", bodies.openai_sdk(), GPT_4O, ("max_tokens",), ()),
        ("responses", bodies.codex(max_output_tokens=200_000), GPT, ("max_tokens",), ()),
        ("completions", bodies.text_completion(), GPT_4O, ("max_tokens",), ()),
        ("completions", bodies.text_completion(), LOCAL, (), ()),
        ("generate_content", bodies.gemini_cli(generationConfig={"maxOutputTokens": 99_999}), GEMINI,
         ("max_tokens",), ()),
        # What LiteLLM, and clients that know Anthropic, put into chat
        ("chat", bodies.aider(), GPT, ("cache_marks",), ()),
        ("chat", bodies.aider(), CLAUDE, (), ()),
        ("chat", bodies.aider(), LOCAL, (), ()),  # LiteLLM takes them out itself
        ("chat", bodies.opencode(bodies.chat_turns(reasoning_content="x", provider_specific_fields={"refusal": None})),
         GPT, ("thinking_blocks", "provider_fields"), ()),
        ("chat", bodies.opencode(bodies.chat_turns(reasoning_content="x")), THINKING_LOCAL, (), ()),
    ],
)  # fmt: skip
def test_what_is_taken_out(
    format: str, body: dict[str, Any], model: Model, changes: tuple[str, ...], gone: tuple[str, ...]
) -> None:
    data, changed = edit(format, body, model)
    assert changed == changes
    assert {name for name in body if name not in data} == set(gone)


def test_limits_are_lowered_to_what_the_model_can_write() -> None:
    assert edit("chat", bodies.openai_sdk(), GPT_4O)[0]["max_completion_tokens"] == 16_384
    assert edit("responses", bodies.codex(max_output_tokens=200_000), GPT)[0]["max_output_tokens"] == 128_000
    config = edit("generate_content", bodies.gemini_cli(), GPT_4O)[0]["generationConfig"]
    assert config == {"maxOutputTokens": 16_384, "temperature": 0.2}


def test_google_s_configuration_goes_by_two_names() -> None:
    """LiteLLM's router calls it `config`: so it comes when a fallback is made ready."""
    body = {"config": {"maxOutputTokens": 99_999, "thinkingConfig": {}}, "contents": []}
    data, changes = edit("generate_content", body, GPT_4O)
    assert data["config"] == {"maxOutputTokens": 16_384}
    assert changes == ("thinking", "max_tokens")


def test_what_is_left_of_chat_for_openai() -> None:
    turns = bodies.chat_turns(reasoning_content="x", thinking_blocks=[bodies.thinking()], images=[])
    turns[2]["tool_calls"][0] |= {"provider_specific_fields": {"thought_signature": "E"}, "index": 2}
    turns[1]["content"] = [{"type": "text", "text": bodies.ASK, "cache_control": bodies.EPHEMERAL}]
    data, changes = edit("chat", bodies.opencode(turns), GPT)
    plain = bodies.chat_turns()
    plain[1]["content"] = [{"type": "text", "text": bodies.ASK}]
    assert data["messages"] == plain
    assert changes == ("thinking_blocks", "cache_marks", "provider_fields")


def test_a_client_that_says_what_may_be_dropped_is_believed() -> None:
    data = {**bodies.aider(), "drop_params": False}
    assert translate(data, "chat", CLAUDE, families=(), same_model=False) == ()
    assert data["drop_params"] is False


def test_what_litellm_marks_things_by() -> None:
    """Its own words, which a new version may change."""
    assert parts.OPENAI_REASONING == ENCRYPTED_REASONING_SIGNATURE_PREFIX
    assert parts.GOOGLE_SIGNATURE == THOUGHT_SIGNATURE_SEPARATOR
    block = {"type": "thinking", "thinking": "Look.", "signature": SIGNED}
    assert str(encode_thinking_blocks([block])).startswith(parts.ANTHROPIC_REASONING)
    known = {effort: getattr(litellm.constants, f"DEFAULT_REASONING_EFFORT_{effort.upper()}_THINKING_BUDGET")
             for effort in parts.EFFORT_TOKENS}  # fmt: skip
    assert {effort: max(tokens, 1024) for effort, tokens in known.items()} == parts.EFFORT_TOKENS


# -- Beta headers

LONG = "context-1m-2025-08-07"


@pytest.mark.parametrize(
    ("given", "model", "left"),
    [
        (f"{bodies.CLAUDE_CODE_BETAS},{LONG}", HAIKU, bodies.CLAUDE_CODE_BETAS),
        (LONG, HAIKU, None),
        (f"{bodies.CLAUDE_CODE_BETAS},{LONG}", CLAUDE, f"{bodies.CLAUDE_CODE_BETAS},{LONG}"),
        (bodies.CLAUDE_CODE_BETAS, HAIKU, bodies.CLAUDE_CODE_BETAS),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_list", [False, True])
def test_a_long_context_is_asked_of_models_that_have_one(
    given: str, model: Model, left: str | None, is_list: bool
) -> None:
    scope = {"custom_llm_provider": "anthropic", "extra_headers": {"anthropic-version": "1", "anthropic-beta": given}}
    other = {"custom_llm_provider": "anthropic", "extra_headers": {"authorization": "Bearer x"}}
    header = [scope, other] if is_list else scope
    data, changes = edit("messages", {**bodies.claude_code_title(), "provider_specific_header": header}, model)
    edited = data["provider_specific_header"]
    headers = (edited[0] if is_list else edited)["extra_headers"]
    assert headers.get("anthropic-beta") == left
    assert headers["anthropic-version"] == "1"
    assert changes == (("beta",) if left != given else ())
