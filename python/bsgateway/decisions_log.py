"""Lists of decisions, newest first, and all that the log knows of one.

A rare row is found without reading the log: the rollups tell which days, and of these which quarters of an hour (of a
key: which hours), can hold what is looked for. What was written since they were made, they are marked for. See
`figures_log` for connections and errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from .decision import Texts
from .errors import FiguresError, StoreVersionError
from .figures_log import EVERYBODY, Scope, reading
from .rows import LogRow, read_log_row
from .sql import queries
from .web.views import ComparisonView, FeedbackView

if TYPE_CHECKING:
    from .migrations import Connection

MOST_LISTED = 500
READ_AT_ONCE = 15_000
"""Rows that one statement looks at, about."""
MOST_READ = 50_000
"""Rows that are looked at for one list, about: it then ends early, and tells where to go on."""
MOST_TURNS = 50
MOST_FEEDBACK = 100
DAYS_AT_ONCE = 8

_QUARTER, _HOUR, _DAY = 900, 3_600, 86_400
_FIRST, _LAST = UUID(int=0), UUID(int=2**128 - 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_END = datetime(9999, 12, 31, tzinfo=timezone.utc)
_UNKNOWN = 2_000  # rows of a span that has not been added up
_NOT_OF_KEYS = frozenset(("method", "strategy", "reason"))
_DIMENSIONS = ("tier", "method", "strategy", "reason", "model", "applied", "status", "fell_back")


class DecisionFilters(msgspec.Struct, frozen=True, kw_only=True):
    """What decisions are looked for; None: any.

    '' as `tier` or `strategy` means those that have none. `model` is the one that answered, or else was asked. `status`
    pending: no outcome is known. `key` is the hash of a key, or the alias that it had last. Times are those of the
    decision's id.
    """

    tier: str | None = None
    method: str | None = None
    strategy: str | None = None
    reason: str | None = None
    model: str | None = None
    applied: bool | None = None
    status: Literal["success", "failure", "pending"] | None = None
    fell_back: bool | None = None
    key: str | None = None
    conversation_id: str | None = None
    session_id: str | None = None
    call_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


ANY = DecisionFilters()


class DecisionList(NamedTuple):
    """Decisions, newest first. `before` fetches older ones; None: that was all. There may be fewer than were asked for,
    even none, with more to come: a list ends early where what is looked for is rarer than the rollups can tell."""

    rows: tuple[LogRow, ...]
    before: UUID | None


class DecisionParts(NamedTuple):
    """All that the log knows of a decision. `turns` are the newest other requests of its conversation, oldest first."""

    row: LogRow
    texts: Texts | None
    feedback: tuple[FeedbackView, ...]
    comparison: ComparisonView | None
    turns: tuple[LogRow, ...]


class _Range(NamedTuple):
    """Ids from `low` up to, but not including, `high`."""

    low: UUID
    high: UUID


class _Bucket(NamedTuple):
    """A span of time: at most `requests` of its `read` rows match."""

    start: datetime
    read: int
    requests: int


async def decisions(
    connection: Connection,
    *,
    scope: Scope = EVERYBODY,
    filters: DecisionFilters = ANY,
    before: UUID | None = None,
    limit: int = 50,
) -> DecisionList:
    """The newest `limit` decisions that match and are older than `before`, without their features.

    Raises FiguresError for a limit that is not 1-500, and StoreError for a row of another version.
    """
    if not 1 <= limit <= MOST_LISTED:
        raise FiguresError(f"limit: {limit} is not between 1 and {MOST_LISTED}", "limit")
    async with reading(connection):
        keys = await _keys(connection, scope, filters.key)
        if keys == []:
            return DecisionList((), None)
        within = _Range(
            _FIRST if filters.since is None else _floor(filters.since),
            min(before or _LAST, _LAST if filters.until is None else _floor(filters.until)),
        )
        search = _Search(connection, filters, keys, within, limit + 1)
        ids = await search.run()
        rows = await _rows(connection, ids[:limit])
    return DecisionList(rows, ids[limit - 1] if len(ids) > limit else search.stopped)


async def decision(connection: Connection, decision_id: UUID, scope: Scope = EVERYBODY) -> DecisionParts | None:
    """All that the log knows of a decision, without features; None where it is not there, or is not for these eyes.

    Raises StoreError for a row of another version.
    """
    async with reading(connection):
        found = await _rows(connection, [decision_id])
        if not found or (scope.key_hash is not None and found[0].decision.caller.key_hash != scope.key_hash):
            return None
        texts = await queries().decision_texts(connection, id=decision_id)
        comparison = await queries().decision_comparison(connection, id=decision_id)
        said = queries().decision_feedback(connection, id=decision_id, most=MOST_FEEDBACK)
        return DecisionParts(
            row=found[0],
            texts=None if texts is None else msgspec.convert(dict(texts), Texts),
            feedback=tuple([FeedbackView(**row) async for row in said]),
            comparison=None if comparison is None else ComparisonView(**comparison),
            turns=await _turns(connection, found[0], scope),
        )


async def _turns(connection: Connection, row: LogRow, scope: Scope) -> tuple[LogRow, ...]:
    conversation = row.decision.conversation_id
    if conversation is None:
        return ()
    filters = DecisionFilters(conversation_id=conversation)
    keys = None if scope.key_hash is None else [scope.key_hash]
    ids = await _Search(connection, filters, keys, _Range(_FIRST, _LAST), MOST_TURNS + 1).run()
    others = [each for each in ids if each != row.decision.decision_id]
    return (await _rows(connection, others[:MOST_TURNS]))[::-1]


async def _keys(connection: Connection, scope: Scope, called: str | None) -> list[str] | None:
    """The keys whose rows are listed; None: all."""
    if called is None:
        return None if scope.key_hash is None else [scope.key_hash]
    keys: list[str] = await queries().keys_called(connection, name=called)
    return keys if scope.key_hash is None else [key for key in keys if key == scope.key_hash]


async def _rows(connection: Connection, ids: Sequence[UUID]) -> tuple[LogRow, ...]:
    if not ids:
        return ()
    found = [row async for row in queries().decision_rows(connection, ids=ids)]
    try:
        return tuple(read_log_row({**row["decision"], "features": None}, row["outcome"]) for row in found)
    except msgspec.ValidationError as error:
        raise StoreVersionError(f"the log holds a row of another version: {error}: upgrade bsgateway") from None


class _Search:
    """Looks for the newest `most` ids that match. `stopped`: where it gave up, and everything newer was looked at."""

    def __init__(
        self, connection: Connection, filters: DecisionFilters, keys: list[str] | None, within: _Range, most: int
    ) -> None:
        self._connection = connection
        self._filters = filters
        self._keys = keys
        self._within = within
        self._most = most
        self._dimensions: dict[str, Any] = {name: getattr(filters, name) for name in _DIMENSIONS}
        self._found: list[UUID] = []
        self.stopped: UUID | None = None

    async def run(self) -> list[UUID]:
        if any((self._filters.conversation_id, self._filters.session_id, self._filters.call_id)):
            return await self._called()
        if self._keys is None and all(value is None for value in self._dimensions.values()):
            return await self._between([self._within])
        await self._walk()
        return self._found

    async def _called(self) -> list[UUID]:
        found = queries().decisions_called(
            self._connection,
            conversation_id=self._filters.conversation_id,
            session_id=self._filters.session_id,
            call_id=self._filters.call_id,
            keys=self._keys,
            **self._dimensions,
            low=self._within.low,
            high=self._within.high,
            most=self._most,
        )
        return [row["decision_id"] async for row in found]

    async def _between(self, ranges: Sequence[_Range]) -> list[UUID]:
        found = queries().decisions_between(
            self._connection,
            keys=self._keys,
            **self._dimensions,
            lows=[each.low for each in ranges],
            highs=[each.high for each in ranges],
            most=self._most - len(self._found),
        )
        return [row["decision_id"] async for row in found]

    async def _walk(self) -> None:
        """Look into the days that can hold something, and of these into the quarters or hours that can."""
        oldest = await queries().oldest_decision(self._connection)
        if oldest is None:
            return
        within = _Range(max(self._within.low, oldest), self._within.high)
        width = _QUARTER if self._keys is None else _HOUR
        days, marked = await self._days(within, width)
        read = 0
        for chunk in _chunks(days, self._most):
            left = await self._buckets(chunk, width, marked, within)
            while left:
                batch = _batch(left, self._most - len(self._found))
                left = left[len(batch) :]
                ranges = [_range(each.start, width, within) for each in batch]
                self._found += await self._between(ranges)
                read += sum(each.read for each in batch)
                if len(self._found) >= self._most:
                    return
                if read > MOST_READ:
                    self.stopped = ranges[-1].low
                    return

    async def _days(self, within: _Range, width: int) -> tuple[list[_Bucket], set[datetime]]:
        """The days, newest first, that can hold something; and the buckets of which there is no right sum."""
        since, until = _start(_time(within.low), _DAY), min(_time(within.high) + timedelta(milliseconds=1), _END)
        days = {each.start: each for each in await self._spans(_DAY, [(since, until)])}
        marked = set()
        async for row in queries().waiting_spans(self._connection, since=since, until=until):
            day = _start(row["bucket"], _DAY)
            days[day] = _Bucket(day, 0, 0)
            if row["span"] < _DAY:
                marked.add(_start(row["bucket"], width))
        return sorted(days.values(), reverse=True), marked

    async def _buckets(
        self, days: Sequence[_Bucket], width: int, marked: set[datetime], within: _Range
    ) -> list[_Bucket]:
        """The quarters or hours of some days, newest first, that can hold something."""
        found = await self._spans(width, [(day.start, day.start + timedelta(seconds=_DAY)) for day in days])
        buckets = {each.start: each for each in found}
        for start in marked & _starts(days, width):
            read = buckets[start].read if start in buckets else 0
            buckets[start] = _Bucket(start, max(read, _UNKNOWN), 0)
        ranges = ((bucket, _range(start, width, within)) for start, bucket in buckets.items())
        return sorted((bucket for bucket, ids in ranges if ids.low < ids.high), reverse=True)

    async def _spans(self, width: int, stretches: Sequence[tuple[datetime, datetime]]) -> list[_Bucket]:
        sinces, untils = zip(*stretches, strict=True)
        wanted = {"span": width, "sinces": sinces, "untils": untils, **self._dimensions}
        if self._keys is None:
            found = queries().spans_with(self._connection, **wanted)
        else:
            known = {name: value for name, value in wanted.items() if name not in _NOT_OF_KEYS}
            found = queries().key_spans_with(self._connection, keys=self._keys, **known)
        return [_Bucket(row["bucket"], row["read"], row["requests"]) async for row in found]


def _starts(days: Sequence[_Bucket], width: int) -> set[datetime]:
    return {day.start + timedelta(seconds=passed) for day in days for passed in range(0, _DAY, width)}


def _chunks(days: Sequence[_Bucket], most: int) -> list[list[_Bucket]]:
    """Days, newest first, in portions that ought to hold `most` of what is looked for."""
    chunks: list[list[_Bucket]] = []
    for day in days:
        if not chunks or len(chunks[-1]) >= DAYS_AT_ONCE or sum(each.requests for each in chunks[-1]) >= most:
            chunks.append([])
        chunks[-1].append(day)
    return chunks


def _batch(buckets: Sequence[_Bucket], most: int) -> list[_Bucket]:
    """The first buckets that ought to hold `most` of what is looked for, or as many as are read at once."""
    batch: list[_Bucket] = []
    read = requests = 0
    for bucket in buckets:
        batch.append(bucket)
        read += bucket.read
        requests += bucket.requests
        if requests >= most or read >= READ_AT_ONCE:
            break
    return batch


def _range(start: datetime, width: int, within: _Range) -> _Range:
    low, high = _floor(start), _floor(start + timedelta(seconds=width))
    return _Range(max(low, within.low), min(high, within.high))


def _start(moment: datetime, width: int) -> datetime:
    return moment - (moment - _EPOCH) % timedelta(seconds=width)


def _floor(moment: datetime) -> UUID:
    """The smallest id of a moment, as bsg_uuid7_floor gives it."""
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    return UUID(int=max(milliseconds, 0) << 80)


def _time(decision_id: UUID) -> datetime:
    """The moment in an id; that of no UUIDv7 may lie beyond what can be told."""
    milliseconds: int = decision_id.int >> 80
    return _EPOCH + timedelta(milliseconds=min(milliseconds, (_END - _EPOCH) // timedelta(milliseconds=1)))
