"""Request body of any of five formats -> parts (role, kind, text), tools, needs.

Reads what is there and ignores what it does not know: a wrong type anywhere is as good as absent, never an error. Work
is linear in the size of the body and recursion is bounded by `MAX_DEPTH`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .chars import WHITE, byte_length, clean, quote

FORMATS = ("chat", "messages", "responses", "completions", "generate_content")
MAX_DEPTH = 8
"""Nesting of content blocks (a tool result holding blocks, and so on); what lies deeper is ignored."""
MAX_OUTPUT_TOKENS = 1_000_000_000

_ROLES = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "model": "assistant",
    "tool": "tool", "function": "tool",
}  # fmt: skip
_TEXT = ("text", "input_text", "output_text", "summary_text")
_IMAGE = ("image", "image_url", "input_image")
_AUDIO = ("audio", "input_audio")
_FILE = ("file", "input_file", "document")
_TOOL_USE = ("tool_use", "server_tool_use", "mcp_tool_use")
_CALL_ITEMS = ("function_call", "custom_tool_call", "mcp_call", "local_shell_call")

# Blocks that an agent harness puts into user messages: not the user's ask. Tags whose content is the user's own
# (<command-args>, <context>, <attachments>, <task>) are not here.
HARNESS_TAGS = frozenset(
    (
        "system-reminder", "system_reminder", "environment_context", "environment_details", "user_instructions",
        "INSTRUCTIONS", "permissions", "collaboration_mode", "skills_instructions", "ide_context", "ide_selection",
        "ide_opened_file", "ide_diagnostics", "open_files", "editorContext", "reminderInstructions", "reminder",
        "workspace_info", "local-command-stdout", "local-command-stderr", "local-command-caveat", "command-name",
        "command-message", "task-notification", "user-prompt-submit-hook", "turn_aborted",
    )
)  # fmt: skip
_TAG = re.compile(r"([A-Za-z0-9_-]{1,40})[\t\n\r >]")


@dataclass(frozen=True)
class Part:
    """One text: role system | user | assistant | tool | other, kind text | thinking | tool_call | tool_result, and the
    index of the message it stands in (-1: outside the conversation)."""

    role: str
    kind: str
    text: str
    message: int


@dataclass
class Extract:
    """All that scoring needs of a body. `results`: (message, is_error) per tool result. Sizes in bytes of UTF-8."""

    parts: list[Part] = field(default_factory=list)
    messages: int = 0
    results: list[tuple[int, bool]] = field(default_factory=list)
    tools: int = 0
    tool_bytes: int = 0
    call_bytes: int = 0
    token_ids: int = 0
    images: int = 0
    audios: int = 0
    files: int = 0
    cache_marks: bool = False

    def text(self, role: str, kind: str, value: Any, message: int) -> None:
        if isinstance(value, str) and value:
            self.parts.append(Part(role, kind, clean(value), message))

    def content(self, role: str, kind: str, value: Any, message: int, depth: int = 0) -> None:
        """A string, a block, or a list of either."""
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, dict):
                self.block(role, kind, item, message, depth)
            else:
                self.text(role, kind, item, message)

    def block(self, role: str, kind: str, block: dict[Any, Any], message: int, depth: int) -> None:
        """One content block of any provider's dialect."""
        if depth > MAX_DEPTH:
            return
        if isinstance(block.get("cache_control"), dict):
            self.cache_marks = True
        name = _string(block, "type")
        if name in _TEXT or (not name and isinstance(block.get("text"), str)):
            self.text(role, "thinking" if block.get("thought") is True else kind, block.get("text"), message)
        elif name == "thinking":
            self.text(role, "thinking", block.get("thinking"), message)
        elif name in _IMAGE:
            self.images += 1
        elif name in _AUDIO:
            self.audios += 1
        elif name in _FILE:
            self.files += 1
        elif name in _TOOL_USE:
            self.call_bytes += weigh(block.get("input"))
        elif name.endswith("tool_result"):
            self.results.append((message, block.get("is_error") is True))
            self.content("tool", "tool_result", block.get("content"), message, depth + 1)
        elif not name:
            self._gemini_part(block, message)

    def _gemini_part(self, block: dict[Any, Any], message: int) -> None:
        for key in ("inlineData", "inline_data", "fileData", "file_data"):
            if isinstance(data := block.get(key), dict):
                mime = _string(data, "mimeType") or _string(data, "mime_type")
                self.images += mime.startswith(("image/", "video/"))
                self.audios += mime.startswith("audio/")
                self.files += not mime.startswith(("image/", "video/", "audio/"))
        for key in ("functionCall", "function_call"):
            if isinstance(call := block.get(key), dict):
                self.call_bytes += weigh(call.get("args"))
        for key in ("functionResponse", "function_response"):
            if isinstance(response := block.get(key), dict):
                self.results.append((message, False))
                self.call_bytes += weigh(response.get("response"))

    def call(self, arguments: Any, message: int) -> None:
        """Arguments of a tool call: JSON text, or the value itself."""
        if isinstance(arguments, str):
            self.text("assistant", "tool_call", arguments, message)
        elif arguments is not None:
            self.call_bytes += weigh(arguments)


def extract(body: Any, format: str) -> Extract:
    """Read `body`, a request of `format` (one of `FORMATS`). Raises ValueError for another format."""
    if format not in FORMATS:
        raise ValueError(f"unknown request format {quote(format)}; known: {', '.join(FORMATS)}")
    found = Extract()
    if not isinstance(body, dict):
        return found
    found.cache_marks = isinstance(body.get("cache_control"), dict)
    _READERS[format](found, body)
    _read_tools(found, body)
    return found


def _read_chat(found: Extract, body: dict[Any, Any]) -> None:
    """OpenAI chat completions, and Anthropic messages, whose `system` stands outside the conversation."""
    found.content("system", "text", body.get("system"), -1)
    for index, message in _items(body.get("messages")):
        found.messages = index + 1
        role = _role(message)
        if role == "tool":
            found.results.append((index, False))
        found.content(role, "tool_result" if role == "tool" else "text", message.get("content"), index)
        found.text(role, "thinking", message.get("reasoning_content"), index)
        for call in _dicts(message.get("tool_calls")):
            for key, inner in (("function", "arguments"), ("custom", "input")):
                if isinstance(function := call.get(key), dict):
                    found.call(function.get(inner), index)
        if isinstance(function := message.get("function_call"), dict):
            found.call(function.get("arguments"), index)


def _read_responses(found: Extract, body: dict[Any, Any]) -> None:
    found.content("system", "text", body.get("instructions"), -1)
    if isinstance(body.get("input"), str):
        found.messages = 1
        found.text("user", "text", body["input"], 0)
        return
    for index, item in _items(body.get("input")):
        found.messages = index + 1
        name = _string(item, "type")
        if name in ("", "message"):
            found.content(_role(item), "text", item.get("content"), index)
        elif name in _CALL_ITEMS:
            for key in ("arguments", "input", "action"):
                found.call(item.get(key), index)
        elif name.endswith("_output"):
            found.results.append((index, False))
            found.content("tool", "tool_result", item.get("output"), index)
        elif name == "reasoning":
            found.content("assistant", "thinking", item.get("summary"), index)
        else:
            found.block("user", "text", item, index, 0)


def _read_completions(found: Extract, body: dict[Any, Any]) -> None:
    """A prompt is a string, a list of strings, token ids, or a list of lists of token ids."""
    found.messages = 1
    prompt = body.get("prompt")
    found.content("user", "text", prompt, 0)
    for item in prompt if isinstance(prompt, (list, tuple)) else ():
        if isinstance(item, (list, tuple)):
            found.token_ids += sum(_is_int(token) for token in item)
        found.token_ids += _is_int(item)


def _read_generate_content(found: Extract, body: dict[Any, Any]) -> None:
    for key in ("systemInstruction", "system_instruction"):
        system = body.get(key)
        found.content("system", "text", system.get("parts") if isinstance(system, dict) else system, -1)
    contents = body.get("contents")
    for index, item in enumerate(contents if isinstance(contents, (list, tuple)) else (contents,)):
        found.messages = index + 1
        if isinstance(item, dict):
            found.content(_role(item), "text", item.get("parts"), index)
        else:
            found.text("user", "text", item, index)


_READERS = {
    "chat": _read_chat,
    "messages": _read_chat,
    "responses": _read_responses,
    "completions": _read_completions,
    "generate_content": _read_generate_content,
}


def _read_tools(found: Extract, body: dict[Any, Any]) -> None:
    for key in ("tools", "functions"):
        for tool in _dicts(body.get(key)):
            declarations = tool.get("functionDeclarations", tool.get("function_declarations"))
            found.tools += len(declarations) if isinstance(declarations, (list, tuple)) else 1
            found.tool_bytes += weigh(tool)
            if isinstance(tool.get("cache_control"), dict):
                found.cache_marks = True


def needs(body: Any, found: Extract) -> tuple[str, ...]:
    """What a model must be able to do for this body, in a fixed order."""
    body = body if isinstance(body, dict) else {}
    choice = body.get("tool_choice")
    choice = choice.get("type") if isinstance(choice, dict) else choice
    flags = {
        "vision": found.images > 0,
        "audio": found.audios > 0,
        "file": found.files > 0,
        "tools": found.tools > 0 and choice != "none",
        "parallel_tools": found.tools > 0 and body.get("parallel_tool_calls") is True,
        "json_schema": _wants_json(body),
        "reasoning": _wants_reasoning(body),
        "prompt_cache": found.cache_marks,
    }
    return tuple(name for name, wanted in flags.items() if wanted)


def max_output_tokens(body: Any) -> int | None:
    """The limit on output tokens that the client set, if it is a sane number."""
    body = body if isinstance(body, dict) else {}
    config = _dict(body, "generationConfig")
    for source, key in (
        (body, "max_completion_tokens"),
        (body, "max_output_tokens"),
        (body, "max_tokens"),
        (config, "maxOutputTokens"),
    ):
        value = source.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_OUTPUT_TOKENS:
            return int(value)  # an int subclass would leave the JSON types
    return None


def _wants_json(body: dict[Any, Any]) -> bool:
    formats = (
        _dict(body, "response_format"),
        _dict(_dict(body, "text"), "format"),
        _dict(body, "output_format"),
        _dict(_dict(body, "output_config"), "format"),
    )
    if any(_string(item, "type") in ("json_schema", "json_object") for item in formats):
        return True
    config = _dict(body, "generationConfig")
    if _string(config, "responseMimeType") == "application/json":
        return True
    return any(isinstance(config.get(key), dict) for key in ("responseSchema", "responseJsonSchema"))


def _wants_reasoning(body: dict[Any, Any]) -> bool:
    if _string(_dict(body, "thinking"), "type") in ("enabled", "adaptive"):
        return True
    effort = _string(body, "reasoning_effort") or _string(_dict(body, "reasoning"), "effort")
    if effort and effort != "none":
        return True
    return isinstance(_dict(body, "generationConfig").get("thinkingConfig"), dict)


def strip_harness(text: str) -> str:
    """`text` without its harness blocks: `<tag ...>` to the next `</tag>`. An opening tag that is never closed is text.

    Linear: once a tag is known to have no closing further on, it is not looked for again.
    """
    if "</" not in text:
        return text
    kept, start, at = [], 0, 0
    unclosed: set[str] = set()
    while (at := text.find("<", at)) >= 0:
        tag = _tag_at(text, at + 1)
        close = f"</{tag}>"
        end = text.find(close, at) if tag and tag not in unclosed else -1
        if end < 0:
            unclosed.add(tag)
            at += 1
            continue
        kept.append(text[start:at])
        start = at = end + len(close)
    return "".join(kept) + text[start:]


def _tag_at(text: str, at: int) -> str:
    """The harness tag whose name begins at `at` and is followed by `>` or white space, or an empty string."""
    found = _TAG.match(text, at)
    return found[1] if found and found[1] in HARNESS_TAGS else ""


@dataclass(frozen=True)
class Ask:
    """The user's newest real ask. `message` is -1 and `text` empty if there is none."""

    text: str
    message: int
    turns: int
    harness_bytes: int


def newest_ask(parts: list[Part]) -> Ask:
    """The last user message with text outside harness blocks; `turns` counts such messages."""
    asks: dict[int, list[str]] = {}
    harness_bytes = 0
    for part in parts:
        if part.role == "user" and part.kind == "text":
            own = strip_harness(part.text)
            harness_bytes += byte_length(part.text) - byte_length(own)
            if own := own.strip(WHITE):
                asks.setdefault(part.message, []).append(own)
    message = max(asks, default=-1)
    return Ask("\n".join(asks.get(message, ())), message, len(asks), harness_bytes)


def weigh(value: Any) -> int:
    """Approximate bytes of `value` as compact JSON: texts and keys in UTF-8 plus 2 and 4, containers 2 plus 1 an item
    of a list, anything else 4. Iterative, so that nesting cannot exhaust the stack."""
    total, stack = 0, [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            total += byte_length(item) + 2
        elif isinstance(item, dict):
            total += 2 + sum(byte_length(key) + 4 if isinstance(key, str) else 4 for key in item)
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            total += 2 + len(item)
            stack.extend(item)
        else:
            total += 4
    return total


def _items(value: Any) -> Iterator[tuple[int, dict[Any, Any]]]:
    """(index, dict) of a list; the index counts every element, so wrong ones keep the others' places."""
    for index, item in enumerate(value if isinstance(value, (list, tuple)) else ()):
        if isinstance(item, dict):
            yield index, item


def _dicts(value: Any) -> Iterator[dict[Any, Any]]:
    return (item for _, item in _items(value))


def _dict(body: dict[Any, Any], key: str) -> dict[Any, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _string(body: dict[Any, Any], key: str) -> str:
    value = body.get(key)
    return clean(value) if isinstance(value, str) else ""


def _role(message: dict[Any, Any]) -> str:
    role = message.get("role", "user")
    return _ROLES.get(role, "other") if isinstance(role, str) else "other"


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
