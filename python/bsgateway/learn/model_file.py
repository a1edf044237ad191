"""`Model`: a learned model as arrays, to fit, to measure, and to write as the file that the gateway serves.

The format is described, and checked on reading, in `bsgateway.reference.model_file`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from ..core import core
from ..errors import ModelError
from ..model_header import ModelHeader
from ..models import OUTCOMES, prior_bytes
from .rows import Floats, Rows
from .same_ask import same_words

__all__ = ["Model", "ModelHeader", "prompt_hashes", "shipped_prior"]

LARGEST = 32767
"""The largest weight of a word in the file: they are stored as whole numbers of 16 bits."""


@dataclass(frozen=True)
class Model:
    """`I` inputs, `K` knots, `M` points of calibration.

    `words`: float64 [WORD_BUCKETS], the weight of each bucket; `to_bytes` rounds them to 1/32767 of the largest.
    `knots` and `curves`: float64 [I, K], where the curve of each input bends, in ascending order, and how high it is
    there; flat outside. Curves are centred: 0 on the mean of the rows that the model was fitted on, and an input that
    is NaN adds nothing. `bias`: the mean margin without words. `calibration`: float64 [2, M], margins in ascending
    order, and the probability that each stands for. `seen`: uint32 [S], `prompt_hashes` of the asks that it was trained
    on, in ascending order, each once; empty if they are not told. `outcomes`: of a prior, what it would be without the
    requests that its authors judged (see `contrast`); it is a file of its own.
    """

    words: Floats
    knots: Floats
    curves: Floats
    bias: float
    calibration: Floats
    seen: npt.NDArray[np.uint32]
    header: ModelHeader
    outcomes: Model | None = None

    def margins(self, rows: Rows) -> Floats:
        """The linear score of each row, float64 [n]."""
        margins = np.full(len(rows), self.bias)
        for values, knots, curve in zip(rows.inputs.T, self.knots, self.curves, strict=True):
            margins += np.nan_to_num(np.interp(values, knots, curve), nan=0.0)
        return np.asarray(margins + rows.words @ self.words, dtype=np.float64)

    def probabilities(self, rows: Rows) -> Floats:
        """The calibrated probability of each row, float64 [n], 0-1."""
        return np.asarray(np.interp(self.margins(rows), *self.calibration), dtype=np.float64)

    def to_bytes(self) -> bytes:
        """The model as the bytes of its file. Raises ModelError for one that the gateway would refuse."""
        scale = float(np.abs(self.words).max(initial=0.0)) / LARGEST
        tensors: dict[str, npt.NDArray[np.generic]] = {
            "words": np.rint(self.words / scale if scale else self.words).astype("<i2"),
            "word_scale": np.array([scale], dtype="<f8"),
            "bias": np.array([self.bias], dtype="<f8"),
            "knots": np.ascontiguousarray(self.knots, dtype="<f8"),
            "curves": np.ascontiguousarray(self.curves, dtype="<f8"),
            "calibration": np.ascontiguousarray(self.calibration, dtype="<f8"),
        }
        if self.seen.size:
            tensors["seen"] = np.ascontiguousarray(self.seen, dtype="<u4")
        description = msgspec.json.encode(self.header).decode()
        data = _described(save(tensors), description)
        _checked(data)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Model:
        """The model in a file. Raises ModelError with the reason for one that is not exactly right."""
        model = _checked(data)
        tensors = load(data)
        return cls(
            words=tensors["words"].astype(np.float64) * float(tensors["word_scale"][0]),
            knots=tensors["knots"],
            curves=tensors["curves"],
            bias=float(tensors["bias"][0]),
            calibration=tensors["calibration"],
            seen=tensors.get("seen", np.empty(0, dtype=np.uint32)),
            header=ModelHeader.of(model),
        )


def shipped_prior() -> Model:
    """The prior that comes with the package, to fit a model on top of. Raises ModelError."""
    return replace(Model.from_bytes(prior_bytes()), outcomes=Model.from_bytes(prior_bytes(OUTCOMES)))


def prompt_hashes(asks: Sequence[str]) -> npt.NDArray[np.uint32]:
    """A number for each ask, the same for the same words whatever their case and white space: uint32 [n]."""
    digests = (hashlib.sha256(same_words(ask).encode()).digest() for ask in asks)
    return np.frombuffer(b"".join(digest[:4] for digest in digests), dtype="<u4").astype(np.uint32)


def _checked(data: bytes) -> core.LearnedModel:
    try:
        return core.LearnedModel(data)
    except ValueError as error:
        raise ModelError(f"no model that the gateway can serve: {error}") from error


def _described(data: bytes, description: str) -> bytes:
    """A safetensors file with `description` and the checksum in its metadata. The library would write the same, but the
    two in an order that changes from one process to the next."""
    length = int.from_bytes(data[:8], "little")
    header, numbers = msgspec.json.decode(data[8 : 8 + length], type=dict[str, Any]), data[8 + length :]
    checksum = hashlib.sha256(description.encode() + numbers).hexdigest()
    text = msgspec.json.encode({"__metadata__": {"bsgateway": description, "sha256": checksum}, **header})
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    return len(text).to_bytes(8, "little") + text + numbers
