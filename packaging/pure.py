"""The wheel for every platform: a compiled one without its compiled module, for which the twin stands in.

It is made from a compiled wheel, so that both have the same metadata, byte for byte: installers take the metadata of
one wheel of a version for that of all.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
from pathlib import Path

COMPILED = re.compile(r"^bsgateway/_core\..*\.(so|pyd|dylib)$")
RUST_SBOM = re.compile(r"^[^/]+\.dist-info/sboms/bsgateway-core\.cdx\.json$")
TAG = "py3-none-any"


def derive(compiled: Path, out: Path) -> Path:
    """Write the pure wheel of `compiled` into the directory `out`; its path."""
    name, version, *_ = compiled.name.split("-")
    made = out / f"{name}-{version}-{TAG}.whl"
    record_name = f"{name}-{version}.dist-info/RECORD"
    with zipfile.ZipFile(compiled) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        rows = []
        for member in source.infolist():
            if member.filename == record_name or COMPILED.match(member.filename) or RUST_SBOM.match(member.filename):
                continue
            content = source.read(member)
            if member.filename.endswith(".dist-info/WHEEL"):
                content = pure_tags(content.decode()).encode()
            target.writestr(member, content)
            rows.append((member.filename, *fingerprint(content)))
        record = io.StringIO()
        csv.writer(record, lineterminator="\n").writerows([*rows, (record_name, "", "")])
        target.writestr(source.getinfo(record_name), record.getvalue())
    return made


def fingerprint(content: bytes) -> tuple[str, str]:
    """The hash and the size of a file as RECORD has them."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest}", str(len(content))


def pure_tags(wheel: str) -> str:
    """The file WHEEL of a compiled wheel as that of a pure one."""
    kept = [line for line in wheel.splitlines() if line and not line.startswith(("Root-Is-Purelib:", "Tag:"))]
    return "\n".join([*kept, "Root-Is-Purelib: true", f"Tag: {TAG}", ""])
