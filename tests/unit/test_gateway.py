"""`gateway.py` and `decision.py`: the whole flow from body to `Decision`, without a server."""

from __future__ import annotations

import itertools
import json
import logging
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bsgateway
from bsgateway.catalog import CAPABILITIES, Model
from bsgateway.core import core
from bsgateway.decision import (
    Caller,
    Contribution,
    Decision,
    Method,
    Outcome,
    Reason,
    Skipped,
    Strategy,
    Texts,
    new_id,
    now,
    stamp,
)
from bsgateway.errors import ConfigError
from bsgateway.gateway import FAMILIES, FORMATS, MAX_NAME, Asker, Gateway, Pending, load
from bsgateway.policy import Choice
from bsgateway.pricing import Price
from bsgateway.sessions import Session

EASY = "hi"
# Four keywords of the built-in list and none of the other: over the floor of 68.
HARD = "Prove the theorem, derive the bound, analyze the algorithm."


def chat(text: str, model: str = "auto", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def nothing(_: str) -> bool:
    return False


def begun(
    gateway: Gateway, body: dict[str, Any], call_type: str = "acompletion", asker: Asker | None = None
) -> Pending:
    """The first step: a request that was looked at."""
    return gateway.begin(body, call_type, asker or Asker(), nothing)


@pytest.mark.parametrize(
    ("model", "method", "reason", "resolved"),
    [
        ("large", Method.PASSTHROUGH, Reason.MODEL_LIST, "large"),
        ("vendor/x", Method.PASSTHROUGH, Reason.WILDCARD, "vendor/x"),
        ("frontier", Method.ALIAS, Reason.ALIAS_MODEL, "large"),
    ],
)
def test_a_name_that_stands_for_a_model_is_not_scored(
    gateway: Gateway, model: str, method: Method, reason: Reason, resolved: str
) -> None:
    decision = gateway.decide(chat(HARD, model))
    assert (decision.method, decision.reason, decision.resolved_model) == (method, reason, resolved)
    assert decision.original_model == model
    assert (decision.tier, decision.complexity_score, decision.strategy, decision.confidence) == (None,) * 4
    assert (decision.raw_score, decision.features, decision.ask_tokens, decision.bias) == (None, None, None, 0)
    assert decision.contributions == ()


@pytest.mark.parametrize(
    ("model", "text", "method", "reason", "tier", "resolved"),
    [
        ("auto", EASY, Method.AUTO, Reason.SCORE, "simple", "small"),
        ("auto", HARD, Method.AUTO, Reason.SCORE, "complex", "large"),
        ("claude-sonnet", EASY, Method.PATTERN, Reason.PATTERN_SCORE, "simple", "small"),
        ("claude-sonnet", HARD, Method.PATTERN, Reason.PATTERN_SCORE, "complex", "large"),
        ("who-knows", HARD, Method.AUTO, Reason.UNKNOWN_SCORE, "complex", "large"),
        ("cheap", HARD, Method.AUTO, Reason.SCORE, "simple", "small"),
        ("best", EASY, Method.AUTO, Reason.SCORE, "complex", "large"),
    ],
)
def test_routed_by_score(
    gateway: Gateway, model: str, text: str, method: Method, reason: Reason, tier: str, resolved: str
) -> None:
    decision = gateway.decide(chat(text, model))
    assert (decision.method, decision.reason) == (method, reason)
    assert (decision.tier, decision.resolved_model) == (tier, resolved)
    assert decision.strategy is Strategy.STATIC


def test_every_field_of_a_scored_decision(make_gateway: Any, config_dict: dict[str, Any]) -> None:
    for entry in config_dict["model_list"][:3]:
        entry["model_info"]["supports_function_calling"] = True
    gateway = make_gateway({"model_list": config_dict["model_list"]})
    before = now()
    body = {
        "model": "cheap",
        "messages": [{"role": "system", "content": "You help."}, {"role": "user", "content": HARD}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "max_tokens": 77,
        "stream": True,
    }
    caller = Caller(call_id="c", session_id="s")
    pending = begun(gateway, body, asker=Asker(caller))
    decision = gateway.decision(pending, gateway.choose(pending))
    assert gateway.texts(pending, decision) is None
    assert decision.caller == caller
    assert decision.decision_id.version == 7
    assert before <= decision.created_at <= now()
    assert decision.created_at.tzinfo is timezone.utc
    assert (decision.call_type, decision.stream, decision.max_output_tokens) == ("acompletion", True, 77)
    assert (decision.bias, decision.complexity_score) == (-100, 0)
    assert decision.raw_score == pytest.approx(68.0)  # the floor of three keywords
    assert decision.confidence == 1.0
    assert decision.needs == ("tools",)
    assert decision.ask_tokens == core.count_tokens(HARD)
    assert decision.system_tokens == core.count_tokens("You help.")
    assert decision.tool_tokens is not None
    assert decision.context_tokens == decision.ask_tokens + decision.system_tokens + decision.tool_tokens
    assert (decision.tokens_exact, decision.token_encoding) == (True, "o200k_base")
    assert decision.feature_version == core.FEATURE_VERSION
    assert decision.features is not None
    named = dict(zip(core.FEATURE_NAMES, decision.features, strict=True))
    assert (named["complex_keywords"], named["tools"], named["turns"], named["messages"]) == (5, 1, 1, 2)
    assert [share.signal for share in decision.contributions] == [*core.SIGNALS, "floor:keywords"]
    assert sum(share.points for share in decision.contributions) == pytest.approx(decision.raw_score)
    assert sum(share.weight for share in decision.contributions) == pytest.approx(1.0)
    assert 0 < decision.decision_us < 60_000_000
    assert (decision.applied, decision.changes, decision.ignored, decision.skipped) == (True, (), (), ())
    assert (decision.conversation_id, decision.previous_model) == (pending.conversation, None)
    # `small` costs 1e-7 for input and 4e-7 for output.
    assert decision.expected_cost == pytest.approx(decision.context_tokens * 1e-7 + 77 * 4e-7)


BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": HARD}]},
    "messages": {"messages": [{"role": "user", "content": [{"type": "text", "text": HARD}]}], "system": "x"},
    "responses": {"input": [{"role": "user", "content": [{"type": "input_text", "text": HARD}]}]},
    "completions": {"prompt": HARD},
    "generate_content": {"contents": [{"role": "user", "parts": [{"text": HARD}]}]},
}


@pytest.mark.parametrize("call_type", FORMATS)
def test_each_call_type_is_read_in_its_own_format(gateway: Gateway, call_type: str) -> None:
    for name, body in BODIES.items():
        found = gateway.decide({"model": "auto", **body}, call_type).ask_tokens
        # Chat and messages are read alike; any other format has its words elsewhere.
        same = FORMATS[call_type] == name or {FORMATS[call_type], name} == {"chat", "messages"}
        assert found == (core.count_tokens(HARD) if same else 0)


def test_the_call_types_that_are_routed() -> None:
    assert set(FORMATS) == {
        "acompletion", "completion", "anthropic_messages", "aresponses", "responses", "atext_completion",
        "text_completion", "agenerate_content", "generate_content", "agenerate_content_stream",
        "generate_content_stream",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "call_type", "stream"),
    [
        ({"stream": True}, "acompletion", True),
        ({"stream": False}, "acompletion", False),
        ({"stream": "true"}, "acompletion", False),
        ({}, "acompletion", False),
        ({}, "agenerate_content_stream", True),
        ({}, "agenerate_content", False),
    ],
)
def test_streams(gateway: Gateway, body: dict[str, Any], call_type: str, stream: bool) -> None:
    assert gateway.decide({"model": "auto", **body}, call_type).stream is stream


@pytest.mark.parametrize("call_type", ["aembedding", "pass_through_endpoint", "", "chat", "ACOMPLETION"])
def test_other_call_types_are_refused(gateway: Gateway, call_type: str) -> None:
    with pytest.raises(ValueError, match=r"call type '.*' is not routed; known: acompletion, "):
        gateway.decide(chat(EASY), call_type)


@pytest.mark.parametrize("model", [None, "", 5, ["auto"], {"auto": 1}, b"auto", True])
def test_a_body_needs_a_model(gateway: Gateway, model: Any) -> None:
    with pytest.raises(ValueError, match="the body has no `model`"):
        gateway.decide({"model": model})
    with pytest.raises(ValueError, match="the body has no `model`"):
        gateway.decide({})


def test_the_requested_name_is_kept_as_far_as_a_log_can(make_gateway: Any) -> None:
    gateway = make_gateway(unknown_models="leave")
    name = "x" * 300 + "\ud800"
    decision = gateway.decide(chat(EASY, name))
    assert (decision.original_model, decision.resolved_model) == ("x" * MAX_NAME, name)
    assert gateway.decide(chat(EASY, "a\ud800\x00b")).original_model == "a\ufffd\ufffdb"


def test_what_litellm_knows_is_asked_of_it(gateway: Gateway) -> None:
    pending = gateway.begin(chat(EASY, "db-model"), "acompletion", Asker(), lambda name: name == "db-model")
    decision = gateway.decision(pending, gateway.choose(pending))
    assert (decision.reason, decision.resolved_model) == (Reason.HOST_MODEL, "db-model")
    assert gateway.decide(chat(EASY, "db-model")).reason is Reason.UNKNOWN_SCORE


def test_a_request_that_is_too_long_for_its_tier(gateway: Gateway) -> None:
    body = chat("hello " * 8_000)
    decision = gateway.decide({**body, "model": "cheap"})
    assert decision.context_tokens is not None
    assert 7_500 < decision.context_tokens < 100_000
    assert (decision.complexity_score, decision.tier, decision.reason) == (0, "medium", Reason.CONTEXT_WINDOW)
    # It also overrules what would be said of a pattern or an unknown name.
    filler = [{"role": "assistant", "content": "hello " * 8_000}, {"role": "user", "content": EASY}]
    assert gateway.decide({"model": "claude-x", "messages": filler}).reason is Reason.CONTEXT_WINDOW


def test_the_cheapest_of_a_tier(make_gateway: Any) -> None:
    tiers = {"all": {"score_range": [0, 100], "models": ["large", "small", "middle"]}}
    gateway = make_gateway(tiers=tiers, fallback_tier="all", aliases={"auto": "auto_route"})
    assert gateway.decide(chat(EASY)).reason is Reason.CHEAPEST
    assert gateway.decide(chat(EASY)).resolved_model == "small"
    # That a pattern caught the name says more.
    caught = gateway.decide(chat(EASY, "claude-x"))
    assert (caught.reason, caught.resolved_model) == (Reason.PATTERN_SCORE, "small")
    assert gateway.policy.baseline.name == "large"


# What is known of a request


TOOLS = [{"type": "function", "function": {"name": "f"}}]


def test_a_request_that_no_model_can_serve(gateway: Gateway) -> None:
    # Nobody knows whether these models can call tools.
    decision = gateway.decide(chat(HARD, "claude-x", tools=TOOLS))
    assert (decision.reason, decision.method) == (Reason.NO_CANDIDATE, Method.PATTERN)
    assert (decision.resolved_model, decision.tier, decision.applied) == ("claude-x", None, False)
    assert (decision.complexity_score, decision.expected_cost) == (68, None)
    assert decision.skipped == tuple(Skipped(model, Reason.NEEDS) for model in ("large", "middle", "small"))


@pytest.mark.parametrize("call_type", FORMATS)
def test_whose_api_a_request_speaks(gateway: Gateway, call_type: str) -> None:
    family = begun(gateway, {"model": "auto", **BODIES[FORMATS[call_type]]}, call_type).demand.family
    assert family == {"messages": "anthropic", "generate_content": "google"}.get(FORMATS[call_type], "openai")
    assert set(FAMILIES) <= set(FORMATS.values())


def test_what_a_request_asks_of_a_model(gateway: Gateway) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said: list[dict[str, Any]] = [
        {"role": "user", "content": HARD},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    pending = begun(gateway, {"model": "auto", "messages": said, "tools": TOOLS, "max_completion_tokens": 9})
    assert pending.analysis is not None
    assert pending.scored is not None
    assert pending.demand.needs == pending.analysis.needs == ("tools",)
    assert pending.demand.context_tokens == pending.analysis.context_tokens > 0
    assert (pending.demand.max_output_tokens, pending.demand.tool_turn, pending.demand.side) == (9, True, False)
    answered = [*said, {"role": "assistant", "content": "It is 42."}, {"role": "user", "content": "Thanks."}]
    later = begun(gateway, {"model": "auto", "messages": answered, "tools": TOOLS})
    assert not later.demand.tool_turn
    assert later.conversation == pending.conversation  # it began with the same words
    assert later.share == pending.share
    assert 0 <= pending.share < 1


def test_a_name_that_settles_it_is_not_looked_into(gateway: Gateway) -> None:
    pending = begun(gateway, chat(HARD, "frontier"))
    assert (pending.target, pending.analysis, pending.scored, pending.conversation) == ("large", None, None, None)
    choice = gateway.choose(pending, excluded={"large": Reason.NOT_ALLOWED})  # the host answers for its own names
    assert choice == Choice(None, "large", None, None, Reason.ALIAS_MODEL)
    assert gateway.is_applied(pending)
    assert gateway.decision(pending, choice).applied


def test_what_models_were_seen_to_write_makes_their_cost(gateway: Gateway) -> None:
    assert gateway.expected == {}
    before = gateway.decide(chat(EASY)).expected_cost
    gateway.expected = {("simple", "small"): 2_500.0}
    after = gateway.decide(chat(EASY)).expected_cost
    assert after is not None
    assert after - (before or 0) == pytest.approx(2_000 * 4e-7)


def chosen(gateway: Gateway, body: dict[str, Any], **more: Any) -> Decision:
    """All steps, for a request of a conversation or with models that are left out."""
    pending = begun(gateway, body)
    session = more.get("session")
    return gateway.decision(pending, gateway.choose(pending, **more), session)


def test_a_request_of_a_conversation(gateway: Gateway) -> None:
    session = Session("medium", "middle", 50, 10, 1_000.0)
    kept = chosen(gateway, chat(EASY, "claude-x"), session=session, now=1_010.0)
    assert (kept.tier, kept.reason, kept.previous_model) == ("simple", Reason.SESSION_DOWN, "middle")
    up = chosen(gateway, chat(HARD, "claude-x"), session=session, now=1_010.0)
    assert (up.tier, up.reason, up.previous_model) == ("complex", Reason.SESSION_UP, "middle")
    same = chosen(gateway, chat(HARD, "claude-x"), session=Session("complex", "large", 70, 10, 0.0))
    assert (same.tier, same.reason) == ("complex", Reason.PATTERN_SCORE)


@pytest.mark.parametrize("broken", [False, True])
def test_when_everything_cools_down_it_is_tried_all_the_same(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    if broken:
        monkeypatch.setattr(gateway, "_analyzer", Raises(ValueError()))
    home, others = ("middle", ("large", "small")) if broken else ("small", ("middle", "large"))
    cooling = dict.fromkeys(("small", "middle", "large"), Reason.COOLING_DOWN)
    all_of_them = chosen(gateway, chat(EASY), excluded=cooling)
    assert (all_of_them.resolved_model, all_of_them.reason) == (home, Reason.COOLING_DOWN)
    assert {each.model for each in all_of_them.skipped} == set(cooling)
    one_left = chosen(gateway, chat(EASY), excluded={**cooling, others[1]: Reason.NOT_ALLOWED})
    assert one_left.resolved_model == home
    first, second = others
    only = {home: Reason.COOLING_DOWN, first: Reason.COOLING_DOWN}
    assert chosen(gateway, chat(EASY), excluded=only).resolved_model == second
    # Never one that may not be used.
    denied = dict.fromkeys(cooling, Reason.NOT_ALLOWED)
    assert chosen(gateway, chat(EASY), excluded={**denied, first: Reason.COOLING_DOWN}).resolved_model == first
    none = chosen(gateway, chat(EASY), excluded=denied)
    assert (none.resolved_model, none.tier, none.applied) == ("auto", None, False)
    assert {each.reason for each in none.skipped} == {Reason.NOT_ALLOWED}
    assert none.reason is (Reason.FAILED_OPEN if broken else Reason.NO_CANDIDATE)


# What operator and client ask


def test_limits_of_a_key_hold_even_where_the_rest_fails(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    asker = Asker(key_metadata={"bsgateway": {"max_tier": "simple", "bias": -7}})
    pending = begun(gateway, chat(HARD), asker=asker)
    decision = gateway.decision(pending, gateway.choose(pending))
    assert (decision.tier, decision.reason, decision.bias) == ("simple", Reason.TIER_LIMIT, -7)
    team = begun(gateway, chat(HARD), asker=Asker(team_metadata={"bsgateway": {"max_tier": "medium"}}))
    assert gateway.choose(team).tier == "medium"
    monkeypatch.setattr(gateway, "_analyzer", Raises(ValueError()))
    failed = begun(gateway, chat(HARD), asker=asker)
    assert (failed.failed, failed.scored) == ("ValueError", None)
    choice = gateway.choose(failed)
    assert (choice.tier, choice.model, choice.reason) == ("simple", "small", Reason.FAILED_OPEN)


def test_what_a_client_may_not_ask_is_recorded(make_gateway: Any) -> None:
    asks = {"bsgateway_tier": "complex", "bsgateway_bias": "5"}
    refused = make_gateway().decide(chat(EASY, metadata=dict(asks)))
    assert (refused.tier, refused.bias) == ("simple", 0)
    assert set(refused.ignored) == set(asks)
    allowed = make_gateway(client_overrides=["tier", "bias"]).decide(chat(EASY, metadata=dict(asks)))
    assert (allowed.tier, allowed.reason, allowed.bias) == ("complex", Reason.REQUESTED_TIER, 5)
    assert allowed.ignored == ()


def test_shadow_mode_decides_and_rewrites_nothing(make_gateway: Any) -> None:
    gateway = make_gateway(mode="shadow")
    decision = gateway.decide(chat(HARD))
    assert (decision.tier, decision.resolved_model, decision.reason) == ("complex", "large", Reason.SCORE)
    assert not decision.applied
    # An alias to one model is no decision by score.
    assert gateway.decide(chat(HARD, "frontier")).applied
    assert gateway.decide(chat(HARD, "large")).applied


def test_a_dry_run(make_gateway: Any) -> None:
    gateway = make_gateway(client_overrides=["dry_run"])
    assert gateway.decide(chat(HARD)).applied
    dry = gateway.decide(chat(HARD, metadata={"bsgateway_dry_run": "true"}))
    assert (dry.applied, dry.resolved_model) == (False, "large")
    assert make_gateway().decide(chat(HARD, metadata={"bsgateway_dry_run": "true"})).applied


def test_a_canary_takes_its_share_of_conversations_and_keeps_them(make_gateway: Any) -> None:
    bodies = [chat(f"Question {number}: {EASY}") for number in range(400)]

    def rewritten(canary: str) -> set[int]:
        gateway = make_gateway(canary=canary)
        return {number for number, body in enumerate(bodies) if gateway.decide(body).applied}

    shares = [rewritten(canary) for canary in ("0%", "10%", "12.5%", "50%", "100%")]
    assert [len(share) for share in (shares[0], shares[-1])] == [0, 400]
    assert 15 <= len(shares[1]) <= 75  # 40 expected, six standard deviations
    assert 140 <= len(shares[3]) <= 260
    assert all(less <= more for less, more in itertools.pairwise(shares))
    assert rewritten("10%") == shares[1]


class Raises:
    """An analyzer that fails, in words that hold what must not be repeated."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def analyze(self, body: Any, format: str) -> Any:
        raise self.error


SECRET = "sk-hunter2-and-the-words-of-a-user"


@pytest.mark.parametrize("error", [ValueError(SECRET), MemoryError(SECRET), RecursionError(SECRET), KeyError(SECRET)])
def test_it_fails_open(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(gateway, "_analyzer", Raises(error))
    with caplog.at_level(logging.DEBUG):
        decision = gateway.decide(chat(SECRET, "claude-x"))
    assert (decision.tier, decision.resolved_model) == ("medium", "middle")
    assert (decision.reason, decision.method) == (Reason.FAILED_OPEN, Method.PATTERN)
    assert (decision.complexity_score, decision.strategy, decision.features) == (None, None, None)
    assert gateway.failed_open == 1
    assert caplog.messages == [f"decision {decision.decision_id} failed open: {type(error).__name__}"]
    assert SECRET not in caplog.text


def test_a_name_that_needs_no_score_does_not_fail(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_analyzer", Raises(ValueError()))
    assert gateway.decide(chat(EASY, "frontier")).resolved_model == "large"
    assert gateway.failed_open == 0


def test_words_are_handed_on_only_when_they_are_kept(make_gateway: Any) -> None:
    body = {"model": "auto", "messages": [{"role": "system", "content": "be brief"}, {"content": "my words"}]}
    collector = {"enabled": True, "text": "full", "text_chars": 6}

    def kept(collector: dict[str, Any], model: str = "auto") -> tuple[Decision, Texts | None]:
        gateway = make_gateway(collector=collector)
        pending = begun(gateway, {**body, "model": model})
        decision = gateway.decision(pending, gateway.choose(pending))
        return decision, gateway.texts(pending, decision)

    decision, texts = kept(collector)
    assert texts is not None
    assert (texts.decision_id, texts.created_at) == (decision.decision_id, decision.created_at)
    assert (texts.ask, texts.system) == ("my wor", "be bri")
    for off in ({"text": "none"}, {"enabled": False, "text": "full"}):
        assert kept(off)[1] is None
    # What is not scored is not read either.
    assert kept(collector, "large")[1] is None


def test_what_a_local_llm_is_shown_of_a_request_is_not_kept_for_it(make_gateway: Any) -> None:
    collector = {"enabled": True, "text": "full", "text_chars": 6}
    gateway = make_gateway(collector=collector, classifier={"strategy": "llm", "llm": {"model": "m", "ask_chars": 300}})
    body = {"model": "auto", "messages": [{"role": "system", "content": "s" * 900}, {"content": "a" * 900}]}
    pending = begun(gateway, body)
    assert (len(pending.analysis.ask), pending.analysis.ask_tail) == (300, "a" * 100)
    texts = gateway.texts(pending, gateway.decision(pending, gateway.choose(pending)))
    assert texts is not None
    assert (texts.ask, texts.system) == ("a" * 6, "s" * 6)


def test_the_body_is_not_changed(gateway: Gateway) -> None:
    body = chat(HARD, tools=[{"a": 1}], metadata={"x": [1]})
    before = json.dumps(body)
    gateway.decide(body)
    assert json.dumps(body) == before


def test_load_and_the_public_names(config_file: Any, tmp_path: Path) -> None:
    gateway = bsgateway.load(str(config_file()))
    assert isinstance(gateway, bsgateway.Gateway)
    assert gateway.models["large"] == Model(
        "large",
        Price(1e-5, 4e-5),
        unknown=frozenset(CAPABILITIES),
        max_input_tokens=1_000_000,
        family="openai",
        host="openai",
    )
    assert isinstance(gateway.decide(chat(EASY)), bsgateway.Decision)
    assert all(getattr(bsgateway, name) is not None for name in bsgateway.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = bsgateway.nonsense
    with pytest.raises(bsgateway.ConfigError, match="cannot be read"):
        load(tmp_path / "gone.yaml")


def test_a_provider_that_litellm_does_not_know(config_dict: dict[str, Any], config_file: Any) -> None:
    models = [{"model_name": name, "litellm_params": {"model": "no-such/x"}} for name in ("small", "middle", "large")]
    with pytest.raises(ConfigError, match="LiteLLM knows no provider for 'no-such/x'"):
        load(config_file({"model_list": models}))


# The record itself


def test_ids_are_in_the_order_of_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert {one.version for one in ids} == {7}
    seconds = (ids[-1].int >> 80) / 1000
    assert abs(now() - datetime.fromtimestamp(seconds, timezone.utc)) < timedelta(seconds=10)


def test_the_stamp(gateway: Gateway) -> None:
    scored = gateway.decide(chat(HARD))
    assert stamp(scored) == {
        "decision_id": str(scored.decision_id),
        "method": "auto",
        "original_model": "auto",
        "resolved_model": "large",
        "complexity_score": 68,
        "tier": "complex",
        "strategy": "static",
        "reason": "score",
        "would_use": None,
        "changes": None,
        "ignored": None,
        "llm": None,
    }
    assert all(value is None or type(value) in (str, int) for value in stamp(scored).values())
    plain = stamp(gateway.decide(chat(HARD, "large")))
    assert (plain["complexity_score"], plain["tier"], plain["strategy"]) == (None, None, None)
    assert (plain["method"], plain["reason"]) == ("passthrough", "model_list")
    more = msgspec.structs.replace(scored, applied=False, changes=("a", "b"), ignored=("x-bsgateway-tier",))
    assert stamp(more) | {"would_use": "large", "changes": "a, b", "ignored": "x-bsgateway-tier"} == stamp(more)
    none = stamp(gateway.decide(chat(HARD, tools=TOOLS)))
    assert (none["reason"], none["resolved_model"], none["tier"]) == ("no_candidate", "auto", None)
    assert none["would_use"] is None  # nothing would


@pytest.mark.parametrize("words", [Method, Reason])
def test_every_word_of_a_closed_list_is_explained(words: Any) -> None:
    assert all(word.doc for word in words)
    assert len({word.value for word in words}) == len(words)
    for word in words:
        assert words(word.value) is word


_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
_maybe_text = st.none() | _text
_whole = st.none() | st.integers(0, 2**53)
_number = st.floats(allow_nan=False, allow_infinity=False)
_moment = st.datetimes(timezones=st.just(timezone.utc))
_decisions = st.builds(
    Decision,
    decision_id=st.uuids(),
    created_at=_moment,
    call_type=_text,
    method=st.sampled_from(Method),
    reason=st.sampled_from(Reason),
    original_model=_text,
    resolved_model=_text,
    tier=_maybe_text,
    complexity_score=st.none() | st.integers(0, 100),
    strategy=st.none() | st.sampled_from(Strategy),
    confidence=st.none() | st.floats(0, 1),
    raw_score=st.none() | st.floats(0, 100),
    bias=st.integers(-100, 100),
    contributions=st.lists(st.builds(Contribution, _text, _number, _number, _number), max_size=3).map(tuple),
    needs=st.lists(_text, max_size=3).map(tuple),
    features=st.none() | st.lists(_number, max_size=30).map(tuple),
    feature_version=_whole,
    ask_tokens=_whole,
    system_tokens=_whole,
    context_tokens=_whole,
    tool_tokens=_whole,
    tokens_exact=st.none() | st.booleans(),
    max_output_tokens=_whole,
    stream=st.booleans(),
    caller=st.builds(Caller, *[_maybe_text] * len(Caller.__struct_fields__)),
    decision_us=st.floats(0, 1e12),
    token_encoding=_maybe_text,
    applied=st.booleans(),
    conversation_id=_maybe_text,
    previous_model=_maybe_text,
    skipped=st.lists(st.builds(Skipped, _text, st.sampled_from(Reason)), max_size=3).map(tuple),
    expected_cost=st.none() | st.floats(0, 1e3),
    changes=st.lists(_text, max_size=3).map(tuple),
    ignored=st.lists(_text, max_size=3).map(tuple),
)


@settings(deadline=None, derandomize=True, database=None, max_examples=200)
@given(_decisions)
def test_a_decision_survives_json(decision: Decision) -> None:
    encoded = msgspec.json.encode(decision)
    assert msgspec.json.decode(encoded, type=Decision) == decision
    plain = json.loads(encoded)
    assert list(plain) == list(Decision.__struct_fields__)
    assert plain["method"] == decision.method.value
    assert UUID(plain["decision_id"]) == decision.decision_id


def test_a_real_decision_survives_json(gateway: Gateway) -> None:
    for body in (chat(HARD), chat(EASY, "large"), chat(EASY, "vendor/x", stream=True)):
        decision = gateway.decide(body)
        assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision


def test_records_are_frozen(gateway: Gateway) -> None:
    decision = gateway.decide(chat(EASY))
    with pytest.raises(AttributeError):
        decision.tier = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Outcome(new_id(), now(), "success")  # type: ignore[misc]


_words = st.text(st.sampled_from("ab \n?`-1,"), max_size=200) | st.sampled_from([EASY, HARD, "```py\nx = 1\n```"])


@settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(_words, min_size=1, max_size=4), model=st.sampled_from(["auto", "cheap", "best", "claude-x"]))
def test_every_request_has_a_score_and_the_tier_of_it(gateway: Gateway, texts: list[str], model: str) -> None:
    decision = gateway.decide({"model": model, "messages": [{"role": "user", "content": text} for text in texts]})
    assert decision.raw_score is not None
    assert 0 <= decision.raw_score <= 100
    assert decision.complexity_score == min(max(int(decision.raw_score + decision.bias + 0.5), 0), 100)
    tier = gateway.config.routing.tiers[str(decision.tier)]
    assert tier.score_range[0] <= decision.complexity_score <= tier.score_range[1]
    assert decision.resolved_model == tier.model
    assert sum(share.points for share in decision.contributions) == pytest.approx(decision.raw_score)
    assert all(0 <= share.value <= 100 and 0 <= share.weight <= 1 for share in decision.contributions)


def test_what_the_memo_does_can_be_seen(make_gateway: Any) -> None:
    gateway = make_gateway()
    first, again = (gateway.decide({"model": "auto", "messages": [{"role": "user", "content": HARD}]}) for _ in "12")
    assert first.features == again.features
    memo = gateway.memo_stats()
    assert (memo.hits, memo.misses, memo.evictions) == (1, 1, 0)
    assert 0 < memo.bytes <= memo.capacity_bytes <= gateway.config.routing.analysis.memo_bytes


def test_tokens_of_another_encoding(make_gateway: Any) -> None:
    decision = make_gateway(analysis={"encoding": "cl100k_base"}).decide(
        {"model": "auto", "messages": [{"role": "user", "content": "请证明这个定理。"}]}
    )
    assert decision.token_encoding == "cl100k_base"
    assert decision.ask_tokens == core.count_tokens("请证明这个定理。", "cl100k_base")
    assert decision.ask_tokens != core.count_tokens("请证明这个定理。", "o200k_base")
