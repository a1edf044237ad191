"""Records <-> the bytes of one chunk of the spool: MessagePack, the field names of the records included.

A chunk may be read by another version than wrote it: a field that this version does not know is left out, one that it
has in addition takes its default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from bsgateway.decision import Comparison, Decision, Outcome, Texts
from bsgateway.errors import GatewayError
from bsgateway.rows import Item, cleaned

One = TypeVar("One")


class Chunk(msgspec.Struct, Generic[One], frozen=True, array_like=True):
    """Records by kind: nothing depends on the order between kinds."""

    decisions: Sequence[One]
    texts: Sequence[One]
    outcomes: Sequence[One]
    comparisons: Sequence[One] = ()  # a version before wrote none


class Unreadable(msgspec.Struct, frozen=True):
    """A record that this version cannot read: `kind` is its class, `fields` what it holds."""

    kind: str
    fields: Any


class Contents(NamedTuple):
    """What a chunk holds."""

    records: list[Item]
    unreadable: list[Unreadable]


class ChunkError(GatewayError):
    """Bytes that are no chunk at all, or a record that bytes cannot hold. The message quotes no data."""


class _Whole(msgspec.Struct, frozen=True, array_like=True):
    decisions: list[Decision]
    texts: list[Texts]
    outcomes: list[Outcome]
    comparisons: list[Comparison] = []


_KINDS = (Decision, Texts, Outcome, Comparison)
_encoder = msgspec.msgpack.Encoder()
_whole = msgspec.msgpack.Decoder(_Whole)
_raw = msgspec.msgpack.Decoder(Chunk[msgspec.Raw])


def encode(records: Sequence[Item]) -> bytes:
    """The chunk that holds `records`. Raises ChunkError when one of them cannot be written, whatever is done to it."""
    by_kind = [[record for record in records if type(record) is kind] for kind in _KINDS]
    if sum(map(len, by_kind)) != len(records):
        raise ChunkError("not a record of the log")
    try:
        return _encoder.encode(Chunk(*by_kind))
    except UnicodeEncodeError:  # half a character: PostgreSQL could not store it either
        return _encode_cleaned(by_kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise ChunkError(type(error).__name__) from None


def _encode_cleaned(by_kind: Sequence[Sequence[Item]]) -> bytes:
    try:
        return _encoder.encode(Chunk(*[[cleaned(record) for record in records] for records in by_kind]))
    except (TypeError, ValueError, OverflowError) as error:
        raise ChunkError(type(error).__name__) from None


def decode(payload: bytes) -> Contents:
    """What `encode` was given. Raises ChunkError when these bytes are no chunk."""
    try:
        whole = _whole.decode(payload)
        return Contents([*whole.decisions, *whole.texts, *whole.outcomes, *whole.comparisons], [])
    except (msgspec.DecodeError, ValueError):
        return _decode_one_by_one(payload)


def _decode_one_by_one(payload: bytes) -> Contents:
    contents = Contents([], [])
    try:
        chunk = _raw.decode(payload)
        for kind, parts in zip(_KINDS, msgspec.structs.astuple(chunk), strict=True):
            for part in parts:
                try:
                    contents.records.append(msgspec.msgpack.decode(part, type=kind))
                except (msgspec.DecodeError, ValueError):
                    contents.unreadable.append(Unreadable(kind.__name__, _plain(part)))
    except (msgspec.DecodeError, ValueError) as error:
        raise ChunkError(f"these bytes are no chunk: {type(error).__name__}") from None
    return contents


def _plain(part: msgspec.Raw) -> Any:
    """What these bytes hold, without a type; the bytes themselves when they hold nothing."""
    try:
        return msgspec.msgpack.decode(part)
    except (msgspec.DecodeError, ValueError):
        return bytes(part)
