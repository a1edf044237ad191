"""`pricing.py`: what tokens cost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.pricing import Price


@pytest.mark.parametrize(
    ("price", "read", "written", "cost"),
    [
        # 100 tokens of input and 10 of output.
        (Price(2.0, 3.0), 0, 0, 2.0 * 100 + 3.0 * 10),
        (Price(2.0, 3.0), 40, 0, 2.0 * 100 + 3.0 * 10),  # no price of the cache: billed as input
        (Price(2.0, 3.0), 40, 60, 2.0 * 100 + 3.0 * 10),
        (Price(2.0, 3.0, 0.5), 40, 0, 2.0 * 60 + 0.5 * 40 + 3.0 * 10),
        (Price(2.0, 3.0, 0.5), 1000, 0, 0.5 * 100 + 3.0 * 10),  # not more than there was
        (Price(2.0, 3.0, 0.0), 100, 0, 3.0 * 10),
        (Price(2.0, 3.0, 0.5, 2.5), 0, 100, 2.5 * 100 + 3.0 * 10),
        (Price(2.0, 3.0, 0.5, 2.5), 40, 50, 2.0 * 10 + 0.5 * 40 + 2.5 * 50 + 3.0 * 10),
        (Price(2.0, 3.0, 0.5, 2.5), 40, 1000, 0.5 * 40 + 2.5 * 60 + 3.0 * 10),  # what is read is not written as well
        (Price(2.0, 3.0, 0.5, 2.5), 1000, 1000, 0.5 * 100 + 3.0 * 10),
        (Price(2.0, 3.0, None, 2.5), 40, 50, 2.0 * 50 + 2.5 * 50 + 3.0 * 10),
        (Price(0.0, 0.0), 0, 0, 0.0),
        (Price(2.0, None), 0, 0, None),
        (Price(None, 3.0), 0, 0, None),
        (Price(None, 3.0, 0.5, 2.5), 50, 50, None),
        (Price(), 0, 0, None),
    ],
)
def test_cost_of_a_request(price: Price, read: int, written: int, cost: float | None) -> None:
    assert price.of(100, 10, read, written) == cost


_tokens = st.integers(0, 10**6)


@settings(deadline=None, derandomize=True, database=None)
@given(*[st.floats(0, 1)] * 4, *[_tokens] * 4)
def test_more_tokens_never_cost_less(
    per_input: float,
    per_output: float,
    per_read: float,
    per_written: float,
    tokens: int,
    output: int,
    read: int,
    written: int,
) -> None:
    price = Price(per_input, per_output, per_read, per_written)
    cost = price.of(tokens, output, read, written)
    assert cost is not None
    assert cost >= 0
    more = price.of(tokens + 1, output + 1, read, min(written, tokens))
    same = price.of(tokens, output, read, min(written, tokens))
    assert more is not None
    assert same == cost
    # Only the rounding of floats may say otherwise.
    assert more >= cost * (1 - 1e-12)


@settings(deadline=None, derandomize=True, database=None)
@given(st.floats(0, 1), st.floats(0, 1), *[_tokens] * 4)
def test_a_cache_at_the_price_of_input_changes_nothing(
    per_input: float, per_output: float, tokens: int, output: int, read: int, written: int
) -> None:
    plain = Price(per_input, per_output).of(tokens, output)
    cached = Price(per_input, per_output, per_input, per_input).of(tokens, output, read, written)
    assert cached == pytest.approx(plain)
