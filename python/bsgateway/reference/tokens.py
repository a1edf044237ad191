"""Token counts: exact for OpenAI's o200k_base, and a one-pass estimate for what is over the exact budget.

The exact count is the `tiktoken` package's, with the rank file that LiteLLM ships, so it needs no network. Other
providers' tokenizers differ by some 10-20 %: o200k_base is the common yardstick of the log, not a bill.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .chars import UNSPACED, clean

if TYPE_CHECKING:
    import tiktoken

# The name tiktoken gives o200k_base in its cache: the SHA-1 of the address it comes from.
_O200K_FILE = "fb374d419588a4632f3f557e76b4b70aebbca790"


@cache
def _encoding() -> tiktoken.Encoding:
    import tiktoken

    spec = importlib.util.find_spec("litellm")  # finds the folder without importing the package
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        ranks = Path(folder, "litellm_core_utils", "tokenizers")
        if (ranks / _O200K_FILE).is_file():
            os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(ranks))
    return tiktoken.get_encoding("o200k_base")


def count_tokens(text: str) -> int:
    """Exact number of o200k_base tokens in `text`; markers such as <|endoftext|> count as ordinary text."""
    return len(_encoding().encode_ordinary(clean(text)))


def estimate_tokens(text: str) -> int:
    """Approximate number of o200k_base tokens in `text`, in one pass over its characters.

    Runs of one class are counted: ASCII letters 1 token per started 7, digits 1 per started 3, ASCII punctuation 1 per
    started 2, line ends 1 a run, spaces and tabs 1 a run unless it is a single one (it joins the next word), characters
    of unspaced scripts 3 per 4, other characters 1 per started 3.
    """
    return sum(_RUN_TOKENS[run.lastgroup or "other"](len(run.group())) for run in _RUNS.finditer(clean(text)))


_UNSPACED = "".join(f"{chr(low)}-{chr(high)}" for low, high in UNSPACED)
_RUNS = re.compile(
    r"(?P<letter>[A-Za-z]+)|(?P<digit>[0-9]+)|(?P<line>[\r\n]+)|(?P<space>[ \t]+)"
    r"|(?P<mark>[\x00-\x08\x0b\x0c\x0e-\x1f!-/:-@\[-`{-\x7f]+)"
    rf"|(?P<unspaced>[{_UNSPACED}]+)|(?P<other>[^\x00-\x7f{_UNSPACED}]+)"
)
_RUN_TOKENS: dict[str, Callable[[int], int]] = {
    "letter": lambda run: (run + 6) // 7,
    "digit": lambda run: (run + 2) // 3,
    "line": lambda _: 1,
    "space": lambda run: int(run > 1),
    "mark": lambda run: (run + 1) // 2,
    "unspaced": lambda run: (3 * run + 3) // 4,
    "other": lambda run: (run + 2) // 3,
}
