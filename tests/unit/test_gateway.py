"""`gateway.py` and `decision.py`: the whole flow from body to `Decision`, without a server."""

from __future__ import annotations

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
from bsgateway.core import core
from bsgateway.decision import Caller, Contribution, Decision, Method, Outcome, Reason, Strategy, new_id, now, stamp
from bsgateway.errors import ConfigError
from bsgateway.gateway import FORMATS, MAX_NAME, Gateway, load
from bsgateway.pricing import Price

EASY = "hi"
# Four keywords of the built-in list and none of the other: over the floor of 68.
HARD = "Prove the theorem, derive the bound, analyze the algorithm."


def chat(text: str, model: str = "auto", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def nothing(_: str) -> bool:
    return False


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


def test_every_field_of_a_scored_decision(gateway: Gateway) -> None:
    before = now()
    body = {
        "model": "cheap",
        "messages": [{"role": "system", "content": "You help."}, {"role": "user", "content": HARD}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "max_tokens": 77,
        "stream": True,
    }
    caller = Caller(call_id="c", session_id="s")
    decision, texts = gateway.route(body, "acompletion", caller, nothing)
    assert texts is None
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
    decision, _ = gateway.route(chat(EASY, "db-model"), "acompletion", Caller(), lambda name: name == "db-model")
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
    assert gateway.policy.baseline.model == "large"


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
    decision, texts = make_gateway(collector=collector).route(body, "acompletion", Caller(), nothing)
    assert texts is not None
    assert (texts.decision_id, texts.created_at) == (decision.decision_id, decision.created_at)
    assert (texts.ask, texts.system) == ("my wor", "be bri")
    for off in ({"text": "none"}, {"enabled": False, "text": "full"}):
        assert make_gateway(collector=off).route(body, "acompletion", Caller(), nothing)[1] is None
    # What is not scored is not read either.
    assert (
        make_gateway(collector=collector).route({**body, "model": "large"}, "acompletion", Caller(), nothing)[1] is None
    )


def test_the_body_is_not_changed(gateway: Gateway) -> None:
    body = chat(HARD, tools=[{"a": 1}], metadata={"x": [1]})
    before = json.dumps(body)
    gateway.decide(body)
    assert json.dumps(body) == before


def test_load_and_the_public_names(config_file: Any, tmp_path: Path) -> None:
    gateway = bsgateway.load(str(config_file()))
    assert isinstance(gateway, bsgateway.Gateway)
    assert gateway.prices["large"] == Price(1e-5, 4e-5, None, 1_000_000)
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
    }
    assert all(type(value) in (str, int) for value in stamp(scored).values())
    plain = stamp(gateway.decide(chat(HARD, "large")))
    assert (plain["complexity_score"], plain["tier"], plain["strategy"]) == (None, None, None)
    assert (plain["method"], plain["reason"]) == ("passthrough", "model_list")


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
