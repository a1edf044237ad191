"""Token counts of one text: exact, estimated, and by tiktoken."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from bodies import code, log_lines, prose
from bsgateway import _core, reference
from contenders import tiktoken_counter

SIZES = {"0.5 KB": 500, "8 KB": 8_000, "64 KB": 64_000}


def cjk(size: int, seed: int) -> str:
    """Chinese whose UTF-8 is `size` bytes long, of words that `seed` puts in another order."""
    words = ["我们", "需要", "一个", "更好的", "算法", "来解决", "这个问题", "，", "缓存", "请求", "失败了", "。"]
    chosen = [words[(index * index + seed) % len(words)] for index in range(size // 3)]
    return "".join(chosen)[: size // 3]


KINDS: dict[str, Callable[[int, int], str]] = {"prose": prose, "code": code, "log": log_lines, "CJK": cjk}


@cache
def text(kind: str, size: str) -> str:
    return KINDS[kind](SIZES[size], 5)


CONTENDERS: dict[str, Callable[[str], int]] = {
    "native, exact": _core.count_tokens,
    "native, estimate": _core.estimate_tokens,
    "twin, estimate": reference.estimate_tokens,
    "tiktoken": lambda text: tiktoken_counter()([text]),
}


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_tokens(measure: Any, kind: str, size: str, contender: str) -> None:
    words = text(kind, size)
    count = CONTENDERS[contender]
    if not contender.endswith("estimate"):
        assert count(words) == tiktoken_counter()([words])
    measure.named("tokens", f"{kind}, {size}", contender, bytes=len(words.encode())).same(count, words)
