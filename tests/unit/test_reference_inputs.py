"""Dense inputs of a learned model, and the bulk calls of the twin."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway import reference
from bsgateway.reference.features import FEATURE_NAMES
from bsgateway.reference.inputs import INPUT_NAMES, INPUT_NEEDS, SHARES, inputs, log2_of_one_more

quick = settings(deadline=None, derandomize=True, database=None)
WIDTH = len(FEATURE_NAMES)


def named(needs: tuple[str, ...] = (), **features: float) -> dict[str, float]:
    values = [features.pop(name, 0.0) for name in FEATURE_NAMES]
    assert not features, "no such feature"
    return dict(zip(INPUT_NAMES, inputs(values, needs), strict=True))


def doubles(data: bytes) -> list[float]:
    return [value for (value,) in struct.iter_unpack("=d", data)]


def test_names() -> None:
    assert len(set(INPUT_NAMES)) == len(INPUT_NAMES) == WIDTH + len(SHARES) + len(INPUT_NEEDS)
    assert INPUT_NAMES[:WIDTH] == FEATURE_NAMES


def test_nothing_is_all_zero() -> None:
    assert set(named().values()) == {0.0}


def test_counts_are_logarithms_and_shares_are_ratios() -> None:
    found = named(ask_bytes=7.0, ask_terms=2.0, ask_lines=0.0, ask_names=1.0)
    assert {name: value for name, value in found.items() if value} == {
        "ask_bytes": 3.0,
        "ask_terms": 1.5,
        "ask_names": 1.0,
        "ask_bytes/ask_terms": 3.5,
        "ask_names/ask_terms": 0.5,
    }


def test_needs_are_one_or_zero() -> None:
    found = named(("vision", "prompt_cache", "tools"))
    assert {name for name, value in found.items() if value} == {"need_vision", "need_tools"}
    assert found["need_vision"] == 1.0


@pytest.mark.parametrize(
    ("count", "value"), [(0, 0.0), (1, 1.0), (2, 1.5), (3, 2.0), (4, 2.25), (0.5, 0.5), (2**40 - 1, 40)]
)
def test_logarithms(count: float, value: float) -> None:
    assert log2_of_one_more(count) == value


@quick
@given(st.floats(0, 1e300), st.floats(0, 1e300))
def test_logarithms_ascend_and_stay_close_to_the_true_ones(count: float, other: float) -> None:
    low, high = sorted((count, other))
    assert log2_of_one_more(low) <= log2_of_one_more(high)
    assert log2_of_one_more(count) == pytest.approx(math.log2(1.0 + count), abs=0.0861)


@pytest.fixture(scope="module")
def analyzer() -> reference.Analyzer:
    return reference.Analyzer(
        dict.fromkeys(reference.SIGNALS, 1.0), (50, 200, 800, 3000, 10000), ["prove"], ["hi"], 65536, 0, 1_000_000,
        "o200k_base",
    )  # fmt: skip


TEXTS = [" Prove it, please.\n", "", "<reminder>be brief and kind</reminder>hi", "\ud800 中文"]


def test_a_text_is_what_it_is_as_a_request(analyzer: reference.Analyzer) -> None:
    batch = analyzer.featurize(TEXTS)
    assert analyzer.memo_stats().misses == 0
    for row, text in enumerate(TEXTS):
        body: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
        analysis = analyzer.analyze(body, "chat")
        assert doubles(batch.features)[row * WIDTH : (row + 1) * WIDTH] == list(analysis.features)
        assert doubles(batch.static)[row] == analysis.raw_score
    asks = ["Prove it, please.", "", "hi", "\ufffd 中文"]
    assert (batch.indptr, batch.indices) == reference.word_buckets(asks)
    assert batch != analyzer.featurize(TEXTS[:3])


def test_word_buckets() -> None:
    indptr, indices = reference.word_buckets(["a b", "", "b"])
    assert struct.unpack("=4q", indptr) == (0, 3, 3, 4)
    found = struct.unpack("=4i", indices)
    assert found[1] == found[3]
    assert reference.word_buckets([]) == (struct.pack("=q", 0), b"")


@pytest.mark.parametrize("texts", ["one text", b"bytes", [b"bytes"], [None], ["text", 1]])
def test_only_texts(texts: Any, analyzer: reference.Analyzer) -> None:
    for measure in (analyzer.featurize, reference.word_buckets):
        with pytest.raises(TypeError):
            measure(texts)


def test_inputs_of_rows(analyzer: reference.Analyzer) -> None:
    features = analyzer.featurize(TEXTS).features
    needs = [["tools"], (), ["audio", "unheard of"], ["vision"]]
    rows = [doubles(features)[row * WIDTH : (row + 1) * WIDTH] for row in range(len(TEXTS))]
    expected = [value for row, of_row in zip(rows, needs, strict=True) for value in inputs(row, of_row)]
    assert doubles(reference.model_inputs(features, needs)) == expected
    without = [value for row in rows for value in inputs(row, ())]
    assert doubles(reference.model_inputs(features, None)) == without
    assert reference.model_inputs(b"", []) == b""


@pytest.mark.parametrize(
    ("features", "needs", "reason"),
    [
        (b"x" * 12, None, f"features must be float64 [n, {WIDTH}], and 12 bytes are not"),
        (b"", [[]], "needs must have an item for each of the 0 rows of features, and have 1"),
        *(
            (
                struct.pack(f"={2 * WIDTH}d", *[1.0] * (WIDTH + 1), value, *[1.0] * (WIDTH - 2)),
                None,
                "features must be finite and not negative, and ask_tokens of row 1 is not",
            )
            for value in (-1.0, math.nan, math.inf)
        ),
    ],
)
def test_what_does_not_fit(features: bytes, needs: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as error:
        reference.model_inputs(features, needs)
    assert str(error.value) == reason
