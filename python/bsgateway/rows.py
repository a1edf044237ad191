"""The records of the log as rows of its tables, and back.

Column names are the field names of the records; the fields of `Caller` stand where its `caller` is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bsgateway.decision import Caller, Comparison, Decision, Outcome, Texts

Item = Decision | Texts | Outcome | Comparison

_CALLER = Decision.__struct_fields__.index("caller")
_CALLER_COLUMNS = Caller.__struct_fields__
_LATER_COLUMNS = frozenset(("applied", "skipped", "changes", "ignored", "explored"))

LOG_COLUMNS = (
    *Decision.__struct_fields__[:_CALLER],
    *_CALLER_COLUMNS,
    *Decision.__struct_fields__[_CALLER + 1 :],
)
TEXT_COLUMNS = Texts.__struct_fields__
OUTCOME_COLUMNS = Outcome.__struct_fields__
COMPARISON_COLUMNS = Comparison.__struct_fields__

# Names and ids come from clients. An index entry of PostgreSQL holds 2,704 bytes, and a row with a longer one is
# refused: 512 characters are at most 2,048.
MAX_NAME = 512
REPLACEMENT = "\ufffd"


class LogRow(msgspec.Struct, frozen=True):
    """A decision and what came of it; `outcome` is None while the provider is at work, or when it never answered."""

    decision: Decision
    outcome: Outcome | None


def log_row(decision: Decision) -> tuple[Any, ...]:
    """The row of `routing_logs`, in the order of LOG_COLUMNS."""
    fields = msgspec.structs.astuple(decision)
    return _cleaned((*fields[:_CALLER], *msgspec.structs.astuple(decision.caller), *fields[_CALLER + 1 :]), MAX_NAME)


def text_row(texts: Texts) -> tuple[Any, ...]:
    """The row of `routing_texts`, in the order of TEXT_COLUMNS."""
    return _cleaned(msgspec.structs.astuple(texts), None)


def outcome_row(outcome: Outcome) -> tuple[Any, ...]:
    """The row of `routing_outcomes`, in the order of OUTCOME_COLUMNS."""
    return _cleaned(msgspec.structs.astuple(outcome), MAX_NAME)


def comparison_row(comparison: Comparison) -> tuple[Any, ...]:
    """The row of `routing_comparisons`, in the order of COMPARISON_COLUMNS."""
    return _cleaned(msgspec.structs.astuple(comparison), MAX_NAME)


def read_log_row(decision: Mapping[str, Any], outcome: Mapping[str, Any] | None) -> LogRow:
    """A row of `routing_logs` and the one of `routing_outcomes` that belongs to it, as records.

    Raises msgspec.ValidationError if they hold what this version does not know.
    """
    # A worker of a version before wrote no value where a column came later: the record's own default is meant.
    fields = {name: value for name, value in decision.items() if value is not None or name not in _LATER_COLUMNS}
    fields["caller"] = {name: fields.pop(name) for name in _CALLER_COLUMNS}
    return LogRow(
        msgspec.convert(fields, Decision),
        None if outcome is None else msgspec.convert(dict(outcome), Outcome),
    )


def cleaned(record: Item) -> Item:
    """`record` with all its text as PostgreSQL can store it."""
    limit = None if isinstance(record, Texts) else MAX_NAME
    changes: dict[str, Any] = {
        name: clean(value, limit) for name in record.__struct_fields__ if type(value := getattr(record, name)) is str
    }
    if isinstance(record, Decision):
        changes["caller"] = Caller(*_cleaned(msgspec.structs.astuple(record.caller), limit))
    return msgspec.structs.replace(record, **changes)


def clean(text: str, limit: int | None = None) -> str:
    """`text` as PostgreSQL can store it: at most `limit` characters; NUL and lone surrogates become U+FFFD.

    A surrogate pair that was split into two characters becomes the one character it stands for.
    """
    if limit is not None and len(text) > limit:
        text = text[:limit]
    if "\x00" in text:
        text = text.replace("\x00", REPLACEMENT)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _cleaned(row: tuple[Any, ...], limit: int | None) -> tuple[Any, ...]:
    return tuple([clean(value, limit) if type(value) is str else value for value in row])  # a list is quicker
