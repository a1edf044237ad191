"""Tables on a terminal, and the words of others in them."""

from __future__ import annotations

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
