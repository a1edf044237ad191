"""Constants and tables of the two modules."""

from __future__ import annotations

import pytest

from bsgateway import _core, reference

CONSTANTS = (
    "BOUND_STATES", "FEATURE_NAMES", "FEATURE_VERSION", "INPUT_NAMES", "REDACTION_PLACEHOLDERS", "SIGNALS",
    "WORD_BUCKETS",
)  # fmt: skip


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants(name: str) -> None:
    assert repr(getattr(_core, name)) == repr(getattr(reference, name))


@pytest.mark.parametrize("name", ["score_table", "default_complex_keywords", "default_simple_keywords"])
def test_tables(name: str) -> None:
    # repr: 1 is not 1.0 and a tuple is no list, here.
    assert repr(getattr(_core, name)()) == repr(getattr(reference, name)())


def test_both_have_the_same_public_names() -> None:
    assert {name for name in dir(_core) if not name.startswith("_")} == set(reference.__all__)
