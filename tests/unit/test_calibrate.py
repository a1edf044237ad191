"""`calibrate`: shares, costs and qualities on logs whose truth is known, from rows to lines of a configuration."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from bsgateway.cli import main
from bsgateway.decision import Strategy
from bsgateway.errors import LearningError
from bsgateway.gateway import Gateway
from bsgateway.learn.borders import of_config
from bsgateway.learn.calibrate import MONTH_DAYS, Calibration, Goal, calibrate
from bsgateway.learn.survey import Survey
from bsgateway.log_scores import LogScorer
from bsgateway.past import Past
from past_rows import LLM, judged, past

MakeGateway = Callable[..., Gateway]
EACH = (
    2_000  # a row costs so many times the price of an input token: 1,000 of input, 250 of output, which cost four times
)


def even(rows: int = 1_010, **fields: Any) -> list[Past]:
    """As many rows of each score, ten to a conversation, over ten days."""
    return [past(each % 101, each * 864_000 / rows, conversation_id=f"c{each // 10}", **fields) for each in range(rows)]


def surveyed(gateway: Gateway, rows: list[Past], borders_move: bool = True) -> Survey:
    strategy = Strategy(gateway.config.routing.classifier.strategy)
    scorer = LogScorer(gateway.config, gateway.config, strategy)
    survey = Survey(gateway, scorer, borders_move=borders_move)
    survey.take(rows[: len(rows) // 3])
    survey.take(rows[len(rows) // 3 :])
    return survey


def calibrated(gateway: Gateway, rows: list[Past], days: float = 10.0, **goal: Any) -> Calibration:
    return calibrate(surveyed(gateway, rows), Goal(**goal), of_config(gateway.config.routing), days)


def ranges(found: Calibration) -> list[tuple[int, int]]:
    return [line.score_range for line in found.proposed.tiers]


def truth(score: float, tier: int) -> float:
    """How good an answer is: the lower the tier, the worse with the score."""
    return 0.95 - (0.6, 0.3, 0.0)[tier] * score / 100


def compared(rows: int = 3_000) -> list[Past]:
    """Rows of which a part has been answered by the lowest and the top tier and compared, with some noise."""
    draw = random.Random(5)
    found = []
    for row in even(rows):
        if draw.random() < 0.3:
            scores = [min(max(truth(row.raw_score or 0, at) + draw.gauss(0, 0.1), 0), 1) for at in (0, 1, 2)]
            low = draw.choice((0, 0, 1))
            row = msgspec.structs.replace(
                row, weak_tier=("simple", "medium")[low], strong_tier="complex", weak_score=scores[low],
                strong_score=scores[2],
            )  # fmt: skip
        found.append(row)
    return found


class TestShare:
    def test_shares_are_reached(self, gateway: Gateway) -> None:
        found = calibrated(gateway, even(), shares={"simple": 60, "medium": 30})
        assert ranges(found) == [(0, 60), (61, 90), (91, 100)]
        shares = [line.share.value for line in found.proposed.tiers]
        assert shares == pytest.approx([61 / 101, 30 / 101, 10 / 101])
        assert all(line.share.low < line.share.value < line.share.high for line in found.proposed.tiers)
        assert [line.share.value for line in found.now.tiers] == pytest.approx([31 / 101, 35 / 101, 35 / 101])

    def test_the_rest_goes_to_the_others(self, gateway: Gateway) -> None:
        found = calibrated(gateway, even(), shares={"simple": 50})
        assert ranges(found) == [(0, 49), (50, 75), (76, 100)] or ranges(found) == [(0, 50), (51, 75), (76, 100)]

    @pytest.mark.parametrize(
        ("shares", "why"),
        [
            ({"simple": 60, "medium": 60}, "add up to 120 %"),
            ({"simple": 60, "medium": 30, "complex": 5}, "add up to 95 %"),
            ({"easy": 60}, "no such tier; tiers are simple, medium, complex"),
        ],
    )
    def test_shares_that_cannot_be(self, gateway: Gateway, shares: dict[str, float], why: str) -> None:
        with pytest.raises(LearningError, match=why):
            calibrated(gateway, even(), shares=shares)

    def test_a_score_that_many_have_is_told(self, gateway: Gateway) -> None:
        rows = even() + [past(12, 900_000 + each) for each in range(500)]
        found = calibrated(gateway, rows, shares={"simple": 20})
        assert any("have the score 12: no border divides them" in line for line in found.remarks)
        assert any(line.startswith("simple gets ") and "and not 20 %" in line for line in found.remarks)

    def test_no_border_moves_what_the_local_llm_has_named(self, make_gateway: MakeGateway) -> None:
        gateway = make_gateway(classifier=LLM)
        verdicts = [judged(gateway.config, 15.0, 900_000 + each, outcome_cost=0.5) for each in range(500)]
        found = calibrated(gateway, even() + verdicts, shares={"simple": 60, "medium": 30})
        assert ranges(found) == [(0, 60), (61, 90), (91, 100)]
        assert (found.requests, found.scored) == (1_510, 1_010)
        survey = surveyed(gateway, even() + verdicts)
        assert (survey.beside.verdicts, survey.beside.cost) == (500, 250.0)
        assert surveyed(gateway, verdicts, borders_move=False).scored == 500
        with pytest.raises(LearningError, match=r"0 scored requests .* named the tier of 500 more"):
            calibrated(gateway, verdicts, shares={"simple": 60})


class TestCost:
    def test_costs_are_those_of_the_prices(self, gateway: Gateway) -> None:
        found = calibrated(gateway, even(), shares={"simple": 60, "medium": 30})
        for line, price in zip(found.now.tiers, (1e-7, 1e-6, 1e-5), strict=True):
            assert line.cost is not None
            assert line.cost.value == pytest.approx(EACH * price)
        assert found.now.monthly is not None
        total = EACH * (310 * 1e-7 + 350 * 1e-6 + 350 * 1e-5)
        assert found.now.monthly.value == pytest.approx(total * MONTH_DAYS / 10)
        assert found.now.monthly.low < found.now.monthly.value < found.now.monthly.high

    @pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
    def test_a_budget_is_kept_and_used(self, gateway: Gateway, part: float) -> None:
        everything = calibrated(gateway, even(), shares={"complex": 100}).proposed.monthly
        assert everything is not None
        budget = part * everything.value
        found = calibrated(gateway, even(), monthly_usd=budget).proposed.monthly
        assert found is not None
        assert 0.97 * budget < found.value <= budget

    def test_a_budget_that_is_too_small(self, gateway: Gateway) -> None:
        with pytest.raises(LearningError, match=r"the lowest tier alone costs about \$\d\.\d\d$"):
            calibrated(gateway, even(), monthly_usd=1e-9)

    def test_a_model_without_a_price(self, make_gateway: MakeGateway) -> None:
        host = make_gateway().config.host["model_list"]
        host[1] = {"model_name": "middle", "litellm_params": {"model": "openai/nobody-knows-it", "api_key": "none"}}
        gateway = make_gateway({"model_list": host})
        with pytest.raises(LearningError, match="no price is known of middle: give input_cost_per_token"):
            calibrated(gateway, even(), monthly_usd=5)
        found = calibrated(gateway, even(), shares={"simple": 60})
        assert [line.cost is None for line in found.now.tiers] == [False, True, False]
        assert found.now.monthly is None
        assert found.unpriced == ["middle"]
        assert any("costs are unknown" in line for line in found.remarks)

    def test_a_tier_that_cannot_serve_it_costs_what_stands_in(self, gateway: Gateway) -> None:
        rows = even(context_tokens=50_000, outcome_prompt_tokens=50_000)  # small holds 8,000
        found = calibrated(gateway, rows, shares={"simple": 60, "medium": 30})
        costs = [line.cost.value for line in found.now.tiers if line.cost is not None]
        assert costs == pytest.approx([51_000 * 1e-6, 51_000 * 1e-6, 51_000 * 1e-5])

    def test_intervals_are_by_conversation(self, gateway: Gateway) -> None:
        """The same requests in few large conversations tell less than in many."""

        def width(size: int) -> float:
            rows = [msgspec.structs.replace(row, conversation_id=f"c{(row.raw_score or 0) // size}") for row in even()]
            share = calibrated(gateway, rows, shares={"simple": 60}).now.tiers[0].share
            return share.high - share.low

        assert width(20) > 2 * width(1)


class TestQuality:
    def test_a_floor_is_kept_at_the_least_cost(self, gateway: Gateway) -> None:
        found = calibrated(gateway, compared(), quality=0.9)
        assert found.quality_from == "comparison"
        kept = found.proposed.kept
        assert kept is not None
        assert 0.9 <= kept.value < 0.905
        assert kept.low < kept.value < kept.high
        assert found.proposed.monthly is not None
        assert found.now.monthly is not None
        real = np.mean([truth(score, at) for at, line in enumerate(found.proposed.tiers)
                        for score in range(line.score_range[0], line.score_range[1] + 1)])  # fmt: skip
        assert kept.low - 0.01 < real / 0.95 < kept.high + 0.01

    def test_a_higher_floor_costs_more(self, gateway: Gateway) -> None:
        costs = []
        for floor in (0.8, 0.9, 0.95, 0.99):
            monthly = calibrated(gateway, compared(), quality=floor).proposed.monthly
            assert monthly is not None
            costs.append(monthly.value)
        assert costs == sorted(costs)
        assert costs[0] < costs[-1] / 3

    def test_without_labels(self, gateway: Gateway) -> None:
        with pytest.raises(LearningError, match=r"50 of one kind are needed.*dual_run: 1%"):
            calibrated(gateway, even(), quality=0.9)
        found = calibrated(gateway, even(), shares={"simple": 60})
        assert found.proposed.kept is None
        assert any("quality is unknown" in line for line in found.remarks)

    def test_ratings_do_where_nothing_was_compared(self, gateway: Gateway) -> None:
        rows = [
            msgspec.structs.replace(
                row, rating=truth(row.raw_score or 0, ("simple", "medium", "complex").index(row.tier or ""))
            )
            for row in even()
        ]
        found = calibrated(gateway, rows, quality=0.95)
        assert found.quality_from == "rating"
        assert found.labels["rating"] == {"simple": 310, "medium": 350, "complex": 350}
        assert any("quality is from ratings" in line for line in found.remarks)

    def test_a_tier_between_without_labels_lies_between(self, gateway: Gateway) -> None:
        rows = [
            msgspec.structs.replace(row, weak_tier=None, strong_tier=None) if row.weak_tier == "medium" else row
            for row in compared()
        ]
        found = calibrated(gateway, rows, shares={"simple": 34, "medium": 33})
        assert any("quality of medium: few labels" in line for line in found.remarks)
        medium = found.now.tiers[1].quality
        assert medium is not None
        assert medium.value == pytest.approx(np.mean([truth(score, 1) for score in range(31, 66)]), abs=0.03)


class TestRows:
    def test_what_no_border_moves_is_beside(self, gateway: Gateway) -> None:
        beside = [
            past(5, 1, reason="side_request", outcome_cost=0.25),
            past(5, 2, reason="requested_tier", outcome_cost=0.5),
            past(5, 3, strategy=None, raw_score=None, reason="model_list", outcome_cost=1.0),
            past(5, 4, needs=("vision",), outcome_cost=None),
        ]
        survey = surveyed(gateway, even() + beside)
        assert survey.scored == 1_010
        assert (survey.beside.requests, survey.beside.cost) == (4, 1.75)

    def test_scores_are_after_bias(self, gateway: Gateway) -> None:
        survey = surveyed(gateway, [past(20, bias=10), past(99, bias=10), past(3, bias=-10), past(20.5)])
        assert list(np.flatnonzero(survey.counts.sum(axis=0))) == [0, 21, 30, 100]

    def test_too_few(self, gateway: Gateway) -> None:
        with pytest.raises(LearningError, match=r"50 scored requests do not suffice"):
            calibrated(gateway, even(50), shares={"simple": 60})


# The command, on a file that was exported


def export(path: Path, rows: list[Past]) -> Path:
    path.write_bytes(msgspec.json.Encoder().encode_lines(rows))
    return path


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["calibrate", *map(str, arguments)])
    if not isinstance(result.exception, (SystemExit, type(None))):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_the_command_shows_lines_that_can_be_pasted(tmp_path: Path, config_file: Callable[..., Path]) -> None:
    config = config_file()
    before = config.read_bytes()
    rows = export(tmp_path / "rows.jsonl", compared())
    out = run("-c", config, "--file", rows, "--share", "simple=60", "--share", "medium=30%").stdout
    assert "3,000 requests with a score of static, 10.0 days." in out
    lines = yaml.safe_load(out[out.index("routing:") :])
    assert lines["routing"]["tiers"]["simple"] == {"score_range": [0, 59], "model": "small"}
    assert "of the top tier's quality" in out
    assert config.read_bytes() == before


def test_the_command_writes_when_told_to(tmp_path: Path, config_file: Callable[..., Path]) -> None:
    config = config_file()
    before = yaml.safe_load(config.read_text())
    rows = export(tmp_path / "rows.jsonl", even())
    found = json.loads(run("-c", config, "--file", rows, "--share", "simple=60", "--write", "--json").stdout)
    assert found["written"] == str(config)
    after = yaml.safe_load(config.read_text())
    new = [tier.pop("score_range") for tier in after["routing"]["tiers"].values()]
    assert new == [line["score_range"] for line in found["calibration"]["proposed"]["tiers"]]
    assert new[0] == [0, 60]
    for tier in before["routing"]["tiers"].values():
        del tier["score_range"]
    assert after == before


def test_the_command_prints_what_it_cannot_write(tmp_path: Path, config_file: Callable[..., Path]) -> None:
    config = config_file()
    text = config.read_text().replace("      - 0\n      - 30\n", "      - 0\n      - 0x1e\n")
    config.write_text(text)
    rows = export(tmp_path / "rows.jsonl", even())
    result = run("-c", config, "--file", rows, "--share", "simple=60", "--write", code=1)
    assert "score_range: [0, 60]" in result.stdout
    assert "is no plain number; nothing was written: put the lines above into it by hand" in result.stderr
    assert config.read_text() == text


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "give one goal"),
        (["--share", "simple=60", "--quality", "0.9"], "give one goal"),
        (["--share", "simple"], "is not a tier and a share of 100"),
        (["--share", "simple=101"], "is not a tier and a share of 100"),
        (["--share", "simple=1", "--share", "simple=2"], "names 'simple' twice"),
        (["--quality", "1.5"], "is not in the range"),
    ],
)
def test_wrong_usage(arguments: list[str], why: str) -> None:
    assert why in run(*arguments, code=2).stderr


def test_a_file_that_is_none(tmp_path: Path, config_file: Callable[..., Path]) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"decision_id": 1}\n')
    stderr = run("-c", config_file(), "--file", rows, "--share", "simple=60", code=1).stderr
    assert f"{rows}:1: not a decision" in stderr
    assert "bsgateway logs export" in stderr


def test_without_the_packages(
    tmp_path: Path, config_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    rows = export(tmp_path / "rows.jsonl", even())
    assert (
        "pip install 'bsgateway[train]'"
        in run("-c", config_file(), "--file", rows, "--share", "simple=60", code=1).stderr
    )


def test_one_tier_has_no_border(tmp_path: Path, config_file: Callable[..., Path]) -> None:
    config = config_file(tiers={"all": {"score_range": [0, 100], "model": "small"}}, fallback_tier="all")
    rows = export(tmp_path / "rows.jsonl", even())
    assert "has one tier only" in run("-c", config, "--file", rows, "--share", "all=60", code=1).stderr


@pytest.mark.parametrize(("strange", "code"), [(400, 0), (600, 1)])
def test_rows_that_cannot_be_scored_are_left_out_unless_they_are_most(
    tmp_path: Path, config_file: Callable[..., Path], strange: int, code: int
) -> None:
    fields = {"strategy": "ml", "scorer_id": "0123456789ab", "features": None, "feature_version": None}
    rows = export(tmp_path / "rows.jsonl", even(500) + even(strange, **fields))
    result = run("-c", config_file(), "--file", rows, "--share", "simple=60", code=code)
    if code:
        assert "600 of 1,100 rows were scored by another strategy or model, and cannot be scored anew" in result.stderr
    else:
        assert "400 rows of another strategy or model are left out" in result.stdout


def test_exploration_is_shown(tmp_path: Path, config_file: Callable[..., Path]) -> None:
    draw = random.Random(1)
    rows = []
    for row in even(3_000):
        greedy = ("simple", "medium", "complex").index(row.tier or "")
        tier = draw.randrange(3) if draw.random() < 0.3 else greedy
        name, model = ("simple", "medium", "complex")[tier], ("small", "middle", "large")[tier]
        cost = EACH * 10.0 ** (tier - 7)
        changes = {"tier": name, "resolved_model": model, "outcome_served_group": model, "outcome_cost": cost}
        propensity = 0.8 if tier == greedy else 0.1
        rows.append(msgspec.structs.replace(row, propensity=propensity, explored=tier != greedy, **changes))
    arguments = ("-c", config_file(), "--file", export(tmp_path / "rows.jsonl", rows), "--share", "simple=60")
    found = json.loads(run(*arguments, "--json").stdout)
    (now,) = [each for each in found["off_policy"] if (each["policy"], each["reward"]) == ("now", "cost")]
    real = EACH * (31 * 1e-7 + 35 * 1e-6 + 35 * 1e-5) / 101
    assert now["doubly_robust"]["low"] < real < now["doubly_robust"]["high"]
    assert "off-policy, from explored requests: proposed: cost" in run(*arguments).stdout
