"""`web/feedback.py`: what is checked of feedback, and what of it may be stored."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from bsgateway.web.feedback import opinion, source_of
from bsgateway.web.problems import RequestError
from bsgateway.web.viewer import Viewer
from bsgateway.web.views import FeedbackRequest
from unit.conftest import MakeGateway

WORDS = "mail me at ada@example.org"
KEY = Viewer(admin=False, key_hash="a" * 64, key_alias="team key")
ADMIN = Viewer(admin=True, may_write=True)
READER = Viewer(admin=True, key_hash="b" * 64)


def said(**fields: Any) -> FeedbackRequest:
    """Feedback on some decision."""
    return FeedbackRequest(uuid4(), **fields)


@pytest.mark.parametrize(
    ("text", "fate", "kept"),
    [("full", "kept", WORDS), ("redacted", "redacted", "mail me at [EMAIL]"), ("none", "dropped", None)],
)
def test_a_comment_is_stored_as_texts_are(make_gateway: MakeGateway, text: str, fate: str, kept: str | None) -> None:
    gateway = make_gateway(collector={"enabled": False, "text": text})
    found = opinion(said(comment=f" {WORDS}\n"), "client:x", gateway)
    assert (found.fate, found.comment, found.is_empty) == (fate, kept, kept is None)
    found = opinion(said(rating=0.5), "client:x", gateway)
    assert (found.fate, found.comment, found.is_empty) == ("none", None, False)


def test_a_comment_that_cannot_be_redacted_is_dropped(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError(WORDS)

    monkeypatch.setattr("bsgateway.web.feedback.core.redact", fail)
    found = opinion(said(rating=0, comment=WORDS), "client:x", make_gateway(collector={"enabled": False}))
    assert (found.fate, found.comment, found.rating) == ("dropped", None, 0)
    assert "ada@example.org" not in caplog.text


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"rating": 1.5}, "rating"),
        ({"rating": float("nan")}, "rating"),
        ({"label": "nothing"}, "label"),
        ({"comment": "x" * 4_001}, "comment"),
        ({}, None),
        ({"comment": " \n"}, None),
    ],
    ids=str,
)
def test_feedback_that_is_none(make_gateway: MakeGateway, fields: dict[str, Any], field: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        opinion(said(**fields), "client:x", make_gateway())
    assert (caught.value.status, caught.value.problem.field) == (422, field)


@pytest.mark.parametrize(
    ("header", "viewer", "source"),
    [
        (None, KEY, "client:team key"),
        ("dashboard", KEY, "dashboard:team key"),
        (None, READER, f"client:{'b' * 12}"),
        ("judge-7b", ADMIN, "judge-7b:admin"),
        ("llm", ADMIN, "llm:admin"),
    ],
)
def test_a_source_says_which_key_spoke(header: str | None, viewer: Viewer, source: str) -> None:
    assert source_of(header, viewer) == source


@pytest.mark.parametrize("viewer", [KEY, READER])
@pytest.mark.parametrize("header", ["judge", "llm-x", "Dashboard", "client "])
def test_only_an_admin_speaks_as_a_judge(header: str, viewer: Viewer) -> None:
    with pytest.raises(RequestError) as caught:
        source_of(header, viewer)
    assert caught.value.status == 403


def test_a_viewer_without_a_key_is_an_admin() -> None:
    with pytest.raises(ValueError, match="would see everything"):
        Viewer(admin=False)
    with pytest.raises(ValueError, match="would see everything"):
        Viewer(admin=False, key_hash="")
    assert (ADMIN.only, READER.only, KEY.only) == (None, None, "a" * 64)
