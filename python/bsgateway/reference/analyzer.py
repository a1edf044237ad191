"""`Analyzer.analyze`: one request body in, one frozen `Analysis` out. The only call on the request path."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .bound import bound
from .bulk import FeatureBatch, all_texts, packed
from .extract import Ask, Extract, extract, newest_ask
from .features import TokenCounts, count_all, keyword_counts, vector
from .inputs import inputs
from .learned import LearnedModel
from .lexicon import Lexicon
from .memo import Memo, MemoStats
from .needs import max_output_tokens, needs
from .score import Contribution, proportions, score
from .structure import measure
from .tokens import checked
from .words import Words, words


@dataclass(frozen=True)
class Analysis:
    """What one request is. `score` is `raw_score` rounded half up; tokens are of the analyzer's encoding.

    `learned`: what the model in force makes of it: its id, the probability 0-1, and contributions whose points add up
    to 100 times the probability (see `LearnedModel.explain`); None without one. `bound`: what in the conversation
    belongs to the model or provider that wrote it, some of `BOUND_STATES`. `ask` and `system` are the first
    `capture_chars` characters of those texts, or empty when capture is off. `ask_tail` is the last `tail_chars`
    characters of an ask that is longer than `capture_chars`, and empty for any other.
    """

    format: str
    score: int
    raw_score: float
    contributions: tuple[Contribution, ...]
    learned: tuple[str, float, tuple[Contribution, ...]] | None
    features: tuple[float, ...]
    needs: tuple[str, ...]
    bound: tuple[str, ...]
    ask_tokens: int
    system_tokens: int
    context_tokens: int
    tool_tokens: int
    tokens_exact: bool
    max_output_tokens: int | None
    ask: str = field(repr=False)  # a repr ends up in logs
    ask_tail: str = field(repr=False)
    system: str = field(repr=False)


class Analyzer:
    """Prepared from the config once, then safe to share by all threads.

    `weights`: one finite number >= 0 per name in `SIGNALS`, not all 0. `token_thresholds`: five ascending positive
    token counts where `token_count` reaches 20 to 100. `exact_token_bytes`: bytes of new text per request that are
    counted exactly. `capture_chars`: how much of ask and system prompt to hand back, 0 for none. `memo_bytes`: memory
    for what is remembered of texts from one request to the next, 0 for none. `encoding`: whose tokens are counted.
    `tail_chars`: how much of the end of an ask to hand back that is longer than `capture_chars`, 0 for none.
    Raises ValueError naming what is wrong.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        token_thresholds: Sequence[int],
        complex_keywords: Sequence[str],
        simple_keywords: Sequence[str],
        exact_token_bytes: int,
        capture_chars: int,
        memo_bytes: int,
        encoding: str,
        tail_chars: int = 0,
    ) -> None:
        shares = proportions(weights)
        marks = tuple(token_thresholds)
        if len(marks) != 5 or not 0 < marks[0] < marks[1] < marks[2] < marks[3] < marks[4]:
            raise ValueError("token_thresholds must be five ascending positive token counts")
        if min(exact_token_bytes, capture_chars, tail_chars, memo_bytes) < 0:
            raise ValueError("exact_token_bytes, capture_chars, tail_chars and memo_bytes must not be negative")
        self._weights = shares
        self._marks = marks
        self._complex = Lexicon(complex_keywords)
        self._simple = Lexicon(simple_keywords)
        self._encoding = checked(encoding)
        self._budget = exact_token_bytes
        self._capture = capture_chars
        self._tail = tail_chars
        self._memo = Memo(memo_bytes)
        self._model: LearnedModel | None = None

    def set_model(self, model: LearnedModel | None) -> None:
        """Have `model` score the requests to come, as `Analysis.learned`; None: no model does."""
        self._model = model

    def analyze(self, body: Any, format: str) -> Analysis:
        """Analyse `body`, the JSON object of a request in one of `extract.FORMATS`. Wrong types inside it are ignored.

        Raises ValueError only for an unknown `format`.
        """
        found = extract(body, format)
        ask = newest_ask(found.parts)
        tokens = count_all(found, ask, self._encoding, self._budget, self._memo)
        of_ask = words(ask.text)
        features = self._features(found, ask, tokens, of_ask)
        raw, contributions = score(features, self._weights, self._marks)
        system = "\n".join(part.text for part in found.parts if part.role == "system") if self._capture else ""
        needed, model = needs(body, found), self._model
        return Analysis(
            format=format,
            score=math.floor(raw + 0.5),
            raw_score=raw,
            contributions=contributions,
            learned=None if model is None else (model.id, *model.explain(_inputs(features, needed), of_ask.buckets)),
            features=tuple(features.values()),
            needs=needed,
            bound=bound(found, ask),
            ask_tokens=tokens.ask,
            system_tokens=tokens.system,
            context_tokens=tokens.context,
            tool_tokens=tokens.tools,
            tokens_exact=tokens.exact,
            max_output_tokens=max_output_tokens(body),
            ask=ask.text[: self._capture],
            ask_tail=ask.text[-self._tail :] if self._tail and len(ask.text) > self._capture else "",
            system=system[: self._capture],
        )

    def featurize(self, texts: Sequence[str]) -> FeatureBatch:
        """What each of `texts` is as a chat request of one user message. The memo is left out of it."""
        features, static, buckets = array("d"), array("d"), []
        for text in all_texts(texts):
            found = extract({"messages": [{"role": "user", "content": text}]}, "chat")
            ask = newest_ask(found.parts)
            tokens, of_ask = count_all(found, ask, self._encoding, self._budget, Memo(0)), words(ask.text)
            row = self._features(found, ask, tokens, of_ask)
            features.extend(row.values())
            static.append(score(row, self._weights, self._marks)[0])
            buckets.append(of_ask.buckets)
        return FeatureBatch(features.tobytes(), static.tobytes(), *packed(buckets))

    def memo_stats(self) -> MemoStats:
        """What the memo holds and what came of asking it so far; all 0 when `memo_bytes` is 0."""
        return self._memo.stats()

    def _features(self, found: Extract, ask: Ask, tokens: TokenCounts, of_ask: Words) -> dict[str, float]:
        shape = measure(ask.text)
        return vector(found, ask, shape, tokens, keyword_counts(shape.prose, self._complex, self._simple), of_ask)


def _inputs(features: Mapping[str, float], needed: Sequence[str]) -> tuple[float, ...]:
    return inputs(tuple(features.values()), needed)
