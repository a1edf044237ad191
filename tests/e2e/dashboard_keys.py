"""An operator's own authentication, copied beside the tests' gateway.yaml: an admin, one who only looks, and keys."""

import os
from typing import Any

from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

KEYS: dict[str, dict[str, Any]] = {
    "viewer": {"user_role": LitellmUserRoles.PROXY_ADMIN_VIEW_ONLY, "user_id": "viewer"},
    "alice": {"key_alias": "alice's key", "team_id": "red"},
    "bob": {"user_role": LitellmUserRoles.INTERNAL_USER, "user_id": "bob"},
    "narrow": {"allowed_routes": ["llm_api_routes"]},
    "cookie": {},
}
"""What LiteLLM is told of the key `sk-key-NAME`."""


async def authenticate(request: Any, api_key: str) -> UserAPIKeyAuth:
    """See LiteLLM's `custom_auth`. Cookies let in, too, as an operator's may: never here."""
    given = api_key or request.cookies.get("key", "")
    if given == os.environ["LITELLM_MASTER_KEY"]:
        return UserAPIKeyAuth(api_key=given, user_role=LitellmUserRoles.PROXY_ADMIN)
    name = given.removeprefix("sk-key-")
    if name not in KEYS:
        raise ProxyException(message="no such key", type="auth_error", param=None, code=401)
    return UserAPIKeyAuth(api_key=given, **KEYS[name])
