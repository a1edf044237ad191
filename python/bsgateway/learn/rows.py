"""`Rows`: labelled requests as arrays, the one shape that training and evaluation work on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """`n` requests. Unknown values are NaN.

    `inputs`: float64 [n, len(INPUT_NAMES)]. `words`: CSR float32 [n, WORD_BUCKETS], each row's different buckets with
    the value 1 / sqrt(how many there are). `weak` and `strong`: float64 [n], how good the answers of the cheaper and
    the dearer model are, 0-1. `weight`: float64 [n], what the label counts. `group`: int64 [n], rows of one
    conversation share it and are never on both sides of a split. `at`: float64 [n], Unix time in seconds, or the
    order in the file. `length`: float64 [n], characters of the ask. `static`: float64 [n], the static score.
    `prompts`: uint32 [n], hashes of the asks (`prompt_hashes`). `source`: object [n], where the label comes from.
    """

    inputs: Floats
    words: sp.csr_matrix
    weak: Floats
    strong: Floats
    weight: Floats
    group: npt.NDArray[np.int64]
    at: Floats
    length: Floats
    static: Floats
    prompts: npt.NDArray[np.uint32]
    source: npt.NDArray[Any]

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    def bare(self) -> Rows:
        """The rows with neither inputs nor words: labels, times and the like."""
        return replace(self, inputs=np.zeros((len(self), 0)), words=sp.csr_matrix((len(self), 0), dtype=np.float32))

    def __getitem__(self, index: Any) -> Rows:
        """The rows that a mask or a list of positions chooses, in its order."""
        return Rows(**{field.name: getattr(self, field.name)[index] for field in fields(self)})
