"""Model files for tests: real ones, and ones that are taken apart and put together wrongly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from bsgateway.core import core
from bsgateway.learn.model_file import Model, ModelHeader

CREATED = "2026-11-22T00:00:00Z"
Header = dict[str, Any]


def header(kind: str = "trained", **fields: Any) -> ModelHeader:
    return ModelHeader(**{"kind": kind, "target": "fail", "created": CREATED, "rows": 1000, **fields})


def model(bias: float = 0.0, kind: str = "trained", seed: int | None = None, knots: int = 3, **fields: Any) -> Model:
    """Without a seed nothing counts but the bias: its probability is 0.5 and a tenth of it more."""
    inputs, random = len(core.INPUT_NAMES), np.random.default_rng(seed)
    flat = seed is None
    return Model(
        words=np.zeros(core.WORD_BUCKETS) if flat else random.normal(size=core.WORD_BUCKETS),
        knots=np.sort(np.zeros((inputs, knots)) if flat else random.normal(3, 3, (inputs, knots)), axis=1),
        curves=np.zeros((inputs, knots)) if flat else random.normal(size=(inputs, knots)),
        bias=bias,
        calibration=np.array([[-5.0, 5.0], [0.0, 1.0]]),
        seen=np.empty(0, dtype=np.uint32) if flat else np.unique(random.integers(0, 2**32, 50, dtype=np.uint32)),
        header=header(kind, **fields),
    )


def take_apart(data: bytes) -> tuple[Header, bytes]:
    """The header of a model file, and the bytes behind it."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def put_together(head: Header | str | bytes, body: bytes) -> bytes:
    """A file with that header, whatever it is. The checksum stays as it is."""
    text = json.dumps(head) if isinstance(head, dict) else head
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return len(raw).to_bytes(8, "little") + raw + body


def sealed(head: Header, body: bytes) -> bytes:
    """As `put_together`, with the checksum that fits."""
    metadata = head["__metadata__"]
    metadata["sha256"] = hashlib.sha256(metadata["bsgateway"].encode("utf-8", "surrogatepass") + body).hexdigest()
    return put_together(head, body)


def altered(data: bytes, alter: Callable[[Header, bytearray], Any]) -> bytes:
    """`data` with a change to its header or its numbers, and the checksum that fits."""
    head, body = take_apart(data)
    numbers = bytearray(body)
    alter(head, numbers)
    return sealed(head, bytes(numbers))


def described(data: bytes, **fields: Any) -> bytes:
    """`data` with another description."""

    def alter(head: Header, _: bytearray) -> None:
        found = json.loads(head["__metadata__"]["bsgateway"])
        head["__metadata__"]["bsgateway"] = json.dumps({**found, **fields})

    return altered(data, alter)
