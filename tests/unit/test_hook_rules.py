"""`hook.py`: what happens between the analysis of a request and its decision: permission, conversation, shadow mode."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from litellm import Router
from litellm.caching.caching import DualCache
from litellm.proxy import proxy_server
from litellm.proxy._types import ProxyException, UserAPIKeyAuth
from litellm.types.utils import ModelResponse

from bsgateway.decision import Decision, Reason, Skipped
from bsgateway.hook import GatewayCallback
from bsgateway.host import marker_names
from bsgateway.stamps import KEPT

HARD = "Prove the theorem, derive the bound, analyze the algorithm."
EASY = "hi"
KEY = UserAPIKeyAuth(api_key="sk-one")
LOG = {"enabled": True, "database_url": "postgresql://nobody@127.0.0.1:1/none", "text": "none"}

Make = Callable[..., GatewayCallback]


@pytest.fixture
async def make(make_gateway: Callable[..., Any]) -> AsyncIterator[Make]:
    """Makes callbacks that hand their rows to `recorded`; keyword arguments replace parts of `routing`."""
    made: list[GatewayCallback] = []

    def build(**routing: Any) -> GatewayCallback:
        callback = GatewayCallback(make_gateway(**{"collector": LOG} | routing))
        callback.recorded = []  # type: ignore[attr-defined]
        callback.lifecycle.record = callback.recorded.append  # type: ignore[attr-defined,method-assign]
        made.append(callback)
        return callback

    yield build
    for callback in made:
        await callback.stop()


@pytest.fixture
def in_proxy(make_gateway: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM's router as `serve` sets it up, where names that were not rewritten are looked up."""
    config = make_gateway().config
    router = Router(model_list=config.host["model_list"], model_group_alias=marker_names(config))
    monkeypatch.setattr(proxy_server, "llm_router", router)


def turn(*asks: str, model: str = "auto", headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """A chat of so many asks, each but the last of which was answered."""
    messages: list[dict[str, Any]] = []
    for index, ask in enumerate(asks):
        messages += [{"role": "assistant", "content": "An answer."}] if index else []
        messages.append({"role": "user", "content": ask})
    return {
        "model": model,
        "messages": messages,
        "metadata": {"user_api_key_hash": "hash-1"},
        "proxy_server_request": {"headers": headers or {}},
        **more,
    }


async def decide(callback: GatewayCallback, data: dict[str, Any], key: UserAPIKeyAuth = KEY) -> Decision:
    await callback.async_pre_call_hook(key, DualCache(), data, "acompletion")
    decision = callback.recorded[-1]  # type: ignore[attr-defined]
    assert isinstance(decision, Decision)
    return decision


async def said(callback: GatewayCallback, data: dict[str, Any]) -> dict[str, str]:
    found = await callback.async_post_call_response_headers_hook(data, KEY, ModelResponse())
    assert found is not None
    return found


# Shadow mode, canary, dry run


async def test_shadow_mode_decides_and_rewrites_nothing(make: Make) -> None:
    callback = make(mode="shadow", session={"horizon_turns": 0})
    data = turn(HARD)
    before = copy.deepcopy(data)
    decision = await decide(callback, data)
    assert (decision.resolved_model, decision.tier, decision.applied) == ("large", "complex", False)
    headers = await said(callback, data)
    assert (headers["x-bsgateway-would-use"], headers["x-bsgateway-tier"]) == ("large", "complex")
    for name in ("routing_decision", KEPT):
        del data["metadata"][name]
    assert data == before
    # It is remembered as if it had been done, apart from what was: the log shows what routing would do.
    second = await decide(callback, turn(HARD, EASY))
    assert (second.previous_model, second.resolved_model, second.reason) == ("large", "large", Reason.SESSION_KEPT)


async def test_a_name_that_nobody_serves_is_served_by_the_fallback_tier_in_shadow_mode(make: Make) -> None:
    callback = make(mode="shadow")
    for name in ("claude-x", "unheard-of"):  # a pattern caught it, nothing knows it
        data = turn(HARD, model=name)
        decision = await decide(callback, data)
        assert (data["model"], decision.applied, decision.resolved_model) == ("middle", False, "large")
        with pytest.raises(ProxyException):
            await decide(callback, turn(HARD, model=name), only("large"))
    data = turn(HARD, model="vendor/some")  # a wildcard of model_list
    await decide(callback, data)
    assert data["model"] == "vendor/some"


async def test_names_that_stand_for_one_model_are_served_in_shadow_mode_too(make: Make) -> None:
    callback = make(mode="shadow")
    for name in ("frontier", "small"):
        data = turn(EASY, model=name)
        assert (await decide(callback, data)).applied
        assert data["model"] == {"frontier": "large", "small": "small"}[name]


async def test_a_canary_takes_the_same_conversations_each_time(make: Make) -> None:
    async def rewritten(callback: GatewayCallback) -> set[int]:
        chosen = set()
        for number in range(200):
            applied = [
                (await decide(callback, turn(*asks))).applied for asks in ((f"ask {number}",), (f"ask {number}", HARD))
            ]
            assert applied[0] == applied[1]  # all of a conversation, or nothing
            if applied[0]:
                chosen.add(number)
        return chosen

    few, more = await rewritten(make(canary="10%")), await rewritten(make(canary="30%"))
    assert 5 <= len(few) <= 40
    assert 35 <= len(more) <= 90
    assert few < more  # who was in stays in
    assert await rewritten(make(canary="0%")) == set()
    assert len(await rewritten(make(canary="100%"))) == 200


async def test_a_dry_run_is_the_clients_to_ask_for_where_it_may(make: Make) -> None:
    asked = {"x-bsgateway-dry-run": "true"}
    data = turn(HARD, headers=asked)
    decision = await decide(make(client_overrides=["dry_run"]), data)
    assert (decision.applied, data["model"], decision.resolved_model) == (False, "auto", "large")
    callback = make()
    data = turn(HARD, headers=asked)
    decision = await decide(callback, data)
    assert (decision.applied, data["model"], decision.ignored) == (True, "large", ("x-bsgateway-dry-run",))
    assert (await said(callback, data))["x-bsgateway-ignored"] == "x-bsgateway-dry-run"


# What a request needs


async def test_a_request_that_nobody_can_serve_goes_on_as_it_is(make: Make) -> None:
    callback = make()
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    data = turn(EASY)
    data["messages"][0]["content"] = image
    decision = await decide(callback, data)
    assert (decision.reason, decision.applied, decision.tier, data["model"]) == (
        Reason.NO_CANDIDATE, False, None, "auto",
    )  # fmt: skip
    assert decision.skipped == tuple(Skipped(name, Reason.NEEDS) for name in ("small", "middle", "large"))
    assert "x-bsgateway-would-use" not in await said(callback, data)


# Permission


def only(*models: str, **more: Any) -> UserAPIKeyAuth:
    return UserAPIKeyAuth(api_key="sk-two", models=["auto", *models], **more)


async def test_a_key_gets_the_best_that_it_may_use(make: Make) -> None:
    callback = make()
    data = turn(HARD)
    decision = await decide(callback, data, only("small", "middle"))
    assert (data["model"], decision.tier, decision.reason) == ("middle", "medium", Reason.NOT_ALLOWED)
    assert decision.skipped == (Skipped("large", Reason.NOT_ALLOWED),)


async def test_a_key_that_may_use_none_is_refused_by_litellm(make: Make) -> None:
    callback = make()
    data = turn(HARD)
    with pytest.raises(ProxyException) as refused:
        await decide(callback, data, only())
    assert str(refused.value.code) == "403"
    [decision] = callback.recorded  # type: ignore[attr-defined]
    assert (decision.reason, decision.applied) == (Reason.NOT_ALLOWED, False)
    assert {each.reason for each in decision.skipped} == {Reason.NOT_ALLOWED}


@pytest.mark.usefixtures("in_proxy")
@pytest.mark.parametrize("routing", [{"mode": "shadow"}, {"canary": "0%"}])
async def test_what_is_not_rewritten_widens_nothing_either(make: Make, routing: dict[str, Any]) -> None:
    # Unchanged, LiteLLM takes `auto` for the model of the fallback tier.
    callback = make(**routing)
    with pytest.raises(ProxyException):
        await decide(callback, turn(HARD), only("large"))
    assert (await decide(callback, turn(HARD), only("middle"))).applied is False


@pytest.mark.usefixtures("in_proxy")
async def test_a_failure_inside_widens_nothing_either(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = make()
    monkeypatch.setattr(callback.gateway, "_looked_at", None)
    data = turn(HARD)
    decision = await decide(callback, data, only("small"))
    assert (data["model"], decision.reason) == ("small", Reason.FAILED_OPEN)
    with pytest.raises(ProxyException):
        await decide(callback, turn(HARD), only())
    monkeypatch.setattr(callback, "_route", None)
    with pytest.raises(ProxyException):
        await decide(callback, turn(HARD), only())


async def test_the_limits_of_a_key_hold_when_something_fails(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = make()
    monkeypatch.setattr(callback.gateway, "_looked_at", None)
    key = UserAPIKeyAuth(api_key="sk-three", metadata={"bsgateway": {"max_tier": "simple"}})
    data = turn(HARD)
    await decide(callback, data, key)
    assert data["model"] == "small"


# Conversations


async def test_a_conversation_keeps_its_tier(make: Make) -> None:
    callback = make(session={"horizon_turns": 0})
    first = await decide(callback, turn(HARD))
    second = await decide(callback, turn(HARD, EASY))
    assert (first.tier, second.tier, second.reason) == ("complex", "complex", Reason.SESSION_KEPT)
    assert first.conversation_id == second.conversation_id is not None
    assert (first.previous_model, second.previous_model) == (None, "large")
    other = await decide(callback, turn("Hello.", EASY))
    assert other.tier == "simple"
    off = make(session={"enabled": False})
    await decide(off, turn(HARD))
    assert (await decide(off, turn(HARD, EASY))).tier == "simple"


async def test_conversations_that_begin_with_the_same_words_are_two(make: Make) -> None:
    callback = make(session={"horizon_turns": 0})

    def second(answer: str, ask: str) -> dict[str, Any]:
        data = turn("Hi.", ask)
        data["messages"][1]["content"] = answer
        return data

    await decide(callback, turn("Hi."))
    await decide(callback, turn("Hi."))
    one = await decide(callback, second("Hello Ann.", HARD))
    assert (one.tier, one.reason, one.previous_model) == ("complex", Reason.SESSION_UP, "small")
    other = await decide(callback, second("Hello Bob.", EASY))
    assert (other.tier, other.previous_model) == ("simple", "small")
    third = second("Hello Ann.", HARD)
    third["messages"] += [{"role": "assistant", "content": "So."}, {"role": "user", "content": "Thanks."}]
    assert (await decide(callback, third)).tier == "complex"


async def test_another_key_has_another_conversation(make: Make) -> None:
    callback = make(session={"horizon_turns": 0})
    await decide(callback, turn(HARD))
    data = turn(HARD, EASY)
    data["metadata"]["user_api_key_hash"] = "hash-2"
    assert (await decide(callback, data)).tier == "simple"


async def test_a_conversation_goes_up_at_once(make: Make) -> None:
    callback = make()
    await decide(callback, turn(EASY))
    decision = await decide(callback, turn(EASY, HARD))
    assert (decision.tier, decision.reason) == ("complex", Reason.SESSION_UP)


async def test_who_answered_instead_is_noted(make: Make) -> None:
    callback = make(session={"horizon_turns": 0})
    data = turn(EASY)
    await decide(callback, data)
    kwargs = {
        "litellm_params": {"metadata": data["metadata"]},
        "standard_logging_object": {"model_group": "large", "prompt_tokens": 5, "completion_tokens": 5},
    }
    await callback.async_log_success_event(kwargs, None, datetime.now(), datetime.now())
    decision = await decide(callback, turn(EASY, EASY))
    assert (decision.previous_model, decision.resolved_model, decision.tier) == ("large", "large", "complex")


# Models that are left alone


async def test_a_group_that_cools_down_is_passed_over(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = make()
    cooling = {"small": Reason.COOLING_DOWN}
    monkeypatch.setattr(callback, "cooldowns", SimpleNamespace(cooling=lambda: cooling, ensure_running=lambda: None))
    decision = await decide(callback, turn(EASY))
    assert (decision.tier, decision.reason) == ("medium", Reason.COOLING_DOWN)
    # When all of them are, one is tried all the same.
    cooling.update({"middle": Reason.COOLING_DOWN, "large": Reason.COOLING_DOWN})
    assert (await decide(callback, turn("Another."))).tier == "simple"
    # But none that the key may not use.
    assert (await decide(callback, turn("A third."), only("middle"))).tier == "medium"
    monkeypatch.undo()
