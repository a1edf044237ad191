"""Which conversation a request belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from .decision import Caller
from .turns import ANSWERING, NEW_CHAT, blocks, has_answer, headers_of, own_start, role_of, system_heads, text_of, turns

_MAX_ID = 256
_HEAD = 2_048
_SCAN = 32
_OWN_BLOCKS = 4
_REMINDER = "<system-reminder"
_NO_FILES = ("tool_result", "text", "input_text", "output_text")

_SESSION_HEADERS = (
    "x-litellm-session-id",
    "x-claude-code-session-id",
    "x-session-id",  # opencode, with x-session-affinity
    "x-opencode-session",
    "session-id",  # Codex
    "session_id",
    "conversation_id",
)


class _Encoded(msgspec.Struct):
    """The part of Claude Code's JSON `metadata.user_id` that is read."""

    session_id: str = ""


_user_id_decoder = msgspec.json.Decoder(_Encoded)


def conversation_id(data: Mapping[str, Any], call_type: str, caller: Caller) -> str | None:
    """A hash, 32 hexadecimal digits, that all requests of one conversation share; None if there is nothing to go by.

    It is made of who asks (key, team, user, end user), so that no two of them ever share a conversation; of the
    client's session id, if there is one, else of the beginning of the system prompt; and of the user's first words.
    Those are in it because sub-agents and side requests of an agent come under its session id, and each of these
    threads has a tier of its own.
    They are taken without what agents put before them (reminders, lists of files), which may change from turn to turn.

    A conversation whose beginning is rewritten, because it was summarised to make room, is a new one: nothing of it is
    in any prompt cache, and it holds nothing bound to a provider. In the Responses API a turn may bring its own part
    only (`previous_response_id`, `conversation`): then the session id alone counts.
    """
    session = session_id(data, caller)
    if data.get("previous_response_id") or data.get("conversation"):
        pieces: list[str] = []
        if session is None:
            return None
    else:
        said = turns(data, call_type)
        pieces = _first_words(said, call_type, examples=session is None)
        if not pieces and session is None:
            return None
        if session is None:
            pieces[:0] = system_heads(data, said, 512, 2)
    # Behind one service key, or with no key at all (single sign-on), it is users that differ.
    who = (caller.key_hash, caller.team_id, caller.user_id, caller.end_user)
    return _hash([*(name or "" for name in who), session or "", *pieces])


def thread_id(conversation: str, data: Mapping[str, Any], call_type: str, caller: Caller) -> str:
    """The id under which the state of a conversation is kept from its second turn on.

    Without a session id many conversations may begin with the same words, such as those of an application that serves
    all its users with one key. Their first answers differ, so the answer is in it; the id of a tool call may be all of
    one. With a session id it is `conversation` itself.
    """
    if session_id(data, caller) is not None:
        return conversation
    return _hash([conversation, *_first_answer(turns(data, call_type))])


def _hash(pieces: Sequence[str]) -> str:
    # Lengths keep two lists of pieces apart that read the same when put together.
    text = "\0".join([*pieces, *(str(len(piece)) for piece in pieces)])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _first_answer(said: Sequence[Any]) -> list[str]:
    """The beginning of the first text that a model wrote, and the id of the first tool that it called."""
    for turn in said[:_SCAN]:
        if not isinstance(turn, dict):
            continue
        if role_of(turn) in ANSWERING:
            calls = turn.get("tool_calls")
            inner = (*blocks(turn), *(calls[:1] if isinstance(calls, list) else ()))
            texts = (text_of(block) for block in inner)
            pieces = [text[:_HEAD].strip() for text in texts if text is not None]
            pieces += [name for block in inner if (name := _call_id(block)) is not None]
            if pieces:
                return pieces
        elif (name := _call_id(turn)) is not None:
            return [name]
    return []


def _call_id(block: Any) -> str | None:
    found = (block.get("call_id") or block.get("id")) if isinstance(block, dict) and "type" in block else None
    return _id(found)


def session_id(data: Mapping[str, Any], caller: Caller) -> str | None:
    """The id of the client's session, if it sends one.

    Of headers, those of agents and LiteLLM's own; else what LiteLLM found; else `metadata.user_id` as Claude Code sends
    it, `prompt_cache_key` or `conversation` of the Responses API. Not the trace id, which may be another one at every
    request, nor an id that LiteLLM made up because there was none.
    """
    headers = headers_of(data)
    for name in _SESSION_HEADERS:
        if name in headers and (found := _id(headers[name])):
            # Codex: a sub-agent has the session of its parent, and a thread of its own.
            return f"{found}/{thread}" if (thread := _id(headers.get("thread-id"))) else found
    trace = headers.get("x-litellm-trace-id")
    metadata = data.get("metadata")
    for place in (metadata, data.get("litellm_metadata")):
        if isinstance(place, dict):
            if place.get("litellm_session_id_generated"):
                trace = caller.session_id
            elif (found := _id(place.get("session_id"))) and found != trace:
                return found
    if caller.session_id and caller.session_id != trace:
        return caller.session_id[:_MAX_ID]
    if isinstance(metadata, dict) and (found := _of_user_id(metadata.get("user_id"))):
        return found
    conversation = data.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    return _id(data.get("prompt_cache_key")) or _id(conversation)


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _MAX_ID else None


def _of_user_id(value: Any) -> str | None:
    """The session in Anthropic's `metadata.user_id`: `user_<hash>_account_<id>_session_<id>`, or an object as JSON."""
    if not isinstance(value, str) or len(value) > 4 * _MAX_ID:
        return None
    if value.startswith("{"):
        try:
            return _id(_user_id_decoder.decode(value).session_id)
        except (msgspec.DecodeError, UnicodeEncodeError):
            return None
    _, mark, found = value.rpartition("_session_")
    return _id(found) if mark else None


def begins(data: Mapping[str, Any], call_type: str) -> bool:
    """Whether a request is the first of its conversation, as no model has spoken in it yet: what is remembered under
    its id is of another one that began with the same words."""
    return not (data.get("previous_response_id") or data.get("conversation") or has_answer(turns(data, call_type)))


def _first_words(said: Sequence[Any], call_type: str, examples: bool) -> list[str]:
    """The beginnings of the first message in the user's own words. `examples`: there may be some before it."""
    examples = examples and call_type in ("acompletion", "completion")
    first: list[str] = []
    for turn in said[:_SCAN]:
        if role_of(turn) != "user":
            continue
        if not first:
            first = _own_pieces(turn)
        elif _begins_new_chat(turn):
            first = []
        if first and not examples:
            break
    return first


def _begins_new_chat(turn: Any) -> bool:
    found = blocks(turn)
    text = text_of(found[0]) if found else None
    return text is not None and text.startswith(NEW_CHAT)


def _own_pieces(turn: Any) -> list[str]:
    """What identifies a message: of each text its head and length, of anything else its kind, length and end. Nobody
    rewrites a message that was answered, so lengths tell apart what a template begins with the same words."""
    pieces: list[str] = []
    for block in blocks(turn):
        text = text_of(block)
        if text is None:
            if isinstance(block, dict):
                pieces += _fingerprint(block)
        elif (start := own_start(text)) is not None:
            head = text[start : start + _HEAD]
            # An agent may put a reminder behind the user's words, and another one at the next turn.
            end = head.find(_REMINDER, 1)
            pieces.append(head[:end].rstrip() if end >= 0 else f"{head}\0{len(text) - start}")
        if len(pieces) >= _OWN_BLOCKS:
            break
    return pieces


def _fingerprint(block: Mapping[str, Any]) -> tuple[str, ...]:
    """An image, file or the like, by the longest text in it."""
    kind = block.get("type")
    if kind in _NO_FILES:
        return ()
    texts = [
        value
        for inner in (block, *(value for value in islice(block.values(), 8) if isinstance(value, dict)))
        for value in islice(inner.values(), 8)
        if isinstance(value, str)
    ]
    longest = max(texts, key=len, default="")
    return (f"{kind}\0{len(longest)}\0{longest[-64:]}",) if longest else ()
