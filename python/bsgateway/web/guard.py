"""The way into the pages' routes: how much a client may send, what a browser is told, and who is asked for a key.

LiteLLM's authentication reads the body of a request and takes words of it into account, such as `model`. What is sent
here is no request to a model, so authentication is given the headers alone, and without cookies: nothing that a browser
adds by itself lets anybody in.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Message, Scope

from .problems import RequestError, request_error

log = logging.getLogger(__name__)

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer that is data."""
BODY = "bsgateway.body"
"""Key of the ASGI scope under which a handler finds the body."""
MAX_BYTES = 1_000_000
"""Of a body, unless its route says otherwise."""
_NOT_FOR_AUTHENTICATION = frozenset((b"cookie", b"content-length", b"content-type", b"transfer-encoding"))


class OptionalRoute(Route):
    """A route that is only there while `is_there` says so: until the next reload of gateway.yaml, say."""

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, is_there: Callable[[], bool], methods: list[str]
    ) -> None:
        super().__init__(path, endpoint, methods=methods, include_in_schema=False)
        self._is_there = is_there

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """None while it is not there."""
        return super().matches(scope) if self._is_there() else (Match.NONE, {})


class GuardedRoute(APIRoute):
    """A route of the API, behind LiteLLM's authentication, with at most `max_bytes` of body."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        is_there: Callable[[], bool],
        max_bytes: int = MAX_BYTES,
        **options: Any,
    ) -> None:
        self._is_there, self._max_bytes = is_there, max_bytes
        super().__init__(path, endpoint, **options)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """None while it is not there."""
        return super().matches(scope) if self._is_there() else (Match.NONE, {})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, with the body taken out before it."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                body = await _body(request, self._max_bytes)
            except RequestError as error:
                return refusal(error)
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it
            return await handle(_bare(request, body))

        return guarded


async def _body(request: Request, most: int) -> bytes:
    """The body, read no further than it may be long. Raises RequestError (413)."""
    declared = request.headers.get("content-length", "")
    too_long = RequestError(413, f"the body is longer than {most:,} bytes", "send less")
    if declared.isdecimal() and int(declared[:20]) > most:
        raise too_long
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise too_long
    return bytes(content)


def _bare(request: Request, body: bytes) -> Request:
    """The request as authentication is to see it. `body` goes beside it, to the handler."""

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(name, value) for name, value in request.scope["headers"] if name not in _NOT_FOR_AUTHENTICATION]
    kept = request.headers.get("content-type", "")
    return Request({**request.scope, "headers": headers, BODY: (kept, body)}, nothing)


def refusal(error: Exception) -> Response:
    """An error as its answer, a `Problem`."""
    known = request_error(error)
    headers = dict(HEADERS)
    if known.retry_after is not None:
        headers["Retry-After"] = str(known.retry_after)
    return Response(msgspec.json.encode(known.problem), known.status, headers, "application/json")


async def answered(work: Awaitable[Response]) -> Response:
    """The answer of a handler, or that of its error. Only cancellation passes."""
    try:
        return await work
    except Exception as error:
        return refusal(error)
