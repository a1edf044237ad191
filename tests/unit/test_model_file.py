"""`learn/model_file.py`: a model becomes a file and is read back from it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import msgspec
import numpy as np
import pytest
import scipy.sparse as sp
from safetensors.numpy import load

from bsgateway.core import core
from bsgateway.errors import ModelError
from bsgateway.learn.model_file import LARGEST, Model, ModelHeader, prompt_hashes
from bsgateway.learn.rows import Rows
from model_files import described, header, model, take_apart

ROWS = 40


def rows() -> Rows:
    """Random ones. The words of some are none."""
    random = np.random.default_rng(5)
    lengths = random.integers(0, 20, ROWS)
    lengths[:3] = 0
    indices = np.concatenate([np.sort(random.choice(core.WORD_BUCKETS, size, replace=False)) for size in lengths])
    weights = np.concatenate([np.full(size, 1 / np.sqrt(size)) for size in lengths if size]).astype(np.float32)
    words = sp.csr_matrix((weights, indices, np.concatenate(([0], np.cumsum(lengths)))), (ROWS, core.WORD_BUCKETS))
    inputs, none = random.normal(3, 3, (ROWS, len(core.INPUT_NAMES))), np.zeros(ROWS)
    inputs[0, :5] = np.nan
    return Rows(
        inputs=inputs,
        words=words,
        weak=none,
        strong=none,
        weight=none,
        group=none.astype(np.int64),
        at=none,
        length=none,
        static=none,
        prompts=none.astype(np.uint32),
        source=none.astype(object),
    )


def test_a_file_holds_all_of_a_model() -> None:
    given = model(0.25, seed=1, labels={"feedback": 30}, held_out={"apgr": 0.6}, settings={"alpha": 100})
    read = Model.from_bytes(given.to_bytes())
    assert read.header == given.header
    assert read.bias == given.bias
    for name in ("knots", "curves", "calibration", "seen"):
        assert np.array_equal(getattr(read, name), getattr(given, name)), name
        assert getattr(read, name).dtype == getattr(given, name).dtype
    largest = np.abs(given.words).max()
    assert np.abs(read.words - given.words).max() <= largest / LARGEST / 2 * (1 + 1e-9)
    assert np.abs(read.words).max() == pytest.approx(largest)


def test_a_model_without_words_or_seen_prompts() -> None:
    read = Model.from_bytes(model(seed=None).to_bytes())
    assert not read.words.any()
    assert (read.seen.size, read.seen.dtype) == (0, np.uint32)


def test_the_same_model_is_the_same_file() -> None:
    here = model(seed=2).to_bytes()
    code = "import sys; from model_files import model; sys.stdout.buffer.write(model(seed=2).to_bytes())"
    path = [sys.path[0], *(entry for entry in sys.path if entry.endswith("tests"))]
    there = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"], capture_output=True, check=True
    )
    assert there.stdout == here
    assert core.LearnedModel(here).id != core.LearnedModel(model(seed=3).to_bytes()).id


def test_other_readers_of_safetensors_can_read_it() -> None:
    data = model(seed=2).to_bytes()
    head, body = take_apart(data)
    assert (len(data) - len(body)) % 8 == 0, "aligned"
    tensors = load(data)
    assert tensors["words"].dtype == np.int16
    assert json.loads(head["__metadata__"]["bsgateway"])["input_names"] == list(core.INPUT_NAMES)


def test_it_scores_as_the_gateway_does() -> None:
    given, some = model(0.5, seed=1, knots=5), rows()
    served = core.LearnedModel(given.to_bytes())
    indptr, indices = some.words.indptr.astype(np.int64), some.words.indices.astype(np.int32)
    margins, probabilities = map(
        np.frombuffer, served.predict(some.inputs.tobytes(), indptr.tobytes(), indices.tobytes())
    )
    assert given.margins(some) == pytest.approx(margins, abs=1e-3)  # words are rounded in the file
    assert given.probabilities(some) == pytest.approx(probabilities, abs=1e-4)
    assert Model.from_bytes(given.to_bytes()).margins(some) == pytest.approx(margins, abs=1e-5)
    assert len(set(probabilities)) > 10


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("bias", float("nan"), "tensor bias: a number is not finite"),
        ("words", np.zeros(5), r"tensor words: its shape is not \[131072\]"),
        ("calibration", np.array([[1.0, 0.0], [0.0, 1.0]]), "its margins are not in ascending order"),
        ("seen", np.array([2, 1], dtype=np.uint32), "its hashes are not in ascending order"),
        ("header", header(feature_version=1), "features of another version"),
    ],
)
def test_what_the_gateway_would_refuse_is_not_written(field: str, value: object, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        dataclasses.replace(model(), **{field: value}).to_bytes()  # type: ignore[arg-type]


def test_what_the_gateway_refuses_is_not_read() -> None:
    with pytest.raises(ModelError, match="the checksum does not fit"):
        Model.from_bytes(model().to_bytes()[:-1] + b"\1")
    with pytest.raises(ModelError, match=r"description .* wrong: Object contains unknown field `more`"):
        Model.from_bytes(described(model().to_bytes(), more=1))


def test_a_header_is_of_this_version() -> None:
    made = ModelHeader(kind="prior", target="fail", created="", rows=0)
    assert (made.format, made.feature_version, made.input_names) == (1, core.FEATURE_VERSION, core.INPUT_NAMES)
    assert msgspec.json.decode(msgspec.json.encode(made), type=ModelHeader) == made


def test_prompt_hashes() -> None:
    hashes = prompt_hashes(["What is it?", "  What  is it?\r\n", "what IS it?", "", "\ud800", "\ufffd"])
    assert (hashes.dtype, hashes.shape) == (np.uint32, (6,))
    assert hashes[0] == hashes[1] == hashes[2] == 3098514081
    assert hashes[4] == hashes[5], "no word has half a pair of surrogates"
    assert len(set(hashes.tolist())) == 3
    assert prompt_hashes([]).shape == (0,)
