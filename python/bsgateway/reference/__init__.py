"""Readable pure-Python twin of the Rust core `bsgateway._core`.

It has the same names, arguments and results as the compiled module, bit for bit: the parity tests hold the two against
each other on generated input.  It is the specification (read it to learn what the core does), the oracle of the tests,
and what runs when the compiled module is missing or `BSGATEWAY_PURE=1` is set.  One module here per file in `rust/`.

Arithmetic that must agree to the last bit uses IEEE doubles and the order written here; characters are classed by the
explicit ranges of `chars.py`, never by the Unicode tables of an interpreter or compiler, which differ by version.
"""

from .analyzer import Analysis, Analyzer
from .bound import BOUND_STATES
from .bulk import FeatureBatch, model_inputs, word_buckets
from .features import FEATURE_NAMES, FEATURE_VERSION
from .glob import GlobSet
from .inputs import INPUT_NAMES
from .learned import LearnedModel
from .memo import MemoStats
from .redact import REDACTION_PLACEHOLDERS, redact
from .score import SIGNALS, default_complex_keywords, default_simple_keywords, score_table
from .tokens import count_tokens, estimate_tokens, sample_tokens, warm
from .words import WORD_BUCKETS

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
