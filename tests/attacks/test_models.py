"""Model files that somebody damaged, forged or mistook for one: each is refused with a reason, by both implementations.

`models/make.py` writes them, `models/reasons.json` holds the reason of each.
"""

from __future__ import annotations

import gzip
import json
import re
import tracemalloc
from pathlib import Path

import pytest

from bsgateway import _core, reference
from bsgateway.errors import ModelError
from bsgateway.models import read
from model_files import model

HERE = Path(__file__).parent / "models"
REASONS: dict[str, str] = json.loads((HERE / "reasons.json").read_text(encoding="utf-8"))
MOST_BYTES = 48 << 20
"""What reading one may take: some times the largest file, and the million smallest lists that a header can hold."""


def attack(name: str) -> bytes:
    return gzip.decompress((HERE / f"{name}.safetensors.gz").read_bytes())


def test_each_has_a_reason() -> None:
    assert sorted(REASONS) == sorted(path.name.partition(".")[0] for path in HERE.glob("*.gz"))


@pytest.mark.parametrize("name", REASONS)
def test_it_is_refused(name: str, tmp_path: Path) -> None:
    data, reason = attack(name), re.escape(REASONS[name]) + "$"
    with pytest.raises(ValueError, match=f"^{reason}"):
        _core.LearnedModel(data)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"^{reason}"):
            reference.LearnedModel(data)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=rf"^model file {re.escape(str(path))} refused: {reason}"):
        read(path)


def test_what_they_were_made_from_is_none_of_them() -> None:
    data = model().to_bytes()
    assert _core.LearnedModel(data).id == reference.LearnedModel(data).id
