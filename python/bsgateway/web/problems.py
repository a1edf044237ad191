"""What is wrong with a request to the pages' API, as an answer with a status."""

from __future__ import annotations

import logging
import traceback

from ..errors import (
    AnalysisError,
    ConfigError,
    FiguresError,
    GatewayError,
    LearningError,
    ModelError,
    StoreError,
    StoreVersionError,
    TelemetryError,
)
from .views import Problem

log = logging.getLogger(__name__)


class RequestError(GatewayError):
    """A request cannot be served: `status` is that of HTTP, `problem` the body of the answer.

    `retry_after` is in seconds, for what may succeed later.
    """

    def __init__(
        self, status: int, error: str, remedy: str = "", field: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(error)
        self.status, self.retry_after = status, retry_after
        self.problem = Problem(error=error, remedy=remedy, field=field)


AWAY = "the log's database does not answer"
AWAY_REMEDY = "try again; for the operator, `bsgateway doctor` says what is wrong with it"
OTHER_VERSION = "the log's database is of another version than the gateway"
OTHER_VERSION_REMEDY = "for the operator: `bsgateway migrate`, or upgrade the gateway; its log says which"
_CANNOT = (AnalysisError, ConfigError, LearningError, ModelError)
"""What the request asked for is understood, and cannot be done."""


def request_error(error: Exception) -> RequestError:
    """`error` as an answer. What a database says may name its host, and is logged; of what nobody expected only the
    class is told and logged, as its message may quote a prompt."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, StoreError):
        log.error("pages: %s", error)
        if isinstance(error, StoreVersionError):
            return RequestError(503, OTHER_VERSION, OTHER_VERSION_REMEDY)
        return RequestError(503, AWAY, AWAY_REMEDY, retry_after=2)
    if isinstance(error, FiguresError):
        return RequestError(400, str(error), field=error.field)
    if isinstance(error, _CANNOT):
        return RequestError(422, str(error))
    if isinstance(error, TelemetryError):
        return RequestError(503, str(error))
    if isinstance(error, GatewayError):
        return RequestError(400, str(error))
    log.error("pages: a request failed at %s: %s", _where(error), type(error).__name__)
    return RequestError(500, f"something in the gateway failed: {type(error).__name__}", "the gateway's log says where")


def _where(error: Exception) -> str:
    """File and line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
