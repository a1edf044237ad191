"""`bsgateway replay` and `calibrate` on the log of a real PostgreSQL, which decisions of a real gateway have filled."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from bsgateway.cli import main
from bsgateway.core import core
from bsgateway.decision import Comparison, Decision, Outcome, Reason, now
from bsgateway.errors import LearningError
from bsgateway.gateway import Gateway, load
from bsgateway.learn.model_file import Model
from bsgateway.learn.offpolicy_log import evaluate_log, lines
from bsgateway.model_header import ModelHeader
from bsgateway.past import FETCH_ROWS, Past, read_file, stream
from bsgateway.rows import Item
from bsgateway.store import Store
from builders import id_at, make_outcome, make_texts
from statements import ask

CONFIG = """\
model_list:
  - model_name: small
    litellm_params: {model: openai/small, api_key: none}
    model_info: {input_cost_per_token: 0.0000001, output_cost_per_token: 0.0000004, max_input_tokens: 100000}
  - model_name: large
    litellm_params: {model: openai/large, api_key: none}
    model_info: {input_cost_per_token: 0.00001, output_cost_per_token: 0.00004, max_input_tokens: 1000000}
routing:
  fallback_tier: low
  aliases: {auto: auto_route}
  session: {horizon_turns: 0}
  tiers: # cheapest first
    low: { score_range: [0, 30], model: small } # for most
    high: { score_range: [31, 100], model: large }
"""
EASY = "What is the capital of France?"
HARD = "Prove that the algorithm is correct, derive its complexity step by step, and analyze the race condition."
DAY = timedelta(days=1)


@pytest.fixture
def config(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration in force; the directory of the test is the working directory."""
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("BSGATEWAY_CONFIG", str(path))
    return path


def write(dsn: str, *records: Item) -> None:
    async def copy() -> None:
        async with await Store.connect(dsn) as store:
            await store.copy(records)

    asyncio.run(copy())


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    if not isinstance(result.exception, (SystemExit, type(None))):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def found(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def decided(gateway: Gateway, words: str, hours: float, **fields: Any) -> Decision:
    """What the gateway decides for an ask, so many hours ago."""
    moment = now() - timedelta(hours=hours)
    decision = gateway.decide({"model": "auto", "messages": [{"role": "user", "content": words}]})
    decision_id = id_at(moment, random.getrandbits(60))
    return msgspec.structs.replace(decision, decision_id=decision_id, created_at=moment, **fields)


def answered(decision: Decision, tokens: int = 1_000) -> Iterator[Item]:
    yield decision
    yield make_outcome(
        decision, served_group=decision.resolved_model, prompt_tokens=tokens, completion_tokens=tokens // 4,
        cache_read_tokens=None, cache_write_tokens=None, cost=0.001,
    )  # fmt: skip


def traffic(gateway: Gateway, rows: int = 300) -> list[Item]:
    """Asks of all lengths over the last five days, three to a conversation, some of them compared."""
    draw = random.Random(7)
    items: list[Item] = []
    for each in range(rows):
        hard = ("", "", "", "Prove it.", "Prove the theorem.", HARD)[draw.randrange(6)]
        words = " ".join([hard or EASY, "word " * draw.randrange(400)])
        decision = decided(gateway, words, 120 - each * 119 / rows, conversation_id=f"{each // 3:032x}")
        items += answered(decision)
        items.append(make_texts(decision, ask=words))
        if draw.random() < 0.4:
            weak = min(max(0.9 - (decision.raw_score or 0) / 100 + draw.gauss(0, 0.05), 0), 1)
            items.append(
                Comparison(
                    decision_id=decision.decision_id, created_at=now(), weak_tier="low", strong_tier="high",
                    weak_model="small", strong_model="large", weak_score=weak, strong_score=0.95, judge="match",
                    share=0.4,
                )
            )  # fmt: skip
    return items


def other(path: Path, low: int, **routing: Any) -> Path:
    """The configuration with another border, in a file beside it."""
    whole = yaml.safe_load(CONFIG)
    whole["routing"]["tiers"]["low"]["score_range"] = [0, low]
    whole["routing"]["tiers"]["high"]["score_range"] = [low + 1, 100]
    whole["routing"] |= routing
    beside = path.with_name("other.yaml")
    beside.write_text(yaml.safe_dump(whole))
    return beside


# The rows


def test_rows_of_the_database_are_those_of_an_export(dsn: str, config: Path, tmp_path: Path) -> None:
    items = traffic(load(config), FETCH_ROWS + 20)
    write(dsn, *items)
    first = next(item for item in items if isinstance(item, Decision))
    for minutes, rating in ((1, 0.25), (5, 0.75)):
        ask(dsn, "INSERT INTO routing_feedback (decision_id, created_at, source, rating) VALUES ($1, $2, 'u', $3)",
            first.decision_id, now() + timedelta(minutes=minutes), rating)  # fmt: skip

    async def all_rows(texts: bool) -> list[list[Past]]:
        async with await Store.connect(dsn) as store:
            return [batch async for batch in stream(store, now() - 30 * DAY, now(), texts)]

    batches = asyncio.run(all_rows(texts=True))
    assert [len(batch) for batch in batches] == [FETCH_ROWS, 20]
    run("logs", "export", "--since", "30d", "--texts", "-o", "rows.jsonl")
    rows = [row for batch in batches for row in batch]
    assert rows == [row for batch in read_file(tmp_path / "rows.jsonl") for row in batch]
    assert (rows[0].rating, rows[0].decision_id) == (0.75, first.decision_id)
    assert sum(row.weak_score is not None for row in rows) == sum(isinstance(item, Comparison) for item in items)
    assert all(row.ask for row in rows)
    assert all(row.ask is None for batch in asyncio.run(all_rows(texts=False)) for row in batch)


# Replay


def test_the_configuration_in_force_moves_nothing(dsn: str, config: Path) -> None:
    write(dsn, *traffic(load(config)))
    report = found("replay")
    assert (report["requests"], report["scored"]["kept"]) == (300, 300)
    assert report["moved"]["low"]["high"] == report["moved"]["high"]["low"] == 0
    assert report["moved"]["low"]["low"] > 50
    assert report["moved"]["high"]["high"] > 20
    assert report["costs"]["before"] == report["costs"]["after"] > 0
    assert report["logged_cost"] == pytest.approx(0.3)


def test_another_border_moves_and_saves(dsn: str, config: Path) -> None:
    items = traffic(load(config))
    write(dsn, *items)
    decisions = [item for item in items if isinstance(item, Decision)]
    between = [each for each in decisions if each.complexity_score is not None and 31 <= each.complexity_score <= 60]
    report = found("replay", "--config", other(config, 60), "--days", 30)
    assert report["moved"]["high"]["low"] == len(between) > 0
    assert report["moved"]["low"]["high"] == 0
    saved = len(between) * 2_000 * (1e-5 - 1e-7)
    assert report["costs"]["before"] - report["costs"]["after"] == pytest.approx(saved)
    assert report["costs"]["low"] < -saved < report["costs"]["high"] < 0
    (line,) = [each for each in report["reasons"] if each["reason"] == "score"]
    assert line["down"] == len(between)
    ids = {str(each.decision_id) for each in between}
    assert {each["decision_id"] for each in report["disagreements"]} <= ids
    assert all(each["ask"] is None for each in report["disagreements"])
    assert (
        "ask"
        not in run("replay", "--config", other(config, 60), "--days", 1).stdout.split("Strongest")[-1].split("\n")[2]
    )


def test_the_time_is_the_last_days(dsn: str, config: Path) -> None:
    gateway = load(config)
    write(dsn, *(item for hours in (1, 30, 100) for item in answered(decided(gateway, EASY, hours))))
    assert [found("replay", "--days", days)["requests"] for days in (1, 2, 7)] == [1, 2, 3]
    assert found("replay", "--days", 0.001)["requests"] == 0


def test_text_is_shown_only_if_asked_for_and_kept(dsn: str, config: Path) -> None:
    gateway = load(config)
    kept, lost = (decided(gateway, HARD, hours) for hours in (1, 2))
    write(dsn, *answered(kept), *answered(lost), make_texts(kept, ask=HARD))
    arguments = ("replay", "--config", other(config, 99))
    assert HARD not in run(*arguments).stdout
    shown = run(*arguments, "--show-text").stdout
    assert shown.count(HARD) == 1
    assert f"{kept.decision_id}: {HARD}" in shown
    assert "high -> low" in shown


def test_a_conversation_goes_on_from_before_the_time(dsn: str, config: Path) -> None:
    gateway = load(config)
    first = decided(gateway, HARD, 24.2, conversation_id="c" * 32)
    then = decided(gateway, EASY, 23.8, conversation_id="c" * 32, previous_model="large", tier="high",
                   resolved_model="large", reason=Reason.SESSION_KEPT)  # fmt: skip
    write(dsn, *answered(first), *answered(then))
    report = found("replay", "--days", 1)
    assert report["requests"] == 1
    assert report["moved"]["high"] == {"low": 0, "high": 1}
    assert report["assumed"]["joined"] == 0
    alone = found("replay", "--days", 1, "--config", other(config, 30, session={"enabled": False}))
    assert alone["moved"]["high"] == {"low": 1, "high": 0}


def test_the_database_is_that_of_the_log_and_biases_are_exchanged(dsn: str, config: Path) -> None:
    gateway = load(config)
    write(dsn, *answered(decided(gateway, EASY, 1)))
    elsewhere = {"database_url": "postgresql://nobody@127.0.0.1:1/none"}
    report = found("replay", "--config", other(config, 30, bias=100, collector=elsewhere))
    assert report["moved"]["low"] == {"low": 0, "high": 1}
    same = found("replay", "--config", other(config, 30, bias=100), "--logged-by", "other.yaml")
    assert same["moved"]["low"] == {"low": 1, "high": 0}  # the logged bias, 0, is taken for one that a key took back


def test_a_row_of_another_version(dsn: str, config: Path) -> None:
    write(dsn, *answered(decided(load(config), EASY, 1)))
    ask(dsn, """UPDATE routing_logs SET skipped = '[{"model": "m", "reason": "later"}]'""")
    assert "the log holds a row of another version" in run("replay", code=1).stderr
    assert "upgrade bsgateway" in run("calibrate", "--share", "low=50", code=1).stderr


def test_an_empty_log(dsn: str, config: Path) -> None:
    out = run("replay").stdout
    assert out.startswith("0 requests, ")
    assert "no bodies" in out


def test_files_are_replayed_as_before(dsn: str, config: Path, tmp_path: Path) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": EASY}]}
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps({"session": "s", "body": body}) + "\n")
    assert found("replay", path)["total"]["requests"] == 1
    result = run("replay", path, "--days", 3, code=2)
    assert "--days is for the log, and does not go with FILES" in result.stderr
    for strategy in ("static", "llm"):
        assert "--model does not go" in run("replay", "--strategy", strategy, "--model", path, code=2).stderr


def test_replay_needs_no_package_of_training(dsn: str, config: Path) -> None:
    write(dsn, *traffic(load(config), 30))
    code = (
        "import sys\n"
        "for name in ('sklearn', 'scipy', 'numpy', 'safetensors'): sys.modules[name] = None\n"
        "from bsgateway.cli import main\n"
        "main(['replay', '--json'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)["costs"]["low"] == 0.0


def test_another_model_scores_what_kept_its_words(dsn: str, config: Path, tmp_path: Path) -> None:
    """A model that gives every request 90, and rows of which a third kept no words."""
    flat = Model(
        words=np.zeros(core.WORD_BUCKETS),
        knots=np.zeros((len(core.INPUT_NAMES), 1)),
        curves=np.zeros((len(core.INPUT_NAMES), 1)),
        bias=0.0,
        calibration=np.array([[-1.0, 1.0], [0.9, 0.9]]),
        seen=np.empty(0, np.uint32),
        header=ModelHeader(kind="trained", target="fail", created="2026-01-01T00:00:00Z", rows=1),
    ).to_bytes()
    (tmp_path / "flat.safetensors").write_bytes(flat)
    gateway = load(config)
    for each in range(30):
        decision = decided(gateway, EASY, 1 + each / 10)
        write(dsn, *answered(decision), *([make_texts(decision, ask=EASY)] if each % 3 else []))
    report = found("replay", "--model", "flat.safetensors")
    assert (report["strategy"], report["scorer_id"]) == ("ml", core.LearnedModel(flat).id)
    assert report["moved"]["low"] == {"low": 0, "high": 20}
    assert (report["scored"]["anew"], report["scored"]["no_words"]) == (20, 10)
    assert {each["new_score"] for each in report["disagreements"]} == {90}
    assert "10 rows left out: their score needs the words" in run("replay", "--model", "flat.safetensors").stdout
    (tmp_path / "torn.safetensors").write_bytes(flat[:-1])
    assert "torn.safetensors refused: " in run("replay", "--model", "torn.safetensors", code=1).stderr


# Calibrate


def test_calibrate_from_the_log_and_from_its_export(dsn: str, config: Path) -> None:
    write(dsn, *traffic(load(config)))
    run("logs", "export", "--since", "30d", "-o", "rows.jsonl")
    log = found("calibrate", "--share", "low=66")
    file = found("calibrate", "--share", "low=66", "--file", "rows.jsonl")
    ranges = [[line["score_range"] for line in each["calibration"]["proposed"]["tiers"]] for each in (log, file)]
    assert ranges[0] == ranges[1]
    low, high = log["calibration"]["proposed"]["tiers"]
    assert low["share"]["value"] == pytest.approx(0.66)
    assert low["share"]["low"] < low["share"]["value"] < low["share"]["high"]
    assert low["cost"]["value"] == pytest.approx(2_000 * 1e-7)
    assert high["cost"]["value"] == pytest.approx(2_000 * 1e-5)
    assert log["calibration"]["days"] == pytest.approx(5, abs=0.1)
    assert log["calibration"]["labels"]["comparison"]["low"] > 50


def test_what_is_written_does_what_was_said(dsn: str, config: Path) -> None:
    """A quality is kept, the file changes in its numbers only, and a replay of the new file finds the shares."""
    write(dsn, *traffic(load(config)))
    before = config.read_text()
    Path("before.yaml").write_text(before)
    result = found("calibrate", "--quality", "0.8", "--write")
    calibration = result["calibration"]
    assert calibration["quality_from"] == "comparison"
    assert calibration["proposed"]["kept"]["value"] >= 0.8
    assert calibration["proposed"]["monthly"]["value"] < calibration["now"]["monthly"]["value"] * 3
    (low, high) = (line["score_range"] for line in calibration["proposed"]["tiers"])
    assert config.read_text() == before.replace("[0, 30]", str(low)).replace("[31, 100]", str(high))
    report = found("replay", "--logged-by", "before.yaml")
    share = sum(row["low"] for row in report["moved"].values()) / 300
    assert share == pytest.approx(calibration["proposed"]["tiers"][0]["share"]["value"])


def test_the_report_of_calibrate_for_people(dsn: str, config: Path) -> None:
    gateway = load(config)
    write(dsn, *traffic(gateway), *answered(decided(gateway, EASY, 1, reason=Reason.SIDE_REQUEST)))
    out = run("calibrate", "--monthly-usd", "3").stdout
    assert "300 requests with a score of static, 5.0 days." in out
    assert "1 requests are not in it, as no border moves them" in out
    assert yaml.safe_load(out[out.index("routing:") :])["routing"]["tiers"]["low"]["model"] == "small"
    assert config.read_text() == CONFIG


def test_calibrate_without_a_log(dsn: str, config: Path) -> None:
    assert "0 scored requests do not suffice" in run("calibrate", "--share", "low=50", code=1).stderr


# Off-policy


def test_explored_requests_tell_what_other_tiers_do(dsn: str, config: Path, tmp_path: Path) -> None:
    """Half of the requests go to a tier at random; half of the answers of the lower one fail."""
    draw = random.Random(11)
    gateway = load(config)
    items: list[Item] = []
    for each in range(800):
        decision = decided(gateway, draw.choice((EASY, HARD)), 1 + each / 10)
        own = decision.tier
        tier = draw.choice(("low", "high")) if draw.random() < 0.5 else own
        decision = msgspec.structs.replace(
            decision, tier=tier, resolved_model={"low": "small", "high": "large"}[tier or ""],
            propensity=0.75 if tier == own else 0.25, explored=tier != own,
        )  # fmt: skip
        _, outcome = answered(decision)
        assert isinstance(outcome, Outcome)
        failed = tier == "low" and draw.random() < 0.5
        items += [decision, msgspec.structs.replace(outcome, finish_reason="refusal" if failed else "stop")]
    write(dsn, *items)
    evaluation = evaluate_log(dsn, config, tmp_path, 30)
    out = run("evaluate", "--log").stdout
    assert out.startswith("800 of 800 requests could have gone to several tiers by chance; scored by static\n")
    assert "\nalways low: failure 0." in out
    assert found("evaluate", "--log", "--days", 30)["explored"] == 800
    assert "takes no files" in run("evaluate", "--log", "--weak", "small", code=2).stderr
    assert (evaluation.requests, evaluation.explored, evaluation.strategy) == (800, 800, "static")
    truth = {"as configured": 0.25, "always low": 0.5, "always high": 0.0}
    for each in evaluation.comparisons:
        if each.reward == "failure":
            assert each.snips is not None
            assert each.doubly_robust is not None
            assert each.snips.value == pytest.approx(truth[each.policy], abs=0.06)
            assert each.doubly_robust.value == pytest.approx(truth[each.policy], abs=0.06)
    assert {each.reward for each in evaluation.comparisons} == {"cost", "failure"}
    assert any(line.startswith("always low: failure 0.") for line in lines(evaluation.comparisons))
    shown = run("calibrate", "--share", "low=50").stdout
    assert "off-policy, from explored requests: now: failure 0." in shown


def test_a_log_without_exploration_has_no_estimate(dsn: str, config: Path, tmp_path: Path) -> None:
    write(dsn, *traffic(load(config), 120))
    with pytest.raises(LearningError, match=r"no explored requests.*learning\.explore"):
        evaluate_log(dsn, config, tmp_path, 30)
    assert "no off-policy estimate" in run("evaluate", "--log", code=1).stderr
    assert found("calibrate", "--share", "low=50")["off_policy"] == []
