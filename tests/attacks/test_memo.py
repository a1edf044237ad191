"""Texts made to be taken for each other. The memo tells all of them apart, and knows each of them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from bsgateway.config import Analysis, make_analyzer
from bsgateway.gateway import Gateway

_LETTERS = "abcdefghijklmnopqrstuvwxyz012345"


def _one_bit() -> Iterator[str]:
    """Several blocks of a hash and a piece, and each text that differs from it in one bit."""
    text = _LETTERS.encode() * 5 + b"end"
    yield text.decode()
    for place in range(len(text)):
        for bit in range(7):  # with the eighth it would not be UTF-8
            yield (text[:place] + bytes([text[place] ^ 1 << bit]) + text[place + 1 :]).decode()


def _lengths() -> Iterator[str]:
    """Prefixes of one text, and runs of one character, of every length around the blocks of a hash."""
    for unit in (_LETTERS, "\0", " ", "\x01\0", "é", "中"):
        for size in range(16, 300):
            yield (unit * size)[:size]


def _blocks() -> Iterator[str]:
    """The same blocks in every order, moved by a byte, with one more, or with half of one."""
    blocks = [letter * 32 for letter in "abcd"]
    for first in blocks:
        for second in blocks:
            for third in blocks:
                whole = first + second + third
                yield from (whole, whole[:80], whole[16:] + "-", "\0" + whole, whole + "\0", whole + first)


def _digits() -> Iterator[str]:
    for number in range(100_000):
        yield f"{number:016d}"


def _shapes() -> Iterator[str]:
    """Texts that all features tell apart."""
    for number in range(3_000):
        yield "why, `a`? " * (number % 60 + 2) + "\n- x 1" * (number // 60)


TEXTS: dict[str, Callable[[], Iterator[str]]] = {
    "one bit": _one_bit,
    "lengths": _lengths,
    "blocks": _blocks,
    "100,000 short ones": _digits,
    "shapes": _shapes,
}


@pytest.fixture(scope="module")
def make(gateway: Gateway) -> Callable[[int], Any]:
    """Makes an analyzer with a memo of so many bytes, which counts everything."""
    return lambda memo_bytes: make_analyzer(
        msgspec.structs.replace(
            gateway.config.routing, analysis=Analysis(exact_token_bytes=1_000_000_000, memo_bytes=memo_bytes)
        )
    )


@pytest.mark.parametrize("name", TEXTS)
def test_similar_texts(make: Callable[[int], Any], name: str) -> None:
    forgets, remembers = make(0), make(1 << 27)
    texts = list(dict.fromkeys(TEXTS[name]()))
    # As the ask, where the shape is remembered too, and as a text of another role.
    for role in ("user", "assistant"):
        bodies = [{"messages": [{"role": role, "content": text}]} for text in texts]
        expected = [forgets.analyze(body, "chat") for body in bodies]
        for _ in range(2):
            assert [remembers.analyze(body, "chat") for body in bodies] == expected
    stats = remembers.memo_stats()
    # An ask with white space around it is looked up as it is and as it was sent.
    trimmed = {text.strip(" \t\r\n") for text in texts}
    lookups = set(texts) | {text for text in trimmed if len(text.encode()) >= 16}
    assert stats.misses == len(lookups)
    assert stats.evictions == 0


@pytest.mark.parametrize("size", [1, 100, 4_096])
def test_similar_texts_of_one_request(make: Callable[[int], Any], size: int) -> None:
    forgets, remembers = make(0), make(1 << 27)
    texts = [text for name in TEXTS for text in list(TEXTS[name]())[:10_000]]
    for start in range(0, len(texts), size):
        messages = [{"role": "assistant", "content": text} for text in texts[start : start + size]]
        for _ in range(2):
            body = {"messages": messages}
            assert remembers.analyze(body, "chat") == forgets.analyze(body, "chat")
    assert remembers.memo_stats().misses == len(set(texts))


def test_a_flood_is_bounded_and_forgets_nothing_wrong(make: Callable[[int], Any]) -> None:
    forgets, remembers = make(0), make(100_000)
    kept = {"messages": [{"role": "user", "content": "prove that what goes on stays known"}]}
    expected = forgets.analyze(kept, "chat")
    assert remembers.analyze(kept, "chat") == expected
    for start in range(0, 100_000, 1_000):
        texts = [f"{number:016d}" for number in range(start, start + 1_000)]
        remembers.analyze({"messages": [{"role": "assistant", "content": text} for text in texts]}, "chat")
        before = remembers.memo_stats()
        assert remembers.analyze(kept, "chat") == expected
        after = remembers.memo_stats()
        assert after.bytes <= after.capacity_bytes == 100_000
        assert after.hits == before.hits + 1, "a flood of texts seen once drove it out"
    assert remembers.memo_stats().evictions > 90_000
