"""Token counts: exact ones of OpenAI's encodings, and a one-pass estimate for what is over the exact budget.

The exact count is the `tiktoken` package's, with the rank files that LiteLLM ships, so it needs no network. Other
providers' tokenizers differ by some 10-20 %: these are the common yardstick of the log, not a bill.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .chars import clean, quote
from .estimate import estimate

if TYPE_CHECKING:
    import tiktoken

# The names tiktoken gives the rank files in its cache: the SHA-1 of the address each comes from.
_FILES = {
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
}


def checked(encoding: str) -> str:
    """`encoding`, the name of one that can be counted. Raises ValueError for any other."""
    if encoding not in _FILES:
        raise ValueError(f"unknown encoding {quote(encoding)}; known: {', '.join(_FILES)}")
    return encoding


@cache
def _encoding(name: str) -> tiktoken.Encoding:
    import tiktoken

    spec = importlib.util.find_spec("litellm")  # finds the folder without importing the package
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        ranks = Path(folder, "litellm_core_utils", "tokenizers")
        if (ranks / _FILES[name]).is_file():
            os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(ranks))
    return tiktoken.get_encoding(name)


def count_tokens(text: str, encoding: str = "o200k_base") -> int:
    """Exact number of tokens in `text`, tiktoken's; markers such as <|endoftext|> count as ordinary text. Raises
    ValueError for an unknown encoding."""
    return len(_encoding(checked(encoding)).encode_ordinary(clean(text)))


def estimate_tokens(text: str, encoding: str = "o200k_base") -> int:
    """Approximate number of tokens in `text`, in one pass over its characters. Raises ValueError for an unknown
    encoding."""
    return estimate(clean(text), checked(encoding))


SAMPLES = 8
"""Places of a text that `sample_tokens` counts exactly."""
SAMPLE_BYTES = 512
"""Bytes at each of them, up to a whole character."""
SAMPLED_BYTES = SAMPLES * SAMPLE_BYTES
"""Bytes that `sample_tokens` counts exactly: there is no use in it for a shorter text."""


def sample_tokens(text: str, encoding: str = "o200k_base") -> int:
    """Approximate number of tokens in `text`: the estimate, corrected by how far it is off on samples from all over the
    text. Raises ValueError for an unknown encoding.

    Most of the estimator's error is the same all over a text, because it comes of its language or its kind.
    """
    utf8 = clean(text).encode()
    counted = guessed = 0
    for index in range(SAMPLES):
        start = _boundary(utf8, len(utf8) // SAMPLES * index)
        sample = utf8[start : _boundary(utf8, start + SAMPLE_BYTES)].decode()
        counted += count_tokens(sample, encoding)
        guessed += estimate_tokens(sample, encoding)
    guess = estimate_tokens(text, encoding)
    return (guess * counted + guessed // 2) // guessed if guessed else guess


def _boundary(utf8: bytes, at: int) -> int:
    """The last place in `utf8`, up to `at`, where a character begins or the text ends."""
    while at < len(utf8) and utf8[at] & 0xC0 == 0x80:
        at -= 1
    return min(at, len(utf8))


def warm(encoding: str) -> None:
    """Build the tables that `count_tokens` needs for `encoding`, so that no request waits for them. Raises ValueError
    for an unknown encoding."""
    _encoding(checked(encoding))
