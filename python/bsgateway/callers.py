"""Who asks, as LiteLLM authenticated it, and whether they want to be left out of the log."""

from __future__ import annotations

from typing import Any

from .decision import Caller
from .gateway import Asker
from .outcome import mapping, text

NO_LOG_HEADER = "x-bsgateway-no-log"
"""Request header by which a client keeps its request out of the log, as far as `collector.opt_out` lets it."""
NO_LOG = "bsgateway_no_log"
"""The same in the metadata of a request's body."""
_YES = frozenset(("true", "1", "yes"))


def asker(key: Any, data: dict[str, Any], metadata: dict[str, Any]) -> Asker:
    """`key` is LiteLLM's UserAPIKeyAuth, `metadata` its own metadata of the request `data`."""
    return Asker(
        _caller(key, data, metadata),
        mapping(getattr(key, "metadata", None)),
        mapping(getattr(key, "team_metadata", None)),
    )


def _caller(key: Any, data: dict[str, Any], metadata: dict[str, Any]) -> Caller:
    return Caller(
        call_id=text(data.get("litellm_call_id")),
        session_id=text(data.get("litellm_session_id")),
        key_hash=text(metadata.get("user_api_key_hash")),
        key_alias=text(getattr(key, "key_alias", None)),
        user_id=text(getattr(key, "user_id", None)),
        team_id=text(getattr(key, "team_id", None)),
        end_user=text(getattr(key, "end_user_id", None)),
        user_agent=text(metadata.get("user_agent")),
    )


def opts_out(data: dict[str, Any]) -> bool:
    """Whether the client asks to be left out of the log. Its word is taken out of `metadata`, which is the client's own
    or holds what the client put there: some of it goes to the provider, who may refuse a key that is not text."""
    metadata = data.get("metadata")
    marked = isinstance(metadata, dict) and _is_yes(metadata.pop(NO_LOG, None))
    headers = mapping(mapping(data.get("proxy_server_request")).get("headers"))  # names in lower case, as ASGI has them
    return marked or _is_yes(headers.get(NO_LOG_HEADER))


def _is_yes(value: Any) -> bool:
    return value.strip().lower() in _YES if isinstance(value, str) else isinstance(value, int) and value == 1
