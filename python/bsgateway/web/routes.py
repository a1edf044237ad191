"""The routes of the dashboard, its API, feedback and metrics, in LiteLLM's app and behind its authentication; and of
health, which are open to all."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import msgspec
from fastapi import Depends
from litellm.proxy.auth.user_api_key_auth import user_api_key_auth
from litellm.proxy.proxy_server import app
from starlette.requests import Request
from starlette.responses import Response

from . import pages
from .api import ENDPOINTS, Asked, Endpoint, Site, handled
from .guard import BODY, HEADERS, GuardedRoute, OptionalRoute, answered
from .health import health_routes
from .viewer import let_keys_in, viewer_of

PACKED_FROM = 32_768
"""Bytes of an answer from which on it is packed here, in a thread. LiteLLM packs in the event loop."""
PACK_LEVEL = 4
METRICS = "/bsgateway/metrics"

_ASKER = Depends(user_api_key_auth)


def add_routes(callback: Any) -> Site:
    """Put all routes into LiteLLM's app, once for each process. `callback` is the GatewayCallback they look at.

    Close what is returned when the proxy shuts down.
    """
    site = Site(callback)
    files = pages.Files()
    found: list[Any] = [_route(site, endpoint) for endpoint in ENDPOINTS]
    for path, endpoint in (
        ("/bsgateway", pages.to_pages),
        *((path, files.page) for path in pages.PAGES),
        (pages.ASSETS, files.file),
    ):
        found.append(OptionalRoute(path, endpoint, is_there=lambda: site.has_pages, methods=["GET"]))
    found += _metrics_routes(site)
    found += health_routes(callback)
    app.router.routes.extend(found)
    paths = tuple(endpoint.path for endpoint in ENDPOINTS)
    let_keys_in((*paths, METRICS), tuple(endpoint.path for endpoint in ENDPOINTS if endpoint.reads))
    return site


def _route(site: Site, endpoint: Endpoint) -> GuardedRoute:
    async def answer(request: Request, key: Any = _ASKER) -> Response:
        return await answered(_answer(site, endpoint, request, key))

    answer.__doc__ = endpoint.handle.__doc__
    return GuardedRoute(
        endpoint.path,
        answer,
        is_there=(lambda: True) if endpoint.always else (lambda: site.has_pages),
        max_bytes=endpoint.max_bytes,
        methods=["GET", "HEAD"] if endpoint.method == "GET" else ["POST"],
        tags=["bsgateway"],
        include_in_schema=endpoint.method == "POST",
        response_model=None,
    )


def _metrics_routes(site: Site) -> list[Any]:
    """GET /bsgateway/metrics, for whom `telemetry.metrics` says: there are two routes, and at most one is there."""

    async def metrics(request: Request) -> Response:
        content, content_type = site.metrics(request.headers.get("accept", ""))
        # Starlette would add a charset, which the format's own content type has where it needs one.
        return Response(content, 200, {**HEADERS, "Content-Type": content_type})

    async def open_to_all(request: Request) -> Response:
        return await answered(metrics(request))

    async def for_admins(request: Request, key: Any = _ASKER) -> Response:
        """Metrics for Prometheus."""

        async def checked() -> Response:
            viewer_of(key).must_be_admin()
            return await metrics(request)

        return await answered(checked())

    return [
        OptionalRoute(METRICS, open_to_all, is_there=lambda: site.metrics_for == "open", methods=["GET"]),
        GuardedRoute(
            METRICS,
            for_admins,
            is_there=lambda: site.metrics_for == "admin",
            methods=["GET", "HEAD"],
            tags=["bsgateway"],
            include_in_schema=False,
            response_model=None,
        ),
    ]


async def _answer(site: Site, endpoint: Endpoint, request: Request, key: Any) -> Response:
    content_type, content = request.scope[BODY]
    asked = Asked(
        viewer_of(key), request.query_params.multi_items(), request.path_params, request.headers, content_type, content
    )
    answer = await handled(site, endpoint, asked)
    return await _sent(msgspec.json.encode(answer.value), answer.status, request)


async def _sent(content: bytes, status: int, request: Request) -> Response:
    headers = {**HEADERS, "Vary": "Accept-Encoding"}
    if len(content) >= PACKED_FROM and pages.accepts_gzip(request):
        content = await asyncio.to_thread(gzip.compress, content, PACK_LEVEL)
        headers["Content-Encoding"] = "gzip"
    return Response(content, status, headers, "application/json")
