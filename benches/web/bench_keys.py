"""The keys of the benchmark's proxy, copied beside its gateway.yaml: the master key, and the busiest one of the log."""

from __future__ import annotations

import os

from fastapi import HTTPException, Request
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth

OWN_KEY = "sk-key-of-the-bench"


async def authenticate(request: Request, api_key: str) -> UserAPIKeyAuth:
    """See LiteLLM's `custom_auth`, which every key comes to."""
    if api_key == os.environ["LITELLM_MASTER_KEY"]:
        return UserAPIKeyAuth(api_key=api_key, user_role=LitellmUserRoles.PROXY_ADMIN)
    if api_key == OWN_KEY:
        return UserAPIKeyAuth(api_key=api_key)
    raise HTTPException(401, "no such key")
