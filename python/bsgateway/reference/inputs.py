"""The dense inputs of a learned model, from the feature vector and the needs.

Counts are taken as `log2` of one more, straight lines between the powers of two: no function of a mathematics library,
which differ by the last bit. Shares relate one count to another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .features import FEATURE_NAMES

SHARES = (
    ("ask_bytes", "ask_terms"), ("ask_bytes", "ask_lines"), ("ask_digits", "ask_bytes"), ("ask_numbers", "ask_terms"),
    ("ask_names", "ask_terms"), ("ask_commas", "ask_terms"), ("ask_symbols", "ask_bytes"),
    ("ask_uppercase", "ask_bytes"), ("ask_non_ascii", "ask_bytes"), ("ask_code_lines", "ask_lines"),
    ("ask_options", "ask_lines"), ("ask_long_words", "ask_terms"), ("ask_distinct", "ask_terms"),
    ("ask_quotes", "ask_terms"), ("ask_brackets", "ask_terms"), ("words_math", "ask_terms"),
    ("words_science", "ask_terms"), ("words_law", "ask_terms"), ("words_story", "ask_terms"),
    ("words_code", "ask_terms"), ("words_reasoning", "ask_terms"), ("words_negation", "ask_terms"),
    ("words_everyday", "ask_terms"), ("ask_tokens", "context_tokens"),
)  # fmt: skip
"""Pairs of features whose ratio is an input; 0 where the second is 0."""
INPUT_NEEDS = ("vision", "audio", "file", "tools", "json_schema", "reasoning", "web_search", "server_tools")
"""Needs that are an input, 1 or 0."""
INPUT_NAMES = (
    *FEATURE_NAMES,
    *(f"{count}/{whole}" for count, whole in SHARES),
    *(f"need_{need}" for need in INPUT_NEEDS),
)
"""Names of the inputs, in order."""

_SHARES = tuple((FEATURE_NAMES.index(count), FEATURE_NAMES.index(whole)) for count, whole in SHARES)


def inputs(features: Sequence[float], needs: Sequence[str]) -> tuple[float, ...]:
    """The inputs, in the order of `INPUT_NAMES`."""
    return (
        *map(log2_of_one_more, features),
        *(features[count] / features[whole] if features[whole] > 0.0 else 0.0 for count, whole in _SHARES),
        *(1.0 if need in needs else 0.0 for need in INPUT_NEEDS),
    )


def log2_of_one_more(count: float) -> float:
    """log2(1 + count), exact at powers of two and a straight line between them."""
    mantissa, exponent = math.frexp(1.0 + count)
    return (exponent - 1) + (2.0 * mantissa - 1.0)
