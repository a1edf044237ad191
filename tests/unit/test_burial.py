"""Records that their table refused, as dead letters: whatever they hold, it can be stored and read again."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
import pytest

from bsgateway.burial import letter, payload
from bsgateway.decision import Decision, Texts
from bsgateway.log.chunk import Unreadable
from bsgateway.rows import MAX_NAME
from builders import make_decision, make_outcome, make_texts


@pytest.mark.parametrize("make", [lambda: make_decision(), lambda: make_texts(make_decision(), ask="\u4e16\u00e4")])
def test_a_record_can_be_read_back(make: Any) -> None:
    record = make()
    assert msgspec.json.decode(payload(record), type=type(record)) == record


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("a\udc80\ud800\x00", "a\udc80\ud800\x00"),
        (2**63, 2**63),
        (2**64, "0x1" + "0" * 16),
        (-(2**70), hex(-(2**70))),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (b"\xff\x00", "/wA="),
        ({1: "a", "b": {2.5}}, {"<int>": "a", "b": [2.5]}),
        (object(), "<object>"),
        (True, True),
    ],
)
def test_what_json_cannot_carry_is_told_in_another_way(value: Any, stored: Any) -> None:
    body = payload(make_outcome(make_decision(), provider=value))
    assert json.loads(body.decode("utf-8"))["provider"] == stored


def test_an_integer_that_python_does_not_print() -> None:
    assert len(json.loads(payload({"a": 10**50_000}))["a"]) > 40_000


def test_endless_nesting_ends() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert b"<list>" in payload(endless)


def test_the_columns_of_a_letter() -> None:
    texts = make_texts(make_decision())
    row = letter(texts, "r\x00" + "x" * 9_000)
    assert (row["kind"], row["decision_id"]) == ("Texts", texts.decision_id)
    assert row["digest"] == sha256(row["payload"]).digest()
    assert len(row["reason"]) == MAX_NAME
    assert "\x00" not in row["reason"]
    assert letter({"no": "record"}, "")["decision_id"] is None
    assert letter(make_decision(decision_id="x"), "")["decision_id"] is None


@pytest.mark.parametrize("kind", [Decision, Texts])
def test_what_another_version_wrote_keeps_its_kind_and_id(kind: type[Any]) -> None:
    fields = {"decision_id": "018f0000-0000-7000-8000-000000000001", "new": [1]}
    row = letter(Unreadable(kind.__name__, fields), "")
    assert (row["kind"], row["decision_id"]) == (kind.__name__, UUID(fields["decision_id"]))
    assert json.loads(row["payload"]) == fields
    for odd in (b"\xc1", {"decision_id": 7}, {"decision_id": "x"}, {}, None):
        assert letter(Unreadable("Chunk", odd), "")["decision_id"] is None
