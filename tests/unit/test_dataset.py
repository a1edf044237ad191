"""Files of outcomes as rows: what is read, what is left out, and what is said of a file that is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bsgateway.core import core
from bsgateway.errors import LearningError
from bsgateway.learn.asks import default_analyzer, measure
from bsgateway.learn.dataset import concat, empty_rows, read_outcomes
from bsgateway.learn.rows import Rows
from bsgateway.learn.same_ask import NO_PROMPT, ask_hash

WEAK, STRONG = "weak-1", "strong-1"


def line(prompt: str, weak: float | None = 1.0, strong: float | None = 1.0, **more: Any) -> dict[str, Any]:
    outcomes = {name: score for name, score in ((WEAK, weak), (STRONG, strong)) if score is not None}
    return {"id": "x", "prompt": prompt, "source": "exam", "outcomes": outcomes, **more}


def write(path: Path, *rows: Any) -> Path:
    text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(path: Path) -> Rows:
    return read_outcomes(path, WEAK, STRONG)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_file_becomes_rows(tmp_path: Path, name: str) -> None:
    path = write(
        tmp_path / name,
        line("What is 2 + 2?", 0.0, 0.75),
        "\n",
        line("Prove it.", None, 0.5, subset="logic"),
        line("prove  IT. ", 1.0, None, source=""),
        line("Dirty", contaminated=True),
        {"prompt": "Others only", "outcomes": {"other": 1}},
    )
    rows = read(path)
    assert len(rows) == 3
    np.testing.assert_array_equal(rows.weak, [0.0, np.nan, 1.0])
    np.testing.assert_array_equal(rows.strong, [0.75, 0.5, np.nan])
    assert rows.at.tolist() == [1, 3, 4]
    assert rows.weight.tolist() == [1, 1, 1]
    assert rows.source.tolist() == ["exam", "exam", ""]
    assert rows.length.tolist() == [14, 9, 11]
    assert rows.group[1] == rows.group[2] != rows.group[0]
    assert rows.prompts[0] != rows.prompts[1]


def test_rows_are_what_the_core_measures(tmp_path: Path) -> None:
    prompts = ["Why is the sky blue?", "", "Prove that 7 is prime.\nA. yes\nB. no", "x " * 3_000]
    rows = read(write(tmp_path / "rows.jsonl", *map(line, prompts)))
    for place, prompt in enumerate(prompts):
        analysis = default_analyzer().analyze({"messages": [{"role": "user", "content": prompt}]}, "chat")
        inputs = core.model_inputs(np.array(analysis.features).tobytes(), None)
        assert rows.inputs[place].tobytes() == inputs
        assert rows.static[place] == analysis.raw_score
        _, buckets = core.word_buckets([prompt])
        assert rows.words[place].indices.astype(np.int32).tobytes() == buckets
        length = np.linalg.norm(rows.words[place].toarray())
        assert length == pytest.approx(1.0 if prompt else 0.0)
    assert rows.words.shape == (4, core.WORD_BUCKETS)
    assert rows.words.dtype == np.float32


def test_the_hash_of_an_ask_is_that_of_its_words() -> None:
    assert ask_hash("Go  on\n") == ask_hash("go on") != ask_hash("go")
    assert ask_hash(" \n") == NO_PROMPT
    assert 0 <= ask_hash("\ud800 lone") < 2**63


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("{", "not an outcome"),
        ("[]\n", "Expected `object`"),
        ('{"outcomes": {"weak-1": 1}}\n', "missing required field `prompt`"),
        ('{"prompt": 1, "outcomes": {}}\n', "Expected `str`, got `int` - at `$.prompt`"),
        ('{"prompt": "x", "outcomes": {"weak-1": 1.5}}\n', "<= 1.0"),
        ('{"prompt": "x", "outcomes": {"weak-1": -0.1}}\n', ">= 0.0"),
        ('{"prompt": "x", "outcomes": {"weak-1": "1"}}\n', "Expected `float`"),
        ('{"prompt": "x", "outcomes": {"weak-1": NaN}}\n', "invalid"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, bad: str, says: str) -> None:
    path = write(tmp_path / "rows.jsonl", line("fine"), bad)
    with pytest.raises(LearningError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}:2: not an outcome: ")
    assert says in str(error.value)
    assert "`outcomes`, an object of scores from 0 to 1" in str(error.value)


def test_words_of_a_wrong_line_are_not_told(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", '{"prompt": "my secret", "outcomes": 3}\n')
    with pytest.raises(LearningError) as error:
        read(path)
    assert "secret" not in str(error.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "\xff", "outcomes": {"weak-1": 1}}\n')
    with pytest.raises(LearningError, match=r"rows\.jsonl:1: not an outcome"):
        read(path)


def test_a_damaged_file(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps(line("fine")).encode() * 100)
    path = tmp_path / "rows.jsonl.gz"
    for data in (whole[:-20], b"no gzip at all", whole[:30] + b"\xff" * 30 + whole[60:]):
        path.write_bytes(data)
        with pytest.raises(LearningError, match=r"rows\.jsonl\.gz:\d+: the gzip file is damaged"):
            read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LearningError, match=r"none\.jsonl cannot be read: No such file"):
        read(tmp_path / "none.jsonl")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", line("x"))
    with pytest.raises(LearningError, match=r"rows\.jsonl has no outcome of weak-2: did you mean weak-1\?"):
        read_outcomes(path, "weak-2", STRONG)
    with pytest.raises(LearningError, match="no outcome of zzz: it has weak-1, strong-1"):
        read_outcomes(path, WEAK, "zzz")
    with pytest.raises(LearningError, match="it has no outcomes at all"):
        read(write(tmp_path / "empty.jsonl"))


def test_rows_come_in_batches_and_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", *(line(f"number {number}", number % 2) for number in range(2_500)))
    told: list[int] = []
    rows = read_outcomes(path, WEAK, STRONG, advance=told.append)
    assert told == [1_000, 1_000, 500]
    assert rows.at.tolist() == list(range(1, 2_501))
    assert rows.weak.tolist() == [number % 2 for number in range(2_500)]
    assert len(np.unique(rows.group)) == 2_500


def test_all_rows_of_parts(tmp_path: Path) -> None:
    one, two = (read(write(tmp_path / "rows.jsonl", line(prompt))) for prompt in ("one", "two"))
    both = concat([one, empty_rows(), two])
    assert len(both) == 2
    assert both.group.tolist() == [one.group[0], two.group[0]]
    assert (both.words[1] != two.words[0]).nnz == 0
    assert len(concat([])) == 0


def test_texts_in_bulk_are_texts_one_by_one() -> None:
    texts = ["a b c", "", "1 2 3 \u4e16\u754c"]
    together = measure(texts, default_analyzer())
    for place, text in enumerate(texts):
        alone = measure([text], default_analyzer())
        np.testing.assert_array_equal(together.features[place], alone.features[0])
        assert (together.words[place] != alone.words[0]).nnz == 0
