"""`log/redaction.py`: which texts are redacted, and when a text counts as cut."""

from __future__ import annotations

from datetime import datetime, timezone
from uuid import UUID

import pytest

from bsgateway.core import core
from bsgateway.decision import Texts
from bsgateway.log.redaction import redacted

CUT_AT = 40


def texts(ask: str, system: str = "", already: bool = False) -> Texts:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return Texts(decision_id=UUID(int=7), created_at=now, ask=ask, system=system, redacted=already)


def test_both_texts_are_redacted_and_the_rest_stays() -> None:
    before = texts("mail bob@example.com", "server 10.1.2.3")
    after = redacted(before, CUT_AT)
    assert (after.ask, after.system, after.redacted) == ("mail [EMAIL]", "server [IP]", True)
    assert (after.decision_id, after.created_at) == (before.decision_id, before.created_at)
    assert not before.redacted


def test_only_what_is_as_long_as_the_cut_may_end_in_half_a_secret() -> None:
    whole, cut = "x" * (CUT_AT - 9) + " bob@exa", "x" * (CUT_AT - 8) + " bob@exa"
    after = redacted(texts(whole, cut), CUT_AT)
    assert after.ask == whole
    assert after.system == "x" * (CUT_AT - 8) + " [CUT]"


def test_redacted_texts_are_left_alone() -> None:
    before = texts("x" * CUT_AT, already=True)
    assert redacted(before, CUT_AT) is before


@pytest.mark.parametrize("length", [0, 1, CUT_AT - 1, CUT_AT])
def test_any_length(length: int) -> None:
    after = redacted(texts(" " * length), CUT_AT)
    assert after.ask == " " * length
    assert core.redact(after.ask, True) == after.ask
