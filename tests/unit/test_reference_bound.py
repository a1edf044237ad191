"""What is bound to the model or provider that wrote it, as the twin and the core in use say: in each dialect."""

from __future__ import annotations

from typing import Any

import pytest

from bsgateway import reference
from bsgateway.core import core

SETTINGS: dict[str, Any] = {
    "weights": dict.fromkeys(reference.SIGNALS, 1.0),
    "token_thresholds": (20, 100, 400, 1500, 6000),
    "complex_keywords": (),
    "simple_keywords": (),
    "exact_token_bytes": 0,
    "capture_chars": 0,
    "memo_bytes": 0,
    "encoding": "o200k_base",
}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "EqQBCgIYAhIM"}
UNSIGNED = {"type": "thinking", "thinking": "hm", "signature": ""}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a.py"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}
REMINDER = {"type": "text", "text": "<system-reminder>Be brief.</system-reminder>"}
ASK = {"type": "text", "text": "And now?"}
OPEN = ("thinking", "open_thinking", "open_tool_call")
SIGNED_ID = f"call_{'0' * 28}__thought__{'A' * 40}"


@pytest.fixture(scope="module", params=[reference, core], ids=["twin", "in use"])
def analyzer(request: pytest.FixtureRequest) -> Any:
    return request.param.Analyzer(**SETTINGS)


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def test_names() -> None:
    assert core.BOUND_STATES == ("thinking", "open_thinking", "open_tool_call", "server_state")


@pytest.mark.parametrize(
    ("messages", "states"),
    [
        ([user(ASK)], ()),
        ([user(ASK), assistant(UNSIGNED, CALL), user(RESULT)], ("open_tool_call",)),
        ([user(ASK), assistant(THOUGHT, CALL), user(RESULT)], OPEN),
        ([user(ASK), assistant(THOUGHT, CALL), user(RESULT, REMINDER)], OPEN),
        ([user(ASK), assistant(THOUGHT, CALL), user(RESULT, ASK)], OPEN),
        ([user(ASK), assistant(THOUGHT, CALL), user(RESULT), assistant(CALL), user(RESULT)], OPEN),
        ([user(ASK), assistant(THOUGHT, CALL), user(RESULT), assistant(CALL), user(RESULT, ASK)],
         ("thinking", "open_tool_call")),
        ([user(ASK), assistant(THOUGHT, CALL), user(RESULT), assistant(ASK), user(ASK)], ("thinking",)),
        ([user(ASK), assistant(THOUGHT, ASK), user(ASK)], ("thinking",)),
        ([user(ASK), assistant(THOUGHT, ASK)], ("thinking", "open_thinking")),
        ([assistant({"type": "redacted_thinking", "data": "x"}), user(ASK)], ("thinking",)),
        ([user(RESULT)], ("open_tool_call",)),
    ],
)  # fmt: skip
def test_a_loop_of_tool_calls(analyzer: Any, messages: list[Any], states: tuple[str, ...]) -> None:
    assert analyzer.analyze({"messages": messages}, "messages").bound == states


@pytest.mark.parametrize(
    ("message", "states"),
    [
        ({"thinking_blocks": [THOUGHT]}, ("thinking", "open_thinking")),
        ({"thinking_blocks": ["x", UNSIGNED, {"type": "redacted_thinking"}]}, ("thinking", "open_thinking")),
        ({"thinking_blocks": [UNSIGNED], "reasoning_content": "hm"}, ()),
        ({"tool_calls": [{"id": SIGNED_ID, "type": "function", "function": {}}]}, ("thinking", "open_thinking")),
        ({"tool_calls": [{"id": "call_1__thought__x", "type": "function", "function": {}}]}, ()),
        ({"tool_calls": [{"id": "x" * 70}]}, ()),
        ({"tool_calls": [{"provider_specific_fields": {"thought_signature": "x"}}]}, ("thinking", "open_thinking")),
        ({"provider_specific_fields": {"thought_signatures": ["x"]}}, ("thinking", "open_thinking")),
        ({"provider_specific_fields": {"thought_signatures": []}}, ()),
    ],
)  # fmt: skip
def test_thoughts_in_chat(analyzer: Any, message: dict[str, Any], states: tuple[str, ...]) -> None:
    messages = [{"role": "user", "content": "Look."}, {"role": "assistant", "content": None, **message}]
    assert analyzer.analyze({"messages": messages}, "chat").bound == states
    result = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
    assert analyzer.analyze({"messages": [*messages, result]}, "chat").bound == (*states, "open_tool_call")
    asked = [*messages, result, {"role": "user", "content": "And now?"}]
    assert analyzer.analyze({"messages": asked}, "chat").bound == states[:1]


def test_thoughts_in_responses(analyzer: Any) -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "1"}
    items: list[Any] = [{"role": "user", "content": "Look."}, reasoning, call, output]
    assert analyzer.analyze({"input": items}, "responses").bound == OPEN
    items.append({"role": "user", "content": "And now?"})
    assert analyzer.analyze({"input": items}, "responses").bound == ("thinking",)
    reasoning["encrypted_content"] = None
    assert analyzer.analyze({"input": items}, "responses").bound == ()


@pytest.mark.parametrize("key", ["thoughtSignature", "thought_signature"])
@pytest.mark.parametrize("part", [{"text": "So."}, {"functionCall": {"name": "f"}}, {"text": "hm", "thought": True}])
def test_thoughts_in_generate_content(analyzer: Any, key: str, part: dict[str, Any]) -> None:
    contents = [{"role": "user", "parts": [{"text": "Look."}]}, {"role": "model", "parts": [{**part, key: "x"}]}]
    assert analyzer.analyze({"contents": contents}, "generate_content").bound == ("thinking", "open_thinking")
    contents[1]["parts"] = [part]
    assert analyzer.analyze({"contents": contents}, "generate_content").bound == ()


@pytest.mark.parametrize(
    ("format", "body"),
    [
        ("messages", {"container": "container_1"}),
        ("messages", {"container": {"id": "container_1"}}),
        ("responses", {"input": "x", "previous_response_id": "resp_1"}),
        ("responses", {"input": "x", "conversation": "conv_1"}),
        ("responses", {"input": "x", "conversation": {"id": "conv_1"}}),
        ("responses", {"prompt": {"id": "pmpt_1"}}),
        ("generate_content", {"cachedContent": "cachedContents/1"}),
        ("generate_content", {"cached_content": "cachedContents/1"}),
    ],
)
def test_references_of_a_request(analyzer: Any, format: str, body: dict[str, Any]) -> None:
    assert analyzer.analyze(body, format).bound == ("server_state",)
    assert analyzer.analyze(dict.fromkeys(body, ""), format).bound == ()
    assert analyzer.analyze(body, "chat").bound == ()


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "file", "file": {"file_id": "file_1"}},
        {"type": "input_file", "file_id": "file_1"},
        {"type": "input_image", "file_id": "file_1"},
        {"type": "container_upload", "file_id": "file_1"},
        {"type": "compaction", "content": "So far."},
        {"type": "server_tool_use", "name": "web_search", "input": {}},
        {"type": "mcp_tool_use", "name": "f", "input": {}},
        {"fileData": {"fileUri": "files/1", "mimeType": "image/png"}},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"code_execution_result": {"output": "1"}},
    ],
)
def test_blocks_of_the_provider(analyzer: Any, block: dict[str, Any]) -> None:
    assert analyzer.analyze({"messages": [assistant(block), user(ASK)]}, "messages").bound == ("server_state",)


def test_results_of_tools_that_the_provider_ran(analyzer: Any) -> None:
    search = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"encrypted_content": "x"}]},
    ]
    messages = [user(ASK), assistant(*search)]
    assert analyzer.analyze({"messages": messages}, "messages").bound == ("open_tool_call", "server_state")
    assert analyzer.analyze({"messages": [*messages, user(ASK)]}, "messages").bound == ("server_state",)


@pytest.mark.parametrize(
    ("item", "states"),
    [
        ({"type": "item_reference", "id": "msg_1"}, ("server_state",)),
        ({"id": "msg_1"}, ("server_state",)),
        ({"id": "msg_1", "role": "assistant", "content": "x"}, ()),
        ({"type": "compaction", "encrypted_content": "x"}, ("server_state",)),
        ({"type": "code_interpreter_call", "container_id": "c"}, ("server_state",)),
        ({"type": "mcp_call", "arguments": "{}", "output": "x"}, ("server_state",)),
        ({"type": "web_search_call", "id": "ws_1", "status": "completed"}, ()),
        ({"type": "custom_tool_call", "input": "x"}, ()),
    ],
)
def test_items_of_responses(analyzer: Any, item: dict[str, Any], states: tuple[str, ...]) -> None:
    body = {"input": [{"role": "user", "content": "Look."}, item]}
    assert analyzer.analyze(body, "responses").bound == states


def test_media_that_stand_in_the_request_are_nobodys(analyzer: Any) -> None:
    blocks = [
        {"type": "image", "source": {"type": "base64", "data": "aGk="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
    ]
    assert analyzer.analyze({"messages": [user(*blocks, ASK)]}, "messages").bound == ()


def test_all_states_stand_in_their_order(analyzer: Any) -> None:
    body = {"container": "container_1", "messages": [user(ASK), assistant(THOUGHT, CALL), user(RESULT)]}
    assert analyzer.analyze(body, "messages").bound == core.BOUND_STATES
