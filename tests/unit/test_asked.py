"""`web/asked.py`: what is read of a request, and what is said of one that asks for nothing we know."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bsgateway.decision import Reason
from bsgateway.web.api import ENDPOINTS, SavingsQuery
from bsgateway.web.asked import body, query
from bsgateway.web.decisions import DecisionsQuery
from bsgateway.web.problems import RequestError
from bsgateway.web.views import FeedbackRequest


def refused(pairs: list[tuple[str, str]], kind: type[msgspec.Struct] = DecisionsQuery) -> RequestError:
    """How a query is refused."""
    with pytest.raises(RequestError) as caught:
        query(pairs, kind)
    assert caught.value.status == 400
    return caught.value


def test_parameters_have_the_types_of_their_fields() -> None:
    asked = query([("reason", "session_kept"), ("applied", "false"), ("limit", "7"), ("tier", "")], DecisionsQuery)
    assert asked == DecisionsQuery(reason=Reason.SESSION_KEPT, applied=False, limit=7)
    assert query([], SavingsQuery) == SavingsQuery(since="30d", tz="UTC", by="tier")


@pytest.mark.parametrize(
    ("pair", "error", "remedy"),
    [
        (("reasn", "x"), "unknown parameter 'reasn'", "did you mean 'reason'?"),
        (("reason", "sesion_kept"), "reason: 'sesion_kept' is none of its values", "did you mean 'session_kept'?"),
        (("strategy", "mll"), "strategy: 'mll' is none of its values", "did you mean 'ml'?"),
        (("limit", "ten"), "limit: Expected `int`, got `str`", ""),
        (("applied", "perhaps"), "applied: Expected `bool | null`, got `str`", ""),
        (("before", "1"), "before: Invalid UUID", ""),
        (("model", "a\x00"), "model holds characters that cannot be printed", ""),
        (("model", "a" * 513), "model is longer than 512 characters", ""),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_parameter_that_is_wrong_is_named(pair: tuple[str, str], error: str, remedy: str) -> None:
    found = refused([pair])
    assert (found.problem.error, found.problem.remedy) == (error, remedy)
    assert found.problem.field == pair[0]


def test_a_parameter_is_given_once() -> None:
    assert refused([("model", "a"), ("model", "b")]).problem.error == "model is given twice"


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (b"{}", 422, "decision_id"),
        (b'{"decision_id": 1}', 422, "decision_id"),
        (b'{"decision_id": "01890a5d-ac96-774b-bcce-b302099a8057", "rating": "1"}', 422, "rating"),
        (b'{"decisionid": 1}', 422, "decisionid"),
        (b'{"decision_id"', 400, None),
        (b"\xff", 400, None),
        (b"1", 422, None),
    ],
    ids=repr,
)
def test_a_field_that_is_wrong_is_named(content: bytes, status: int, field: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        body("application/json; charset=utf-8", content, FeedbackRequest)
    assert (caught.value.status, caught.value.problem.field) == (status, field)


@pytest.mark.parametrize("content_type", ["", "text/json", "application/json5", "text/plain; application/json"])
def test_a_body_is_json_by_its_type(content_type: str) -> None:
    with pytest.raises(RequestError) as caught:
        body(content_type, b"{}", FeedbackRequest)
    assert caught.value.status == 415


def test_what_only_admins_may_do_says_so() -> None:
    who: dict[str, Any] = {endpoint.path.removeprefix("/bsgateway/"): endpoint.who for endpoint in ENDPOINTS}
    assert {path for path, may in who.items() if may == "admin"} == {"api/what-if", "api/what-if/lines", "api/learning"}
    assert {path for path, may in who.items() if may == "writer"} == {"api/learning/promote"}
