"""The decision as it rides in LiteLLM's own metadata of a request: where it is put, and where it is found again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from .dual_run_tickets import Ticket

STAMP = "routing_decision"
"""Key of the decision in LiteLLM's own metadata, where other callbacks and its spend logs look for it."""
KEPT = "bsgateway_decision"
"""The same under a key of ours: LiteLLM's router clears `routing_decision` at every attempt it makes."""

# Call types whose `metadata` is the client's own: LiteLLM keeps its own in `litellm_metadata` there.
_OWN_METADATA = frozenset(("anthropic_messages", "aresponses", "responses"))
METADATA = ("metadata", "litellm_metadata")
"""Where LiteLLM keeps metadata; one of the two is the client's own in some formats."""


class RoutingDecision(dict[str, Any]):
    """The stamp in LiteLLM's metadata. A class of its own, so that a `routing_decision` which a client put into its
    metadata can never be taken for ours: JSON makes plain dicts.

    `id` is the decision's. `call_id` is the request's, `group` the model group of LiteLLM's latest attempt. Google's
    format needs them: LiteLLM answers it by a call of its own inside, which has another id and knows of no group.
    `logged` is False for a request that opted out of the log, row and all. `conversation` is the one whose state this
    request changed, None if it changed none. `beyond` are models above the tier that is allowed: no fallback goes
    there. `private`: its client keeps its words, or all of it, out of the log. `ticket` is there if it will be answered
    a second time. `applied` as the decision says it: whether the request was rewritten.
    """

    id: UUID
    call_id: str | None = None
    group: str | None = None
    logged: bool = True
    conversation: str | None = None
    beyond: frozenset[str] = frozenset()
    private: bool = False
    applied: bool = True
    ticket: Ticket | None = None


def own_metadata(data: dict[str, Any], call_type: str) -> dict[str, Any]:
    """LiteLLM's own metadata dict of a request, made if it is missing; what the client put there is kept."""
    name = "litellm_metadata" if call_type in _OWN_METADATA else "metadata"
    metadata = data.get(name)
    if not isinstance(metadata, dict):
        metadata = data[name] = {}
    return metadata


def stamp_of(holder: Mapping[str, Any]) -> RoutingDecision | None:
    """The stamp in the metadata of `holder`: a request, or LiteLLM's parameters of a call."""
    for name in METADATA:
        metadata = holder.get(name)
        if isinstance(metadata, dict) and isinstance(found := metadata.get(KEPT), RoutingDecision):
            return found
    return None
