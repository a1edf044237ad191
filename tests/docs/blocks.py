"""The code blocks of the documentation, as a reader finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*", re.DOTALL)


def pages() -> list[str]:
    """Every page that is written for readers, by its path in the repository."""
    found = (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("packaging/*.md"))
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


@dataclass(frozen=True)
class Block:
    """A block: where it stands, its language and words, and why it is not run, if a comment before it says so."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None

    @property
    def name(self) -> str:
        """For the names of tests."""
        return f"{self.page}-{self.line}"


def blocks_of(page: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    reason = None
    for token in MarkdownIt().enable("table").parse((ROOT / page).read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            yield Block(page, token.map[0] + 1, token.info.strip(), token.content, reason)
        comment = NOT_RUN.fullmatch(token.content) if token.type == "html_block" else None
        if comment or token.level == 0:
            reason = comment[1] if comment else None


BLOCKS = [block for page in pages() for block in blocks_of(page)]


def blocks(*languages: str) -> list[Block]:
    """The blocks in these languages that are to be run."""
    return [block for block in BLOCKS if block.language in languages and not block.not_run]


@dataclass(frozen=True)
class Line:
    """A command of a `console` block."""

    block: Block
    number: int
    command: str

    @property
    def name(self) -> str:
        """For the names of tests."""
        return f"{self.block.page}-{self.block.line + self.number}"


def lines_of(block: Block) -> list[Line]:
    """The commands of a block: all of it, or what follows `$ ` where the rest is output. A line may go on after a
    backslash."""
    joined = re.sub(r"\\\n", lambda _: "\0", block.text)
    prompted = re.search(r"^\$ ", joined, re.MULTILINE) is not None
    found, number = [], 0
    for line in joined.splitlines():
        number += 1
        if line.strip() and not line.startswith("#") and (not prompted or line.startswith("$ ")):
            found.append(Line(block, number, line.removeprefix("$ ").replace("\0", " ")))
        number += line.count("\0")
    return found
