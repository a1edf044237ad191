"""The memo over sequences of requests: as the twin's, and without influence on anything but which texts are counted.

The memos are large enough to forget nothing, unless a test says otherwise: what is forgotten first differs.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway import _core, reference

from .analyses import arguments, as_dict
from .strategies import bodies, examples, texts

LARGE = 16_777_216
NO_LIMIT = 10**9
fewer = settings(examples, max_examples=max(1, examples.max_examples // 4))  # each of them is several requests
_words = "Why does the unbelievably large cache évict 中文 entries? prove it "

# Shorter than what is looked up, just as long, one byte longer; tokens of each are counted and estimated differently.
_lengths = st.sampled_from([1, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 200, 1023, 1024, 1025])
_sized = st.builds(
    lambda length, start: (_words[start:] + _words * 20).encode()[:length].decode(errors="replace"),
    _lengths,
    st.integers(0, 5),
)
_wrapped = _sized.map(lambda text: f"<system-reminder>{text}</system-reminder>{text}")
_only_harness = _sized.map(lambda text: f" <system-reminder>{text}</system-reminder>\n")
_surrogates = st.sampled_from(["\ud800", "\ufffd", "\udfff"]).map(lambda mark: f"one {mark} of the same texts")
_pools = st.lists(st.one_of(_sized, _sized, _wrapped, _only_harness, _surrogates, texts), min_size=1, max_size=6)
_roles = st.sampled_from(["user", "user", "assistant", "system", "tool"])


@st.composite
def _messages(draw: st.DrawFn, pool: list[str]) -> dict[str, Any]:
    one = st.sampled_from(pool)
    several = st.lists(one, max_size=4).map(lambda texts: [{"type": "text", "text": text} for text in texts])
    return {"role": draw(_roles), "content": draw(st.one_of(one, one, several))}


@st.composite
def _conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Requests whose texts are from one pool: conversations that grow, each request of them perhaps sent again."""
    pool = draw(_pools)
    requests = []
    for _ in range(draw(st.integers(1, 3))):
        messages = draw(st.lists(_messages(pool), min_size=1, max_size=6))
        for end in range(draw(st.integers(1, len(messages))), len(messages) + 1):
            requests += [{"messages": messages[:end]}] * draw(st.sampled_from([1, 1, 2]))
    return requests


def _pair(**settings: Any) -> tuple[Any, Any]:
    return _core.Analyzer(**arguments(**settings)), reference.Analyzer(**arguments(**settings))


def assert_same_sequence(requests: list[Any], format: str, **settings: Any) -> None:
    native, twin = _pair(memo_bytes=LARGE, **settings)
    for body in requests:
        # repr: equal doubles have equal digits, and -0.0 is not 0.0.
        assert repr(as_dict(native.analyze(body, format))) == repr(as_dict(twin.analyze(body, format)))
        found, expected = native.memo_stats(), twin.memo_stats()
        assert (found.hits, found.misses) == (expected.hits, expected.misses)
    assert (native.memo_stats().evictions, twin.memo_stats().evictions) == (0, 0)


@pytest.mark.parametrize("budget", [0, 60, 200, 32_768])
def test_conversations(budget: int) -> None:
    @fewer
    @given(_conversations())
    def check(requests: list[dict[str, Any]]) -> None:
        assert_same_sequence(requests, "chat", exact_token_bytes=budget)

    check()


@pytest.mark.parametrize("format", list(bodies))
def test_bodies_of_each_format_sent_again(format: str) -> None:
    @fewer
    @given(st.lists(bodies[format](), min_size=1, max_size=3), st.sampled_from([60, 32_768]))
    def check(sent: list[Any], budget: int) -> None:
        assert_same_sequence([*sent, *sent], format, exact_token_bytes=budget)

    check()


@pytest.mark.parametrize("core", [_core, reference], ids=["native", "twin"])
@pytest.mark.parametrize("memo_bytes", [LARGE, 4096], ids=["large", "forgets"])
def test_with_all_counted_the_memo_changes_nothing(core: Any, memo_bytes: int) -> None:
    # One analyzer for all examples: the small memo has long been full when the last one comes.
    remembers = core.Analyzer(**arguments(exact_token_bytes=NO_LIMIT, memo_bytes=memo_bytes))
    forgets = core.Analyzer(**arguments(exact_token_bytes=NO_LIMIT))

    @fewer
    @given(_conversations())
    def check(requests: list[dict[str, Any]]) -> None:
        for body in requests:
            found = remembers.analyze(body, "chat")
            assert found == forgets.analyze(body, "chat")
            assert found.tokens_exact

    check()
    assert remembers.memo_stats().hits > 0
    assert (remembers.memo_stats().evictions > 0) == (memo_bytes == 4096)


@fewer
@given(_conversations(), st.sampled_from([0, 60, 200]))
def test_over_the_budget_only_token_counts_depend_on_what_came_before(requests: list[Any], budget: int) -> None:
    remembers, _ = _pair(exact_token_bytes=budget, memo_bytes=LARGE)
    forgets, _ = _pair(exact_token_bytes=budget)
    counted = {"ask_tokens", "system_tokens", "context_tokens"}
    pure = [index for index, name in enumerate(_core.FEATURE_NAMES) if name not in counted]
    for body in requests:
        found, expected = remembers.analyze(body, "chat"), forgets.analyze(body, "chat")
        assert [found.features[index] for index in pure] == [expected.features[index] for index in pure]
        for name in ("format", "needs", "tool_tokens", "max_output_tokens", "ask", "system"):
            assert getattr(found, name) == getattr(expected, name)


@pytest.mark.parametrize("parts", [4096, 4097])
def test_requests_of_many_parts(parts: int) -> None:
    long = [("the same " * 200)[:length] for length in (16, 1023, 1024, 1025)]
    texts = [*long, *(f"text {number}, of many in a request" for number in range(parts - len(long)))]
    body = {"messages": [{"role": "user", "content": texts}]}
    assert_same_sequence([body, body], "chat", exact_token_bytes=2000)
    native, _ = _pair(memo_bytes=LARGE)
    native.analyze(body, "chat")
    # The ask is all of them together, and looked up as well.
    assert native.memo_stats().misses == (parts + 1 if parts == 4096 else 3)


@pytest.mark.parametrize("memo_bytes", [0, 1, 100, 1000, 10_000])
def test_the_capacity(memo_bytes: int) -> None:
    for analyzer in _pair(memo_bytes=memo_bytes):
        analyzer.analyze({"messages": [{"content": f"text {n}, long enough to look up"} for n in range(50)]}, "chat")
        stats = analyzer.memo_stats()
        if memo_bytes <= 100:  # too little for an entry is as nothing
            assert (stats.hits, stats.misses, stats.evictions, stats.entries, stats.capacity_bytes) == (0, 0, 0, 0, 0)
        else:
            assert stats.capacity_bytes == memo_bytes
            assert 0 < stats.bytes <= memo_bytes
            assert stats.misses == 50
