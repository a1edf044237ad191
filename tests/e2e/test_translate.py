"""Conversations that change hands, through a running gateway, before providers that refuse what the real ones refuse.

Each tier is one model, and the client says by header which it wants, so a test moves a conversation as it likes. What a
client is given it sends back as it is, as the official SDKs and agents do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import anthropic
import httpx
import openai
import pytest
import yaml

from e2e.gateways import KEY, PROVIDER_KEY, Gateway, free_port, start_serve
from e2e.strict_rules import Spec
from e2e.strict_upstream import OLLAMA_MODEL, TEXT, StrictUpstream
from shapes import bodies

Json: TypeAlias = "dict[str, Any]"

TIMEOUT = 60.0
FORMS = frozenset(("enabled", "disabled"))
ADAPTIVE = frozenset(("adaptive", "disabled"))

# Tier and model group and base path -> model of LiteLLM, path below the base, what the provider knows of the model.
GROUPS = {
    "ollama": (f"ollama_chat/{OLLAMA_MODEL}", "", Spec(reasons=False)),
    "llamafile": ("llamafile/small", "/v1", Spec(reasons=False, lenient=True)),
    "openai-4o": ("openai/gpt-4o-mini", "/v1", Spec(max_output_tokens=16_384, reasons=False)),
    "openai": ("openai/gpt-5-mini", "/v1", Spec(max_output_tokens=128_000)),
    "google": ("gemini/gemini-3-flash-preview", "", Spec(max_output_tokens=65_536)),
    "claude-haiku": ("anthropic/claude-haiku-4-5", "", Spec(thinking=FORMS)),
    "claude": ("anthropic/claude-opus-4-5", "", Spec(thinking=FORMS, effort=True)),
    "claude-new": (
        "anthropic/claude-opus-4-8",
        "",
        Spec(max_output_tokens=128_000, thinking=ADAPTIVE, effort=True, sampling=False),
    ),
}
TIERS = tuple(GROUPS)
DEAD = {
    "dead-claude": ("anthropic/claude-opus-4-8", "openai-4o"),
    "dead-openai": ("openai/gpt-5-mini", "claude-haiku"),
    "dead-google": ("gemini/gemini-3-flash-preview", "openai"),
}
"""Tiers whose provider does not answer -> its model, and the group that LiteLLM falls back to."""
ROUND = (
    *("openai", "claude-haiku", "google", "claude", "ollama", "claude-new"),
    *("openai-4o", "claude-haiku", "llamafile", "openai", "claude-new"),
)
"""The hands a conversation goes through: each family after each other one."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[StrictUpstream]:
    """The providers."""
    with StrictUpstream({name: spec for name, (_, _, spec) in GROUPS.items()}).running() as running:
        assert isinstance(running, StrictUpstream)
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: StrictUpstream) -> Iterator[Gateway]:
    """`bsgateway serve`, where any model may get any request and clients choose the tier."""
    directory = tmp_path_factory.mktemp("translate")
    running = start_serve(_config(directory, upstream), directory / "state", upstream)
    try:
        yield running
        running.stop()
    finally:
        running.kill()


def _config(directory: Path, upstream: StrictUpstream) -> Path:
    def deployment(name: str, model: str, path: str) -> Json:
        base = f"{upstream.base_url}/{name}{path}"
        # What nobody knows of a local model, its operator says.
        local = {"supports_function_calling": True, "max_output_tokens": 64_000}
        info = local if name in ("ollama", "llamafile") else {}
        params = {"model": model, "api_base": base, "api_key": PROVIDER_KEY}
        return {"model_name": name, "litellm_params": params, "model_info": info}

    names = (*TIERS, *DEAD)
    steps = [round(index * 101 / len(names)) for index in range(len(names) + 1)]
    tiers = {
        name: {"score_range": [low, high - 1], "model": name}
        for name, low, high in zip(names, steps, steps[1:], strict=False)
    }
    closed = f"http://127.0.0.1:{free_port()}"
    config = {
        "model_list": [
            *(deployment(name, model, path) for name, (model, path, _) in GROUPS.items()),
            *(
                {"model_name": name, "litellm_params": {"model": model, "api_base": closed, "api_key": PROVIDER_KEY}}
                for name, (model, _) in DEAD.items()
            ),
        ],
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
        # A refusal must be seen, not made good by another model.
        "router_settings": {
            "fallbacks": [{name: [other]} for name, (_, other) in DEAD.items()],
            "disable_cooldowns": True,
            "num_retries": 0,
        },
        "routing": {
            "tiers": tiers,
            "fallback_tier": "openai",
            "aliases": {"auto": "auto_route"},
            "required_needs": [],
            "client_overrides": ["tier"],
            "collector": {"enabled": False},
        },
    }
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


# -- Clients, which take an answer in and give it back with the next request


@asynccontextmanager
async def _http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=TIMEOUT, verify=False) as client:
        yield client


async def messages(gateway: Gateway, tier: str, body: Json) -> list[Json]:
    """What the answer adds to the history, taken in by the SDK of Anthropic with the headers of Claude Code."""
    headers = {**bodies.CLAUDE_CODE_HEADERS, "x-bsgateway-tier": tier}
    stream = body.get("stream", False)
    known = {name: body[name] for name in ("model", "messages", "max_tokens")}
    rest = {name: value for name, value in body.items() if name not in known and name != "stream"}
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0, timeout=TIMEOUT) as client:
        if stream:
            async with client.messages.stream(**known, extra_body=rest, extra_headers=headers) as events:
                message = await events.get_final_message()
        else:
            message = await client.messages.create(**known, extra_body=rest, extra_headers=headers)
    return [{"role": "assistant", "content": [block.to_dict() for block in message.content]}]


async def chat(gateway: Gateway, tier: str, body: Json) -> list[Json]:
    """What the answer adds to the history: all of a whole one, and of a stream what agents keep."""
    async with _http(gateway) as plain:
        client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, http_client=plain)
        known = {name: body[name] for name in ("model", "messages")}
        rest = {name: value for name, value in body.items() if name not in (*known, "stream")}
        headers = {"x-bsgateway-tier": tier}
        if not body.get("stream"):
            answer = await client.chat.completions.create(**known, extra_body=rest, extra_headers=headers)
            return [answer.choices[0].message.to_dict()]
        whole: Json = {"role": "assistant", "content": ""}
        calls: dict[int, Json] = {}
        events = await client.chat.completions.create(**known, stream=True, extra_body=rest, extra_headers=headers)
        async for chunk in events:
            for delta in (choice.delta.to_dict() for choice in chunk.choices):
                whole["content"] += delta.get("content") or ""
                if thought := delta.get("reasoning_content"):
                    whole["reasoning_content"] = whole.get("reasoning_content", "") + str(thought)
                for call in delta.get("tool_calls") or ():
                    _add_call(calls, call)
    return [{**whole, "tool_calls": list(calls.values())} if calls else whole]


def _add_call(calls: dict[int, Json], delta: Any) -> None:
    call = calls.setdefault(delta["index"], {"type": "function", "function": {"name": "", "arguments": ""}})
    if delta.get("id"):
        call["id"] = delta["id"]
    for name in ("name", "arguments"):
        call["function"][name] += delta["function"].get(name) or ""


async def responses(gateway: Gateway, tier: str, body: Json) -> list[Json]:
    """What the answer adds to the history, taken in by the SDK of OpenAI."""
    async with _http(gateway) as plain:
        client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, http_client=plain)
        known = {name: body[name] for name in ("model", "input")}
        rest = {name: value for name, value in body.items() if name not in (*known, "stream")}
        headers = {**bodies.CODEX_HEADERS, "x-bsgateway-tier": tier}
        if not body.get("stream"):
            whole = await client.responses.create(**known, extra_body=rest, extra_headers=headers)
            return [item.to_dict() for item in whole.output]
        items = []
        events = await client.responses.create(**known, stream=True, extra_body=rest, extra_headers=headers)
        async for event in events:
            if event.type == "response.output_item.done":
                items.append(event.item.to_dict())
    return items


async def generate_content(gateway: Gateway, tier: str, body: Json) -> list[Json]:
    """What the answer adds to the history."""
    body = dict(body)
    path = f"/v1beta/models/auto:{'streamGenerateContent?alt=sse' if body.pop('stream', False) else 'generateContent'}"
    body.pop("model")
    async with _http(gateway) as plain:
        headers = {"Authorization": f"Bearer {KEY}", "x-bsgateway-tier": tier}
        answer = await plain.post(f"{gateway.url}{path}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    found = [json.loads(line) for line in lines if line != "[DONE]"] or [answer.json()]
    parts = [part for one in found for candidate in one["candidates"] for part in candidate["content"]["parts"]]
    return [{"role": "model", "parts": parts}]


CLIENTS = {"messages": messages, "chat": chat, "responses": responses, "generate_content": generate_content}
HISTORY = {"messages": "messages", "chat": "messages", "responses": "input", "generate_content": "contents"}


def results(answer: list[Json]) -> list[Json]:
    """What a client answers to the tool calls of `answer`."""
    blocks = [block for one in answer if isinstance(one.get("content"), list) for block in one["content"]]
    if calls := [block for block in blocks if block.get("type") == "tool_use"]:
        done = [{"type": "tool_result", "tool_use_id": call["id"], "content": bodies.LISTING} for call in calls]
        return [{"role": "user", "content": done}]
    if calls := [call for one in answer for call in one.get("tool_calls") or ()]:
        return [{"role": "tool", "tool_call_id": call["id"], "content": bodies.LISTING} for call in calls]
    if calls := [item for item in answer if item.get("type") in ("function_call", "custom_tool_call")]:
        return [
            {"type": f"{call['type']}_output", "call_id": call["call_id"], "output": bodies.LISTING} for call in calls
        ]
    functions = [part["functionCall"] for one in answer for part in one.get("parts", ()) if "functionCall" in part]
    parts = [{"functionResponse": {"name": call["name"], "response": {"output": "x"}}} for call in functions]
    return [{"role": "user", "parts": parts}] if parts else []


def ask(format: str, text: str) -> Json:
    """A user's words."""
    if format == "generate_content":
        return {"role": "user", "parts": [{"text": text}]}
    kind = "input_text" if format == "responses" else "text"
    return {"role": "user", "content": [{"type": kind, "text": text}]}


async def converse(gateway: Gateway, format: str, body: Json, tiers: tuple[str, ...]) -> None:
    """A conversation in which each tier in turn gets an ask and the result of the tool that it calls."""
    history = [ask(format, f"{bodies.ASK} ({uuid4()})")]
    for tier in tiers:
        answer = await CLIENTS[format](gateway, tier, {**body, HISTORY[format]: history})
        history = [*history, *answer]
        called = results(answer)
        assert called, f"{tier} called no tool: {answer}"
        history = [*history, *called]
        answer = await CLIENTS[format](gateway, tier, {**body, HISTORY[format]: history})
        assert TEXT in json.dumps(answer), f"{tier} did not answer: {answer}"
        history = [*history, *answer, ask(format, bodies.NEXT)]


# -- Tests

THINKING = {"type": "enabled", "budget_tokens": 4_000}
CONVERSATIONS = {
    "claude code": ("messages", bodies.claude_code()),
    "claude code with a budget": ("messages", bodies.claude_code(thinking=THINKING, output_config=None)),
    "opencode": ("chat", bodies.opencode()),
    "codex": ("responses", bodies.codex()),
    "gemini": ("generate_content", bodies.gemini_cli()),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", CONVERSATIONS)
async def test_a_conversation_goes_through_all_hands(
    gateway: Gateway, upstream: StrictUpstream, client: str, stream: bool
) -> None:
    format, body = CONVERSATIONS[client]
    body = {name: value for name, value in body.items() if value is not None}
    before = len(upstream.seen)
    await converse(gateway, format, {**body, "stream": stream}, ROUND)
    seen = upstream.seen[before:]
    assert [one.group for one in seen] == [tier for tier in ROUND for _ in "ab"]
    assert [(one.group, one.refusal) for one in seen if one.refusal] == []


LOOP = bodies.claude_code_loop(bodies.thinking(signature=None))
NO_WORDS = [
    {"role": "user", "content": "Look."},
    {"role": "assistant", "content": [bodies.thinking()]},
    {"role": "user", "content": "And?"},
]
MCP_SERVER = {"type": "url", "url": "https://example.org", "name": "x"}
ALL_TOOLS = [*bodies.claude_code_tools(), *bodies.SERVER_TOOLS]
FREE_TEXT = {"type": "custom", "custom": {"name": "patch"}}
SHAPES = {
    "claude code, server tools": ("messages", bodies.claude_code(tools=ALL_TOOLS)),
    "claude code, after a search": ("messages", bodies.claude_code(bodies.claude_code_searched())),
    "claude code, a title": ("messages", bodies.claude_code_title()),
    "claude code, a loop begun elsewhere": ("messages", bodies.claude_code(LOOP)),
    "claude code, such a loop with a budget": ("messages", bodies.claude_code(LOOP, thinking=THINKING)),
    "claude code, no words but a thought": ("messages", bodies.claude_code(NO_WORDS)),
    "claude code, MCP": ("messages", bodies.claude_code(mcp_servers=[MCP_SERVER], service_tier="auto")),
    "claude code, too long": ("messages", bodies.claude_code(max_tokens=300_000)),
    "opencode, a loop": ("chat", bodies.opencode(bodies.chat_loop(reasoning_content="Look."))),
    "opencode, a short answer": ("chat", bodies.opencode(max_tokens=2_000, reasoning_effort="high")),
    "opencode, a free text tool": ("chat", bodies.opencode(tools=[bodies.openai_tool(), FREE_TEXT])),
    "opencode, too long": ("chat", bodies.opencode(max_tokens=300_000)),
    "openai sdk": ("chat", bodies.openai_sdk()),
    "aider": ("chat", bodies.aider()),
    "codex, server tools": ("responses", bodies.codex(tools=[{"type": "local_shell"}, *bodies.codex_tools()])),
    "codex, a loop": ("responses", bodies.codex(bodies.codex_loop(bodies.reasoning(None)))),
    "codex, too long": ("responses", bodies.codex(max_output_tokens=300_000)),
    "gemini, search": ("generate_content", bodies.gemini_cli(tools=[{"googleSearch": {}}])),
    "gemini, too long": ("generate_content", bodies.gemini_cli(generationConfig={"maxOutputTokens": 300_000})),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_body_meant_for_another_is_accepted_everywhere(
    gateway: Gateway, upstream: StrictUpstream, shape: str
) -> None:
    format, body = SHAPES[shape]
    before = len(upstream.seen)
    ways = [(tier, stream) for tier in TIERS for stream in (False, True)]
    await asyncio.gather(*(CLIENTS[format](gateway, tier, {**body, "stream": stream}) for tier, stream in ways))
    assert len(upstream.seen) - before == len(ways)
    assert [(one.group, one.refusal) for one in upstream.seen[before:] if one.refusal] == []


@pytest.mark.parametrize("tier", DEAD)
async def test_a_fallback_gets_a_body_that_it_accepts(gateway: Gateway, upstream: StrictUpstream, tier: str) -> None:
    """What the chosen model would have understood may be refused by the one that LiteLLM falls back to."""
    before = len(upstream.seen)
    # What a provider found for a conversation no other one can read: that falls back to nobody.
    shapes = [shape for name, shape in SHAPES.items() if name != "claude code, after a search"]
    await asyncio.gather(*(CLIENTS[format](gateway, tier, body) for format, body in shapes))
    seen = upstream.seen[before:]
    assert [one.refusal for one in seen if one.refusal] == []
    assert [one.group for one in seen] == [DEAD[tier][1]] * len(shapes)


async def test_a_session_that_was_begun_without_the_gateway_goes_on(gateway: Gateway, upstream: StrictUpstream) -> None:
    """The gateway knows nobody who has answered in it. The thought of another stays in what the client sends."""
    body = bodies.claude_code(stream=False)
    history = bodies.claude_code_turns(bodies.thinking(signature=None))
    history[0]["content"][1]["text"] += " (begun elsewhere)"
    before = len(upstream.seen)
    for _ in range(3):
        answer = await messages(gateway, "claude-new", {**body, "messages": history})
        history = [*history, *answer, *(results(answer) or [ask("messages", bodies.NEXT)])]
    seen = upstream.seen[before:]
    assert [one.refusal for one in seen] == [None] * 3
    assert "thinking" in json.dumps(seen[-1].body["messages"]), "its own thoughts stay"


async def test_beta_headers_reach_only_anthropic(gateway: Gateway, upstream: StrictUpstream) -> None:
    for tier in ("openai", "ollama", "claude"):
        await messages(gateway, tier, bodies.claude_code_title())
        headers = upstream.seen[-1].headers
        assert ("anthropic-beta" in headers) == (tier == "claude")
