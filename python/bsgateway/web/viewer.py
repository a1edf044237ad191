"""Who looks at the pages: an admin of the proxy, who sees all, or a key, which sees its own requests.

LiteLLM authenticates. The hash that its own metadata gives a request is what `routing_logs.key_hash` holds, so the same
function of LiteLLM's is asked here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..decision import MASTER_KEY
from ..outcome import MAX_TEXT, text
from ..rows import MAX_NAME, clean
from .problems import RequestError


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """`admin`: may read everything. `may_write`: may change what the gateway does, too. `key_hash` is LiteLLM's hash of
    the key, as in the log; None only for an admin who has no key of that kind."""

    admin: bool
    may_write: bool = False
    key_hash: str | None = None
    key_alias: str | None = None

    def __post_init__(self) -> None:
        if not self.admin and not self.key_hash:
            raise ValueError("neither an admin nor a key: would see everything")

    @property
    def only(self) -> str | None:
        """The key whose requests are to be seen; None: those of all."""
        return None if self.admin else self.key_hash

    @property
    def name(self) -> str:
        """What people know the key by: its alias, or the beginning of its hash."""
        return self.key_alias or ("master key" if self.key_hash == MASTER_KEY else (self.key_hash or "admin")[:12])

    def must_be_admin(self) -> None:
        """Raises RequestError (403)."""
        if not self.admin:
            raise RequestError(403, "only a proxy admin may see this", "use the master key, or an admin's")

    def must_write(self) -> None:
        """Raises RequestError (403)."""
        if not self.may_write:
            raise RequestError(403, "only a proxy admin may do this", "use the master key, or an admin's")


def viewer_of(key: Any) -> Viewer:
    """`key` is LiteLLM's UserAPIKeyAuth. Raises RequestError (403) for who is neither an admin nor has a key."""
    from litellm.proxy._types import LitellmUserRoles
    from litellm.proxy.litellm_pre_call_utils import LiteLLMProxyRequestSetup

    may_write = key.user_role == LitellmUserRoles.PROXY_ADMIN
    admin = may_write or key.user_role == LitellmUserRoles.PROXY_ADMIN_VIEW_ONLY
    logged = text(LiteLLMProxyRequestSetup.get_logged_api_key(key))
    if not admin and (logged is None or key.is_session_token):
        # Sessions of LiteLLM's own pages are logged by a name, which others may have, too.
        raise RequestError(403, "you are neither an admin nor do you use an API key", "log in with an API key")
    if not admin and logged is not None and len(logged) >= MAX_TEXT:
        # The log has the beginning of it, which others may have, too: long tokens of one issuer begin alike.
        raise RequestError(
            403,
            f"the log cannot tell keys of {MAX_TEXT} characters or more from each other",
            "for the operator: have custom_auth give LiteLLM a hash of the key as its api_key",
        )
    alias = text(key.key_alias)
    return Viewer(
        admin=admin,
        may_write=may_write,
        key_hash=None if logged is None else clean(logged, MAX_NAME),
        key_alias=None if alias is None else clean(alias, MAX_NAME),
    )


def let_keys_in(paths: tuple[str, ...], readers: tuple[str, ...]) -> None:
    """Tell LiteLLM that the routes `paths` know by themselves what a key may see: it refuses keys of no admin wherever
    it does not know the route. `readers` change nothing although they are POSTs: admins who may only read may use them.

    A key that is limited to other routes (`allowed_routes`) stays so.
    """
    from litellm.proxy._types import LiteLLMRoutes

    for listed, ours in ((LiteLLMRoutes.self_managed_routes, paths), (LiteLLMRoutes.admin_viewer_routes, readers)):
        listed.value.extend(path for path in ours if path not in listed.value)
