"""`bsgateway replay`: what would have become of recorded requests, with and without conversations that keep their tier.

The requests go through the gateway's own steps (names, analysis, side requests, policy) in the order of the file, once;
each is decided twice, with its conversation and by itself, and priced a third time at the top tier. Nothing is sent
anywhere. Costs are estimates: tokens as the gateway counts them, prices of the configuration, and a model of prompt
caches (see `prompt_caches`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from .catalog import Model
from .conversations import begins
from .decision import Caller, Reason
from .errors import ReplayError
from .gateway import FORMATS, Asker, Gateway, Pending
from .policy import EXPECTED_OUTPUT_TOKENS, Choice
from .prompt_caches import PromptCaches, Sent
from .sessions import Session, Sessions, after

WITH, WITHOUT, TOP = "with", "without", "top"


class Line(msgspec.Struct, frozen=True, gc=False):
    """One request of a file: a line of JSON.

    `body` is the request as the client sent it, `call_type` LiteLLM's word for its endpoint, `headers` the client's.
    `at` is its time in seconds, from whatever beginning. `session` is the conversation as the client sees it, the unit
    of the report; `thread` tells apart what an agent does side by side in it. `output_tokens` are those of the answer,
    if known. `side`, if given, says whether it really is a request beside the work.
    """

    session: str
    body: dict[str, Any]
    call_type: str = "acompletion"
    headers: dict[str, str] = {}
    at: float = 0.0
    thread: str = ""
    output_tokens: int | None = None
    side: bool | None = None


class Way(msgspec.Struct):
    """What came of one way to decide. Switches are changes of the model between two requests of a thread, side requests
    left out: to a higher tier, a lower one, another model of the same. `forced` are those of them that had to be, as
    the model could not serve the request; `in_tool_loop` the others that came between a tool call and its answer.
    `cost` is in US dollars; `unpriced` requests are not in it."""

    up: int = 0
    down: int = 0
    aside: int = 0
    forced: int = 0
    in_tool_loop: int = 0
    cost: float = 0.0
    unpriced: int = 0
    unserved: int = 0

    @property
    def switches(self) -> int:
        return self.up + self.down + self.aside


class Summary(msgspec.Struct):
    """What came of one session, or of all. `conversations` are the gateway's, of the requests that are no side
    requests: one per thread, unless a thread's beginning was rewritten. `side_*` compare with the labels, where there
    are some."""

    session: str
    requests: int = 0
    conversations: int = 0
    tool_turns: int = 0
    side: int = 0
    side_labelled: int = 0
    side_right: int = 0
    side_wrong: int = 0
    sticky: Way = msgspec.field(default_factory=Way)
    single: Way = msgspec.field(default_factory=Way)
    top_cost: float = 0.0

    @property
    def recall(self) -> float | None:
        """Share of the labelled side requests that were recognised."""
        return self.side_right / self.side_labelled if self.side_labelled else None

    @property
    def precision(self) -> float | None:
        """Share of right ones among the labelled requests that were taken for side requests."""
        taken = self.side_right + self.side_wrong
        return self.side_right / taken if taken else None


class Report(msgspec.Struct):
    """All sessions of a replay, in the order they began, and the total. `top_model` is the top tier's. `fallback` is
    what has scored under the strategy llm, as nobody was asked."""

    sessions: list[Summary]
    total: Summary
    top_model: str
    fallback: str | None = None


def read(paths: Iterable[Path], advance: Callable[[int], None] = lambda _: None) -> Iterator[Line]:
    """The requests of JSON-lines files, empty lines left out; `advance` is told the bytes read. Raises ReplayError."""
    decoder = msgspec.json.Decoder(Line)
    for path in paths:
        try:
            with path.open("rb") as file:
                for number, raw in enumerate(file, 1):
                    advance(len(raw))
                    if not raw.isspace():
                        yield _line(decoder, raw, f"{path}:{number}")
        except OSError as error:
            raise ReplayError(f"{path} cannot be read: {error.strerror}") from error


def _line(decoder: msgspec.json.Decoder[Line], raw: bytes, where: str) -> Line:
    try:
        line = decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReplayError(f"{where}: not a request: {error}") from error
    if line.call_type not in FORMATS:
        raise ReplayError(f"{where}: call type {line.call_type!r} is not routed; known: {', '.join(FORMATS)}")
    if not isinstance(line.body.setdefault("model", "auto"), str) or not line.body["model"]:
        raise ReplayError(f"{where}: the body's `model` must be a name")
    return line


def replay(gateway: Gateway, lines: Iterable[Line]) -> Report:
    """Decide all of `lines`, which come in the order of their time."""
    return _Replay(gateway).run(lines)


class _Replay:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._now = 0.0
        self._sessions = Sessions(gateway.config.routing.session.ttl_seconds, clock=lambda: self._now)
        self._tiers = {plan.name: index for index, plan in enumerate(gateway.policy.tiers)}
        self._ways = {name: _Tracker(gateway, self._tiers) for name in (WITH, WITHOUT)}
        self._top = PromptCaches(gateway.config.routing.session.cache_seconds)
        self._summaries: dict[str, Summary] = {}
        self._total = Summary("all")
        self._conversations: set[tuple[str, str]] = set()

    def run(self, lines: Iterable[Line]) -> Report:
        for line in lines:
            self._now = line.at
            summary = self._summaries.setdefault(line.session, Summary(line.session))
            self._one(line, (summary, self._total))
        classifier, top = self._gateway.config.routing.classifier, self._gateway.policy.baseline.name
        fallback = classifier.scorer if classifier.strategy == "llm" else None
        return Report(list(self._summaries.values()), self._total, top, fallback)

    def _one(self, line: Line, summaries: tuple[Summary, ...]) -> None:
        gateway = self._gateway
        headers = {name.lower(): value for name, value in line.headers.items()}
        data = {**line.body, "proxy_server_request": {"headers": headers}}
        caller = Caller(key_hash="replay", user_agent=headers.get("user-agent"))
        pending = gateway.begin(data, line.call_type, Asker(caller), lambda _: False)
        self._count(line, pending, summaries)
        session = self._recall(data, line, pending)
        sticky = gateway.choose(pending, session, now=self._now)
        self._remember(pending, session, sticky)
        request = _Request(line, pending)
        for name, choice in ((WITH, sticky), (WITHOUT, gateway.choose(pending, now=self._now))):
            ways = [summary.sticky if name == WITH else summary.single for summary in summaries]
            self._ways[name].note(request, choice, ways)
        top = self._top.cost(request.sent(gateway.policy.baseline), gateway.policy.baseline)
        for summary in summaries:
            summary.top_cost += top or 0.0

    def _recall(self, data: Mapping[str, Any], line: Line, pending: Pending) -> Session | None:
        enabled = self._gateway.config.routing.session.enabled
        if not enabled or pending.conversation is None or begins(data, line.call_type):
            return None
        return self._sessions.recall(pending.conversation)

    def _remember(self, pending: Pending, session: Session | None, choice: Choice) -> None:
        if pending.conversation is None or pending.demand.side or choice.tier is None or choice.model is None:
            return
        family = self._gateway.models[choice.model].family
        size = pending.demand.context_tokens
        score = choice.score or 0
        easy = self._gateway.policy.is_easy(score, choice.tier)
        left = after(session, choice.tier, choice.model, family, score, size, self._now, easy)
        self._sessions.remember(pending.conversation, left)

    def _count(self, line: Line, pending: Pending, summaries: tuple[Summary, ...]) -> None:
        side = pending.demand.side
        found = (line.session, pending.conversation or "")
        is_new = not side and pending.conversation is not None and found not in self._conversations
        if is_new:
            self._conversations.add(found)
        for summary in summaries:
            summary.requests += 1
            summary.conversations += is_new
            summary.tool_turns += pending.demand.tool_turn
            summary.side += side
            if line.side is not None:
                summary.side_labelled += line.side
                summary.side_right += line.side and side
                summary.side_wrong += side and not line.side


class _Request(msgspec.Struct, frozen=True):
    """A request as costs and switches see it."""

    line: Line
    pending: Pending

    @property
    def side(self) -> bool:
        return self.pending.demand.side if self.line.side is None else self.line.side

    @property
    def thread(self) -> tuple[str, str]:
        return self.line.session, self.line.thread

    def sent(self, model: Model) -> Sent:
        """As the prompt cache of `model` sees it."""
        demand = self.pending.demand
        return Sent(self.thread, self.line.at, demand, demand.context_tokens, self.output_tokens(model), self.side)

    def output_tokens(self, model: Model) -> int:
        """Tokens of the answer; where the file does not say, what the policy assumes."""
        if self.line.output_tokens is not None:
            return self.line.output_tokens
        limits = (self.pending.demand.max_output_tokens, model.max_output_tokens)
        return min((EXPECTED_OUTPUT_TOKENS, *(limit for limit in limits if limit is not None)))


class _Tracker:
    """Follows one way to decide: which model each thread is with, and what lies in prompt caches."""

    def __init__(self, gateway: Gateway, tiers: Mapping[str, int]) -> None:
        self._models = gateway.models
        self._tiers = tiers
        self._caches = PromptCaches(gateway.config.routing.session.cache_seconds)
        self._last: dict[tuple[str, str], tuple[str | None, str]] = {}

    def note(self, request: _Request, choice: Choice, ways: Iterable[Way]) -> None:
        model = self._models.get(choice.model) if choice.model is not None else None
        cost = None if model is None else self._caches.cost(request.sent(model), model)
        move = 0 if request.side or model is None else self._move(request, choice.tier, model.name)
        forced = move != 0 and choice.reason in _FORCED
        in_loop = move != 0 and not forced and request.pending.demand.tool_turn
        for way in ways:
            way.unserved += model is None
            way.unpriced += model is not None and cost is None
            way.cost += cost or 0.0
            way.up += move == _UP
            way.down += move == _DOWN
            way.aside += move == _ASIDE
            way.forced += forced
            way.in_tool_loop += in_loop

    def _move(self, request: _Request, tier: str | None, model: str) -> int:
        last = self._last.get(request.thread)
        self._last[request.thread] = (tier, model)
        if last is None or last[1] == model:
            return 0
        before, now = (self._tiers.get(name, -1) if name is not None else -1 for name in (last[0], tier))
        return _ASIDE if before == now else _UP if now > before else _DOWN


_UP, _DOWN, _ASIDE = 1, 2, 3
_FORCED = (Reason.NEEDS, Reason.CONTEXT_WINDOW)
