"""`hook.py`: tiers drawn at random and requests that two tiers answer, between the policy's choice and the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from typing import Any

import pytest
from litellm import ModelResponse, Router
from litellm.caching.caching import DualCache
from litellm.proxy import proxy_server
from litellm.proxy._types import UserAPIKeyAuth
from litellm.types.utils import CallTypes

from bsgateway.callers import NO_LOG_HEADER
from bsgateway.decision import Decision, Outcome, Reason
from bsgateway.dual_run_tickets import Ticket
from bsgateway.dual_runs import DualRuns
from bsgateway.exploration import Explorer
from bsgateway.hook import GatewayCallback
from bsgateway.host import marker_names
from bsgateway.stamps import KEPT, RoutingDecision

HARD = "Prove the theorem, derive the bound, analyze the algorithm."
EASY = "hi"
KEY = UserAPIKeyAuth(api_key="sk-one")
POOR = UserAPIKeyAuth(api_key="sk-two", models=["auto", "small", "middle"])
LOG = {"enabled": True, "database_url": "postgresql://nobody@127.0.0.1:1/none", "text": "none"}

Make = Callable[..., GatewayCallback]


@pytest.fixture
async def make(make_gateway: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Makes callbacks that hand their rows to `recorded`, with LiteLLM's router as `serve` sets it up; keyword
    arguments are `routing.learning`, `numbers` what chance says."""
    made: list[GatewayCallback] = []
    config = make_gateway().config
    router = Router(model_list=config.host["model_list"], model_group_alias=marker_names(config))
    monkeypatch.setattr(proxy_server, "llm_router", router)

    def build(numbers: Iterable[float] = (), routing: dict[str, Any] | None = None, **learning: Any) -> GatewayCallback:
        callback = GatewayCallback(make_gateway(**{"collector": LOG, "learning": learning} | (routing or {})))
        found = iter(numbers)
        callback.gateway.explorer = Explorer(callback.gateway.explorer.share, lambda: next(found))
        callback.recorded = []  # type: ignore[attr-defined]
        callback.lifecycle.record = callback.recorded.append  # type: ignore[attr-defined,method-assign]
        made.append(callback)
        return callback

    yield build
    for callback in made:
        await callback.stop()


def turn(*asks: str, **more: Any) -> dict[str, Any]:
    """A chat of so many asks, each but the last of which was answered."""
    messages: list[dict[str, Any]] = []
    for index, ask in enumerate(asks):
        messages += [{"role": "assistant", "content": "An answer."}] if index else []
        messages.append({"role": "user", "content": ask})
    return {"model": "auto", "messages": messages, "metadata": {"user_api_key_hash": "hash-1"}, **more}


async def decide(callback: GatewayCallback, data: dict[str, Any], key: UserAPIKeyAuth = KEY) -> Decision:
    await callback.async_pre_call_hook(key, DualCache(), data, "acompletion")
    decision = callback.recorded[-1]  # type: ignore[attr-defined]
    assert isinstance(decision, Decision)
    return decision


# Exploration


async def test_a_drawn_tier_is_served_and_logged_and_its_conversation_goes_on_by_the_rules(make: Make) -> None:
    callback = make([0.0, 0.99], {"session": {"horizon_turns": 0}}, explore="10%")
    data = turn(EASY)
    decision = await decide(callback, data)
    assert (data["model"], decision.resolved_model, decision.tier) == ("large", "large", "complex")
    assert (decision.reason, decision.explored, decision.applied) == (Reason.EXPLORED, True, True)
    assert decision.propensity == pytest.approx(0.1 / 3)
    assert decision.complexity_score is not None
    assert decision.complexity_score <= 30, "the score is what it was"
    # No number is left: chance is not asked again.
    later = await decide(callback, turn(EASY, EASY))
    assert (later.resolved_model, later.reason) == ("large", Reason.SESSION_KEPT)
    assert (later.propensity, later.explored, later.previous_model) == (None, False, "large")


async def test_without_sessions_every_request_is_one_that_may_be_explored(make: Make) -> None:
    callback = make([0.5, 0.0, 0.5], {"session": {"enabled": False}}, explore="10%")
    first = await decide(callback, turn(EASY))
    assert (first.tier, first.explored, first.propensity) == ("simple", False, pytest.approx(0.9 + 0.1 / 3))
    second = await decide(callback, turn(EASY, EASY))
    assert (second.tier, second.explored, second.propensity) == ("medium", True, pytest.approx(0.1 / 3))


async def test_a_conversation_that_was_forgotten_is_not_explored(make: Make) -> None:
    """No number is left: chance is not asked."""
    decision = await decide(make(explore="10%"), turn(EASY, EASY))
    assert (decision.tier, decision.explored, decision.propensity) == ("simple", False, None)


async def test_chance_gives_a_key_nothing_that_it_may_not_use(make: Make) -> None:
    for place, tier in ((0.0, "simple"), (0.49, "simple"), (0.5, "medium"), (0.99, "medium")):
        callback = make([0.0, place], explore="10%")
        decision = await decide(callback, turn(EASY), POOR)
        assert decision.tier == tier
        assert decision.propensity == pytest.approx(0.05 + (0.9 if tier == "simple" else 0.0))
    refused = await decide(make(explore="10%"), turn(HARD), POOR)
    assert (refused.tier, refused.reason, refused.propensity) == ("medium", Reason.NOT_ALLOWED, None)


async def test_nothing_is_explored_unless_asked_for(make: Make) -> None:
    for callback in (make(), make(routing={"mode": "shadow"}, explore="100%")):
        decision = await decide(callback, turn(EASY))
        assert (decision.tier, decision.propensity, decision.explored) == ("simple", None, False)


# Dual runs


class Noted(DualRuns):
    """Dual runs that only note who was answered."""

    def __init__(self, callback: GatewayCallback) -> None:
        super().__init__(lambda: None, callback.cooldowns.cooling, callback.lifecycle.record, lambda: 0.0)
        self.noted: list[tuple[Ticket, Outcome, Any]] = []

    def answered(self, routing: RoutingDecision, outcome: Outcome, answer: Any) -> None:
        ticket, routing.ticket = routing.ticket, None
        if ticket is not None:
            self.noted.append((ticket, outcome, answer))


def noted(callback: GatewayCallback) -> list[tuple[Ticket, Outcome, Any]]:
    callback.dual_runs = runs = Noted(callback)
    return runs.noted


def ticket_of(data: dict[str, Any]) -> Ticket | None:
    ticket: Ticket | None = data["metadata"][KEPT].ticket
    return ticket


async def end(callback: GatewayCallback, data: dict[str, Any], answer: Any = None, fails: bool = False) -> None:
    payload = {"model_group": data["model"], "prompt_tokens": 9, "completion_tokens": 3}
    kwargs = {"litellm_params": {"metadata": data["metadata"]}, "standard_logging_object": payload}
    log = callback.async_log_failure_event if fails else callback.async_log_success_event
    await log(kwargs, answer, datetime(2026, 1, 2), datetime(2026, 1, 2))


async def test_a_drawn_request_is_handed_over_once_it_is_answered_and_only_once(make: Make) -> None:
    callback = make(dual_run="100%")
    found = noted(callback)
    data, answer = turn(EASY), ModelResponse()
    decision = await decide(callback, data)
    assert found == []
    await end(callback, data, fails=True)
    assert found == []
    for _ in range(2):  # LiteLLM reports some calls twice
        await end(callback, data, answer)
    ((ticket, outcome, given),) = found
    assert (ticket.model, ticket.other_model, outcome.decision_id) == ("small", "large", decision.decision_id)
    assert given is answer
    assert outcome.served_group == "small"


async def test_what_is_sent_again_is_what_went_to_the_first_model(make: Make) -> None:
    """Between us and the model there may be a guardrail."""
    callback = make(dual_run="100%")
    noted(callback)
    data = turn(HARD, max_tokens=100)
    assert (await decide(callback, data)).resolved_model == "large"
    ticket = ticket_of(data)
    assert ticket is not None
    assert (ticket.other_model, ticket.settings, ticket.words) == ("small", {"max_tokens": 100}, None)
    masked = [{"role": "user", "content": "Prove <MASKED>."}]
    metadata = {**data["metadata"], "model_group": "large"}
    attempt = {**data, "messages": masked, "temperature": 0.0, "metadata": metadata}
    for group in ("middle", "large"):  # that of a fallback is not the one to compare with
        attempt["metadata"]["model_group"] = group
        await callback.async_pre_call_deployment_hook(attempt, CallTypes.acompletion)
        ticket = ticket_of(data)
        assert ticket is not None
        assert ticket.words == (None if group == "middle" else {"messages": masked})
    assert ticket.settings == {"max_tokens": 100}, "what the deployment asks for is its own"


@pytest.mark.parametrize("opt_out", ["nothing", "text", "row"])
async def test_who_opts_out_of_the_log_is_not_answered_twice(make: Make, opt_out: str) -> None:
    callback = make(routing={"collector": {**LOG, "opt_out": opt_out}}, dual_run="100%")
    noted(callback)
    silent = turn(EASY, proxy_server_request={"headers": {NO_LOG_HEADER: "true"}})
    await callback.async_pre_call_hook(KEY, DualCache(), silent, "acompletion")
    assert (ticket_of(silent) is not None) is (opt_out == "nothing"), "as far as the operator lets them"
    plain = turn(EASY)
    await decide(callback, plain)
    assert ticket_of(plain) is not None


async def test_no_model_that_the_key_may_not_use_sees_its_words(make: Make) -> None:
    callback = make(dual_run="100%")
    noted(callback)
    data = turn(EASY)
    assert (await decide(callback, data, POOR)).resolved_model == "small"
    assert ticket_of(data) is None
    data = turn(HARD)
    assert (await decide(callback, data, POOR)).resolved_model == "middle"
    ticket = ticket_of(data)
    assert ticket is not None
    assert ticket.other_model == "small"


@pytest.mark.parametrize("routing", [{"mode": "shadow"}, {"canary": "0%"}])
async def test_nothing_is_answered_twice_where_nothing_is_rewritten(make: Make, routing: dict[str, Any]) -> None:
    callback = make(routing=routing, dual_run="100%")
    noted(callback)
    data = turn(EASY)
    await decide(callback, data)
    assert ticket_of(data) is None


async def test_without_a_log_nothing_is_drawn(make: Make) -> None:
    callback = make(routing={"collector": {"enabled": True, "text": "none"}}, dual_run="100%")
    data = turn(EASY)
    await decide(callback, data)
    assert ticket_of(data) is None
