"""Request bodies in the shapes that real clients send, with words of our own.

Each function builds a new body at every call: nothing is shared, so a test may compare it with an untouched twin. The
model name is `auto`. What a provider has bound to itself (signatures, encrypted reasoning, ids) is given by the test.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Json: TypeAlias = "dict[str, Any]"

CLAUDE_CODE_BETAS = (
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,effort-2025-11-24"
)
"""An `anthropic-beta` header as Claude Code sends it."""
CLAUDE_CODE_HEADERS = {
    "user-agent": "claude-cli/2.1.4 (external, cli)",
    "x-app": "cli",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": CLAUDE_CODE_BETAS,
}
CODEX_HEADERS = {"user-agent": "codex_cli_rs/0.61.0 (Linux 6.1; x86_64)", "originator": "codex_cli_rs"}

EPHEMERAL = {"type": "ephemeral"}
SESSION = "7c0f6a52-55a8-4ae5-8b8e-7f3f0f6f1b11"
ASK = "The totals of the March invoice are off by one cent. Find out why and mend it."
FOUND = "Each line is rounded before the sum. I shall look at the helper first."
NEXT = "Good. Now write a test that would have caught it."
LISTING = "1  def total(lines):\n2      return sum(round(line.price * line.count, 2) for line in lines)\n"

_READ_SCHEMA = {
    "type": "object",
    "properties": {"file_path": {"type": "string", "description": "Absolute path of a file"}},
    "required": ["file_path"],
    "additionalProperties": False,
}
_SHELL_SCHEMA = {
    "type": "object",
    "properties": {"command": {"type": "array", "items": {"type": "string"}}, "workdir": {"type": "string"}},
    "required": ["command"],
}


# -- Anthropic messages


def thinking(text: str = "Rounding happens per line.", signature: str | None = "") -> Json:
    """A thinking block; signature None: none at all, as some hosts answer."""
    block: Json = {"type": "thinking", "thinking": text}
    return block if signature is None else {**block, "signature": signature}


def redacted(data: str) -> Json:
    """A block of thinking that its provider has encrypted."""
    return {"type": "redacted_thinking", "data": data}


def claude_code_turns(*thoughts: Json) -> list[Json]:
    """Ask, a thought with a tool call, its result, a thought with an answer, the next ask. `thoughts` are the thinking
    blocks of the two assistant messages; fewer than two: the later ones think nothing."""
    first, second = (list(thoughts[:1]), list(thoughts[1:2]))
    return [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>\nThe working tree is clean.\n</system-reminder>"},
                {"type": "text", "text": ASK},
            ],
        },
        {
            "role": "assistant",
            "content": [
                *first,
                {"type": "text", "text": FOUND},
                {
                    "type": "tool_use",
                    "id": "toolu_01A",
                    "name": "Read",
                    "input": {"file_path": "/srv/billing/total.py"},
                },
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01A", "content": LISTING}]},
        {"role": "assistant", "content": [*second, {"type": "text", "text": "Mended: the sum is rounded once."}]},
        {"role": "user", "content": [{"type": "text", "text": NEXT, "cache_control": EPHEMERAL}]},
    ]


def claude_code_loop(*thoughts: Json) -> list[Json]:
    """The same conversation while its first tool call is being answered: the newest message is a tool result."""
    turns = claude_code_turns(*thoughts)[:3]
    turns[-1]["content"][0]["cache_control"] = EPHEMERAL
    return turns


def claude_code(messages: list[Json] | None = None, **options: Any) -> Json:
    """A request of Claude Code: system blocks with cache marks, client tools, adaptive thinking with an effort."""
    body: Json = {
        "model": "auto",
        "max_tokens": 32_000,
        "stream": True,
        "system": [
            {"type": "text", "text": "You are a coding agent that works in a terminal.", "cache_control": EPHEMERAL},
            {"type": "text", "text": "Work in small steps. Run the tests.", "cache_control": EPHEMERAL},
        ],
        "messages": claude_code_turns(thinking()) if messages is None else messages,
        "tools": claude_code_tools(),
        "metadata": {"user_id": json.dumps({"device_id": "d1", "account_uuid": "", "session_id": SESSION})},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    }
    return {**body, **options}


def claude_code_tools() -> list[Json]:
    """Tools that the client runs, with the marks only Anthropic knows."""
    return [
        {
            "name": "Read",
            "description": "Reads a file.",
            "input_schema": _READ_SCHEMA,
            "eager_input_streaming": True,
        },
        {
            "name": "Bash",
            "description": "Runs a command.",
            "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
            "cache_control": EPHEMERAL,
        },
    ]


SERVER_TOOLS: list[Json] = [
    {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
    {"type": "code_execution_20250825", "name": "code_execution"},
]
"""Tools that Anthropic runs itself."""


def claude_code_searched() -> list[Json]:
    """A conversation in which Anthropic has searched the web."""
    page = {"type": "web_search_result", "title": "Rounding", "url": "https://example.org/r", "page_age": None}
    return [
        {"role": "user", "content": ASK},
        {
            "role": "assistant",
            "content": [
                {
                    "type": "server_tool_use",
                    "id": "srvtoolu_1",
                    "name": "web_search",
                    "input": {"query": "cent rounding"},
                },
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": "srvtoolu_1",
                    "content": [{**page, "encrypted_content": "EqgfCioIARgB"}],
                },
                {"type": "text", "text": FOUND},
            ],
        },
        {"role": "user", "content": NEXT},
    ]


def claude_code_title() -> Json:
    """A side request of Claude Code: a short answer in a given shape, no tools."""
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
        "additionalProperties": False,
    }
    return {
        "model": "auto",
        "max_tokens": 32_000,
        "stream": True,
        "temperature": 1,
        "system": [{"type": "text", "text": "Name this conversation in at most six words."}],
        "messages": [{"role": "user", "content": ASK}],
        "tools": [],
        "metadata": {"user_id": f"user_ab12_account__session_{SESSION}"},
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }


# -- OpenAI chat completions


def openai_tool(name: str = "read_file") -> Json:
    """A function tool as the OpenAI SDK sends it."""
    return {
        "type": "function",
        "function": {"name": name, "description": "Reads a file.", "parameters": _READ_SCHEMA, "strict": False},
    }


def chat_turns(**of_assistant: Any) -> list[Json]:
    """Ask, tool call, result, answer, next ask; `of_assistant` is put into both assistant messages, as clients do that
    send back all they were given."""
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "read_file", "arguments": '{"file_path": "/srv/billing/total.py"}'},
    }
    return [
        {"role": "system", "content": "You are a coding agent that works in a terminal."},
        {"role": "user", "content": ASK},
        {"role": "assistant", "content": FOUND, "tool_calls": [call], **of_assistant},
        {"role": "tool", "tool_call_id": "call_1", "content": LISTING},
        {"role": "assistant", "content": "Mended: the sum is rounded once.", **of_assistant},
        {"role": "user", "content": NEXT},
    ]


def chat_loop(**of_assistant: Any) -> list[Json]:
    """The same while its tool call is being answered."""
    return chat_turns(**of_assistant)[:4]


def opencode(messages: list[Json] | None = None, **options: Any) -> Json:
    """A request of opencode to an OpenAI-compatible endpoint."""
    body: Json = {
        "model": "auto",
        "max_tokens": 32_000,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": chat_turns(reasoning_content="Rounding happens per line.") if messages is None else messages,
        "tools": [openai_tool()],
        "tool_choice": "auto",
        "prompt_cache_key": f"ses_{SESSION}",
        "reasoning_effort": "medium",
        "verbosity": "low",
    }
    return {**body, **options}


def openai_sdk(**options: Any) -> Json:
    """A request of the OpenAI SDK that uses what only OpenAI knows."""
    body: Json = {
        "model": "auto",
        "max_completion_tokens": 20_000,
        "messages": [{"role": "developer", "content": "Answer briefly."}, {"role": "user", "content": ASK}],
        "store": True,
        "metadata": {"job": "nightly"},
        "service_tier": "auto",
        "safety_identifier": "u-7",
        "prompt_cache_key": "nightly",
        "prompt_cache_retention": "24h",
        "prediction": {"type": "content", "content": LISTING},
        "seed": 7,
        "logit_bias": {"50256": -100},
        "user": "u-7",
    }
    return {**body, **options}


def aider(**options: Any) -> Json:
    """A request of aider, which marks what Anthropic should cache."""

    def marked(text: str) -> list[Json]:
        return [{"type": "text", "text": text, "cache_control": EPHEMERAL}]

    body: Json = {
        "model": "auto",
        "temperature": 0,
        "stream": True,
        "messages": [
            {"role": "system", "content": marked("Act as an expert programmer. Answer with edit blocks.")},
            {"role": "user", "content": "These are the read-only files."},
            {"role": "assistant", "content": "Ok."},
            {"role": "user", "content": marked(f"total.py\n```\n{LISTING}```")},
            {"role": "assistant", "content": "Ok."},
            {"role": "user", "content": marked(ASK)},
        ],
    }
    return {**body, **options}


# -- OpenAI responses


def reasoning(encrypted: str | None, number: int = 1) -> Json:
    """A reasoning item as Codex sends it back."""
    item: Json = {
        "type": "reasoning",
        "id": f"rs_{number}",
        "summary": [{"type": "summary_text", "text": "**Looking at the sum**"}],
        "content": None,
    }
    return {**item, "encrypted_content": encrypted}


def codex_turns(*reasonings: Json) -> list[Json]:
    """Ask, reasoning, a function call and a patch, their results, an answer, the next ask."""
    first, second = (list(reasonings[:1]), list(reasonings[1:2]))
    patch = "*** Begin Patch\n*** Update File: total.py\n@@\n-  return 1\n+  return 2\n*** End Patch"
    return [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandbox: read only."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": ASK}]},
        *first,
        {
            "type": "function_call",
            "name": "shell",
            "arguments": '{"command": ["cat", "total.py"]}',
            "call_id": "call_1",
        },
        {"type": "function_call_output", "call_id": "call_1", "output": LISTING},
        *second,
        {"type": "custom_tool_call", "name": "apply_patch", "input": patch, "call_id": "call_2", "status": "completed"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Done."},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Mended."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": NEXT}]},
    ]


def codex_loop(*reasonings: Json) -> list[Json]:
    """The same while the function call is being answered."""
    turns = codex_turns(*reasonings[:1])
    end = next(index for index, item in enumerate(turns) if item["type"] == "function_call_output")
    return turns[: end + 1]


def codex_tools() -> list[Json]:
    """A function, a tool whose input is free text, and one that OpenAI runs itself."""
    return [
        {"type": "function", "name": "shell", "description": "Runs.", "strict": False, "parameters": _SHELL_SCHEMA},
        {
            "type": "custom",
            "name": "apply_patch",
            "description": "Edits files.",
            "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch" /.+/s'},
        },
        {"type": "web_search", "external_web_access": False},
    ]


def codex(items: list[Json] | None = None, **options: Any) -> Json:
    """A request of Codex."""
    body: Json = {
        "model": "auto",
        "instructions": "You are a coding agent that works in a terminal.",
        "input": codex_turns() if items is None else items,
        "tools": codex_tools()[:2],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": SESSION,
        "text": {"verbosity": "medium"},
    }
    return {**body, **options}


# -- Google generateContent


def gemini_cli(signature: str | None = None, **options: Any) -> Json:
    """A request of a Gemini client whose model has called a function."""
    call: Json = {"functionCall": {"name": "read_file", "args": {"file_path": "/srv/billing/total.py"}}}
    signed = call if signature is None else {**call, "thoughtSignature": signature}
    answer = {"functionResponse": {"name": "read_file", "response": {"output": LISTING}}}
    declaration = {"name": "read_file", "description": "Reads a file.", "parametersJsonSchema": _READ_SCHEMA}
    body: Json = {
        "model": "auto",
        "systemInstruction": {"role": "user", "parts": [{"text": "You are a coding agent."}]},
        "contents": [
            {"role": "user", "parts": [{"text": ASK}]},
            {"role": "model", "parts": [{"text": "Look first.", "thought": True}, signed]},
            {"role": "user", "parts": [answer]},
            {"role": "model", "parts": [{"text": "Mended."}]},
            {"role": "user", "parts": [{"text": NEXT}]},
        ],
        "tools": [{"functionDeclarations": [declaration]}],
        "generationConfig": {
            "maxOutputTokens": 30_000,
            "temperature": 0.2,
            "thinkingConfig": {"includeThoughts": True},
        },
    }
    return {**body, **options}


def text_completion(**options: Any) -> Json:
    """A request of the old completions API."""
    return {"model": "auto", "prompt": ASK, "max_tokens": 30_000, **options}
