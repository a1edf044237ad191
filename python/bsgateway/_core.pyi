"""The compiled core. Its readable twin, the specification, is `bsgateway.reference`."""

from collections.abc import Mapping, Sequence
from typing import Any, final

__all__ = [
    "FEATURE_NAMES",
    "FEATURE_VERSION",
    "SIGNALS",
    "Analysis",
    "Analyzer",
    "Contribution",
    "GlobSet",
    "count_tokens",
    "default_complex_keywords",
    "default_simple_keywords",
    "estimate_tokens",
    "score_table",
]

FEATURE_VERSION: int
"""Version of the feature vector; rows and models of another version are not comparable."""
FEATURE_NAMES: tuple[str, ...]
"""Names of `Analysis.features`, in order."""
SIGNALS: tuple[str, ...]
"""Names of the six weighted signals, in order."""

def count_tokens(text: str) -> int:
    """Exact number of o200k_base tokens in `text`; markers such as <|endoftext|> count as ordinary text."""

def estimate_tokens(text: str) -> int:
    """Approximate number of o200k_base tokens in `text`, in one pass over its characters."""

def default_complex_keywords() -> tuple[str, ...]:
    """Keywords that speak for a hard request, when the config gives none."""

def default_simple_keywords() -> tuple[str, ...]:
    """Keywords that speak for an easy request, when the config gives none."""

def score_table() -> dict[str, Any]:
    """Every number of the static score: curves, constants, floors."""

@final
class GlobSet:
    """An ordered set of fnmatch patterns, all matched at once. Raises ValueError naming the first bad pattern."""

    def __new__(cls, patterns: Sequence[str]) -> GlobSet: ...
    def first_match(self, name: str) -> int | None:
        """Index of the first pattern, in the order given, that matches the whole of `name`; None if none does."""
    def __len__(self) -> int: ...

@final
class Contribution:
    """A signal's share of the score: value 0-100, weight 0-1, points that add up to the raw score."""

    @property
    def signal(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def weight(self) -> float: ...
    @property
    def points(self) -> float: ...

@final
class Analysis:
    """What one request is. `score` is `raw_score` rounded half up; tokens are o200k_base. Its repr shows no text."""

    @property
    def format(self) -> str: ...
    @property
    def score(self) -> int: ...
    @property
    def raw_score(self) -> float: ...
    @property
    def contributions(self) -> tuple[Contribution, ...]: ...
    @property
    def features(self) -> tuple[float, ...]: ...
    @property
    def needs(self) -> tuple[str, ...]: ...
    @property
    def ask_tokens(self) -> int: ...
    @property
    def system_tokens(self) -> int: ...
    @property
    def context_tokens(self) -> int: ...
    @property
    def tool_tokens(self) -> int: ...
    @property
    def tokens_exact(self) -> bool: ...
    @property
    def max_output_tokens(self) -> int | None: ...
    @property
    def ask(self) -> str: ...
    @property
    def system(self) -> str: ...

@final
class Analyzer:
    """Prepared from the config once, then safe to share by all threads. Raises ValueError naming what is wrong."""

    def __new__(
        cls,
        weights: Mapping[str, float],
        token_thresholds: Sequence[int],
        complex_keywords: Sequence[str],
        simple_keywords: Sequence[str],
        exact_token_bytes: int,
        capture_chars: int,
    ) -> Analyzer: ...
    def analyze(self, body: Any, format: str) -> Analysis:
        """Analyse `body`, the JSON object of a request in `format`: chat, messages, responses, completions or
        generate_content. Wrong types inside it are ignored. Raises ValueError only for an unknown format."""
