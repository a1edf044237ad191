"""The handlers behind the routes: each reads what is asked for, has one function answer it, and gives that back.

None of them knows HTTP beyond the status of its answer. What a handler raises becomes a `Problem` (see `guard`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import msgspec

from .. import host
from ..decision import now
from ..figures import By, Step
from ..figures_log import Scope
from ..gateway import Gateway
from .about import filters, me
from .asked import body, no_body, query
from .database import Database
from .decisions import DecisionsQuery, detail, page
from .feedback import SOURCE_HEADER, give
from .playground import MAX_BYTES, Playground, without_remedies
from .problems import RequestError
from .viewer import Viewer
from .views import ExplainRequest, FeedbackRequest, PromoteRequest, SettingRequest
from .what_if import WhatIfs, lines

if TYPE_CHECKING:
    from ..hook import GatewayCallback
    from ..log.metrics import Metrics

MOST_DAYS = 3_660


class Site:
    """What the handlers work with: the gateway in force, as `callback` (the hook's) has it, and the log's database."""

    def __init__(self, callback: GatewayCallback) -> None:
        self._callback = callback
        self.database = Database(callback.gateway.config.routing.collector)
        self.playground = Playground(lambda: callback.gateway, host.knows)
        self.what_ifs = WhatIfs(lambda: callback.gateway)

    @property
    def gateway(self) -> Gateway:
        """That of the latest reload."""
        return self._callback.gateway

    @property
    def has_pages(self) -> bool:
        """`routing.dashboard.enabled`."""
        return self.gateway.config.routing.dashboard.enabled

    @property
    def metrics_for(self) -> Literal["admin", "open", "off"]:
        """`routing.telemetry.metrics`."""
        return self.gateway.config.routing.telemetry.metrics

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """All metrics as text, and its content type. Raises TelemetryError."""
        return self._callback.telemetry.exposition(accept)

    async def close(self) -> None:
        """Let go of everything. Awaited once, when the proxy shuts down."""
        await self.what_ifs.close()
        await self.playground.close()
        await self.database.close()

    def log_metrics(self) -> Metrics | None:
        """What this worker's log says of itself."""
        return self._callback.lifecycle.metrics()


@dataclass(frozen=True)
class Asked:
    """A request to the API, by an authenticated viewer. Names of `headers` are in lower case."""

    viewer: Viewer
    parameters: Sequence[tuple[str, str]]
    path: Mapping[str, Any]
    headers: Mapping[str, str]
    content_type: str = ""
    content: bytes = b""

    @property
    def scope(self) -> Scope:
        """Whose requests the viewer sees."""
        return Scope(self.viewer.only)


class Answer(msgspec.Struct, frozen=True):
    """What to send, and its status."""

    value: Any
    status: int = 200


Handler = Callable[[Site, Asked], Awaitable[Answer]]


class Nothing(msgspec.Struct, frozen=True):
    """A query without parameters."""


class PeriodQuery(msgspec.Struct, frozen=True):
    """Parameters of what is about a period."""

    since: str = "30d"
    until: str | None = None
    tz: str = "UTC"
    step: Step | None = None


class WhatIfQuery(msgspec.Struct, frozen=True):
    """Parameter of what if."""

    days: float = 7.0


class LearningQuery(msgspec.Struct, frozen=True):
    """Parameter of the labels."""

    days: float = 30.0


class SavingsQuery(PeriodQuery, frozen=True):
    """Those of the savings."""

    by: By = "tier"


async def get_me(site: Site, asked: Asked) -> Answer:
    """GET api/me."""
    query(asked.parameters, Nothing)
    return Answer(await me(asked.viewer, site.gateway, site.database, site.log_metrics()))


async def get_filters(site: Site, asked: Asked) -> Answer:
    """GET api/filters."""
    query(asked.parameters, Nothing)
    return Answer(filters(site.gateway))


async def get_savings(site: Site, asked: Asked) -> Answer:
    """GET api/savings."""
    from .. import figures_log
    from ..periods import resolve_period

    wanted = query(asked.parameters, SavingsQuery)
    period = resolve_period(wanted.since, wanted.until, wanted.tz, wanted.step, now())
    async with site.database.connection() as connection:
        return Answer(await figures_log.savings(connection, period, wanted.by, asked.scope))


async def get_traffic(site: Site, asked: Asked) -> Answer:
    """GET api/traffic."""
    from .. import figures_log
    from ..periods import resolve_period

    wanted = query(asked.parameters, PeriodQuery)
    period = resolve_period(wanted.since, wanted.until, wanted.tz, wanted.step, now())
    async with site.database.connection() as connection:
        return Answer(await figures_log.traffic(connection, period, asked.scope))


async def get_decisions(site: Site, asked: Asked) -> Answer:
    """GET api/decisions."""
    wanted = query(asked.parameters, DecisionsQuery)
    async with site.database.connection() as connection:
        return Answer(await page(connection, wanted, asked.scope, site.gateway))


async def get_decision(site: Site, asked: Asked) -> Answer:
    """GET api/decisions/ID."""
    query(asked.parameters, Nothing)
    decision_id = _decision_id(asked.path["decision_id"])
    async with site.database.connection() as connection:
        return Answer(await detail(connection, decision_id, asked.scope, site.gateway))


async def post_explain(site: Site, asked: Asked) -> Answer:
    """POST api/explain."""
    query(asked.parameters, Nothing)
    explained = await site.playground.explain(body(asked.content_type, asked.content, ExplainRequest))
    return Answer(explained if asked.viewer.admin else without_remedies(explained))


async def get_what_if(site: Site, asked: Asked) -> Answer:
    """GET api/what-if."""
    return Answer(await site.what_ifs.last(_days(query(asked.parameters, WhatIfQuery).days)))


async def post_lines(site: Site, asked: Asked) -> Answer:
    """POST api/what-if/lines."""
    query(asked.parameters, Nothing)
    return Answer(lines(site.gateway.config, body(asked.content_type, asked.content, SettingRequest)))


async def get_learning(site: Site, asked: Asked) -> Answer:
    """GET api/learning. Without a log there are the models all the same."""
    from .learning import learning

    days = _days(query(asked.parameters, LearningQuery).days)
    config = site.gateway.config
    if site.database.is_on:
        async with site.database.reading() as connection:
            view = await learning(connection, config, None, days)
    else:
        view = await learning(None, config, None, days)
    return Answer(view if asked.viewer.may_write else msgspec.structs.replace(view, can_promote=False))


async def post_promote(site: Site, asked: Asked) -> Answer:
    """POST api/learning/promote."""
    from .learning import promote

    query(asked.parameters, Nothing)
    wanted = body(asked.content_type, asked.content, PromoteRequest)
    return Answer(await promote(site.gateway.config, None, wanted))


async def post_feedback(site: Site, asked: Asked) -> Answer:
    """POST /bsgateway/feedback. 201 once it is stored; 200 where nothing was left to store."""
    query(asked.parameters, Nothing)
    said = body(asked.content_type, asked.content, FeedbackRequest)
    answer = await give(said, asked.headers.get(SOURCE_HEADER), asked.viewer, site.gateway, site.database)
    return Answer(answer, 201 if answer.stored else 200)


@dataclass(frozen=True)
class Endpoint:
    """A route of the API. `who` may use it: every key (which sees its own), admins, or admins who may change things.
    `reads`: it changes nothing although it is a POST. `always`: it is there without the pages, too."""

    method: Literal["GET", "POST"]
    path: str
    handle: Handler
    who: Literal["key", "admin", "writer"] = "key"
    reads: bool = False
    always: bool = False
    max_bytes: int = 1_000_000


ENDPOINTS = (
    Endpoint("GET", "/bsgateway/api/me", get_me),
    Endpoint("GET", "/bsgateway/api/filters", get_filters),
    Endpoint("GET", "/bsgateway/api/savings", get_savings),
    Endpoint("GET", "/bsgateway/api/traffic", get_traffic),
    Endpoint("GET", "/bsgateway/api/decisions", get_decisions),
    Endpoint("GET", "/bsgateway/api/decisions/{decision_id}", get_decision),
    Endpoint("POST", "/bsgateway/api/explain", post_explain, reads=True, max_bytes=MAX_BYTES),
    Endpoint("GET", "/bsgateway/api/what-if", get_what_if, who="admin"),
    Endpoint("POST", "/bsgateway/api/what-if/lines", post_lines, who="admin", reads=True),
    Endpoint("GET", "/bsgateway/api/learning", get_learning, who="admin"),
    Endpoint("POST", "/bsgateway/api/learning/promote", post_promote, who="writer"),
    Endpoint("POST", "/bsgateway/feedback", post_feedback, always=True),
)


async def handled(site: Site, endpoint: Endpoint, asked: Asked) -> Answer:
    """The answer of an endpoint to who may use it. Raises RequestError."""
    if endpoint.who == "admin":
        asked.viewer.must_be_admin()
    elif endpoint.who == "writer":
        asked.viewer.must_write()
    if endpoint.method == "GET":
        no_body(asked.content)
    return await endpoint.handle(site, asked)


def _decision_id(text: str) -> UUID:
    """Raises RequestError (404)."""
    try:
        return UUID(text)
    except ValueError:
        raise RequestError(404, "that is no decision id", "x-bsgateway-decision-id has one") from None


def _days(days: float) -> float:
    """Raises RequestError (400)."""
    if not 0 < days <= MOST_DAYS:
        raise RequestError(400, f"days: {days:g} is not between 0 and {MOST_DAYS}", field="days")
    return days
