"""What is fitted is what scikit-learn fits, and folding it into one file changes nothing."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge

from bsgateway.core import core
from bsgateway.errors import LearningError
from bsgateway.learn import fit as fit_module
from bsgateway.learn.basis import Basis
from bsgateway.learn.contrast import Contrast, deviation
from bsgateway.learn.fit import Settings, calibrate, fit, values
from bsgateway.learn.model_file import Model
from bsgateway.learn.protocol import Ranking
from bsgateway.learn.rows import Floats, Rows

SETTINGS = Settings()


def make_rows(count: int, seed: int = 0, noise: float = 0.3) -> Rows:
    """The cheap model fails where bucket 7 is, or where the second input is beyond 0.6."""
    random = np.random.default_rng(seed)
    inputs = random.random((count, len(core.INPUT_NAMES)))
    inputs[:, 5] = 1.0  # a constant
    hard = random.random(count) < 0.3
    buckets = [np.union1d(random.integers(100, 400, 8), [7] if each else []) for each in hard]
    counts = np.array([len(each) for each in buckets])
    words = sp.csr_matrix(
        (
            np.repeat(1 / np.sqrt(counts), counts).astype(np.float32),
            np.concatenate(buckets).astype(np.int32),
            np.append(0, np.cumsum(counts)),
        ),
        (count, core.WORD_BUCKETS),
    )
    fails = np.where(random.random(count) < noise, random.random(count) < 0.4, hard | (inputs[:, 1] > 0.6))
    return Rows(
        inputs=inputs,
        words=words,
        weak=1.0 - fails,
        strong=np.ones(count),
        weight=random.random(count) + 0.5,
        group=np.arange(count),
        at=np.arange(count, dtype=np.float64),
        length=random.random(count),
        static=random.random(count),
        prompts=np.arange(1 + 1_000 * seed, 1 + 1_000 * seed + count, dtype=np.uint32),
        source=np.array(["exam"] * count, dtype=object),
    )


def apgr(model: Model, rows: Rows) -> float:
    return Ranking(model.margins(rows)).apgr(rows.strong - rows.weak)


def reference(rows: Rows, offset: np.ndarray, unseen: Rows, contrast: Contrast | None = None) -> np.ndarray:
    """scikit-learn's ridge on the columns of the basis, for the target less `offset`."""
    basis = Basis.of(rows.inputs, np.unique(rows.words.indices), SETTINGS.quantiles, SETTINGS.clip, SETTINGS.scale)
    basis = replace(basis, contrast=contrast)

    def columns(of: Rows) -> sp.csr_matrix:
        words, dense = basis(of)
        return sp.hstack([words, sp.csr_matrix(dense)]).tocsr()

    weight = rows.weight / rows.weight.mean()
    ridge = Ridge(alpha=SETTINGS.alpha, solver="sparse_cg", tol=1e-10)
    ridge.fit(columns(rows), values(rows, "gain") - offset, sample_weight=weight)
    return np.asarray(ridge.predict(columns(unseen)))


@pytest.fixture(scope="module")
def rows() -> Rows:
    return make_rows(400)


@pytest.fixture(scope="module")
def unseen() -> Rows:
    return make_rows(300, seed=1)


def test_the_margins_are_those_of_scikit_learn(rows: Rows, unseen: Rows) -> None:
    model = fit(rows, "gain", None)
    np.testing.assert_allclose(model.margins(unseen), reference(rows, np.zeros(len(rows)), unseen), atol=1e-5)


def test_the_prior_is_folded_in(rows: Rows, unseen: Rows) -> None:
    prior = fit(make_rows(200, seed=2), "fail", None)
    model = fit(rows, "gain", prior)
    assert not model.header.settings["prior_alone"]
    said, wanted = prior.margins(rows), values(rows, "gain")
    spread = [np.sqrt(np.cov(each, aweights=rows.weight, ddof=0)) for each in (said, wanted)]
    share = SETTINGS.prior * SETTINGS.prior_rows / (SETTINGS.prior_rows + len(rows))
    factor = share * spread[1] / spread[0]
    expected = reference(rows, factor * said, unseen) + factor * prior.margins(unseen)
    np.testing.assert_allclose(model.margins(unseen), expected, atol=1e-5)


def test_what_the_prior_would_be_without_judged_requests_is_a_column(rows: Rows, unseen: Rows) -> None:
    prior, outcomes = (fit(make_rows(200, seed=seed), "fail", None) for seed in (2, 3))
    said = prior.margins(rows), outcomes.margins(rows)
    contrast = Contrast.of(prior, outcomes, said, rows.weight, SETTINGS.contrast)
    assert contrast is not None
    column = contrast.column(rows)
    assert np.average(column, weights=rows.weight) == pytest.approx(0.0, abs=1e-12)
    assert deviation(column, rows.weight) == pytest.approx(SETTINGS.contrast)
    model = fit(rows, "gain", replace(prior, outcomes=outcomes))
    share = SETTINGS.prior * SETTINGS.prior_rows / (SETTINGS.prior_rows + len(rows))
    factor = share * deviation(values(rows, "gain"), rows.weight) / deviation(said[0], rows.weight)
    expected = reference(rows, factor * said[0], unseen, contrast) + factor * prior.margins(unseen)
    np.testing.assert_allclose(model.margins(unseen), expected, atol=1e-5)
    assert not np.allclose(model.margins(unseen), fit(rows, "gain", prior).margins(unseen), atol=1e-3)


def test_the_same_said_twice_is_no_column(rows: Rows) -> None:
    prior = fit(make_rows(200, seed=2), "fail", None)
    said = prior.margins(rows)
    assert Contrast.of(prior, prior, (said, said), rows.weight, 0.15) is None


def test_folds_do_not_pull_each_other_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is nothing to learn, margins of rows that were not fitted do not speak against their own outcomes."""
    found = []

    def measured(margins: Floats, failed: Floats, weight: Floats) -> Floats:
        found.append(np.corrcoef(margins, failed)[0, 1])
        return calibrate(margins, failed, weight)

    monkeypatch.setattr(fit_module, "calibrate", measured)
    for seed in range(40):
        noise = make_rows(60, seed=seed)
        weak = np.random.default_rng(seed + 100).permutation(noise.weak)
        fit(replace(noise, weak=weak, weight=np.ones(60)), "gain", None)
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error, found


def test_curves_are_centred_on_the_rows(rows: Rows) -> None:
    model = fit(rows, "gain", fit(make_rows(200, seed=2), "fail", None))
    parts = [np.interp(*each) for each in zip(rows.inputs.T, model.knots, model.curves, strict=True)]
    np.testing.assert_allclose(np.mean(parts, axis=1), 0.0, atol=1e-9)


def test_what_is_served_is_what_was_fitted(rows: Rows, unseen: Rows) -> None:
    model = fit(rows, "gain", None)
    served = core.LearnedModel(model.to_bytes())
    words = unseen.words
    margins, probabilities = served.predict(
        np.ascontiguousarray(unseen.inputs).tobytes(),
        words.indptr.astype(np.int64).tobytes(),
        words.indices.astype(np.int32).tobytes(),
    )
    np.testing.assert_allclose(np.frombuffer(margins), model.margins(unseen), atol=1e-4)
    np.testing.assert_allclose(np.frombuffer(probabilities), model.probabilities(unseen), atol=1e-2)


@pytest.mark.parametrize("target", ["gain", "fail", "mixed"])
def test_the_planted_signal_is_found(rows: Rows, unseen: Rows, target: str) -> None:
    gain = unseen.strong - unseen.weak
    assert apgr(fit(rows, target, None), unseen) > 0.85 * Ranking(gain).apgr(gain)  # type: ignore[arg-type]


def test_shuffled_labels_give_chance(rows: Rows, unseen: Rows) -> None:
    found = []
    for seed in range(8):
        shuffled = replace(rows, weak=np.random.default_rng(seed).permutation(rows.weak))
        found.append(apgr(fit(shuffled, "gain", None), unseen))
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - 0.5) < 3 * error


def test_the_same_rows_give_the_same_model(rows: Rows) -> None:
    one, other = fit(rows, "gain", None), fit(rows, "gain", None)
    for name in ("words", "knots", "curves", "calibration", "seen"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.bias == other.bias
    assert one.header.settings == other.header.settings


def test_noise_leaves_the_prior_as_it_is(rows: Rows) -> None:
    prior = fit(make_rows(400, seed=2), "fail", None)
    few = rows[np.arange(60)]
    noisy = replace(few, inputs=few.inputs, weak=few.weak.copy())
    noisy.weak[:40] = np.random.default_rng(0).permutation(noisy.weak[:40])
    settings = msgspec.structs.replace(SETTINGS, prior=0.0, worse=150)
    model = fit(noisy, "gain", prior, settings)
    assert model.header.settings["prior_alone"]
    np.testing.assert_array_equal(model.words, prior.words)
    np.testing.assert_array_equal(model.seen, np.union1d(noisy.prompts, prior.seen))
    assert not np.array_equal(model.calibration, prior.calibration)


def test_rows_without_a_label_count_for_nothing(rows: Rows) -> None:
    more = make_rows(50, seed=3)
    blank = replace(more, weak=np.full(50, np.nan))
    from bsgateway.learn.dataset import concat

    np.testing.assert_array_equal(fit(concat([rows, blank]), "gain", None).words, fit(rows, "gain", None).words)


def test_too_few_rows_are_refused(rows: Rows) -> None:
    with pytest.raises(LearningError, match="at least"):
        fit(rows[np.arange(10)], "gain", None)


def test_an_unknown_input_adds_nothing(rows: Rows) -> None:
    inputs = rows.inputs.copy()
    inputs[::2, 3] = np.nan
    inputs[:, 4] = np.nan
    model = fit(replace(rows, inputs=inputs), "gain", None)
    assert np.isfinite(model.margins(replace(rows, inputs=inputs))).all()
    assert not model.curves[4].any()


# Calibration


def test_probabilities_are_those_of_failure() -> None:
    random = np.random.default_rng(0)
    margins = random.normal(size=20_000)
    truth = 1 / (1 + np.exp(-2 * margins))
    found = calibrate(margins, (random.random(20_000) < truth).astype(float), np.ones(20_000))
    assert np.abs(np.interp(margins, *found) - truth).mean() < 0.02


@pytest.mark.parametrize("count", [1, 2, 30, 5_000])
def test_a_calibration_is_one_that_the_file_takes(count: int) -> None:
    random = np.random.default_rng(count)
    margins, failed = random.normal(size=count).round(2), random.integers(0, 2, count).astype(float)
    found = calibrate(margins, failed, np.ones(count))
    assert 2 <= found.shape[1] <= 64
    assert (np.diff(found[0]) > 0).all()
    assert (np.diff(found[1]) >= 0).all()
    assert found[1].min() >= 0
    assert found[1].max() <= 1


def test_different_margins_have_different_probabilities() -> None:
    margins = np.linspace(0, 1, 500)
    found = calibrate(margins, np.full(500, 0.3), np.ones(500))
    assert (np.diff(np.interp(margins, *found)) > 0).all()
