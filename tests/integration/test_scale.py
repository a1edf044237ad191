"""The log on the workers of a Ray of our own, from Parquet exports: the same rows and the same model as in one process,
also when a worker is lost."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge

from bsgateway.config import Static
from bsgateway.errors import LearningError
from bsgateway.learn import labelled
from bsgateway.learn.dataset import concat
from bsgateway.learn.design import DistributedDesign
from bsgateway.learn.labels import Tiers
from bsgateway.learn.parquet import Plan, row_groups
from bsgateway.learn.rows import Floats, Rows
from bsgateway.learn.scale import LOCAL, RayShards, on_ray
from bsgateway.learn.shards import LocalShards
from bsgateway.learn.spill import Scratch
from bsgateway.learn.train import Incumbent, Trained, train
from bsgateway.learn.train_parts import train_parts
from bsgateway.replay_log_report import Question
from bsgateway.replay_parquet import run, task_of
from exports import BEGIN, refuse, write_exports

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray has no wheel for this system")

ROWS, FILES, PARTS, WORKERS = 750, 3, 3, 2
CONFIG = """\
model_list:
  - model_name: small
    litellm_params: {model: openai/small, api_key: none}
    model_info: {input_cost_per_token: 0.0000001, output_cost_per_token: 0.0000004, max_input_tokens: 100000}
  - model_name: large
    litellm_params: {model: openai/large, api_key: none}
    model_info: {input_cost_per_token: 0.00001, output_cost_per_token: 0.00004, max_input_tokens: 1000000}
routing:
  fallback_tier: simple
  aliases: {auto: auto_route}
  session: {enabled: false}
  tiers:
    simple: {score_range: [0, 30], model: small}
    complex: {score_range: [31, 100], model: large}
"""
STATIC = Incumbent("the static score")
TIERS = Tiers({"simple": ["small"], "complex": ["large"]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    write_exports(folder, ROWS, FILES)
    return folder


@pytest.fixture(scope="module")
def plan(folder: Path) -> Plan:
    return labelled.plan([folder], TIERS, Static())


@pytest.fixture(scope="module")
def here(plan: Plan) -> LocalShards:
    return LocalShards.of(plan, PARTS)


@pytest.fixture(scope="module")
def trained(here: LocalShards) -> Trained:
    return train_parts(here, STATIC, None, {})


@pytest.fixture(scope="module")
def there(plan: Plan) -> Iterator[RayShards]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # the workers import functions of this module
        with on_ray(LOCAL, WORKERS, plan, PARTS) as shards:
            yield shards
    assert not [each for each in psutil.Process().children(recursive=True) if "ray" in each.name()]


def rows_of(part: labelled.LabelledPart) -> Rows:
    return part.rows


def all_rows(shards: LocalShards) -> Rows:
    return concat(shards.map(rows_of))


# Reading


def test_a_conversation_is_whole_in_one_part(here: LocalShards) -> None:
    parts = here.map(rows_of)
    assert [len(part) > 0 for part in parts] == [True] * PARTS
    groups = [set(part.group.tolist()) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) > 50


def test_the_rows_do_not_depend_on_the_number_of_parts(plan: Plan, here: LocalShards) -> None:
    one, several = (rows[np.argsort(rows.at)] for rows in (all_rows(LocalShards.of(plan, 1)), all_rows(here)))
    for field in dataclasses.fields(Rows):
        if field.name != "words":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(several, field.name))
    assert (one.words != several.words).nnz == 0
    assert labelled.counts(LocalShards.of(plan, 1)) == labelled.counts(here)
    assert labelled.counts(here).labelled == len(one) == ROWS


def test_what_is_no_export_is_refused(tmp_path: Path, folder: Path) -> None:
    import pyarrow.parquet

    with pytest.raises(LearningError, match=r"has no \*\.parquet"):
        row_groups([tmp_path], ())
    (tmp_path / "text.parquet").write_text("nothing of the kind")
    with pytest.raises(LearningError, match="cannot be read as Parquet"):
        row_groups([tmp_path], ())
    other = tmp_path / "other.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"ask": ["a"]}), other)
    with pytest.raises(LearningError, match=r"other\.parquet has no column conversation_id, created_at"):
        labelled.plan([other], TIERS, Static())
    with pytest.raises(LearningError, match=r"gone\.parquet cannot be read"):
        row_groups([tmp_path / "gone.parquet"], ())


# Solving


class Columns:
    """Words and a few inputs, as a design."""

    def __call__(self, rows: Rows) -> tuple[sp.csr_matrix, Floats]:
        return rows.words.astype(np.float64), rows.inputs[:, :20] * 0.1

    def __repr__(self) -> str:
        return "Columns"


def on_all_rows(rows: Rows, weight: Floats) -> tuple[Floats, Floats]:
    """Coefficients and margins of scikit-learn's ridge regression."""
    matrix = sp.hstack([sp.csr_matrix(block) for block in Columns()(rows)]).tocsr()
    model = Ridge(alpha=3.0, solver="sparse_cg", tol=1e-12).fit(matrix, rows.weak, sample_weight=weight)
    return model.coef_, model.predict(matrix)


def test_the_parts_give_what_all_rows_give(here: LocalShards) -> None:
    rows = all_rows(here)
    weight = np.random.default_rng(1).uniform(0, 1, len(rows)) * (np.arange(len(rows)) % 5 > 0)
    design = DistributedDesign(here, Columns())
    found = design.ridge(rows.weak, weight, 3.0)
    coefficients, margins = on_all_rows(rows, weight)
    np.testing.assert_allclose(found.coefficients, coefficients, atol=1e-8)
    np.testing.assert_allclose(design @ found.coefficients + found.intercept, margins, atol=1e-8)
    assert np.dot(design.rmatvec(weight), found.coefficients) == pytest.approx(weight @ (design @ found.coefficients))


def test_training_on_parts_is_training_on_all_rows(here: LocalShards, trained: Trained, tmp_path: Path) -> None:
    rows = all_rows(here)
    with Scratch(tmp_path) as scratch:
        whole = train(rows, True, STATIC, None, {}, scratch, 2**30)
    parts = trained
    np.testing.assert_allclose(parts.model.margins(rows), whole.model.margins(rows), rtol=0, atol=1e-6)
    np.testing.assert_allclose(parts.model.calibration, whole.model.calibration, rtol=0, atol=1e-6)
    assert parts.model.header.rows == whole.model.header.rows == parts.verdict.rows
    assert parts.verdict.apgr["new"].value == pytest.approx(whole.verdict.apgr["new"].value, abs=1e-3)
    assert parts.verdict.apgr["new"].low > 0.6  # the planted signal is found
    assert [each.input for each in parts.verdict.strongest] == [each.input for each in whole.verdict.strongest]
    assert parts.verdict.better


# Replay


def test_a_replay_in_parts_is_that_of_the_whole(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG)
    task = task_of(Question(config, config, tmp_path, 1.0, most=3))
    whole = run((folder,), task, None, 1)
    monkeypatch.setattr("bsgateway.learn.parquet.PART_BYTES", 50_000)
    parts = run((folder,), task, None, 1)
    for report in (whole, parts):
        assert report.requests == report.decided == report.scored.kept == ROWS
        assert (report.since, report.until) == (BEGIN, BEGIN + timedelta(minutes=ROWS - 1))
        assert 0 < report.moved["simple"]["complex"] == report.changed < ROWS
        assert report.costs.requests == ROWS
        assert 0 < report.costs.before < report.costs.after
    assert parts.moved == whole.moved
    assert parts.reasons[0].requests == whole.reasons[0].requests
    for name in ("before", "after", "low", "high"):
        assert getattr(parts.costs, name) == pytest.approx(getattr(whole.costs, name), rel=1e-9)
    assert parts.disagreements == whole.disagreements
    assert len(whole.disagreements) == 3


def test_what_goes_to_workers_and_back_can_be_sent(plan: Plan, here: LocalShards, tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG)
    task = task_of(Question(config, config, tmp_path, 1.0))
    found = pickle.loads(pickle.dumps(task)).replay().findings()
    assert pickle.loads(pickle.dumps(found)).scored == found.scored
    assert pickle.loads(pickle.dumps(plan)).groups == plan.groups


def test_exports_of_a_version_before_know_no_verdicts(folder: Path, here: LocalShards, tmp_path: Path) -> None:
    import pyarrow.parquet

    before = tmp_path / "before"
    before.mkdir()
    for path in folder.iterdir():
        table = pyarrow.parquet.read_table(path)
        pyarrow.parquet.write_table(
            table.select([name for name in table.column_names if not name.startswith("llm_")]), before / path.name
        )
    old = labelled.plan([before], TIERS, Static())
    assert labelled.counts(LocalShards.of(old, PARTS)) == labelled.counts(here)
    config = tmp_path / "gateway.yaml"
    config.write_text(CONFIG)
    assert run((before,), task_of(Question(config, config, tmp_path, 1.0)), None, 1).decided == ROWS


# Ray


@needs_ray
def test_only_this_machine_reaches_it(there: RayShards) -> None:
    mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [
        each.laddr.ip for process in mine for each in process.net_connections("tcp") if each.status == "LISTEN"
    ]
    assert len(listening) > 3
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


@needs_ray
def test_the_model_is_the_same_although_a_worker_is_lost(here: LocalShards, there: RayShards, trained: Trained) -> None:
    rows = all_rows(here)
    assert labelled.counts(there) == labelled.counts(here)  # so each worker has made its parts
    os.kill(there.processes[1], signal.SIGKILL)
    found = train_parts(there, STATIC, None, {}).model
    np.testing.assert_allclose(found.margins(rows), trained.model.margins(rows), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.calibration, trained.model.calibration, rtol=0, atol=1e-9)
    assert not psutil.pid_exists(there.processes[1])


@needs_ray
def test_what_a_worker_raises_is_raised_here(there: RayShards) -> None:
    with pytest.raises(LearningError, match=r"^not today$"):
        there.map(refuse, "not today")
