"""`dual_runs.py`: which requests are drawn, what is sent again, and what becomes of it. The router is LiteLLM's
own, whose deployments answer by themselves; `tests/e2e/test_dual_runs.py` has a real proxy and providers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger

from bsgateway import dual_runs
from bsgateway.decision import Comparison, Outcome, Reason, new_id, now
from bsgateway.dual_run_tickets import Ticket, with_words
from bsgateway.dual_runs import DualRuns
from bsgateway.gateway import Asker, Gateway
from bsgateway.policy import Choice
from bsgateway.stamps import RoutingDecision
from builders import until

ASK = "Name a colour."
CHAT = {"model": "auto", "messages": [{"role": "user", "content": ASK}], "user": "client-17", "temperature": 0.5}
MESSAGES = {
    "model": "auto",
    "messages": [{"role": "user", "content": ASK}],
    "max_tokens": 300,
    "metadata": {"user_id": "u"},
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
MakeGateway = Callable[..., Gateway]


def answering(**answers: str) -> litellm.Router:
    """A router whose groups answer so."""
    params: dict[str, dict[str, Any]] = {
        name: {"model": f"openai/{name}", "api_key": "none", "mock_response": answer}
        for name, answer in answers.items()
    }
    return litellm.Router([{"model_name": name, "litellm_params": each} for name, each in params.items()])


class Running:
    """Dual runs with a router, and what they recorded."""

    def __init__(self, router: Any) -> None:
        self.router = router
        self.cooling: dict[str, Reason] = {}
        self.recorded: list[Comparison] = []
        self.runs = DualRuns(lambda: self.router, lambda: self.cooling, self.recorded.append, lambda: 0.0)

    async def draw(
        self, gateway: Gateway, body: dict[str, Any], call_type: str = "acompletion", refused: tuple[str, ...] = ()
    ) -> Ticket | None:
        """A ticket for `body`, from a key that may not use the models `refused`."""
        pending = gateway.begin(body, call_type, Asker(), lambda _: False)
        excluded = {**self.cooling, **dict.fromkeys(refused, Reason.NOT_ALLOWED)}

        async def permitted(tier: str) -> Choice:
            return gateway.choose(pending, None, excluded, drawn=tier)

        choice = gateway.choose(pending, None, excluded)
        ticket = await self.runs.draw(gateway, pending, choice, body, permitted)
        return None if ticket is None else with_words(ticket, body, call_type)

    def answer(self, ticket: Ticket, said: str = "Blue.", **outcome: Any) -> Outcome:
        """The client has its answer."""
        fields = {"served_group": ticket.model, "completion_tokens": 3, **outcome}
        done = Outcome(decision_id=new_id(), completed_at=now(), status="success", **fields)
        routing = RoutingDecision()
        routing.ticket = ticket
        for _ in range(2):  # LiteLLM reports some calls twice
            self.runs.answered(routing, done, {"choices": [{"message": {"content": said}}]})
        return done

    async def ended(self, count: int = 1) -> dict[str, int]:
        """Why runs came to nothing, once `count` are over."""
        await until(lambda: len(self.recorded) + sum(self.runs.stats().dropped.values()) >= count)
        return dict(self.runs.stats().dropped)


@pytest.fixture
async def running() -> AsyncIterator[Callable[..., Running]]:
    made = []

    def make(**answers: str) -> Running:
        made.append(Running(answering(**{"small": "Blue.", "middle": "blue", "large": "Red.", **answers})))
        return made[-1]

    yield make
    for each in made:
        await each.runs.stop()


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Gateway:
    return learning(make_gateway)


LOG = {"enabled": True, "database_url": "postgresql://nobody@127.0.0.1:1/none", "text": "none"}


def learning(make_gateway: MakeGateway, **more: Any) -> Gateway:
    limits = {"client_overrides": ["tier", "max_tier", "min_tier"]}
    return make_gateway(learning={"dual_run": "100%", **more}, collector=LOG, **limits)


# Who is drawn


@pytest.mark.parametrize(
    ("asked", "pair", "lower"),
    [
        ({}, ("small", "large"), False),
        ({"bsgateway_tier": "medium"}, ("middle", "small"), True),
        ({"bsgateway_tier": "complex"}, ("large", "small"), True),
    ],
)
async def test_the_other_one_is_the_lowest_tier_or_the_highest(
    gateway: Gateway, running: Callable[..., Running], asked: dict[str, str], pair: tuple[str, str], lower: bool
) -> None:
    ticket = await running().draw(gateway, {**CHAT, "metadata": asked})
    assert ticket is not None
    assert ((ticket.model, ticket.other_model), ticket.lower, ticket.share) == (pair, lower, 1.0)
    assert ticket.expected is not None
    assert ticket.expected > 0


NEVER: dict[str, dict[str, Any]] = {
    "a name that is served as asked": {"model": "small"},
    "tools": {"tools": [TOOL]},
    "functions": {"functions": [TOOL["function"]]},
    "web search": {"web_search_options": {"search_context_size": "low"}},
    "several answers": {"n": 2},
    "spoken answers": {"modalities": ["text", "audio"], "audio": {"voice": "x", "format": "wav"}},
    "a client that forbids logging": {"no-log": True},
    "the result of a tool": {
        "messages": [
            {"role": "user", "content": "What time is it?"},
            {"role": "assistant", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "noon"},
        ]
    },
    "a client of one region": {"allowed_model_region": "eu"},
    "a client with an account of its own": {"api_key": "sk-theirs"},
    "a client with a host of its own": {"api_base": "https://theirs.example"},
    "a tier above the limit": {"metadata": {"bsgateway_max_tier": "medium"}},
    "a tier below the limit": {"metadata": {"bsgateway_tier": "complex", "bsgateway_min_tier": "medium"}},
}  # fmt: skip


@pytest.mark.parametrize("why", NEVER)
async def test_who_is_not_drawn(gateway: Gateway, running: Callable[..., Running], why: str) -> None:
    runs = running()
    assert await runs.draw(gateway, {**CHAT, **NEVER[why]}) is None
    assert runs.runs.stats() == dual_runs.DualRunStats()
    assert await runs.draw(gateway, {**CHAT}) is not None


async def test_tags_that_choose_the_deployment_are_not_lost(gateway: Gateway, running: Callable[..., Running]) -> None:
    runs, tagged = running(), {**CHAT, "metadata": {"tags": ["eu"]}}
    assert await runs.draw(gateway, tagged) is not None, "here they are for reports only"
    assert await runs.draw(gateway, {**tagged, "enable_tag_filtering": True}) is None
    runs.router.enable_tag_filtering = True
    assert await runs.draw(gateway, tagged) is None
    assert await runs.draw(gateway, CHAT) is not None


async def test_what_the_key_may_not_use_or_is_cooling_down_is_not_asked(
    gateway: Gateway, running: Callable[..., Running]
) -> None:
    runs = running()
    assert await runs.draw(gateway, CHAT, refused=("large",)) is None
    runs.cooling = {"large": Reason.COOLING_DOWN}
    assert await runs.draw(gateway, CHAT) is None


@pytest.mark.parametrize("call_type", ["aresponses", "atext_completion", "agenerate_content"])
async def test_other_formats_are_not_drawn(gateway: Gateway, running: Callable[..., Running], call_type: str) -> None:
    body = {"model": "auto", "input": ASK, "prompt": ASK, "contents": [{"role": "user", "parts": [{"text": ASK}]}]}
    assert await running().draw(gateway, body, call_type) is None


async def test_chance_has_its_share_and_nothing_without_a_log(make_gateway: MakeGateway) -> None:
    numbers = iter([0.2499, 0.25, 0.9])
    runs = Running(None)
    runs.runs = DualRuns(lambda: None, dict, runs.recorded.append, lambda: next(numbers))
    quarter = learning(make_gateway, dual_run="25%")
    assert [await runs.draw(quarter, CHAT) is not None for _ in range(3)] == [True, False, False]
    runs.runs = DualRuns(lambda: None, dict, None, lambda: 0.0)
    assert await runs.draw(quarter, CHAT) is None


async def test_only_words_and_settings_are_kept_and_they_are_a_copy(
    gateway: Gateway, running: Callable[..., Running]
) -> None:
    said = [{"role": "user", "content": [{"type": "text", "text": ASK}]}]
    ticket = await running().draw(gateway, {**CHAT, "messages": said, "extra_headers": {"k": "v"}})
    assert ticket is not None
    assert (ticket.settings, ticket.words) == ({"temperature": 0.5}, {"messages": said})
    assert ticket.words is not None
    assert ticket.words["messages"][0]["content"] is not said[0]["content"]
    assert (ticket.ask, ASK in repr(ticket)) == (ASK, False)
    ticket = await running().draw(gateway, {**MESSAGES, "system": "Be brief."}, "anthropic_messages")
    assert ticket is not None
    assert ticket.settings == {"max_tokens": 300}
    assert ticket.words == {"messages": MESSAGES["messages"], "system": "Be brief."}


async def test_the_words_are_those_of_the_first_call_in_the_clients_format(
    gateway: Gateway, running: Callable[..., Running]
) -> None:
    runs = running()
    pending = gateway.begin(MESSAGES, "anthropic_messages", Asker(), lambda _: False)

    async def choose(tier: str) -> Choice:
        return gateway.choose(pending, drawn=tier)

    bare = await runs.runs.draw(gateway, pending, gateway.choose(pending), MESSAGES, choose)
    assert bare is not None
    assert bare.words is None
    runs.answer(bare)
    assert runs.runs.stats().dropped == {"no_words": 1}
    masked = {"messages": [{"role": "user", "content": "Name <PERSON>."}], "temperature": 0.0, "metadata": {}}
    assert with_words(bare, masked, "acompletion") is bare, "LiteLLM's own call inside, after it has converted it"
    ticket = with_words(bare, masked, "anthropic_messages")
    assert (ticket.words, ticket.settings) == ({"messages": masked["messages"]}, {"max_tokens": 300})
    assert with_words(ticket, MESSAGES, "anthropic_messages") is ticket


async def test_trouble_in_drawing_is_counted_and_said_without_the_request(
    gateway: Gateway, running: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    runs = running()
    pending = gateway.begin(CHAT, "acompletion", Asker(), lambda _: False)

    async def fails(_: str) -> Choice:
        raise RuntimeError(ASK)

    assert await runs.runs.draw(gateway, pending, gateway.choose(pending), CHAT, fails) is None
    assert runs.runs.stats().dropped == {"failed": 1}
    assert "RuntimeError" in caplog.text
    assert ASK not in caplog.text


# What becomes of it


@pytest.mark.parametrize(("tier", "said", "scores"), [("simple", "Red!", (1.0, 1.0)), ("complex", "Red.", (0.0, 1.0))])
async def test_a_comparison(
    gateway: Gateway, running: Callable[..., Running], tier: str, said: str, scores: tuple[float, float]
) -> None:
    runs = running()
    ticket = await runs.draw(gateway, {**CHAT, "metadata": {"bsgateway_tier": tier}})
    assert ticket is not None
    outcome = runs.answer(ticket, said)
    assert await runs.ended() == {}
    (found,) = runs.recorded
    assert (found.decision_id, found.weak_tier, found.strong_tier) == (outcome.decision_id, "simple", "complex")
    assert (found.weak_model, found.strong_model) == ("small", "large")
    assert (found.weak_score, found.strong_score) == scores
    assert (found.judge, found.judge_model, found.share) == ("match", None, 1.0)
    stats = runs.runs.stats()
    assert (stats.drawn, stats.queued, stats.compared, stats.dropped) == (1, 0, 1, {})
    assert found.cost == pytest.approx(stats.spent_usd)
    assert stats.spent_usd > 0


async def test_a_judge_that_is_a_model(make_gateway: MakeGateway, running: Callable[..., Running]) -> None:
    runs, judged = running(middle="EQUAL"), learning(make_gateway, judge={"method": "llm", "model": "middle"})
    ticket = await runs.draw(judged, CHAT)
    assert ticket is not None
    runs.answer(ticket)
    assert await runs.ended() == {}
    assert (runs.recorded[0].weak_score, runs.recorded[0].strong_score) == (0.5, 0.5)
    assert (runs.recorded[0].judge, runs.recorded[0].judge_model) == ("llm", "middle")
    runs.router = answering(large="Red.", middle="Who knows?")
    runs.answer(ticket)
    assert await runs.ended(2) == {"no_verdict": 1}


@pytest.mark.parametrize(
    ("cause", "answer"),
    [
        ("fell_back", {"served_group": "middle"}),
        ("cut_off", {"completion_tokens": None}),
        ("no_text", {"said": ""}),
    ],
)
async def test_an_answer_that_cannot_be_compared(
    gateway: Gateway, running: Callable[..., Running], cause: str, answer: dict[str, Any]
) -> None:
    runs = running()
    ticket = await runs.draw(gateway, CHAT)
    assert ticket is not None
    runs.answer(ticket, **answer)
    assert await runs.ended() == {cause: 1}


async def test_no_second_answer(
    gateway: Gateway, running: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "bsgateway")
    runs = running()
    ticket = await runs.draw(gateway, CHAT)
    assert ticket is not None
    runs.router = answering(large="litellm.RateLimitError", small="Blue.")
    runs.answer(ticket)
    assert await runs.ended() == {"failed": 1}
    runs.router = None
    runs.answer(ticket)
    assert await runs.ended(2) == {"failed": 2}
    runs.cooling = {"large": Reason.COOLING_DOWN}
    runs.answer(ticket)
    assert await runs.ended(3) == {"failed": 2, "cooling_down": 1}
    assert "a dual run with large failed: RateLimitError" in caplog.text
    assert ASK not in caplog.text
    assert runs.runs.stats().spent_usd == 0.0


async def test_the_budget_of_the_day(make_gateway: MakeGateway, running: Callable[..., Running]) -> None:
    runs, poor = running(), learning(make_gateway, dual_run_usd_per_day=0.0)
    ticket = await runs.draw(poor, CHAT)
    assert ticket is not None
    runs.answer(ticket)
    assert await runs.ended() == {"budget": 1}
    spare = learning(make_gateway, dual_run_usd_per_day=1.5 * (ticket.expected or 0.0))
    for _ in range(3):  # all at once: what the first has reserved is not there for the second
        again = await runs.draw(spare, CHAT)
        assert again is not None
        runs.answer(again)
    assert (await runs.ended(4))["budget"] >= 2
    assert runs.runs.stats().compared <= 2


async def test_a_judge_without_a_price_lifts_no_budget(
    make_gateway: MakeGateway, running: Callable[..., Running]
) -> None:
    """What its second answer costs is known, and more than may be spent."""
    runs, judge = running(), {"method": "llm", "model": "vendor/*"}
    poor = learning(make_gateway, dual_run_usd_per_day=1e-9, judge=judge)
    ticket = await runs.draw(poor, CHAT)
    assert ticket is not None
    runs.answer(ticket)
    assert await runs.ended() == {"budget": 1}


async def test_a_full_queue_drops_and_counts(
    gateway: Gateway, running: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = running()
    runs.router = Stuck()
    ticket = await runs.draw(gateway, CHAT)
    assert ticket is not None
    for _ in range(dual_runs.QUEUED + 3):
        runs.answer(ticket)
    assert runs.runs.stats().dropped == {"queue_full": 3}
    await until(lambda: runs.runs.stats().queued == dual_runs.QUEUED - dual_runs.RUNNERS)
    await runs.runs.stop()
    stats = runs.runs.stats()
    assert stats.dropped["stopped"] == dual_runs.QUEUED
    assert stats.spent_usd == pytest.approx(dual_runs.RUNNERS * (ticket.expected or 0.0)), "they may have been charged"


async def test_a_model_that_does_not_answer_is_given_up(
    gateway: Gateway, running: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dual_runs, "CALL_SECONDS", 0.01)
    monkeypatch.setattr(dual_runs, "GRACE_SECONDS", 0.01)
    runs = running()
    runs.router = Stuck()
    ticket = await runs.draw(gateway, CHAT)
    assert ticket is not None
    runs.answer(ticket)
    assert await runs.ended() == {"failed": 1}
    assert runs.runs.stats().spent_usd == pytest.approx(ticket.expected or 0.0)


async def test_a_call_that_litellm_gives_up_counts_as_well(
    gateway: Gateway, running: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dual_runs, "CALL_SECONDS", 0.01)  # LiteLLM is told so, and is the first to lose patience
    runs = running()
    slow = {"model": "openai/large", "api_key": "none", "mock_timeout": True}
    runs.router = litellm.Router([{"model_name": "large", "litellm_params": slow}])
    ticket = await runs.draw(gateway, CHAT)
    assert ticket is not None
    runs.answer(ticket)
    assert await runs.ended() == {"failed": 1}
    assert runs.runs.stats().spent_usd == pytest.approx(ticket.expected or 0.0)


class Stuck:
    """A router that never answers."""

    async def acompletion(self, **_: Any) -> None:
        await asyncio.Event().wait()


class Seen(CustomLogger):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self.seen.append(kwargs)


async def test_other_callbacks_know_our_calls_by_their_mark(gateway: Gateway, running: Callable[..., Running]) -> None:
    seen = Seen()
    litellm.callbacks = [seen]
    runs = running()
    ticket = await runs.draw(gateway, CHAT)
    assert ticket is not None
    runs.answer(ticket)
    assert await runs.ended() == {}
    await until(lambda: seen.seen)
    metadata = seen.seen[0]["litellm_params"]["metadata"]
    assert metadata["bsgateway_dual_run"] is True
    assert not [name for name in metadata if name.startswith("user_api_key") and metadata[name]]
