"""A request body -> what the local model is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core import core
from ...turns import blocks, own_start, role_of, text_of, turns
from . import Request

EARLIER_CHARS = 300
"""Characters of the user's ask before the newest one: its beginning says what it is about."""

_SCAN = 48
"""Turns that are looked at, from the end. An agent at work for longer is not answering a "yes, do it"."""
_TOOLS = core.FEATURE_NAMES.index("tools")
_MESSAGES = core.FEATURE_NAMES.index("messages")
_COMPLETIONS = ("atext_completion", "text_completion")


def request_of(analysis: core.Analysis, body: Mapping[str, Any], call_type: str) -> Request:
    """What the model is told. Never raises for what a client sent."""
    features = analysis.features
    return Request(
        ask=analysis.ask,
        tail=analysis.ask_tail,
        earlier=earlier_ask(body, call_type),
        messages=int(features[_MESSAGES]),
        tools=int(features[_TOOLS]),
        context_tokens=analysis.context_tokens,
    )


def earlier_ask(body: Mapping[str, Any], call_type: str) -> str:
    """The beginning of the user's ask before the newest, "" if none is among the last turns. A "yes, do it" is as hard
    as what it agrees to."""
    if call_type in _COMPLETIONS:  # a list of prompts is no conversation
        return ""
    said = turns(body, call_type)
    newest, answered = False, False
    for index in range(len(said) - 1, max(-1, len(said) - 1 - _SCAN), -1):
        turn = said[index]
        if role_of(turn) != "user":
            # What the user sends in several messages on end is one ask.
            answered = newest
        elif answered or not newest:
            words = _own_words(turn)
            if words and answered:
                return words
            newest = newest or bool(words)
    return ""


def _own_words(turn: Any) -> str:
    """The beginning of the last text of a turn that holds words of the user's own."""
    for block in reversed(blocks(turn)):
        text = text_of(block)
        start = own_start(text) if text else None
        if text and start is not None:
            return text[start : start + EARLIER_CHARS]
    return ""
