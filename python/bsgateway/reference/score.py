"""The static score: six weighted signals of 0-100 each, then floors. Every number of it stands in this file.

A prior made by hand, and no more. What it is for: a sane start, the features of the log, and a fallback that cannot
fail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

SIGNALS = ("token_count", "system_prompt", "keyword_patterns", "conversation_length", "code_complexity", "tool_usage")

Contribution = tuple[str, float, float, float]
"""A signal's share of the score: signal, value, weight, points. The points of all add up to the raw score.

The value is the signal itself (0-100), the weight its share of all weights (0-1). A floor that lifted the score stands
last as signal `floor:<name>`, value the floor, weight 0.
"""

# Five ascending marks where a curve reaches 20, 40, 60, 80 and 100; straight lines between, from 0 at 0.
SYSTEM_TOKENS = (100, 400, 1500, 5000, 15000)
TURNS = (2, 4, 8, 16, 32)
CODE_LINES = (1, 10, 40, 120, 400)
TOOLS = (1, 5, 15, 40, 100)
RESULTS = (1, 4, 10, 25, 60)

KEYWORD_NEUTRAL, KEYWORD_STEP = 25.0, 25.0
LIST_ITEM_STEP, LIST_ITEM_FREE, LIST_ITEM_MOST = 4.0, 2.0, 20.0
QUESTION_STEP, QUESTION_FREE, QUESTION_MOST = 5.0, 1.0, 15.0
INLINE_CODE_STEP, INLINE_CODE_MOST = 4.0, 20.0
STACK_TRACE_BONUS = 30.0
TOOLS_SHARE = 0.5
"""Half of the tool signal is what the client declares, half is how far the agent has gone since the ask."""

# (name, feature, at least so much, floor of the score). `net_keywords` is complex minus simple keywords.
FLOORS = (
    ("keywords", "net_keywords", 1.0, 35.0),
    ("keywords", "net_keywords", 2.0, 50.0),
    ("keywords", "net_keywords", 3.0, 68.0),
    ("long_ask", "ask_tokens", 2000.0, 40.0),
    ("long_ask", "ask_tokens", 8000.0, 66.0),
    ("code", "ask_code_lines", 20.0, 35.0),
    ("code", "ask_code_lines", 150.0, 66.0),
    ("stack_trace", "ask_stack_lines", 2.0, 35.0),
    ("agent_steps", "results_since_ask", 12.0, 40.0),
    ("agent_errors", "errors_since_ask", 3.0, 66.0),
)

_COMPLEX = (
    "prove", "proof", "derive", "derivation", "theorem", "optimize*", "optimise*", "refactor*", "debug*", "architect*",
    "design", "redesign", "algorithm*", "implement*", "analyze", "analyse", "analysis", "trade-off*", "tradeoff*",
    "step by step", "reason through", "root cause", "race condition*", "deadlock*", "concurren*", "distributed",
    "scalab*", "security review", "vulnerabilit*", "threat model", "performance", "benchmark*", "complexity",
    "migrat*", "compare and contrast", "evaluate", "critique", "strategy", "in depth", "in-depth", "comprehensive*",
    "edge case*", "invariant*", "differential equation*", "integral", "probability", "statistical*", "regression",
    "diagnos*", "contract", "liability", "statute*", "clinical*", "pathophysiology", "pharmacokinetic*", "mechanism*",
    "quantum", "synthesi*", "hypothes*", "formal*", "consistency", "transaction*", "backpressure", "memory leak*",
    "beweise", "beweisen", "entwirf", "entwerfen", "analysiere", "optimiere*", "implementiere*", "vergleiche",
    "démontre*", "conçois", "concevoir", "analyse*", "optimise*", "implémente*", "demuestra*", "diseña*", "analiza*",
    "optimiza*", "implementa*", "dimostra*", "progetta*", "докажи*", "спроектируй*", "проанализируй*", "оптимизируй*",
    "реализуй*", "证明", "设计", "分析", "优化", "实现", "重构", "调试", "架构", "算法", "證明", "設計", "優化", "証明",
    "実装", "最適化", "증명", "설계", "분석", "최적화", "구현",
)  # fmt: skip
_SIMPLE = (
    "hi", "hello", "hey", "thanks", "thank you", "good morning", "good night", "how are you", "who are you", "ping",
    "test", "what is", "what's", "what are", "who is", "who was", "when is", "when was", "where is", "how many",
    "how old", "define", "definition of", "translate", "spell", "synonym*", "capital of", "convert", "rephrase",
    "fix the typo*", "fix typo*", "grammar", "tl;dr", "summarize", "summarise", "in one sentence", "in one word",
    "briefly", "short answer", "yes or no", "true or false", "list the", "rename", "title for", "give me a joke",
    "tell me a joke", "hallo", "danke", "guten morgen", "was ist", "wer ist", "übersetze", "bonjour", "merci",
    "qu'est-ce que", "c'est quoi", "traduis", "hola", "gracias", "qué es", "traduce", "ciao", "grazie", "olá",
    "obrigado", "привет", "спасибо", "что такое", "переведи", "你好", "谢谢", "什么是", "翻译", "謝謝", "こんにちは",
    "ありがとう", "翻訳", "안녕", "감사합니다", "번역",
)  # fmt: skip


def default_complex_keywords() -> tuple[str, ...]:
    """Keywords that speak for a hard request, when the config gives none."""
    return tuple(dict.fromkeys(_COMPLEX))


def default_simple_keywords() -> tuple[str, ...]:
    """Keywords that speak for an easy request, when the config gives none."""
    return tuple(dict.fromkeys(_SIMPLE))


def score_table() -> dict[str, Any]:
    """Every number of the static score, for the reference page, `explain` and the parity test."""
    return {
        "curves": {
            "system_prompt": list(SYSTEM_TOKENS),
            "conversation_length": list(TURNS),
            "code_complexity": list(CODE_LINES),
            "tool_usage.tools": list(TOOLS),
            "tool_usage.results": list(RESULTS),
        },
        "constants": {
            "keyword_neutral": KEYWORD_NEUTRAL,
            "keyword_step": KEYWORD_STEP,
            "list_item_step": LIST_ITEM_STEP,
            "list_item_free": LIST_ITEM_FREE,
            "list_item_most": LIST_ITEM_MOST,
            "question_step": QUESTION_STEP,
            "question_free": QUESTION_FREE,
            "question_most": QUESTION_MOST,
            "inline_code_step": INLINE_CODE_STEP,
            "inline_code_most": INLINE_CODE_MOST,
            "stack_trace_bonus": STACK_TRACE_BONUS,
            "tools_share": TOOLS_SHARE,
        },
        "floors": [list(floor) for floor in FLOORS],
    }


def curve(value: float, marks: Sequence[int]) -> float:
    """Piecewise linear: 0 at 0, then 20, 40, 60, 80, 100 at the five `marks`, flat beyond the last."""
    low, reached = 0.0, 0.0
    for mark in marks:
        if value < mark:
            return reached + 20.0 * (value - low) / (mark - low)
        low, reached = float(mark), reached + 20.0
    return 100.0


def proportions(weights: Mapping[str, float]) -> tuple[float, ...]:
    """The weights of `SIGNALS`, in order, as shares of their sum. Raises ValueError for what are none."""
    if set(weights) != set(SIGNALS):
        raise ValueError(f"weights must name exactly: {', '.join(SIGNALS)}")
    values = [float(weights[name]) for name in SIGNALS]
    total = 0.0
    for weight in values:  # not sum(): newer Pythons compensate its rounding, Rust does not
        total += weight
    if not all(weight >= 0.0 for weight in values) or not 0.0 < total < math.inf:
        raise ValueError("weights must be finite, not negative and not all zero")
    return tuple(weight / total for weight in values)


def score(
    features: Mapping[str, float], weights: Sequence[float], token_thresholds: Sequence[int]
) -> tuple[float, tuple[Contribution, ...]]:
    """Weighted sum of the signals, lifted to the highest floor, at most 100; and what makes it. `weights` add up to
    1."""
    found = 0.0
    shares: list[Contribution] = []
    for name, value, weight in zip(SIGNALS, signal_values(features, token_thresholds), weights, strict=True):
        shares.append((name, value, weight, weight * value))
        found += weight * value
    found = min(found, 100.0)  # rounding of the shares may overshoot by the last bit
    floor, height = highest_floor(features)
    if height > found:
        shares.append((f"floor:{floor}", height, 0.0, height - found))
        found = height
    return found, tuple(shares)


def signal_values(features: Mapping[str, float], token_thresholds: Sequence[int]) -> tuple[float, ...]:
    """The six signals, 0-100 each, in the order of `SIGNALS`."""
    return (
        curve(features["ask_tokens"], token_thresholds),
        curve(features["system_tokens"], SYSTEM_TOKENS),
        _keyword_patterns(features),
        curve(features["turns"], TURNS) if features["turns"] > 1.0 else 0.0,
        _code_complexity(features),
        TOOLS_SHARE * curve(features["tools"], TOOLS)
        + (1.0 - TOOLS_SHARE) * curve(features["results_since_ask"], RESULTS),
    )


def _keyword_patterns(features: Mapping[str, float]) -> float:
    lists = min(max(features["ask_list_items"] - LIST_ITEM_FREE, 0.0) * LIST_ITEM_STEP, LIST_ITEM_MOST)
    questions = min(max(features["ask_questions"] - QUESTION_FREE, 0.0) * QUESTION_STEP, QUESTION_MOST)
    return _clamp(KEYWORD_NEUTRAL + KEYWORD_STEP * _net_keywords(features) + lists + questions)


def _code_complexity(features: Mapping[str, float]) -> float:
    inline = min(features["ask_inline_code"] * INLINE_CODE_STEP, INLINE_CODE_MOST)
    trace = STACK_TRACE_BONUS if features["ask_stack_lines"] >= 2.0 else 0.0
    return _clamp(curve(features["ask_code_lines"], CODE_LINES) + inline + trace)


def _net_keywords(features: Mapping[str, float]) -> float:
    return features["complex_keywords"] - features["simple_keywords"]


def _clamp(value: float) -> float:
    return min(max(value, 0.0), 100.0)


def highest_floor(features: Mapping[str, float]) -> tuple[str, float]:
    """Name and height of the highest floor that applies; the first of equals; ("", 0) if none does."""
    best, height = "", 0.0
    for name, feature, least, floor in FLOORS:
        value = _net_keywords(features) if feature == "net_keywords" else features[feature]
        if value >= least and floor > height:
            best, height = name, floor
    return best, height
