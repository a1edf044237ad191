"""`replay_log.py`: decisions of the log made anew, on rows whose new decisions and costs are known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from bsgateway.decision import Reason, Skipped, Strategy
from bsgateway.gateway import Gateway
from bsgateway.log_scores import LogScorer
from bsgateway.past import Past
from bsgateway.replay_log import LogReplay, LogReport
from bsgateway.replay_log_report import difference, heading, remarks
from past_rows import LLM, START, features, judged, past

MakeGateway = Callable[..., Gateway]
UNTIL = START + timedelta(days=1)


def tiers(simple: int, medium: int) -> dict[str, Any]:
    """The tiers of the small configuration with other borders: the last scores of the lower two."""
    return {
        "simple": {"score_range": [0, simple], "model": "small"},
        "medium": {"score_range": [simple + 1, medium], "model": "middle"},
        "complex": {"score_range": [medium + 1, 100], "model": "large"},
    }


def replayed(
    gateway: Gateway, logged_by: Gateway, *rows: Past, since: datetime = START, most: int = 10, texts: bool = False
) -> LogReport:
    strategy = Strategy(gateway.config.routing.classifier.strategy)
    scorer = LogScorer(gateway.config, logged_by.config, strategy)
    replay = LogReplay(gateway, logged_by, scorer, since, most, texts)
    for row in rows:  # batches of one, and what is remembered in between
        replay.take([row])
    return replay.report(UNTIL)


def moves(report: LogReport) -> dict[tuple[str, str], int]:
    return {(old, new): count for old, row in report.moved.items() for new, count in row.items() if count}


def test_the_same_configuration_moves_nothing(gateway: Gateway) -> None:
    rows = [past(score, seconds=score) for score in range(101)]
    report = replayed(gateway, gateway, *rows)
    assert moves(report) == {("simple", "simple"): 31, ("medium", "medium"): 35, ("complex", "complex"): 35}
    assert (report.changed, report.decided, report.requests) == (0, 101, 101)
    assert report.costs.difference == 0.0
    assert (report.costs.low, report.costs.high) == (0.0, 0.0)
    assert report.scored.kept == 101
    assert report.disagreements == []


def test_a_local_llm_is_not_asked_again(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(classifier=LLM)
    config = gateway.config
    rows = [
        judged(config, 83.0, 1), judged(config, 15.5, 2, llm_status="known"), past(83, 3, llm_status="timeout"),
        past(20, 4), judged(config, 83.0, 5, llm_model="other"),
    ]  # fmt: skip
    report = replayed(gateway, gateway, *rows)
    assert report.strategy == "llm"
    assert moves(report) == {("simple", "simple"): 2, ("complex", "complex"): 2, ("complex", "simple"): 1}
    assert (report.scored.verdicts, report.scored.by_fallback, report.scored.outdated) == (2, 3, 1)
    said = remarks(report)
    assert "2 rows keep the verdict of the local LLM, which is not asked again." in said
    assert any(line.startswith("3 rows are scored by the fallback") for line in said)
    assert any(line.startswith("1 rows have a verdict of another local LLM") for line in said)


def test_other_borders(gateway: Gateway, make_gateway: MakeGateway) -> None:
    rows = [past(score, seconds=score) for score in range(101)]
    report = replayed(make_gateway(tiers=tiers(40, 80)), gateway, *rows)
    assert moves(report) == {
        ("simple", "simple"): 31,
        ("medium", "simple"): 10,
        ("medium", "medium"): 25,
        ("complex", "medium"): 15,
        ("complex", "complex"): 20,
    }
    # Input and output of a row cost 2,000 times the price of an input token.
    assert report.costs.before == pytest.approx(2_000 * (31 * 1e-7 + 35 * 1e-6 + 35 * 1e-5))
    assert report.costs.after == pytest.approx(2_000 * (41 * 1e-7 + 40 * 1e-6 + 20 * 1e-5))
    low, high = report.costs.low, report.costs.high
    assert low is not None
    assert high is not None
    assert low < report.costs.difference < high < 0.0
    (line,) = report.reasons
    assert (line.reason, line.requests, line.up, line.down) == ("score", 101, 0, 25)


def test_few_conversations_have_no_interval(gateway: Gateway, make_gateway: MakeGateway) -> None:
    rows = [past(35, seconds=each, conversation_id=f"c{each % 3}") for each in range(40)]
    report = replayed(make_gateway(tiers=tiers(40, 80), session={"enabled": False}), gateway, *rows)
    assert report.costs.low is None
    assert "too few conversations" in difference(report.costs)


class TestConversations:
    """The new decisions follow each other: what the log's conversation did does not matter."""

    def test_a_conversation_keeps_its_new_tier(self, gateway: Gateway, make_gateway: MakeGateway) -> None:
        rows = [
            past(50, conversation_id="c"),
            past(70, 10, conversation_id="c", previous_model="middle", reason="session_up"),
            past(50, 20, conversation_id="c", previous_model="large", tier="complex", resolved_model="large",
                 reason="session_kept"),
        ]  # fmt: skip
        other = make_gateway(tiers=tiers(30, 90))
        report = replayed(other, gateway, *rows)
        assert moves(report) == {("medium", "medium"): 1, ("complex", "medium"): 2}
        assert report.assumed.joined == 0

    def test_a_new_conversation_knows_nothing_of_the_one_before(self, gateway: Gateway) -> None:
        rows = [past(90, conversation_id="c"), past(5, 10, conversation_id="c")]
        assert moves(replayed(gateway, gateway, *rows)) == {("complex", "complex"): 1, ("simple", "simple"): 1}

    def test_rows_before_the_time_are_followed_and_not_counted(
        self, gateway: Gateway, make_gateway: MakeGateway
    ) -> None:
        rows = [
            past(70, -60, conversation_id="c"),
            past(60, 1, conversation_id="c", previous_model="large", tier="complex", resolved_model="large"),
        ]
        never_down = make_gateway(session={"horizon_turns": 0})
        report = replayed(never_down, gateway, *rows)
        assert moves(report) == {("complex", "complex"): 1}
        assert (report.requests, report.assumed.joined) == (1, 0)
        alone = replayed(never_down, gateway, rows[1])
        assert moves(alone) == {("complex", "medium"): 1}
        assert alone.assumed.joined == 1
        assert any("beginning is not in the log" in line for line in remarks(alone))

    def test_sessions_that_were_off_are_told_from_the_turns(self, gateway: Gateway, make_gateway: MakeGateway) -> None:
        off = make_gateway(session={"enabled": False})
        rows = [past(90, conversation_id="c"), past(5, 10, conversation_id="c", features=features(turns=2))]
        never_down = make_gateway(session={"horizon_turns": 0})
        assert moves(replayed(never_down, off, *rows)) == {("complex", "complex"): 1, ("simple", "complex"): 1}
        assert moves(replayed(off, gateway, *rows)) == {("complex", "complex"): 1, ("simple", "simple"): 1}

    def test_a_fallback_that_answered_is_who_the_conversation_is_with(self, gateway: Gateway) -> None:
        rows = [
            past(20, conversation_id="c", outcome_served_group="large"),
            past(20, 10, conversation_id="c", previous_model="large", features=features(turns=1, results_since_ask=1),
                 tier="complex", resolved_model="large", reason="tool_result"),
        ]  # fmt: skip
        assert moves(replayed(gateway, gateway, *rows)) == {("simple", "simple"): 1, ("complex", "complex"): 1}

    def test_shadow_and_applied_are_apart(self, make_gateway: MakeGateway) -> None:
        gateway = make_gateway(session={"horizon_turns": 0})
        rows = [
            past(90, conversation_id="c"),
            past(5, 10, conversation_id="c", applied=False, previous_model="small"),
        ]
        assert moves(replayed(gateway, gateway, *rows)) == {("complex", "complex"): 1, ("simple", "simple"): 1}


class TestWishes:
    def test_biases_of_the_configuration_are_exchanged(self, gateway: Gateway, make_gateway: MakeGateway) -> None:
        rows = [past(20, bias=0), past(20, bias=-10), past(20, original_model="best", bias=100, tier="complex")]
        report = replayed(make_gateway(bias=15), gateway, *rows)
        # 20 + 15; 20 + 15 and the -10 of a key; 20 + 100 of the alias, at most 100
        assert moves(report) == {("simple", "medium"): 1, ("simple", "simple"): 1, ("complex", "complex"): 1}

    def test_what_the_logged_configuration_added_is_taken_off(self, make_gateway: MakeGateway) -> None:
        report = replayed(make_gateway(), make_gateway(bias=15), past(20, bias=15, tier="medium"))
        assert moves(report) == {("medium", "simple"): 1}

    def test_a_requested_tier_stays(self, gateway: Gateway, make_gateway: MakeGateway) -> None:
        row = past(20, tier="complex", resolved_model="large", reason="requested_tier")
        assert moves(replayed(gateway, gateway, row)) == {("complex", "complex"): 1}
        renamed = {
            "low": {"score_range": [0, 50], "model": "small"},
            "high": {"score_range": [51, 100], "model": "large"},
        }
        report = replayed(make_gateway(tiers=renamed, fallback_tier="low"), gateway, row)
        assert moves(report) == {("complex", "low"): 1}
        assert report.assumed.requested == 1
        assert report.tiers == ["low", "high", "complex"]

    @pytest.mark.parametrize(("score", "tier", "model"), [(90, "medium", "middle"), (5, "medium", "middle")])
    def test_a_limit_of_the_key_is_where_it_went(self, gateway: Gateway, score: int, tier: str, model: str) -> None:
        row = past(score, tier=tier, resolved_model=model, reason="tier_limit")
        report = replayed(gateway, gateway, row)
        assert moves(report) == {("medium", "medium"): 1}
        assert report.assumed.limits == 1

    def test_a_limit_of_an_alias_is_that_of_the_configuration(self, make_gateway: MakeGateway) -> None:
        def limited(tier: str) -> Gateway:
            return make_gateway(aliases={"modest": {"route": "auto_route", "max_tier": tier}})

        row = past(90, original_model="modest", tier="medium", resolved_model="middle", reason="tier_limit")
        report = replayed(limited("simple"), limited("medium"), row)
        assert moves(report) == {("medium", "simple"): 1}
        assert report.assumed.limits == 0

    def test_side_requests_stay_low(self, gateway: Gateway) -> None:
        row = past(90, tier="simple", resolved_model="small", reason="side_request", conversation_id="c")
        after = past(50, 5, conversation_id="c")
        assert moves(replayed(gateway, gateway, row, after)) == {("simple", "simple"): 1, ("medium", "medium"): 1}


class TestWhatTheLogDoesNotHold:
    def test_names(self, gateway: Gateway, make_gateway: MakeGateway) -> None:
        def by_name(name: str, reason: str) -> Past:
            return past(
                original_model=name, resolved_model=name, tier=None, strategy=None, raw_score=None, reason=reason
            )

        rows = [
            by_name("small", "model_list"),
            by_name("elsewhere", "host_model"),
            by_name("odd", "unknown_model_left"),
        ]
        report = replayed(gateway, gateway, *rows)
        assert (report.requests, report.decided, report.not_routed, report.needs_body) == (3, 0, 2, 1)
        assert any("cannot score them" in line for line in remarks(report))
        fixed = replayed(make_gateway(aliases={"auto": "large"}), gateway, past(20))
        assert moves(fixed) == {("simple", "-"): 1}
        assert fixed.costs.after == pytest.approx(2_000 * 1e-5)

    def test_chance_is_left_out(self, gateway: Gateway) -> None:
        row = past(20, tier="complex", resolved_model="large", reason="explored", explored=True, propensity=0.01)
        report = replayed(gateway, gateway, row)
        assert moves(report) == {("complex", "simple"): 1}
        assert report.assumed.explored == 1

    def test_models_that_could_not_be_had(self, gateway: Gateway) -> None:
        skipped = (Skipped("small", Reason.COOLING_DOWN), Skipped("x", Reason.NEEDS))
        row = past(20, tier="medium", resolved_model="middle", reason="cooling_down", skipped=skipped)
        report = replayed(gateway, gateway, row)
        assert moves(report) == {("medium", "medium"): 1}
        assert report.assumed.access == 1

    def test_what_a_provider_keeps(self, gateway: Gateway) -> None:
        skipped = (Skipped("small", Reason.PROVIDER_STATE),)
        row = past(20, tier="medium", resolved_model="middle", reason="provider_state", skipped=skipped)
        report = replayed(gateway, gateway, row)
        assert report.assumed.state == 1
        assert any("what a provider keeps" in line for line in remarks(report))

    def test_needs_and_windows_are_those_of_the_row(self, gateway: Gateway) -> None:
        row = past(20, context_tokens=50_000, tier="medium", resolved_model="middle", reason="context_window")
        report = replayed(gateway, gateway, row)
        assert moves(report) == {("medium", "medium"): 1}
        seen = past(20, needs=("vision",), tier=None, resolved_model="auto", reason="no_candidate")
        assert replayed(gateway, gateway, seen).unserved == 1

    def test_rows_without_answer_or_price_are_in_no_cost(self, make_gateway: MakeGateway) -> None:
        free = {"model_name": "middle", "litellm_params": {"model": "openai/nobody-knows-it", "api_key": "none"}}
        host = [*make_gateway().config.host["model_list"]]
        host = [each for each in host if each["model_name"] != "middle"] + [free]
        gateway = make_gateway({"model_list": host})
        rows = [past(20), past(20, 1, outcome_status="failure"), past(20, 2, outcome_status=None), past(50, 3)]
        report = replayed(gateway, gateway, *rows)
        assert (report.costs.requests, report.unanswered, report.unpriced) == (1, 2, 1)
        assert report.unpriced_models == ["middle"]
        assert any("No price is known of middle" in line for line in remarks(report))

    def test_prompt_caches_belong_to_a_conversation_and_a_model(self, make_gateway: MakeGateway) -> None:
        host = make_gateway().config.host["model_list"]
        for each in host[:3]:
            price = each["model_info"]["input_cost_per_token"]
            each["model_info"]["cache_read_input_token_cost"] = price / 10
        gateway = make_gateway({"model_list": host})
        rows = [
            past(50, conversation_id="c"),
            past(70, 10, conversation_id="c", previous_model="middle"),
        ]
        report = replayed(make_gateway({"model_list": host}, tiers=tiers(30, 90)), gateway, *rows)
        assert report.costs.before == pytest.approx(2_000 * 1e-6 + 2_000 * 1e-5)
        assert report.costs.after == pytest.approx(2_000 * 1e-6 + (1_000 + 100) * 1e-6)


class TestDisagreements:
    def test_the_strongest_of_each_conversation_first(self, gateway: Gateway, make_gateway: MakeGateway) -> None:
        other = make_gateway(tiers=tiers(80, 90))
        rows = [
            past(50, 0, ask="one tier"),
            past(79, 1, ask="two tiers", conversation_id="c"),
            past(40, 2, ask="the same conversation", conversation_id="c"),
            past(95, 3, ask="no change"),
        ]
        report = replayed(other, gateway, *rows)
        assert [(each.tier, each.new_tier) for each in report.disagreements] == [
            ("complex", "simple"),
            ("medium", "simple"),
        ]
        assert report.disagreements[0].decision_id == str(rows[1].decision_id)
        assert [each.ask for each in report.disagreements] == [None, None]
        shown = replayed(other, gateway, *rows, texts=True)
        assert [each.ask for each in shown.disagreements] == ["two tiers", "one tier"]

    def test_no_more_than_asked_for(self, gateway: Gateway, make_gateway: MakeGateway) -> None:
        other = make_gateway(tiers=tiers(80, 90))
        rows = [past(31 + each % 50, each) for each in range(500)]
        report = replayed(other, gateway, *rows, most=3)
        assert len(report.disagreements) == 3
        assert {(each.tier, each.new_tier) for each in report.disagreements} == {("complex", "simple")}
        assert replayed(other, gateway, *rows, most=0).disagreements == []


def test_another_static_score_comes_from_the_features(gateway: Gateway, make_gateway: MakeGateway) -> None:
    """All weight on the length of the ask: 20,000 tokens of it are 100 points."""
    weights = dict.fromkeys(
        ("system_prompt", "keyword_patterns", "conversation_length", "code_complexity", "tool_usage"), 0.0
    )
    other = make_gateway(classifier={"static": {"weights": {"token_count": 1.0, **weights}}})
    rows = [
        past(20, features=features(turns=1, ask_tokens=20_000), context_tokens=20_000),
        past(20, 1, features=features(turns=1, ask_tokens=5)),
        past(20, 2, features=None, feature_version=None),
        past(20, 3, feature_version=99),
    ]
    report = replayed(other, gateway, *rows)
    assert moves(report) == {("simple", "complex"): 1, ("simple", "simple"): 1}
    assert (report.scored.kept, report.scored.anew, report.scored.no_features) == (0, 2, 2)
    assert [each.new_score for each in report.disagreements] == [100]
    assert heading(report)[0].startswith("4 requests, ")
