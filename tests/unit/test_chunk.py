"""Chunks: records as bytes and back, whatever they hold and whoever reads them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway.decision import Caller, Comparison, Decision, Outcome, Texts
from bsgateway.log import chunk
from bsgateway.log.chunk import ChunkError
from bsgateway.rows import Item, cleaned
from builders import make_comparison, make_decision, make_failure, make_outcome, make_texts

KINDS = (Decision, Texts, Outcome, Comparison)


def by_kind(records: list[Item]) -> list[list[Item]]:
    return [[record for record in records if isinstance(record, kind)] for kind in KINDS]


def test_records_come_back_as_they_were() -> None:
    decisions = [make_decision(), make_decision(features=None, contributions=(), strategy=None)]
    records: list[Item] = []
    for decision in decisions:
        records += [
            decision,
            make_texts(decision, ask="\U0001f600\x00"),
            make_outcome(decision),
            make_comparison(decision),
        ]
    records.append(make_failure(decisions[0]))
    contents = chunk.decode(chunk.encode(records))
    assert by_kind(contents.records) == by_kind(records)
    assert contents.unreadable == []
    assert type(contents.records[0]) is Decision
    assert chunk.decode(chunk.encode([])).records == []


@given(st.text(), st.text(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False))
def test_any_value_comes_back(name: str, ask: str, tokens: int, score: float) -> None:
    decision = make_decision(original_model=name, ask_tokens=tokens, raw_score=score, caller=Caller(session_id=ask))
    records: list[Item] = [decision, make_texts(decision, ask=ask)]
    assert chunk.decode(chunk.encode(records)).records == records


def test_half_characters_are_mended() -> None:
    decision = make_decision(original_model="m\ud800", caller=Caller(end_user="\udfff"))
    records: list[Item] = [decision, make_texts(decision, ask="\ud83d\ude00")]
    assert chunk.decode(chunk.encode(records)).records == [cleaned(record) for record in records]


@pytest.mark.parametrize("record", [make_decision(ask_tokens=2**70), {"secrets": 17}, None, make_decision(tier=object)])
def test_what_no_chunk_can_hold_is_said_without_its_data(record: Any) -> None:
    with pytest.raises(ChunkError) as caught:
        chunk.encode([make_decision(), record])
    assert "secrets" not in str(caught.value)


def test_a_record_of_the_wrong_type_costs_only_itself() -> None:
    good = [make_decision(), make_decision()]
    bad = make_decision(raw_score="seventeen")
    contents = chunk.decode(chunk.encode([good[0], bad, good[1], make_outcome(bad)]))
    assert contents.records == [*good, make_outcome(bad)]
    [letter] = contents.unreadable
    assert letter.kind == "Decision"
    assert letter.fields["raw_score"] == "seventeen"


class OfAnotherVersion(msgspec.Struct, array_like=True):
    decisions: list[dict[str, Any]]
    texts: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]


def test_a_chunk_of_another_version() -> None:
    """A field more is left out, a field less has its default, a word that is not known makes one record unreadable."""
    decision = make_decision()
    fields = msgspec.to_builtins(decision)
    newer = {**fields, "colour": "blue"}
    older = {name: value for name, value in fields.items() if name != "token_encoding"}
    strange = {**fields, "reason": "by_horoscope"}
    before = {name: value for name, value in fields.items() if not name.startswith("llm_")}
    contents = chunk.decode(msgspec.msgpack.encode(OfAnotherVersion([newer, older, before, strange], [], [])))
    unasked = msgspec.structs.replace(
        decision, llm_status=None, llm_tier=None, llm_confidence=None, llm_model=None, llm_prompt=None
    )
    assert contents.records == [decision, msgspec.structs.replace(decision, token_encoding=None), unasked]
    [letter] = contents.unreadable
    assert letter.kind == "Decision"
    assert msgspec.json.encode(letter.fields) == msgspec.json.encode(strange)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_chunk_or_an_error(payload: bytes) -> None:
    try:
        contents = chunk.decode(payload)
    except ChunkError:
        return
    assert len(contents.records) + len(contents.unreadable) <= len(payload)


@given(st.integers(min_value=0), st.integers(0, 255))
def test_a_chunk_that_was_changed_is_read_or_an_error(position: int, byte: int) -> None:
    payload = bytearray(PAYLOAD)
    payload[position % len(payload)] = byte
    try:
        contents = chunk.decode(bytes(payload))
    except ChunkError:
        return
    assert len(contents.records) + len(contents.unreadable) <= len(KINDS)


PAYLOAD = chunk.encode(
    [make_decision(), *(make(make_decision()) for make in (make_texts, make_outcome, make_comparison))]
)
