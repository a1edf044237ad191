"""The compiled core. Its readable twin, the specification, is `bsgateway.reference`."""

from collections.abc import Mapping, Sequence
from typing import Any, final

__all__ = [
    "BOUND_STATES",
    "FEATURE_NAMES",
    "FEATURE_VERSION",
    "REDACTION_PLACEHOLDERS",
    "SIGNALS",
    "Analysis",
    "Analyzer",
    "GlobSet",
    "MemoStats",
    "count_tokens",
    "default_complex_keywords",
    "default_simple_keywords",
    "estimate_tokens",
    "redact",
    "sample_tokens",
    "score_table",
    "warm",
]

FEATURE_VERSION: int
"""Version of the feature vector; rows and models of another version are not comparable."""
FEATURE_NAMES: tuple[str, ...]
"""Names of `Analysis.features`, in order."""
SIGNALS: tuple[str, ...]
"""Names of the six weighted signals, in order."""
BOUND_STATES: tuple[str, ...]
"""Every state that `Analysis.bound` may name, in order."""
REDACTION_PLACEHOLDERS: tuple[str, ...]
"""All that `redact` puts into a text, such as `[API_KEY]`."""

def count_tokens(text: str, encoding: str = "o200k_base") -> int:
    """Exact number of tokens in `text`, tiktoken's; markers such as <|endoftext|> count as ordinary text. Raises
    ValueError for an unknown encoding."""

def estimate_tokens(text: str, encoding: str = "o200k_base") -> int:
    """Approximate number of tokens in `text`, in one pass over its characters. Raises ValueError for an unknown
    encoding."""

def sample_tokens(text: str, encoding: str = "o200k_base") -> int:
    """Approximate number of tokens in `text`: the estimate, corrected by how far it is off on samples from all over the
    text. Raises ValueError for an unknown encoding."""

def redact(text: str, cut: bool = False) -> str:
    """`text` with secrets and personal data replaced by `REDACTION_PLACEHOLDERS`.

    What is found, and what is not, is told in `docs/redaction.md`. Time is linear in the length of the text; the GIL is
    released. What was redacted already stays as it is, so redacting twice changes nothing. Lone surrogates become
    U+FFFD.

    `cut`: the text is the beginning of a longer one, so its last word may be half a secret that can no longer be
    recognized. That word, and the digits and groups before it that may belong to it, become `[CUT]`.
    """

def warm(encoding: str) -> None:
    """Build the tables that `count_tokens` needs for `encoding`, so that no request waits for them. Raises ValueError
    for an unknown encoding."""

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
class Analysis:
    """What one request is. `score` is `raw_score` rounded half up; tokens are of the analyzer's encoding. Its repr
    shows no text."""

    @property
    def format(self) -> str: ...
    @property
    def score(self) -> int: ...
    @property
    def raw_score(self) -> float: ...
    @property
    def contributions(self) -> tuple[tuple[str, float, float, float], ...]:
        """What made the score: signal, its value 0-100, weight 0-1, points; the points add up to the raw score. A floor
        that lifted the score stands last as `floor:<name>`, with weight 0."""
    @property
    def features(self) -> tuple[float, ...]: ...
    @property
    def needs(self) -> tuple[str, ...]:
        """What a model must be able to do, in a fixed order: vision, audio, file, tools, parallel_tools, json_schema,
        reasoning, prompt_cache, web_search (`web_search_options` of a chat), server_tools (tools that only the API of
        the request's own provider has, which mostly runs them itself)."""
    @property
    def bound(self) -> tuple[str, ...]:
        """What in the conversation belongs to the model or the provider that wrote it, in the order of `BOUND_STATES`.

        `thinking`: a signed or encrypted thought. `open_thinking`: one in the loop of tool calls that goes on, which
        begins behind the newest real ask, or right before it where it came in one message with results.
        `open_tool_call`: the result of a tool call came with that ask or after it. `server_state`: state that the
        provider keeps (files, containers, earlier responses, caches) or only it can read (calls and results of tools
        that it ran, compacted histories).
        """
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
        memo_bytes: int,
        encoding: str,
    ) -> Analyzer: ...
    def analyze(self, body: Any, format: str) -> Analysis:
        """Analyse `body`, the JSON object of a request in `format`: chat, messages, responses, completions or
        generate_content. Wrong types inside it are ignored. Raises ValueError only for an unknown format."""
    def memo_stats(self) -> MemoStats:
        """What the memo holds and what came of asking it so far; all 0 when `memo_bytes` is 0."""

@final
class MemoStats:
    """Counts of a memo since it was made, and its size now."""

    @property
    def hits(self) -> int:
        """Texts whose token count was known."""
    @property
    def misses(self) -> int:
        """Texts that had to be counted or estimated, and were long enough to keep."""
    @property
    def evictions(self) -> int:
        """Entries that made room for others."""
    @property
    def entries(self) -> int:
        """Entries held: one a text, and one more for each that was an ask."""
    @property
    def bytes(self) -> int:
        """Bytes that the table takes."""
    @property
    def capacity_bytes(self) -> int:
        """Bytes that it takes at most."""
