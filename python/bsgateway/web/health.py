"""`GET /bsgateway/live` and `/bsgateway/ready`: whether this worker is alive, and whether it should get requests.

For load balancers and orchestrators, which have no key: so they tell nothing of anybody's data, and nothing is asked
that could make them wait, least of all the database.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .guard import HEADERS

LIVE, READY = "/bsgateway/live", "/bsgateway/ready"
EXCLUDE = "exclude"
"""Query parameter of `READY`: `log` has the state of the log told, and not counted."""

ROUTES = {
    LIVE: "200 while the event loop of the worker answers. Restart what does not.",
    READY: "200 when the worker should get requests, else 503.",
}
STATUSES = {
    "ready": "200. Routing is loaded, and what is decided can be logged, or nothing is to be.",
    "starting": "503. Routing is not loaded yet.",
    "draining": "503. The process was told to stop; until it does it answers requests as before.",
    "log_full": "503. Rows would be lost: the database is away, and the spool is full or cannot be written to. Without "
    f"a spool: the queue is full. `?{EXCLUDE}=log` makes this 200 with the status `ready`.",
}
"""What `status` says. The first that holds of `draining`, `starting`, `log_full`."""

_ALIVE = msgspec.json.encode({"status": "alive"})
_BAD = msgspec.json.encode({"error": f"{EXCLUDE}: only `log` can be excluded"})


class Log(msgspec.Struct, frozen=True):
    """See `log.health.LogHealth`."""

    database: str
    spool: str


class Readiness(msgspec.Struct, frozen=True):
    """The answer of `READY`. `log` is null as long as it has not begun."""

    status: Literal["ready", "starting", "draining", "log_full"]
    log: Log | None
    routing: Literal["loaded", "loading"]


def readiness(lifecycle: Any, without_log: bool = False) -> Readiness:
    """How a `Lifecycle` is. Costs some microseconds, waits for nothing. `without_log`: a full log is no obstacle."""
    health = lifecycle.health()
    status: Literal["ready", "starting", "draining", "log_full"] = "ready"
    if lifecycle.is_draining:
        status = "draining"
    elif not lifecycle.has_begun or health is None:
        status = "starting"
    elif not health.takes_rows and not without_log:
        status = "log_full"
    log = None if health is None else Log(health.database, health.spool)
    return Readiness(status, log, "loaded" if lifecycle.has_begun else "loading")


def health_routes(callback: Any) -> list[Route]:
    """The two routes, for the GatewayCallback of this process. Open to all, whatever the configuration says."""

    async def live(request: Request) -> Response:
        return _answer(_ALIVE, 200)

    async def ready(request: Request) -> Response:
        excluded = request.query_params.getlist(EXCLUDE)
        if any(name != "log" for name in excluded):
            return _answer(_BAD, 400)
        # Where the app was loaded without an event loop the first request begins; and none would come before this.
        callback.lifecycle.ensure_running()
        found = readiness(callback.lifecycle, without_log=bool(excluded))
        return _answer(msgspec.json.encode(found), 200 if found.status == "ready" else 503)

    return [Route(LIVE, live, include_in_schema=False), Route(READY, ready, include_in_schema=False)]


def _answer(content: bytes, status: int) -> Response:
    return Response(content, status, HEADERS, "application/json")
