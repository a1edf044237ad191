"""Fits the table of the token estimator: `python -m benches.estimator fit` (needs numpy).

A text's estimate is the sum of one weight for each character, which depends on its class, on the class of the character
before it and on how long a run of letters that one ends (`features`). The weights are first the mean number of tokens
that start at such a character, then corrected by ridge regression on the relative errors of whole documents, and never
negative.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import tiktoken
from numpy.typing import NDArray

from .classes import BMP, EMOJI, EMOJI_RANGE, LETTERS, OTHER, class_map
from .corpora import FIT, Document, documents

TABLE = Path(__file__).parents[2] / "python" / "bsgateway" / "data" / "estimator.bin"
ENCODINGS = ("o200k_base", "cl100k_base")
_CLASSES, _PLACES = 128, 4
_UNIT = 4096
"""Weights are whole numbers of this part of a token."""
_MOST = (2**15 - 1) / _UNIT
_RIDGE, _LEAST_FREEDOM, _ROUNDS = 0.02, 0.01, 20
_PER_SOURCE = 120

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def fit() -> None:
    """Write `TABLE` anew: the class of each code point of the basic multilingual plane, the number of the classes that
    are letters, a zero, then the weights of each encoding as little-endian 16-bit numbers."""
    classes = class_map(tiktoken.get_encoding("o200k_base")._mergeable_ranks)
    texts = [document for document in documents(FIT, _PER_SOURCE) if document.size > 1024 or ":" in document.kind]
    found = [features(document.text, classes) for document in texts]
    table = [classes, bytes([LETTERS, 0])]
    for name in ENCODINGS:
        weights = _fit(tiktoken.get_encoding(name), texts, found)
        table.append(np.rint(weights * _UNIT).astype("<i2").tobytes())
    TABLE.write_bytes(b"".join(table))


def features(text: str, classes: bytes) -> Indices:
    """For each character the index of its weight: place, class before, class."""
    points = _points(text)
    lookup = np.frombuffer(classes, np.uint8)
    beyond = np.where((points >= EMOJI_RANGE[0]) & (points <= EMOJI_RANGE[1]), EMOJI, OTHER)
    own = np.where(points < BMP, lookup[np.minimum(points, BMP - 1)], beyond).astype(np.int64)
    before = np.concatenate([[lookup[ord("\n")]], own[:-1]]).astype(np.int64)
    # Letters up to and with the character before, 0 to 7.
    letters = before < LETTERS
    position = np.arange(len(own))
    run = np.minimum(position - np.maximum.accumulate(np.where(letters, -1, position)), 7)
    return ((run // 2) * _CLASSES + before) * _CLASSES + own


def _points(text: str) -> NDArray[np.int64]:
    return np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.int64)


def _fit(encoding: tiktoken.Encoding, texts: list[Document], found: list[Indices]) -> Floats:
    size = _PLACES * _CLASSES * _CLASSES
    tokens = [_token_starts(document.text, encoding) for document in texts]
    seen, starts = np.zeros(size), np.zeros(size)
    for indices, counts in zip(found, tokens, strict=True):
        seen += np.bincount(indices, minlength=size)
        starts += np.bincount(indices, counts, minlength=size)
    weights = np.clip((starts + 5 * _by_class(seen, starts)) / (seen + 5), 0, _MOST)

    used = np.flatnonzero(seen)
    totals = np.array([counts.sum() for counts in tokens])
    group_sizes = Counter((document.kind, document.size) for document in texts)
    importance = np.array([group_sizes[document.kind, document.size] ** -0.25 for document in texts])
    rows = np.zeros((len(texts), len(used)), np.float32)
    for number, indices in enumerate(found):
        rows[number] = np.bincount(indices, minlength=size)[used] / totals[number]
    rows *= importance[:, None].astype(np.float32)
    # A weight may move the more, the larger it is: what is hardly ever the start of a token stays so. In the dual form,
    # as there are fewer documents than weights.
    freedom = (weights[used] + _LEAST_FREEDOM).astype(np.float32)
    kernel = ((rows * freedom) @ rows.T).astype(np.float64)
    kernel[np.diag_indices(len(kernel))] += _RIDGE * np.trace(kernel) / len(kernel)
    inverse = np.linalg.inv(kernel)
    for _ in range(_ROUNDS):  # what cutting the weights off at their bounds spoils, the next round mends
        missing = importance - rows @ weights[used].astype(np.float32)
        weights[used] = np.clip(weights[used] + freedom * (rows.T @ (inverse @ missing).astype(np.float32)), 0, _MOST)
    return weights


def _by_class(seen: Floats, starts: Floats) -> Floats:
    """For each weight the mean of its class, whatever stands before; 1 where the class was never seen."""
    own = np.arange(len(seen)) % _CLASSES
    class_seen, class_starts = np.bincount(own, seen), np.bincount(own, starts)
    mean = np.where(class_seen > 0, class_starts / np.maximum(class_seen, 1), 1.0)
    return np.asarray(mean[own], np.float64)


def _token_starts(text: str, encoding: tiktoken.Encoding) -> Floats:
    """For each character the number of tokens that start in its bytes."""
    sizes = [len(token) for token in encoding.decode_tokens_bytes(encoding.encode_ordinary(text))]
    starts = np.cumsum([0, *sizes[:-1]])
    points = _points(text)
    widths = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
    at = np.searchsorted(np.cumsum(widths), starts, side="right")
    return np.bincount(at, minlength=len(points)).astype(np.float64)
