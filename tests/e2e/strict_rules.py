"""What providers refuse: the checks of their APIs that a body meant for somebody else runs into.

Sources: the API references of Anthropic (messages, extended thinking, beta headers), OpenAI (chat completions,
responses), Ollama (api/chat, whose JSON decoder and templates refuse) and Google (generateContent, thought signatures),
and the error messages that users of LiteLLM quote. Each check raises `Refusal` with the provider's words.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = "dict[str, Any]"


class Refusal(Exception):
    """What a provider answers instead: HTTP 400 with this message."""


@dataclass(frozen=True)
class Spec:
    """What a provider knows of one of its models."""

    max_output_tokens: int = 64_000
    thinking: frozenset[str] = frozenset(("enabled", "disabled"))
    """Forms of Anthropic's `thinking` that it takes; empty for a model that does not think."""
    effort: bool = False
    reasons: bool = True
    sampling: bool = True
    tools: bool = True
    lenient: bool = False
    """A local server, which overlooks fields that it does not know."""


@dataclass
class Issued:
    """What a provider has handed out and alone can read back."""

    signatures: set[str] = field(default_factory=set)
    responses: set[str] = field(default_factory=set)


def _overlook(where: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    pass


def _only(where: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in given:
        if name not in known:
            raise Refusal(f"{where}{name}: Extra inputs are not permitted")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# -- Anthropic

_MESSAGES = _words(
    "model messages max_tokens system stop_sequences stream temperature top_p top_k tools tool_choice thinking "
    "metadata service_tier container mcp_servers context_management output_config output_format cache_control speed"
)
_BLOCKS = {
    "text": _words("type text cache_control citations"),
    "image": _words("type source cache_control"),
    "document": _words("type source title context citations cache_control"),
    "thinking": _words("type thinking signature"),
    "redacted_thinking": _words("type data"),
    "tool_use": _words("type id name input cache_control caller"),
    "tool_result": _words("type tool_use_id content is_error cache_control"),
    "server_tool_use": _words("type id name input cache_control"),
    "web_search_tool_result": _words("type tool_use_id content cache_control"),
}
_TOOL = _words("name description input_schema cache_control type strict eager_input_streaming defer_loading")
_SERVER_TOOLS = ("web_search_", "code_execution_", "bash_", "text_editor_", "computer_", "web_fetch_", "memory_")
_BETAS = _words(
    "claude-code-20250219 interleaved-thinking-2025-05-14 context-management-2025-06-27 effort-2025-11-24 "
    "structured-outputs-2025-11-13 fine-grained-tool-streaming-2025-05-14 advanced-tool-use-2025-11-20"
)
_THINKS = ("thinking", "redacted_thinking")


def messages(body: Json, headers: Mapping[str, str], spec: Spec, issued: Issued) -> None:
    """POST /v1/messages."""
    betas = [beta.strip() for beta in headers.get("anthropic-beta", "").split(",") if beta.strip()]
    for beta in betas:
        if beta not in _BETAS:
            raise Refusal(f"Unexpected value(s) `{beta}` for the `anthropic-beta` header.")
    _only("", body, _MESSAGES)
    if body["max_tokens"] > spec.max_output_tokens:
        raise Refusal(f"max_tokens: {body['max_tokens']} > {spec.max_output_tokens}, which is the maximum allowed")
    _blocks(body, issued)
    if sum(1 for _ in _cache_marks(body)) > 4:
        raise Refusal("A maximum of 4 blocks with cache_control may be provided.")
    _thinking(body, spec)
    edits = (body.get("context_management") or {}).get("edits", ())
    if "context_management" in body and "context-management-2025-06-27" not in betas:
        raise Refusal("context_management: Extra inputs are not permitted")
    if any(edit["type"] == "clear_thinking_20251015" for edit in edits) and not _thinks(body):
        raise Refusal("`clear_thinking_20251015` strategy requires `thinking` to be enabled or adaptive")
    for index, tool in enumerate(body.get("tools") or ()):
        if tool.get("type", "custom") == "custom":
            _only(f"tools.{index}.custom.", tool, _TOOL)
        elif not tool["type"].startswith(_SERVER_TOOLS):
            raise Refusal(f"tools.{index}: Input tag '{tool['type']}' found using 'type' does not match any tag")
    _choice_names_a_tool(body.get("tool_choice"), body.get("tools"))


def _choice_names_a_tool(choice: Any, tools: Any) -> None:
    if choice and not tools:
        raise Refusal("tool_choice may only be specified while providing tools")
    if choice and choice.get("type") == "tool" and choice["name"] not in {tool["name"] for tool in tools}:
        raise Refusal(f"Tool '{choice['name']}' not found in provided tools")


def _blocks(body: Json, issued: Issued) -> None:
    open_calls: set[str] = set()
    for at, message in enumerate(body["messages"]):
        _only(f"messages.{at}.", message, _words("role content"))
        content = message["content"]
        if not content:
            raise Refusal(f"messages.{at}: all messages must have non-empty content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for number, block in enumerate(blocks):
            where = f"messages.{at}.content.{number}"
            if block["type"] not in _BLOCKS:
                raise Refusal(f"{where}: Input tag '{block['type']}' found using 'type' does not match any tag")
            _only(f"{where}.{block['type']}.", block, _BLOCKS[block["type"]])
            if block["type"] == "text" and not block["text"].strip():
                raise Refusal(f"{where}: text content blocks must be non-empty")
            if block["type"] == "thinking":
                if not isinstance(block.get("signature"), str):
                    raise Refusal(f"{where}.thinking.signature: Field required")
                if block["signature"] not in issued.signatures:
                    raise Refusal(f"{where}: Invalid `signature` in `thinking` block")
            if block["type"] == "redacted_thinking" and block["data"] not in issued.signatures:
                raise Refusal(f"{where}: Invalid `data` in `redacted_thinking` block")
        answered = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if answered != open_calls:
            raise Refusal(f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after")
        open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}


def _cache_marks(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if "cache_control" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _cache_marks(item)


def _thinks(body: Json) -> bool:
    return (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")


def _thinking(body: Json, spec: Spec) -> None:
    thinking = body.get("thinking")
    if thinking is not None and thinking["type"] not in spec.thinking:
        raise Refusal(f"{thinking['type']} thinking is not supported on this model")
    if (body.get("output_config") or {}).get("effort") is not None and not spec.effort:
        raise Refusal("This model does not support the effort parameter.")
    if not spec.sampling and ("top_k" in body or body.get("temperature", 1) != 1 or body.get("top_p", 1) != 1):
        raise Refusal("`temperature` is deprecated for this model.")
    if not _thinks(body):
        return
    assert thinking is not None
    if thinking["type"] == "enabled" and not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
        raise Refusal("`max_tokens` must be greater than `thinking.budget_tokens`")
    if body.get("temperature", 1) != 1:
        raise Refusal("`temperature` may only be set to 1 when thinking is enabled")
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise Refusal("Thinking may not be enabled when tool_choice forces tool use.")
    if thinking["type"] == "adaptive":
        return  # which asks for no thinking block in an open tool loop
    history = body["messages"]
    asks = [at for at, one in enumerate(history) if one["role"] == "user" and not _has_result(one)]
    turn = [one for one in history[asks[-1] :] if one["role"] == "assistant"]
    first = turn[0]["content"] if turn else None
    kind = first[0]["type"] if isinstance(first, list) else "text"
    if turn and _has_result(history[-1]) and kind not in _THINKS:
        raise Refusal(
            f"messages.{asks[-1] + 1}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kind}`. "
            "When `thinking` is enabled, a final `assistant` message must start with a thinking block"
        )


def _has_result(message: Json) -> bool:
    content = message["content"]
    return isinstance(content, list) and any(block["type"] == "tool_result" for block in content)


# -- OpenAI chat completions

_CHAT = _words(
    "model messages max_tokens max_completion_tokens stream stream_options temperature top_p n stop tools tool_choice "
    "parallel_tool_calls response_format reasoning_effort verbosity prompt_cache_key prompt_cache_retention store "
    "metadata service_tier safety_identifier prediction seed logit_bias user frequency_penalty presence_penalty "
    "logprobs top_logprobs modalities audio web_search_options"
)
_CHAT_MESSAGES = {
    "system": _words("role content name"),
    "developer": _words("role content name"),
    "user": _words("role content name"),
    "assistant": _words("role content name refusal audio tool_calls function_call"),
    "tool": _words("role content tool_call_id"),
}
_CHAT_PARTS = {
    "text": _words("type text"),
    "image_url": _words("type image_url"),
    "input_audio": _words("type input_audio"),
    "file": _words("type file"),
    "refusal": _words("type refusal"),
}


def chat(body: Json, headers: Mapping[str, str], spec: Spec, issued: Issued) -> None:
    """POST /v1/chat/completions, of OpenAI itself or of a local server."""
    if "anthropic-beta" in headers:
        raise Refusal("a header for somebody else: anthropic-beta")
    only = _overlook if spec.lenient else _only
    only("", body, _CHAT)
    _chat_limits(body, spec)
    for at, message in enumerate(body["messages"]):
        only(f"messages[{at}].", message, _CHAT_MESSAGES[message["role"]])
        for part in message["content"] if isinstance(message.get("content"), list) else ():
            if part["type"] not in _CHAT_PARTS:
                raise Refusal(f"Invalid value: '{part['type']}' at messages[{at}].content")
            only(f"messages[{at}].content.", part, _CHAT_PARTS[part["type"]])
        for call in message.get("tool_calls") or ():
            only(f"messages[{at}].tool_calls.", call, _words("id type function custom"))
            only(f"messages[{at}].tool_calls.function.", call["function"], _words("name arguments"))
            if len(call["id"]) > 64:
                raise Refusal(f"Invalid 'messages[{at}].tool_calls[0].id': string too long")
    for tool in body.get("tools") or ():
        if tool["type"] not in ("function", "custom"):
            raise Refusal(f"Invalid value: '{tool['type']}'. Supported values are: 'function' and 'custom'.")
        only("tools.", tool, _words("type function custom"))
        only("tools.function.", tool.get("function", {}), _words("name description parameters strict"))
    if not body.get("tools") and ("tool_choice" in body or "parallel_tool_calls" in body):
        raise Refusal("'tool_choice' is only allowed when 'tools' are specified.")


def _chat_limits(body: Json, spec: Spec) -> None:
    tokens = body.get("max_completion_tokens", body.get("max_tokens")) or 0
    if tokens > spec.max_output_tokens:
        raise Refusal(f"max_tokens is too large: {tokens}. This model supports at most {spec.max_output_tokens}")
    if spec.reasons and not spec.lenient and "max_tokens" in body:
        raise Refusal("Unsupported parameter: 'max_tokens' is not supported with this model.")
    if spec.reasons and body.get("temperature", 1) != 1:
        raise Refusal("Unsupported value: 'temperature' does not support other values than 1 with this model.")
    if spec.lenient:
        return
    if not spec.reasons and "reasoning_effort" in body:
        raise Refusal("Unrecognized request argument supplied: reasoning_effort")
    if "web_search_options" in body:
        raise Refusal("Unknown parameter: 'web_search_options'.")
    if body.get("service_tier", "auto") not in ("auto", "default", "flex", "priority"):
        raise Refusal("Invalid value for 'service_tier'")


# -- OpenAI responses

_RESPONSES = _words(
    "model input instructions tools tool_choice parallel_tool_calls reasoning store stream include prompt_cache_key "
    "text max_output_tokens temperature top_p previous_response_id metadata user truncation service_tier "
    "safety_identifier background max_tool_calls top_logprobs prompt_cache_retention stream_options context_management"
)
_ITEMS = {
    "message": _words("type role content id status phase"),
    "reasoning": _words("type id summary content encrypted_content status"),
    "function_call": _words("type name arguments call_id id status caller namespace"),
    "function_call_output": _words("type call_id output id status"),
    "custom_tool_call": _words("type name input call_id id status caller namespace"),
    "custom_tool_call_output": _words("type call_id output id status"),
    "web_search_call": _words("type id status action"),
    "local_shell_call": _words("type id call_id action status"),
    "local_shell_call_output": _words("type id call_id output status"),
}
_OPENAI_TOOLS = _words("function custom web_search web_search_preview local_shell file_search code_interpreter mcp")


def responses(body: Json, headers: Mapping[str, str], spec: Spec, issued: Issued) -> None:
    """POST /v1/responses."""
    if "anthropic-beta" in headers:
        raise Refusal("a header for somebody else: anthropic-beta")
    _only("", body, _RESPONSES)
    if (body.get("max_output_tokens") or 0) > spec.max_output_tokens:
        raise Refusal(f"max_output_tokens is too large. This model supports at most {spec.max_output_tokens}")
    if not spec.reasons and body.get("reasoning"):
        raise Refusal("Unsupported parameter: 'reasoning.effort' is not supported with this model.")
    if spec.reasons and body.get("temperature", 1) != 1:
        raise Refusal("Unsupported parameter: 'temperature' is not supported with this model.")
    previous = body.get("previous_response_id")
    if previous is not None and previous not in issued.responses:
        raise Refusal(f"Previous response with id '{previous}' not found.")
    calls: set[str] = set()
    for at, item in enumerate(body["input"] if isinstance(body["input"], list) else ()):
        kind = item.get("type", "message")
        if kind not in _ITEMS:
            raise Refusal(f"Invalid value: '{kind}' at input[{at}].type")
        _only(f"input[{at}].", item, _ITEMS[kind])
        encrypted = item.get("encrypted_content")
        if encrypted is not None and encrypted not in issued.signatures:
            raise Refusal("The encrypted content could not be verified. Reason: could not be decrypted or parsed.")
        if kind.endswith("_call"):
            calls.add(item.get("call_id", ""))
        if kind.endswith("_output") and item["call_id"] not in calls and previous is None:
            raise Refusal(f"No tool call found for function call output with call_id {item['call_id']}.")
        if kind == "reasoning" and not spec.reasons:
            raise Refusal("Reasoning input items can only be provided to a reasoning or computer use model.")
    for tool in body.get("tools") or ():
        if tool["type"] not in _OPENAI_TOOLS:
            raise Refusal(f"Invalid value: '{tool['type']}' at tools[0].type")
        if tool["type"] == "function" and not tool.get("parameters"):
            raise Refusal(f"Invalid schema for function '{tool['name']}'")
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("name") not in {tool.get("name") for tool in body.get("tools") or ()}:
        raise Refusal("Tool choice 'function' not found in 'tools' parameter.")


# -- Ollama's own API


def ollama(body: Json, headers: Mapping[str, str], spec: Spec, issued: Issued) -> None:
    """POST /api/chat."""
    if "anthropic-beta" in headers:
        raise Refusal("a header for somebody else: anthropic-beta")
    for message in body["messages"]:
        if not isinstance(message.get("content", ""), str):
            raise Refusal(
                "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string"
            )
        for call in message.get("tool_calls") or ():
            if not isinstance(call["function"]["arguments"], dict):
                raise Refusal("json: cannot unmarshal string into Go struct field .arguments of type map")
    if body.get("think") not in (None, False) and not spec.reasons:
        raise Refusal(f'"{body["model"]}" does not support thinking')
    if body.get("tools") and not spec.tools:
        raise Refusal(f'"{body["model"]}" does not support tools')
    for tool in body.get("tools") or ():
        if tool.get("type") != "function" or not tool.get("function", {}).get("name"):
            raise Refusal("json: a tool without a function")


# -- Google

_GENERATE = _words("contents systemInstruction tools toolConfig generationConfig safetySettings cachedContent labels")
NO_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()
"""What Google takes in place of a signature for calls that another model has made."""
_PARTS = _words("text thought thoughtSignature functionCall functionResponse inlineData fileData")


def generate_content(body: Json, headers: Mapping[str, str], spec: Spec, issued: Issued) -> None:
    """POST ...:generateContent."""
    for name in body:
        if name not in _GENERATE and name not in ("system_instruction", "tool_config", "model"):
            raise Refusal(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    if (body.get("generationConfig") or {}).get("maxOutputTokens", 0) > spec.max_output_tokens:
        raise Refusal("Unable to submit request because it has a maxOutputTokens value out of the supported range")
    if body.get("cachedContent") is not None and body["cachedContent"] not in issued.responses:
        raise Refusal("CachedContent not found (or permission denied)")
    for content in body["contents"]:
        for part in content["parts"]:
            for name in part:
                if name not in _PARTS and name not in ("thought_signature", "function_call", "function_response"):
                    raise Refusal(f'Invalid JSON payload received. Unknown name "{name}" at contents.parts')
            signature = part.get("thoughtSignature")
            if signature not in (None, NO_SIGNATURE) and signature not in issued.signatures:
                raise Refusal("Corrupted thought signature.")


Rules: TypeAlias = Callable[[Json, Mapping[str, str], Spec, Issued], None]
