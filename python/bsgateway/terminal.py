"""Tables on a terminal, and the words of others in them."""

from __future__ import annotations

import re

from rich.console import Console

PIPE_WIDTH = 180


def wide_console(stderr: bool = False) -> Console:
    """A console as wide as the terminal, or wide enough for our tables where there is none."""
    # A model name is the client's word: it must be neither markup nor a :smile: of ours.
    console = Console(stderr=stderr, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def printable(text: str) -> str:
    r"""`text` on one line: line ends, escape sequences and lone surrogates as `\n`, `\x1b`, `\ud800`."""
    return text if text.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def printable_json(text: str) -> str:
    r"""JSON that a terminal may be shown: the same, but what cannot be printed is escaped as `\u202e`."""
    return text if text.isprintable() else _UNPRINTABLE.sub(_escaped, text)


_UNPRINTABLE = re.compile(r"[^\n\x20-\x7e]")


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    if char.isprintable():
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
