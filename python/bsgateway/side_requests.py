"""Requests that an agent makes beside its work: a title, a topic, a summary to make room, a commit message, a probe.

They need no strong model, and whatever tier they go to, the conversation that they belong to is not concerned. What
gives them away is what an agent's real work never lacks: tools. On top of that there must be more: a small answer, a
schema, or words that speak of the conversation itself. Precision goes before recall: a side request that is taken for
work costs a little, work that is taken for a side request gets a bad answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .conversations import session_id
from .core import core
from .decision import Caller
from .turns import blocks, has_answer, headers_of, own_start, role_of, system_heads, text_of, turns

PROBE_TOKENS = 16
"""An agent that asks for no more output than this wants to know whether it gets an answer at all."""
SMALL_TOKENS = 1_024
"""Output limit of a small answer."""
FEW_TURNS = 4
HARD = 35.0
"""Score of a request that is work, unless its words say otherwise: the lowest floor of the static score."""

_SYSTEM_HEAD = 400
_ASK_HEAD = 4_096
_ASK_WORDS = 600

# Beginnings of user agents, in lower case. All of these declare their tools with every request of their work.
_AGENTS = (
    "claude-cli",
    "claude-code",
    "codex",
    "opencode",
    "geminicli",
    "gemini-cli",
    "qwen-code",
    "crush/",
    "cline",
    "roocode",
    "roo-code",
    "kilo-code",
    "goose",
)
_AGENT_HEADERS = ("x-claude-code-session-id", "x-opencode-session", "x-codex-turn-metadata")
_SUBAGENT_HEADER = "x-openai-subagent"
_SIDE_SUBAGENTS = ("compact", "memory_consolidation")
_PLACEHOLDER = "_noop"
"""The tool that opencode declares when it has none, for the sake of proxies that want one beside old tool calls."""

_CHAT = r"(?:conversation|chat|discussion|session|dialogue|messages?)"
_DONE_TO_IT = r"(?:titles?|summar\w+|topics?|tags|follow-?ups?|compact\w*|continu\w+|recap\w*|hand-?off|name)"
_OF_CHAT = re.compile(
    rf"\b{_DONE_TO_IT}\b[^.?!]{{0,80}}\b{_CHAT}|\b{_CHAT}s?\b[^.?!]{{0,60}}\b{_DONE_TO_IT}\b"
    r"|\bcontext checkpoint\b|\bhand-?off summary\b",
    re.IGNORECASE,
)
_TASK = re.compile(
    r"\b(?:generat|writ|creat|produc|extract|summari[sz]|suggest|provid|com(?:e|ing) up|tasked|propos)\w*\b[^.?!]{0,80}"
    r"\b(?:titles?|summar\w+|topics?|commit messages?|tags|follow-?ups?)\b|\b(?:title|topic) (?:generat|detect)\w+",
    re.IGNORECASE,
)
_AIDER = "# USER\n"
_TOLD = ("<chat_history>", "<conversation>", "<transcript>", _AIDER, "USER: ", "User: ", "Human: ")
"""How a conversation looks that is told in one text."""
_DIFF = "diff --git "
_COMMIT = re.compile(r"\bcommit message", re.IGNORECASE)


def is_side_request(data: Mapping[str, Any], call_type: str, analysis: core.Analysis, caller: Caller) -> bool:
    """Whether an agent asks for this beside its work.

    A request that declares tools is work. Of an agent (by its user agent or headers) a request without tools is beside
    the work if it asks for next to no output; if it begins no conversation with answers in it, wants a small answer or
    a schema; or if system prompt or newest ask speak of a title, a summary and the like of the
    conversation. Of any other client only what tells a conversation, or a diff, in one text and wants a title, a
    summary, tags, follow-up questions or a commit message for it, and is not hard; and a small answer of that kind
    within a session.
    """
    headers = headers_of(data)
    if headers.get(_SUBAGENT_HEADER) in _SIDE_SUBAGENTS:
        return True
    if _declares_tools(data):
        return False
    said = turns(data, call_type)
    limit = analysis.max_output_tokens
    opening = len(said) <= FEW_TURNS and not has_answer(said)
    small = limit is not None and limit <= SMALL_TOKENS
    if _is_agent(headers, caller, data):
        if limit is not None and limit <= PROBE_TOKENS:
            return True
        if opening and (small or "json_schema" in analysis.needs):
            return True
        system = "\n".join(system_heads(data, said, _SYSTEM_HEAD))
        if _OF_CHAT.search(system) or (opening and _TASK.search(system)):
            return True
        if _OF_CHAT.search(_newest_ask(said)[:_ASK_WORDS]):
            return True
        # opencode says what it wants in one message and gives the user's words in the next.
        return opening and len(said) > 1 and _OF_CHAT.search(_newest_ask(said[:-1])[:_ASK_WORDS]) is not None
    return opening and _tells_of_a_chat(data, said, caller, small, analysis.raw_score >= HARD)


def _tells_of_a_chat(data: Mapping[str, Any], said: Sequence[Any], caller: Caller, small: bool, hard: bool) -> bool:
    ask = _newest_ask(said)
    told = False
    for mark in _TOLD:
        told = told or mark in ask
    if not told and _DIFF not in ask and not (small and session_id(data, caller)):
        return False
    words = "\n".join((*system_heads(data, said, _SYSTEM_HEAD), ask[:_ASK_WORDS]))
    if _DIFF in ask and _COMMIT.search(words):
        return True
    if hard and _AIDER not in ask:  # to work on conversations may be somebody's job
        return False
    return (told or small) and _OF_CHAT.search(words) is not None


def _declares_tools(data: Mapping[str, Any]) -> bool:
    tools = data.get("tools")
    if not tools:
        return bool(data.get("functions"))
    if not isinstance(tools, (list, tuple)) or len(tools) > 1 or not isinstance(tools[0], dict):
        return True
    function = tools[0].get("function", tools[0])
    return not (isinstance(function, dict) and function.get("name") == _PLACEHOLDER)


def _is_agent(headers: Mapping[str, Any], caller: Caller, data: Mapping[str, Any]) -> bool:
    agent = caller.user_agent or headers.get("user-agent")
    if isinstance(agent, str) and agent[:32].lower().startswith(_AGENTS):
        return True
    for name in _AGENT_HEADERS:
        if name in headers:
            return True
    metadata = data.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    return isinstance(user, str) and len(user) < 1_024 and "session_" in user and "account_" in user


def _newest_ask(said: Sequence[Any]) -> str:
    """The beginning of the newest message of the user, in the user's own words."""
    for turn in reversed(said[-FEW_TURNS:]):
        if role_of(turn) != "user":
            continue
        for block in blocks(turn):
            if (text := text_of(block)) is not None and (start := own_start(text)) is not None:
                return text[start : start + _ASK_HEAD]
    return ""
