"""Asks as arrays: the core measures texts in bulk, the same way as it measures requests on the request path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ..config import Analysis, Static, analyzer_of
from ..core import core
from .model_file import prompt_hashes
from .rows import Floats

BATCH = 1_000
"""Texts that are measured at once."""


class Measured(NamedTuple):
    """`n` texts, each taken as the one user message of a request: fields of `Rows` by the same names, and `features`,
    float64 [n, len(FEATURE_NAMES)]."""

    features: Floats
    inputs: Floats
    words: sp.csr_matrix
    length: Floats
    static: Floats
    prompts: npt.NDArray[np.uint32]


def default_analyzer() -> core.Analyzer:
    """An analyzer with the default settings, which remembers and hands back no text."""
    return analyzer_of(Static(), Analysis(memo_bytes=0), capture_chars=0)


def measure(texts: Sequence[str], analyzer: core.Analyzer) -> Measured:
    """What a learned model and the static score see of `texts`."""
    batch = analyzer.featurize(texts)
    return Measured(
        matrix(batch.features, len(core.FEATURE_NAMES)),
        matrix(core.model_inputs(batch.features, None), len(core.INPUT_NAMES)),
        word_matrix(batch.indptr, batch.indices),
        np.fromiter(map(len, texts), np.float64, len(texts)),
        np.frombuffer(batch.static, np.float64),
        prompt_hashes(texts),
    )


def matrix(data: bytes, columns: int) -> Floats:
    """Row-major float64 bytes as an array, without a copy."""
    return np.frombuffer(data, np.float64).reshape(-1, columns)


def word_matrix(indptr: bytes, indices: bytes) -> sp.csr_matrix:
    """The buckets of each text as a sparse float32 matrix [n, WORD_BUCKETS] whose rows have length 1, or 0."""
    starts = np.frombuffer(indptr, np.int64)
    counts = np.diff(starts)
    values = np.repeat(1.0 / np.sqrt(np.maximum(counts, 1)), counts).astype(np.float32)
    shape = (len(counts), core.WORD_BUCKETS)
    return sp.csr_matrix((values, np.frombuffer(indices, np.int32), starts), shape=shape)
