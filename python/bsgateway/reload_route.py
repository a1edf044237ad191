"""`POST /bsgateway/reload`, for LiteLLM's proxy admins."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec

from .errors import GatewayError
from .reload import LOOK_SECONDS, PATH, RefusedError, Reloader

WHO = f"this is the worker that was asked; others of the same gateway follow within some {LOOK_SECONDS:g} s"


def add_route(reloader: Reloader) -> None:
    """Put the route into LiteLLM's app. Only the master key and users with the role `proxy_admin` may use it."""
    from fastapi import Depends
    from fastapi.responses import JSONResponse
    from litellm.proxy._types import LitellmUserRoles
    from litellm.proxy.auth.user_api_key_auth import user_api_key_auth
    from litellm.proxy.proxy_server import app

    asker = Depends(user_api_key_auth)

    async def reload(key: Any = asker) -> Any:
        """Check gateway.yaml and take up its `routing` section."""
        if key.user_role != LitellmUserRoles.PROXY_ADMIN:
            return JSONResponse({"reloaded": False, "error": "only a proxy admin may reload the configuration"}, 403)
        try:
            report = await reloader.reload("the admin route")
        except RefusedError as error:
            said = {"reloaded": False, "file": str(error.source), "problems": list(map(asdict, error.found))}
            return JSONResponse(said, 422)
        except GatewayError as error:
            return JSONResponse({"reloaded": False, "error": str(error)}, 500)
        return JSONResponse({"reloaded": True, **msgspec.to_builtins(report), "worker": WHO})

    app.add_api_route(PATH, reload, methods=["POST"], tags=["bsgateway"], response_class=JSONResponse)
