"""Who is answered a second time (see `dual_runs`): the conditions, and what is kept of a request until then."""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .decision import Reason
from .judge import MAX_CHARS
from .policy import Choice
from .turns import blocks, role_of, text_of, turns

if TYPE_CHECKING:
    from .gateway import Gateway, Pending

log = logging.getLogger(__name__)

_FORMATS = {"acompletion": "chat", "anthropic_messages": "messages"}
_SETTINGS = {
    "chat": (
        "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "response_format",
        "presence_penalty", "frequency_penalty", "reasoning_effort", "verbosity",
    ),
    "messages": ("max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "thinking"),
}  # fmt: skip
"""Format -> what the client asked for and is asked for again."""
_WORDS = {"chat": ("messages",), "messages": ("messages", "system")}
"""Format -> the words that are sent again."""
_NEVER = frozenset(("tools", "parallel_tools", "server_tools", "web_search", "audio", "vision", "file"))
"""Needs of requests that are not drawn: what may act twice, and what is large."""
_MOST_TOKENS = 50_000
"""Of a request that is drawn: its words are kept until it is answered a second time."""
_NEVER_WITH = (
    "tools", "functions", "mcp_servers", "container", "web_search_options", "modalities", "audio", "no-log",
    "mock_response", "allowed_model_region", "api_key", "api_base", "base_url", "user_config",
)  # fmt: skip
"""Parts of a body with which a request is not drawn. The last ones bind it to a region, or to an account or a host of
the client's own, which the second call would know nothing of."""


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A request that was drawn: what is sent again, to which model, and whose answer it is compared with.

    `words` are not there until the first model is called, see `with_words`; `ask` is the newest of them. `lower` says
    whether the second answer is that of the lower tier. `expected` is its expected cost in US dollars.
    """

    gateway: Gateway
    format: str
    settings: dict[str, Any]
    tier: str
    model: str
    other_tier: str
    other_model: str
    lower: bool
    share: float
    expected: float | None
    words: dict[str, Any] | None = None
    ask: str = ""

    def __repr__(self) -> str:
        return f"Ticket({self.model!r}, {self.other_model!r}, ...)"  # without the words: a repr ends up in logs


async def make_ticket(
    gateway: Gateway,
    pending: Pending,
    choice: Choice,
    data: Mapping[str, Any],
    cooling: Mapping[str, Reason],
    permitted: Callable[[str], Awaitable[Choice]],
) -> Ticket | None:
    """A ticket for the request `data` that goes to `choice`, as its client sent it; None if it cannot have one.

    `cooling` are models that are left alone. `permitted` chooses a model of a tier that the request's key may use.
    """
    if choice.tier is None or choice.model is None or not _may_have_one(pending, data):
        return None
    tier = _other(gateway, choice.tier)
    if tier not in gateway.policy.able(pending.demand, pending.wishes, cooling, gateway.expected):
        return None
    other = await permitted(tier)
    if other.model is None or other.tier != tier or other.model == choice.model:
        return None
    format = _FORMATS[pending.call_type]
    return Ticket(
        gateway,
        format,
        _parts(data, _SETTINGS[format]),
        choice.tier,
        choice.model,
        tier,
        other.model,
        tier == gateway.policy.tiers[0].name,
        gateway.dual_run_share,
        other.expected_cost,
    )


def with_words(ticket: Ticket, kwargs: Mapping[str, Any], call_type: str) -> Ticket:
    """`ticket` with the words of `kwargs`, LiteLLM's parameters of a call that is about to be made: unless it has some,
    or this is a call that LiteLLM makes inside another, in another format."""
    if ticket.words is not None or _FORMATS.get(call_type) != ticket.format:
        return ticket
    try:
        words = _parts(kwargs, _WORDS[ticket.format])
        return msgspec.structs.replace(ticket, words=words, ask=_newest_ask(words, call_type))
    except Exception as error:
        log.error("a request cannot be answered twice: %s", type(error).__name__)
        return ticket


def _parts(body: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A copy: LiteLLM goes on to change what is in a body."""
    return {name: copy.deepcopy(body[name]) for name in names if body.get(name) is not None}


def _may_have_one(pending: Pending, data: Mapping[str, Any]) -> bool:
    demand = pending.demand
    if pending.scored is None or pending.call_type not in _FORMATS:
        return False
    if demand.side or demand.tool_turn or demand.bound or demand.context_tokens > _MOST_TOKENS:
        return False
    if not _NEVER.isdisjoint(demand.needs):
        return False
    return not any(data.get(name) for name in _NEVER_WITH) and data.get("n") in (None, 1)


def _other(gateway: Gateway, tier: str) -> str:
    """The tier to compare with: the lowest; for that one, the highest. With one tier only, that one."""
    tiers = gateway.policy.tiers
    return tiers[-1].name if tier == tiers[0].name else tiers[0].name


def _newest_ask(data: Mapping[str, Any], call_type: str) -> str:
    """The text of the user's newest message, for a judge to read."""
    for turn in reversed(turns(data, call_type)):
        if role_of(turn) == "user":
            said = "\n".join(text for block in blocks(turn) if (text := text_of(block)) is not None)
            if said:
                return said[-MAX_CHARS:]  # agents put their own words before the user's
    return ""
