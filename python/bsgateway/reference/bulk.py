"""Many texts at once, for training: features and word buckets as arrays in the byte order of the machine."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from .chars import clean
from .features import FEATURE_NAMES
from .inputs import inputs
from .words import words


@dataclass(frozen=True)
class FeatureBatch:
    """What `n` texts are. `features`: float64 [n, len(FEATURE_NAMES)], row by row. `static`: float64 [n], the raw
    static scores. `indptr`: int64 [n + 1], and `indices`: int32; the word buckets of text i are
    `indices[indptr[i]:indptr[i + 1]]`, each once. `numpy.frombuffer` reads them without a copy."""

    features: bytes
    static: bytes
    indptr: bytes
    indices: bytes


def word_buckets(texts: Sequence[str]) -> tuple[bytes, bytes]:
    """The word buckets of `texts`, which are asks: `indptr` and `indices` of a `FeatureBatch`."""
    return packed(words(clean(text)).buckets for text in all_texts(texts))


def model_inputs(features: bytes, needs: Sequence[Sequence[str]] | None) -> bytes:
    """The inputs of a learned model, float64 [n, len(INPUT_NAMES)], of `features`, float64 [n, len(FEATURE_NAMES)],
    and the needs of each row, or none. Raises ValueError where these do not fit each other, or a feature is no count.
    """
    width = len(FEATURE_NAMES)
    if len(features) % (8 * width):
        raise ValueError(f"features must be float64 [n, {width}], and {len(features)} bytes are not")
    counts = array("d", features)
    rows = len(counts) // width
    if needs is not None and len(needs) != rows:
        raise ValueError(f"needs must have an item for each of the {rows} rows of features, and have {len(needs)}")
    found = array("d")
    for row in range(rows):
        of_row = counts[row * width : (row + 1) * width]
        for name, count in zip(FEATURE_NAMES, of_row, strict=True):
            if not (isfinite(count) and count >= 0.0):
                raise ValueError(f"features must be finite and not negative, and {name} of row {row} is not")
        found.extend(inputs(of_row, () if needs is None else needs[row]))
    return found.tobytes()


def packed(rows: Iterable[Iterable[int]]) -> tuple[bytes, bytes]:
    """Rows of buckets as `indptr` and `indices`."""
    indptr, indices = array("q", [0]), array("i")
    for buckets in rows:
        indices.extend(buckets)
        indptr.append(len(indices))
    return indptr.tobytes(), indices.tobytes()


def all_texts(texts: Sequence[str]) -> Sequence[str]:
    """`texts`, which are not one text: its characters would pass for many. Raises TypeError."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError("texts must be a sequence of str")
    return texts
