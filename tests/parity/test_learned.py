"""`LearnedModel`: random models on random rows, and on the requests that an analyzer sees. Same bits, same reasons."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsgateway import _core, reference
from model_files import altered, model, put_together, take_apart

from .analyses import arguments, as_dict
from .strategies import bodies, examples

INPUTS = len(reference.INPUT_NAMES)
FILES = {
    "flat": model(0.25).to_bytes(),
    **{f"seed {seed}": model(seed / 7, seed=seed, knots=knots).to_bytes() for seed, knots in ((1, 1), (2, 4), (3, 16))},
    "prior": model(-0.5, "prior", seed=4).to_bytes(),
}
MODELS = {name: (_core.LearnedModel(data), reference.LearnedModel(data)) for name, data in FILES.items()}


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_says_of_itself(name: str) -> None:
    native, twin = MODELS[name]
    assert (native.id, native.kind, native.description, repr(native)) == (
        twin.id, twin.kind, twin.description, repr(twin)
    )  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_random_rows(name: str) -> None:
    random = np.random.default_rng(11)
    native, twin = MODELS[name]
    rows = 200
    inputs = random.normal(3, 4, (rows, INPUTS))
    inputs[random.random((rows, INPUTS)) < 0.1] = np.nan
    lengths = random.integers(0, 60, rows)
    lengths[:5] = 0
    buckets = [random.choice(reference.WORD_BUCKETS, size=length, replace=False) for length in lengths]
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    indices = np.concatenate(buckets).astype(np.int32)
    arrays = (inputs.tobytes(), indptr.tobytes(), indices.tobytes())
    assert native.predict(*arrays) == twin.predict(*arrays)
    margins, probabilities = (np.frombuffer(found) for found in twin.predict(*arrays))
    assert np.isfinite(margins).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    if name != "flat":
        assert len(set(margins)) > rows / 2


def test_values_on_and_beside_the_knots() -> None:
    native, twin = MODELS["seed 3"]
    knots = np.array(twin._file.knots)
    for inputs in (knots, np.nextafter(knots, -np.inf), np.nextafter(knots, np.inf)):
        rows = np.ascontiguousarray(inputs.T)
        arrays = (rows.tobytes(), bytes(8 * (len(rows) + 1)), b"")
        assert native.predict(*arrays) == twin.predict(*arrays)


@pytest.mark.parametrize(
    ("inputs", "indptr", "indices"),
    [
        (bytes(8), bytes(8), b""),
        (b"", b"", b""),
        (bytes(8 * INPUTS), bytes(8), b""),
        (b"", bytes(8), bytes(3)),
        (b"", bytes(8), bytes(4)),
        (bytes(8 * INPUTS), np.array([0, -1]).tobytes(), b""),
        (bytes(16 * INPUTS), np.array([0, 2, 1]).tobytes(), bytes(4)),
        (bytes(8 * INPUTS), np.array([0, 1]).tobytes(), np.array([-1], dtype=np.int32).tobytes()),
        (bytes(8 * INPUTS), np.array([0, 1]).tobytes(), np.array([1 << 17], dtype=np.int32).tobytes()),
    ],
)
def test_arrays_that_do_not_fit(inputs: bytes, indptr: bytes, indices: bytes) -> None:
    native, twin = MODELS["flat"]
    with pytest.raises(ValueError, match=r"^in") as one:
        native.predict(inputs, indptr, indices)
    with pytest.raises(ValueError, match=r"^in") as other:
        twin.predict(inputs, indptr, indices)
    assert str(one.value) == str(other.value)


@pytest.mark.parametrize(("name", "memo_bytes"), [("seed 2", 0), ("seed 3", 1 << 20)])
def test_requests(name: str, memo_bytes: int) -> None:
    settings = arguments(memo_bytes=memo_bytes)
    native, twin = _core.Analyzer(**settings), reference.Analyzer(**settings)
    native.set_model(MODELS[name][0])
    twin.set_model(MODELS[name][1])

    @examples
    @given(st.sampled_from(list(bodies)).flatmap(lambda format: st.tuples(bodies[format](), st.just(format))))
    def check(request: tuple[Any, str]) -> None:
        expected = as_dict(twin.analyze(*request))
        assert repr(as_dict(native.analyze(*request))) == repr(expected)
        assert repr(as_dict(native.analyze(*request))) == repr(expected), "remembered"
        scorer, probability, shares = expected["learned"]
        assert scorer == MODELS[name][1].id
        assert sum(points for *_, points in shares) == pytest.approx(100 * probability)

    check()


def test_a_model_may_be_replaced_and_taken_away() -> None:
    settings = arguments(memo_bytes=1 << 20)
    native, twin = _core.Analyzer(**settings), reference.Analyzer(**settings)
    body = {"messages": [{"role": "user", "content": "Prove that there are infinitely many primes, please."}]}
    seen = []
    for name in ("seed 1", "seed 2", None, "seed 2", "seed 1", "flat"):
        for analyzer, own in ((native, 0), (twin, 1)):
            analyzer.set_model(None if name is None else MODELS[name][own])  # type: ignore[arg-type]
        found = native.analyze(body, "chat")
        assert repr(as_dict(found)) == repr(as_dict(twin.analyze(body, "chat")))
        seen.append(found.learned and found.learned[:2])
    assert seen[0] == seen[4] != seen[1] == seen[3] != seen[5]
    assert seen[2] is None


@examples
@given(st.data())
def test_damaged_files(data: st.DataObject) -> None:
    good = FILES["flat"]
    head, body = take_apart(good)
    text = json.dumps(head)
    how = data.draw(st.sampled_from(["bytes", "header", "number"]))
    if how == "bytes":
        at = data.draw(st.integers(0, 4000))
        damaged = good[:at] + data.draw(st.binary(max_size=4)) + good[at + data.draw(st.integers(0, 4)) :]
    elif how == "header":
        at = data.draw(st.integers(0, len(text)))
        part = data.draw(
            st.sampled_from(['"', "{}", "[", "]", ",", "1", "-", "0.5", "1e9", "\\u0000", " ", "\n", "null"])
        )
        damaged = put_together(text[:at] + part + text[at + data.draw(st.integers(0, 3)) :], body)
    else:
        start, end = head[data.draw(st.sampled_from([name for name in head if name not in ("__metadata__", "words")]))][
            "data_offsets"
        ]
        at = data.draw(st.integers(start, end - 1))
        damaged = altered(good, lambda _, numbers: numbers.__setitem__(at, data.draw(st.integers(0, 255))))
    assert outcome(_core.LearnedModel, damaged) == outcome(reference.LearnedModel, damaged)


def outcome(make: Any, data: bytes) -> str:
    try:
        return repr(make(data))
    except ValueError as error:
        return str(error)
