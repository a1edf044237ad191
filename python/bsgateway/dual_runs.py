"""Dual runs: a random share of the requests routed by score is answered a second time, by another tier, once the client
has its answer, and the two answers are compared. What comes of it are labels: `Comparison` records in the log.

The other tier is the lowest one; where that has answered, the highest. So one of the two is always the cheapest, whose
failures are what there is to learn. Its model is the one that the policy chooses there for this very request and key:
needs, limits of tiers, access and cooldowns hold as for any other.

Off the request path: a request that is drawn leaves a `Ticket`, and LiteLLM's report of its success puts that into a
bounded queue, which a few tasks empty. Only chat completions and messages without tools are drawn, and of their bodies
only what `dual_run_tickets` names is sent again: no tool can run twice, and nothing of the client but its words leaves
a second time. These are taken as they went to the first model: what a guardrail has masked stays masked. Nobody's
budget at LiteLLM is charged, and no text is stored or logged.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from .answers import usage_of, words_of
from .config import Learning
from .daily_budget import DailyBudget
from .decision import Comparison, Outcome, Reason, now
from .dual_run_tickets import Ticket, make_ticket
from .errors import GatewayError
from .judge import VERDICT_TOKENS, JudgeError, compare
from .outcome import MAX_COST
from .policy import EXPECTED_OUTPUT_TOKENS, Choice
from .stamps import METADATA
from .translate import translate

if TYPE_CHECKING:
    from .catalog import Model
    from .gateway import Gateway, Pending
    from .stamps import RoutingDecision

log = logging.getLogger(__name__)

MARK = {"bsgateway_dual_run": True}
"""LiteLLM's metadata of our own calls, for other callbacks to know them by."""
QUEUED = 32
"""Answered requests that wait for their second run; more are dropped."""
RUNNERS = 4
"""Second runs at a time."""
CALL_SECONDS = 120.0
"""Longest wait for an answer, of a model or of the judge."""
GRACE_SECONDS = 5.0
CHARS_PER_TOKEN = 3
"""For the expected price of judging, where texts are not counted again: on the high side."""

_SYSTEM = SystemRandom()


class DualRunStats(msgspec.Struct, frozen=True):
    """What dual runs did in this process. `dropped` counts those that came to nothing, by cause; `spent_usd` is today's
    (UTC) cost of second answers and judges."""

    drawn: int = 0
    queued: int = 0
    compared: int = 0
    dropped: Mapping[str, int] = {}
    spent_usd: float = 0.0


class _Dropped(Exception):
    """A dual run comes to nothing; the message is the cause, one word."""


class DualRuns:
    """The dual runs of one process. To be used in one event loop.

    `router` gives LiteLLM's current router, `cooling` the models that are left alone, `record` takes what came of it;
    without a `record`, nothing is drawn.
    """

    def __init__(
        self,
        router: Callable[[], Any | None],
        cooling: Callable[[], Mapping[str, Reason]],
        record: Callable[[Comparison], None] | None,
        random: Callable[[], float] = _SYSTEM.random,
    ) -> None:
        self.budget = DailyBudget()
        self._router, self._cooling, self._record, self._random = router, cooling, record, random
        self._queue: asyncio.Queue[tuple[UUID, Ticket, str]] = asyncio.Queue(QUEUED)
        self._tasks: list[asyncio.Task[None]] = []
        self._drawn = self._compared = 0
        self._dropped: Counter[str] = Counter()

    def stats(self) -> DualRunStats:
        """A snapshot."""
        return DualRunStats(
            self._drawn, self._queue.qsize(), self._compared, dict(self._dropped), round(self.budget.spent, 9)
        )

    async def draw(
        self,
        gateway: Gateway,
        pending: Pending,
        choice: Choice,
        data: Mapping[str, Any],
        permitted: Callable[[str], Awaitable[Choice]],
    ) -> Ticket | None:
        """A ticket, if chance picks the request `data` that goes to `choice`, as its client sent it; mostly None.
        `permitted` chooses a model of a tier that the request's key may use. Raises nothing."""
        if self._record is None or self._random() >= gateway.dual_run_share:
            return None
        try:
            if _bound_by_tags(data, self._router()):
                return None
            ticket = await make_ticket(gateway, pending, choice, data, self._cooling(), permitted)
        except Exception as error:
            self._dropped["failed"] += 1
            log.error("a request could not be drawn for a dual run: %s", type(error).__name__)
            return None
        self._drawn += ticket is not None
        return ticket

    def answered(self, routing: RoutingDecision, outcome: Outcome, answer: Any) -> None:
        """The client has its `answer`, as LiteLLM reports it, sometimes twice. Never waits."""
        ticket, routing.ticket = routing.ticket, None
        if ticket is None:
            return
        said = words_of(answer)
        if outcome.served_group != ticket.model:
            self._dropped["fell_back"] += 1
        elif ticket.words is None:
            self._dropped["no_words"] += 1
        elif not outcome.completion_tokens:
            self._dropped["cut_off"] += 1  # the client has hung up
        elif said is None:
            self._dropped["no_text"] += 1
        elif self._queue.full():
            self._dropped["queue_full"] += 1
        else:
            self._queue.put_nowait((outcome.decision_id, ticket, said))
            self._ensure_running()

    async def stop(self) -> None:
        """Give up what is not done."""
        self._dropped["stopped"] += self._queue.qsize()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _ensure_running(self) -> None:
        if not self._tasks:
            # In a context of their own: that of a request would have LiteLLM take their calls for part of it.
            make = contextvars.Context().run
            self._tasks = [
                make(asyncio.get_running_loop().create_task, self._run(), name=f"bsgateway-dual-runs-{number}")
                for number in range(RUNNERS)
            ]

    async def _run(self) -> None:
        assert self._record is not None  # noqa: S101 - or nothing is drawn
        while True:
            decision_id, ticket, said = await self._queue.get()
            try:
                self._record(await self._compared_with(decision_id, ticket, said))
                self._compared += 1
            except _Dropped as cause:
                self._dropped[str(cause)] += 1
            except asyncio.CancelledError:
                self._dropped["stopped"] += 1
                raise
            except Exception as error:
                # Only the kind of the error: its message may quote the request.
                self._dropped["failed"] += 1
                log.warning("a dual run with %s failed: %s", ticket.other_model, type(error).__name__)

    async def _compared_with(self, decision_id: UUID, ticket: Ticket, said: str) -> Comparison:
        learning, judge = _learning(ticket), _judge_model(ticket)
        cooling = self._cooling()
        if ticket.other_model in cooling or judge in cooling:
            raise _Dropped("cooling_down")
        expected, priced = _expected(ticket, judge, said)
        reservation = self.budget.reserve(expected, learning.dual_run_usd_per_day, priced)
        if reservation is None:
            raise _Dropped("budget")
        calls = _Calls(self._router, ticket.gateway.models)
        try:
            other = words_of(await calls.again(ticket))
            if other is None:
                raise _Dropped("no_text")
            weak, strong = (other, said) if ticket.lower else (said, other)
            scores = await compare(learning.judge, ticket.ask, weak, strong, calls)
        except JudgeError:
            raise _Dropped("no_verdict") from None
        except (Exception, asyncio.CancelledError) as error:
            if _gave_up(error):
                calls.add(reservation.usd)  # the provider may have worked on it, and charge for it
            raise
        finally:
            self.budget.settle(reservation, calls.cost or 0.0)
        here, there = (ticket.tier, ticket.model), (ticket.other_tier, ticket.other_model)
        (weak_tier, weak_model), (strong_tier, strong_model) = (there, here) if ticket.lower else (here, there)
        return Comparison(
            decision_id=decision_id,
            created_at=now(),
            weak_tier=weak_tier,
            strong_tier=strong_tier,
            weak_model=weak_model,
            strong_model=strong_model,
            weak_score=scores.weak,
            strong_score=scores.strong,
            judge=learning.judge.method,
            judge_model=judge,
            share=ticket.share,
            cost=calls.cost,
        )


class _Calls:
    """The calls of one dual run, through LiteLLM's own router; `cost` is what they cost so far in US dollars, None as
    long as none of them has a price."""

    def __init__(self, router: Callable[[], Any | None], models: Mapping[str, Model]) -> None:
        self.cost: float | None = None
        self._router, self._models = router, models

    async def again(self, ticket: Ticket) -> Any:
        """The answer of the other model."""
        body = {**ticket.settings, **(ticket.words or {}), "model": ticket.other_model}
        translate(body, ticket.format, self._models[ticket.other_model], families=(), same_model=False)
        if ticket.format == "chat":
            return await self._call("acompletion", body, "metadata")
        return await self._call("aanthropic_messages", body, "litellm_metadata")

    async def say(self, model: str, system: str, question: str, max_tokens: int) -> str | None:
        """As `judge.Models` says."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        body = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, "drop_params": True}
        return words_of(await self._call("acompletion", body, "metadata"))

    async def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        """As `judge.Models` says."""
        answer = await self._call("aembedding", {"model": model, "input": list(texts)}, "metadata")
        found = [each["embedding"] if isinstance(each, dict) else each.embedding for each in answer.data]
        if len(found) != len(texts):
            raise JudgeError(f"{model!r} gave {len(found)} embeddings for {len(texts)} texts")
        return found

    def add(self, usd: float) -> None:
        """Count `usd` as spent."""
        self.cost = (self.cost or 0.0) + usd

    async def _call(self, method: str, body: dict[str, Any], metadata: str) -> Any:
        router = self._router()
        if router is None:
            raise GatewayError("LiteLLM has no router")
        call = getattr(router, method)(
            **body,
            **({} if method == "aembedding" else {"stream": False}),
            **{metadata: dict(MARK)},
            timeout=CALL_SECONDS,
            num_retries=0,
            disable_fallbacks=True,  # another model's answer would be taken for this one's
        )
        answer = await asyncio.wait_for(call, CALL_SECONDS + GRACE_SECONDS)
        if (cost := _cost(answer, self._models.get(body["model"]))) is not None:
            self.add(cost)
        return answer


def _bound_by_tags(data: Mapping[str, Any], router: Any | None) -> bool:
    """Whether LiteLLM chooses among the deployments of a model by the tags of the request, of its key or its team: the
    second call has no tags, and could go where these must not."""
    if not any(isinstance(place := data.get(name), dict) and place.get("tags") for name in METADATA):
        return False
    if router is None or router.enable_tag_filtering or data.get("enable_tag_filtering"):
        return True
    return any((each.get("model_info") or {}).get("enable_tag_filtering") for each in router.get_model_list() or ())


def _gave_up(error: BaseException) -> bool:
    """Whether it was us who did not wait for an answer: LiteLLM has an error of its own for that, which says 408."""
    return isinstance(error, (asyncio.TimeoutError, asyncio.CancelledError)) or getattr(error, "status_code", 0) == 408


def _learning(ticket: Ticket) -> Learning:
    return ticket.gateway.config.routing.learning


def _judge_model(ticket: Ticket) -> str | None:
    judge = _learning(ticket).judge
    return None if judge.method == "match" else judge.model


def _expected(ticket: Ticket, judge: str | None, said: str) -> tuple[float, bool]:
    """What the second answer and the judge are expected to cost, as far as it is known, and whether all of it is."""
    costs = [ticket.expected] if judge is None else [ticket.expected, _expected_of_judge(ticket, judge, said)]
    return sum(cost for cost in costs if cost is not None), None not in costs


def _expected_of_judge(ticket: Ticket, judge: str, said: str) -> float | None:
    model = ticket.gateway.models.get(judge)
    answers = 2 * max(len(said) // CHARS_PER_TOKEN, EXPECTED_OUTPUT_TOKENS)
    if _learning(ticket).judge.method == "embedding":
        return None if model is None or model.price.input is None else answers * model.price.input
    tokens = 2 * (answers + len(ticket.ask) // CHARS_PER_TOKEN + VERDICT_TOKENS)
    return None if model is None else model.price.of(tokens, 2 * VERDICT_TOKENS)


def _cost(answer: Any, model: Model | None) -> float | None:
    """As LiteLLM says; else by the tokens and the model's price."""
    hidden = getattr(answer, "_hidden_params", None)
    said = hidden.get("response_cost") if isinstance(hidden, dict) else None
    if isinstance(said, (int, float)) and 0 < said <= MAX_COST:
        return float(said)
    if model is None or (usage := usage_of(answer)) is None:
        return None
    if model.price.output is None and model.price.input is not None:  # an embedding has no output
        return usage[0] * model.price.input
    return model.price.of(*usage)
