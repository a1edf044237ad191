"""`side_requests.py`: what agents ask for beside their work, in their shapes and our words, and what must not be taken
for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.config import Routing, Tier, make_analyzer
from bsgateway.core import core
from bsgateway.decision import Caller
from bsgateway.gateway import FORMATS
from bsgateway.side_requests import is_side_request
from shapes import bodies

Body = dict[str, Any]

CLAUDE_CODE = {"user-agent": "claude-cli/2.1.4 (external, cli)", "x-claude-code-session-id": bodies.SESSION}
CODEX = {"user-agent": "codex_cli_rs/0.61.0 (Linux 6.1; x86_64)", "session-id": bodies.SESSION}
OPENCODE = {"user-agent": "opencode/1.4.2 ai-sdk/provider-utils", "x-session-id": f"ses_{bodies.SESSION}"}
SDK = {"user-agent": "OpenAI/Python 2.7.1"}
WEB_UI = {"user-agent": "Python/3.12 aiohttp/3.12"}
SDK_SESSION = {**SDK, "x-litellm-session-id": bodies.SESSION}

ROUTING = Routing(tiers={"only": Tier(score_range=(0, 100), model="m")}, fallback_tier="only")
ANALYZER = make_analyzer(ROUTING)
USER_ID = json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": bodies.SESSION})
TITLE_SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}

CHAT, MESSAGES, RESPONSES = "acompletion", "anthropic_messages", "aresponses"


def recognised(call_type: str, headers: dict[str, str], body: Body) -> bool:
    analysis = ANALYZER.analyze(body, FORMATS[call_type])
    data = {**body, "proxy_server_request": {"headers": headers}}
    return is_side_request(data, call_type, analysis, Caller(key_hash="key", user_agent=headers.get("user-agent")))


def user(text: Any) -> Body:
    return {"role": "user", "content": text}


def system(text: Any) -> Body:
    return {"role": "system", "content": text}


def messages(ask: str, system: str = "", **more: Any) -> Body:
    head = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.4; cch=1f3a;"}
    name = {"type": "text", "text": "You are the command line agent."}
    return {
        "system": [head, name, {"type": "text", "text": system}] if system else [head, name],
        "messages": [user([{"type": "text", "text": ask}])],
        "max_tokens": 32_000,
        **more,
    }


def history(*last: Body) -> list[Body]:
    """A conversation with tool calls in it, as chat completions tell it."""
    return [*bodies.chat_turns()[:5], *last]


TOLD = "# USER\nMend the invoice.\n# ASSISTANT\nI shall look at the helper.\n# USER\nGood.\n"

SIDE: dict[str, tuple[str, dict[str, str], Body]] = {
    "claude code: title by schema": (MESSAGES, CLAUDE_CODE, bodies.claude_code_title()),
    "claude code: title by words": (
        MESSAGES, CLAUDE_CODE,
        messages("Mend the invoice.", "Write a title of three to five words for what this message is about."),
    ),
    "claude code: new topic": (
        MESSAGES, CLAUDE_CODE,
        messages("Mend the invoice.", "Decide whether a new topic begins here; if so, extract a title for it."),
    ),
    "claude code: quota probe": (MESSAGES, CLAUDE_CODE, messages("quota", max_tokens=1)),
    "claude code: small answer": (
        MESSAGES, CLAUDE_CODE, messages("git diff HEAD~1", "Name its prefix.", max_tokens=512),
    ),
    "claude code: summary for resume": (
        MESSAGES, CLAUDE_CODE,
        messages(f"Here it is:\n{TOLD}", "Summarize this coding conversation in under fifty characters."),
    ),
    "claude code: compact, without tools": (
        MESSAGES, CLAUDE_CODE,
        {
            **messages("", "You are an assistant tasked with summarizing conversations."),
            "messages": [user("Mend it."), {"role": "assistant", "content": "Mended."}, user("Note what was done.")],
        },
    ),
    "claude code: known by its user id alone": (
        MESSAGES, {}, messages("Mend it.", "Come up with a short title.", metadata={"user_id": USER_ID}),
    ),
    "opencode: title": (
        CHAT, OPENCODE,
        {"messages": [system("You are a title generator. One line."), user("Make one for:\n"), user("Mend it.")]},
    ),
    "opencode: title of a conversation": (
        CHAT, OPENCODE,
        {"max_tokens": 32_000,
         "messages": [system("Answer in a line."), user("Generate a title for this conversation:"), user("Mend it.")]},
    ),
    "opencode: compaction": (
        CHAT, OPENCODE,
        {"messages": history(user("Give a detailed prompt for continuing our conversation above."))},
    ),
    "opencode: compaction with the placeholder": (
        CHAT, OPENCODE,
        {"messages": history(user("Summarize our conversation so far.")), "tools": [bodies.openai_tool("_noop")]},
    ),
    "codex: compaction": (
        RESPONSES, CODEX,
        {
            "instructions": "You are a coding agent in a terminal. " * 50,
            "input": [*bodies.codex_turns()[:6], user("Context checkpoint: write a handoff summary for who goes on.")],
        },
    ),
    "codex: said by a header": (
        RESPONSES, {**CODEX, "x-openai-subagent": "compact"}, bodies.codex(),
    ),
    "aider: commit message": (
        CHAT, SDK,
        {"messages": [system("You are a programmer. Generate a commit message of one line for these changes."),
                      user("# Changes\ndiff --git a/total.py b/total.py\n- return 1\n+ return 2\n")]},
    ),
    "aider: summary of the history": (
        CHAT, SDK,
        {"messages": [system("Briefly summarize this part of a conversation about programming."), user(TOLD)]},
    ),
    "web ui: title": (
        CHAT, WEB_UI,
        {"messages": [user("### Task:\nFind a short title for the chat below.\n### Rules:\n" + "- Be brief.\n" * 60
                           + "<chat_history>\nUSER: Mend it.\nASSISTANT: Mended.\n</chat_history>")]},
    ),
    "web ui: tags": (
        CHAT, WEB_UI,
        {"messages": [user("### Task:\nGive one to three tags for the themes of the chat.\n"
                           "<chat_history>\nUSER: Mend it.\n</chat_history>")]},
    ),
    "web ui: follow-ups": (
        CHAT, WEB_UI,
        {"messages": [user("### Task:\nSuggest follow-up questions that fit the chat history.\n"
                           "<chat_history>\nUSER: Mend it.\n</chat_history>")]},
    ),
    "a chat front end with a session: title": (
        CHAT, SDK_SESSION,
        {"messages": [system("Write a title for this conversation."), user("Mend the invoice.")], "max_tokens": 40},
    ),
}  # fmt: skip

EXTRACTION = {
    "messages": [system("Extract the fields of the invoice."), user("Invoice 17, 3 March, 20.00")],
    "response_format": {"type": "json_schema", "json_schema": {"name": "invoice", "schema": TITLE_SCHEMA}},
}

WORK: dict[str, tuple[str, dict[str, str], Body]] = {
    "claude code: its first ask": (
        MESSAGES, CLAUDE_CODE, messages("Summarize this chat app.", tools=bodies.claude_code_tools()),
    ),
    "claude code: deep in its work": (MESSAGES, CLAUDE_CODE, bodies.claude_code()),
    "claude code: a tool result": (MESSAGES, CLAUDE_CODE, bodies.claude_code(bodies.claude_code_loop())),
    "claude code: compact, with its tools, so with its prompt cache": (
        MESSAGES, CLAUDE_CODE,
        bodies.claude_code([*bodies.claude_code()["messages"], user("Write a summary of the conversation so far.")]),
    ),
    "claude code: a schema, with tools": (
        MESSAGES, CLAUDE_CODE, {**bodies.claude_code_title(), "tools": bodies.claude_code_tools()},
    ),
    "claude code: tools switched off": (
        MESSAGES, CLAUDE_CODE, messages("Why is the sky blue?", "You help in a terminal."),
    ),
    "opencode: its first ask": (CHAT, OPENCODE, bodies.opencode(bodies.chat_turns()[:2])),
    "opencode: a conversation about titles": (
        CHAT, OPENCODE, bodies.opencode(history(user("Write a title for the chat window, and a summary of it.")))),
    "codex: work": (RESPONSES, CODEX, bodies.codex()),
    "codex: another of its agents": (RESPONSES, {**CODEX, "x-openai-subagent": "review"}, bodies.codex()),
    "aider: work": (CHAT, SDK, bodies.aider()),
    "aider: an ask about a summary": (
        CHAT, SDK,
        bodies.aider(messages=[system("You edit files."), user("Summarize the conversation parser in parse.py.")]),
    ),
    "sdk: a plain chat": (CHAT, SDK, {"messages": [user("Write a title for my blog post on tea.")], "max_tokens": 50}),
    "sdk: a plain question about a chat": (
        CHAT, SDK, {"messages": [user("Name a good title for a conversation about tea.")], "max_tokens": 50}),
    "sdk: a summary of a text": (CHAT, SDK, {"messages": [user("Summarize: " + "Tea is a plant. " * 500)]}),
    "sdk: a review of a diff": (
        CHAT, SDK, {"messages": [user("Is this right?\ndiff --git a/x b/x\n- return 1\n+ return 2\n")]}),
    "sdk: extraction by schema": (CHAT, SDK, EXTRACTION),
    "sdk: extraction by schema in a session": (CHAT, SDK_SESSION, EXTRACTION),
    "sdk: a small answer in a session": (CHAT, SDK_SESSION, {"messages": [user("Is tea a plant?")], "max_tokens": 5}),
    "sdk: one token": (CHAT, SDK, {"messages": [user("Is tea a plant? Answer y or n.")], "max_tokens": 1}),
    "sdk: a conversation in messages": (CHAT, SDK, {"messages": history(user("Sum up what we have."))}),
    "sdk: a judge of a conversation": (
        CHAT, SDK, {"messages": [system("Rate the helpfulness of the assistant from 1 to 10."), user(TOLD)]}),
    "web ui: an ask": (CHAT, WEB_UI, {"messages": [user("What is in <chat_history> tags?")]}),
    "nothing": (CHAT, CLAUDE_CODE, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", SIDE)
def test_side_requests_are_recognised(name: str) -> None:
    assert recognised(*SIDE[name])


@pytest.mark.parametrize("name", WORK)
def test_work_is_not_taken_for_one(name: str) -> None:
    assert not recognised(*WORK[name])


@pytest.mark.parametrize("name", SIDE)
def test_what_declares_tools_is_work(name: str) -> None:
    call_type, headers, body = SIDE[name]
    headers = {key: value for key, value in headers.items() if key != "x-openai-subagent"}
    assert not recognised(call_type, headers, {**body, "tools": [bodies.openai_tool()]})
    assert not recognised(call_type, headers, {**body, "tools": [], "functions": [{"name": "read"}]})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=())),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "name", "function", "user_id"]), inner)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["messages", "input", "system", "tools", "functions", "metadata"]), VALUES),
    st.dictionaries(st.sampled_from(["user-agent", "x-openai-subagent", "x-session-id"]), VALUES),
)
@settings(max_examples=200, deadline=None)
def test_any_body_is_taken(body: Body, headers: Body) -> None:
    analysis: core.Analysis = ANALYZER.analyze(body, "chat")
    data = {**body, "proxy_server_request": {"headers": headers}}
    assert is_side_request(data, CHAT, analysis, Caller()) in (True, False)
