"""Request body of any of five formats -> parts (role, kind, text) and tools.

Reads what is there and ignores what it does not know: a wrong type anywhere is as good as absent, never an error. Work
is linear in the size of the body and recursion is bounded by `MAX_DEPTH`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ..harness import HARNESS_TAGS
from .bound import Bonds, is_provider_block, is_signed, is_signed_call, is_signed_message, is_signed_part, refers
from .chars import WHITE, byte_length, clean, quote
from .values import dicts, is_int, items, list_of, text_of, weigh

FORMATS = ("chat", "messages", "responses", "completions", "generate_content")
MAX_DEPTH = 8
"""Nesting of content blocks (a tool result holding blocks, and so on); what lies deeper is ignored."""

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
# Tools that Google runs.
_GOOGLE_TOOLS = (
    "codeExecution", "code_execution", "computerUse", "computer_use", "enterpriseWebSearch", "enterprise_web_search",
    "googleMaps", "google_maps", "googleSearch", "google_search", "googleSearchRetrieval", "google_search_retrieval",
    "urlContext", "url_context",
)  # fmt: skip
# Types of tools that the client defines, and that every model with tools can call. LiteLLM makes functions of the
# custom tools and the namespaces of Responses, and turns the calls back, where a model knows functions only. It does
# not so for the custom tools of chat completions.
_CLIENT_TOOLS = {
    "chat": ("function",),
    "messages": ("function", "custom"),
    "responses": ("function", "custom", "namespace"),
    "completions": ("function",),
}

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
    """All that scoring needs of a body. `results`: (message, is_error) per tool result. `web_search`: whether a tool is
    a search of the web, which LiteLLM can have other providers do as well. `server_tools`: whether one is a tool that
    only the provider offers. Sizes in bytes of UTF-8."""

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
    web_search: bool = False
    server_tools: bool = False
    bonds: Bonds = field(default_factory=Bonds)

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
        name = text_of(block, "type")
        if name in _TEXT or (not name and isinstance(block.get("text"), str)):
            if not name and is_signed_part(block):
                self.bonds.thought_in(message)
            self.text(role, "thinking" if block.get("thought") is True else kind, block.get("text"), message)
        elif name == "thinking":
            if is_signed(block):
                self.bonds.thought_in(message)
            self.text(role, "thinking", block.get("thinking"), message)
        elif name == "redacted_thinking":
            self.bonds.thought_in(message)
        elif name in _IMAGE:
            self.images += 1
            self.bonds.file(block)
        elif name in _AUDIO:
            self.audios += 1
        elif name in _FILE:
            self.files += 1
            self.bonds.file(block)
        elif name in _TOOL_USE:
            self.bonds.server_state |= name != "tool_use"
            self.call_bytes += weigh(block.get("input"))
        elif name.endswith("tool_result"):
            self.bonds.server_state |= name != "tool_result"
            self.results.append((message, block.get("is_error") is True))
            self.content("tool", "tool_result", block.get("content"), message, depth + 1)
        elif not name:
            self._gemini_part(block, message)
        else:
            self.bonds.server_state |= is_provider_block(name)

    def _gemini_part(self, block: dict[Any, Any], message: int) -> None:
        for key in ("inlineData", "inline_data", "fileData", "file_data"):
            if isinstance(data := block.get(key), dict):
                mime = text_of(data, "mimeType") or text_of(data, "mime_type")
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
        if is_signed_part(block):
            self.bonds.thought_in(message)
        self.bonds.google_part(block)

    def call(self, arguments: Any, message: int) -> None:
        """Arguments of a tool call: JSON text, or the value itself."""
        if isinstance(arguments, str):
            self.text("assistant", "tool_call", arguments, message)
        elif arguments is not None:
            self.call_bytes += weigh(arguments)

    def chat_call(self, call: dict[Any, Any], message: int) -> None:
        if isinstance(function := call.get("function"), dict):
            self.call(function.get("arguments"), message)
        elif isinstance(custom := call.get("custom"), dict):
            self.call(custom.get("input"), message)
        if is_signed_call(call):
            self.bonds.thought_in(message)


def extract(body: Any, format: str) -> Extract:
    """Read `body`, a request of `format` (one of `FORMATS`). Raises ValueError for another format."""
    if format not in FORMATS:
        raise ValueError(f"unknown request format {quote(format)}; known: {', '.join(FORMATS)}")
    found = Extract()
    if not isinstance(body, dict):
        return found
    found.cache_marks = isinstance(body.get("cache_control"), dict)
    found.bonds.server_state = refers(body, format)
    _READERS[format](found, body)
    _read_tools(found, body, format)
    return found


def _read_chat(found: Extract, body: dict[Any, Any]) -> None:
    """OpenAI chat completions, and Anthropic messages, whose `system` stands outside the conversation."""
    found.content("system", "text", body.get("system"), -1)
    for index, message in items(body.get("messages")):
        found.messages = index + 1
        role = _role(message)
        if role == "tool":
            found.results.append((index, False))
        found.content(role, "tool_result" if role == "tool" else "text", message.get("content"), index)
        found.text(role, "thinking", message.get("reasoning_content"), index)
        if is_signed_message(message):
            found.bonds.thought_in(index)
        for call in dicts(message.get("tool_calls")):
            found.chat_call(call, index)
        if isinstance(function := message.get("function_call"), dict):
            found.call(function.get("arguments"), index)


def _read_responses(found: Extract, body: dict[Any, Any]) -> None:
    found.content("system", "text", body.get("instructions"), -1)
    if isinstance(body.get("input"), str):
        found.messages = 1
        found.text("user", "text", body["input"], 0)
        return
    for index, item in items(body.get("input")):
        found.messages = index + 1
        name = text_of(item, "type")
        if name in ("", "message"):
            found.bonds.server_state |= "content" not in item and bool(text_of(item, "id"))  # a reference
            found.content(_role(item), "text", item.get("content"), index)
        elif name in _CALL_ITEMS:
            found.bonds.server_state |= name == "mcp_call"
            for key in ("arguments", "input", "action"):
                found.call(item.get(key), index)
        elif name.endswith("_output"):
            found.results.append((index, False))
            found.content("tool", "tool_result", item.get("output"), index)
        elif name == "reasoning":
            if text_of(item, "encrypted_content"):
                found.bonds.thought_in(index)
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
            found.token_ids += sum(is_int(token) for token in item)
        found.token_ids += is_int(item)


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


def _read_tools(found: Extract, body: dict[Any, Any], format: str) -> None:
    for key in ("tools", "functions"):
        for tool in dicts(body.get(key)):
            _read_tool(found, tool, format)
            found.tool_bytes += weigh(tool)
            if isinstance(tool.get("cache_control"), dict):
                found.cache_marks = True
    if format == "messages" and list_of(body, "mcp_servers"):
        found.server_tools = True


def _read_tool(found: Extract, tool: dict[Any, Any], format: str) -> None:
    name = text_of(tool, "type")
    if format == "generate_content":
        # Declarations of functions, each of which is a tool, or tools of its own.
        lists = [tool[key] for key in ("functionDeclarations", "function_declarations") if key in tool]
        found.server_tools |= len(tool) > len(lists)
        found.tools += len(lists[0]) if lists and isinstance(lists[0], (list, tuple)) else 1
    else:
        found.tools += 1
        if name.startswith("web_search") and format in ("messages", "responses"):
            found.web_search = True
            return
        found.server_tools |= bool(name) and name not in _CLIENT_TOOLS[format]
        if format == "chat" and not name and len(tool) == 1:  # so LiteLLM takes a tool of Google's
            found.server_tools |= any(key in tool for key in _GOOGLE_TOOLS)


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


def _role(message: dict[Any, Any]) -> str:
    role = message.get("role", "user")
    return _ROLES.get(role, "other") if isinstance(role, str) else "other"
