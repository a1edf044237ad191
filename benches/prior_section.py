"""The section of docs/learning.md on the prior, from what the model of the package says about itself.

    python benches/prior_section.py

`make prior DATA=dir` runs it after it has trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bsgateway.core import core
from bsgateway.model_header import ModelHeader
from bsgateway.models import prior_bytes

DOCS = Path(__file__).parents[1] / "docs" / "learning.md"

_SECTION = re.compile(r"(?<=<!-- prior -->\n).*?(?=<!-- /prior -->)", re.DOTALL)


def section(data: bytes) -> str:
    """The section for a model file, without its markers. Raises ValueError or ModelError for one that is refused."""
    model = core.LearnedModel(data)
    header = ModelHeader.of(model)
    return "\n".join(
        (
            f"Model `{model.id}`, {header.created[:10]}, {len(data):,} bytes, {header.rows:,} prompts:",
            "",
            "| trained on | prompts | cheap | dear | sha256 |",
            "| --- | ---: | --- | --- | --- |",
            *(_source(each) for each in header.provenance),
            "",
            "Cheap and dear: how many models make up each, by their mean outcome. Measured on each file, by a prior",
            "that was trained without it and its prompts:",
            "",
            "| held out | APGR | 95 % interval |",
            "| --- | ---: | --- |",
            *_held_out(header.held_out.get("apgr", {})),
            "",
            *_judged(header.held_out.get("judged")),
        )
    )


def _source(about: dict[str, Any]) -> str:
    cheap, dear = (str(len(about[name])) if about.get(name) else "-" for name in ("weaker", "stronger"))
    return f"| `{about['name']}` | {about['rows']:,} | {cheap} | {dear} | `{about['sha256'][:12]}` |"


def _held_out(apgr: dict[str, Any]) -> Iterator[str]:
    for name, found in apgr.items():
        yield f"| {name} | {found['value']:.3f} | {found['low']:.3f} to {found['high']:.3f} |"


def _judged(found: dict[str, Any] | None) -> Iterator[str]:
    if found:
        yield f"Of the pairs of an easy and a hard one of the {found['easy']} + {found['hard']} judged requests,"
        yield f"{found['auc']:.1%} stand in the right order when they are left out."
        yield ""


def with_section(page: str, new: str) -> str:
    """docs/learning.md with its section replaced. Raises ValueError without exactly one pair of markers."""
    text, number = _SECTION.subn(lambda _: new, page)
    if number != 1:
        raise ValueError("docs/learning.md needs one pair of <!-- prior --> and <!-- /prior -->")
    return text


def write() -> None:
    """Write the section anew."""
    DOCS.write_text(with_section(DOCS.read_text(encoding="utf-8"), section(prior_bytes())), encoding="utf-8")


if __name__ == "__main__":
    write()
