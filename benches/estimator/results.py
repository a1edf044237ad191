"""What an agent's tools answer: numbered source, search hits, listings and diffs of a package's files, in turns."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from random import Random

from .corpora import FIT, files

_PACKAGES = {FIT: "django", "held out": "fastapi"}


def tool_results(split: str) -> Iterator[tuple[str, list[str]]]:
    """Tool results made from the package of `split`: its name, and one text for each file."""
    package = _PACKAGES[split]
    sources = [(name, data.decode()) for name, data in files(package, r"\.py$") if data]
    yield package, [_result(Random(name), name, text.splitlines(), sources) for name, text in sources]


def _result(random: Random, name: str, lines: list[str], sources: list[tuple[str, str]]) -> str:
    start = random.randrange(len(lines))
    part = lines[start : start + random.randint(20, 80)]
    kind = random.choice(["numbered", "numbered", "search", "listing", "diff"])
    if kind == "numbered":
        return "\n".join(f"{start + number:6}\t{line}" for number, line in enumerate(part, 1))
    if kind == "search":
        return "\n".join(f"{name}:{start + number}:{line}" for number, line in enumerate(part, 1) if line.strip())
    if kind == "listing":
        near = random.sample(sources, min(20, len(sources)))
        return "\n".join(f"-rw-r--r-- 1 app app {len(text):8} Mar  9 11:58 {path}" for path, text in near)
    changed = [line for line in part if random.random() > 0.1]
    return "\n".join(difflib.unified_diff(part, changed, f"a/{name}", f"b/{name}", lineterm=""))
