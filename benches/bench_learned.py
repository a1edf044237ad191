"""What a learned model adds to the analysis of a request, with the prior that comes with the package.

`words`: hashing the ask alone, which every analysis does, as its counts are features. `ml` less `static` is what the
model adds on top.
"""

from __future__ import annotations

from typing import Any

import pytest

from bodies import Body, prose
from bsgateway import _core
from bsgateway.models import prior_bytes
from contenders import native, renewed, size_of

SIZES = {"0.5 KB": 500, "8 KB": 8_000}
ANALYSES = ("static, first sight", "ml, first sight", "static, seen", "ml, seen")


def ask_of(size: str) -> str:
    return prose(SIZES[size], 78)


def chat(size: str) -> Body:
    return Body("chat", {"model": "auto", "messages": [{"role": "user", "content": ask_of(size)}]})


def analyzer_with(strategy: str) -> _core.Analyzer:
    analyzer = native()
    if strategy == "ml":
        analyzer.set_model(_core.LearnedModel(prior_bytes()))
    return analyzer


@pytest.mark.parametrize("contender", ANALYSES)
@pytest.mark.parametrize("size", SIZES)
def test_analysis(measure: Any, size: str, contender: str) -> None:
    body, (strategy, _, sight) = chat(size), contender.partition(", ")
    analyzer = analyzer_with(strategy)
    assert (analyzer.analyze(body.body, body.format).learned is None) == (strategy == "static")
    measure.named("learned", size, contender, bytes=size_of(body))
    if sight == "seen":
        measure.same(analyzer.analyze, body.body, body.format)
    else:
        measure.fresh(analyzer.analyze, lambda: (renewed(body).body, body.format))


@pytest.mark.parametrize("size", SIZES)
def test_words(measure: Any, size: str) -> None:
    measure.named("learned", size, "words", bytes=size_of(chat(size))).same(_core.word_buckets, (ask_of(size),))
