"""What in a conversation belongs to the model or the provider that wrote it, and another one could not go on with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .chars import byte_length
from .values import dict_of, dicts, list_of, text_of

if TYPE_CHECKING:
    from .extract import Ask, Extract

BOUND_STATES = ("thinking", "open_thinking", "open_tool_call", "server_state")
"""Every state that `bound` knows, in its order: a signed or encrypted thought; one in the loop of tool calls that is
still open; a tool call whose result has just come; state that the provider keeps or only it can read."""

_THOUGHT_MARK = "__thought__"
"""Between a call's id and Google's signature, which LiteLLM hides in it from clients that keep known fields only."""
_PLAIN_ID = 64
"""Bytes of an id that is too short to hold a signature: the common one is not searched."""

_REFERENCES = {
    "chat": (),
    "messages": ("container",),
    "responses": ("previous_response_id", "conversation", "prompt"),
    "completions": (),
    "generate_content": ("cachedContent", "cached_content"),
}
_PROVIDER_BLOCKS = frozenset(
    (
        "container_upload", "compaction", "item_reference", "file_search_call", "code_interpreter_call",
        "image_generation_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response",
    )
)  # fmt: skip
_RUN_CODE = ("executableCode", "executable_code", "codeExecutionResult", "code_execution_result")


@dataclass
class Bonds:
    """What the extractor notes on its way through the conversation: whether there is a signed or encrypted thought, the
    last message of the conversation with one (-1: none), and whether there is state that the provider keeps or only it
    can read."""

    thought: bool = False
    last_thought: int = -1
    server_state: bool = False

    def thought_in(self, message: int) -> None:
        """Note a signed or encrypted thought."""
        self.thought = True
        self.last_thought = max(message, self.last_thought)

    def file(self, block: dict[Any, Any]) -> None:
        """Note whether `block`, an image or a file, refers to a file that the provider keeps."""
        places = (block, dict_of(block, "source"), dict_of(block, "file"))
        self.server_state |= any(text_of(place, "file_id") for place in places)

    def google_part(self, part: dict[Any, Any]) -> None:
        """Note whether a part holds a file that Google keeps, code that its own tool has run, or what came of it."""
        keys = (*_RUN_CODE, "fileData", "file_data")
        self.server_state |= any(isinstance(part.get(key), dict) for key in keys)


def refers(body: dict[Any, Any], format: str) -> bool:
    """Whether the request itself refers to state that the provider keeps, outside its conversation."""
    return any(isinstance(body.get(key), dict) or text_of(body, key) for key in _REFERENCES[format])


def is_provider_block(name: str) -> bool:
    """Whether a block or an item of this type, which is no call of a tool nor a result, can only be read by the
    provider that wrote it: what its own tools did, references to what it keeps, a history that it compacted."""
    return name in _PROVIDER_BLOCKS


def is_signed(block: dict[Any, Any]) -> bool:
    """Whether a `thinking` block must go back unchanged to the model that wrote it; a `redacted_thinking` one always
    must."""
    return bool(text_of(block, "signature"))


def is_signed_part(part: dict[Any, Any]) -> bool:
    """Whether Google's signature stands in a part."""
    return bool(text_of(part, "thoughtSignature") or text_of(part, "thought_signature"))


def is_signed_call(call: dict[Any, Any]) -> bool:
    """Whether LiteLLM has put a signature of Google's into a tool call: into its id, or beside it."""
    id = text_of(call, "id")
    marked = byte_length(id) > _PLAIN_ID and _THOUGHT_MARK in id
    return marked or bool(text_of(dict_of(call, "provider_specific_fields"), "thought_signature"))


def is_signed_message(message: dict[Any, Any]) -> bool:
    """Whether a chat message holds thoughts as LiteLLM hands them out: Anthropic's blocks, or Google's signatures."""
    for block in dicts(message.get("thinking_blocks")):
        name = text_of(block, "type")
        if name == "redacted_thinking" or (name == "thinking" and is_signed(block)):
            return True
    return bool(list_of(dict_of(message, "provider_specific_fields"), "thought_signatures"))


def bound(found: Extract, ask: Ask) -> tuple[str, ...]:
    """What of `found` is bound, in the order of `BOUND_STATES`."""
    results = [message for message, _ in found.results if message >= 0]
    # The loop of tool calls that goes on begins behind the ask, or right before an ask that came in one message with
    # results.
    begin = ask.message - 1 if ask.message in results else ask.message + 1
    last = found.bonds.last_thought
    flags = {
        "thinking": found.bonds.thought,
        "open_thinking": last >= max(begin, 0),
        "open_tool_call": bool(results) and max(results) >= ask.message,
        "server_state": found.bonds.server_state,
    }
    return tuple(name for name in BOUND_STATES if flags[name])
