"""The file of a learned model: safetensors, read with hard bounds. Nothing in it is ever executed.

Eight bytes hold the length of a header, the header is JSON, and what follows are the numbers of the tensors, which the
header places. `read` refuses whatever is not exactly as described here, before it makes anything of it:

- `words` I16 [WORD_BUCKETS], `word_scale` F64 [1], `bias` F64 [1];
- `knots` and `curves` F64 [inputs, K], K from 1 to `MAX_KNOTS`, each row of `knots` in ascending order;
- `calibration` F64 [2, M], M from 2 to `MAX_CALIBRATION`: margins, each above the one before, and their probabilities;
- optional `seen` U32 [S], S up to `MAX_SEEN`, each above the one before;
- `__metadata__`: `bsgateway`, the JSON text that describes the model, and `sha256`, in hexadecimal, of that text and
  the bytes of all tensors.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import sys
from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .features import FEATURE_VERSION
from .inputs import INPUT_NAMES
from .words import WORD_BUCKETS

FORMAT = 1
"""The version of all this."""
KINDS = ("prior", "trained")
"""prior: comes with the package. trained: on the operator's own traffic."""
MAX_BYTES = 8 << 20
MAX_HEADER = 1 << 20
MAX_DEPTH = 16
"""Lists and objects within each other, in the header and in the description."""
MAX_KNOTS = 16
MAX_CALIBRATION = 256
MAX_SEEN = 1_000_000
MAX_NUMBER = 1e9
"""No number may be further from 0: so no sum of them can overflow."""
ID_DIGITS = 12

_SIZES = {"I16": 2, "U32": 4, "F64": 8}


@dataclass(frozen=True)
class ModelFile:
    """What a file holds, checked. `knots` and `curves`: a tuple for each input. `margins` and `probabilities` are the
    calibration. `id`: the first `ID_DIGITS` of the checksum."""

    id: str
    kind: str
    description: str
    words: array[int]
    word_scale: float
    bias: float
    knots: tuple[tuple[float, ...], ...]
    curves: tuple[tuple[float, ...], ...]
    margins: tuple[float, ...]
    probabilities: tuple[float, ...]


def read(data: bytes) -> ModelFile:
    """The model in `data`. Raises ValueError with the first reason why it is none."""
    header, body = _split(data)
    metadata = header.pop("__metadata__", None)
    tensors = _tensors(header, body)
    description, checksum = _metadata(metadata)
    if hashlib.sha256(description.encode() + body).hexdigest() != checksum:
        raise ValueError("the checksum does not fit: the file was damaged or changed")
    kind = _kind(description)
    floats = {name: _floats(name, found) for name, (dtype, _, found) in tensors.items() if dtype == "F64"}
    knots = _rows(floats["knots"], tensors["knots"][1][1])
    for name, row in zip(INPUT_NAMES, knots, strict=True):
        if any(one > other for one, other in pairwise(row)):
            raise ValueError(f"tensor knots: those of {name} are not in ascending order")
    margins, probabilities = _rows(floats["calibration"], tensors["calibration"][1][1])
    if any(one >= other for one, other in pairwise(margins)):
        raise ValueError("tensor calibration: its margins are not in ascending order")
    if any(one > other for one, other in pairwise(probabilities)) or probabilities[0] < 0 or probabilities[-1] > 1:
        raise ValueError("tensor calibration: its probabilities are not in ascending order between 0 and 1")
    if "seen" in tensors:
        seen = struct.unpack(f"<{tensors['seen'][1][0]}I", tensors["seen"][2])
        if any(one >= other for one, other in pairwise(seen)):
            raise ValueError("tensor seen: its hashes are not in ascending order")
    words = array("h", tensors["words"][2])
    if sys.byteorder == "big":
        words.byteswap()
    return ModelFile(
        id=checksum[:ID_DIGITS],
        kind=kind,
        description=description,
        words=words,
        word_scale=floats["word_scale"][0],
        bias=floats["bias"][0],
        knots=knots,
        curves=_rows(floats["curves"], tensors["curves"][1][1]),
        margins=margins,
        probabilities=probabilities,
    )


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and all bytes behind it."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"the file is larger than {MAX_BYTES} bytes")
    if len(data) < 8:
        raise ValueError("the file is cut short: it has no header")
    (length,) = struct.unpack("<Q", data[:8])
    if length > MAX_HEADER:
        raise ValueError(f"the file is no safetensors file, or its header is larger than {MAX_HEADER} bytes")
    if len(data) - 8 < length:
        raise ValueError("the file is cut short: its header is not all there")
    try:
        text = data[8 : 8 + length].decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the header is not UTF-8") from None
    header = _object("the header", text)
    return header, data[8 + length :]


def _tensors(header: dict[str, Any], body: bytes) -> dict[str, tuple[str, list[int], bytes]]:
    """dtype, shape and bytes of each tensor. Together they are all of `body`, each byte once."""
    inputs = len(INPUT_NAMES)
    wanted: dict[str, tuple[str, tuple[tuple[int, int], ...]]] = {
        "words": ("I16", ((WORD_BUCKETS, WORD_BUCKETS),)),
        "word_scale": ("F64", ((1, 1),)),
        "bias": ("F64", ((1, 1),)),
        "knots": ("F64", ((inputs, inputs), (1, MAX_KNOTS))),
        "curves": ("F64", ((inputs, inputs), (1, MAX_KNOTS))),
        "calibration": ("F64", ((2, 2), (2, MAX_CALIBRATION))),
        "seen": ("U32", ((0, MAX_SEEN),)),
    }
    for name in header:
        if name not in wanted:
            raise ValueError("the header names a tensor that no model has")
    tensors: dict[str, tuple[str, list[int], bytes]] = {}
    places: list[tuple[int, int]] = []
    for name, (dtype, bounds) in wanted.items():
        if name not in header:
            if name == "seen":
                continue
            raise ValueError(f"tensor {name} is missing")
        shape, start, end = _place(name, header[name], dtype, bounds)
        if end > len(body):
            raise ValueError("the file is cut short: its tensors are not all there")
        tensors[name] = dtype, shape, body[start:end]
        places.append((start, end))
    at = 0
    for start, end in sorted(places):
        if start != at:
            raise ValueError("the tensors overlap, or leave a hole")
        at = end
    if at != len(body):
        raise ValueError("there are bytes behind the tensors")
    if tensors["knots"][1] != tensors["curves"][1]:
        raise ValueError("tensors knots and curves differ in shape")
    return tensors


def _place(name: str, entry: Any, dtype: str, bounds: tuple[tuple[int, int], ...]) -> tuple[list[int], int, int]:
    """Shape, first and end byte of a tensor, whose entry in the header is `entry`."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name}: its entry is not made of dtype, shape and data_offsets")
    if entry["dtype"] != dtype:
        raise ValueError(f"tensor {name}: its dtype is not {dtype}")
    shape = entry["shape"]
    if not _counts(shape, len(bounds)) or not all(
        low <= size <= high for size, (low, high) in zip(shape, bounds, strict=True)
    ):
        shown = ", ".join(f"{low}" if low == high else f"{low} to {high}" for low, high in bounds)
        raise ValueError(f"tensor {name}: its shape is not [{shown}]")
    offsets = entry["data_offsets"]
    if not _counts(offsets, 2) or offsets[1] - offsets[0] != math.prod(shape) * _SIZES[dtype]:
        raise ValueError(f"tensor {name}: its data_offsets do not fit its shape")
    return shape, offsets[0], offsets[1]


def _counts(value: Any, length: int) -> bool:
    """Whether `value` is a list of so many whole numbers from 0 on."""
    return isinstance(value, list) and len(value) == length and all(type(each) is int and each >= 0 for each in value)


def _metadata(metadata: Any) -> tuple[str, str]:
    """The description and the checksum."""
    if (
        not isinstance(metadata, dict)
        or set(metadata) != {"bsgateway", "sha256"}
        or not all(isinstance(value, str) for value in metadata.values())
    ):
        raise ValueError("the file was not written by BSGateway: __metadata__ is not made of bsgateway and sha256")
    return metadata["bsgateway"], metadata["sha256"]


def _kind(description: str) -> str:
    """The kind of the model, after a look at what it was made for."""
    found = _object("the description", description)
    if type(found.get("format")) is not int or found["format"] != FORMAT:
        raise ValueError(f"the format of the model file is not {FORMAT}: this version of BSGateway cannot read it")
    kind = found.get("kind")
    if kind not in KINDS:
        raise ValueError(f"the kind of the model is none of {', '.join(KINDS)}")
    if type(found.get("feature_version")) is not int or found["feature_version"] != FEATURE_VERSION:
        raise ValueError(f"the model was trained on features of another version than {FEATURE_VERSION}: train it again")
    if found.get("input_names") != list(INPUT_NAMES):
        raise ValueError("the model was trained on other inputs than this version of BSGateway has: train it again")
    return str(kind)


def _object(what: str, text: str) -> dict[str, Any]:
    """A JSON object: no name twice, nothing beyond a double, no half of a pair of surrogates."""
    try:
        value = json.loads(
            text, object_pairs_hook=_distinct, parse_constant=_refused, parse_float=_finite, parse_int=_whole
        )
        _walk(value, 1)
        if not isinstance(value, dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise ValueError(
            f"{what} is no JSON object of at most {MAX_DEPTH} levels, in which no name stands twice"
        ) from None
    return dict(value)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refused(_: str) -> None:
    raise ValueError


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _whole(text: str) -> int | float:
    """A float beyond 64 bits, or for a zero below zero, as the reader of the core has it."""
    if len(text) <= 20 and text != "-0" and -(1 << 63) <= (value := int(text)) < 1 << 64:
        return value
    return _finite(text)


def _walk(value: Any, depth: int) -> None:
    """Raises ValueError for too many levels; UnicodeEncodeError, which is one, for what has no UTF-8 form."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, (dict, list)):
        if depth > MAX_DEPTH:
            raise ValueError
        for each in value:
            _walk(each, depth + 1)
        if isinstance(value, dict):
            for each in value.values():
                _walk(each, depth + 1)


def _floats(name: str, data: bytes) -> tuple[float, ...]:
    found = struct.unpack(f"<{len(data) // 8}d", data)
    if not all(abs(each) <= MAX_NUMBER for each in found):  # nor is NaN
        raise ValueError(f"tensor {name}: a number is not finite, or beyond {MAX_NUMBER:.0f}")
    return found


def _rows(values: tuple[float, ...], width: int) -> tuple[tuple[float, ...], ...]:
    return tuple(values[at : at + width] for at in range(0, len(values), width))
