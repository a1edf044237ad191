"""What the pages' API answers with, besides `figures`: the contract between Python and the browser.

The TypeScript types in `ui/src/api.d.ts` are made from these (`make web-types`), and a test holds them together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from ..decision import Decision, Texts
from ..rows import LogRow


class TierView(msgspec.Struct, frozen=True, kw_only=True):
    """A tier of the configuration in force, the cheapest first."""

    name: str
    first: int
    last: int
    models: tuple[str, ...]
    description: str | None = None


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What the log of the worker that answers has yet to write: rows in memory (`queued`) and on disk (`spooled_rows`),
    the oldest of them `oldest_seconds` old. `written` and `dropped` rows since the worker's start; `circuit` is open
    while the database is waited for."""

    queued: int
    spooled_rows: int
    spooled_bytes: int
    oldest_seconds: float | None
    written: int
    dropped: int
    circuit: str
    last_error: str | None


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """GET api/me: who looks, and what there is to see. A key that is no admin sees its own requests only.

    `log`: off (no database is configured), down (it does not answer) or on. `strategies` are those that can be
    compared; llm only where it is configured. `text` is `collector.text`. `backlog` is there
    for admins, while there is a log.
    """

    admin: bool
    key: str | None
    version: str
    log: Literal["on", "down", "off"]
    mode: Literal["route", "shadow"]
    canary: str
    bias: int
    strategy: str
    strategies: tuple[str, ...]
    tiers: tuple[TierView, ...]
    baseline_model: str
    text: Literal["full", "redacted", "none"]
    models: tuple[str, ...]
    docs: str | None = None
    backlog: Backlog | None = None


class Option(msgspec.Struct, frozen=True):
    """A word that can be filtered by; `doc` says what it means."""

    value: str
    doc: str = ""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """GET api/filters: the closed lists that the page of decisions offers."""

    tiers: tuple[Option, ...]
    methods: tuple[Option, ...]
    strategies: tuple[Option, ...]
    reasons: tuple[Option, ...]
    models: tuple[Option, ...]


class DecisionPage(msgspec.Struct, frozen=True, kw_only=True):
    """GET api/decisions: newest first. `rows` hold no features. `before` fetches what is older, None: that was all."""

    rows: tuple[LogRow, ...]
    before: UUID | None


class FeedbackView(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said about an answer."""

    created_at: datetime
    source: str
    rating: float | None
    label: str | None
    comment: str | None


class ComparisonView(msgspec.Struct, frozen=True, kw_only=True):
    """The dual run of a request."""

    weak_tier: str
    strong_tier: str
    weak_model: str
    strong_model: str
    weak_score: float
    strong_score: float
    judge: str
    cost: float | None


class CandidateView(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that the decision had: chosen, passed over for a `reason` that `doc` explains, or not needed."""

    model: str
    tier: str | None
    fate: Literal["chosen", "passed_over", "not_reached"]
    reason: str | None = None
    doc: str | None = None


class DecisionDetail(msgspec.Struct, frozen=True, kw_only=True):
    """GET api/decisions/ID: the whole why. `texts` is None unless `collector.text` keeps them and the viewer may read
    them. `turns` are other requests of the conversation, oldest first, at most 50. `reason_doc` and the others explain
    the closed words."""

    row: LogRow
    reason_doc: str
    method_doc: str
    llm_doc: str | None
    candidates: tuple[CandidateView, ...]
    texts: Texts | None
    feedback: tuple[FeedbackView, ...]
    comparison: ComparisonView | None
    turns: tuple[LogRow, ...]


class ExplainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST api/explain: a `prompt`, or a whole `body` with the `call_type` of its endpoint (guessed if not given).
    `strategies`: those to compare, each once."""

    prompt: str | None = None
    body: dict[str, Any] | None = None
    call_type: str | None = None
    model: str = "auto"
    strategies: tuple[Literal["static", "ml", "llm"], ...] = ("static", "ml")


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """What one strategy makes of a request. `decision` is None where it could not be made, for the reason `error`;
    `in_force`: it is the strategy of the configuration."""

    strategy: str
    in_force: bool
    decision: Decision | None
    reason_doc: str = ""
    advice: str = ""
    error: str | None = None


class ExplainAnswer(msgspec.Struct, frozen=True):
    """Answer of POST api/explain, in the order of `strategies`."""

    explained: tuple[Explained, ...]


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """GET api/what-if: what any other borders or bias would make of the last days, for the browser to add up.

    `requests[i]` are those whose score is `lowest + i`, their bias included and not yet bounded to 0-100. Another bias
    moves them all: with `shift` (the other bias minus `bias`) their score is `min(max(lowest + i + shift, 0), 100)`.
    `costs[tier][i]` is what they would cost at each tier, in US dollars, tokens and answers as they were; None for a
    tier of which no price is known. `borders` are the first scores of all tiers but the lowest, ascending; `tiers` are
    the cheapest first.

    `fixed_*` are requests that no border moves: served by name, with a tier asked for, side requests, those that a
    local LLM named the tier of, and those that nobody can serve; `left_out` those that cannot be scored as they would
    be today. Conversations that keep their tier, and limits of tiers, are not followed: each request goes by its own
    score. `days` is the time that the requests stand for. `sampled`: only the newest of the time were read; from
    `since` on.
    """

    since: datetime
    until: datetime
    days: float
    sampled: bool
    strategy: str
    tiers: tuple[str, ...]
    borders: tuple[int, ...]
    bias: int
    lowest: int
    requests: tuple[int, ...]
    costs: tuple[tuple[float, ...] | None, ...]
    fixed_requests: int
    fixed_cost: float
    left_out: int
    notes: tuple[str, ...] = ()


class SettingRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST api/what-if/lines: borders and a bias, as they were chosen on the page."""

    borders: tuple[int, ...]
    bias: int


class SettingLines(msgspec.Struct, frozen=True):
    """Answer of POST api/what-if/lines: the YAML to put into gateway.yaml. Nothing writes it there."""

    yaml: str


class LabelCount(msgspec.Struct, frozen=True, kw_only=True):
    """Labels of one source in the log of the last `days`; `doc` says what they are, `weight` what training makes of
    each."""

    source: str
    labels: int
    weight: float
    doc: str


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate on rows that the model was not trained on, with its 95 % interval where there is one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A model file that was kept. `state`: in_force, previous, candidate (trained and not promoted) or older, or prior
    (comes with the package). `curve`: share of requests that go to the strong model -> quality, 0-1 each; empty where
    the file does not tell. `better`: whether its lower bound beat what ran when it was trained, None if unknown."""

    id: str
    state: Literal["in_force", "previous", "candidate", "older", "prior"]
    kind: str
    created: str
    rows: int
    labels: dict[str, int]
    held_out: tuple[HeldOut, ...]
    better: bool | None = None
    curve: tuple[tuple[float, float], ...] = ()
    random_curve: tuple[tuple[float, float], ...] = ()


class LearningView(msgspec.Struct, frozen=True, kw_only=True):
    """GET api/learning. `in_force`: the id of the model that scores, None where the strategy uses none. `can_promote`:
    who looks may put another one in force, and the gateway may write its file."""

    strategy: str
    in_force: str | None
    days: float
    labels: tuple[LabelCount, ...]
    versions: tuple[ModelVersion, ...]
    can_promote: bool
    train_command: str = "bsgateway train"


class PromoteRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST api/learning/promote: put a kept version in force. `force`: although it was not certain to be better."""

    id: str
    force: bool = False


class Promoted(msgspec.Struct, frozen=True):
    """Answer of POST api/learning/promote: what scores from now on, and what did before. Other workers follow."""

    id: str
    before: str | None


class FeedbackRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /bsgateway/feedback: a `rating` from 0 (useless) to 1 (just right), or the `label` of the tier that would
    have been right, or both; and a `comment`."""

    decision_id: UUID
    rating: float | None = None
    label: str | None = None
    comment: str | None = None


class FeedbackAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of POST /bsgateway/feedback, once it is in the database. `comment` says what became of the words."""

    decision_id: UUID
    stored: bool
    comment: Literal["none", "kept", "redacted", "dropped"] = "none"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Body of every answer that is no success: what is wrong and what to do."""

    error: str
    remedy: str = ""
    field: str | None = None
