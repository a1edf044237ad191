"""The compiled core. Its readable twin, the specification, is `bsgateway.reference`."""

from collections.abc import Mapping, Sequence
from typing import Any, final

__all__ = [
    "BOUND_STATES",
    "FEATURE_NAMES",
    "FEATURE_VERSION",
    "INPUT_NAMES",
    "REDACTION_PLACEHOLDERS",
    "SIGNALS",
    "WORD_BUCKETS",
    "Analysis",
    "Analyzer",
    "FeatureBatch",
    "GlobSet",
    "LearnedModel",
    "MemoStats",
    "count_tokens",
    "default_complex_keywords",
    "default_simple_keywords",
    "estimate_tokens",
    "model_inputs",
    "redact",
    "sample_tokens",
    "score_table",
    "warm",
    "word_buckets",
]

FEATURE_VERSION: int
"""Version of the feature vector; rows and models of another version are not comparable."""
FEATURE_NAMES: tuple[str, ...]
"""Names of `Analysis.features`, in order."""
INPUT_NAMES: tuple[str, ...]
"""Names of the dense inputs of a learned model, in order."""
WORD_BUCKETS: int
"""How many buckets there are for terms and pairs of terms."""
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

def word_buckets(texts: Sequence[str]) -> tuple[bytes, bytes]:
    """The word buckets of `texts`, which are asks: int64 [n + 1] and int32, `indptr` and `indices` of a `FeatureBatch`.
    The GIL is released."""

def model_inputs(features: bytes, needs: Sequence[Sequence[str]] | None) -> bytes:
    """The inputs of a learned model, float64 [n, len(INPUT_NAMES)], of `features`, float64 [n, len(FEATURE_NAMES)],
    and the needs of each row, or none. Raises ValueError where these do not fit each other, or a feature is no count.
    The GIL is released."""

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
    def learned(self) -> tuple[str, float, tuple[tuple[str, float, float, float], ...]] | None:
        """What the model in force makes of it: its id, the probability 0-1 that its calibration gives, and what that is
        made of; None without a model.

        Of these contributions, `base` is the score of the bias alone, with the weight 0. A straight line leads from
        there to the score: of each input and of the `words`, the value is what it adds to the margin, the weight the
        points for one of the margin. The eight with the most points, up or down, have names; the others are summed up
        as `other`. All points add up to 100 times the probability."""
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
    def ask(self) -> str:
        """The first `capture_chars` characters of the newest real ask."""
    @property
    def ask_tail(self) -> str:
        """The last `tail_chars` characters of an ask that is longer than `capture_chars`; empty for any other. The two
        may overlap."""
    @property
    def system(self) -> str:
        """The first `capture_chars` characters of the system texts, joined by line ends."""

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
        tail_chars: int = 0,
    ) -> Analyzer: ...
    def analyze(self, body: Any, format: str) -> Analysis:
        """Analyse `body`, the JSON object of a request in `format`: chat, messages, responses, completions or
        generate_content. Wrong types inside it are ignored. Raises ValueError only for an unknown format."""
    def featurize(self, texts: Sequence[str]) -> FeatureBatch:
        """What each of `texts` is as a chat request of one user message. The memo is left out of it; the GIL is
        released. Raises TypeError for anything but a sequence of str."""
    def set_model(self, model: LearnedModel | None) -> None:
        """Have `model` score the requests to come, as `Analysis.learned`; None: no model does. Those in flight keep the
        model that they have begun with."""
    def memo_stats(self) -> MemoStats:
        """What the memo holds and what came of asking it so far; all 0 when `memo_bytes` is 0."""

@final
class FeatureBatch:
    """What `n` texts are: arrays in the byte order of the machine, row by row, which `numpy.frombuffer` reads without a
    copy."""

    @property
    def features(self) -> bytes:
        """float64 [n, len(FEATURE_NAMES)]."""
    @property
    def static(self) -> bytes:
        """float64 [n]: the raw static scores."""
    @property
    def indptr(self) -> bytes:
        """int64 [n + 1]: the word buckets of text i are `indices[indptr[i]:indptr[i + 1]]`, each once."""
    @property
    def indices(self) -> bytes:
        """int32: the word buckets of the asks."""

@final
class LearnedModel:
    """A model out of the bytes of its file: safetensors, of at most 8 MiB, as `bsgateway.learn.model_file` writes it.
    Raises ValueError with the reason for one that is not exactly right. The GIL is released. Frozen, and safe to share
    by all threads."""

    def __new__(cls, data: bytes) -> LearnedModel: ...
    @property
    def id(self) -> str:
        """The first 12 hexadecimal digits of the checksum in the file."""
    @property
    def kind(self) -> str:
        """`prior` (comes with the package) or `trained`."""
    @property
    def description(self) -> str:
        """The JSON text that its maker put into it."""
    def predict(self, inputs: bytes, indptr: bytes, indices: bytes) -> tuple[bytes, bytes]:
        """Margins and probabilities, float64 [n] each, of `inputs`, float64 [n, len(INPUT_NAMES)] row by row, and of
        the word buckets `indices`, int32: those from `indptr[i]` to `indptr[i + 1]`, int64 [n + 1], belong to row i. An
        input that is NaN adds nothing. Raises ValueError where these do not fit each other. The GIL is released."""

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
