"""Request bodies of all five formats that look like what clients send, with every kind of mistake mixed in."""

from __future__ import annotations

import enum
import os
from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from bsgateway.reference.extract import HARNESS_TAGS
from bsgateway.reference.score import default_complex_keywords, default_simple_keywords

_EXAMPLES = os.environ.get("BSGATEWAY_PARITY_EXAMPLES")

examples = settings(
    max_examples=int(_EXAMPLES or 300),
    derandomize=_EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
"""`BSGATEWAY_PARITY_EXAMPLES` random examples for each test; unset, always the same few, which take seconds."""


class Mapping(dict[Any, Any]):
    """A dict subclass, as SDK objects are."""


class Items(list[Any]):
    """A list subclass."""


class Name(str):
    """A str subclass."""

    __slots__ = ()


class Level(enum.IntEnum):
    """An int subclass."""

    LOW = 1


_KEYWORDS = (*default_complex_keywords(), *default_simple_keywords())
_TAGS = sorted(HARNESS_TAGS)

_characters = st.characters(exclude_categories=())  # every code point, lone surrogates included
_short = st.text(_characters, max_size=12)

_LINES = (
    "- item", "* item", "+ item", "-item", "1. item", "12) item", "123. x", "1234. x", "1.", "- ", "```", "```rs",
    "````", "~~~", "~~~~ sh", " ```", "`code` and `more`", "a ` b", "def f(x):", "    return x", "import os;",
    "SELECT 1", "#include <x>", "if (x) {", "}", "x ->", "else):", "Traceback (most recent call last):",
    '  File "a.py", line 3, in f', 'File "", line ', "at a.b(C.java:1)", "at home", "at (x) y", "Caused by: y",
    "panic: x", "thread 'main' panicked", "goroutine 1 [running]:", "why? how？ كيف؟", "1,2，3、4", "\r", "\t", "",
    "<task>mine</task>", "<context>", "</", "<", "<|endoftext|>", '{"a": [1, 2.5, null]}', "http://x.y/z?q=1",
    "\ud83d\ude00", "😀", "e\u0301", "\u200b", "\u00a0", "\u2028", "\x85", "\x0b\x0c", "\x1c", "İ ΣΊΣΥΦΟΣ ß",
    "请证明这个定理。", "設計を確認", "분석해줘", "แปลภาษา", "ﾊﾝｶｸ", "ＡＢＣ", "𠀀", "\U0003ffff\U00040000",
)  # fmt: skip
_RUNS = ("a", " ", "\n", "`", "9", "é", "中", "<", "- x\n", "word ", "\ud800", "?", "if (x) {\n", "panic: \n")


def _word(random: Random) -> str:
    word = random.choice(_KEYWORDS)
    stem = word.removesuffix("*")
    return random.choice([stem, stem.upper(), word + "ing", "un" + word, word.replace(" ", "\n"), f"({stem})"])


def _tagged(random: Random) -> str:
    """A harness block, or a piece of one."""
    tag, other = random.choice(_TAGS), random.choice(_TAGS)
    opening = f"<{tag}" + random.choice([">", ">", " k='v'>", "\n>", "", "/>", "x>"])
    closing = f"</{random.choice([tag, tag, other])}" + random.choice([">", ">", " >", ""])
    return random.choice([opening, closing, opening + _piece(random) + closing, opening + _piece(random) + closing])


def _noise(random: Random) -> str:
    top = random.choice([0x80, 0x250, 0x3000, 0x10000, 0x110000])
    return "".join(chr(random.randrange(top)) for _ in range(random.randint(0, 12)))


def _run(random: Random) -> str:
    return random.choice(_RUNS) * random.choice([2, 3, 20, 150, 700, 4000])


def _piece(random: Random) -> str:
    kinds = (_word, _word, lambda random: random.choice(_LINES), lambda random: random.choice(_LINES), _tagged, _noise)
    return random.choice(kinds)(random) if random.random() < 0.97 else _run(random)


def _text(seed: int) -> str:
    # One draw a text instead of one a choice: Hypothesis gives up on examples of thousands of draws, which are the
    # ones that look like what clients send.
    random = Random(seed)
    joiner = random.choice(["\n", "\n", " ", "", "\n\n"])
    return joiner.join(_piece(random) for _ in range(random.choice([1, 1, 2, 4, 8, 16, 40])))


def _weighted(*choices: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """One of the strategies, each as often as its weight says; `one_of` would drop what stands twice."""
    return st.sampled_from([strategy for weight, strategy in choices for _ in range(weight)]).flatmap(lambda s: s)


_texts = st.integers(0, 2**32).map(_text)
texts = _weighted((8, _texts), (1, _short), (1, _texts.map(Name)))
"""Asks, system prompts, tool results: fragments that the measurements react to, and noise."""

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.sampled_from([10**9, 10**9 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, Level.LOW]),
    st.floats(),
    _short,
    st.binary(max_size=4),
    st.sampled_from([object, ..., 1j]),
)
_keys = st.one_of(_short, st.sampled_from(["type", "text", "content", "role", "parts", "input"]), st.integers(0, 3))
junk = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(Items),
        st.dictionaries(_keys, inner, max_size=4),
        st.dictionaries(_keys, inner, max_size=3).map(Mapping),
        st.dictionaries(_keys, inner, max_size=3).map(OrderedDict),
    ),
    max_leaves=8,
)
"""Anything at all: what must be ignored wherever it stands."""


def _or_junk(strategy: st.SearchStrategy[Any], weight: int = 20) -> st.SearchStrategy[Any]:
    """`strategy`, one time in `weight` something else."""
    return _weighted((weight - 1, strategy), (1, junk))


def _dict(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A dict whose `required` keys nearly always stand there; any value may be junk."""
    return st.fixed_dictionaries(
        {key: _or_junk(value) for key, value in required.items()},
        optional={key: _or_junk(value) for key, value in optional.items()},
    )


def _several(strategy: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[Any]:
    """A list of it, mostly a plain one, with junk among the items."""
    lists = st.lists(_or_junk(strategy, 30), min_size=1, max_size=most)
    return _weighted((8, lists), (1, lists.map(tuple)), (1, lists.map(Items)), (1, st.just([])))


def _kinds(*names: str) -> st.SearchStrategy[str]:
    return st.sampled_from(names)


_TEXT = ("text", "input_text", "output_text", "summary_text")
_IMAGE = ("image", "image_url", "input_image")
_AUDIO = ("audio", "input_audio")
_FILE = ("file", "input_file", "document")
_TOOL_USE = ("tool_use", "server_tool_use", "mcp_tool_use")
_PROVIDER_ITEMS = (
    "container_upload", "compaction", "item_reference", "web_search_call", "file_search_call", "code_interpreter_call",
    "image_generation_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response",
)  # fmt: skip
_types = _kinds("image/png", "video/mp4", "audio/wav", "text/plain", "image", "image/", "")
_mime = _dict({}, mimeType=_types, mime_type=_types)
_marks = _dict({"type": st.just("ephemeral")})
_arguments = st.one_of(texts, junk)
_sealed = _kinds("", "EqQBCgIYAhIM", "\ud800")
"""Signatures, encrypted thoughts, ids of what the provider keeps."""
_call_ids = _kinds("", "call_1", 29 * "x" + "__thought__" + 40 * "A", 60 * "x" + "__though", 27 * "é" + "__thought__")
_held = _dict({}, file_id=_sealed)
_signed = st.one_of(
    _dict({"type": st.just("thinking"), "thinking": texts}, signature=_sealed),
    _dict({"type": st.just("redacted_thinking"), "data": _short}),
)
_google_signed: dict[str, st.SearchStrategy[Any]] = {"thoughtSignature": _sealed, "thought_signature": _sealed}


def _blocks_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        _dict({"type": _kinds(*_TEXT), "text": texts}, cache_control=_marks),
        _dict({"text": texts}, thought=st.booleans(), **_google_signed),
        _signed,
        _dict({"type": _kinds(*_IMAGE, *_AUDIO, *_FILE, "refusal")}, file_id=_sealed, source=_held, file=_held),
        _dict({"type": _kinds(*_TOOL_USE), "input": junk}),
        _dict({"type": _kinds(*_PROVIDER_ITEMS)}, id=_sealed),
        _dict(
            {"type": _kinds("tool_result", "web_search_tool_result"), "content": st.one_of(texts, _several(inner))},
            is_error=st.booleans(),
        ),
        _dict({"inlineData": _mime, "fileData": _mime}),
        _dict({"inline_data": _mime}, file_data=_mime, text=junk),
        _dict({"function_response": _dict({"response": junk})}, functionCall=_dict({"args": junk}), **_google_signed),
        _dict({"function_call": _dict({"args": junk})}, functionResponse=_dict({"response": junk}), **_google_signed),
        _dict({}, executableCode=junk, executable_code=junk, codeExecutionResult=junk, code_execution_result=junk),
        texts,
    )


_leaf = _dict({"type": st.just("text"), "text": texts})
block = _blocks_of(_blocks_of(_leaf))
"""A content block of any provider's dialect, nested twice; deeper nesting has a test of its own."""
content = _weighted((3, texts), (3, _several(block)), (1, block))

_roles = _kinds("user", "user", "user", "assistant", "system", "developer", "tool", "function", "model", "critic", "")
_TOOL_TYPES = (
    "function", "custom", "namespace", "web_search", "web_search_20250305", "mcp", "local_shell", "mcp_toolset", "",
)  # fmt: skip
_tools = _several(
    st.one_of(
        _dict({"type": st.just("function"), "function": _dict({"parameters": junk})}, cache_control=_marks),
        _dict({"name": _short, "input_schema": junk}),
        _dict({"functionDeclarations": _several(_dict({"name": _short}))}),
        _dict({"function_declarations": _several(_dict({"name": _short}))}),
        _dict({"type": _kinds(*_TOOL_TYPES)}, name=_short, function=junk, custom=junk, functionDeclarations=junk),
        _dict({}, googleSearch=junk, code_execution=junk, functionDeclarations=_several(junk), function=junk),
    )
)
_json_format = _dict({"type": _kinds("json_schema", "json_object", "text")})
_limits = st.one_of(st.integers(-1, 4096), st.sampled_from([10**9, 10**9 + 1, 2**64, Level.LOW, True]))
_options: dict[str, st.SearchStrategy[Any]] = {
    "model": _short,
    "tools": _tools,
    "functions": _tools,
    "cache_control": _marks,
    "tool_choice": st.one_of(_kinds("auto", "none"), _dict({"type": _kinds("none", "tool")})),
    "parallel_tool_calls": st.booleans(),
    "web_search_options": _dict({}, search_context_size=_short),
    "mcp_servers": st.lists(junk, max_size=2),
    **{
        key: st.one_of(_sealed, _dict({"id": _sealed}))
        for key in ("container", "previous_response_id", "conversation", "cachedContent", "cached_content")
    },
    "max_tokens": _limits,
    "max_completion_tokens": _limits,
    "max_output_tokens": _limits,
    "response_format": _json_format,
    "text": _dict({"format": _json_format}),
    "output_format": _json_format,
    "output_config": _dict({"format": _json_format}),
    "thinking": _dict({"type": _kinds("enabled", "adaptive", "disabled")}),
    "reasoning_effort": _kinds("low", "none", ""),
    "reasoning": _dict({"effort": _kinds("high", "none", "")}),
    "generationConfig": _dict(
        {},
        maxOutputTokens=_limits,
        responseMimeType=_kinds("application/json", "text/plain"),
        responseSchema=junk,
        responseJsonSchema=junk,
        thinkingConfig=junk,
    ),
}

_call = _dict(
    {},
    id=_call_ids,
    function=_dict({"arguments": _arguments}),
    custom=_dict({"input": _arguments}),
    provider_specific_fields=_dict({}, thought_signature=_sealed),
)
_message = _dict(
    {"role": _roles, "content": content},
    reasoning_content=texts,
    thinking_blocks=_several(_signed),
    provider_specific_fields=_dict({}, thought_signatures=st.lists(_sealed, max_size=1)),
    tool_calls=_several(_call),
    function_call=_dict({"arguments": _arguments}),
)
_result = _dict(
    {"type": st.just("tool_result"), "content": content, "is_error": _weighted((3, st.just(True)), (1, junk))}
)
_result_message = _weighted(
    (3, _dict({"role": st.just("user"), "content": st.lists(_result, min_size=1, max_size=5)})),
    (1, _dict({"role": st.just("tool"), "content": content}, tool_call_id=_call_ids, tool_calls=_several(_call))),
)
_user_message = _dict({"role": st.just("user"), "content": content})
_item = st.one_of(
    _user_message,
    _message,
    _dict({"type": st.just("message"), "role": _roles, "content": content}),
    _dict({"id": _sealed}, type=_kinds("", "message", "item_reference")),
    _dict(
        {"type": _kinds("function_call", "custom_tool_call", "mcp_call", "local_shell_call")},
        arguments=_arguments,
        input=_arguments,
        action=_arguments,
    ),
    _dict({"type": _kinds("function_call_output", "local_shell_call_output"), "output": content}),
    _dict({"type": st.just("reasoning"), "summary": _several(_leaf)}, encrypted_content=_sealed),
    block,
)


def _body(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return _or_junk(_dict(required, **optional, **_options), 40)


_conversation = _several(_weighted((2, _user_message), (1, _message), (2, _result_message)), 5)
_token_ids = st.lists(st.one_of(st.integers(0, 200_000), junk), max_size=6)
_contents = _weighted((6, _several(_dict({"role": _roles, "parts": content}), 5)), (1, texts), (1, block))
bodies: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
    "chat": lambda: _body({"messages": _conversation}),
    "messages": lambda: _body({"messages": _conversation}, system=content),
    "responses": lambda: _body(
        {"input": st.one_of(texts, _several(_item, 6))}, instructions=content, prompt=_dict({"id": _sealed})
    ),
    "completions": lambda: _body(
        {"prompt": st.one_of(texts, _several(texts), _token_ids, st.lists(_token_ids, max_size=3))}
    ),
    "generate_content": lambda: _body(
        {"contents": _contents},
        systemInstruction=st.one_of(_dict({"parts": content}), content),
        system_instruction=st.one_of(_dict({"parts": content}), content),
    ),
}
"""Format -> strategy of its bodies."""
