"""Parts -> the fixed, versioned feature vector: what the score reads, the log keeps and training learns from."""

from __future__ import annotations

from dataclasses import dataclass

from .chars import clean, fold
from .extract import Ask, Extract, Part
from .lexicon import Lexicon
from .memo import Memo
from .structure import Structure
from .tokens import SAMPLED_BYTES, count_tokens, estimate_tokens, sample_tokens
from .words import Words

FEATURE_VERSION = 2
FEATURE_NAMES = (
    "ask_bytes", "ask_tokens", "ask_words", "ask_lines", "ask_digits", "ask_commas", "ask_questions",
    "ask_list_items", "ask_fences", "ask_code_lines", "ask_inline_code", "ask_stack_lines", "ask_non_ascii",
    "complex_keywords", "simple_keywords", "system_tokens", "context_tokens", "tools", "tool_tokens", "turns",
    "messages", "results_since_ask", "errors_since_ask", "images", "harness_bytes",
    "ask_terms", "ask_distinct", "ask_numbers", "ask_names", "ask_long_words", "ask_uppercase", "ask_symbols",
    "ask_quotes", "ask_brackets", "ask_options", "words_math", "words_science", "words_law", "words_story",
    "words_code", "words_reasoning", "words_negation", "words_everyday",
)  # fmt: skip

KEYWORD_WINDOW = 2048
"""Keywords are looked for in the first and the last so many characters of the ask's prose: a pasted document between
them is material, not the ask."""


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of one encoding: of the ask, of all system texts, and of the whole request (texts, tools and calls,
    without images). `exact` says that no text had to be estimated; tools and calls are always 1 token per started 4
    bytes."""

    ask: int
    system: int
    context: int
    tools: int
    exact: bool


def count_all(found: Extract, ask: Ask, encoding: str, budget: int, memo: Memo) -> TokenCounts:
    """Count exactly while `budget` bytes last: the ask, then system texts, then the rest from newest to oldest. A text
    that does not fit whole is estimated, with samples of it counted while there is room for them, and the smaller ones
    after it still get their exact count. A text that is remembered has the count it got then, and takes nothing from
    the budget."""
    counter = _Counter(encoding, budget, memo, len(found.parts))
    ask_tokens = counter.count(ask.text)
    system = sum(counter.count(part.text) for part in found.parts if part.role == "system")
    others = 0
    for part in reversed(found.parts):
        if part.role != "system":
            # The common case, an ask of one part without harness blocks, is not counted twice.
            others += ask_tokens if _is_ask(part, ask) else counter.count(part.text)
    tools = (found.tool_bytes + 3) // 4
    context = system + others + tools + (found.call_bytes + 3) // 4 + found.token_ids
    return TokenCounts(ask_tokens, system, context, tools, counter.exact)


def _is_ask(part: Part, ask: Ask) -> bool:
    return part.message == ask.message and part.role == "user" and part.text == ask.text


class _Counter:
    def __init__(self, encoding: str, budget: int, memo: Memo, parts: int) -> None:
        self._encoding = encoding
        self._left = budget
        self._memo = memo
        self._parts = parts
        self.exact = True

    def count(self, text: str) -> int:
        utf8 = clean(text).encode()
        key = self._memo.key(utf8, self._parts)
        found = self._memo.recall(key)
        if found is None:
            found = self._measure(text, len(utf8))
            self._memo.keep(key, *found)
        tokens, exact = found
        self.exact = self.exact and exact
        return tokens

    def _measure(self, text: str, size: int) -> tuple[int, bool]:
        if size <= self._left:
            self._left -= size
            return count_tokens(text, self._encoding), True
        if self._left >= SAMPLED_BYTES:
            self._left -= SAMPLED_BYTES
            return sample_tokens(text, self._encoding), False
        return estimate_tokens(text, self._encoding), False


def keyword_counts(prose: str, complex: Lexicon, simple: Lexicon) -> tuple[int, int]:
    """How many different complex and simple keywords stand in the windows of `prose`."""
    if len(prose) > 2 * KEYWORD_WINDOW:
        # A line end between the windows keeps a keyword from being made of two halves.
        prose = prose[:KEYWORD_WINDOW] + "\n" + prose[-KEYWORD_WINDOW:]
    folded = fold(prose)
    return complex.count(folded), simple.count(folded)


def vector(
    found: Extract, ask: Ask, shape: Structure, tokens: TokenCounts, keywords: tuple[int, int], words: Words
) -> dict[str, float]:
    """The features by name, in the order of `FEATURE_NAMES`."""
    since = [error for message, error in found.results if message > ask.message]
    values = (
        shape.bytes, tokens.ask, shape.words, shape.lines, shape.digits, shape.commas, shape.questions,
        shape.list_items, shape.fences, shape.code_lines, shape.inline_code, shape.stack_lines, shape.non_ascii,
        keywords[0], keywords[1], tokens.system, tokens.context, found.tools, tokens.tools, ask.turns,
        found.messages, len(since), sum(since), found.images, ask.harness_bytes,
        words.terms, len(words.buckets), words.numbers, words.names, words.long_words, words.uppercase, words.symbols,
        words.quotes, words.brackets, words.options, *words.vocabulary,
    )  # fmt: skip
    return dict(zip(FEATURE_NAMES, map(float, values), strict=True))
