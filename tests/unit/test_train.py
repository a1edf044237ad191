"""Training end to end on a small planted signal: it is found, nothing worse is promoted, and nothing leaks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bsgateway.check import load_config
from bsgateway.cli import main
from bsgateway.core import core
from bsgateway.errors import LearningError, NotBetterError
from bsgateway.learn.fit import fit
from bsgateway.learn.labels import Label
from bsgateway.learn.model_file import Model
from bsgateway.learn.promotion import list_versions, promote
from bsgateway.learn.rows import Rows
from bsgateway.learn.spill import Scratch
from bsgateway.learn.split import split
from bsgateway.learn.train import (
    Incumbent,
    Interval,
    Trained,
    calibration,
    check_enough,
    choose_target,
    decide,
    margins,
    quality,
    strongest,
    train,
    usable,
)
from bsgateway.learn_cli import KEPT, Bytes
from labelled_log import Ask, labelled_rows, make_asks

ROWS = 700
DOCS = Path(__file__).parents[2] / "docs" / "training.md"


def fitted(rows: Rows, directory: Path, memory: int = 10**9, incumbent: Incumbent | None = None) -> Trained:
    incumbent = incumbent or Incumbent("the static score", None, "static")
    return train(rows, True, incumbent, None, {"test": True}, Scratch(directory), memory)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model of the planted signal."""
    return fitted(labelled_rows(make_asks(ROWS)), tmp_path_factory.mktemp("good"))


# The planted signal, and none


def test_the_planted_signal_is_found(good: Trained) -> None:
    verdict = good.verdict
    assert verdict.better, verdict.why
    assert verdict.apgr["new"].low > 0.6
    assert verdict.apgr["new"].value > verdict.apgr["length"].high
    assert (verdict.target, verdict.rows, verdict.held_out, verdict.conversations) == ("gain", 560, 140, 140)
    assert good.model.header.kind == "trained"
    assert good.model.header.labels == {"dual_run": 560}
    assert good.model.header.held_out["rows"] == 140
    assert good.model.header.held_out["apgr"]["value"] == verdict.apgr["new"].value
    assert set(good.model.header.held_out["others"]) == {"now", "static", "length"}
    assert good.model.header.provenance == [{"test": True}]
    assert verdict.strongest[0].input == "words"
    core.LearnedModel(good.model.to_bytes())


def test_probabilities_are_calibrated(good: Trained) -> None:
    bins = good.verdict.calibration
    assert sum(each.rows for each in bins) == 140
    assert [each.predicted for each in bins] == sorted(each.predicted for each in bins)
    low, high = ([each.observed for each in part] for part in (bins[:3], bins[-3:]))
    assert np.mean(low) < 0.4 < 0.6 < np.mean(high)
    assert np.mean([each.predicted for each in bins]) == pytest.approx(
        np.mean([each.observed for each in bins]), abs=0.1
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_labels_that_mean_nothing_teach_nothing(tmp_path: Path, seed: int) -> None:
    rows = labelled_rows(make_asks(ROWS))
    shuffled = replace(rows, weak=np.random.default_rng(seed).permutation(rows.weak))
    verdict = fitted(shuffled, tmp_path).verdict
    assert verdict.apgr["new"].low <= 0.5 <= verdict.apgr["new"].high
    assert not verdict.better


def test_an_ask_that_comes_again_is_no_leak(tmp_path: Path) -> None:
    """Labels by chance, but always the same for an ask: who knows it by heart would seem to know more."""
    asks = make_asks(1_200, signal=False)
    newest = np.random.default_rng(5).permutation(np.concatenate([np.arange(300), np.arange(1_000, 1_200)]))
    rows = labelled_rows([*asks[:1_000], *(asks[place] for place in newest)])
    verdict = fitted(rows, tmp_path).verdict
    assert verdict.repeated + verdict.held_out == 300
    assert verdict.repeated > 150
    assert verdict.apgr["new"].low <= 0.5 <= verdict.apgr["new"].high
    # The same rows without a look at their asks: the leak would be seen.
    blind = replace(rows, prompts=np.arange(1, len(rows) + 1, dtype=np.uint32))
    assert fitted(blind, tmp_path).verdict.apgr["new"].low > 0.55


@pytest.mark.parametrize("known", [1.0, 0.005])
def test_what_a_prior_knows_by_heart_is_no_leak(tmp_path: Path, known: float) -> None:
    """Labels by chance, and a prior that was made of them: what starts from it would seem to know more."""
    rows = labelled_rows(make_asks(1_000, signal=False))
    prior = fit(rows, "fail", None)
    static = Incumbent("the static score", None, "static")
    blind = replace(prior, seen=np.empty(0, np.uint32))
    assert train(rows, True, static, blind, {}, Scratch(tmp_path), 10**9).verdict.apgr["new"].low > 0.55
    few = replace(prior, seen=np.sort(rows.prompts[-round(known * len(rows)) :]))
    verdict = train(rows, True, static, few, {}, Scratch(tmp_path), 10**9).verdict
    if known == 1.0:
        assert verdict.apgr == train(rows, True, static, None, {}, Scratch(tmp_path), 10**9).verdict.apgr
        assert verdict.held_out == 200
    else:
        assert (verdict.held_out, verdict.repeated, "prior" in verdict.apgr) == (195, 5, True)


def test_a_conversation_is_no_leak(tmp_path: Path) -> None:
    """Each conversation has a subject and an outcome of its own, which chance has chosen."""
    chance = np.random.default_rng(6)
    words = ["".join(chance.choice(list("bdfgklmnprst"), 6)) for _ in range(250)]
    fails = chance.random(250) < 0.5
    place = chance.permutation(np.repeat(np.arange(250), 4))
    asks = [Ask(f"{words[of]} {words[of]}x {chance.integers(10**9)}", bool(fails[of])) for of in place]
    rows = labelled_rows(asks, group=place)
    assert fitted(rows, tmp_path).verdict.apgr["new"].low <= 0.5
    assert fitted(labelled_rows(asks), tmp_path).verdict.apgr["new"].low > 0.6


def test_rows_in_files_give_the_same_model(good: Trained, tmp_path: Path) -> None:
    again = fitted(labelled_rows(make_asks(ROWS)), tmp_path, memory=10_000)
    assert list(tmp_path.iterdir())
    np.testing.assert_allclose(again.model.words, good.model.words, atol=1e-6)
    np.testing.assert_allclose(again.model.curves, good.model.curves, atol=1e-6)
    assert again.verdict.apgr["new"].value == pytest.approx(good.verdict.apgr["new"].value, abs=1e-3)


# What is learned, and from what


def test_the_gain_is_learned_from_comparisons() -> None:
    rows = labelled_rows(make_asks(300))
    assert choose_target(rows) == "gain"
    assert len(usable(rows, "gain")) == 300
    rows.strong[199:] = np.nan
    assert choose_target(rows) == "fail"
    rows.strong[:200] = 1.0
    assert choose_target(rows) == "gain"
    assert len(usable(rows, "gain")) == 200
    rows.weight[200:] = 3.0
    assert choose_target(rows) == "fail"
    rows.weak[:10] = np.nan
    assert len(usable(rows, "fail")) == 290


def test_outcomes_of_the_cheap_model_are_enough(tmp_path: Path) -> None:
    rows = labelled_rows(make_asks(ROWS))
    trained = fitted(replace(rows, strong=np.full(len(rows), np.nan)), tmp_path)
    assert trained.verdict.target == trained.model.header.target == "fail"
    assert trained.verdict.better, trained.verdict.why


def opinions(asks: Sequence[Ask]) -> Rows:
    """The same asks with nothing but a local LLM's verdicts, which are those of the outcomes."""
    count = len(asks)
    return labelled_rows(
        asks,
        strong=np.full(count, np.nan),
        weight=np.full(count, Label.VERDICT.weight),
        source=np.full(count, Label.VERDICT.value, object),
    )


def test_a_log_of_nothing_but_verdicts_is_imitated(good: Trained, tmp_path: Path) -> None:
    _, verdict = fitted(opinions(make_asks(ROWS)), tmp_path)
    assert (verdict.better, verdict.target) == (True, "fail")
    assert verdict.labels == {"verdict": verdict.rows}
    assert verdict.opinions == verdict.held_out == good.verdict.held_out
    assert verdict.apgr["new"].low > 0.6


def test_models_are_measured_on_outcomes_where_there_are_enough(tmp_path: Path) -> None:
    """A local LLM is wrong about everything, and has an opinion on far more requests than have an outcome."""
    count = 3 * ROWS
    asks = make_asks(count)
    known = np.arange(count) % 3 == 0
    outcomes, verdicts = labelled_rows(asks), opinions(asks)
    rows = replace(
        outcomes,
        weak=np.where(known, outcomes.weak, 1.0 - outcomes.weak),
        strong=np.full(count, np.nan),
        weight=np.where(known, outcomes.weight, verdicts.weight),
        source=np.where(known, outcomes.source, verdicts.source),
    )
    _, verdict = fitted(rows, tmp_path)
    assert verdict.opinions == 0
    assert verdict.held_out == pytest.approx(count / 15, abs=25)
    assert verdict.labels["verdict"] == pytest.approx(2 * verdict.labels["dual_run"], rel=0.1)
    assert verdict.better, verdict.why  # the outcomes have the say

    few = replace(rows, source=np.where(np.arange(count) % 60 == 0, rows.source, verdicts.source))
    _, verdict = fitted(few, tmp_path)
    assert 0 < verdict.opinions < verdict.held_out


def test_too_few_labels() -> None:
    rows = labelled_rows(make_asks(120))
    check_enough(rows, 600, 0)
    with pytest.raises(
        LearningError, match=r"150 rows have one; held out are 75 rows, of which .* fails \d+\. At least"
    ):
        check_enough(rows[:75], 150, 0)
    with pytest.raises(LearningError, match=r"held out are 75 rows \(25 more repeat an ask that is trained on\)"):
        check_enough(rows[:75], 150, 25)
    for weak, fails in ((0.0, 120), (1.0, 0)):
        with pytest.raises(LearningError, match=f"the cheap model fails {fails}"):
            check_enough(replace(rows, weak=np.full(120, weak)), 600, 0)


def test_what_is_trained_on_must_say_something(tmp_path: Path) -> None:
    rows = labelled_rows(make_asks(600))
    rows.weak[:480] = 1.0
    rows.weak[480:] = np.arange(120) % 2
    with pytest.raises(LearningError, match="the rows to train on all say the same"):
        fitted(rows, tmp_path)


# The guard


@pytest.mark.parametrize(
    ("new", "difference", "better", "why"),
    [
        (Interval(0.7, 0.6, 0.8), Interval(0.1, 0.01, 0.2), True, "+0.100 (+0.010 to +0.200) against the old one"),
        (Interval(0.7, 0.6, 0.8), Interval(0.1, 0.0, 0.2), False, "not certain that it is better"),
        (Interval(0.7, 0.6, 0.8), Interval(0.1, -0.01, 0.2), False, "not certain that it is better"),
        (Interval(0.6, 0.5, 0.7), Interval(0.1, 0.01, 0.2), False, "better than chance"),
        (Interval(0.6, float("nan"), 0.7), Interval(0.1, 0.01, 0.2), False, "better than chance"),
    ],
)
def test_only_what_is_certainly_better_is_promoted(new: Interval, difference: Interval, better: bool, why: str) -> None:
    found, said = decide(new, difference, "the old one")
    assert found is better
    assert why in said


def test_a_model_is_no_better_than_itself(good: Trained, tmp_path: Path) -> None:
    again = fitted(labelled_rows(make_asks(ROWS)), tmp_path, incumbent=Incumbent("itself", good.model))
    assert not again.verdict.better
    assert again.verdict.difference.value == pytest.approx(0.0, abs=1e-3)


def test_the_curve_is_what_routing_by_the_score_comes_to() -> None:
    weak = np.array([0.0, 1.0, 0.0, 1.0, 0.5])
    rows = labelled_rows(make_asks(5), weak=weak, weight=np.array([1.0, 1.0, 1.0, 1.0, 2.0]))
    curve = quality(np.array([9.0, 1.0, 8.0, 0.0, 5.0]), rows)
    assert [share for share, _ in curve] == pytest.approx(np.linspace(0.0, 1.0, 21))
    at = dict(curve)
    # Of 6 by weight: two that fail first, each a sixth, then the one that half fails, which counts twice.
    assert (at[0.0], at[1.0]) == (0.5, 1.0)
    assert np.interp([1 / 6, 2 / 6, 4 / 6], *zip(*curve, strict=True)) == pytest.approx([4 / 6, 5 / 6, 1.0], abs=0.01)
    by_chance = quality(np.zeros(5), rows)
    assert by_chance == tuple((round(share, 6), round(0.5 + share / 2, 6)) for share in np.linspace(0.0, 1.0, 21))


def test_the_curve_goes_with_the_model(good: Trained) -> None:
    verdict, header = good.verdict, good.model.header
    assert header.held_out["better"] is True
    assert header.held_out["curve"] == verdict.curve
    assert header.held_out["random_curve"] == verdict.random_curve
    assert header.held_out["difference"]["low"] == verdict.difference.low
    shares, means = np.array(verdict.curve).T
    _, chance = np.array(verdict.random_curve).T
    assert (shares[0], shares[-1], len(shares)) == (0.0, 1.0, 21)
    assert (means[0], means[-1]) == (chance[0], chance[-1])
    # The area between the two is what APGR is above a half.
    gap, width = chance[-1] - chance[0], shares[1]
    above = ((means - chance)[1:] + (means - chance)[:-1]).sum() / 2 * width / gap
    assert above + 0.5 == pytest.approx(verdict.apgr["new"].value, abs=0.02)


def test_margins_come_in_parts(good: Trained) -> None:
    rows = labelled_rows(make_asks(50))
    np.testing.assert_array_equal(margins(good.model, rows), good.model.margins(rows))
    assert len(margins(good.model, rows[:0])) == 0


def test_the_strongest_inputs_are_named_without_words(good: Trained) -> None:
    found = strongest(good.model, labelled_rows(make_asks(100)))
    assert {each.input for each in found} <= {"words", *core.INPUT_NAMES}
    assert [each.deviation for each in found] == sorted((each.deviation for each in found), reverse=True)
    assert len(calibration(np.linspace(0, 1, 5), labelled_rows(make_asks(5)))) == 5


# The command


@pytest.fixture
def run(config_file: Callable[..., Path], tmp_path: Path) -> Callable[..., Result]:
    """`bsgateway train` on a file of outcomes, with the strategy ml."""
    config = config_file(classifier={"strategy": "ml"})

    def command(asks: Sequence[Ask], *arguments: str, code: int = 0) -> Result:
        lines = [
            {"prompt": ask.text, "source": "made", "outcomes": {"w": float(not ask.fails), "s": 1.0}} for ask in asks
        ]
        path = tmp_path / "outcomes.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        given = ["--config", str(config), "--jsonl", str(path), "--weak", "w", "--strong", "s", *arguments]
        result = CliRunner().invoke(main, ["train", *given])
        if not isinstance(result.exception, (SystemExit, type(None))):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return command


def state(tmp_path: Path) -> dict[str, bytes]:
    directory = tmp_path / ".bsgateway"
    return (
        {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()} if directory.is_dir() else {}
    )


def versions_kept(tmp_path: Path) -> dict[str, bytes]:
    """Models among the versions, by their id."""
    files = (tmp_path / ".bsgateway" / "models").glob("*.safetensors")
    return {core.LearnedModel(path.read_bytes()).id: path.read_bytes() for path in files}


def test_a_good_model_is_promoted_and_a_worse_one_is_not(run: Callable[..., Result], tmp_path: Path) -> None:
    asks = make_asks(ROWS)
    dry = json.loads(run(asks, "--dry-run", "--json").stdout)
    assert (dry["promoted"], dry["dry_run"], dry["file"]) == (True, True, None)
    assert not any(name.startswith("model") for name in state(tmp_path))
    assert not versions_kept(tmp_path)

    first = run(asks)
    assert "promoted to" in first.stdout
    assert "now: the shipped prior" in first.stdout
    files = state(tmp_path)
    assert set(files) == {"model.safetensors", "model.md"}
    model = Model.from_bytes(files["model.safetensors"])
    assert model.header.kind == "trained"
    assert model.header.provenance == [{"files": ["outcomes.jsonl"], "weak": "w", "strong": "s"}]
    assert core.LearnedModel(files["model.safetensors"]).id in files["model.md"].decode()

    worse = run(make_asks(ROWS, seed=9, signal=False), code=KEPT)
    assert "not promoted, what runs now stays" in worse.stdout
    kept = state(tmp_path)
    assert {name: kept[name] for name in files} == files
    assert set(kept) - set(files) == {"model.not-promoted.md"}
    promoted_id = core.LearnedModel(files["model.safetensors"]).id
    versions = versions_kept(tmp_path)
    assert len(versions) == 2
    assert versions.pop(promoted_id) == files["model.safetensors"]

    forced = json.loads(run(make_asks(ROWS, seed=9, signal=False), "--force", "--json").stdout)
    assert (forced["promoted"], forced["forced"]) == (True, True)
    assert state(tmp_path)["model.safetensors"] != files["model.safetensors"]
    assert set(versions_kept(tmp_path)) == {promoted_id, *versions, forced["scorer_id"]}


def test_a_version_that_was_not_promoted_can_be(
    run: Callable[..., Result], config_file: Callable[..., Path], tmp_path: Path
) -> None:
    worse = json.loads(run(make_asks(ROWS, signal=False), "--json", code=KEPT).stdout)
    config, where = load_config(tmp_path / "gateway.yaml"), tmp_path / ".bsgateway"
    (found,) = [version for version in list_versions(config, where) if version.id == worse["scorer_id"]]
    assert (found.state, found.better, found.kind) == ("candidate", False, "trained")
    measured = {each.name: {"value": each.value, "low": each.low, "high": each.high} for each in found.held_out}
    verdict = worse["verdict"]
    assert measured == {"apgr": verdict["apgr"].pop("new"), "difference": verdict["difference"], **verdict["apgr"]}
    assert [list(point) for point in found.curve] == verdict["curve"]
    with pytest.raises(NotBetterError, match="better than the shipped prior, which ran then"):
        promote(config, where, found.id)
    promote(config, where, found.id, force=True)
    assert core.LearnedModel(state(tmp_path)["model.safetensors"]).id == found.id
    assert promote(config, where, "previous").before == found.id
    again = json.loads(run(make_asks(ROWS), "--dry-run", "--json").stdout)
    assert (again["verdict"]["now"], again["verdict"]["same"]) == ("the shipped prior", "prior"), "it is its file"


@pytest.mark.parametrize(
    ("fallback", "now", "used"),
    [("static", "the static score", "once routing.classifier.llm.fallback,"), ("ml", "the shipped prior", None)],
)
def test_a_local_llm_is_stood_in_for_by_its_fallback(
    run: Callable[..., Result], config_file: Callable[..., Path], fallback: str, now: str, used: str | None
) -> None:
    config_file(classifier={"strategy": "llm", "llm": {"model": "tiny", "fallback": fallback}})
    result = run(make_asks(ROWS), "--dry-run")
    out = " ".join(result.stdout.split())
    assert f"now: {now} APGR" in out
    assert "The strategy in force is llm: what runs now is its fallback." in out
    assert ("The model is used once" in out) == (used is not None)
    assert used is None or used in out


def test_a_model_file_that_is_refused_runs_nowhere(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / ".bsgateway").mkdir()
    (tmp_path / ".bsgateway" / "model.safetensors").write_bytes(b"no model")
    found = json.loads(run(make_asks(ROWS), "--json").stdout)
    assert found["verdict"]["now"].startswith("the shipped prior, as the model in ")
    Model.from_bytes(state(tmp_path)["model.safetensors"])


def test_the_report_says_what_was_measured_and_quotes_nobody(run: Callable[..., Result], tmp_path: Path) -> None:
    asks = make_asks(ROWS)
    found = json.loads(run(asks, "--json", "--output", str(tmp_path / "own.safetensors")).stdout)
    page = (tmp_path / "own.md").read_text()
    assert (tmp_path / "own.safetensors").is_file()
    assert "model.safetensors" not in state(tmp_path)
    assert not versions_kept(tmp_path), "it is in the file that was asked for"
    for text in ("## Held-out rows", "## Labels", "## Calibration", "## Strongest inputs", found["scorer_id"]):
        assert text in page
    assert f"| the new model | {found['verdict']['apgr']['new']['value']:.3f} |" in page
    assert f"| made | {found['verdict']['rows']} | 1 |" in page
    assert (tmp_path / "own.md").stat().st_mode & 0o777 == 0o600
    said = {word for ask in asks for word in ask.text.lower().rstrip(".").split()}
    assert not said & set(page.lower().replace("|", " ").split())


def test_too_few_rows_are_an_error(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(make_asks(120), code=1)
    assert "error: too few labels: 120 rows have one; held out are 60 rows" in result.stderr
    assert "routing.learning.dual_run" in result.stderr
    assert not state(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--weak", "w"],
        ["--jsonl", __file__],
        ["--jsonl", __file__, "--weak", "w"],
        ["--memory", "much"],
        ["--days", "0"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["train", *arguments]).exit_code == 2


@pytest.mark.parametrize(
    ("text", "size"), [("1GB", 10**9), ("1.5 gb", 1_500_000_000), ("500M", 5 * 10**8), ("7", 7), ("2kB", 2_000)]
)
def test_sizes(text: str, size: int) -> None:
    assert Bytes().convert(text, None, None) == size


def test_the_page_has_the_table_of_labels() -> None:
    page = DOCS.read_text(encoding="utf-8")
    rows = re_rows(page)
    assert rows == [(f"`{label.value}`", f"{label.weight:g}", label.doc) for label in Label]


def re_rows(page: str) -> list[tuple[str, ...]]:
    lines = page.partition("| label |")[2].split("\n\n")[0].split("\n")[2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def test_what_is_held_out_is_what_the_page_says() -> None:
    assert len(split(labelled_rows(make_asks(200)), True).held_out) == 100
