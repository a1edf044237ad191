"""Writes the attacks beside this file: `PYTHONPATH=tests python tests/attacks/models/make.py`, after the format of the
model file or the inputs of the model have changed. Read what it writes to `reasons.json`."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path

from bsgateway.core import core
from bsgateway.reference import LearnedModel
from model_files import Header, altered, described, model, put_together, sealed, take_apart

HERE = Path(__file__).parent
MEBIBYTE = 1 << 20


def attacks() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each."""
    good = model().to_bytes()
    head, body = take_apart(good)
    text = json.dumps(head)
    yield from _frames(good, head, body)
    yield from _headers(text, body)
    for name, entry in _entries():
        tensor, _, field = name.partition("-")
        found = {**head, tensor: {**head[tensor], **entry}}
        yield f"{field}-of-{tensor}", put_together(found, body)
    yield from _tilings(head, body)
    yield from _numbers(good, head)
    yield "later-format", described(good, format=2)
    yield "unknown-kind", described(good, kind="oracle")
    yield "other-feature-version", described(good, feature_version=core.FEATURE_VERSION + 1)
    yield "other-inputs", described(good, input_names=[*core.INPUT_NAMES[1:], core.INPUT_NAMES[0]])
    yield "fewer-inputs", described(good, input_names=core.INPUT_NAMES[:-1])
    metadata = head["__metadata__"]
    for name, description in (
        ("description-deep", "[" * 100_000),
        ("description-twice", '{"format": 1, "format": 1}'),
        ("description-no-object", "[1]"),
        ("description-surrogate", '{"format": "\\ud800"}'),
    ):
        yield name, sealed({**head, "__metadata__": {**metadata, "bsgateway": description}}, body)
    yield "metadata-more", put_together({**head, "__metadata__": {**metadata, "code": "import os"}}, body)
    yield "metadata-missing", put_together({name: head[name] for name in head if name != "__metadata__"}, body)
    yield "checksum-of-another", put_together({**head, "__metadata__": {**metadata, "sha256": "0" * 64}}, body)
    yield (
        "checksum-upper-case",
        put_together({**head, "__metadata__": {**metadata, "sha256": metadata["sha256"].upper()}}, body),
    )


def _frames(good: bytes, head: Header, body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "seven-bytes", good[:7]
    yield "cut-in-header", good[:500]
    yield "cut-in-tensors", good[:-1]
    yield "one-byte-more", good + b"\0"
    yield "flipped-byte", good[:-1000] + bytes([good[-1000] ^ 1]) + good[-999:]
    yield "flipped-byte-of-description", good.replace(b"fail", b"fall", 1)
    yield "pickle", pickle.dumps({"words": [1.0, 2.0], "bias": 0.0})
    yield "zip", b"PK\x03\x04" + bytes(60)
    yield "header-of-a-mebibyte-and-one", struct.pack("<Q", MEBIBYTE + 1) + b"{" + b" " * MEBIBYTE
    yield "header-longer-than-memory", struct.pack("<Q", 2**64 - 1) + good[8:]
    yield "header-longer-than-file", struct.pack("<Q", MEBIBYTE) + good[8:]
    yield "nine-mebibytes", put_together(head, body + bytes(9 * MEBIBYTE))


def _headers(text: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "header-not-utf-8", put_together(b'{"\xff": 1}', body)
    yield "header-utf-16", put_together(text.encode("utf-16"), body)
    yield "header-with-bom", put_together("\ufeff" + text, body)
    yield "header-deep-lists", put_together("[" * MEBIBYTE, body)
    yield "header-deep-objects", put_together('{"a":' * 200_000, body)
    yield "header-deep-and-closed", put_together('{"a":' + "[" * 17 + "]" * 17 + "," + text[1:], body)
    yield "header-many-lists", put_together("[" + "[]," * (MEBIBYTE // 3 - 2) + "1]", body)
    yield "header-no-object", put_together("[]", body)
    yield "header-empty", put_together("{}", body)
    yield "header-rest-behind", put_together(text + "{}", body)
    yield "header-tensor-twice", put_together('{"bias": 1,' + text[1:], body)
    yield "header-name-twice-within", put_together(text.replace('"dtype"', '"shape": [1], "dtype"', 1), body)
    yield "header-surrogate", put_together('{"\\ud800": 1,' + text[1:], body)
    yield "header-nan", put_together('{"a": NaN,' + text[1:], body)
    yield "header-infinite", put_together('{"a": 1e999,' + text[1:], body)
    yield "header-long-number", put_together('{"a": ' + "9" * 100_000 + "," + text[1:], body)
    yield "header-unknown-tensor", put_together('{"code": 1,' + text[1:], body)


def _entries() -> Iterator[tuple[str, dict[str, object]]]:
    yield "words-dtype", {"dtype": "F16"}
    yield "bias-dtype", {"dtype": ["F64"]}
    yield "words-larger_shape", {"shape": [core.WORD_BUCKETS + 1]}
    yield "words-overflowing_shape", {"shape": [2**63]}
    yield "knots-many_knots", {"shape": [len(core.INPUT_NAMES), 17]}
    yield "knots-no_knots", {"shape": [len(core.INPUT_NAMES), 0]}
    yield "curves-turned_shape", {"shape": [3, len(core.INPUT_NAMES)]}
    yield "calibration-one_point", {"shape": [2, 1]}
    yield "bias-scalar_shape", {"shape": []}
    yield "bias-fractional_shape", {"shape": [1.0]}
    yield "bias-true_shape", {"shape": [True]}
    yield "bias-negative_offsets", {"data_offsets": [-8, 0]}
    yield "bias-turned_offsets", {"data_offsets": [8, 0]}
    yield "bias-text_offsets", {"data_offsets": "0,8"}
    yield "bias-offsets_beyond", {"data_offsets": [2**64 - 9, 2**64 - 1]}
    yield "bias-offsets_beyond_memory", {"data_offsets": [2**70, 2**70 + 8]}
    yield "bias-more_fields", {"code": "import os"}


def _tilings(head: Header, body: bytes) -> Iterator[tuple[str, bytes]]:
    first, second = head["bias"]["data_offsets"], head["word_scale"]["data_offsets"]
    yield "overlap", sealed({**head, "bias": {**head["bias"], "data_offsets": second}}, body)
    shifted = {
        name: entry if name == "__metadata__" else {**entry, "data_offsets": [at + 8 for at in entry["data_offsets"]]}
        for name, entry in head.items()
    }
    yield "hole-at-the-beginning", sealed(shifted, bytes(8) + body)
    beyond = {**head["bias"], "data_offsets": [len(body) + 8, len(body) + 16]}
    yield "hole-in-the-middle", sealed({**head, "bias": beyond}, body + bytes(16))
    yield "missing-tensor", sealed({name: head[name] for name in head if name != "bias"}, body)
    assert first != second


def _numbers(good: bytes, head: Header) -> Iterator[tuple[str, bytes]]:
    def number(tensor: str, at: int, value: float) -> bytes:
        def alter(_: Header, numbers: bytearray) -> None:
            struct.pack_into("<d", numbers, head[tensor]["data_offsets"][0] + 8 * at, value)

        return altered(good, alter)

    yield "nan", number("curves", 7, float("nan"))
    yield "infinite", number("bias", 0, float("inf"))
    yield "huge", number("word_scale", 0, 1e300)
    yield "knots-descend", number("knots", 0, 1.0)
    yield "margins-descend", number("calibration", 0, 6.0)
    yield "margins-equal", number("calibration", 0, 5.0)
    yield "probability-above-1", number("calibration", 3, 1.5)
    yield "probability-below-0", number("calibration", 2, -0.5)


def main() -> None:
    for old in HERE.glob("*.gz"):
        old.unlink()
    reasons = {}
    for name, data in attacks():
        (HERE / f"{name}.safetensors.gz").write_bytes(gzip.compress(data, mtime=0))
        try:
            LearnedModel(data)
        except ValueError as error:
            reasons[name] = str(error)
    (HERE / "reasons.json").write_text(json.dumps(reasons, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
