"""RouteLLM's protocol on cases that are worked out by hand, and that nothing is measured on what it has seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bsgateway.cli import main
from bsgateway.errors import LearningError
from bsgateway.learn import evaluate
from bsgateway.learn.evaluate import baselines, complete, cross_validated, few_labels, of_model, summary, without_seen
from bsgateway.learn.fit import fit
from bsgateway.learn.protocol import SHARES, Ranking, area, bootstrap, gap, pgr
from bsgateway.learn.rows import Rows
from labelled_log import Ask, labelled_rows, make_asks


@pytest.fixture(scope="module")
def rows() -> Rows:
    return complete(labelled_rows(make_asks(400)))


# The protocol


def test_the_best_order_of_ten() -> None:
    gain = np.array([1.0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    ranking = Ranking(np.arange(10.0)[::-1])
    np.testing.assert_allclose(pgr(*ranking.curve(gain)), [0, 0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    assert ranking.apgr(gain) == pytest.approx(0.1 * (0.25 + 0.75 + 8))  # trapezoids over ten bins
    assert ranking.cpt(0.5, gain) == pytest.approx(0.1)
    assert ranking.cpt(0.8, gain) == pytest.approx(0.16)


def test_the_worst_order_and_a_loss_on_the_way() -> None:
    gain = np.array([-1.0, 0, 0, 0, 2])
    ranking = Ranking(np.arange(5.0)[::-1])
    # By fifths -1 -1 -1 -1 1, so between them on the ten bins -0.5 first and 0 at nine tenths.
    np.testing.assert_allclose(pgr(*ranking.curve(gain)), [0, -0.5, -1, -1, -1, -1, -1, -1, -1, 0, 1])
    assert ranking.apgr(gain) == pytest.approx(-0.7)
    assert ranking.cpt(0.5, gain) == pytest.approx(0.95)


def test_fewer_rows_than_bins() -> None:
    assert Ranking(np.array([2.0, 1.0])).apgr(np.array([1.0, 0.0])) == pytest.approx(0.75)


def test_equal_scores_give_the_expectation_over_random_orders() -> None:
    random = np.random.default_rng(1)
    score, gain = random.integers(0, 4, 30).astype(float), random.integers(-1, 3, 30).astype(float)
    drawn = []
    for _ in range(4_000):
        order = np.lexsort((random.random(30), -score))
        line = np.append(0.0, np.cumsum(gain[order])) / gain.sum()
        drawn.append(np.interp(SHARES, np.linspace(0, 1, 31), line))
    np.testing.assert_allclose(pgr(*Ranking(score).curve(gain)), np.mean(drawn, axis=0), atol=0.02)


def test_chance_has_half_of_the_area() -> None:
    gain = np.random.default_rng(2).integers(-1, 3, 77).astype(float)
    ranking = Ranking(np.zeros(77))
    assert ranking.apgr(gain) == pytest.approx(0.5)
    assert (ranking.cpt(0.5, gain), ranking.cpt(0.8, gain)) == (pytest.approx(0.5), pytest.approx(0.8))


def test_a_weight_counts_as_so_many_rows() -> None:
    random = np.random.default_rng(3)
    score, gain = random.random(20), random.random(20)
    weight = random.integers(1, 4, 20)
    repeated = np.repeat(np.arange(20), weight)
    twice = Ranking(score[repeated]).apgr(gain[repeated])
    assert Ranking(score).apgr(gain, weight.astype(float)) == pytest.approx(twice)


def test_a_curve_like_a_published_one() -> None:
    """PGR 0.5 at 35 % and 0.8 at 72 % of the calls, as a table of RouteLLM gives CPT50 and CPT80."""
    calls, gained = np.array([0, 0.35, 0.72, 1.0]), np.array([0, 0.5, 0.8, 1.0])
    gain = np.repeat(np.diff(gained) / np.diff(calls), (np.diff(calls) * 100).round().astype(int))
    ranking = Ranking(np.arange(100.0)[::-1])
    assert 100 * ranking.cpt(0.5, gain) == pytest.approx(35)
    assert 100 * ranking.cpt(0.8, gain) == pytest.approx(72)
    exact = np.trapezoid(gained, calls) if hasattr(np, "trapezoid") else np.trapz(gained, calls)
    assert area(pgr(*ranking.curve(gain))) == pytest.approx(float(exact), abs=0.003)


def test_no_gap_no_figure(rows: Rows) -> None:
    with pytest.raises(LearningError, match="not better than the weak one"):
        gap(replace(rows, strong=rows.weak))


def test_the_interval_has_the_estimate_and_is_narrower_with_more_rows(rows: Rows) -> None:
    scores = rows.length
    few = np.arange(100)
    wide = bootstrap({"length": scores[few]}, rows[few], draws=200)["length"]
    narrow = bootstrap({"length": scores}, rows, draws=200)["length"]
    for draws in (wide, narrow):
        assert np.quantile(draws[1:], 0.025) < draws[0] < np.quantile(draws[1:], 0.975)
    assert np.std(narrow[1:]) < np.std(wide[1:])
    np.testing.assert_array_equal(narrow, bootstrap({"length": scores}, rows, draws=200)["length"])


def test_draws_are_of_whole_groups(rows: Rows) -> None:
    same = replace(rows, group=np.zeros(len(rows), np.int64))
    assert np.ptp(bootstrap({"length": rows.length}, same, draws=5)["length"]) == 0.0


# Trials


def test_a_trial_tests_no_row_and_no_prompt_that_it_trained_on(rows: Rows) -> None:
    group = np.arange(len(rows)) // 3
    grouped = replace(rows, group=group)
    for trial in few_labels(grouped, 100, 3, None, baselines(grouped)):
        assert len(trial.test) <= len(rows) - 100
        tested = set(group[trial.test])
        # What is left out of the test was trained on, and no group is on both sides.
        assert not tested & set(np.delete(group, trial.test))


def test_the_planted_signal_is_found(rows: Rows) -> None:
    found = summary(rows, cross_validated(rows, 5, None, baselines(rows)), draws=100)
    best = Ranking(gap(rows)).apgr(gap(rows))
    assert found["ml"][0].apgr - 0.5 > 0.6 * (best - 0.5)
    assert found["random"][0].apgr == pytest.approx(0.5)
    assert found["random"][0].low < 0.5 < found["random"][0].high
    assert found["ml"][0].low > found["length"][0].high


def test_shuffled_labels_give_chance(rows: Rows) -> None:
    shuffled = replace(rows, weak=np.random.default_rng(0).permutation(rows.weak))
    for trials in (
        cross_validated(shuffled, 5, None, baselines(shuffled)),
        few_labels(shuffled, 200, 5, None, baselines(shuffled)),
    ):
        score, _ = summary(shuffled, trials, draws=200)["ml"]
        assert score.low < 0.5 < score.high


def test_a_model_is_not_measured_on_what_it_has_seen(rows: Rows) -> None:
    model = fit(rows[np.arange(250)], "gain", None)
    trial = of_model(rows, model, baselines(rows))[0]
    assert set(trial.test) == set(np.flatnonzero(~np.isin(rows.prompts, rows.prompts[:250])))
    with pytest.raises(LearningError, match=r"--cv 5 or --labels.*--train-on"):
        of_model(rows, fit(rows, "gain", None), baselines(rows))


def test_a_prior_that_has_seen_a_prompt_is_left_out(rows: Rows) -> None:
    model = fit(rows[np.arange(250)], "gain", None)
    assert without_seen(rows, model)[0] is None
    assert without_seen(rows, model)[1].startswith("left out, ")
    fresh = np.flatnonzero(~np.isin(rows.prompts, model.seen))
    assert without_seen(rows[fresh], model)[0] is model


# The command


def write(path: Path, asks: list[Ask]) -> Path:
    lines = [
        {"prompt": ask.text, "source": "exam", "outcomes": {"small": float(not ask.fails), "large": 1.0}}
        for ask in asks
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def call(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments), "--weak", "small", "--strong", "large"])


@pytest.mark.parametrize("how", [("--cv", 3), ("--labels", 100, "--splits", 2)])
def test_json_has_the_four_routers(tmp_path: Path, how: tuple[object, ...]) -> None:
    path = write(tmp_path / "exam.jsonl", make_asks(300))
    result = call(path, *how, "--json", "--state", tmp_path)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["rows"], found["strong"]) == (300, 1.0)
    assert list(found["routers"]) == ["ml", "static", "length", "random"]
    for score in found["routers"].values():
        assert set(score) == {"apgr", "low", "high", "cpt50", "cpt80"}
        assert score["low"] <= score["apgr"] <= score["high"]
    assert found["routers"]["random"]["cpt80"] == pytest.approx(80)


def test_train_on_other_files_and_a_plot(tmp_path: Path) -> None:
    tested = write(tmp_path / "exam.jsonl", make_asks(300))
    others = [write(tmp_path / f"{seed}.jsonl", make_asks(200, seed=seed)) for seed in (1, 2)]
    plot = tmp_path / "curves.svg"
    result = call(tested, "--train-on", *others, "--json", "--plot", plot)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert "1.jsonl, 2.jsonl" in found["trained_on"]
    assert found["routers"]["ml"]["low"] > 0.5
    assert plot.read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_files_of_the_same_prompts_teach_nothing(tmp_path: Path) -> None:
    tested = write(tmp_path / "exam.jsonl", make_asks(300))
    result = call(tested, "--train-on", tested, "--state", tmp_path)
    assert result.exit_code == 1
    assert f"all prompts of {tested} are in {tested}, too: train on files of other prompts" in result.output


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    tested = write(tmp_path / "exam.jsonl", make_asks(300))
    (tmp_path / "model.safetensors").write_bytes(b"no model")
    result = call(tested, "--state", tmp_path)
    assert result.exit_code == 1
    assert f"model file {tmp_path / 'model.safetensors'}: no model that the gateway can serve" in result.output


def test_two_ways_at_once_and_a_file_too_many_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "exam.jsonl", make_asks(30))
    assert call(path, "--cv", 5, "--labels", 20).exit_code == 2
    assert call(path, path).exit_code == 2


def test_too_few_rows_for_the_labels(tmp_path: Path) -> None:
    result = call(write(tmp_path / "exam.jsonl", make_asks(150)), "--labels", 100, "--state", tmp_path)
    assert result.exit_code == 1
    assert "fewer --labels" in result.output


def test_the_module_that_train_needs_has_its_bootstrap() -> None:
    assert evaluate.bootstrap is bootstrap
