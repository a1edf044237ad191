"""`bsgateway models`: the list, `promote` and `rollback`, and what of them takes no packages for training."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bsgateway.cli import main
from bsgateway.core import core
from bsgateway.learn.promotion import accept
from bsgateway.models import prior_bytes
from model_files import model

MEASURED = {
    "apgr": {"value": 0.7, "low": 0.6, "high": 0.8},
    "difference": {"value": 0.1, "low": 0.05, "high": 0.2},
    "better": True,
}
ONE = model(bias=1.0, created="2026-10-01T12:00:00+00:00", held_out=MEASURED).to_bytes()
WORSE = model(bias=2.0, created="2026-10-02T12:00:00+00:00", held_out={"better": False}).to_bytes()
ONE_ID, WORSE_ID, PRIOR = (core.LearnedModel(data).id for data in (ONE, WORSE, prior_bytes()))

Run = Callable[..., Result]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir()
    accept(state / "model.safetensors", ONE, "the shipped prior", promoted=True)
    accept(state / "model.safetensors", WORSE, "the model before", promoted=False)
    return state / "model.safetensors"


@pytest.fixture
def where(config_file: Callable[..., Path], tmp_path: Path) -> list[str]:
    return ["--config", str(config_file(classifier={"strategy": "ml"})), "--state", str(tmp_path / "state")]


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["models", *arguments])
    if not isinstance(result.exception, (SystemExit, type(None))):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_the_list(path: Path, where: list[str]) -> None:
    head, *lines = run(*where).stdout.splitlines()
    assert head.split() == ["model", "state", "made", "rows", "APGR", "better", "by", "better"]
    first, second, third = (" ".join(line.split()) for line in lines)
    made = "2026-10-01T12:00:00+00:00"
    assert first == f"{ONE_ID} in force {made} 1,000 0.700 (0.600 to 0.800) +0.100 (+0.050 to +0.200) yes"
    assert second.startswith(f"{PRIOR} previous, prior ")
    assert third == f"{WORSE_ID} candidate 2026-10-02T12:00:00+00:00 1,000 no"


def test_the_list_for_machines(path: Path, where: list[str]) -> None:
    found: list[dict[str, Any]] = json.loads(run(*where, "--json").stdout)
    assert [(each["id"], each["state"], each["better"]) for each in found] == [
        (ONE_ID, "in_force", True), (PRIOR, "previous", None), (WORSE_ID, "candidate", False),
    ]  # fmt: skip


def test_promote_and_rollback(path: Path, where: list[str]) -> None:
    refused = run("promote", WORSE_ID, *where, code=1)
    assert f"error: model {WORSE_ID} was not certain to be better than the model before, which ran" in refused.stderr
    assert f"`bsgateway models promote {WORSE_ID} --force`" in refused.stderr
    assert path.read_bytes() == ONE
    said = run("promote", WORSE_ID, "--force", *where).stdout
    assert said == f"model {WORSE_ID} is in force now, in place of {ONE_ID}: {path}\n"
    assert path.read_bytes() == WORSE
    assert run("promote", WORSE_ID, *where).stdout == f"model {WORSE_ID} is in force already: {path}\n"
    assert json.loads(run("rollback", "--json", *where).stdout) == {"id": ONE_ID, "before": WORSE_ID}
    assert path.read_bytes() == ONE
    run("rollback", *where)
    assert path.read_bytes() == WORSE
    run(*where, "promote", "prior")  # options of the group count for its commands
    assert path.read_bytes() == prior_bytes()


def test_what_does_not_score_is_said(path: Path, where: list[str], config_file: Callable[..., Path]) -> None:
    assert "No score comes from it" not in run(*where).stdout
    config_file(classifier={"strategy": "static"})
    for arguments in (["promote", ONE_ID], []):
        assert "No score comes from it: for that, routing.classifier.strategy is ml" in run(*arguments, *where).stdout


@pytest.mark.parametrize("wanted", ["../../etc/passwd", "0123456789ab", "\x1b[2Jx"])
def test_an_unknown_id(path: Path, where: list[str], wanted: str) -> None:
    said = run("promote", wanted, *where, code=1).stderr
    assert said.startswith("error: no model ")
    assert said.strip().isprintable()
    assert "`bsgateway models` lists" in said


@pytest.mark.parametrize("arguments", [["promote"], ["rollback", "x"], ["--json", "rollback"], ["elect"]])
def test_wrong_usage(arguments: list[str]) -> None:
    run(*arguments, code=2)


def test_it_takes_no_packages_for_training(path: Path, where: list[str]) -> None:
    """In a process of its own, in which they cannot be imported."""
    script = (
        "import sys; sys.modules.update(dict.fromkeys(('numpy', 'scipy', 'sklearn', 'safetensors')))\n"
        "import bsgateway.web.learning; from bsgateway.cli import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, "models", *where, "promote", WORSE_ID, "--force"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == WORSE
