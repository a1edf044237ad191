"""Texts that fuzzing found (`make fuzz`), each of which was once counted wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bsgateway import _core, reference

TEXTS: list[str] = json.loads((Path(__file__).parent / "bodies" / "texts.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
@pytest.mark.parametrize("text", TEXTS)
def test_counts_of_what_fuzzing_found(text: str, encoding: str) -> None:
    assert _core.count_tokens(text, encoding) == reference.count_tokens(text, encoding)
    estimate = _core.estimate_tokens(text, encoding)
    assert estimate == reference.estimate_tokens(text, encoding)
    assert 1 <= estimate <= len(text.encode()), "no token is shorter than a byte"
    assert _core.sample_tokens(text, encoding) == reference.sample_tokens(text, encoding)
