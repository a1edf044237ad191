"""The floors of `make redaction`, and what the corpus must be for them to mean something."""

from __future__ import annotations

from collections import Counter

from tests.redaction import measure
from tests.redaction.corpus import lookalikes, positives

from bsgateway import _core


def test_the_floors_are_held() -> None:
    assert measure.failures() == []


def test_a_miss_is_seen() -> None:
    """The measure tells a redactor that finds nothing from one that takes everything."""
    real = _core.redact
    try:
        _core.redact = lambda text: text  # type: ignore[assignment, misc]
        assert len(measure.failures()) == 2
        _core.redact = lambda text: "[CUT]"  # type: ignore[assignment, misc]
        assert len(measure.failures()) == 4
    finally:
        _core.redact = real  # type: ignore[misc]


def test_every_kind_is_there_in_both_splits() -> None:
    for split in measure.SPLITS:
        kinds = Counter(positive.kind for positive in positives() if positive.split == split)
        assert set(kinds) == {one.strip("[]") for one in _core.REDACTION_PLACEHOLDERS} - {"CUT"}
        assert min(kinds.values()) >= 5
        assert sum(lookalike.split == split for lookalike in lookalikes()) >= 100


def test_each_text_holds_its_secret_once() -> None:
    for positive in positives():
        assert len(positive.secret) >= 4, positive.line
        assert positive.text.count(positive.secret) == 1, positive.line
