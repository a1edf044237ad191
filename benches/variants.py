"""Bodies that grow: a conversation turn by turn, one message of any length, and quarters of the hostile bodies."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from bodies import HOSTILE, Body, history_200k, log_lines, prose
from contenders import new_turn, parsed

SIZES = {"0.5 KB": 500, "4 KB": 4_000, "32 KB": 32_000, "200 KB": 200_000, "1 MB": 1_000_000}


def next_turns() -> Callable[[], tuple[Any, str]]:
    """Makes the arguments of `analyze` for `history_200k` with another newest message each time, in new objects."""
    first = history_200k()
    assert first.body["messages"][-1]["content"][0]["content"] == _newest(0)

    def make() -> tuple[Any, str]:
        body = parsed(first)
        body.body["messages"][-1]["content"][0]["content"] = _newest(new_turn())
        return body.body, body.format

    return make


def _newest(turn: int) -> str:
    return f"{turn} passed\n{log_lines(900, turn)}"


@cache
def _prose() -> str:
    return prose(max(SIZES.values()), 77)


def one_message(name: str) -> Body:
    """A chat with one message of prose of a size named in `SIZES`: every contender reads all of it."""
    message = {"role": "user", "content": _prose()[: SIZES[name]]}
    return Body("chat", {"model": "auto", "messages": [message]})


@cache
def hostile(name: str) -> Body:
    """A body of HOSTILE, made once."""
    return HOSTILE[name]()


@cache
def quarter(name: str) -> Body:
    """A body of HOSTILE without its middle: a quarter of its size."""
    whole = hostile(name)
    message = whole.body["messages"][0]
    tools = whole.body.get("tools", [])
    content = message["content"]
    if name == "nested_100k":
        for _ in range(75_000):
            content = content[0]["content"]
    elif len(content) > 4:
        eighth = len(content) // 8  # both ends: what stands at the end is part of some
        content = content[:eighth] + content[-eighth:]
    body = {**whole.body, "messages": [{**message, "content": content}]}
    return Body(whole.format, {**body, "tools": tools[: len(tools) // 4]} if tools else body)
